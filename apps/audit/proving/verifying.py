"""Whether a record is whole and untouched: its chain, and its seals. Pure: no Django, no database.

The same is done for the table and for a file of evidence, of which others can do it without us (docs/evidence.md).
"""

import json
from base64 import b64decode
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from apps.audit.chain import BEFORE_THE_FIRST, CLASSES, FROM_BEFORE, HALF, Entry, counted_as, entries
from apps.audit.ids import EPOCH, MARGIN, first_id, moment_of
from apps.audit.proving.signing import END, UNREADABLE, End, Keys, Sealed, SealPiece, name_of


class Event(NamedTuple):
    """An event as it is there: its line, the line of its count, which may be empty, and the digest of its line."""

    id: UUID
    content: bytes
    counted: bytes
    digest: bytes


class BatchPiece(NamedTuple):
    """A batch as it is there: its line, the hash that stands beside it, and the events that say they are of it, in the
    order of their ids.
    """

    line: bytes
    hash: bytes
    events: Sequence[Event]


class EndPiece(NamedTuple):
    """The end of a file as it is there: its line, the signature of that, and the SHA-256 of all that came before."""

    line: bytes
    signature: bytes
    before: bytes


Piece = BatchPiece | SealPiece | EndPiece

CLOCKS = timedelta(minutes=5)
"""Clocks of workers, and of whoever verifies, may differ by so much."""

MOST_PROBLEMS = 100

LATE = timedelta(days=1)
"""What comes into the record so long after its id was made came from a spool, was tried again, or was made up."""


class Gone(NamedTuple):
    """Events of one class and day that are gone: how many, and the first of them."""

    kind: bytes
    day: datetime
    batch: int
    first: UUID
    events: int

    def __str__(self) -> str:
        """For example: Event … of batch 3 and 2 more of that day are."""
        more = f" and {self.events - 1} more of that day are" if self.events > 1 else " is"
        return f"Event {self.first} of batch {self.batch}{more}"


class LetGo(NamedTuple):
    """A note that what is of a class, and of before a moment, was let go."""

    of: str
    kind: bytes
    before: datetime
    batch: int
    moved_at: datetime

    def __str__(self) -> str:
        return f"{self.of} before {self.before:%Y-%m-%d} (batch {self.batch})"

    def covers(self, gone: Gone) -> bool:
        """Whether all of that was let go by this."""
        return gone.kind == self.kind and gone.day + timedelta(days=1) <= self.before + MARGIN


@dataclass(slots=True)
class Found:
    """What was looked at, and what is wrong with it: the first bad place first."""

    batches: int = 0
    events: int = 0
    let_go: int = 0
    from_before: int = 0
    last_batch: int = 0
    last_hash: bytes = BEFORE_THE_FIRST
    late: int = 0
    first_late: UUID | None = None
    seals: int = 0
    sealed_until: int = 0
    sealed_at: str = ""
    ended_at: str = ""
    notes: list[LetGo] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _places: list[int] = field(default_factory=list)

    def problem(self, sentence: str, batch: int | None = None) -> None:
        """Note something that is wrong at a batch: at the one looked at last, unless told otherwise. Of more than a
        hundred, the first are kept.
        """
        batch = self.last_batch if batch is None else batch
        place = bisect_right(self._places, batch)
        self._places.insert(place, batch)
        self.problems.insert(place, sentence)
        del self._places[MOST_PROBLEMS:], self.problems[MOST_PROBLEMS:]


