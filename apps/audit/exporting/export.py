"""Hooks as CSV or JSON Lines: any search, streamed in pieces of a bounded size, newest first.

Pieces are found by the last row of the one before, so a million rows take no more memory than a hundred, and no
transaction stays open. An export that broke off goes on after its last row: every row says how, in `resume`, where the
row stands and when it was asked for, since “the last hour” is the hour before that however late it goes on.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from apps.accounts.csv_lines import csv_line
from apps.audit.browsing.paging import NEWEST_FIRST, Place, older_than, read_moment, written
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
NOT_COMPLETE = "Not complete: it broke off here. To go on, add resume= and what stands under “resume” to its address."
YEARS = range(1970, 9999)
"""Of events; what is older or newer is no moment in every time zone."""


class BadPlace(ValueError):
    """Where to go on cannot be read. The message says what was expected."""


class Resume(NamedTuple):
    """How an export that broke off goes on: after this place, with what was asked for at that moment."""

    place: Place
    asked_at: datetime

    @classmethod
    def read(cls, text: str) -> "Resume":
        """What stands under `resume` in a row. Raises BadPlace."""
        place, _, asked_at = text.partition("@")
        try:
            found = cls(Place.read(place), read_moment(asked_at))
        except ValueError:
            found = None
        if found and all(moment.year in YEARS for moment in (found.place.received_at, found.asked_at)):
            return found
        raise BadPlace(
            "To go on, give all that stands under “resume” in the last row: where it was, and after the @ when it was "
            "asked for."
        )

    def __str__(self) -> str:
        return f"{self.place}@{written(self.asked_at)}"


@dataclass(frozen=True, slots=True)
class Format:
    """How a file of events is written: what comes first, and each event as a line."""

    content_type: str
    head: bytes
    line: Callable[[AuditEvent, datetime], bytes]
    """An event, and when the file was asked for."""
    broken_off: Callable[[str], bytes]
    """What is written last where it broke off: how it goes on."""
    columns: tuple[str, ...] = COLUMNS

    def lines(self, events: Iterable[AuditEvent], asked_at: datetime, after: str = "") -> Iterator[bytes]:
        """The head, if there is one, and then a line for each event; `after` is where these begin.

        Where they break off, a last line says so before the error is raised: granian, as it stands, ends such an answer
        as it does a whole one, and nobody could tell.
        """
        if self.head:
            yield self.head
        try:
            for event in events:
                yield self.line(event, asked_at)
                after = str(Resume(Place.of(event), asked_at))
        except Exception:
            yield self.broken_off(after)
            raise

    def read(self, events: QuerySet) -> QuerySet:
        """The events with the columns that are written."""
        return events.defer(None).only(*self.columns)


def row(event: AuditEvent) -> dict[str, Any]:
    """An event as it is given to programs, with the body as it is kept."""
    return {**_values(event), "body": bytes(event.body).decode(errors="replace")}


def _csv_line(event: AuditEvent, asked_at: datetime) -> bytes:
    """What a spreadsheet would calculate gets an apostrophe in front."""
    return csv_line([_flat(value) for value in (*_values(event).values(), Resume(Place.of(event), asked_at))])


def _json_line(event: AuditEvent, asked_at: datetime) -> bytes:
    said = {**row(event), RESUME: str(Resume(Place.of(event), asked_at))}
    return json.dumps(said, ensure_ascii=False, default=str).encode() + b"\n"


def _csv_broken_off(after: str) -> bytes:
    return csv_line([NOT_COMPLETE, *[""] * (len(COLUMNS) - 1), after])


def _json_broken_off(after: str) -> bytes:
    return json.dumps({"error": "not-complete", "detail": NOT_COMPLETE, RESUME: after}).encode() + b"\n"


CSV, JSON_LINES = "csv", "jsonl"
FORMATS = {
    CSV: Format("text/csv; charset=utf-8", csv_line([*COLUMNS, RESUME]), _csv_line, _csv_broken_off),
    JSON_LINES: Format("application/x-ndjson", b"", _json_line, _json_broken_off, (*COLUMNS, "body")),
}
"""By the ending of the file's name."""


def in_chunks(events: QuerySet, place: Place | None = None, chunk: int = CHUNK) -> Iterator[AuditEvent]:
    """The events from the newest on, or those that come after a place. The first of them are read at once, so that what
    is wrong is said before anything is sent. Raises BeingPutInPlace, then or later: who has a part can go on there.
    """
    events = events.order_by(*NEWEST_FIRST)
    return _in_chunks(events, _chunk(events, place, chunk), chunk)


def _in_chunks(events: QuerySet, rows: list[AuditEvent], chunk: int) -> Iterator[AuditEvent]:
    while True:
        yield from rows
        if len(rows) < chunk:
            return
        rows = _chunk(events, Place.of(rows[-1]), chunk)


def _chunk(events: QuerySet, place: Place | None, chunk: int) -> list[AuditEvent]:
    with transaction.atomic():
        see_whole()
        return list(events_after(events, place)[:chunk])


def events_after(events: QuerySet, place: Place | None) -> QuerySet:
    """Those that come after a place, in the order from the newest on; all of them without one."""
    return older_than(place, events) if place else events


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
