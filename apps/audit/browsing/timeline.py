"""The timeline above the audit log: how the newest of what was found spread over time, in bars that lead to their time.

However much there is, no more than LOOKED_AT events are looked at, and the chart says so.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice, pairwise
from typing import NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

from apps.audit.browsing.paging import NEWEST_FIRST, first_of, patience
from apps.audit.browsing.search import OUTCOME

LOOKED_AT = 3_000
PATIENCE = timedelta(seconds=1)
BARS = 60
OUTCOMES = {"refused": "refused", "allowed": "allowed", "changed": "by staff", "noted": "noted"}
"""What is counted, from the bottom of a bar up, and how it is called: staff do more than to change."""

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
WIDTHS = (
    *(SECOND * number for number in (1, 2, 5, 10, 15, 30)),
    *(timedelta(minutes=number) for number in (1, 2, 5, 10, 15, 30)),
    *(timedelta(hours=number) for number in (1, 2, 3, 6, 12)),
)
"""How long the time of a bar may be, below a day."""


class Count(NamedTuple):
    """So many events of one outcome, in the time that begins with this moment."""

    moment: datetime
    outcome: str
    number: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted; `complete` unless there is more, all of it older. Not `exact` are whole hours and days."""

    counts: tuple[Count, ...]
    complete: bool
    exact: bool = True

    @property
    def total(self) -> int:
        return sum(count.number for count in self.counts)

    @property
    def since(self) -> datetime | None:
        return min((count.moment for count in self.counts), default=None)


@dataclass(frozen=True, slots=True)
class Bar:
    """The events of a time, from `since` on and before `until`."""

    since: datetime
    until: datetime
    numbers: Counter = field(default_factory=Counter)


def counts_of(ways: Sequence[QuerySet]) -> Counts:
    """How many events there were in each second, of the newest LOOKED_AT that are found by any of the ways.

    All that the chart knows comes from here: where counts are kept by hour or day, they can be given instead. Raises
    TakesTooLong.
    """
    events = [way.annotate(outcome=OUTCOME).values_list("id", "received_at", "outcome") for way in ways]
    try:
        sql, params = first_of(events, NEWEST_FIRST, LOOKED_AT).query.sql_with_params()
    except EmptyResultSet:  # Django knows that there is nothing
        return Counts((), complete=True)
    with patience(PATIENCE), connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT date_bin('1 second', received_at, 'epoch'), outcome, count(*)
                FROM ({sql}) AS newest (id, received_at, outcome) GROUP BY 1, 2""",  # noqa: S608
            params,
        )
        counts = tuple(Count(*row) for row in cursor.fetchall())
    return Counts(counts, sum(count.number for count in counts) < LOOKED_AT)


def bars(counts: Iterable[Count], zone: tzinfo) -> list[Bar]:
    """The counts in bars of equal times, about BARS of them; those of a day or more begin at midnight."""
    counts = list(counts)
    if not counts:
        return []
    first, last = min(count.moment for count in counts), max(count.moment for count in counts)
    edges = _edges(first.astimezone(UTC), last.astimezone(UTC) + SECOND, zone)
    found = [Bar(since.astimezone(zone), until.astimezone(zone)) for since, until in pairwise(edges)]
    for moment, outcome, number in counts:
        found[bisect_right(edges, moment) - 1].numbers[outcome] += number
    return found


def _edges(first: datetime, end: datetime, zone: tzinfo) -> list[datetime]:
    """Where bars begin and end, in UTC: the first one at or before `first`, the last one at or after `end`.

    In a zone, the last hour of a day on which clocks go forward would be a time that a sum of hours never gets to.
    """
    width = next((width for width in WIDTHS if (end - first) / width <= BARS - 1), None)
    midnights = _midnights(first.astimezone(zone).date(), zone)
    if width is None:
        days = -(-(end - first) // (DAY * (BARS - 1)))
        edges = [next(midnights)]
        while edges[-1] < end:
            edges.append(next(islice(midnights, days - 1, None)))
        return edges
    midnight = next(midnights)
    start = midnight + (first - midnight) // width * width
    return [start + number * width for number in range(-(-(end - start) // width) + 1)]


def _midnights(day: date, zone: tzinfo) -> Iterator[datetime]:
    """When this day and those after it begin, in UTC."""
    while True:
        yield datetime.combine(day, time.min, zone).astimezone(UTC)
        day += DAY
