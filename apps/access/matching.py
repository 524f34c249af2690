"""Whether one rule applies: to a target, at a moment, under the circumstances. Pure: no Django, no database."""

from datetime import datetime
from typing import Any

import msgspec

from apps.access.comparisons import holds
from apps.access.networks import in_networks
from apps.access.question import Question
from apps.access.rows import Conditions, RuleRow
from apps.access.schedules import in_schedule
from apps.protocol.messages import ABSENT

_decode_custom = msgspec.json.Decoder(dict[str, Any]).decode


def applies(rule: RuleRow, question: Question) -> bool:
    """Whether a rule about these people and this action applies to what is asked, here and now.

    Raises whatever a condition raises that cannot be compared.
    """
    return (
        in_period(rule, question.now)
        and fits(rule, question)
        and (rule.conditions is None or holds_here(rule.conditions, question))
    )


def in_period(rule: RuleRow, now: datetime) -> bool:
    """Whether the moment lies in the rule's period, whose end does not belong to it."""
    return (rule.starts_at is None or rule.starts_at <= now) and (rule.ends_at is None or now < rule.ends_at)


def fits(rule: RuleRow, question: Question) -> bool:
    """Whether the target is what the rule is about, by any of the texts it is known by.

    Raises ValueError for a kind of target that is not known.
    """
    match rule.target_kind:
        case "any":
            return True
        case "exact" | "stream":
            return rule.target in question.targets
        case "prefix":
            return any(target.startswith(rule.target) for target in question.targets)
        case "glob":
            return any(matches_glob(rule.target, target, question.username) for target in question.targets)
        case "stream-group":
            return rule.target_id in question.stream_groups
        case "number-class":
            return question.number_class is not None and question.number_class.id == rule.target_id
        case "number-prefix":
            return bool(rule.target) and question.number.startswith(rule.target)
    raise ValueError(f"Rule {rule.id} has a target of an unknown kind, {rule.target_kind}.")


def holds_here(conditions: Conditions, question: Question) -> bool:
    """Whether all these circumstances are given. Raises where `custom` cannot be read."""
    return (
        (conditions.schedule is None or in_schedule(conditions.schedule, question.now))
        and (not conditions.networks or in_networks(question.address, conditions.networks))
        and (not conditions.origins or any(is_origin(wanted, question.origin) for wanted in conditions.origins))
        and (not conditions.media_providers or not set(conditions.media_providers).isdisjoint(question.media_providers))
        and (not conditions.apps or question.app_key in conditions.apps)
        and (not conditions.nodes or question.node_id in conditions.nodes)
        and (not conditions.custom or _all_hold(conditions, question))
    )


def is_origin(wanted: str, origin: str) -> bool:
    """Whether a page's origin is the one wanted: the same text, or a host below `*.example.org`.

    What is written without scheme and port leaves both open. The domain itself is not below itself.
    """
    if not wanted.startswith("*."):
        return origin == wanted
    host = origin.partition("://")[2].rpartition(":")[0] or origin.partition("://")[2]
    return host.endswith(wanted[1:]) and len(host) >= len(wanted)


def custom_of(question: Question) -> dict[str, Any]:
    """The members of `custom`; none where it is absent or null. Raises msgspec.DecodeError for what is no object."""
    return {} if question.custom in (ABSENT, msgspec.Raw(b"null")) else _decode_custom(question.custom)


def _all_hold(conditions: Conditions, question: Question) -> bool:
    custom = custom_of(question)
    return all(holds(comparison, custom) for comparison in conditions.custom)


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
