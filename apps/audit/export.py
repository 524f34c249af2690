"""Hooks as CSV or JSON Lines: any search, streamed in pieces of a bounded size, newest first.

Pieces are found by the last row of the one before, so a million rows take no more memory than a hundred, and no
transaction stays open. An export that broke off goes on after its last row: every row says how, in `resume`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.accounts.csv_lines import csv_line
from apps.audit.ids import MARGIN, first_id
from apps.audit.models import AuditEvent

CHUNK = 2_000
COLUMNS = (
    *("id", "received_at", "last_received_at", "repeats", "method", "status", "node_id", "node_name", "app_key"),
    *("session_id", "media_session_id", "call_id", "client_address", "username", "action", "target", "number"),
    *("effect", "reason", "rule_ids", "rules", "logged_rule_ids", "told", "duration", "while_away", "revision"),
    "batch",
)
RESUME = "resume"

Place = tuple[datetime, UUID]
"""The time and the id of the last event so far."""


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


def _csv_line(event: AuditEvent) -> bytes:
    """What a spreadsheet would calculate gets an apostrophe in front."""
    return csv_line([_flat(value) for value in (*_values(event).values(), place_of(event))])


def _json_line(event: AuditEvent) -> bytes:
    """With the body as it is kept."""
    row = {**_values(event), "body": bytes(event.body).decode(errors="replace"), RESUME: place_of(event)}
    return json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n"


CSV, JSON_LINES = "csv", "jsonl"
FORMATS = {
    CSV: Format("text/csv; charset=utf-8", csv_line([*COLUMNS, RESUME]), _csv_line),
    JSON_LINES: Format("application/x-ndjson", b"", _json_line, (*COLUMNS, "body")),
}
"""By the ending of the file's name."""


def in_chunks(events: QuerySet, after: str = "", chunk: int = CHUNK) -> Iterator[AuditEvent]:
    """The events from the newest on, or those that come after a place. Raises BadPlace, before the first one."""
    place = _read_place(after) if after else None
    return _in_chunks(events.order_by("-received_at", "-id"), place, chunk)


def _in_chunks(events: QuerySet, place: Place | None, chunk: int) -> Iterator[AuditEvent]:
    while True:
        rows = list(events_after(events, place)[:chunk])
        yield from rows
        if len(rows) < chunk:
            return
        place = rows[-1].received_at, rows[-1].id


def events_after(events: QuerySet, place: Place | None) -> QuerySet:
    """Those that come after a place, in the order from the newest on; all of them without one."""
    if place is None:
        return events
    received_at, id_ = place
    return events.filter(received_at__lte=received_at, id__lt=first_id(received_at, MARGIN)).exclude(
        Q(received_at=received_at) & Q(id__gte=id_)
    )


def place_of(event: AuditEvent) -> str:
    """Where to go on after this event."""
    return f"{event.received_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}_{event.id}"


def _read_place(text: str) -> Place:
    moment, _, id_ = text.partition("_")
    try:
        return datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC), UUID(id_)
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
