"""Rules as the sentences they are."""

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any

ACTION_WORDS = {
    "connect": "connect",
    "publish": "publish",
    "play": "play",
    "call": "call",
    "answer": "answer calls",
    "hold": "hold calls",
    "transfer": "transfer calls",
    "dtmf": "send tones",
    "message": "send messages",
    "imdn": "send delivery notices",
    "subscribe": "subscribe to SIP events",
    "xcap": "send XCAP requests",
    "data": "send data",
    "bug-report": "send bug reports and logs",
    "receive-call": "receive calls",
    "receive-message": "receive messages",
    "receive-transfer": "be transferred",
}
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
        _joined(ACTION_WORDS.get(action, action) for action in rule.actions),
        _target(rule),
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
    return "anything" if {"publish", "play", "call", "message"} & set(rule.actions) else ""


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


def _joined(words: Iterable[str]) -> str:
    *most, last = list(words) or ["do nothing"]
    return f"{', '.join(most)} and {last}" if most else last
