"""Keys: by which programs ask the API as the user whom a key is of."""

import logging
import time
from typing import Any

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, Throttled
from rest_framework.request import Request

from apps.access.callers import caller_address
from apps.access.guesses import Guesses
from apps.access.networks import in_networks
from apps.accounts.models import ApiKey, User
from wcsgate.login import address_of

WRONG_KEYS, SECONDS = 20, 300
"""So many wrong keys from one address are looked at within so many seconds."""

_guesses = Guesses(limit=WRONG_KEYS, seconds=SECONDS)

logger = logging.getLogger(__name__)


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>`. A key is looked up anew for each request, by its hash."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """The user whose key this is; None where there is no key."""
        scheme, _, given = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        address, seconds = address_of(request), time.monotonic()
        if not _guesses.allows(address, seconds):
            raise Throttled(wait=SECONDS, detail="Too many wrong keys came from this address.")
        key = ApiKey.objects.with_key(given.strip())
        if key is None:
            _guesses.was_wrong(address, seconds)
            logger.warning("A wrong key of the API came from %s.", address)
            raise AuthenticationFailed("There is no such key. It may have been deleted.", "bad-key")
        _check(key, caller_address(request.META))
        key.note_use(timezone.now())
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        """What an answer with 401 asks for."""
        return 'Bearer realm="WCS Gate"'


class KeyScheme(OpenApiAuthenticationExtension):
    """What the schema says of keys."""

    target_class = KeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A key that staff issued in the admin."}


def _check(key: ApiKey, address: str) -> None:
    """Raises AuthenticationFailed or PermissionDenied where a known key does not work, or not from here."""
    if not key.user.is_active:
        raise AuthenticationFailed("The user whose key this is has been switched off.", "user-inactive")
    if key.revoked:
        raise AuthenticationFailed("The key was revoked with all that its user, or everybody, had.", "revoked-key")
    if key.expires_at and key.expires_at <= timezone.now():
        raise AuthenticationFailed("The key has expired.", "expired-key")
    if key.networks and not in_networks(address, key.networks):
        raise PermissionDenied("The key does not work from this address.", "wrong-network")
