"""Deciding. The order of CHECKS is the policy; `docs/deciding.md` numbers the same list. Pure.

Nobody is allowed because nothing was found: when no check has an opinion, the answer is no.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from apps.access.facts import Decision, Facts, Identity, question_of
from apps.access.limiting import limits_for, who_of
from apps.access.matching import applies
from apps.access.question import Question
from apps.access.reasons import Reason
from apps.access.rewriting import Change, changes_of, dialled, needed, strictest
from apps.access.rows import RuleRow
from apps.protocol.messages import HookCall
from apps.protocol.methods import CONNECT, STREAM_ACTIONS
from apps.protocol.numbers import canonical, hides_digits, host_of
from apps.protocol.policy import NOTHING, Hiding

Check = Callable[[HookCall, Facts], Decision | None]


def decide(call: HookCall, facts: Facts) -> Decision:
    """Decide on one hook. Gives the first opinion in the order of CHECKS, else a refusal."""
    decision = _first_opinion(call, facts)
    if decision.allowed and call.method is not None and call.method.kind is CONNECT:
        return _with_policy(decision, facts)
    return decision


def _first_opinion(call: HookCall, facts: Facts) -> Decision:
    for check in CHECKS:
        decision = check(call, facts)
        if decision is not None:
            return decision
    return Decision(False, Reason.NO_RULE)


def _with_policy(decision: Decision, facts: Facts) -> Decision:
    """What an allowed connect brings: a SIP account, where a rule let in a user who has one, and a policy.

    Nothing is hidden where there is nothing to hide, as clients may miss it.
    """
    by_rule = decision.reason is Reason.ALLOWED_BY_RULE
    account = facts.snapshot.sip_account_of(facts.identity.user) if by_rule else None
    hiding = NOTHING
    if facts.snapshot.streams.by_source:
        hiding |= Hiding.SOURCES
    if facts.snapshot.rules.dial_otherwise:
        hiding |= Hiding.NUMBERS
    if account is not None:
        hiding |= Hiding.ACCOUNT
    return replace(decision, hiding=hiding, account=account)


def method_unknown(call: HookCall, facts: Facts) -> Decision | None:
    """A method nobody told us about is let pass: no policy entry of ours claims it."""
    return Decision(True, Reason.UNKNOWN_METHOD) if call.method is None else None


def not_refusable(call: HookCall, facts: Facts) -> Decision | None:
    """What has happened, or only lets go, is never refused."""
    refusable = call.method is not None and call.method.refusable
    return None if refusable else Decision(True, Reason.NOT_REFUSABLE)


def started_by_rest_api(call: HookCall, facts: Facts) -> Decision | None:
    """What a call of the WCS REST API brought about is never refused (protocol.md 8)."""
    started = facts.app is not None and facts.app.rest_started
    return Decision(True, Reason.STARTED_BY_REST_API) if started else None


def app_unknown(call: HookCall, facts: Facts) -> Decision | None:
    """An app key that staff did not enter."""
    return Decision(False, Reason.UNKNOWN_APP) if facts.app is None else None


def cut(call: HookCall, facts: Facts) -> Decision | None:
    """What was ordered to end, or belongs to a session that was."""
    if not facts.snapshot.cuts.by_id:  # mostly there is none, so nobody need be told apart
        return None
    user = facts.identity.user
    who = who_of(call, user.username if user is not None else "")
    return Decision(False, Reason.CUT) if facts.snapshot.cuts.cut(call, facts.session, who, facts.now) else None


def identity_bad(call: HookCall, facts: Facts) -> Decision | None:
    """Session, token or password not good; no credential where guests are not welcome."""
    problem = facts.identity.problem
    return Decision(False, problem) if problem is not None else None


def user_inactive(call: HookCall, facts: Facts) -> Decision | None:
    """A user whom staff switched off."""
    user = facts.identity.user
    return Decision(False, Reason.USER_INACTIVE) if user is not None and not user.active else None


def call_unknown(call: HookCall, facts: Facts) -> Decision | None:
    """What names nothing but a call, and it is not known which: whatever number it is about, it may be a denied one."""
    return Decision(False, Reason.UNKNOWN_CALL) if call.of_unknown_call else None


def protected_number(call: HookCall, facts: Facts) -> Decision | None:
    """A call to a number that staff protect, such as emergency calls: no rule can refuse it."""
    protected = call.action == "call" and _is_protected(call.target, facts)
    return Decision(True, Reason.PROTECTED_NUMBER) if protected else None


def settled_by_link(call: HookCall, facts: Facts) -> Decision | None:
    """Who holds a good link may do what it is for, as long as no rule denies that to guests: they are nobody's user."""
    if facts.identity.link is None:
        return None
    as_guest = settled_by_rules(call, replace(facts, identity=Identity(entered_by="guest")))
    if as_guest is None or as_guest.reason is Reason.DENIED_BY_RULE:
        return as_guest
    _, counts = limits_for(call, "", (), facts.snapshot)
    allowed = replace(as_guest, allowed=True, reason=Reason.ALLOWED_BY_LINK, rule_ids=(), counts=counts)
    return _carried_out(allowed, call, facts)


def _is_protected(target: str, facts: Facts) -> bool:
    """Whether this is a protected number and nothing else, called in the user's own telephone system."""
    snapshot = facts.snapshot
    number_class = snapshot.number_classes.of(canonical(target, snapshot.plan))
    if number_class is None or not number_class.protected:
        return False
    account = snapshot.sip_account_of(facts.identity.user)
    return host_of(target) in ("", *(account.hosts if account else ()))


