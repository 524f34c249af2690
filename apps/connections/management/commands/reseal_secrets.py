"""manage.py reseal_secrets"""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.core.management.base import BaseCommand, CommandError
from django.db import models, transaction

from apps.connections.sealing import CannotUnseal, SealedField, seal, unseal
from apps.database.acting import acting_command
from apps.database.commands import database_needed


class Command(BaseCommand):
    help = "Seal every stored secret anew under the first of WCSGATE_ENCRYPTION_KEYS, so that older keys can go."

    def handle(self, *args: Any, **options: Any) -> None:
        count = 0
        with database_needed(), acting_command("reseal_secrets"), transaction.atomic():
            for model, field in sealed_columns():
                for row in model._default_manager.select_for_update():
                    count += _reseal(row, field)
        self.stdout.write(f"{count} secrets are sealed under the first key now; the others are no longer needed.")


def sealed_columns() -> Iterator[tuple[type[models.Model], str]]:
    """Every column of the project that holds sealed secrets, alone or in a list."""
    for model in apps.get_models():
        for field in () if model._meta.proxy else model._meta.concrete_fields:
            if isinstance(field.base_field if isinstance(field, ArrayField) else field, SealedField):
                yield model, field.attname


def _reseal(row: models.Model, field: str) -> int:
    """Seal what a row has in this column anew; gives how many secrets that was."""
    stored = getattr(row, field)
    secrets = stored if isinstance(stored, list) else [stored] if stored else []
    if secrets:
        resealed = [_resealed(row, sealed) for sealed in secrets]
        setattr(row, field, resealed if isinstance(stored, list) else resealed[0])
        row.save(update_fields=[field])
    return len(secrets)


def _resealed(row: models.Model, sealed: str) -> str:
    try:
        return seal(unseal(sealed))
    except CannotUnseal:
        raise CommandError(
            f"A secret of {row} cannot be read with any of the keys; nothing was changed. "
            "Add the key it was sealed under, or remove that secret in the admin."
        ) from None
