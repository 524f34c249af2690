"""The batches in which events come into the audit log, each a link of the chain (`chain`)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from django.utils import timezone

from apps.audit.chain import (
    BEFORE_THE_FIRST,
    ENTRY,
    FROM_BEFORE,
    batch_hash,
    count_entry,
    count_line,
    entries,
    entry,
    event_line,
    kind_of,
    line,
)
from apps.audit.locks import AdvisoryLock, only_one
from apps.audit.models import AuditEvent, Batch
from apps.audit.moving.outbox import KnownEvent, NewEvent
from apps.audit.net import is_whole

CONTENT = (
    *("id", "received_at", "method", "node_id", "node_name", "app_key", "session_id", "media_session_id", "call_id"),
    *("status", "action", "target", "number", "client_address", "username", "user_id", "stream_id", "effect", "reason"),
    *("rule_ids", "logged_rule_ids", "rules", "told", "revision", "duration", "digest", "body"),
)
"""What is written of an event once and for all."""

TAKEN_IN_AT_ONCE = 2_000


def may_move() -> bool:
    """Whether this transaction may move something into the log until it ends: it alone has the lock BATCHES, and all
    that was moved before is found, so that nothing is moved twice.
    """
    return only_one(AdvisoryLock.BATCHES) and is_whole()


def next_number() -> int:
    """The number of the next batch. Only with the lock BATCHES.

    Before there is a first one, events of a time without batches are taken in.
    """
    last = _last_number()
    return (last if last else take_in()) + 1


def take_in() -> int:
    """List events that are of no batch, being from before there were any, in batches of their own: so nobody adds to
    them, nor changes any. Gives the number of the last batch. Only with the lock BATCHES.
    """
    number, listed = _last_number(), from_before()
    events = AuditEvent.objects.filter(batch=None).order_by("id")
    while some := list(events[:TAKEN_IN_AT_ONCE]):
        events = events.filter(id__gt=some[-1].id)
        if new := [event for event in some if event.id not in listed]:
            number += 1
            append(number, timezone.now(), new, note={FROM_BEFORE: len(new)})
    return number


def from_before() -> set[UUID]:
    """The ids of events that were taken in."""
    taken_in = Batch.objects.filter(note__contains=f'"{FROM_BEFORE}"').values_list("entries", flat=True)
    whole = (bytes(kept) for kept in taken_in.iterator(10) if len(kept) % ENTRY == 0)
    return {one.id for kept in whole for one in entries(kept)}


def _last_number() -> int:
    return Batch.objects.order_by("-number").values_list("number", flat=True).first() or 0


def append(
    number: int,
    moved_at: datetime,
    new: Sequence[AuditEvent | NewEvent] = (),
    counted: Iterable[AuditEvent | KnownEvent] = (),
    note: Mapping[str, object] = MappingProxyType({}),
) -> Batch:
    """Add a link to the chain: these events came, these other ones were counted again. Only with the lock BATCHES."""
    kept = b"".join(
        [*(entry(kind_of(event.reason), event.id, content(event)) for event in new), *_counts(new), *_counts(counted)]
    )
    noted = line(**note).decode() if note else ""
    last = Batch.objects.filter(number=number - 1).values_list("hash", flat=True).first()
    previous = bytes(last) if last is not None else BEFORE_THE_FIRST
    return Batch.objects.create(
        number=number,
        moved_at=moved_at,
        note=noted,
        entries=kept,
        previous=previous,
        hash=batch_hash(number, moved_at, noted, previous, kept),
    )


def content(event: AuditEvent | NewEvent) -> bytes:
    """The line of an event: all that is written of it once and for all."""
    return event_line({name: getattr(event, name) for name in CONTENT})


def count_of(event: AuditEvent | NewEvent | KnownEvent) -> bytes:
    """The line of what may change of an event; b"" as long as nothing has."""
    return count_line(event.id, event.received_at, event.last_received_at, event.repeats, event.while_away)


def _counts(events: Iterable[AuditEvent | NewEvent | KnownEvent]) -> Iterable[bytes]:
    for event in events:
        if counted := count_of(event):
            yield count_entry(kind_of(event.reason), event.id, bytes(event.digest), counted)
