"""manage.py export_evidence FILE"""

from base64 import b64encode
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.audit.models import Batch, Seal
from apps.audit.proving.evidence import at_one_moment, lines, make_seal, pieces, private_keys, public
from apps.database.commands import database_needed


class Command(BaseCommand):
    help = "Write the audit log with its chain and seals into a file, which others can check without us."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a new file")

    def handle(self, *, file: str, **options: Any) -> None:
        with database_needed():
            self._seal_the_last()
            try:
                with Path(file).open("xb") as out, at_one_moment():
                    out.writelines(lines(pieces()))
            except OSError as error:
                raise CommandError(f"Cannot write {file}: {error.strerror}.") from None
        for key in private_keys():
            self.stdout.write(f"Public key of the seals: {b64encode(public(key)).decode()}")

    def _seal_the_last(self) -> None:
        """So that nobody can cut the end off unseen."""
        last = Batch.objects.order_by("-number").first()
        try:
            if last is not None and private_keys() and not Seal.objects.filter(batch=last.number).exists():
                make_seal(last, timezone.now())
        except ValueError:
            raise CommandError("WCSGATE_SEAL_KEYS holds something that is not a key.") from None
