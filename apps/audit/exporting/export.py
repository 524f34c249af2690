"""Hooks as CSV or JSON Lines: any search, streamed in pieces of a bounded size, newest first.

Pieces are found by the last row of the one before, so a million rows take no more memory than a hundred, and no
transaction stays open. An export that broke off goes on after its last row: every row says how, in `resume`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from apps.accounts.csv_lines import csv_line
from apps.audit.browsing.paging import NEWEST_FIRST, Place, older_than
from apps.audit.models import AuditEvent
from apps.audit.net import see_whole

CHUNK = 2_000
COLUMNS = (
    *("id", "received_at", "last_received_at", "repeats", "method", "status", "node_id", "node_name", "app_key"),
    *("session_id", "media_session_id", "call_id", "client_address", "username", "action", "target", "number"),
    *("effect", "reason", "rule_ids", "rules", "logged_rule_ids", "told", "duration", "while_away", "revision"),
    "batch",
)
RESUME = "resume"


class BadPlace(ValueError):
    """Where to go on cannot be read. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a file of events is written: what comes first, and each event as a line."""

    content_type: str
    head: bytes
    line: Callable[[AuditEvent], bytes]
    columns: tuple[str, ...] = COLUMNS

    def lines(self, events: Iterable[AuditEvent]) -> Iterator[bytes]:
        """The head, if there is one, and then a line for each event."""
        if self.head:
            yield self.head
        yield from map(self.line, events)

    def read(self, events: QuerySet) -> QuerySet:
        """The events with the columns that are written."""
        return events.defer(None).only(*self.columns)


def row(event: AuditEvent) -> dict[str, Any]:
    """An event as it is given to programs, with the body as it is kept."""
    return {**_values(event), "body": bytes(event.body).decode(errors="replace")}


def _csv_line(event: AuditEvent) -> bytes:
    """What a spreadsheet would calculate gets an apostrophe in front."""
    return csv_line([_flat(value) for value in (*_values(event).values(), place_of(event))])


def _json_line(event: AuditEvent) -> bytes:
    said = {**row(event), RESUME: place_of(event)}
    return json.dumps(said, ensure_ascii=False, default=str).encode() + b"\n"


CSV, JSON_LINES = "csv", "jsonl"
FORMATS = {
    CSV: Format("text/csv; charset=utf-8", csv_line([*COLUMNS, RESUME]), _csv_line),
    JSON_LINES: Format("application/x-ndjson", b"", _json_line, (*COLUMNS, "body")),
}
"""By the ending of the file's name."""


def in_chunks(events: QuerySet, after: str = "", chunk: int = CHUNK) -> Iterator[AuditEvent]:
    """The events from the newest on, or those that come after a place. Raises BadPlace, before the first one; and
    BeingPutInPlace, also later: who has a part can go on from there."""
    place = _read_place(after) if after else None
    with transaction.atomic():
        see_whole()
    return _in_chunks(events.order_by(*NEWEST_FIRST), place, chunk)


def _in_chunks(events: QuerySet, place: Place | None, chunk: int) -> Iterator[AuditEvent]:
    while True:
        with transaction.atomic():
            see_whole()
            rows = list(events_after(events, place)[:chunk])
        yield from rows
        if len(rows) < chunk:
            return
        place = Place.of(rows[-1])


def events_after(events: QuerySet, place: Place | None) -> QuerySet:
    """Those that come after a place, in the order from the newest on; all of them without one."""
    return older_than(place, events) if place else events


def place_of(event: AuditEvent) -> str:
    """Where to go on after this event."""
    return str(Place.of(event))


def _read_place(text: str) -> Place:
    try:
        return Place.read(text)
    except ValueError:
        raise BadPlace("To go on, give what stands under “resume” in the last row.") from None


def _values(event: AuditEvent) -> dict[str, Any]:
    values = {name: getattr(event, name) for name in COLUMNS}
    if event.duration is not None:
        values["duration"] = event.duration.total_seconds()
    moments = {name: value.astimezone(UTC).isoformat() for name, value in values.items() if isinstance(value, datetime)}
    return {**values, **moments}


def _flat(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "" if value is None else str(value)