class Verifier:
    """Goes through a record, oldest first. Memory is bounded by a day of counted events, by those of which only the
    count is left, and by one line for each day from which something is gone.
    """

    def __init__(self, public_keys: Iterable[bytes] = (), now: datetime | None = None) -> None:
        self.found = Found()
        self.gone_but_counted: dict[UUID, int] = {}
        self._keys = Keys(public_keys)
        self._latest = (now or datetime.now(UTC)) + CLOCKS
        self._before = self._noted = EPOCH
        self._last_seal: SealPiece | None = None
        self._has_ordinary = False
        self._counts_to_come: dict[UUID, tuple[int, bytes]] = {}
        self._gone: dict[tuple[bytes, datetime], Gone] = {}
        self._went: set[tuple[bytes, datetime]] = set()

    @property
    def has_keys(self) -> bool:
        """Whether seals can be checked at all."""
        return bool(self._keys)

    def look_at(self, pieces: Iterable[Piece], *, has_end: bool = False) -> Found:
        """All pieces, in the order of their batches, from the first one on; each seal right after what it seals. What
        has an end, as files have, is cut off where there is none, and whatever else is missing may be so by that.
        """
        for piece in pieces:
            if self.found.ended_at:
                self.found.problem("Something stands behind the end.")
            if isinstance(piece, BatchPiece):
                self._batch(piece)
            elif isinstance(piece, SealPiece):
                self._seal(piece)
            else:
                self._end(piece)
        cut = has_end and not self.found.ended_at
        if cut:
            self.found.problem("It does not end as it was written: it was cut off.")
        if not self.found.batches:
            self.found.problem("There is no batch at all.")
        for id_, (number, _) in self._counts_to_come.items():
            self.found.problem(
                f"Event {id_} of batch {number} counts repeats that no batch has.", None if cut else number
            )
        self.found.let_go -= sum(gone.events for gone in self._gone.values())
        for gone in sorted(self._gone.values(), key=lambda gone: gone.batch):
            batch = None if cut else gone.batch  # what says so may have been cut off
            self.found.problem(f"{gone} missing, and nothing says that it was let go.", batch)
        return self.found

    def are_there(self, ids: Iterable[UUID]) -> None:
        """Second look: which events are there. None of those of which there seemed to be only the count may be."""
        for id_ in ids:
            if (number := self.gone_but_counted.pop(id_, None)) is not None:
                self._does_not_say_so(number, id_)

    def _batch(self, piece: BatchPiece) -> None:
        found = self.found
        try:
            said = json.loads(piece.line)
            number, previous, note = int(said["batch"]), bytes.fromhex(said["previous"]), str(said["note"])
            kept = list(entries(b64decode(said["entries"], validate=True)))
            moved_at = datetime.fromisoformat(said["moved_at"]).astimezone(UTC)
        except UNREADABLE:
            found.problem(f"What comes after batch {found.last_batch} is no batch that can be read.")
            return
        if number != found.last_batch + 1:
            before = f"After batch {found.last_batch} comes" if found.batches else "The record begins with"
            found.problem(f"{before} batch {number}: what was before that is missing.")
        elif previous != found.last_hash:
            before = (
                f"batch {found.last_batch}: one of the two was changed" if found.batches else "nothing, as the first"
            )
            found.problem(f"Batch {number} does not carry on {before}.")
        found.batches, found.last_batch, found.last_hash = found.batches + 1, number, sha256(piece.line).digest()
        if found.last_hash != piece.hash:
            found.problem(f"Batch {number} is not what its hash says.")
        self._events(number, kept, self._by_id(number, piece.events))
        if FROM_BEFORE not in note or self._has_ordinary:
            self._late(kept, moved_at)
        self._has_ordinary |= FROM_BEFORE not in note
        if note:
            self._note(number, moved_at, note, len(piece.events))
        if moved_at < self._noted - CLOCKS:
            found.problem(f"Batch {number} was moved before a batch before it noted what was let go: one lies.")
        self._before = moved_at

    def _late(self, kept: Sequence[Entry], moved_at: datetime) -> None:
        since = first_id(moved_at, -LATE)
        late = [one.id for one in kept if one.kind.isupper() and one.id < since]
        self.found.late += len(late)
        self.found.first_late = self.found.first_late or next(iter(late), None)

    def _by_id(self, number: int, events: Sequence[Event]) -> dict[UUID, Event]:
        for event, after in pairwise(events):
            if after.id <= event.id:
                self.found.problem(f"Event {after.id} comes twice in batch {number}, or out of its order.")
        return {event.id: event for event in events}

    def _events(self, number: int, kept: Sequence[Entry], events: Mapping[UUID, Event]) -> None:
        listed = {one.id for one in kept if one.kind.isupper()}
        for id_ in sorted(events.keys() - listed):
            self.found.problem(f"Event {id_} is in batch {number} and does not belong there: it was added.")
        for one in kept:
            if one.kind.islower():
                self._count(number, one)
            elif one.id in events:
                self._is_there(number, one, events[one.id])
            else:
                self._is_gone(number, one)

    def _is_there(self, number: int, one: Entry, event: Event) -> None:
        self.found.events += 1
        if sha256(event.content).digest() != one.digest:
            self.found.problem(f"Event {one.id} of batch {number} was changed.")
        if event.counted:
            self._counts_to_come[one.id] = number, counted_as(event.digest, event.counted)

    def _count(self, number: int, one: Entry) -> None:
        """The latest count of an event is the one it has now; none comes after that."""
        to_come = self._counts_to_come.get(one.id)
        if to_come is not None:
            if to_come[1] == one.digest:
                del self._counts_to_come[one.id]
            elif to_come[1][:HALF] != one.digest[:HALF]:
                self.found.problem(f"In batch {number} something else was counted as a repeat of event {one.id}.")
        elif (one.kind.upper(), _day_of(one.id)) in self._went:
            self.gone_but_counted.setdefault(one.id, number)
        else:
            self._does_not_say_so(number, one.id)

    def _does_not_say_so(self, number: int, id_: UUID) -> None:
        self.found.problem(f"Event {id_} was counted in batch {number}, and does not say so any more.", number)

    def _is_gone(self, number: int, one: Entry) -> None:
        self.found.let_go += 1
        of_day = one.kind, _day_of(one.id)
        gone = self._gone.get(of_day) or Gone(*of_day, number, one.id, 0)
        self._gone[of_day] = gone._replace(events=gone.events + 1)
        self._went.add(of_day)

    def _note(self, number: int, moved_at: datetime, note: str, events: int) -> None:
        """What was let go before this batch, as retention says it; or that its events are from before batches."""
        try:
            said = json.loads(note)
            if FROM_BEFORE in said:
                self.found.from_before += events
                return
            of, before = said["let go"], datetime.fromisoformat(said["before"]).astimezone(UTC)
            let_go = LetGo(of, CLASSES[of], before, number, moved_at)
        except UNREADABLE:
            self.found.problem(f"Batch {number} has a note that cannot be read.")
            return
        self._noted = max(self._noted, moved_at)
        if not self._before - CLOCKS <= moved_at <= self._latest:
            self.found.problem(
                f"Batch {number} lets something go, and says a moment at which it cannot have been moved."
            )
        if before > moved_at:
            self.found.problem(f"Batch {number} lets go what had not come yet: retention never does.")
            return
        self.found.notes.append(let_go)
        for of_day, gone in list(self._gone.items()):
            if let_go.covers(gone):
                self.found.gone.append(self._gone.pop(of_day))

    def _seal(self, piece: SealPiece) -> None:
        found = self.found
        try:
            said = Sealed.read(piece.line)
        except ValueError:
            found.problem("A seal cannot be read.")
            return
        if not self._keys:
            return
        if said.key not in self._keys:
            found.problem(f"A seal of batch {said.batch} was made with key {said.key}, which is none that is known.")
            return
        if not self._keys.made(piece.signature, piece.line, said.key):
            found.problem(f"The seal of batch {said.batch} was not made with its key.")
            return
        if said.previous != name_of(self._last_seal):
            found.problem(
                f"The seal of batch {said.batch} does not carry on the seal before it: there was another one."
            )
        self._is_at_its_place(said)
        self._last_seal = piece
        found.seals += 1
        if said.batch >= found.sealed_until:
            found.sealed_until, found.sealed_at = said.batch, said.made_at

    def _is_at_its_place(self, said: Sealed) -> None:
        found = self.found
        if said.batch > found.last_batch:
            found.problem(f"Batch {said.batch} was sealed, but the record ends with batch {found.last_batch}.")
        elif said.batch < found.last_batch:
            found.problem(f"A seal of batch {said.batch} stands behind batch {found.last_batch}.")
        elif found.last_hash.hex() != said.hash:
            found.problem(f"Batch {said.batch} is not the one that was sealed on {said.made_at}.")

    def _end(self, piece: EndPiece) -> None:
        found = self.found
        try:
            said = End.read(piece.line)
        except ValueError:
            found.problem("The end cannot be read.")
            return
        found.ended_at = said.made_at
        if (said.batch, said.hash) != (found.last_batch, found.last_hash.hex()):
            found.problem(f"The end is that of batch {said.batch}, and the last one is batch {found.last_batch}.")
        elif said.before != piece.before.hex():
            found.problem("Something before the end is not as it was written.", found.last_batch + 1)
        if self._keys and not self._keys.made(piece.signature, END + piece.line, said.key):
            found.problem("The end was not signed with a key that is known: it may be another one.")


def _day_of(id_: UUID) -> datetime:
    return moment_of(id_).replace(hour=0, minute=0, second=0, microsecond=0)
