"""What a change to rules would do, before it is made: recorded decisions that would be others, and streams that would
be stopped. Nothing is recorded or changed.

Both are asked of the engine, with the rules as they are and as they would be. Each recorded hook is asked about at its
own moment; what is running now, at this one. Where rules have limits, nobody is counted.
"""

import json
import time
from collections.abc import Iterator, Sequence
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
from apps.audit.asking.replay import Flip, flips
from apps.audit.models import AuditEvent, received
from apps.connections.models import Session
from apps.database.lookups import AnyOf
from apps.live.models import Lease
from apps.protocol.methods import STREAM_ACTIONS

AT_A_TIME = 2_000
"""Decisions after which it is told how far this has come."""

MOST_STREAMS = 2_000
"""Running streams that are asked about: those that were let in last."""

_COLUMNS = (
    *("received_at", "method", "node_id", "app_key", "session_id", "media_session_id", "call_id", "status", "action"),
    *("target", "username", "user_id", "reason", "body"),
)


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
    """What WCS would ask of each running stream now, as it would be recorded; of those in open sessions, as no other
    is asked about. What a stream is like is known from the hook by which it was let in.
    """
    running = list(
        Lease.objects.running(now).filter(action__in=STREAM_ACTIONS).order_by("-opened_at", "-id")[:MOST_STREAMS]
    )
    sessions = _open_sessions(running)
    began = AuditEvent.objects.filter(id__in=[lease.record_id for lease in running])
    bodies = dict(began.values_list("id", "body"))
    for lease in running:
        session_pk = sessions.get((lease.node_id, lease.session_id))
        if session_pk is not None:
            asked = _keep_alive(lease, bodies.get(lease.record_id, b"{}"), now)
            asked.session_pk = session_pk
            yield asked


def _open_sessions(leases: Sequence[Lease]) -> dict[tuple[str, str], int]:
    found = Session.objects.filter(AnyOf("session_id", {lease.session_id for lease in leases}), ended_at=None)
    return {(node_id, session_id): pk for node_id, session_id, pk in found.values_list("node_id", "session_id", "pk")}


def _keep_alive(lease: Lease, body: bytes, now: datetime) -> AuditEvent:
    told = {**json.loads(body), "name": lease.target, "published": lease.action == "publish"}
    return AuditEvent(
        received_at=now,
        method="StreamKeepAliveEvent",
        node_id=lease.node_id,
        app_key=lease.app_key,
        session_id=lease.session_id,
        media_session_id=lease.key,
        action=lease.action,
        target=lease.target,
        username=lease.username,
        user_id=lease.user_id,
        reason=Reason.ALLOWED_BY_RULE,
        last_received_at=lease.started_at or lease.opened_at,
        body=json.dumps(told).encode(),
    )
