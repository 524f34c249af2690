"""Rules as the sentences they are."""

from datetime import UTC, datetime, tzinfo
from typing import Any

from apps.protocol.action_words import ACTION_WORDS, joined

BEFORE_TARGET = {
    "connect": "through app",
    "answer": "from",
    "transfer": "to",
    "message": "to",
    "subscribe": "named",
    "xcap": "to",
    "receive-call": "from",
    "receive-message": "from",
    "receive-transfer": "to",
}
"""What stands between an action and its target, where anything does: play “lobby”, but answer calls from “+43”."""

SAID_OF_ANYTHING = ("publish", "play", "call", "message")
"""Actions that are said with their target even where it is anything at all."""


LIMIT_PER_WORDS = {
    "user": "for each user",
    "group": "for the whole group",
    "target": "for each stream or number by itself",
    "rule": "for everyone together",
}
"""For whom a limit counts."""


UNSAID = "…"
"""What is still to be chosen, in the sentence of a rule that is being written."""


def deed(action: str, target: str) -> str:
    """What somebody does, for example: play “lobby”."""
    words = (ACTION_WORDS.get(action, action), *((BEFORE_TARGET.get(action, ""), f"“{target}”") if target else ()))
    return " ".join(word for word in words if word)


def sentence(rule: Any, zone: tzinfo = UTC) -> str:
    """A rule in words, for example: Allow group “teachers” to publish and play whatever matches “lesson-*”.

    Moments are given in the time zone.
    """
    words = [
        "Allow" if rule.effect == "allow" else "Deny",
        _who(rule),
        "to",
        _deeds(rule),
        _period(rule, zone),
        *_circumstances(rule),
    ]
    said = ", ".join([" ".join(word for word in words if word), *_limits(rule), *_rewrites(rule)])
    return said if rule.enforced else f"{said} (only logged)"


def circumstances(rule: Any) -> str:
    """Under which circumstances alone a rule holds, for example: during “Office hours” from 10.0.0.0/8."""
    return " ".join(words for words in _circumstances(rule) if words)


def limits(rule: Any) -> str:
    """How much a rule allows, for example: at most 2 at once for each user."""
    return ", ".join(_limits(rule))


def _who(rule: Any) -> str:
    match rule.who:
        case "user":
            return f"user “{rule.user or UNSAID}”"
        case "group":
            return f"group “{rule.group or UNSAID}”"
        case "guests":
            return "guests"
    return "everyone with an account"


def _deeds(rule: Any) -> str:
    """The actions with their target, those that read alike before it together: play “a” and answer calls from “a”."""
    target, anything = _target(rule), rule.target_kind == "any"
    groups: dict[str, list[str]] = {}
    for action in rule.actions:
        named = not anything or action in SAID_OF_ANYTHING
        before = f"{BEFORE_TARGET.get(action, '')} {target}".strip() if named else ""
        groups.setdefault(before, []).append(ACTION_WORDS.get(action, action))
    if "" in groups:  # first, so that no target seems to be about them
        groups = {"": groups.pop(""), **groups}
    parts = [f"{joined(words)} {before}".strip() for before, words in groups.items()]
    return joined(parts) if parts else "do nothing"


def _target(rule: Any) -> str:
    match rule.target_kind:
        case "exact":
            return f"“{rule.target or UNSAID}”"
        case "prefix":
            return f"whatever begins with “{rule.target or UNSAID}”"
        case "glob":
            return f"whatever matches “{rule.target or UNSAID}”"
        case "stream":
            return f"stream “{rule.stream or UNSAID}”"
        case "stream-group":
            return f"streams of group “{rule.stream_group or UNSAID}”"
        case "number-prefix":
            return f"numbers that begin with “{rule.target or UNSAID}”"
        case "number-class":
            return f"{rule.number_class or UNSAID} numbers"
    return "anything"


def _circumstances(rule: Any) -> list[str]:
    """Under which circumstances alone, each as its own words."""
    either = (("from", rule.networks), ("on pages of", rule.origins), ("by", rule.media_providers))
    places = (("through app", rule.apps), ("on node", rule.nodes))
    return [
        f"during “{rule.schedule}”" if rule.schedule else "",
        *(f"{before} {joined(list(texts), 'or')}" for before, texts in either if texts),
        *(f"{before} {joined([f'“{text}”' for text in texts], 'or')}" for before, texts in places if texts),
        f"if {joined(list(rule.custom))}" if rule.custom else "",
    ]


def _limits(rule: Any) -> list[str]:
    """How much, for example: at most 2 at once and 10 a day for each user."""
    if not rule.limit_per:
        return []
    measures = (
        (rule.at_once, "at once"),
        (rule.per_day, "a day"),
        (rule.per_month, "a month"),
        (rule.minutes_per_day, "minutes a day"),
        (rule.minutes_per_month, "minutes a month"),
    )
    said = [f"{number} {words}" for number, words in measures if number]
    if not said:  # while it is being written
        return []
    many = joined(said)
    ending = ", one more ends the oldest" if rule.overflow == "end-oldest" else ""
    return [f"at most {many} {LIMIT_PER_WORDS[rule.limit_per]}{ending}"]


def _rewrites(rule: Any) -> list[str]:
    """What is changed of what was asked for."""
    caps = ((rule.max_width, "pixels wide"), (rule.max_height, "pixels high"), (rule.max_bitrate, "kbps"))
    capped = joined([f"{number} {words}" for number, words in caps if number], "and") if any(n for n, _ in caps) else ""
    return [
        *([f"calling “{rule.callee}” instead"] if rule.callee else []),
        *([{"on": "always recorded", "off": "never recorded"}[rule.record]] if rule.record else []),
        *([f"at most {capped}"] if capped else []),
    ]


def _period(rule: Any, zone: tzinfo) -> str:
    parts = []
    if rule.starts_at:
        parts.append(f"from {moment_text(rule.starts_at, zone)}")
    if rule.ends_at:
        parts.append(f"until {moment_text(rule.ends_at, zone)}")
    return " ".join(parts)


def moment_text(moment: datetime, zone: tzinfo) -> str:
    """A moment, to the second only where it has seconds."""
    moment = moment.astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}" if moment.second else f"{moment:%Y-%m-%d %H:%M %Z}"
