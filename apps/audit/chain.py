"""The chain that shows tampering: what of the record is hashed, and how. Pure: no Django, no database.

Events are moved in batches. Each batch lists its entries, one for each event and each change of a count, with the
SHA-256 of a line of JSON that says all there is to say; and it is itself such a line, with the hash of the batch before
it. So whoever changes, deletes, swaps or adds anything has to change every batch from there on, and the seals
(`evidence`) show that. docs/evidence.md tells others how to check it without us.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from apps.access import reasons

BEFORE_THE_FIRST = bytes(32)
DECISION, EVENT, STAFF_ACTION = b"D", b"E", b"S"
"""Kinds of entries: an event of this class of the record came. In small letters, its count has changed."""

CLASSES = {"decisions": DECISION, "status events": EVENT, "changes by staff": STAFF_ACTION}
"""What a batch calls the class of the record that it lets go."""

FROM_BEFORE = "from before"
"""What the note of a batch calls it that its events are from before there were batches."""

ENTRY = 1 + 16 + 32
"""Bytes of an entry: its kind, the id of its event, and a SHA-256."""

HALF = 16
"""Bytes of the digest of what was counted, in the entry of a count, before half a SHA-256."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class Entry(NamedTuple):
    """One event of a batch, or one change of a count. `digest` is the SHA-256 of its line, or `counted_as`."""

    kind: bytes
    id: UUID
    digest: bytes


def line(**members: Any) -> bytes:
    """A line of JSON in the one form it has: members sorted by name, no spaces, UTF-8, nothing escaped that need not
    be. Moments are in UTC with six decimals, ids are plain, bytes are text where they are UTF-8, else base64.
    """
    return _encode(
        {name: _PLAIN[kind](value) if (kind := type(value)) in _PLAIN else value for name, value in members.items()}
    )


def kind_of(reason: str) -> bytes:
    """Which class of the record an event with this reason is of: each is kept for a time of its own."""
    if reason == reasons.STAFF_ACTION:
        return STAFF_ACTION
    return EVENT if reason in reasons.NOTED else DECISION


def event_line(members: Mapping[str, Any]) -> bytes:
    """The line of an event. Its duration is in microseconds, its digest in hex."""
    lasted = members["duration"]
    return line(
        **{
            **members,
            "body": bytes(members["body"]),
            "digest": bytes(members["digest"]).hex(),
            "duration": None if lasted is None else lasted // timedelta(microseconds=1),
        }
    )


def entry(kind: bytes, id_: UUID, content: bytes) -> bytes:
    """An entry as it is kept."""
    return kind + id_.bytes + sha256(content).digest()


def count_entry(kind: bytes, id_: UUID, digest: bytes, content: bytes) -> bytes:
    """An entry of a count, as it is kept: with the digest of what was counted, so that nothing else is counted as
    a repeat of the event unseen, and half a SHA-256.
    """
    return kind.lower() + id_.bytes + counted_as(digest, content)


def counted_as(digest: bytes, content: bytes) -> bytes:
    """What the entry of a count has in place of a SHA-256."""
    return digest[:HALF].ljust(HALF, b"\0") + sha256(content).digest()[:HALF]


def entries(kept: bytes) -> Iterator[Entry]:
    """The entries of a batch. Raises ValueError where it is not made of whole ones."""
    if len(kept) % ENTRY:
        raise ValueError("It does not end with a whole entry.")
    for start in range(0, len(kept), ENTRY):
        part = kept[start : start + ENTRY]
        yield Entry(part[:1], UUID(bytes=part[1:17]), part[17:])


def count_line(id_: UUID, received_at: datetime, last_received_at: datetime, repeats: int, while_away: bool) -> bytes:
    """What of an event may change after it was written; b"" as long as nothing has."""
    if repeats == 0 and last_received_at == received_at and not while_away:
        return b""
    return line(id=id_, last_received_at=last_received_at, repeats=repeats, while_away=while_away)


def batch_line(number: int, moved_at: datetime, note: str, previous: bytes, kept: bytes) -> bytes:
    """The line of a batch; its SHA-256 is the batch's hash."""
    return line(batch=number, entries=b64encode(kept).decode(), moved_at=moved_at, note=note, previous=previous.hex())


def batch_hash(number: int, moved_at: datetime, note: str, previous: bytes, kept: bytes) -> bytes:
    """The hash of a batch, which the next one carries on."""
    return sha256(batch_line(number, moved_at, note, previous, kept)).digest()


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


_PLAIN: dict[type, Callable[[Any], Any]] = {datetime: _moment, bytes: _text}
"""What is made of values for which JSON has no form of its own."""
