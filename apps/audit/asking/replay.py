"""Recorded hooks, decided again: what would other rules have answered? Nothing is recorded or changed.

A hook is taken as it was recorded: what it asked, when, and who was found to ask. Users, groups, streams and number
classes are those of the snapshot. Credentials are not kept, so nobody is recognised who was not recognised then.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from apps.access.compile import RuleIndex, Snapshot
from apps.access.engine import decide
from apps.access.facts import Decision, Facts, Identity
from apps.access.other_ways_in import by_session_of_web_token
from apps.access.reasons import SETTLED_BY_RULES, Reason
from apps.access.rows import LinkRow
from apps.audit.models import AuditEvent
from apps.connections.models import Session
from apps.connections.rows import SessionRow
from apps.protocol.messages import HookCall, HookTooLarge, MalformedHook
from apps.protocol.methods import find

BATCH = 500
"""Events whose sessions are looked up together."""

RECOGNISED = (*SETTLED_BY_RULES, Reason.ALLOWED_BY_LINK, Reason.PROTECTED_NUMBER, Reason.USER_INACTIVE)
"""Reasons with which it was known who asked."""

NOBODY_ASKED = (Reason.UNKNOWN_METHOD, Reason.NOT_REFUSABLE, Reason.STARTED_BY_REST_API)
"""Reasons with which it did not matter who asked."""

SOME_LINK = LinkRow(0, "", "", "", datetime.max.replace(tzinfo=UTC))
"""In the place of the link that somebody held: it was good then, and which one it was is not kept."""

_EMPTY = b'{"nodeId":"-","sessionId":"-"}'


class Flip(NamedTuple):
    """A recorded hook that other rules would answer otherwise."""

    event: AuditEvent
    before: Decision
    after: Decision


def flips(events: Iterable[AuditEvent], snapshot: Snapshot, rules: RuleIndex) -> Iterator[Flip]:
    """Those of the events that these rules allow and the snapshot's own refuse, or the other way round."""
    changed = snapshot.with_rules(rules)
    for event, call, facts in asked_again(events, snapshot):
        before = decide(call, facts)
        after = decide(call, msgspec.structs.replace(facts, snapshot=changed))
        if before.allowed != after.allowed:
            yield Flip(event, before, after)


def asked_again(events: Iterable[AuditEvent], snapshot: Snapshot) -> Iterator[tuple[AuditEvent, HookCall, Facts]]:
    """Each event with its hook and what is known about it; one query for the sessions of many."""
    batch: list[AuditEvent] = []
    for event in events:
        batch.append(event)
        if len(batch) == BATCH:
            yield from _asked_again(batch, snapshot)
            batch = []
    yield from _asked_again(batch, snapshot)


def _asked_again(events: Sequence[AuditEvent], snapshot: Snapshot) -> Iterator[tuple[AuditEvent, HookCall, Facts]]:
    sessions = sessions_of(events)
    for event in events:
        call, session = call_of(event), sessions.get((event.node_id, event.session_id))
        yield event, call, facts_of(event, call, snapshot, session)


def call_of(event: AuditEvent) -> HookCall:
    """The hook of an event: its body as stored; where that was too large to be kept, what the columns have of it.

    What names nothing but a call is about the number that was found for it then.
    """
    method = find(event.method)
    try:
        call = HookCall.from_payload(event.method, method, bytes(event.body))
    except (MalformedHook, HookTooLarge):
        call = HookCall.from_payload(event.method, method, _EMPTY)
    if (call.session_id, call.app_key) == (event.session_id, event.app_key):
        found = method is not None and method.of_call and not call.target
        return msgspec.structs.replace(call, target=event.target) if found else call
    columns = ("node_id", "app_key", "session_id", "media_session_id", "call_id", "target", "action", "status")
    return msgspec.structs.replace(call, **{name: getattr(event, name) for name in columns})


def facts_of(event: AuditEvent, call: HookCall, snapshot: Snapshot, session: Session | None) -> Facts:
    """What is known about the hook of an event, at its own moment. A session that was opened later is another one.

    Who came with a connect is known by the session that it opened, though it happens in none.
    """
    of_event = session is not None and session.opened_at <= event.received_at
    row = session.row() if session is not None and of_event else None
    return Facts(
        now=event.received_at,
        app=snapshot.apps.by_name.get(event.app_key),
        identity=identity_of(event, call, snapshot, row),
        snapshot=snapshot,
        session=row if call.method is not None and call.method.in_session else None,
    )


def identity_of(event: AuditEvent, call: HookCall, snapshot: Snapshot, session: SessionRow | None) -> Identity:
    """Who was found to ask, as far as they are still there; or the problem that was recorded."""
    user = snapshot.users.by_id.get(event.user_id) if event.user_id is not None else None
    if event.reason in NOBODY_ASKED:
        return Identity(user=user)
    if event.reason not in RECOGNISED:
        return Identity(user=user, problem=_problem(event.reason))
    if session is not None and session.entered_by == "jwt" and session.username == event.username:
        user = by_session_of_web_token(session, call, snapshot, now=event.received_at).user or user
    if user is not None:
        return Identity(user=user, entered_by="recorded")
    if event.username:
        return Identity(problem=Reason.USER_INACTIVE)
    by_link = event.reason == Reason.ALLOWED_BY_LINK or (session is not None and session.entered_by == "link")
    return Identity(entered_by="link", link=SOME_LINK) if by_link else Identity(entered_by="guest")


def _problem(reason: str) -> Reason:
    """The reason as a value; for one of another version, that nobody was recognised."""
    try:
        return Reason(reason)
    except ValueError:
        return Reason.NO_CREDENTIALS


def session_of(event: AuditEvent) -> Session | None:
    """The session in which an event happened; None if there is none of these ids."""
    return sessions_of([event]).get((event.node_id, event.session_id))


def sessions_of(events: Sequence[AuditEvent]) -> dict[tuple[str, str], Session]:
    """The sessions of these node and session ids."""
    nodes, ids = {event.node_id for event in events}, {event.session_id for event in events} - {""}
    found = Session.objects.filter(node_id__in=nodes, session_id__in=ids) if ids else ()
    return {(session.node_id, session.session_id): session for session in found}
