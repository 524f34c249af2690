"""manage.py seal_audit [--accept]"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from apps.access.acts import note_here
from apps.audit.locks import AdvisoryLock, wait_for
from apps.audit.moving.batches import take_in
from apps.audit.net import BeingPutInPlace, see_whole
from apps.audit.proving import seals
from apps.audit.proving.kept_seals import Unkept
from apps.database.acting import acting_command
from apps.database.commands import database_needed


class Command(BaseCommand):
    help = "Say whether the record is being sealed; with --accept, carry on although it is not what was sealed before."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--accept",
            action="store_true",
            help="the record of now is the one to seal from here on, on this machine: after a restored backup",
        )

    def handle(self, *, accept: bool, **options: Any) -> None:
        with database_needed(), acting_command("seal_audit"):
            if accept:
                self._take_in()
                self._accept()
            found = seals.sealing(timezone.now())
        if found.trouble:
            raise CommandError(
                f"{found.trouble}\nRun verify_audit first. Whoever knows why, as after a restored backup, runs "
                "seal_audit --accept on each machine with workers."
            )
        at = f"{found.sealed_at:%Y-%m-%d %H:%M} UTC" if found.sealed_at else "never yet"
        self.stdout.write(f"The record carries on what was sealed. Sealed: {at}.")

    def _take_in(self) -> None:
        try:
            with transaction.atomic():
                wait_for(AdvisoryLock.BATCHES)
                see_whole()
                take_in()
        except BeingPutInPlace as error:
            raise CommandError(str(error)) from None

    def _accept(self) -> None:
        batch = seals.newest_batch()
        if batch is None:
            raise CommandError("There is nothing to accept: the record has no batch yet.")
        now = timezone.now()
        try:
            with transaction.atomic():
                wait_for(AdvisoryLock.SEALS)
                note_here(
                    "acknowledge", f"the record up to batch {batch.number} as it is", told=seals.sealing(now).trouble
                )
                seals.accept(batch, now)
        except Unkept as error:
            raise CommandError(f"{error}.") from None
        except seals.NotAsSealed as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Accepted: seals carry on from batch {batch.number}. verify_audit says so from now on.")
