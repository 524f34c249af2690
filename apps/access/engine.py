"""Deciding. The order of CHECKS is the policy; `docs/deciding.md` numbers the same list. Pure.

Nobody is allowed because nothing was found: when no check has an opinion, the answer is no.
"""

from collections.abc import Callable

from msgspec.structs import replace

from apps.access.facts import Decision, Facts, Identity, question_of
from apps.access.matching import applies
from apps.access.reasons import Reason
from apps.access.rewriting import strictest
from apps.access.rows import RuleRow
from apps.protocol.messages import HookCall
from apps.protocol.numbers import canonical

Check = Callable[[HookCall, Facts], Decision | None]


def decide(call: HookCall, facts: Facts) -> Decision:
    """Decide on one hook. Gives the first opinion in the order of CHECKS, else a refusal."""
    for check in CHECKS:
        decision = check(call, facts)
        if decision is not None:
            return decision
    return Decision(False, Reason.NO_RULE)


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


def identity_bad(call: HookCall, facts: Facts) -> Decision | None:
    """Session, token or password not good; no credential where guests are not welcome."""
    problem = facts.identity.problem
    return Decision(False, problem) if problem is not None else None


def user_inactive(call: HookCall, facts: Facts) -> Decision | None:
    """A user whom staff switched off."""
    user = facts.identity.user
    return Decision(False, Reason.USER_INACTIVE) if user is not None and not user.active else None


def protected_number(call: HookCall, facts: Facts) -> Decision | None:
    """A call to a number that staff protect, such as emergency calls: no rule can refuse it."""
    if call.action != "call":
        return None
    number_class = facts.snapshot.number_classes.of(canonical(call.target, facts.snapshot.plan))
    protected = number_class is not None and number_class.protected
    return Decision(True, Reason.PROTECTED_NUMBER) if protected else None


def settled_by_link(call: HookCall, facts: Facts) -> Decision | None:
    """Who holds a good link may do what it is for, as long as no rule denies that to guests: they are nobody's user."""
    if facts.identity.link is None:
        return None
    as_guest = settled_by_rules(call, replace(facts, identity=Identity(entered_by="guest")))
    if as_guest is None or as_guest.reason is Reason.DENIED_BY_RULE:
        return as_guest
    return replace(as_guest, allowed=True, reason=Reason.ALLOWED_BY_LINK, rule_ids=())


def settled_by_rules(call: HookCall, facts: Facts) -> Decision | None:
    """Any deny in force refuses, else any allow in force allows, else nothing does; order never matters.

    A rule that raises an error counts as matching if it denies and as not matching if it allows.
    """
    user = facts.identity.user
    if user is None and not facts.identity.is_guest:
        return None
    question = question_of(call, facts)
    denies: list[RuleRow] = []
    allows: list[RuleRow] = []
    only_logged: list[RuleRow] = []
    failed: list[RuleRow] = []
    for rule in facts.snapshot.rules.candidates(user, question):
        try:
            in_force = applies(rule, question)
        except Exception:
            in_force = rule.effect != "allow"
            failed.append(rule)
        if in_force:
            _list_for(rule, denies, allows, only_logged).append(rule)
    return Decision(
        allowed=bool(allows) and not denies,
        reason=Reason.DENIED_BY_RULE if denies else Reason.ALLOWED_BY_RULE if allows else Reason.NO_RULE,
        rule_ids=_ids(denies or allows),
        logged_rule_ids=_ids(only_logged),
        failed_rule_ids=_ids(failed),
        rewrites=None if denies else strictest(allows),
    )


def _ids(rules: list[RuleRow]) -> tuple[int, ...]:
    return tuple(sorted(rule.id for rule in rules))


def _list_for(rule: RuleRow, denies: list[RuleRow], allows: list[RuleRow], only_logged: list[RuleRow]) -> list[RuleRow]:
    if not rule.enforced:
        return only_logged
    return allows if rule.effect == "allow" else denies


CHECKS: tuple[Check, ...] = (
    method_unknown,
    not_refusable,
    started_by_rest_api,
    app_unknown,
    identity_bad,
    user_inactive,
    protected_number,
    settled_by_link,
    settled_by_rules,
)
