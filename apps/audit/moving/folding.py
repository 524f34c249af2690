"""Repeats: the same hook may come several times, since WCS repeats what failed while being sent.

Within a window of time such repeats become one event with a count.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
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


def digest(record: Record) -> bytes:
    """What makes two hooks the same: where it came from, who it was, what it said and how it was answered.

    The body alone does not tell people apart: their credentials were left out of it.
    """
    parts = (
        record.method.lower(),
        record.node_id,
        record.app_key,
        record.session_id,
        record.media_session_id,
        record.call_id,
        record.status,
        record.effect,
        record.reason,
        record.username,
        record.told,
        str((record.user_id, record.rule_ids, record.logged_rule_ids)),
    )
    return hashlib.blake2b(b"\x00".join(part.encode() for part in parts) + record.body, digest_size=16).digest()


def fold(records: Sequence[Record]) -> Folded:
    """The events that these records become, in the order in which they came.

    A record may come back after it was moved: where the connection broke before the hook path heard that it was
    committed, the recorder writes it again under the same id. An event with its id says so, or one that knows it as a
    repeat.
    """
    window = timedelta(seconds=settings.REPEAT_WINDOW)
    digests = {record.id: digest(record) for record in records}
    latest = _latest_events(set(digests.values()), records[0].received_at - window, records[-1].received_at + window)
    moved_before = _moved_before(digests) | {event.id: event for event in latest.values() if event.id in digests}
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


def _moved_before(ids: Iterable[UUID]) -> dict[UUID, KnownEvent]:
    ids = sorted(ids)
    events = known_events("id = ANY (%s) AND id BETWEEN %s AND %s", [ids, ids[0], ids[-1]])
    return {event.id: event for event in events}


def _repeats(record: Record, event: NewEvent | KnownEvent, window: timedelta) -> bool:
    """Whether this is one more of the event, being the same: near enough in time, and not without an end."""
    until = min(event.last_received_at + window, event.received_at + LONGEST)
    return event.received_at - window <= record.received_at <= until


def _latest_events(digests: Iterable[bytes], since: datetime, before: datetime) -> dict[bytes, KnownEvent]:
    """The latest event of each digest. Ids say the time, too, for the partitions."""
    earliest = since - LONGEST
    events = known_events(
        """digest = ANY (%s) AND last_received_at >= %s AND received_at >= %s AND received_at < %s
            AND id >= %s AND id < %s""",
        [list(digests), since, earliest, before, first_id(earliest, -MARGIN), first_id(before, MARGIN)],
    )
    return {event.digest: event for event in events}
