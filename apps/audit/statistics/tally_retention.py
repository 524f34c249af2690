"""What of the statistics goes when. They outlive the events they were counted from; names of people do not."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from apps.audit.statistics.models import (
    About,
    DayAnswer,
    DayCount,
    HourCount,
    NameTime,
    RunningDay,
    RunningHour,
    Span,
    UserCount,
)

HOURS_KEPT = timedelta(days=62)
"""For how long hooks are kept by hour."""


def statistics_past(
    before: datetime | None, decisions: datetime | None
) -> Iterator[tuple[str, Callable[[], QuerySet]]]:
    """What to delete, in words and as what gives the rows: statistics from before a moment, names together with the
    decisions they come from. None is for ever.
    """
    if before is not None:
        day = _day(before)
        yield f"hooks by hour before {day}", lambda: HourCount.objects.filter(hour__lt=before)
        yield f"hooks by day before {day}", lambda: DayCount.objects.filter(day__lt=day)
        yield f"answers by day before {day}", lambda: DayAnswer.objects.filter(day__lt=day)
        yield f"what ran by hour before {day}", lambda: RunningHour.objects.filter(hour__lt=before)
        yield f"what ran by day before {day}", lambda: RunningDay.objects.filter(day__lt=day)
    if before is not None or decisions is not None:
        first = names_kept_since(before, decisions)
        yield f"hooks by user before {first}", lambda: _names(UserCount).filter(starts_on__lt=first)
        yield (
            f"what ran by name before {first}",
            lambda: _names(NameTime).filter(about__in=About.values, starts_on__lt=first),
        )


def forget_hours(now: datetime) -> int:
    """Let go hooks by hour that are old enough to be told by day; gives how many rows those were."""
    return HourCount.objects.filter(hour__lt=now - HOURS_KEPT).delete()[0]


def names_kept_since(before: datetime | None, decisions: datetime | None) -> date:
    """The first day of which names are kept; of what began earlier nothing is shown, though it may not be gone yet."""
    return max((_day(moment) for moment in (before, decisions) if moment is not None), default=date.min)


def _names(model: type[UserCount | NameTime]) -> QuerySet:
    """All rows, said in the words of the primary key, so that it is used."""
    return model.objects.filter(span__in=Span.values)


def _day(moment: datetime) -> date:
    """The first whole day after it."""
    return (moment + timedelta(days=1) - timedelta(microseconds=1)).astimezone(timezone.get_default_timezone()).date()
