"""Whether a record is whole and untouched: its chain, and its seals. Pure: no Django, no database.

The same is done for the table and for a file of evidence, of which others can do it without us (docs/evidence.md).
"""

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from apps.audit.chain import BEFORE_THE_FIRST, CLASSES, Entry, entries
from apps.audit.ids import MARGIN, moment_of


class Event(NamedTuple):
    """An event as it is there: its line, and the line of its count, which may be empty."""

    id: UUID
    content: bytes
    count: bytes


class BatchPiece(NamedTuple):
    """A batch as it is there: its line, the hash that stands beside it, and the events that say they are of it."""

    line: bytes
    hash: bytes
    events: Sequence[Event]


class SealPiece(NamedTuple):
    """A seal as it is there: its line, and the signature of that."""

    line: bytes
    signature: bytes


Piece = BatchPiece | SealPiece


@dataclass(slots=True)
class Found:
    """What was looked at, and what is wrong with it: the first bad place first."""

    batches: int = 0
    events: int = 0
    let_go: int = 0
    from_before: int = 0
    last_batch: int = 0
    last_hash: bytes = BEFORE_THE_FIRST
    seals: int = 0
    sealed_until: int = 0
    sealed_at: str = ""
    untrusted_keys: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def problem(self, sentence: str) -> None:
        """Note something that is wrong. Of more than a hundred, only that there are more."""
        if len(self.problems) < 100:
            self.problems.append(sentence)


