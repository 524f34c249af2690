"""What a rule missed, in words that compare the values: “lobby” is not “lobby-1”. Pure.

Each function says what is missing for one condition of apps/access/matching.py, and is asked only where it is missing.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from typing import NamedTuple

from apps.access.comparisons import Comparison, not_holding, said_text
from apps.access.question import Question, custom_of
from apps.access.rows import Conditions, RuleRow
from apps.access.schedules import missed_text
from apps.access.sentences import moment_text
from apps.protocol.action_words import ACTION_WORDS, joined
from apps.protocol.messages import read_media
from apps.protocol.screening import is_secret, screen_text

SHOWN = 100
"""Characters that are shown of what a client says of itself."""


class Names(NamedTuple):
    """What rows do not have: the names of what a rule is about, and by whose clock moments are told."""

    zone: tzinfo = UTC
    user: str = ""
    group: str = ""
    stream_group: str = ""
    number_class: str = ""


class Miss(NamedTuple):
    """One thing that a rule asks for and that is not given."""

    kind: str
    words: Callable[[Names], str]

    def say(self, names: Names) -> str:
        """It in words, once the names are known."""
        return self.words(names)


def cannot_be_compared(error: Exception, names: Names) -> str:
    return str(error)


def who(rule: RuleRow, question: Question, names: Names) -> str:
    asks = question.username or "a guest"
    match rule.who:
        case "group":
            return f"{asks} is not in group “{names.group}”"
        case "user":
            return f"{asks} is not “{names.user}”"
        case "guests":
            return f"{asks} is no guest"
    return f"{asks} has no account"


def action(rule: RuleRow, question: Question, names: Names) -> str:
    deeds = ", ".join(ACTION_WORDS.get(each, each) for each in rule.actions)
    return f"it is about: {deeds}; not: {ACTION_WORDS.get(question.action, question.action)}"


def enforced(rule: RuleRow, question: Question, names: Names) -> str:
    return "it is only logged"


def period(rule: RuleRow, question: Question, names: Names) -> str:
    now = moment_text(question.now, names.zone)
    if rule.starts_at is not None and question.now < rule.starts_at:
        return f"it begins at {moment_text(rule.starts_at, names.zone)}; asked about {now}"
    assert rule.ends_at is not None  # noqa: S101 - it has begun, and yet does not hold
    return f"it ended at {moment_text(rule.ends_at, names.zone)}; asked about {now}"


def target(rule: RuleRow, question: Question, names: Names) -> str:
    asked = question.targets[0] if question.targets else ""
    said = f"“{screen_text(asked)}”" if asked else "the hook names nothing, so it"
    match rule.target_kind:
        case "stream-group":
            return f"{said} is not in the group of streams “{names.stream_group}”"
        case "number-class" | "number-prefix" if not question.number:
            return f"{said} is no number" if asked else "the hook names no number"
        case "number-class":
            found = f"in class “{question.number_class.name}”" if question.number_class else "in no class of numbers"
            return f"{question.number} is {found}, not “{names.number_class}”"
        case "number-prefix":
            return f"{question.number} does not begin with {rule.target}"
        case "prefix":
            return f"{said} does not begin with “{rule.target}”"
        case "glob":
            pattern = rule.target.replace("{user}", question.username) if question.username else rule.target
            return f"{said} does not match “{pattern}”"
    return f"{said} is not “{rule.target}”"


def schedule(asks: Conditions, question: Question, names: Names) -> str:
    assert asks.schedule is not None  # noqa: S101 - else nothing was missed
    return missed_text(asks.schedule, question.now)


def networks(asks: Conditions, question: Question, names: Names) -> str:
    wanted = ", ".join(asks.networks)
    if not question.address:
        return f"the hook shows no client address, so it is in none of {wanted}"
    return f"{question.address} is in none of {wanted}"


def origins(asks: Conditions, question: Question, names: Names) -> str:
    if not question.origin:
        return f"the hook names no page, so it is none of {', '.join(asks.origins)}"
    return f"the page {_shown(question.origin)} is none of {', '.join(asks.origins)}"


def media_providers(asks: Conditions, question: Question, names: Names) -> str:
    media = read_media(question.media_providers)
    if not media:
        return f"the hook names no media provider, so it is not {joined(list(asks.media_providers), 'or')}"
    said = joined([_shown(provider) for provider in media])
    return f"the media provider is {said}, not {joined(list(asks.media_providers), 'or')}"


def apps(asks: Conditions, question: Question, names: Names) -> str:
    return f"the app is “{question.app_key}”, not {_quoted(asks.apps)}"


def nodes(asks: Conditions, question: Question, names: Names) -> str:
    return f"the node is “{question.node_id}”, not {_quoted(asks.nodes)}"


def custom(asks: Conditions, question: Question, names: Names) -> str:
    said = custom_of(question)
    return "; ".join(_compared(each, said_text(each, said)) for each in not_holding(asks.custom, said))


def _compared(comparison: Comparison, said: str | None) -> str:
    """What a client says and what was wanted: role is “pupil”, not “teacher”."""
    wanted = {
        "=": f"not {_quoted(comparison.values)}",
        "in": f"not {_quoted(comparison.values)}",
        "begins with": f"which does not begin with {_quoted(comparison.values)}",
    }.get(comparison.operator, f"not {comparison.operator} {comparison.values[0]}")
    if said is None:
        return f"{comparison.name} is not said at all; asked for is {comparison}"
    if any(is_secret(step) for step in comparison.name.split(".")):
        return f"{comparison.name} is something else, {wanted}"
    return f"{comparison.name} is “{_shown(said)}”, {wanted}"


def _quoted(texts: Sequence[str]) -> str:
    return joined([f"“{text}”" for text in texts], "or")


def _shown(text: str) -> str:
    text = screen_text(text)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
