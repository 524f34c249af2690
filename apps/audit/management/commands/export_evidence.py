"""manage.py export_evidence FILE"""

from base64 import b64encode
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.access.acts import note_here
from apps.audit.net import BeingPutInPlace
from apps.audit.proving import kept_seals, seals
from apps.audit.proving.evidence import Unreadable, at_one_moment, pieces
from apps.audit.proving.evidence_file import lines
from apps.audit.proving.kept_seals import Kept, Unkept
from apps.audit.proving.seals import NotAsSealed, private_keys
from apps.audit.proving.signing import public
from apps.audit.recording.spool_folder import configured
from apps.database.acting import acting_command
from apps.database.commands import database_needed


class Command(BaseCommand):
    help = "Write the audit log with its chain and seals into a file, which others can check without us."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a new file")

    def handle(self, *, file: str, **options: Any) -> None:
        try:
            key = next(iter(private_keys()), None)
        except ValueError:
            raise CommandError("WCSGATE_SEAL_KEYS holds something that is not a key.") from None
        try:
            kept = kept_seals.read(configured())  # before the database is looked at: a seal is there first, then kept
            with database_needed(), acting_command("export_evidence"):
                note_here("export", "the record as evidence")  # before, so also where it fails then
                with at_one_moment():
                    _check(kept)
                    self._write(Path(file), key)
        except (BeingPutInPlace, Unkept, Unreadable) as error:
            raise CommandError(str(error)) from None
        for known in private_keys():
            self.stdout.write(f"Public key of the seals: {b64encode(public(known)).decode()}")
        self.stdout.write(f"Written as it is there, and not verified. To do that, run: verify_audit {file}")

    def _write(self, file: Path, key: Ed25519PrivateKey | None) -> None:
        try:
            with file.open("xb") as out:
                out.writelines(lines(pieces(), key, timezone.now()))
        except OSError as error:
            raise CommandError(f"Cannot write {file}: {error.strerror}.") from None
        if key is None:
            self.stdout.write("Nothing is signed, as WCSGATE_SEAL_KEYS is not set: others can cut off its end.")


def _check(kept: Kept) -> None:
    """The end of the file is signed, so it must be the end of what was signed before."""
    try:
        seals.check(seals.seals_of(kept))
    except NotAsSealed as error:
        raise CommandError(f"{error} Nothing is signed. Run verify_audit; seal_audit says how to go on.") from None