class Verifier:
    """Goes through a record, oldest first. Memory is bounded by a day of counted events, and one line for each day from
    which something is gone.
    """

    def __init__(self, public_keys: Iterable[bytes] = ()) -> None:
        self.found = Found()
        self._keys = {key_id(key): Ed25519PublicKey.from_public_bytes(key) for key in public_keys}
        self._counts_to_come: dict[UUID, tuple[int, bytes]] = {}
        self._gone: dict[tuple[bytes, datetime], tuple[int, UUID, int]] = {}
        self._went: set[tuple[bytes, datetime]] = set()
        self._left_there: set[UUID] = set()

    @property
    def has_keys(self) -> bool:
        """Whether seals can be checked at all."""
        return bool(self._keys)

    def look_at(self, pieces: Iterable[Piece]) -> Found:
        """All pieces, in the order of their batches, from the first one on; each seal right after what it seals."""
        for piece in pieces:
            if isinstance(piece, BatchPiece):
                self._batch(piece)
            else:
                self._seal(piece)
        if not self.found.batches:
            self.found.problem("There is no batch at all.")
        for id_, (number, _) in self._counts_to_come.items():
            self.found.problem(f"Event {id_} of batch {number} counts repeats that no batch has.")
        for (_, _), (number, id_, count) in sorted(self._gone.items(), key=lambda item: item[1][0]):
            more = f" and {count - 1} more of that day are" if count > 1 else " is"
            self.found.problem(f"Event {id_} of batch {number}{more} missing, and nothing says that it was let go.")
        return self.found

    def _batch(self, piece: BatchPiece) -> None:
        found = self.found
        try:
            said = json.loads(piece.line)
            number, previous, note = int(said["batch"]), bytes.fromhex(said["previous"]), said["note"]
            kept = list(entries(b64decode(said["entries"], validate=True)))
        except (ValueError, KeyError, TypeError):
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
        self._events(number, kept, {event.id: event for event in piece.events})
        if note:
            self._note(number, str(said.get("moved_at")), note)

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
        if event.count:
            self._counts_to_come[one.id] = number, sha256(event.count).digest()
        if (one.kind, _day_of(one.id)) in self._went:
            self._left_there.add(one.id)

    def _count(self, number: int, one: Entry) -> None:
        """The latest count of an event is the one it has now; none comes after that."""
        to_come = self._counts_to_come.get(one.id)
        if to_come is not None:
            if to_come[1] == one.digest:
                del self._counts_to_come[one.id]
        elif (one.kind.upper(), _day_of(one.id)) not in self._went or one.id in self._left_there:
            self.found.problem(f"Event {one.id} was counted in batch {number}, and does not say so any more.")

    def _is_gone(self, number: int, one: Entry) -> None:
        self.found.let_go += 1
        of_day = one.kind, _day_of(one.id)
        first, id_, count = self._gone.get(of_day, (number, one.id, 0))
        self._gone[of_day] = first, id_, count + 1
        self._went.add(of_day)

    def _note(self, number: int, moved: str, note: str) -> None:
        """What was let go before this batch, as retention says it; and of the first one, what was there before it."""
        try:
            said = json.loads(note)
            if number == 1 and "from before" in said:
                self.found.from_before = int(said["from before"])
                if "let go" not in said:
                    return
            moved_at = datetime.fromisoformat(moved)
            kind, before = CLASSES[said["let go"]], datetime.fromisoformat(said["before"]).astimezone(UTC)
        except (ValueError, KeyError, TypeError):
            self.found.problem(f"Batch {number} has a note that cannot be read.")
            return
        if before > moved_at:
            self.found.problem(f"Batch {number} lets go what had not come yet: retention never does.")
            return
        self.found.notes.append(f"{said['let go']} before {before:%Y-%m-%d} (batch {number})")
        for gone_kind, day in list(self._gone):
            if gone_kind == kind and day + timedelta(days=1) <= before + MARGIN:
                del self._gone[gone_kind, day]

    def _seal(self, piece: SealPiece) -> None:
        found = self.found
        try:
            said = json.loads(piece.line)
            number, hash_, key, made_at = int(said["batch"]), said["hash"], str(said["key"]), str(said["made_at"])
        except (ValueError, KeyError, TypeError):
            found.problem("A seal cannot be read.")
            return
        if key not in self._keys:
            found.untrusted_keys.add(key)
            return
        try:
            self._keys[key].verify(piece.signature, piece.line)
        except InvalidSignature:
            found.problem(f"The seal of batch {number} was not made with its key.")
            return
        if number > found.last_batch:
            found.problem(f"Batch {number} was sealed, but the record ends with batch {found.last_batch}.")
        elif number < found.last_batch:
            found.problem(f"A seal of batch {number} stands behind batch {found.last_batch}.")
        elif found.last_hash.hex() != hash_:
            found.problem(f"Batch {number} is not the one that was sealed on {made_at}.")
        found.seals += 1
        if number >= found.sealed_until:
            found.sealed_until, found.sealed_at = number, made_at


def _day_of(id_: UUID) -> datetime:
    return moment_of(id_).replace(hour=0, minute=0, second=0, microsecond=0)


def key_id(public_key: bytes) -> str:
    """By what seals name the key they were made with."""
    return sha256(public_key).hexdigest()[:16]


def pieces_of(lines: Iterable[bytes]) -> Iterator[Piece]:
    """The pieces of a file of evidence. Raises ValueError, with the number of the line, where it is none."""
    batch: tuple[bytes, bytes] | None = None
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        kind, *columns = line.rstrip(b"\n").split(b"\t")
        try:
            if kind == b"event" and batch is not None:
                content, count = columns
                events.append(Event(UUID(json.loads(content)["id"]), content, count))
                continue
            if batch is not None:
                yield BatchPiece(*batch, events)
                batch, events = None, []
            if kind == b"batch":
                batch = columns[0], bytes.fromhex(columns[1].decode())
            elif kind == b"seal":
                yield SealPiece(columns[0], b64decode(columns[1], validate=True))
            else:
                raise ValueError("unknown")
        except (ValueError, IndexError, KeyError, TypeError, AttributeError):
            raise ValueError(f"Line {number} is none of a file of evidence.") from None
    if batch is not None:
        yield BatchPiece(*batch, events)
