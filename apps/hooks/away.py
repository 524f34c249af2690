"""What is answered while Postgres is away, from what this process has in memory.

What has happened already, or only lets go, is answered when its record is in the spool. A running stream is kept for
a while, unless what is known here would refuse it. Everything else must be decided on what is true now, and is not.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache

from django.conf import settings
from msgspec.structs import replace

from apps.access.compile import Snapshot
from apps.access.engine import decide
from apps.access.facts import Decision, Facts
from apps.access.reasons import Reason
from apps.access.snapshot import SnapshotKeeper, facts_for
from apps.audit.moving.spool_emptying import Emptying
from apps.audit.recording import late
from apps.audit.recording.counting import Ticket
from apps.audit.recording.spool import Spool, SpoolUnusable
from apps.audit.recording.token_uses import uses_token
from apps.connections.sessions import Sessions
from apps.database.connection import conninfo_of
from apps.hooks.authentication import CallerRefused, authenticate
from apps.protocol.messages import HookCall
from apps.protocol.methods import RUNNING_STREAM

logger = logging.getLogger(__name__)

GO_ON = "go-on"


class Away:
    """Answers hooks without Postgres, as far as that is right."""

    def __init__(self, keeper: SnapshotKeeper, sessions: Sessions, spool: Spool, emptying: Emptying) -> None:
        self._keeper = keeper
        self._sessions = sessions
        self._spool = spool
        self._emptying = emptying

    def decision(
        self, ticket: Ticket, call: HookCall, environ: Mapping[str, str], body: bytes, now: datetime
    ) -> Decision | None:
        """The decision on a hook, its record being in the spool; None where it cannot be decided without Postgres."""
        since = self._emptying.away(now)
        snapshot = self._keeper.in_memory
        if snapshot is None or not _is_authentic(call, snapshot, environ, body):
            return None
        session = self._sessions.remembered(call.node_id, call.session_id)
        facts = facts_for(call, snapshot, session, snapshot.apps.by_name.get(call.app_key), now)
        decision = _decide(call, facts, since)
        if decision is None:
            return None
        entry = late.entry_for(ticket.id, call, body, facts, decision, session)
        if not self._is_kept(entry, since, ticket):
            return None
        if call.method is not None and call.status in call.method.ends_session:
            self._sessions.forget(call.node_id, call.session_id)  # no stream of it is kept any more
        return decision

    def _is_kept(self, entry: late.Entry, since: datetime, ticket: Ticket) -> bool:
        """Whether the record is in the spool, or the operator wants to go on without."""
        ticket.sent = True  # also what the disk did not take for sure may be found in the file later
        try:
            self._spool.append(late.encode(entry), since)
        except SpoolUnusable as error:
            going_on = settings.SPOOL_FULL == GO_ON
            if going_on:
                ticket.unrecorded()
            logger.critical("%s %s", error, "A hook was answered without a record." if going_on else "")
            return going_on
        return True


def _is_authentic(call: HookCall, snapshot: Snapshot, environ: Mapping[str, str], body: bytes) -> bool:
    app, node = snapshot.apps.by_name.get(call.app_key), snapshot.nodes.by_name.get(call.node_id)
    try:
        authenticate(app, node, snapshot, environ, body)
    except CallerRefused:
        return False
    return True


def _decide(call: HookCall, facts: Facts, since: datetime) -> Decision | None:
    """What needs no truth but that in memory; None for all else."""
    if call.method is None or not call.method.refusable:
        return decide(call, facts)
    if call.method.action != RUNNING_STREAM or facts.now - since >= timedelta(seconds=settings.KEEP_ALIVE_GRACE):
        return None
    decision = decide(call, facts)
    if not decision.allowed or uses_token(facts, decision):
        return None
    return replace(decision, reason=Reason.KEPT_WHILE_AWAY, counts=None)


@lru_cache(maxsize=1)
def spool() -> Spool:
    """That of this process."""
    return Spool(settings.SPOOL, settings.SPOOL_LIMIT)


@lru_cache(maxsize=1)
def emptying() -> Emptying:
    """That of this process."""
    return Emptying(conninfo_of(settings.DATABASES["default"]), spool())
