"""Statistics of what ran: how many at once, for how long, and when it is busiest. By lease, as `measuring` found it."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, F, Sum
from django.db.models.functions import ExtractHour, ExtractIsoWeekDay
from django.utils import timezone

from apps.audit.statistics.charts import Series, heat_map, lines, number, stacked_bars
from apps.audit.statistics.measuring import DAY, HOUR, day_begins
from apps.audit.statistics.models import Running, RunningDay, RunningHour
from apps.audit.statistics.period import Period
from apps.audit.statistics.table import (
    Row,
    Statistic,
    as_of,
    days_of,
    decimal,
    exact,
    head_of,
    lasted,
    search_of_place,
    short,
    time_said,
    when,
)
from apps.audit.stories.timeline import lasting

WORDS = {"play": "Viewers", "publish": "Publishers", "call": "Calls", "connect": "Connected"}
TONES = {"play": 1, "publish": 4, "call": 5}
"""What charts show, each with its colour; who is only connected is told in tables."""

THING = {"play": "a playback", "publish": "a publication", "call": "a call"}
WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
HOURS = tuple(f"{hour:02}:00" for hour in range(24))
OVER = "in an hour that is over and was measured since"
HOW = "It is known from the status events of WCS: an app has to send all its hooks."

Cell = tuple[int, int]
"""A weekday, Monday being 0, and an hour."""

Known = dict[tuple[date, str], Running]


def running(period: Period) -> Statistic:
    """How many viewers, publishers and calls there were at once, over time."""
    title, known, places = "Viewers, publishers and calls", _known(period), period.places()
    highest = {action: _highest(known, action) for action in WORDS}
    if not any(highest.values()):
        return Statistic(title, f"Nothing ran in {period}, as far as is known. {HOW}")
    said = [_peak_said(action, *found) for action, found in highest.items() if found and action in TONES]
    series = [Series(WORDS[action], _values(known, places, action), tone) for action, tone in TONES.items()]
    return Statistic(
        title,
        f"Peak: {', '.join(said)}." if said else "Clients were connected, but none published, watched or called.",
        (
            head_of(period),
            *(f"{word}, {what}" for word in WORDS.values() for what in ("peak", "average")),
        ),
        [
            Row((exact(place), *_at_once(known, place)), search_of_place(place) if _is_known(known, place) else "")
            for place in places
        ],
        lines(f"{title} at once in {period}", [short(place, period) for place in places], series),
        "How many at most ran at the same time. The average is told in the table."
        + ("" if period.by_hour else f" {_as_of(known)}"),
    )


def _as_of(known: Known) -> str:
    """How old the latest of these days is."""
    _, row = max(known.items(), key=lambda found: found[0][0])
    return as_of(row.measured_at)


def durations(period: Period) -> Statistic:
    """For how long playbacks, streams and calls ran, day by day."""
    days = period.days()
    known = {(row.day, row.action): row for row in _days(days)}
    ran = {action: sum(row.seconds for row in known.values() if row.action == action) for action in TONES}
    if not any(ran.values()):
        return Statistic("Durations", f"Nothing ran {days_of(period)}, as far as is known. {HOW}")
    longest = max(row.seconds for row in known.values())
    units, unit, seconds = ("Hours", "h", 3600) if longest >= 3600 else ("Minutes", "min", 60)
    series = [
        Series(WORDS[action], tuple((row := known.get((day, action))) and row.seconds / seconds for day in days), tone)
        for action, tone in TONES.items()
    ]
    return Statistic(
        "Durations",
        _ran_said(ran) + _longest_said(row for row in known.values() if row.action in TONES),
        (
            "Day",
            *(f"{WORDS[action]}, {what}" for action in TONES for what in ("hours", "ended", "average", "longest")),
        ),
        [Row((str(day), *(cell for action in TONES for cell in _lasted(known.get((day, action)))))) for day in days],
        stacked_bars(
            f"{units} that streams and calls ran, {days_of(period)}",
            [short(day, period) for day in days],
            series,
            unit,
        ),
        "Hours are those within the day. Average and longest are of what ended on it, from start to end. "
        + _as_of(known),
    )


def busiest(period: Period, chosen: str = "") -> Statistic:
    """How many run at once on average, by weekday and hour."""
    seconds: dict[str, Counter[Cell]] = defaultdict(Counter)
    measured: Counter[Cell] = Counter()
    for row in _by_weekday_and_hour(period):
        cell = row["weekday"] - 1, row["of_day"]
        seconds[row["action"]][cell] = row["ran"]
        measured[cell] = row["times"]
    ran = [action for action in WORDS if seconds[action].total()]
    if not ran:
        return Statistic("Busiest hours", f"Nothing ran {OVER} in {period}, as far as is known. {HOW}")
    action = chosen if chosen in WORDS else ran[0]
    average = [
        [seconds[action][day, hour] / 3600 / times if (times := measured[day, hour]) else None for hour in range(24)]
        for day in range(7)
    ]
    places = [(day, hour) for day in range(7) for hour in range(24)]
    day, hour = max(places, key=lambda place: average[place[0]][place[1]] or 0)
    noun = WORDS[action].lower()
    return Statistic(
        "Busiest hours",
        f"Busiest: {WEEKDAYS[day]} {HOURS[hour]}, with {number(average[day][hour] or 0)} {noun} at once on average.",
        ("Weekday", *HOURS),
        [
            Row((name, *("" if value is None else decimal(value) for value in row)))
            for name, row in zip(WEEKDAYS, average, strict=True)
        ],
        heat_map(f"{WORDS[action]} at once, by weekday and hour", [name[:3] for name in WEEKDAYS], HOURS, average),
        f"How many run at once on average, in {period}, in the time zone {timezone.get_default_timezone()}.",
    )


def _by_weekday_and_hour(period: Period) -> Iterable[dict[str, Any]]:
    """Of hours that were over when they were measured."""
    zone = timezone.get_default_timezone()
    hours = RunningHour.objects.filter(hour__gte=period.since, hour__lt=period.until, measured_at__gte=F("hour") + HOUR)
    hours = hours.annotate(weekday=ExtractIsoWeekDay("hour", zone), of_day=ExtractHour("hour", zone))
    return hours.values("action", "weekday", "of_day").annotate(ran=Sum("seconds"), times=Count("hour"))


def _known(period: Period) -> Known:
    if not period.by_hour:
        return {(row.day, row.action): row for row in _days(period.days())}
    rows = RunningHour.objects.filter(hour__gte=period.since, hour__lt=period.until)
    return {(row.hour, row.action): row for row in rows}


def _days(days: list[date]) -> Iterable[RunningDay]:
    return RunningDay.objects.filter(day__gte=days[0], day__lte=days[-1])


def _values(known: Known, places: Iterable[date], action: str) -> tuple[float | None, ...]:
    return tuple((row := known.get((place, action))) and row.peak for place in places)


def _highest(known: Known, action: str) -> tuple[date, int] | None:
    """Where most ran at once, and how many; the first such place."""
    peaks = sorted((place, row.peak) for (place, of), row in known.items() if of == action and row.peak)
    return max(peaks, key=lambda peak: peak[1], default=None)


def _peak_said(action: str, place: date, peak: int) -> str:
    word = WORDS[action].lower()
    return f"{number(peak)} {word.removesuffix('s') if peak == 1 else word} {when(place)}"


def _at_once(known: Known, place: date) -> Iterable[str]:
    for action in WORDS:
        row = known.get((place, action))
        yield str(row.peak) if row else ""
        yield decimal(row.seconds / _seconds_of(row, place)) if row else ""


def _is_known(known: Known, place: date) -> bool:
    """Whether anything of a place is: a link to nothing would be one more stop on the way of the keyboard."""
    return any((place, action) in known for action in WORDS)


def _seconds_of(row: Running, place: date) -> float:
    """How long the hour or day had gone on when it was measured."""
    begins = place if isinstance(place, datetime) else day_begins(place)
    ends = begins + HOUR if isinstance(place, datetime) else day_begins(place + DAY)
    return max(1.0, (min(ends, row.measured_at) - begins).total_seconds())


def _lasted(row: Running | None) -> tuple[str, ...]:
    if row is None:
        return ("", "", "", "")
    average = lasted(row.ended_seconds / row.ended) if row.ended else ""
    return lasted(row.seconds), str(row.ended), average, lasted(row.longest) if row.ended else ""


def _ran_said(ran: dict[str, float]) -> str:
    times = ", ".join(f"{WORDS[action].lower()} {time_said(seconds)}" for action, seconds in ran.items())
    return f"All together, {times}."


def _longest_said(rows: Iterable[RunningDay]) -> str:
    row = max(rows, key=lambda row: row.longest)
    if not row.longest:
        return ""
    longest = lasting(timedelta(seconds=row.longest))
    return f" The longest that ended was {THING[row.action]} of {longest}, {when(row.day)}."
