"""What WCS does: restClientConfig, computed from the table of methods (protocol.md 3.3), and what follows from it."""

import json
from enum import IntFlag

from apps.protocol.methods import (
    CONNECT,
    EFFECTIVE,
    EVENT,
    IMPOSSIBLE,
    INCOMING,
    METHODS,
    POINTLESS,
    Method,
)


class Hiding(IntFlag):
    """What the policy of a session does besides making refusals count; kept with the session.

    REWRITES: WCS takes what we change. The others: WCS keeps from the client where streams come from, the numbers that
    are dialled instead of what was asked for, and the SIP account. A session from before all this has none.
    """

    REWRITES = 1
    SOURCES = 2
    NUMBERS = 4
    ACCOUNT = 8


NOTHING = Hiding.REWRITES
"""The policy of a session in which nothing needs to be hidden."""


def entry(method: Method, hiding: Hiding = NOTHING) -> dict[str, str]:
    """The five members WCS expects for one method.

    FAIL wherever a refusal works, so that our 403 counts (WCS is open by default), and wherever it would be
    pointless, since those are never refused. LOG for events that have happened. OVERWRITE wherever we may change
    something, always: a rule that changes something may come while the session lasts.
    """
    fails = method.refusal is EFFECTIVE or method.kind is not EVENT
    return {
        "clientExclude": ",".join(hidden(method, hiding)),
        "restExclude": ",".join(method.unstored),
        "restOnError": "FAIL" if fails else "LOG",
        "restPolicy": "OVERWRITE" if method.overwrite else "NOTIFY",
        "restOverwrite": ",".join(method.overwrite),
    }


def hidden(method: Method, hiding: Hiding) -> tuple[str, ...]:
    """The members of a method that WCS is asked to keep from the client, each once."""
    columns = (
        (Hiding.SOURCES, method.shows_source),
        (Hiding.NUMBERS, method.shows_number),
        (Hiding.ACCOUNT, method.shows_account),
    )
    return tuple(dict.fromkeys(member for what, members in columns if hiding & what for member in members))


def rest_client_config(hiding: Hiding = NOTHING) -> dict[str, dict[str, str]]:
    """The policy of a session, one entry for every method of the table and each of its spellings.

    WCS compares names with those it knows itself, and builds differ in spelling, so every alias is listed too.
    """
    return {name: entry(method, hiding) for method in METHODS for name in (method.name, *method.aliases)}


REST_CLIENT_CONFIGS = {
    hiding: json.dumps(rest_client_config(hiding), separators=(",", ":")).encode()
    for hiding in map(Hiding, range(Hiding.REWRITES, 2 * Hiding.ACCOUNT, 2))
}
"""The policies as JSON bytes, made once; there are eight."""

REST_CLIENT_CONFIG = REST_CLIENT_CONFIGS[NOTHING]
"""That of most sessions."""


def consequence(method: Method | None, *, allowed: bool) -> str:
    """What WCS does with our answer, given the policy it got in the answer to `connect` (protocol.md 5 and 7)."""
    return _after_200(method) if allowed else _after_403(method)


def _after_200(method: Method | None) -> str:
    if method is None:
        return "200, with the body as it came: WCS goes on."
    if method.kind is CONNECT:
        return "200: WCS opens the session, and asks again whenever the client does something in it."
    if method.refusal is POINTLESS:
        return "200: WCS goes on. It only lets go of something, so it is never refused."
    if method.refusal is IMPOSSIBLE:
        return "200: WCS takes note. It has happened already, so it is never refused."
    if method.kind is EVENT:
        return "200: WCS lets the stream run, and asks again later."
    return "200: WCS passes it on to the client." if method.kind is INCOMING else "200: WCS goes on."


def _after_403(method: Method | None) -> str:
    if method is not None and method.kind is CONNECT:
        return "403: WCS closes the connection. To connect, a refusal always counts."
    if method is not None and not method.in_session:
        return "403: WCS gives the player nothing. It has no session, so a refusal always counts."
    if method is None or entry(method)["restOnError"] != "FAIL":
        return "403: WCS writes it into its log and goes on."
    does = {EVENT: "stops the stream", INCOMING: "turns it away"}.get(method.kind, "stops it and tells the client")
    return f"403: WCS {does}, because our answer to connect said FAIL for this method."
