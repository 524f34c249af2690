"""A recorded hook under today's rules: would it be so now, what would allow it, and what else would that open?

Nothing is recorded or changed by asking.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from apps.access.compile import ChangedRules, Snapshot
from apps.access.explain import Explanation, explained
from apps.access.facts import Facts, Identity, question_of
from apps.access.latest import at_last_revision
from apps.access.reasons import SETTLED_BY_RULES, Reason
from apps.access.rule_rows import row_of
from apps.audit.asking.proposals import Proposal, proposals
from apps.audit.asking.replay import RECOGNISED, Flip, call_of, facts_of, flips, session_of
from apps.audit.models import AuditEvent, Effect, received
from apps.connections.models import Session
from apps.protocol.messages import HookCall

LATEST = 1_000
"""Refusals that are decided again to see what a rule would open."""

LATELY = timedelta(days=90)
"""How old they may be."""


class Openings(NamedTuple):
    """What a rule would open: refused hooks that it would have allowed, out of so many that were looked at."""

    flips: list[Flip]
    looked_at: int
    since: datetime | None


class Again(NamedTuple):
    """A refused hook under today's rules, the rules that would allow it, and what the chosen one of them would open."""

    explanation: Explanation
    proposals: list[Proposal]
    chosen: Proposal | None = None
    openings: Openings | None = None


def explained_now(event: AuditEvent, *, now: datetime) -> Explanation:
    """Whether it would be so now, and why. Raises Unavailable."""
    session = session_of(event)
    return at_last_revision(lambda snapshot: _explained(event, snapshot, session, now))


def asked_to_allow(event: AuditEvent, key: str, *, now: datetime) -> Again:
    """What would allow it, and what else the proposal of this key, or the narrowest, would open. Raises Unavailable."""
    session, refusals = session_of(event), latest_refusals(now)

    def ask(snapshot: Snapshot) -> Again:
        call = call_of(event)
        facts = _facts_now(event, call, snapshot, session, now)
        explanation = explained(call, facts)
        if not rules_settle_it(event, explanation):
            return Again(explanation, [])
        found = proposals(question_of(call, facts), facts.identity.user)
        chosen = next((proposal for proposal in found if proposal.key == key), found[0] if found else None)
        return Again(explanation, found, chosen, _openings(chosen, refusals, snapshot) if chosen else None)

    return at_last_revision(ask)


def rules_settle_it(event: AuditEvent, explanation: Explanation) -> bool:
    """Whether another rule is all that is missing, then and now."""
    return event.reason in RECOGNISED and explanation.reason == Reason.NO_RULE


def latest_refusals(now: datetime) -> list[AuditEvent]:
    """The newest refusals that rules settled: one look into the index for each reason, however long the log is."""
    refused = AuditEvent.objects.filter(received(now - LATELY), effect=Effect.REFUSED).defer("digest", "rules")
    found = [
        event
        for reason in SETTLED_BY_RULES
        if reason is not Reason.ALLOWED_BY_RULE
        for event in refused.filter(reason=reason).order_by("-received_at")[:LATEST]
    ]
    return sorted(found, key=lambda event: event.received_at, reverse=True)[:LATEST]


def _openings(proposal: Proposal, refusals: list[AuditEvent], snapshot: Snapshot) -> Openings:
    rules = ChangedRules(snapshot.rules, (), [row_of(proposal.rule)])
    oldest = refusals[-1].received_at if refusals else None
    return Openings(list(flips(refusals, snapshot, rules)), len(refusals), oldest)


def _explained(event: AuditEvent, snapshot: Snapshot, session: Session | None, now: datetime) -> Explanation:
    call = call_of(event)
    return explained(call, _facts_now(event, call, snapshot, session, now))


def _facts_now(event: AuditEvent, call: HookCall, snapshot: Snapshot, session: Session | None, now: datetime) -> Facts:
    return as_if_now(facts_of(event, call, snapshot, session), now)


def as_if_now(facts: Facts, now: datetime) -> Facts:
    """What is known about a recorded hook if it came now.

    Credentials are not kept. So where one was wrong, it is as if the user came with a good one; where it is not known
    whose it was, the problem stays.
    """
    identity = facts.identity
    if identity.problem is not None and identity.user is not None:
        identity = Identity(user=identity.user, entered_by="asked")
    elif identity.problem is Reason.UNKNOWN_APP and facts.app is not None:
        identity = Identity(problem=Reason.UNKNOWN_SESSION)  # the app is known by now; nothing was opened through it
    return msgspec.structs.replace(facts, now=now, identity=identity)
