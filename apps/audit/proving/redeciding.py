"""Each recorded answer, decided again as of its revision, must be its own again. A difference is damage: the event was
changed, or what it was decided by.

Who asked is found again by the session where there was one, else it is taken as it was recorded. What cannot be decided
again has a reason that is known, and is never taken for good.
"""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

import msgspec
from django.db.models import QuerySet

from apps.access.compile import Snapshot
from apps.access.engine import decide
from apps.access.facts import Decision, Facts, Identity, origin_of, question_of
from apps.access.identity import identify
from apps.access.models import Rule
from apps.access.reasons import STAFF_ACTION, Reason
from apps.access.then import NotRecorded
from apps.audit.asking.past import Past, past
from apps.audit.asking.replay import NOBODY_ASKED, RECOGNISED, call_of, facts_of, session_of, sessions_of
from apps.audit.models import AuditEvent, Effect
from apps.connections.models import Session
from apps.connections.rows import SessionRow
from apps.protocol.messages import HookCall
from apps.protocol.screening import TOO_LONG

AT_ONCE = 5_000
"""Events that are decided together: within them, in the order of their revisions."""

BY_SESSION = ("guest", "password", "token", "jwt")
"""Ways in which a session was opened that tell, with the rows of then, who is behind a hook of it."""

KNOWN_ANYWAY = (*RECOGNISED, Reason.CUT, Reason.CONNECT_AGAIN, Reason.HIDDEN_DIGITS)
"""Reasons with which it is recorded who asked."""

OF_SESSION = (Reason.UNKNOWN_SESSION, Reason.SESSION_ENDED)
"""Reasons that say what the session was."""

MASKS = (b"***", b"[left out]")
"""What stands in a stored body for what was left out of it."""


class Why(StrEnum):
    """Why something cannot be decided again."""

    AWAY = "it was answered while the database was away, by what was known then"
    BEFORE = "it is from before changes were recorded, or what was changed since was let go"
    CREDENTIAL = "it depends on a credential, and none is kept"
    SESSION = "it depends on what its session was, and the session is gone, or has been opened anew"
    RUNNING = "it depends on what was running or had been ordered to end, and that is not recorded"
    LIMIT = "a limit was counted then, which cannot be counted again; the rules are the same"
    CLAIMS = "who it was is known from a signed token alone, and that is not kept"
    LEFT_OUT = "it depends on something that was left out of its body as a secret, or for its size"
    VERSION = "its reason is one that this version does not know"


