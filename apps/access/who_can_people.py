"""Whom the rules of a question are about, so that users can be listed without asking about each. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from apps.access.matching import applies
from apps.access.reasons import Reason
from apps.access.rows import RuleRow, UserRow
from apps.access.who_can import Asked, is_personal


class People(msgspec.Struct, frozen=True, gc=False):
    """Users with an account: all of them, or those in these groups and these ones."""

    everyone: bool = False
    group_ids: tuple[int, ...] = ()
    user_ids: tuple[int, ...] = ()


def allowed_people(asked: Asked) -> People:
    """Whom an allowing rule is about that fits, at least under some circumstances."""
    settled = asked.without_rules()
    if settled.reason is not Reason.NO_RULE:
        return People(everyone=settled.allowed)
    return _people(asked, filter(_has_another_called, asked.allows) if asked.hides_digits() else asked.allows)


def denied_people(asked: Asked) -> People:
    """Whom a denying rule refuses under all circumstances."""
    return _people(asked, asked.denies) if asked.without_rules().reason is Reason.NO_RULE else People()


def idle_rules(asked: Asked) -> Iterator[RuleRow]:
    """Rules that fit, but decide nothing at this moment: only logged, not begun yet, or outside their hours."""
    for rule in asked.rules:
        is_over = rule.ends_at is not None and rule.ends_at <= asked.now
        if not is_over and not (rule.enforced and _is_in_force(asked, _for_anybody(asked.what_is_known(rule)))):
            yield rule


def _people(asked: Asked, rules: Iterable[RuleRow]) -> People:
    everyone, groups, users = False, set[int](), set[int]()
    named: list[UserRow] | None = None
    for rule in rules:
        if not rule.enforced or rule.who == "guests":
            continue
        if is_personal(rule):
            named = _named_in_target(asked) if named is None else named
            users |= {user.id for user in named if _is_about(rule, user) and _is_in_force(asked, rule, user.username)}
        elif _is_in_force(asked, rule):
            everyone |= rule.who == "everyone"
            groups |= {rule.group_id} if rule.group_id else set()
            users |= {rule.user_id} if rule.user_id else set()
    return People(everyone, tuple(sorted(groups)), tuple(sorted(users)))


def _has_another_called(rule: RuleRow) -> bool:
    return rule.rewrites is not None and bool(rule.rewrites.callee)


def _named_in_target(asked: Asked) -> list[UserRow]:
    """Users whose names stand somewhere in what is asked about: for others no pattern with {user} fits."""
    users, targets = list(asked.snapshot.users.by_id.values()), asked.question.targets
    return [user for user in users if any(user.username in target for target in targets)]


def _is_about(rule: RuleRow, user: UserRow) -> bool:
    return rule.who == "everyone" or rule.user_id == user.id or rule.group_id in user.group_ids


def _for_anybody(rule: RuleRow) -> RuleRow:
    return msgspec.structs.replace(rule, target=rule.target.replace("{user}", "*")) if is_personal(rule) else rule


def _is_in_force(asked: Asked, rule: RuleRow, username: str = "") -> bool:
    """As the engine has it: a rule that raises counts if it denies."""
    try:
        question = msgspec.structs.replace(asked.question, username=username) if username else asked.question
        return applies(rule, question)
    except Exception:
        return rule.effect != "allow"
