"""What a statistic is: a sentence, a chart, and the table behind it; and how times and searches are written there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from html import escape
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from apps.audit.statistics.charts import number, share
from apps.audit.statistics.period import DAY, HOUR, Period
from apps.audit.stories.timeline import lasting


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: its cells, the search of the audit log behind it, and how much of the most it is."""

    cells: tuple[str, ...]
    search: str = ""
    of_most: float | None = None

    @property
    def url(self) -> str:
        """The audit log with what the row counts; "" where that cannot be searched for."""
        log = reverse("admin:audit_auditevent_changelist")
        return f"{log}?{urlencode({'q': self.search})}" if self.search else ""


@dataclass(frozen=True, slots=True)
class Statistic:
    """What is shown of one thing. Where there is nothing, there are no rows, and the sentence says so."""

    title: str
    sentence: str
    head: tuple[str, ...] = ()
    rows: Sequence[Row] = ()
    chart: str = ""
    hint: str = ""

    @property
    def drawing(self) -> str:
        """The chart as it goes into the page: made by `charts`, which escapes what it is given."""
        return SafeString(self.chart)

    @property
    def table(self) -> str:
        """The table as it goes into the page. Not by a template, which takes ten times as long for a year."""
        wide = " wcsgate-wide" if self.chart else ""
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.head)
        return SafeString(
            f'<table class="wcsgate-table{wide}" aria-label="{escape(self.title)}"><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(map(_line, self.rows))}</tbody></table>"
        )


def _line(row: Row) -> str:
    name, *cells = (escape(cell) for cell in row.cells)
    if row.search:
        name = f'<a class="text-link" href="{escape(row.url)}">{name}</a>'
    bar = "" if row.of_most is None else share(row.of_most, 1)
    return f'<tr><th scope="row">{name}{bar}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def when(place: date) -> str:
    """An hour or a day, to be read in a sentence."""
    if isinstance(place, datetime):
        return f"on {timezone.localtime(place):%A %Y-%m-%d %H:%M}"
    return f"on {place:%A %Y-%m-%d}"


def exact(place: date) -> str:
    """An hour or a day, to be told from all others, also where clocks are turned back."""
    if not isinstance(place, datetime):
        return f"{place}"
    local = timezone.localtime(place)
    comes_twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    return local.isoformat(" ", "minutes") if comes_twice else f"{local:%Y-%m-%d %H:%M}"


def head_of(period: Period) -> str:
    """What stands above hours or days; with the time zone whose hours they are."""
    return f"Hour ({timezone.get_default_timezone_name()})" if period.by_hour else "Day"


def short(place: date, period: Period) -> str:
    """An hour or a day, to stand below a chart."""
    if not isinstance(place, datetime):
        return f"{place:%b %-d}"
    return f"{timezone.localtime(place):{'%H:%M' if period.until - period.since <= DAY else '%a %H:%M'}}"


def days_of(period: Period) -> str:
    """The days that have something of a period."""
    if period.first_day == period.last_day:
        return f"on {period.first_day}"
    return f"from {period.first_day} to {period.last_day}"


def search_of_place(place: date, words: str = "") -> str:
    """The search for an hour or a day."""
    if isinstance(place, datetime):
        return _search(place, place + HOUR, words)
    return f"{words} after:{place} before:{place + DAY}".strip()


def search_of(period: Period, words: str) -> str:
    """The search for a whole period; "" where the words cannot be searched for."""
    return _search(period.since, period.until, words) if words else ""


def search_of_days(period: Period, words: str) -> str:
    """The search for the days of a period; "" where the words cannot be searched for."""
    return f"{words} after:{period.first_day} before:{period.last_day + DAY}" if words else ""


def _search(since: datetime, before: datetime, words: str) -> str:
    """In the words of the search box, which reads times as those of the clock here."""
    moments = (f"{timezone.localtime(moment):%Y-%m-%dT%H:%M}" for moment in (since, before))
    return "{} after:{} before:{}".format(words, *moments).strip()


def as_of(measured_at: datetime) -> str:
    """What is measured by the day is that old."""
    return f"As of {timezone.localtime(measured_at):%Y-%m-%d %H:%M}: a day that goes on is measured once an hour."


def decimal(value: float) -> str:
    """With one place behind the point."""
    return f"{value:.1f}"


def time_said(seconds: float) -> str:
    """A length of time in a sentence: in hours, as those are added up, where it is that much."""
    return f"{number(seconds / 3600)} hours" if seconds > 3600 else lasting(timedelta(seconds=float(seconds)))


def lasted(seconds: float) -> str:
    """Hours, minutes and seconds."""
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"
