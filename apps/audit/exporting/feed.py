"""The audit log in the order in which it became visible, page by page, for whoever keeps a copy of it (docs/feed.md).

That is the order of batches, whose numbers are given under a lock that is held until the commit: nothing ever comes
before what was read. Moments and ids are no such order: what is moved late has early ones.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Length

from apps.audit.chain import ENTRY, STAFF_ACTION, Entry, entries
from apps.audit.exporting.export import FORMATS, JSON_LINES, row
from apps.audit.ids import MARGIN
from apps.audit.models import AuditEvent, Batch
from apps.audit.net import see_whole
from apps.audit.proving import seals

BATCHES = 200
"""So many batches a page goes through at most."""

BODIES = 4_000_000
"""Bytes of bodies after which a page ends, however few events are on it."""


class BadCursor(ValueError):
    """What is no cursor. The message says what was expected."""


class UnknownCursor(ValueError):
    """A cursor of a place that the record does not have."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the feed: so many entries of a batch were given, and all of those before it."""

    batch: int
    given: int

    def __str__(self) -> str:
        return f"{self.batch}.{self.given}"

    @classmethod
    def read(cls, text: str) -> "Cursor":
        """The cursor that was written so. Raises BadCursor."""
        if not (found := re.fullmatch(r"([0-9]{1,18})\.([0-9]{1,9})", text)):
            raise BadCursor("“after” is the “next” of the page before, for example 4711.0.")
        return cls(int(found[1]), int(found[2]))


BEGINNING = Cursor(0, 0)


class Page(NamedTuple):
    """A piece of the feed. `hashes` has those of all batches that it has been through, by their numbers."""

    items: list[dict[str, Any]]
    next: Cursor
    more: bool
    hashes: dict[int, str]


class _Place(NamedTuple):
    after: Cursor
    entry: Entry

    @property
    def is_count(self) -> bool:
        return self.entry.kind.islower()


def end() -> Cursor:
    """The place after everything that is there now."""
    return _end_of(Batch.objects.all())


def first_since(since: datetime) -> Cursor:
    """The place before the first batch that was moved at this moment or later, also where clocks of workers differ."""
    before = Batch.objects.filter(moved_at__lt=since - MARGIN).order_by("-moved_at").values("number")[:1]
    known = next(iter(before.values_list("number", flat=True)), 0)
    first = Batch.objects.filter(number__gt=known, moved_at__gte=since).order_by("number").first()
    return end() if first is None else Cursor(first.number, 0)


@transaction.atomic
def page(after: Cursor, limit: int) -> Page:
    """Up to `limit` entries after a place. Raises UnknownCursor; and BeingPutInPlace, as what is not found for a while
    would be taken for what retention let go."""
    see_whole()
    batches, more = _batches(after, limit)
    waiting = list(_places(after, batches))
    counts = _counts({place.entry.id for place in waiting[:limit]})
    taken = _that_fit(waiting[:limit], counts)
    events = _events({place.entry.id for place in taken if not place.is_count})
    whole = len(taken) == len(waiting)
    return Page(
        items=list(_items(taken, events, counts)),
        next=taken[-1].after if not whole else _end(batches[-1]) if batches else after,
        more=more or not whole,
        hashes={batch.number: bytes(batch.hash).hex() for batch in batches},
    )


def newest_seal() -> dict[str, str] | None:
    """What was signed last, and the signature of that in base64; None where nothing was."""
    seal = seals.newest()
    return seal and {"line": seal.line.decode(), "signature": b64encode(seal.signature).decode()}


def _end_of(batches: QuerySet[Batch]) -> Cursor:
    last = batches.order_by("-number").first()
    return BEGINNING if last is None else _end(last)


def _end(batch: Batch) -> Cursor:
    return Cursor(batch.number, len(batch.entries) // ENTRY)


def _batches(after: Cursor, limit: int) -> tuple[Sequence[Batch], bool]:
    """The batches from a place on that have so many entries, and whether there are more."""
    found = Batch.objects.filter(number__gte=after.batch).order_by("number")
    sizes = list(found.annotate(size=Length("entries") / ENTRY).values_list("number", "size")[: BATCHES + 1])
    if after != BEGINNING and not (sizes and sizes[0][0] == after.batch and sizes[0][1] >= after.given):
        raise UnknownCursor
    numbers, wanted = [], after.given + limit
    for number, size in sizes[:BATCHES]:
        numbers.append(number)
        wanted -= size
        if wanted <= 0:
            break
    return list(found.filter(number__in=numbers)), len(sizes) > len(numbers)


def _places(after: Cursor, batches: Sequence[Batch]) -> Iterator[_Place]:
    for batch in batches:
        for given, entry in enumerate(entries(bytes(batch.entries)), start=1):
            if batch.number > after.batch or given > after.given:
                yield _Place(Cursor(batch.number, given), entry)


def _counts(ids: set[UUID]) -> dict[UUID, dict[str, Any]]:
    """What may change of these events, as it is now, and how long their bodies are."""
    columns = ("id", "last_received_at", "repeats", "while_away")
    found = _of(ids).annotate(size=Length("body")).values(*columns, "size")
    return {counted["id"]: counted for counted in found}


def _that_fit(places: Sequence[_Place], counts: dict[UUID, dict[str, Any]]) -> Sequence[_Place]:
    """As many of them, and at least the first, as bodies have room on a page."""
    room = BODIES
    for number, place in enumerate(places):
        if not place.is_count and place.entry.id in counts:
            room -= counts[place.entry.id]["size"]
            if room < 0:
                return places[: max(number, 1)]
    return places


def _events(ids: set[UUID]) -> dict[UUID, AuditEvent]:
    return {event.id: event for event in FORMATS[JSON_LINES].read(_of(ids))}


def _of(ids: set[UUID]) -> QuerySet[AuditEvent]:
    """Events with these ids; that they are from a time spares the partitions of all others."""
    if not ids:
        return AuditEvent.objects.none()
    return AuditEvent.objects.filter(id__in=ids, id__range=(min(ids), max(ids)))


def _items(
    places: Sequence[_Place], events: dict[UUID, AuditEvent], counts: dict[UUID, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Without what retention let go."""
    for place in places:
        id_, batch = place.entry.id, place.after.batch
        if place.is_count and id_ in counts:
            yield _count(batch, counts[id_])
        elif not place.is_count and id_ in events:
            kind = "change" if place.entry.kind == STAFF_ACTION else "event"
            yield {"kind": kind, **row(events[id_]), "batch": batch}


def _count(batch: int, counted: dict[str, Any]) -> dict[str, Any]:
    """An event whose count has changed, in words of the one that was given before."""
    last = counted["last_received_at"].astimezone(UTC).isoformat()
    members = {name: counted[name] for name in ("id", "repeats", "while_away")}
    return {"kind": "count", "batch": batch, **members, "last_received_at": last}
