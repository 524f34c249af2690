"""What a change to rules would do, before it is made: recorded decisions that would be others, and streams that would
be stopped. Nothing is recorded or changed.

Both are asked of the engine, with the rules as they are and as they would be. Each recorded hook is asked about at its
own moment; what is running now, at this one. Where rules have limits, nobody is counted.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from apps.access.compile import RuleIndex, Snapshot
from apps.access.latest import PATIENCE, last_revision
from apps.access.reasons import SETTLED_BY_RULES, Reason
from apps.access.snapshot import snapshot_keeper
from apps.audit.models import AuditEvent, received
from apps.audit.replay import Flip, call_of, flips
from apps.protocol.screening import screen_text

AT_A_TIME = 2_000
"""Decisions after which it is told how far this has come."""

MOST_SESSIONS = 2_000
"""Open sessions whose streams are asked about: those opened last."""

_ENDED = ("UNPUBLISHED", "STOPPED", "FAILED", "DISCONNECTED")
_COLUMNS = (
    *("received_at", "method", "node_id", "app_key", "session_id", "media_session_id", "call_id", "status", "action"),
    *("target", "username", "user_id", "reason", "body"),
)
_OF_STREAM = ("node_id", "app_key", "session_id", "media_session_id", "call_id", "status", "body")
_LAST_HEARD = """
    SELECT DISTINCT ON (s.id, e.media_session_id) e.*, s.id AS session_pk, s.username AS session_username,
        s.user_id AS session_user_id
    FROM (SELECT id, node_id, session_id, opened_at, username, user_id FROM connections_session WHERE ended_at IS NULL
        ORDER BY opened_at DESC LIMIT %s) s
    CROSS JOIN LATERAL (SELECT id, received_at, node_id, app_key, session_id, media_session_id, call_id, status, body
        FROM audit_auditevent
        WHERE node_id = s.node_id AND session_id = s.session_id AND received_at >= s.opened_at
            AND id >= audit_first_id(s.opened_at - interval '1 minute')
            AND lower(method) = 'streamstatusevent'
        ORDER BY received_at DESC LIMIT 200) e
    ORDER BY s.id, e.media_session_id, e.received_at DESC"""


class Key(NamedTuple):
    """What is counted together: whose hooks, what they asked for, and which way the answer turns."""

    username: str
    action: str
    target: str
    allowed: bool


@dataclass
class Group:
    """Recorded decisions that would turn alike."""

    count: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    latest_id: UUID | None = None

    def add(self, event: AuditEvent) -> None:
        """Count one more, in whatever order they come."""
        self.count += 1
        self.first_at = min(filter(None, (self.first_at, event.received_at)))
        if self.last_at is None or event.received_at >= self.last_at:
            self.last_at, self.latest_id = event.received_at, event.id


@dataclass
class Preview:
    """What was found so far, among the decisions looked at so far."""

    looked_at: int = 0
    since: datetime | None = None
    groups: dict[Key, Group] = field(default_factory=dict)

    @property
    def turned(self) -> int:
        """How many decisions would be others."""
        return sum(group.count for group in self.groups.values())

    def add(self, flip: Flip) -> None:
        """Count a decision that would be another."""
        event = flip.event
        key = Key(event.username, event.action, event.target, flip.after.allowed)
        self.groups.setdefault(key, Group()).add(event)


def fresh_snapshot() -> Snapshot:
    """The rules of the last commit. Raises Unavailable where they cannot be read in time."""
    deadline = time.monotonic() + PATIENCE
    keeper = snapshot_keeper()
    snapshot = keeper.current(deadline)
    revision = snapshot.revision
    return snapshot if revision == last_revision() else keeper.other_than(revision, deadline)


def recorded(most: int, since: datetime | None = None) -> QuerySet[AuditEvent]:
    """The last so many decisions that rules settled, the newest first. No other could turn."""
    events = AuditEvent.objects.filter(reason__in=SETTLED_BY_RULES)
    if since is not None:
        events = events.filter(received(since))
    return events.order_by("-received_at", "-id").only(*_COLUMNS)[:most]


def look(events: QuerySet[AuditEvent], snapshot: Snapshot, rules: RuleIndex) -> Iterator[Preview]:
    """Look at the decisions; gives the preview each time it has come a bit further, and at the end."""
    preview = Preview()
    left = events.iterator(AT_A_TIME)
    while some := list(islice(left, AT_A_TIME)):
        for flip in flips(some, snapshot, rules):
            preview.add(flip)
        preview.looked_at += len(some)
        preview.since = some[-1].received_at
        yield preview
    if not preview.looked_at:
        yield preview


def stopped(snapshot: Snapshot, rules: RuleIndex, now: datetime) -> list[AuditEvent]:
    """The next keep-alives of running streams that would now be refused, and are allowed under the snapshot's rules."""
    return [flip.event for flip in flips(_next_keep_alives(now), snapshot, rules) if not flip.after.allowed]


def _next_keep_alives(now: datetime) -> Iterator[AuditEvent]:
    """What WCS would ask of each running stream now, as it would be recorded.

    What is running is known from the status events: the last one of the stream did not say that it ended, and its
    session is open.
    """
    for event in AuditEvent.objects.raw(_LAST_HEARD, [MOST_SESSIONS]):
        if event.status not in _ENDED:
            asked = AuditEvent(
                **{name: getattr(event, name) for name in _OF_STREAM},
                method="StreamKeepAliveEvent",
                received_at=now,
                username=event.session_username,
                user_id=event.session_user_id,
                reason=Reason.ALLOWED_BY_RULE,
                last_received_at=event.received_at,
            )
            call = call_of(asked)
            asked.action, asked.target = call.action, screen_text(call.target)
            asked.session_pk = event.session_pk
            yield asked
