"""manage.py verify_audit [FILE] [--decisions [--since MOMENT]]"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.access.then import NotRecorded
from apps.audit.asking.past import past
from apps.audit.models import AuditEvent, Batch, received
from apps.audit.net import BeingPutInPlace
from apps.audit.proving import kept_seals
from apps.audit.proving.evidence import Unreadable, at_one_moment, made_otherwise, outside_the_chain, pieces, there
from apps.audit.proving.evidence_file import look_at_file
from apps.audit.proving.kept_seals import Kept, Unkept
from apps.audit.proving.let_go import doubts, gone_though_held
from apps.audit.proving.redeciding import Redecided, events_again
from apps.audit.proving.seals import gone, trusted_keys
from apps.audit.proving.signing import Sealed
from apps.audit.proving.verifying import Found, Verifier
from apps.audit.recording.spool_folder import configured
from apps.database.commands import database_needed, moment


class Decided:
    """What came out of deciding again; differences are problems."""

    def __init__(self, found: Found) -> None:
        self.same = 0
        self.not_again = Counter[str]()
        self._found = found

    def add(self, again: Redecided) -> None:
        """Count one."""
        if again.why is not None:
            self.not_again[again.why] += 1
        elif again.is_same:
            self.same += 1
        else:
            self._found.problem(f"Event {again.event.pk} {again}.")


class Command(BaseCommand):
    help = "Say whether the record is whole and untouched: the audit log, or a file of evidence."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", nargs="?", help="a file that export_evidence wrote; without one, the audit log itself"
        )
        parser.add_argument(
            "--decisions", action="store_true", help="also decide each event again, as of its revision (no file)"
        )
        parser.add_argument(
            "--since", metavar="MOMENT", type=moment, help="only decide events again from then on: 2026-03-03T14:00"
        )
        parser.add_argument("--public-key", action="append", default=[], help="another key that seals may be made with")

    def handle(self, *, file: str | None, public_key: list[str], **options: Any) -> None:
        if file and options["decisions"]:
            raise CommandError("A file has no rules to decide by: --decisions needs the audit log itself.")
        if options["since"] and not options["decisions"]:
            raise CommandError(
                "--since says which events to decide again: give --decisions, too. All is verified anyway."
            )
        try:
            verifier = Verifier(trusted_keys(public_key))
        except ValueError:
            raise CommandError("A key is none: public keys are 32 bytes in base64.") from None
        try:
            found = _of_file(verifier, Path(file)) if file else self._of_database(verifier)
        except BeingPutInPlace as error:
            raise CommandError(str(error)) from None
        except Unreadable as error:
            raise CommandError(f"The record is NOT as it was written. {error}") from None
        if not file and verifier.has_keys and _never_sealed(found):
            found.problem("Its end is not sealed: it may have been cut off, or replaced as a whole.")
        self._say(found, () if file else doubts(found.notes))
        if options["decisions"]:
            with database_needed():
                self._decide_again(found, options["since"])
        if found.problems:
            first, *others = found.problems
            more = "".join(f"\n  {problem}" for problem in others)
            raise CommandError(f"The record is NOT as it was written. The first bad place:\n  {first}{more}")
        self.stdout.write("The record is whole and untouched.")

    def _of_database(self, verifier: Verifier) -> Found:
        kept = self._kept()  # before the database is looked at: a seal is there first, and then kept
        with database_needed(), at_one_moment():
            found = verifier.look_at(pieces())
            verifier.are_there(there(list(verifier.gone_but_counted)))
            self._compare_with(kept, found)
            problems = made_otherwise(), outside_the_chain(found.from_before), gone_though_held(found, timezone.now())
            for problem in chain.from_iterable(problems):
                found.problem(problem)
        return found

    def _kept(self) -> Kept:
        """What is kept on this machine, as far as whoever verifies may read it."""
        try:
            return kept_seals.read(configured())
        except Unkept as error:
            self.stdout.write(f"{error}.")
            return Kept()

    def _compare_with(self, kept: Kept, found: Found) -> None:
        """What the database says of seals, with what is kept."""
        for problem in gone(kept):
            found.problem(problem)
        if kept.accepted is not None:
            self.stdout.write(f"Somebody accepted the record up to batch {kept.accepted.batch} on {kept.accepted.at}.")
        if kept.last is not None:
            until = Sealed.read(kept.last.line).batch
            self.stdout.write(f"Compared with the seals that are kept on this machine, until batch {until}.")
        elif kept.accepted is None:
            self.stdout.write(
                "No seals are kept on this machine: that nothing was cut off at the end cannot be vouched for."
            )

    def _decide_again(self, found: Found, since: datetime | None) -> None:
        try:
            with past(since) as was:
                for sentence in was.broken():
                    found.problem(sentence)
                decided = Decided(found)
                for again in events_again(AuditEvent.objects.filter(received(since)), was):
                    decided.add(again)
        except NotRecorded as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Decided again, and the same: {_events(decided.same)}.")
        for why, count in decided.not_again.most_common():
            self.stdout.write(f"Cannot be decided again: {_events(count)}, because {why}.")

    def _say(self, found: Found, doubtful: Iterable[str]) -> None:
        batches = "1 batch" if found.batches == 1 else f"{found.batches} batches"
        self.stdout.write(f"Looked at {batches} with {_events(found.events)}.")
        if found.let_go:
            self.stdout.write(f"Let go, being past their time: {_events(found.let_go)}.")
        if found.from_before:
            self.stdout.write(f"Taken in, being from before there were batches: {_events(found.from_before)}.")
        if found.late:
            self.stdout.write(
                f"Came more than a day late: {_events(found.late)}, the first of which is {found.first_late}. "
                "That is so after an outage, or where somebody tried again what could not be recorded."
            )
        for note in found.notes:
            self.stdout.write(f"Noted as let go: {note}.")
        for doubt in doubtful:
            self.stdout.write(doubt)
        if found.seals:
            good = "1 seal is good" if found.seals == 1 else f"{found.seals} seals are good"
            self.stdout.write(f"Sealed until batch {found.sealed_until}, on {found.sealed_at}; {good}.")
            if found.last_batch > found.sealed_until:
                self.stdout.write(
                    "Later batches are not sealed yet: whoever can write to the database could have replaced them."
                )
        else:
            self.stdout.write("No seal was checked: whoever can write to the database could have replaced all of it.")
        if found.ended_at:
            self.stdout.write(f"Written out on {found.ended_at}, until batch {found.last_batch}.")


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _never_sealed(found: Found) -> bool:
    """Whether the audit log has no good seal, though the workers have had more than a day to make one."""
    first = Batch.objects.order_by("number").values_list("moved_at", flat=True).first()
    return found.sealed_until == 0 and first is not None and timezone.now() - first > timedelta(days=1)


def _of_file(verifier: Verifier, file: Path) -> Found:
    try:
        with file.open("rb") as lines:
            return look_at_file(verifier, lines)
    except OSError as error:
        raise CommandError(f"Cannot read {file}: {error.strerror}.") from None
    except ValueError as error:
        raise CommandError(f"{file} is no file of evidence, or was cut. {error}") from None
