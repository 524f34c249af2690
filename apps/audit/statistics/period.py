"""The time that statistics are asked about: by hour where it is short, else by day."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from django.utils import timezone

from apps.audit.statistics.measuring import day_begins
from apps.audit.statistics.models import Span
from apps.audit.statistics.tally_retention import HOURS_KEPT

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BY_HOUR = timedelta(days=8)
"""What is longer is told by day."""

FIRST_YEAR = 1970
"""Far enough from where there is no day before, in some time zone."""

LONGEST = timedelta(days=5 * 366)
CHOICES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "365d": "a year"}
DEFAULT = "7d"
OWN = "own"


class BadPeriod(ValueError):
    """What was asked for is no time. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class Period:
    """From a moment until another one, which is not included; both where an hour or a day begins."""

    name: str
    since: datetime
    until: datetime
    by_hour: bool

    def __str__(self) -> str:
        if self.name in CHOICES:
            return f"the last {CHOICES[self.name]}" if self.name != "365d" else "the last year"
        return f"{self.first_day} to {self.last_day}"

    @property
    def first_day(self) -> date:
        """The day it begins on, for what is told by day alone."""
        return timezone.localtime(self.since).date()

    @property
    def last_day(self) -> date:
        """The day it ends on."""
        return timezone.localtime(self.until - timedelta(microseconds=1)).date()

    @property
    def address(self) -> str:
        """As it stands in the address of the page."""
        own = {"from": str(self.first_day), "until": str(self.last_day)} if self.name == OWN else {}
        return urlencode({"period": self.name, **own})

    def places(self) -> list[datetime] | list[date]:
        """Its hours, or its days."""
        return list(_hours(self.since, self.until)) if self.by_hour else self.days()

    def days(self) -> list[date]:
        """All days that have something of it."""
        return [self.first_day + DAY * number for number in range((self.last_day - self.first_day).days + 1)]

    def parts_of_names(self, kept_since: date, today: date) -> list[tuple[Span, date]]:
        """What to put together of names: whole months as such, also this one until now, and the days beside."""
        months = [month for month in _months(self.first_day, self.last_day) if month >= max(kept_since, self.first_day)]
        ends = date.max if self.last_day >= today else self.last_day + DAY
        months = [month for month in months if _next_month(month) <= ends]
        whole = {(month.year, month.month) for month in months}
        days = [day for day in self.days() if day >= kept_since and (day.year, day.month) not in whole]
        return [*((Span.MONTH, month) for month in months), *((Span.DAY, day) for day in days)]


def period_of(asked: Mapping[str, str], now: datetime) -> Period:
    """The period that an address asks for: its days, where it gives them and names none. Raises BadPeriod."""
    name = asked.get("period", OWN if {"from", "until"} & asked.keys() else DEFAULT)
    if name == OWN:
        return _own(asked.get("from", ""), asked.get("until", ""), now)
    if name not in CHOICES:
        raise BadPeriod(f"“{name}” is no period. Choose one of {', '.join(CHOICES)}, or give “from” and “until”.")
    hour_ends = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    if name == "24h":
        return Period(name, hour_ends - DAY, hour_ends, by_hour=True)
    today = timezone.localtime(now).date()
    since = day_begins(today - DAY * (int(name.removesuffix("d")) - 1))
    by_hour = name == "7d"
    return Period(name, since, hour_ends if by_hour else day_begins(today + DAY), by_hour)


def _own(first: str, last: str, now: datetime) -> Period:
    days = []
    for word, text in (("from", first), ("until", last)):
        try:
            days.append(date.fromisoformat(text))
        except ValueError:
            raise BadPeriod(f"“{word}” is “{text}”. Give a date like 2026-11-01.") from None
    if days[0].year < FIRST_YEAR:
        raise BadPeriod(f"Before {FIRST_YEAR} there is nothing. Give a “from” like 2026-11-01.")
    today = timezone.localtime(now).date()
    since, until = days[0], min(days[1], today)
    if since > until:
        raise BadPeriod("“From” must not be later than “until”, nor later than today.")
    if until - since > LONGEST:
        raise BadPeriod(f"That is longer than {LONGEST.days // 366} years. Ask for less at once.")
    begins, ends = day_begins(since), day_begins(until + DAY)
    by_hour = ends - begins <= BY_HOUR and begins >= now - HOURS_KEPT
    return Period(OWN, begins, ends, by_hour)


def _hours(since: datetime, until: datetime) -> Iterator[datetime]:
    hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour < until:
        yield hour
        hour += HOUR


def _months(first: date, last: date) -> Iterator[date]:
    """The first days of all months that have something of it."""
    month = first.replace(day=1)
    while month <= last:
        yield month
        month = _next_month(month)


def _next_month(month: date) -> date:
    return (month + 32 * DAY).replace(day=1)
