"""What limits count by: things and people under one name each, when days and months begin. Pure.

The keys are those that the database gives to each lease (`live_keys` in apps/live/migrations/0002_counting.py).
"""

import hashlib
from datetime import datetime, tzinfo

from apps.protocol.messages import address_key
from apps.protocol.methods import NUMBER_ACTIONS, STREAM_ACTIONS
from apps.protocol.numbers import NumberPlan, canonical
from apps.protocol.screening import screen_text

MAX_NAME = 600
"""Characters of what stands in a key for a thing; what is longer is told from others by a digest."""


def thing(action: str, target: str, source: str, plan: NumberPlan) -> str:
    """One name for what is acted on, whichever of its names it was asked for by: a number in its canonical form; the
    source of a stream, where it has one ("" where not), since that is what really plays; an address in one spelling.
    """
    if action in STREAM_ACTIONS:
        return _without_secrets(address_key(source or target))
    if action in NUMBER_ACTIONS:
        return _without_secrets(canonical(target, plan) or target)
    return _without_secrets(target)


def who(username: str, address: str) -> str:
    """One name for a person: the user, or a guest by the address, in its canonical form or ""."""
    return f"user {username}" if username else f"guest {address}"


def rule_key(rule_id: int, per: str, action: str, person: str, what: str) -> str:
    """Under which key a rule's limit counts. A group counts together; so does everyone that the rule is about.

    Sessions are counted apart from what runs in them.
    """
    key = f"{rule_id} connect" if action == "connect" else f"{rule_id}"
    return {"user": f"{key} {person}", "target": f"{key} target {what}"}.get(per, key)


def stream_key(action: str, what: str) -> str:
    """Under which key those who publish, or play, one stream are counted."""
    return f"{action} {what}"


def day_began(now: datetime, zone: tzinfo) -> datetime:
    """The last midnight there; where clocks skip it, the moment they do, and where it comes twice, the first."""
    local = now.astimezone(zone)
    return datetime(local.year, local.month, local.day, tzinfo=zone)


def month_began(now: datetime, zone: tzinfo) -> datetime:
    """The midnight with which this month began there."""
    local = now.astimezone(zone)
    return datetime(local.year, local.month, 1, tzinfo=zone)


def _without_secrets(text: str) -> str:
    """The text fit for a column; where something is left out, a digest still tells it from others."""
    text = text.replace("\x00", "\ufffd").encode(errors="replace").decode()
    screened = screen_text(text)[:MAX_NAME]
    if screened == text:
        return text
    return f"{screened} {hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
