"""Deciding. The order of CHECKS is the policy; `docs/deciding.md` numbers the same list. Pure.

Nobody is allowed because nothing was found: when no check has an opinion, the answer is no.
"""

from collections.abc import Callable

from apps.access.facts import Decision, Facts
from apps.access.matching import fits, in_period
from apps.access.reasons import Reason
from apps.access.rows import RuleRow
from apps.protocol.messages import HookCall

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


def settled_by_rules(call: HookCall, facts: Facts) -> Decision | None:
    """Any deny in force refuses, else any allow in force allows, else nothing does; order never matters.

    A rule that raises an error counts as matching if it denies and as not matching if it allows.
    """
    user = facts.identity.user
    if user is None and not facts.identity.is_guest:
        return None
    username = user.username if user else None
    denies: list[int] = []
    allows: list[int] = []
    only_logged: list[int] = []
    failed: list[int] = []
    for rule in facts.rules.candidates(user, call.action, call.target):
        try:
            in_force = in_period(rule, facts.now) and fits(rule, call.target, username)
        except Exception:
            in_force = rule.effect != "allow"
            failed.append(rule.id)
        if in_force:
            _list_for(rule, denies, allows, only_logged).append(rule.id)
    settling = denies or allows
    return Decision(
        allowed=bool(allows) and not denies,
        reason=Reason.DENIED_BY_RULE if denies else Reason.ALLOWED_BY_RULE if allows else Reason.NO_RULE,
        rule_ids=tuple(sorted(settling)),
        logged_rule_ids=tuple(sorted(only_logged)),
        failed_rule_ids=tuple(sorted(failed)),
    )


def _list_for(rule: RuleRow, denies: list[int], allows: list[int], only_logged: list[int]) -> list[int]:
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
    settled_by_rules,
)