class Redecided(NamedTuple):
    """An event as of its revision: the decision of now, or why there is none. With neither, it is its own again."""

    event: AuditEvent
    why: Why | None = None
    other: Decision | None = None

    def __str__(self) -> str:
        """What is wrong, for example: was “allow, allowed-by-rule” (rules 1, 2), and would be “deny, no-rule”."""
        if self.other is None:
            return self.why or "It was decided again, and is the same."
        was = _answer(self.event.effect, self.event.reason, self.event.rule_ids, self.event.logged_rule_ids)
        effect = Effect.ALLOWED if self.other.allowed else Effect.REFUSED
        now = _answer(effect, self.other.reason, self.other.rule_ids, self.other.logged_rule_ids)
        return f"was {was}, and as of revision {self.event.revision} it would be {now}"

    @property
    def is_same(self) -> bool:
        """Whether it was decided again, and is the same."""
        return self.why is None and self.other is None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A hook as it was, and what is known of it."""

    event: AuditEvent
    call: HookCall
    facts: Facts
    by_session: bool


def _answer(effect: str, reason: str, rule_ids: Iterable[int], logged_rule_ids: Iterable[int]) -> str:
    rules, logged = ", ".join(map(str, rule_ids)), ", ".join(map(str, logged_rule_ids))
    more = [f"by rules {rules}" if rules else "", f"with only logged {logged}" if logged else ""]
    return " ".join(filter(None, (Effect(effect).label if effect in Effect else effect, f"({reason})", *more)))


def events_again(events: QuerySet[AuditEvent], was: Past) -> Iterator[Redecided]:
    """Each of the events that were answers, the newest first; none that came after the past was looked at."""
    answers = events.exclude(reason=STAFF_ACTION).filter(revision__lte=was.last)
    answers = answers.order_by("-received_at", "-id").iterator(AT_ONCE)
    while some := list(islice(answers, AT_ONCE)):
        sessions = sessions_of(some)
        for event in sorted(some, key=lambda event: -event.revision):
            if event.received_at < was.recorded_since or event.revision < was.first:
                yield Redecided(event, Why.BEFORE)
            else:
                yield again(event, was.at(event.revision), sessions.get((event.node_id, event.session_id)))


def event_again(event: AuditEvent) -> tuple[Redecided, list[Rule]]:
    """One event as of its revision, with the rules that decide it, as they were.

    Raises OthersAreLooking, or psycopg.OperationalError.
    """
    try:
        with past(event.received_at) as was:
            one = again(event, was.at(event.revision), session_of(event))
            rule_ids = one.other.rule_ids if one.other else event.rule_ids
            return one, list(was.rules(rule_ids).values())
    except NotRecorded:
        return Redecided(event, Why.BEFORE), []


def again(event: AuditEvent, snapshot: Snapshot, session: Session | None) -> Redecided:
    """An event under the snapshot of its revision, with the session that has its ids today."""
    if why := _undecidable(event):
        return Redecided(event, why)
    asked = _asked(event, snapshot, session)
    decision = decide(asked.call, asked.facts)
    if decision.counts is not None and decision.allowed and _counted_then(event, decision):
        return Redecided(event, Why.LIMIT)
    if _is_same(event, decision):
        return Redecided(event, _taken_as_recorded(asked, decision))
    why = _lacking(asked, decision)
    return Redecided(event, why) if why else Redecided(event, None, decision)


def _undecidable(event: AuditEvent) -> Why | None:
    if event.while_away or event.reason == Reason.KEPT_WHILE_AWAY:
        return Why.AWAY
    if event.reason not in set(Reason):
        return Why.VERSION
    return Why.RUNNING if event.reason == Reason.UNKNOWN_CALL and event.effect == Effect.REFUSED else None


def _taken_as_recorded(asked: _Asked, decision: Decision) -> Why | None:
    """Why the same answer says nothing: it was what the event itself says of whoever asked."""
    problem = asked.facts.identity.problem
    if problem is None or asked.by_session or decision.reason is not problem:
        return None
    if problem in OF_SESSION:
        return Why.SESSION
    return Why.CREDENTIAL


def _asked(event: AuditEvent, snapshot: Snapshot, session: Session | None) -> _Asked:
    call = call_of(event)
    facts = facts_of(_as_recognised(event), call, snapshot, session)
    app, row = facts.app, _as_it_was(event, facts.session)
    facts = msgspec.structs.replace(facts, session=row)
    if (
        event.reason in (*NOBODY_ASKED, *OF_SESSION)
        or app is None
        or row is None
        or not _tells(row, call, app.token_name)
    ):
        identity = Identity() if event.reason == Reason.UNKNOWN_APP else facts.identity
        return _Asked(event, call, msgspec.structs.replace(facts, identity=identity), False)
    identity = identify(call, app, row, snapshot, now=event.received_at, check_password=lambda user, password: False)
    return _Asked(event, call, msgspec.structs.replace(facts, identity=identity), True)


def _as_recognised(event: AuditEvent) -> AuditEvent:
    """The event, as if rules had settled it where it is known who asked all the same."""
    if event.reason not in KNOWN_ANYWAY or event.reason in RECOGNISED:
        return event
    recognised = copy(event)
    recognised.reason = Reason.ALLOWED_BY_RULE
    return recognised


def _as_it_was(event: AuditEvent, row: SessionRow | None) -> SessionRow | None:
    """The session, open, since nothing is decided in another one; its user may have been removed since."""
    user_id = event.user_id if row is not None and row.username == event.username else None
    return msgspec.structs.replace(row, ended=False, user_id=row.user_id or user_id) if row is not None else None


def _tells(session: SessionRow, call: HookCall, token_name: str) -> bool:
    """Whether the session tells who is behind a hook: no credential came with that, and what the session was opened
    with is still known."""
    known = session.entered_by in BY_SESSION and (session.entered_by != "token" or session.token_id is not None)
    return known and call.credential(token_name) is None


def _is_same(event: AuditEvent, decision: Decision) -> bool:
    answer = Effect.ALLOWED if decision.allowed else Effect.REFUSED
    return (event.effect, event.reason, tuple(event.rule_ids), tuple(event.logged_rule_ids)) == (
        str(answer),
        str(decision.reason),
        decision.rule_ids,
        decision.logged_rule_ids,
    )


def _counted_then(event: AuditEvent, decision: Decision) -> bool:
    """Whether counting can have made the event of what the rules say: it refuses, or picks one of the rules."""
    limited = (event.effect, event.reason) == (Effect.REFUSED, Reason.LIMIT_REACHED)
    allowed = (event.effect, event.reason) == (Effect.ALLOWED, decision.reason)
    rules = set(event.rule_ids) <= set(decision.rule_ids)
    return (limited or allowed) and rules and tuple(event.logged_rule_ids) == decision.logged_rule_ids


def _lacking(asked: _Asked, decision: Decision) -> Why | None:
    """What is not known of then and may have made the difference; None where all is known."""
    event, call, facts = asked.event, asked.call, asked.facts
    if Reason.CUT in (event.reason, decision.reason):
        return Why.RUNNING
    if call.method is not None and call.method.in_session and facts.session is None:
        return Why.SESSION
    if not asked.by_session and _by_token_alone(event, facts):
        return Why.CLAIMS
    return Why.LEFT_OUT if _depends_on_masked(event, call, facts) else None


def _by_token_alone(event: AuditEvent, facts: Facts) -> bool:
    """Whether somebody may have come with a signed token, whose groups count besides their own, or who has no row."""
    signed = bool(facts.snapshot.issuers.by_id) and (facts.session is None or facts.session.entered_by == "jwt")
    return bool(event.username) and signed


def _depends_on_masked(event: AuditEvent, call: HookCall, facts: Facts) -> bool:
    """Whether rules compare something of the hook that was left out of its body."""
    body = bytes(event.body)
    if body.startswith(TOO_LONG) or "***" in call.target + origin_of(call, facts.session):
        return True
    if not any(mask in body for mask in MASKS):
        return False
    about = facts.snapshot.rules.candidates(facts.identity.user, question_of(call, facts))
    return any(rule.conditions is not None and rule.conditions.custom for rule in about)
