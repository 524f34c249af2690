"""What happened, told as a sentence."""

import json
from collections.abc import Mapping
from typing import Any

from apps.access.reasons import NOTED, REASON_TEXTS, STAFF_ACTION, Reason
from apps.access.sentences import deed
from apps.audit.models import AuditEvent, Effect
from apps.audit.moving.changes import ACTIONS, ACTS
from apps.protocol.methods import PART, STREAM_ACTIONS, Kind, Method, find
from apps.protocol.state_words import lets_go_said, state_said

INCOMING = {
    "receive-call": "was about to receive a call",
    "receive-message": "was about to receive a message",
    "receive-transfer": "was about to be transferred",
}
IN_A_CALL = {"hold": "hold a call", "unhold": "take a call off hold", "sendDtmf": "send tones in a call"}
"""What is said of the call that it is about; a rule speaks of all calls."""

BODY_SHOWN = 100_000  # characters


def headline(event: AuditEvent) -> str:
    """Who did what, for example: alice asked to play “lobby”."""
    if event.reason == STAFF_ACTION:
        return f"{event.username} {(ACTIONS | ACTS).get(event.action, event.action)} {event.target}"
    who = event.username or ("Whoever holds the link" if event.reason == Reason.ALLOWED_BY_LINK else "A guest")
    method = find(event.method)
    on_what = f" “{event.target}”" if event.target else ""
    if method is None:
        return f"WCS sent “{event.method}”, which is not known here"
    if event.action == "connect":
        return f"{who} asked to connect through app “{event.app_key}”"
    if event.action in INCOMING:
        return f"{who} {INCOMING[event.action]}" + (f" from{on_what}" if on_what else "")
    if method.kind is Kind.EVENT:
        return _event_said(event, method)
    if not method.refusable:
        said = lets_go_said(method.name, event.username, event.target)
        return said or f"{who} let go: {method.name}{on_what}"
    if method.name in IN_A_CALL:
        return f"{who} asked to {IN_A_CALL[method.name]}" + (f" with{on_what}" if on_what else "")
    return f"{who} asked to {deed(event.action, event.target)}"


def _event_said(event: AuditEvent, method: Method) -> str:
    """What WCS reports, or asks again while it runs; in its own words where there are no others."""
    who, on_what = event.username or "a guest", f" “{event.target}”" if event.target else ""
    if method.extent is PART:
        what = deed(event.action, event.target) if event.action in STREAM_ACTIONS else f"go on with{on_what}"
        return f"WCS asked whether {who} may still {what}"
    if said := state_said(method.name, event.status, event.username, event.target):
        return said
    status = f", status {event.status}" if event.status else ""
    return f"{method.name} about {who}" + (f" and{on_what}" if on_what else "") + status


def outcome(event: AuditEvent) -> str:
    """One word for how it was answered."""
    if event.reason == STAFF_ACTION:
        return "done" if event.action in ACTS else "changed"
    if event.reason in NOTED:
        return "noted"
    return "refused" if event.effect == Effect.REFUSED else "allowed"


def reason_text(event: AuditEvent) -> str:
    """What the reason tells staff; the code itself where this version does not know it."""
    return REASON_TEXTS.get(event.reason, event.reason)


def story(event: AuditEvent, node: str, remark: str = "") -> str:
    """The whole sentence, as in: alice asked to play “lobby” on node edge-1 and was refused: no rule allows it. A
    remark is what is known beside the event: alice plays “lobby” on node edge-1, although that had been refused.
    """
    if event.reason == STAFF_ACTION:
        changed = what_changed(event)
        return f"{headline(event)}: {changed}" if changed else f"{headline(event)}."
    what = f"{headline(event)} on node {node}" if node else headline(event)
    why = reason_text(event)
    if outcome(event) == "noted":
        return f"{what}{remark}. {why}"
    return f"{what} and was {outcome(event)}: {why[:1].lower()}{why[1:]}"


def what_changed(event: AuditEvent) -> str:
    """What staff changed: the rule as the sentence it was, and what is different."""
    return ": ".join(filter(None, ("; ".join(event.rules), event.told)))


def differing(told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The columns of a changed row that differ, before and after, as JSON; none where a row was added or removed."""
    before, after = told.get("before"), told.get("after")
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return []
    columns = [column for column in after if before.get(column) != after[column]]
    return [
        (column, *(json.dumps(row.get(column), ensure_ascii=False) for row in (before, after))) for column in columns
    ]


def body_text(raw: bytes) -> str:
    """A body to look at: indented if it is JSON, else as it came; never anything that cannot be shown."""
    try:
        text = json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = raw.decode("utf-8", "backslashreplace")
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return text if len(text) <= BODY_SHOWN else f"{text[:BODY_SHOWN]}\n… and {len(text) - BODY_SHOWN} characters more"
