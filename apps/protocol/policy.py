"""restClientConfig: what WCS shall do in one session, computed from the table of methods (protocol.md 3.3)."""

import json

from apps.protocol.methods import EFFECTIVE, EVENT, METHODS, Method


def entry(method: Method) -> dict[str, str]:
    """The five members WCS expects for one method.

    FAIL wherever a refusal works, so that our 403 counts (WCS is open by default), and wherever it would be
    pointless, since those are never refused. LOG for events that have happened.
    """
    fails = method.refusal is EFFECTIVE or method.kind is not EVENT
    return {
        "clientExclude": "",
        "restExclude": ",".join(method.unstored),
        "restOnError": "FAIL" if fails else "LOG",
        "restPolicy": "NOTIFY",
        "restOverwrite": "",
    }


def rest_client_config() -> dict[str, dict[str, str]]:
    """The policy of a session, one entry for every method of the table and each of its spellings.

    WCS compares names with those it knows itself, and builds differ in spelling, so every alias is listed too.
    """
    return {name: entry(method) for method in METHODS for name in (method.name, *method.aliases)}


REST_CLIENT_CONFIG = json.dumps(rest_client_config(), separators=(",", ":")).encode()
"""The policy as JSON bytes, made once."""
