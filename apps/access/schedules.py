"""Weekly windows in a time zone, with holidays. Pure: no Django, no database.

All is said in local wall-clock time, so what counts is what a clock on the wall shows. When clocks go forward, the time
that is left out is in no window; when they go back, the hour that comes twice is in its window twice. A window belongs
to the day on which it begins: over midnight it runs on into the next day, a holiday begins none and ends at its first
minute what has run into it.
"""

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MINUTES = 24 * 60
EXPECTED = "Expected days and times, such as “Mon-Fri 08:00-18:00”, “Sat,Sun 10:00-14:00” or “daily 22:00-06:00”"

_WINDOW = re.compile(r"(\S+)\s+(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)", re.ASCII)


class Window(msgspec.Struct, frozen=True, gc=False):
    """Hours of some days of the week, Monday being 0, in minutes of the local day; the end does not belong to them.

    A window that ends at or before its start runs over midnight; one that ends when it starts lasts a whole day.
    """

    days: tuple[int, ...]
    starts: int
    ends: int


class Schedule(msgspec.Struct, frozen=True, gc=False):
    """Windows in a time zone, and the local dates on which none is open. Without windows nothing is ever open."""

    time_zone: str
    windows: tuple[Window, ...]
    holidays: tuple[date, ...] = ()


def parse_window(text: str) -> Window:
    """A window as staff write it. Raises ValueError with a sentence fit for a form."""
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{EXPECTED}, not “{text}”.")
    days, *numbers = match.groups()
    start_hour, start_minute, end_hour, end_minute = map(int, numbers)
    starts, ends = start_hour * 60 + start_minute, end_hour * 60 + end_minute
    if starts >= MINUTES or ends > MINUTES or max(start_minute, end_minute) > 59:
        raise ValueError(f"{EXPECTED}: times from 00:00 to 23:59, an end also 24:00, not those of “{text}”.")
    return Window(_parse_days(days, text), starts, ends)


def window_text(window: Window) -> str:
    """The window in the form that parses back to the same."""
    return f"{_days_text(window.days)} {_clock(window.starts)}-{_clock(window.ends)}"


def in_schedule(schedule: Schedule, moment: datetime) -> bool:
    """Whether a moment, which must know its time zone, lies in a window. Raises ValueError for an unknown time zone."""
    local = _local(schedule, moment)
    today, weekday, minute = local.date(), local.weekday(), local.hour * 60 + local.minute
    if today in schedule.holidays:
        return False
    yesterday = (weekday - 1) % 7 if today - timedelta(days=1) not in schedule.holidays else None
    for window in schedule.windows:
        over_midnight = window.ends <= window.starts
        if weekday in window.days and window.starts <= minute and (over_midnight or minute < window.ends):
            return True
        if over_midnight and yesterday in window.days and minute < window.ends:
            return True
    return False


def missed_text(schedule: Schedule, moment: datetime) -> str:
    """What a moment outside the schedule has missed: Friday 19:02 is outside Mon-Fri 08:00-18:00 Europe/Berlin."""
    local = _local(schedule, moment)
    if local.date() in schedule.holidays:
        return f"{local.date()} is a holiday"
    bare = msgspec.structs.replace(schedule, holidays=())
    said = f"{DAY_NAMES[local.weekday()]} {local:%H:%M}"
    if in_schedule(bare, moment):  # a window of yesterday, which did not begin
        return f"{said} would be in a window that begins on {local.date() - timedelta(days=1)}, which is a holiday"
    return f"{said} is outside {schedule_text(bare)}"


def schedule_text(schedule: Schedule) -> str:
    """The schedule in words: Mon-Fri 08:00-18:00 Europe/Berlin, not on 2026-12-25."""
    windows = "; ".join(map(window_text, schedule.windows)) or "no hours"
    holidays = ", ".join(map(str, sorted(set(schedule.holidays))))
    return f"{windows} {schedule.time_zone}" + (f", not on {holidays}" if holidays else "")


def _local(schedule: Schedule, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("A moment must know its time zone.")
    return moment.astimezone(_zone(schedule.time_zone))


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"Expected a time zone, such as Europe/Berlin, not “{name}”.") from None


def _parse_days(text: str, whole: str) -> tuple[int, ...]:
    if text.lower() == "daily":
        return tuple(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        start = _parse_day(first, whole)
        length = (_parse_day(last, whole) - start) % 7 + 1 if dash else 1  # Fri-Mon runs over the end of the week
        days.update((start + number) % 7 for number in range(length))
    return tuple(sorted(days))


def _parse_day(text: str, whole: str) -> int:
    if text.title() not in DAYS:
        raise ValueError(f"{EXPECTED}: days are Mon, Tue, Wed, Thu, Fri, Sat, Sun, or daily, not as in “{whole}”.")
    return DAYS.index(text.title())


def _days_text(days: tuple[int, ...]) -> str:
    """The days with runs of three and more put together: Mon-Fri, or Mon,Tue,Sat."""
    if set(days) == set(range(7)):
        return "daily"
    runs: list[list[int]] = []
    for day in sorted(set(days)):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    parts = [f"{DAYS[run[0]]}-{DAYS[run[-1]]}" if len(run) > 2 else ",".join(DAYS[day] for day in run) for run in runs]
    return ",".join(parts)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
