"""Moments and times as they stand in a question: 2026-03-03 14:00, 3 March 14:00, yesterday, last hour."""

import re
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.accounts.validators import validate_moment

MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
NOON = "12:00"
YEARS_BACK = 8
"""In so many years each day of the calendar comes, but around 1900 and 2100."""

_TIME = r"(\d{1,2}:\d{2}(?::\d{2})?)"
_END = r"(?=[\s?!.,;]|$)"
_MONTH = rf"({'|'.join(f'{month[:3]}(?:{month[3:]})?' for month in MONTHS)}|sept)\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th|\.)?"
_REST = rf"(?:,? (\d{{4}}))?(?:,? (?:at )?{_TIME})?{_END}"
_DATED = re.compile(rf"(?<!\S)(\d{{4}}-\d{{2}}-\d{{2}})(?:(?:[ T]| at ){_TIME})?{_END}")
_DAY_FIRST = re.compile(rf"(?<!\S){_DAY} (?:of )?{_MONTH}{_REST}", re.IGNORECASE)
_MONTH_FIRST = re.compile(  # not “may 30 call ann”: a year or a time belongs to it
    rf"(?<!\S){_MONTH} {_DAY}(?=,? (?:\d{{4}}\b|(?:at )?\d{{1,2}}:)){_REST}", re.IGNORECASE
)
_PERIOD = re.compile(
    r"(?<!\S)(?:(today|yesterday)|(?:in )?(?:the )?(?:last|past) (?:(\d{1,3}) )?(minute|hour|day|week)s?)" + _END,
    re.IGNORECASE,
)


def moment_in(text: str, now: datetime) -> tuple[str, datetime | None]:
    """The text without its first date, and that moment: noon, where no time stands behind it.

    A day without a year is the latest that is not in the future.
    """
    if found := _DATED.search(text):
        date, time = found.groups()
        years = [""]
    elif found := _DAY_FIRST.search(text):
        day, month, year, time = found.groups()
        date, years = _day(month, day), _years(year, now)
    elif found := _MONTH_FIRST.search(text):
        month, day, year, time = found.groups()
        date, years = _day(month, day), _years(year, now)
    else:
        return text, None
    moments = [_moment(f"{year}{date}", time) for year in years]
    known = [moment for moment in moments if moment and (len(years) == 1 or _has_begun(moment, time, now))]
    return (f"{text[: found.start()]} {text[found.end() :]}", known[0]) if known else (text, None)


def period_in(text: str) -> tuple[str, str]:
    """The text without the time that it names, such as yesterday, and that as it is searched for; "" for none."""
    found = _PERIOD.search(text)
    if found is None:
        return text, ""
    day, many, unit = (part.lower() if part else "" for part in found.groups())
    searched = f"after:{day}" if day else f"after:{many or 1}{unit[0]}"
    rest = f"{text[: found.start()]} {text[found.end() :]}"
    return rest, f"{searched} before:today" if day == "yesterday" else searched


def _day(month: str, day: str) -> str:
    number = next(number for number, name in enumerate(MONTHS, 1) if name[:3] == month[:3].lower())
    return f"-{number:02}-{int(day):02}"


def _years(year: str | None, now: datetime) -> list[str]:
    latest = timezone.localtime(now).year
    return [year] if year else [str(latest - back) for back in range(YEARS_BACK + 1)]


def _moment(date: str, time: str | None) -> datetime | None:
    """None where there is no such day, or none that can be asked about."""
    time = time or NOON
    try:
        form = "%Y-%m-%d %H:%M:%S" if time.count(":") > 1 else "%Y-%m-%d %H:%M"
        moment = timezone.make_aware(datetime.strptime(f"{date} {time}", form))
        validate_moment(moment)
    except (ValueError, ValidationError):
        return None
    return moment


def _has_begun(moment: datetime, time: str | None, now: datetime) -> bool:
    return moment <= now or (not time and moment - timedelta(hours=12) <= now)