def settled_by_rules(call: HookCall, facts: Facts) -> Decision | None:
    """Any deny in force refuses, else any allow in force allows, as far as its limits have room; else nothing does.
    Order never matters.

    A rule that raises an error counts as matching if it denies and as not matching if it allows. Whatever denies a call
    to where a transfer goes denies the transfer. What belongs to a call
    for which a rule had another number called is about both numbers. What is allowed is refused all the same where it
    cannot be carried out as it was decided: see _carried_out.
    """
    user = facts.identity.user
    if user is None and not facts.identity.is_guest:
        return None
    found = _in_force(facts, question_of(call, facts))
    if call.action == "transfer":
        found = _of_both(found, _denying(_in_force(facts, replace(question_of(call, facts), action="call"))))
    if call.dialled:
        found = _of_both(found, _in_force(facts, question_of(call, facts, call.dialled)))
    settling: Sequence[RuleRow] = found.denies
    counts = None
    if found.allows and not found.denies:
        settling, counts = limits_for(call, user.username if user else "", found.allows, facts.snapshot)
    decision = Decision(
        allowed=bool(found.allows) and not found.denies,
        reason=Reason.DENIED_BY_RULE if found.denies else Reason.ALLOWED_BY_RULE if found.allows else Reason.NO_RULE,
        rule_ids=_ids(settling),
        logged_rule_ids=_ids(found.only_logged),
        failed_rule_ids=_ids(found.failed),
        rewrites=None if found.denies else strictest(found.allows),
        counts=counts,
    )
    return _carried_out(decision, call, facts) if decision.allowed else decision


class _Found(NamedTuple):
    """Rules in force, and those that could not be compared."""

    denies: list[RuleRow]
    allows: list[RuleRow]
    only_logged: list[RuleRow]
    failed: list[RuleRow]


def _in_force(facts: Facts, question: Question) -> _Found:
    found = _Found([], [], [], [])
    for rule in facts.snapshot.rules.candidates(facts.identity.user, question):
        try:
            in_force = applies(rule, question)
        except Exception:
            in_force = rule.effect != "allow"
            found.failed.append(rule)
        if in_force:
            _list_for(rule, found).append(rule)
    return found


def _denying(found: _Found) -> _Found:
    """What denies alone: whom somebody may not call, a call may not be transferred to either."""
    denies, _, only_logged, failed = found
    return _Found(
        denies,
        [],
        [rule for rule in only_logged if rule.effect != "allow"],
        [rule for rule in failed if rule.effect != "allow"],
    )


def _of_both(one: _Found, other: _Found) -> _Found:
    """What was found about two numbers."""
    return _Found(*map(_each_once, one, other))


def _each_once(some: list[RuleRow], more: list[RuleRow]) -> list[RuleRow]:
    return list({rule.id: rule for rule in some + more}.values())


def _carried_out(decision: Decision, call: HookCall, facts: Facts) -> Decision:
    """What is allowed, with what WCS is told to change; or its refusal, where that is no way to do what was decided."""
    method = call.method
    assert method is not None  # noqa: S101 - not_refusable has seen to it; this is for the type checker
    if problem := _source_problem(decision, call, facts):
        return problem
    changes = changes_of(call, decision.rewrites, facts.snapshot.streams)
    if method.dials and (problem := _dialling_problem(decision, call, facts, changes)):
        return problem
    if not changes:
        return decision
    if facts.session is not None and needed(method, changes) & ~facts.session.hiding:
        return replace(decision, allowed=False, reason=Reason.CONNECT_AGAIN)
    return replace(decision, changes=changes)


def _source_problem(decision: Decision, call: HookCall, facts: Facts) -> Decision | None:
    """The refusal of a stream whose source is denied: no public name leads past a ban on what is behind it."""
    stream = facts.snapshot.streams.by_name.get(call.target) if call.action in STREAM_ACTIONS else None
    denies = _in_force(facts, question_of(call, facts, stream.source)).denies if stream and stream.source else []
    return _denied(decision, denies) if denies else None


def _denied(decision: Decision, denies: list[RuleRow]) -> Decision:
    """The decision that these rules make of it."""
    return replace(decision, allowed=False, reason=Reason.DENIED_BY_RULE, rule_ids=_ids(denies), rewrites=None)


def _dialling_problem(decision: Decision, call: HookCall, facts: Facts, changes: tuple[Change, ...]) -> Decision | None:
    """The refusal of what would be dialled: a deny is about the number that a rule puts in, too, and a number in which
    others could be read is only good where a rule puts in another."""
    assert call.method is not None  # noqa: S101 - as above
    instead = dialled(call.method, changes)
    if not instead:
        hides = hides_digits(call.target)
        return replace(decision, allowed=False, reason=Reason.HIDDEN_DIGITS) if hides else None
    if call.action == "call" and _is_protected(instead, facts):
        return None
    denies = _in_force(facts, question_of(call, facts, instead)).denies
    return _denied(decision, denies) if denies else None


def _ids(rules: Sequence[RuleRow]) -> tuple[int, ...]:
    return tuple(sorted([rule.id for rule in rules])) if rules else ()


def _list_for(rule: RuleRow, found: _Found) -> list[RuleRow]:
    if not rule.enforced:
        return found.only_logged
    return found.allows if rule.effect == "allow" else found.denies


CHECKS: tuple[Check, ...] = (
    method_unknown,
    not_refusable,
    started_by_rest_api,
    app_unknown,
    cut,
    identity_bad,
    user_inactive,
    call_unknown,
    protected_number,
    settled_by_link,
    settled_by_rules,
)
