"""Secrets that we must know in clear (to check signatures) rest encrypted, under keys from the environment."""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


class SealedField(models.TextField):
    """A column with a sealed secret. `reseal_secrets` finds these columns, also as the entries of an array."""

    def deconstruct(self):
        """To migrations it is the text that it is in the database."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.TextField", args, kwargs


class CannotUnseal(Exception):
    """A stored secret was sealed under a key that WCSGATE_ENCRYPTION_KEYS does not have."""


def seal(secret: str) -> str:
    """Encrypt a secret for storage, under the first key. Raises ImproperlyConfigured where there is none."""
    if not settings.ENCRYPTION_KEYS:
        raise ImproperlyConfigured(
            "A secret cannot be stored without a key: set WCSGATE_ENCRYPTION_KEYS. "
            "docs/operations.md says how to make one."
        )
    return _box(tuple(settings.ENCRYPTION_KEYS)).encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """The secret in clear; any of the keys will do. Raises CannotUnseal, also where there is no key at all."""
    try:
        if not settings.ENCRYPTION_KEYS:
            raise InvalidToken
        return _box(tuple(settings.ENCRYPTION_KEYS)).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise CannotUnseal("A stored secret cannot be read with the keys in WCSGATE_ENCRYPTION_KEYS.") from None


def is_sealed(value: str) -> bool:
    """True for text that `unseal` can read."""
    try:
        unseal(value)
    except CannotUnseal:
        return False
    return True


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
