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
        "" if rule.enforced else "(only logged)",
    ]
    return " ".join(word for word in words if word)


def _who(rule: Any) -> str:
    match rule.who:
        case "user":
            return f"user “{rule.user}”"
        case "group":
            return f"group “{rule.group}”"
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
            return f"“{rule.target}”"
        case "prefix":
            return f"whatever begins with “{rule.target}”"
        case "glob":
            return f"whatever matches “{rule.target}”"
        case "stream":
            return f"stream “{rule.stream}”"
    return "anything"


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
