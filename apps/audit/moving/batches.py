"""The batches in which events come into the audit log, each a link of the chain (`chain`)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from apps.audit.chain import BEFORE_THE_FIRST, batch_hash, count_line, entry, event_line, kind_of, line
from apps.audit.models import AuditEvent, Batch
from apps.audit.moving.outbox import KnownEvent, NewEvent

CONTENT = (
    *("id", "received_at", "method", "node_id", "node_name", "app_key", "session_id", "media_session_id", "call_id"),
    *("status", "action", "target", "number", "client_address", "username", "user_id", "stream_id", "effect", "reason"),
    *("rule_ids", "logged_rule_ids", "rules", "told", "revision", "duration", "digest", "body"),
)
"""What is written of an event once and for all."""


def next_number() -> int:
    """The number of the next batch. Only for who has the lock BATCHES."""
    return (Batch.objects.order_by("-number").values_list("number", flat=True).first() or 0) + 1


def append(
    number: int,
    moved_at: datetime,
    new: Sequence[AuditEvent | NewEvent] = (),
    counted: Iterable[AuditEvent | KnownEvent] = (),
    note: Mapping[str, object] = MappingProxyType({}),
) -> Batch:
    """Add a link to the chain: these events came, these others were counted again. Only with the lock BATCHES.

    The first one also notes how many events are from before there were batches, so that nobody adds any to them.
    """
    kept = b"".join(
        [*(entry(kind_of(event.reason), event.id, content(event)) for event in new), *_counts(new), *_counts(counted)]
    )
    if number == 1 and (before := AuditEvent.objects.filter(batch=None).count()):
        note = {"from before": before, **note}
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
            yield entry(kind_of(event.reason).lower(), event.id, counted)
