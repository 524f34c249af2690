"""Pages of the audit log, the newest events first: each is found by the row next to it.

Nothing is counted and nothing is skipped over, so the last page costs what the first one does. Whoever turns forward
and back sees every event once, also those that came in the same microsecond, and while others come.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.views.main import PAGE_VAR
from django.db import OperationalError, connection, models, transaction
from django.db.models import F, Func, QuerySet, Value
from django.db.models.lookups import GreaterThan, LessThan
from psycopg.errors import QueryCanceled

from apps.accounts.pages import StaffChangeList
from apps.audit.browsing.search import GIVEN
from apps.audit.ids import MARGIN, first_id
from apps.audit.models import AuditEvent

NEWEST_FIRST, OLDEST_FIRST = ("-received_at", "-id"), ("received_at", "id")
NEWEST, OLDER, NEWER, OLDEST = "", "older", "newer", "oldest"
PATIENCE = timedelta(seconds=5)
"""How long Postgres may look for a page; what takes longer is rare and in no index."""


_SET_TIMEOUT = "SELECT set_config('statement_timeout', %s, true)"
_MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"


def written(moment: datetime) -> str:
    """A moment as addresses have it, to the microsecond."""
    return f"{moment.astimezone(UTC):{_MOMENT}}"


def read_moment(text: str) -> datetime:
    """The moment that was written so. Raises ValueError."""
    return datetime.strptime(text, _MOMENT).replace(tzinfo=UTC)


class Place(NamedTuple):
    """Where an event stands in the order of the log."""

    received_at: datetime
    id: UUID

    @classmethod
    def of(cls, event: AuditEvent) -> "Place":
        return cls(event.received_at, event.id)

    @classmethod
    def read(cls, text: str) -> "Place":
        """The place that was written so. Raises ValueError."""
        moment, _, id_ = text.partition("_")
        return cls(read_moment(moment), UUID(id_))

    def __str__(self) -> str:
        return f"{written(self.received_at)}_{self.id}"


class BadPage(ValueError):
    """Which page is asked for cannot be read. The message says what to do."""


class TakesTooLong(Exception):
    """Postgres was stopped while it still looked."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Which page is asked for: the newest, the oldest, or the one older or newer than a place."""

    to: str = NEWEST
    place: Place | None = None

    def __str__(self) -> str:
        return f"{self.to}.{self.place}" if self.place else self.to

    @property
    def backwards(self) -> bool:
        return self.to in (NEWER, OLDEST)


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, and how to turn to those beside them; None where there are none."""

    events: tuple[AuditEvent, ...]
    newer: Turn | None = None
    older: Turn | None = None


def read_turn(text: str) -> Turn:
    """Which page an address asks for. Raises BadPage."""
    to, _, place = text.partition(".")
    try:
        if to in (OLDER, NEWER):
            return Turn(to, Place.read(place))
    except (ValueError, OverflowError):
        pass
    else:
        if text in (NEWEST, OLDEST):
            return Turn(text)
    raise BadPage(
        "Which page this is cannot be read from its address, so these are the newest events. Turn the pages below the "
        "list, or give a time: after:2026-11-01 before:2026-11-02."
    )


def older_than(place: Place, events: QuerySet) -> QuerySet:
    """Those after a place in the list. Their ids say it, too, so that only partitions of that time are looked into."""
    bound = first_id(place.received_at, MARGIN)
    return events.filter(LessThan(_row(F("received_at"), F("id")), _row_of(place)), id__lt=bound)


def newer_than(place: Place, events: QuerySet) -> QuerySet:
    """Those before a place in the list."""
    bound = first_id(place.received_at, -MARGIN)
    return events.filter(GreaterThan(_row(F("received_at"), F("id")), _row_of(place)), id__gte=bound)


def page_of(ways: Sequence[QuerySet], turn: Turn, size: int) -> Page:
    """One page of what is found by any of the ways; one row more than fits says whether there are others."""
    if turn.place:
        beyond = newer_than if turn.backwards else older_than
        ways = [beyond(turn.place, way) for way in ways]
    found = list(first_of(ways, OLDEST_FIRST if turn.backwards else NEWEST_FIRST, size + 1))
    events, more = tuple(found[:size]), len(found) > size
    events = events[::-1] if turn.backwards else events
    if not events:
        return Page(())
    before, after = (bool(turn.place), more)[:: -1 if turn.backwards else 1]
    return Page(
        events,
        Turn(NEWER, Place.of(events[0])) if before else None,
        Turn(OLDER, Place.of(events[-1])) if after else None,
    )


def first_of(ways: Sequence[QuerySet], order: tuple[str, str], number: int) -> QuerySet:
    """So many in this order. Each way is one look into an index, however many there are to be found."""
    ways = [way for way in ways if not way.query.is_empty()] or ways[:1]  # Django joins none of those that find nothing
    first, *others = (way.order_by(*order)[:number] for way in ways)
    return first.union(*others).order_by(*order)[:number] if others else first


@contextmanager
def patience(limit: timedelta) -> Iterator[None]:
    """What is asked of Postgres in here is stopped when it takes longer, and what was done before in the transaction is
    not lost. Raises TakesTooLong.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            (before,) = cursor.fetchone()
            cursor.execute(_SET_TIMEOUT, [str(limit // timedelta(milliseconds=1))])
            yield
            cursor.execute(_SET_TIMEOUT, [before])  # for whatever else is in this transaction
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TakesTooLong from error
        raise


class PagesByPlace:
    """What unfold asks of a paginator: how to show the turning of pages."""

    template_name = "admin/audit/pages.html"


class AuditChangeList(StaffChangeList):
    """The list of the audit log. Its page is looked for when it is first asked for: exports and charts never do."""

    show_full_result_count = show_admin_actions = can_show_all = multi_page = False

    def get_results(self, request):
        self.paginator = PagesByPlace()
        self.ways = self.model_admin.ways(self.queryset, self.query)
        request.GET = request.GET.copy()  # without the page: another search or filter begins with the newest again
        try:
            self.turn = read_turn(request.GET.pop(PAGE_VAR, [""])[-1])
        except BadPage as error:
            messages.error(request, str(error))
            self.turn = Turn()

    @cached_property
    def page(self) -> Page | None:
        """None where it takes too long to find."""
        try:
            with patience(PATIENCE):
                return page_of([way.annotate(given=GIVEN) for way in self.ways], self.turn, self.list_per_page)
        except TakesTooLong:
            return None

    @property
    def result_list(self) -> list[AuditEvent]:
        return list(self.page.events) if self.page else []

    @property
    def result_count(self) -> int:
        return len(self.result_list)

    full_result_count = result_count
    patience = PATIENCE.seconds

    def turns(self) -> list[dict[str, str]]:
        """The ways to other pages: what they are called, and where they lead; nowhere from the first and the last."""
        newer, older = (self.page.newer, self.page.older) if self.page else (None, None)
        elsewhere = self.turn.to != NEWEST
        return [
            {"label": "Newest", "url": self._url(Turn()) if newer or elsewhere else ""},
            {"label": "Newer", "url": self._url(newer), "rel": "prev", "key": "p"},
            {"label": "Older", "url": self._url(older), "rel": "next", "key": "n"},
            {"label": "Oldest", "url": self._url(older and Turn(OLDEST))},
        ]

    def _url(self, turn: Turn | None) -> str:
        return self.get_query_string({PAGE_VAR: str(turn) or None}) if turn else ""


def _row(*values) -> Func:
    """Columns to compare together, the first one first: this way an index on them is one range."""
    return Func(*values, function="ROW", output_field=models.Field())


def _row_of(place: Place) -> Func:
    moment, id_ = models.DateTimeField(), models.UUIDField()
    return _row(Value(place.received_at, output_field=moment), Value(place.id, output_field=id_))
