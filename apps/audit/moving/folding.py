"""Repeats: the same hook may come several times, since WCS repeats what failed while being sent.

Within a window of time such repeats become one event with a count.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from apps.audit.ids import MARGIN, first_id
from apps.audit.moving.enriching import Surroundings
from apps.audit.moving.outbox import KnownEvent, NewEvent, Record, known_events

LONGEST = timedelta(days=1)
"""For how long an event counts repeats. What keeps coming becomes a new event then, and no old partition is asked."""

KNOWN = 16
"""How many of its latest repeats an event knows by their ids."""


@dataclass(slots=True)
class Folded:
    """Events that are new, and events that were there and count more now."""

    new: list[NewEvent] = field(default_factory=list)
    counted: list[KnownEvent] = field(default_factory=list)
    more: Counter[UUID] = field(default_factory=Counter)
    """How many more times those that were there have come."""


class AnotherHook(Exception):
    """An event says that it is of the same hook as a record, by its id or its digest, and is of another one."""

    def __init__(self, event: KnownEvent, by: str) -> None:
        super().__init__(
            f"Event {event.id} has the {by} of this record, and is of another hook: somebody has written to the audit "
            "log. Run verify_audit, mend what it finds, and try this again."
        )


def digest(record: Record) -> bytes:
    """What makes two hooks the same: where it came from, who it was, what it said and how it was answered.

    The body alone does not tell people apart: their credentials were left out of it.
    """
    more = record.told, str((record.user_id, record.rule_ids, record.logged_rule_ids))
    parts = (*_asked(record), *_answered(record), *more)
    return hashlib.blake2b(b"\x00".join(part.encode() for part in parts) + record.body, digest_size=16).digest()


def _asked(hook: Record | KnownEvent) -> tuple[str, ...]:
    return (
        hook.method.lower(),
        hook.node_id,
        hook.app_key,
        hook.session_id,
        hook.media_session_id,
        hook.call_id,
        hook.status,
    )


def _answered(hook: Record | KnownEvent) -> tuple[str, ...]:
    return hook.effect, hook.reason, hook.username


def fold(records: Sequence[Record]) -> Folded:
    """The events that these records become, in the order in which they came.

    A record may come back after it was moved: where the connection broke before the hook path heard that it was
    committed, the recorder writes it again under the same id. An event with its id says so, or one that knows it as a
    repeat. Raises AnotherHook where an event has the id or the digest of one of them and says something else.
    """
    window = timedelta(seconds=settings.REPEAT_WINDOW)
    digests = {record.id: digest(record) for record in records}
    alike = {digests[record.id]: record for record in records}
    latest = _latest_events(alike, records[0].received_at - window, records[-1].received_at + window)
    moved_before = _moved_before({record.id: record for record in records})
    moved_before |= {event.id: event for event in latest.values() if event.id in moved_before}
    around = Surroundings(records)
    new: dict[UUID, NewEvent] = {}
    counted: dict[UUID, NewEvent | KnownEvent] = {}
    more: Counter[UUID] = Counter()
    for record in records:
        key = digests[record.id]
        event = latest.get(key)
        if record.id in moved_before or (event and record.id in event.repeat_ids):
            known = moved_before.get(record.id) or event
            if record.while_away and not known.while_away:  # it was written after all, then answered from the spool
                known.while_away = True
                counted[known.id] = known
        elif event and _repeats(record, event, window):
            event.repeats += 1
            event.repeat_ids = [*event.repeat_ids, record.id][-KNOWN:]
            event.last_received_at = max(event.last_received_at, record.received_at)
            event.while_away |= record.while_away
            counted[event.id] = event
            if event.id not in new:
                more[event.id] += 1
        else:
            new[record.id] = latest[key] = around.event(record, key)
    return Folded([*new.values()], [event for event in counted.values() if event.id not in new], more)


def _moved_before(records: Mapping[UUID, Record]) -> dict[UUID, KnownEvent]:
    """The events of these records that are there. One may have come back decided anew, with another answer."""
    ids = sorted(records)
    events = known_events("id = ANY (%s) AND id BETWEEN %s AND %s", [ids, ids[0], ids[-1]])
    for event in events:
        record = records[event.id]
        if event.received_at != record.received_at or not _says_the_same(event, record):
            raise AnotherHook(event, "id")
    return {event.id: event for event in events}


def _says_the_same(event: KnownEvent, record: Record) -> bool:
    return _asked(event) == _asked(record) and event.body_sha256 == hashlib.sha256(record.body).digest()


def _repeats(record: Record, event: NewEvent | KnownEvent, window: timedelta) -> bool:
    """Whether this is one more of the event, being the same: near enough in time, and not without an end."""
    until = min(event.last_received_at + window, event.received_at + LONGEST)
    return event.received_at - window <= record.received_at <= until


def _latest_events(alike: Mapping[bytes, Record], since: datetime, before: datetime) -> dict[bytes, KnownEvent]:
    """The latest event of each digest, of which this is a record. Ids say the time, too, for the partitions."""
    earliest = since - LONGEST
    events = known_events(
        """digest = ANY (%s) AND last_received_at >= %s AND received_at >= %s AND received_at < %s
            AND id >= %s AND id < %s""",
        [list(alike), since, earliest, before, first_id(earliest, -MARGIN), first_id(before, MARGIN)],
    )
    latest = {event.digest: event for event in events}
    for event in latest.values():
        record = alike[event.digest]
        if _answered(event) != _answered(record) or not _says_the_same(event, record):
            raise AnotherHook(event, "digest")
    return latest
