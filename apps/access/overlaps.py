"""Rules that stand in each other's way, as far as it can be proven: what a deny catches, and what says the same. Pure.

Each question here is “certainly?”, so the answer no means only that nobody knows.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from apps.access.lint import Finding, Known, is_anything
from apps.access.matching import matches_glob
from apps.access.rows import RuleRow


def overlaps(rules: Sequence[RuleRow], denies: Iterable[RuleRow], known: Known) -> Iterator[Finding]:
    """What is wrong with these rules together, and with these denies in force beside them."""
    yield from shadows(rules, denies, known)
    yield from duplicates(rules)
    yield from callees(rules)


def shadows(rules: Iterable[RuleRow], denies: Iterable[RuleRow], known: Known) -> Iterator[Finding]:
    """Allowing rules of which a deny catches every match."""
    by_who: dict[tuple[str, int | None], list[RuleRow]] = {}
    for deny in denies:
        if deny.effect == "deny" and deny.enforced:
            by_who.setdefault(_about(deny), []).append(deny)
    for rule in rules:
        if rule.effect == "allow" and not (rule.ends_at and rule.ends_at <= known.now):
            near = (deny for who in _within(rule, known) for deny in by_who.get(who, ()))
            catching = next((deny for deny in near if catches_all(deny, rule, known)), None)
            if catching is not None:
                yield Finding(
                    rule.id,
                    "shadowed",
                    "It never allows anything: a deny catches all that it is about, and a deny always wins.",
                    "Delete it, or make the deny narrower.",
                    catching.id,
                )


def _about(rule: RuleRow) -> tuple[str, int | None]:
    return rule.who, rule.user_id or rule.group_id


def _within(rule: RuleRow, known: Known) -> list[tuple[str, int | None]]:
    """Whom a rule may be about that is certainly everybody this rule is about."""
    if rule.who == "guests":
        return [("guests", None)]
    groups = known.groups_of_user.get(rule.user_id, ()) if rule.user_id else ()
    return list(dict.fromkeys([("everyone", None), _about(rule), *(("group", group_id) for group_id in groups)]))


def catches_all(deny: RuleRow, rule: RuleRow, known: Known) -> bool:
    """Whether a deny about the same people certainly matches whatever the rule matches from now on."""
    begins = max(filter(None, (known.now, rule.starts_at)))
    return (
        set(deny.actions) >= set(rule.actions)
        and (deny.starts_at is None or deny.starts_at <= begins)
        and (deny.ends_at is None or (rule.ends_at is not None and rule.ends_at <= deny.ends_at))
        and (deny.conditions is None or deny.conditions == rule.conditions)
        and _holds_all(deny, rule, known)
    )


def _holds_all(deny: RuleRow, rule: RuleRow, known: Known) -> bool:
    """Whether the deny is about all targets of the rule."""
    if is_anything(deny):
        return True
    if (deny.target_kind, deny.target, deny.target_id) == (rule.target_kind, rule.target, rule.target_id):
        return True
    named = rule.target_kind in ("exact", "stream")
    match deny.target_kind:
        case "exact" | "stream":
            return named and deny.target == rule.target
        case "prefix":
            head = rule.target.split("*", 1)[0].split("{user}", 1)[0] if rule.target_kind == "glob" else rule.target
            return rule.target_kind in ("exact", "stream", "prefix", "glob") and head.startswith(deny.target)
        case "glob":
            return named and "{user}" not in deny.target and matches_glob(deny.target, rule.target, None)
        case "stream-group":
            return rule.target_kind == "stream" and deny.target_id in known.stream_groups_of.get(rule.target, ())
        case "number-prefix":
            return rule.target_kind == "number-prefix" and bool(deny.target) and rule.target.startswith(deny.target)
    return False


def duplicates(rules: Iterable[RuleRow]) -> Iterator[Finding]:
    """Rules that say what one before them says."""
    first: dict[RuleRow, int] = {}
    for rule in rules:
        said = msgspec.structs.replace(rule, id=0, actions=tuple(sorted(rule.actions)), enforced=True)
        other = first.setdefault(said, rule.id)
        if other != rule.id:
            yield Finding(rule.id, "duplicate", "Another rule says the same.", "Delete one of the two.", other)


def callees(rules: Iterable[RuleRow]) -> Iterator[Finding]:
    """Rules that send the same calls of the same people to different numbers; the oldest one decides."""
    first: dict[RuleRow, RuleRow] = {}
    for rule in sorted(rules, key=lambda rule: rule.id):
        callee = _callee(rule)
        if callee and rule.effect == "allow" and rule.enforced and "call" in rule.actions:
            asked = msgspec.structs.replace(
                rule, id=0, actions=(), rewrites=None, limits=None, starts_at=None, ends_at=None
            )
            older = first.setdefault(asked, rule)
            if _callee(older) != callee and _meet(older, rule):
                yield Finding(
                    rule.id,
                    "conflicting-callees",
                    f"It calls “{callee}” instead, but an older rule, which counts, calls “{_callee(older)}”.",
                    "Let only one of them say whom to call instead, or give them periods that do not meet.",
                    older.id,
                )


def _callee(rule: RuleRow) -> str:
    return rule.rewrites.callee if rule.rewrites else ""


def _meet(one: RuleRow, other: RuleRow) -> bool:
    """Whether there is a moment in both periods."""
    return all(
        before.starts_at is None or after.ends_at is None or before.starts_at < after.ends_at
        for before, after in ((one, other), (other, one))
    )
