"""What an event says has begun or ended: of all that runs under one id, the thing that it names. Pure.

Clients choose ids, and may ask for something else under one that is in use already. What WCS then tells of that (mostly
that it failed) is nothing that happened to what runs.
"""

from typing import Protocol

from apps.live.counted import thing
from apps.protocol.methods import CALL_ACTIONS, RUNS, Method
from apps.protocol.numbers import NumberPlan

_NAMED_BY = {"publish": "name", "play": "name", "call": "callee", "receive-call": "caller"}
"""The member of an event that names what was begun by an action."""


class Said(Protocol):
    """What an event says of what it is about."""

    @property
    def published(self) -> bool | None: ...


def told_of(method: Method, said: Said, plan: NumberPlan) -> dict[str, list[str]]:
    """The actions that may have begun what an event tells of, each with the names of the thing that it names; with ""
    alone where it names none, and so means whatever runs under its id.
    """
    return {action: _names(action, said, plan) for action in method.tells_of if _may_have_begun(action, said.published)}


def key_told_of(method: Method, media_session_id: str, call_id: str, session_id: str) -> str:
    """The id under which what an event tells of runs; "" for none."""
    return _key(method.tells_of[0], media_session_id, call_id, session_id) if method.tells_of else ""


def lease_key(method: Method | None, media_session_id: str, call_id: str, session_id: str) -> str:
    """What events will name it by; "" for what is over at once."""
    if method is None or method.extent is not RUNS:
        return ""
    return _key(method.action, media_session_id, call_id, session_id)


def _key(action: str, media_session_id: str, call_id: str, session_id: str) -> str:
    if action == "connect":
        return session_id
    return call_id if action in CALL_ACTIONS else media_session_id or session_id


def _names(action: str, said: Said, plan: NumberPlan) -> list[str]:
    """As limits know it, and as it was written, by which what a rule had called instead is found."""
    name = getattr(said, _NAMED_BY.get(action, ""), None) or ""
    return [thing(action, name, "", plan), thing("", name, "", plan)] if name else [""]


def _may_have_begun(action: str, published: bool | None) -> bool:
    return published is None or action not in ("publish", "play") or published == (action == "publish")
