"""Statistics with names: who asked most, who was busiest, what was watched most. Of whole days."""

from typing import Any

from django.db.models import BigIntegerField, F, FloatField, Max, Sum
from django.db.models.functions import Cast
from django.utils import timezone

from apps.audit.browsing.query import quoted
from apps.audit.keeping.retention import past
from apps.audit.statistics.charts import number
from apps.audit.statistics.leading import Part, among, by_attempts, by_time, leaders
from apps.audit.statistics.models import About, NameTime, RunningDay, UserCount
from apps.audit.statistics.period import Period
from apps.audit.statistics.running import THING
from apps.audit.statistics.table import Row, Statistic, as_of, days_of, lasted, search_of_days, time_said
from apps.audit.statistics.tally_retention import names_kept_since

SHOWN = 10
EXPORTED = 1_000


def users_by_attempts(period: Period, most: int = SHOWN) -> Statistic:
    """Users whose hooks were decided most often."""
    parts = _parts(period)
    counts = UserCount.objects.filter(among(parts)).values("username")
    counts = counts.annotate(yes=_sum("allowed"), no=_sum("refused"), times=F("yes") + F("no"))
    counts = counts.filter(times__gt=0).order_by("-times", "username")
    rows = leaders(counts, by_attempts(parts), most)
    title = "Users by attempts"
    if not rows:
        return Statistic(title, f"No hook was decided {days_of(period)}.")
    first = rows[0]
    times = "once" if first["times"] == 1 else f"{number(first['times'])} times"
    return Statistic(
        title,
        f"Most often: {_who(first['username'])}, {times}; refused: {number(first['no'])}.",
        ("User", "Attempts", "Allowed", "Refused"),
        [
            Row(
                (_who(row["username"]), str(row["times"]), str(row["yes"]), str(row["no"])),
                search_of_days(period, quoted("user", row["username"])),
                row["times"] / first["times"],
            )
            for row in rows
        ],
        hint=f"Hooks that were allowed or refused {days_of(period)}.",
    )


def users_by_hours(period: Period, most: int = SHOWN) -> Statistic:
    """Users who published, watched and called the longest."""
    rows = _busiest(period, most, About.USER, list(THING))
    title = "Users by hours"
    if not rows:
        return Statistic(title, f"Nobody published, watched or called {days_of(period)}, as far as is known.")
    return Statistic(
        title,
        f"The longest: {_who(rows[0]['name'])}, {time_said(rows[0]['ran'])}.",
        ("User", "Hours", "Started"),
        [
            Row(
                (_who(row["name"]), lasted(row["ran"]), str(row["started"])),
                search_of_days(period, quoted("user", row["name"])),
                row["ran"] / rows[0]["ran"],
            )
            for row in rows
        ],
        hint=f"Hours of publishing, watching and calling {days_of(period)}, and how many of these were started. "
        + _as_of(period),
    )


def streams_by_viewers(period: Period, most: int = SHOWN) -> Statistic:
    """Streams that were watched most."""
    rows = _busiest(period, most, About.TARGET, ["play"])
    title = "Streams by viewers"
    if not rows:
        return Statistic(title, f"No stream was watched {days_of(period)}, as far as is known.")
    first = rows[0]
    return Statistic(
        title,
        f"Watched most: “{first['name']}”, {time_said(first['ran'])}, by up to {number(first['most'])} at once.",
        ("Stream", "Hours watched", "Viewers, peak", "Playbacks"),
        [
            Row(
                (row["name"], lasted(row["ran"]), str(row["most"]), str(row["started"])),
                search_of_days(period, quoted("stream", row["name"])),
                row["ran"] / first["ran"],
            )
            for row in rows
        ],
        hint=f"All that was watched {days_of(period)}. {_as_of(period)}",
    )


def _busiest(period: Period, most: int, about: About, actions: list[str]) -> list[dict[str, Any]]:
    parts = _parts(period)
    times = NameTime.objects.filter(among(parts), about=about, action__in=actions).values("name")
    times = times.annotate(ran=Sum("seconds"), started=_sum("times"), most=Max("peak"))
    return leaders(times.filter(ran__gt=0).order_by("-ran", "name"), by_time(parts, about, actions), most)


def _as_of(period: Period) -> str:
    """When the last day of it that was measured was; names are measured with their day."""
    days = RunningDay.objects.filter(day__gte=period.first_day, day__lte=period.last_day)
    measured_at = days.order_by("-day").values_list("measured_at", flat=True).first()
    return as_of(measured_at) if measured_at else ""


def _sum(column: str) -> Cast:
    """Of whole numbers, as floats: Postgres adds up large integers as numeric, in half as much time again."""
    return Cast(Sum(Cast(column, FloatField())), BigIntegerField())


def _parts(period: Period) -> list[Part]:
    now = timezone.now()
    kept_since = names_kept_since(past("KEEP_STATISTICS", now), past("KEEP_DECISIONS", now))
    return period.parts_of_names(kept_since, timezone.localdate(now))


def _who(username: str) -> str:
    return username or "Guests"
