"""Whether one rule applies: to a target, and at a moment. Pure: no Django, no database."""

from datetime import datetime

from apps.access.rows import RuleRow


def in_period(rule: RuleRow, now: datetime) -> bool:
    """Whether the moment lies in the rule's period, whose end does not belong to it."""
    return (rule.starts_at is None or rule.starts_at <= now) and (rule.ends_at is None or now < rule.ends_at)


def fits(rule: RuleRow, target: str, username: str | None) -> bool:
    """Whether a target is what the rule is about. `username` is None for a guest.

    Raises ValueError for a kind of target that is not known.
    """
    match rule.target_kind:
        case "any":
            return True
        case "exact" | "stream":
            return target == rule.target
        case "prefix":
            return target.startswith(rule.target)
        case "glob":
            return matches_glob(rule.target, target, username)
    raise ValueError(f"Rule {rule.id} has a target of an unknown kind, {rule.target_kind}.")


def matches_glob(pattern: str, text: str, username: str | None) -> bool:
    """Whether the text consists of the pattern's literal pieces, with anything where it has a star.

    `{user}` stands for the username, whose own characters mean nothing special; without one (a guest) such a pattern
    matches nothing. Takes time in proportion to the text.
    """
    pieces = pattern.split("*")
    if "{user}" in pattern:
        if not username:
            return False
        pieces = [piece.replace("{user}", username) for piece in pieces]
    first, *rest = pieces
    if not rest:
        return text == first
    *middle, last = rest
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
