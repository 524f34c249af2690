"""manage.py reseal_secrets"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from apps.connections.models import App, Node, TokenIssuer
from apps.connections.sealing import CannotUnseal, seal, unseal
from apps.database.commands import database_needed


class Command(BaseCommand):
    help = "Seal every stored secret anew under the first of WCSGATE_ENCRYPTION_KEYS, so that older keys can go."

    def handle(self, *args: Any, **options: Any) -> None:
        count = 0
        with database_needed(), transaction.atomic():
            for model, field in ((App, "hook_passwords"), (Node, "secrets"), (TokenIssuer, "secrets")):
                for row in model.objects.exclude(**{field: []}).select_for_update():
                    setattr(row, field, [_resealed(row, sealed) for sealed in getattr(row, field)])
                    row.save(update_fields=[field])
                    count += len(getattr(row, field))
        self.stdout.write(f"{count} secrets are sealed under the first key now; the others are no longer needed.")


def _resealed(row: App | Node | TokenIssuer, sealed: str) -> str:
    try:
        return seal(unseal(sealed))
    except CannotUnseal:
        raise CommandError(
            f"A secret of {row} cannot be read with any of the keys; nothing was changed. "
            "Add the key it was sealed under, or remove that secret in the admin."
        ) from None
