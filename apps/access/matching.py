"""Whether one rule applies: to a target, at a moment, under the circumstances; and if not, why. Pure.

What a rule may ask for is a table. Matching and saying what was missed read the same rows, so they cannot differ.
"""

from collections.abc import Callable
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from apps.access import misses as words
from apps.access.comparisons import not_holding
from apps.access.misses import Miss, Names
from apps.access.networks import in_networks, is_network
from apps.access.question import Question, custom_of
from apps.access.rows import Conditions, RuleRow
from apps.access.schedules import in_schedule
from apps.protocol.messages import read_media

Asking = TypeVar("Asking", RuleRow, Conditions)


class Condition(NamedTuple, Generic[Asking]):
    """One thing that a rule may ask for: whether it is given, and what to say where it is not. Either may raise."""

    kind: str
    is_given: Callable[[Asking, Question], bool]
    missed: Callable[[Asking, Question, Names], str]


def applies(rule: RuleRow, question: Question) -> bool:
    """Whether a rule about these people and this action applies to what is asked, here and now.

    Raises whatever a condition raises that cannot be compared.
    """
    for is_given in _ALWAYS_GIVEN:
        if not is_given(rule, question):
            return False
    return rule.conditions is None or all(is_given(rule.conditions, question) for is_given in _CIRCUMSTANCES_GIVEN)


def misses(rule: RuleRow, question: Question) -> list[Miss]:
    """Everything for which a rule does not allow or deny what is asked; nothing if it does.

    What cannot be compared counts as missed, as it does for a rule that allows.
    """
    found = [*_missed(BEFOREHAND, rule, question), *_missed(ALWAYS, rule, question)]
    return found if rule.conditions is None else found + _missed(CIRCUMSTANCES, rule.conditions, question)


def _missed(conditions: tuple[Condition[Asking], ...], asking: Asking, question: Question) -> list[Miss]:
    found = []
    for condition in conditions:
        try:
            if not condition.is_given(asking, question):
                found.append(Miss(condition.kind, partial(condition.missed, asking, question)))
        except Exception as error:  # of any kind: deciding passes over such a rule, too
            found.append(Miss(condition.kind, partial(words.cannot_be_compared, error)))
    return found


def is_about(rule: RuleRow, question: Question) -> bool:
    """Whether the rule is about whoever asks."""
    match rule.who:
        case "guests":
            return question.username is None
        case "everyone":
            return question.username is not None
        case "user":
            return question.user_id is not None and rule.user_id == question.user_id
    return rule.group_id in question.group_ids


def in_period(rule: RuleRow, question: Question) -> bool:
    """Whether the moment lies in the rule's period, whose end does not belong to it."""
    now = question.now
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
        case "number-prefix" if rule.target:
            return question.number.startswith(rule.target)
        case "number-prefix":
            raise ValueError(f"Rule {rule.id} is about numbers that begin with what is no number.")
    raise ValueError(f"Rule {rule.id} has a target of an unknown kind, {rule.target_kind}.")


def _lies_in(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address lies in one of the networks. Raises ValueError where one of them is none."""
    if wrong := [network for network in networks if not is_network(network)]:
        raise ValueError(f"“{wrong[0]}” is no network.")
    return in_networks(address, networks)


def is_origin(wanted: str, origin: str) -> bool:
    """Whether a page's origin is the one wanted: the same text, or a host below `*.example.org`.

    What is written without scheme and port leaves both open. The domain itself is not below itself.
    """
    if not wanted.startswith("*."):
        return origin == wanted
    host = origin.partition("://")[2].rpartition(":")[0] or origin.partition("://")[2]
    return host.endswith(wanted[1:]) and len(host) >= len(wanted)


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


BEFOREHAND: tuple[Condition[RuleRow], ...] = (
    Condition("who", is_about, words.who),
    Condition("action", lambda rule, question: question.action in rule.actions, words.action),
    Condition("enforced", lambda rule, question: rule.enforced, words.enforced),
)
"""What is settled before a rule is looked at: the index finds rules by who and action, the engine sets apart those that
are only logged.
"""

ALWAYS: tuple[Condition[RuleRow], ...] = (
    Condition("period", in_period, words.period),
    Condition("target", fits, words.target),
)
"""What every rule asks for."""

CIRCUMSTANCES: tuple[Condition[Conditions], ...] = (
    Condition(
        "schedule",
        lambda asks, question: asks.schedule is None or in_schedule(asks.schedule, question.now),
        words.schedule,
    ),
    Condition(
        "networks",
        lambda asks, question: not asks.networks or _lies_in(question.address, asks.networks),
        words.networks,
    ),
    Condition(
        "origins",
        lambda asks, question: not asks.origins or any(is_origin(page, question.origin) for page in asks.origins),
        words.origins,
    ),
    Condition(
        "media_providers",
        lambda asks, question: (
            not asks.media_providers or not set(asks.media_providers).isdisjoint(read_media(question.media_providers))
        ),
        words.media_providers,
    ),
    Condition("apps", lambda asks, question: not asks.apps or question.app_key in asks.apps, words.apps),
    Condition("nodes", lambda asks, question: not asks.nodes or question.node_id in asks.nodes, words.nodes),
    Condition(
        "custom",
        lambda asks, question: not asks.custom or not not_holding(asks.custom, custom_of(question)),
        words.custom,
    ),
)
"""Circumstances that a rule may ask for; the names are those of its conditions."""

_ALWAYS_GIVEN = tuple(condition.is_given for condition in ALWAYS)
_CIRCUMSTANCES_GIVEN = tuple(condition.is_given for condition in CIRCUMSTANCES)
"""For matching, which is done with every hook."""
