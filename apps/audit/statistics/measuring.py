"""What ran, hour by hour and day by day: how many at once, for how long, and who was busiest. Measured from leases.

A time is measured while it goes on, and again ever more rarely until LATE after its end, as ends may come late. Each
time it is measured anew and not added to, so that may be done again. Where leases may be gone already, what was
measured stays. A thing runs from its start, not from when it was allowed: what failed before has not run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby, takewhile
from time import monotonic

from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from apps.audit.keeping.retention import past
from apps.audit.locks import AdvisoryLock, only_one
from apps.audit.statistics.models import RunningDay, RunningHour
from apps.audit.statistics.tallies import NAME_TEXT
from apps.live.counted import month_began
from apps.live.models import Lease
from apps.live.tasks import KEPT

MEASURED = ("connect", "publish", "play", "call")
"""What is told apart; calls in both directions are calls."""

LATE = timedelta(days=2)
"""For how long after its end a time is measured again. What ends later than that stays as it was taken for."""

PAUSE = timedelta(minutes=5)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

_RAN = """WITH times AS (
    SELECT * FROM unnest(%(keys)s::{key}[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS t (key, since, until)
), ran AS MATERIALIZED (
    SELECT CASE action WHEN 'receive-call' THEN 'call' ELSE action END AS action, username, target,
        started_at AS began, greatest(started_at, coalesce(ended_at, least(runs_out_at, %(now)s))) AS over,
        coalesce(ended_at, runs_out_at) <= %(now)s AS ended
    FROM live_lease
    WHERE started_at < %(last)s AND opened_at < %(last)s AND action = ANY (%(actions)s)
        AND (ended_at IS NULL OR ended_at >= %(first)s)
), within AS MATERIALIZED (
    SELECT t.key, {columns}, r.began >= t.since AS begins, r.ended AND r.over < t.until AS ends,
        r.over - r.began AS ran, greatest(r.began, t.since) AS from_at, least(r.over, t.until) AS to_at
    FROM times t JOIN ran r ON r.began < t.until AND r.over >= t.since {more}
), peaks AS (
    SELECT key, {names}, max(at_once) AS peak FROM (
        SELECT key, {names}, sum(step) OVER (PARTITION BY key, {names} ORDER BY at, step ROWS UNBOUNDED PRECEDING)
            AS at_once
        FROM (SELECT key, {names}, from_at AS at, 1 AS step FROM within
            UNION ALL SELECT key, {names}, to_at, -1 FROM within) AS steps) AS running GROUP BY key, {names}
)"""
"""An end comes before a beginning at the same moment: what ends then makes room."""

_SECONDS = "coalesce(sum(extract(epoch FROM w.to_at - w.from_at)), 0)"
_MEASURE = """INSERT INTO {table} ({place}, action, began, seconds, peak, ended, ended_seconds, longest, measured_at)
    SELECT t.key, a.action, count(*) FILTER (WHERE w.begins), {seconds}, coalesce(p.peak, 0),
        count(*) FILTER (WHERE w.ends), coalesce(sum(extract(epoch FROM w.ran)) FILTER (WHERE w.ends), 0),
        coalesce(max(extract(epoch FROM w.ran)) FILTER (WHERE w.ends), 0), %(now)s
    FROM times t CROSS JOIN unnest(%(measured)s::text[]) AS a (action)
        LEFT JOIN within w ON w.key = t.key AND w.action = a.action
        LEFT JOIN peaks p ON p.key = t.key AND p.action = a.action
    GROUP BY t.key, a.action, p.peak
    ON CONFLICT ({place}, action) DO UPDATE SET began = excluded.began, seconds = excluded.seconds,
        peak = excluded.peak, ended = excluded.ended, ended_seconds = excluded.ended_seconds,
        longest = excluded.longest, measured_at = excluded.measured_at"""
_OF_NAMES = _RAN.format(
    key="date",
    columns=f"r.action, n.about, left(n.name, {NAME_TEXT}) AS name",
    names="action, about, name",
    more="CROSS JOIN LATERAL (VALUES ('user', r.username), ('target', r.target)) AS n (about, name)",
)
_MEASURE_NAMES = (
    "DELETE FROM audit_nametime WHERE span = 'day' AND starts_on = ANY (%(keys)s::date[])",
    f"""{_OF_NAMES} INSERT INTO audit_nametime (span, about, starts_on, action, name, times, seconds, peak)
        SELECT 'day', w.about, w.key, w.action, w.name, count(*) FILTER (WHERE w.begins), {_SECONDS}, p.peak
        FROM within w JOIN peaks p USING (key, action, about, name)
        WHERE w.action <> 'connect' GROUP BY w.about, w.key, w.action, w.name, p.peak""",  # noqa: S608
    "DELETE FROM audit_nametime WHERE span = 'month' AND starts_on = ANY (%(months)s::date[])",
    """INSERT INTO audit_nametime (span, about, starts_on, action, name, times, seconds, peak)
        SELECT 'month', about, date_trunc('month', starts_on)::date, action, name, sum(times), sum(seconds), max(peak)
        FROM audit_nametime d JOIN unnest(%(months)s::date[]) AS m (month)
            ON d.starts_on >= m.month AND d.starts_on < m.month + interval '1 month'
        WHERE span = 'day' GROUP BY 2, 3, 4, 5""",
)
_PLAIN = {"columns": "r.action", "names": "action", "more": ""}
_MEASURE_HOURS = " ".join(
    (
        _RAN.format(key="timestamptz", **_PLAIN),
        _MEASURE.format(table="audit_runninghour", place="hour", seconds=_SECONDS),
    )
)
_MEASURE_DAYS = " ".join(
    (
        _RAN.format(key="date", **_PLAIN),
        _MEASURE.format(table="audit_runningday", place="day", seconds=_SECONDS),
    )
)


@dataclass(frozen=True, slots=True)
class Window:
    """An hour or a day, under the name it has in its table."""

    key: datetime | date
    since: datetime
    until: datetime

    def is_due(self, measured_at: datetime | None, now: datetime) -> bool:
        """Whether it is to be measured again: the longer it is over, the more rarely."""
        if measured_at is None:
            return True
        pause = max(PAUSE, (self.until - self.since) / 24, (now - self.until) / 4)
        return measured_at < self.until + LATE and now - measured_at >= pause


def measure(now: datetime, deadline: float) -> int:
    """Measure what is due, the latest first, until all is measured or until `deadline`, a time of time.monotonic.
    Gives how many hours and days were measured.
    """
    measured = 0
    oldest = Lease.objects.order_by("opened_at").values_list("opened_at", flat=True).first() or now
    hours = takewhile(lambda window: window.until > oldest, _hours(now))
    for some in _by_day(_due(hours, RunningHour, "hour", now)):
        measured += _measure(some, now, _MEASURE_HOURS) if monotonic() < deadline else 0
    days = takewhile(lambda window: window.until > oldest, _days(now))
    for day in _due(days, RunningDay, "day", now):
        measured += _measure([day], now, _MEASURE_DAYS, *_MEASURE_NAMES) if monotonic() < deadline else 0
    return measured


def leases_kept_since(now: datetime) -> datetime:
    """From when on all leases are still there, whatever retention and tidying up have taken."""
    kept = now - KEPT + DAY
    gone = past("KEEP_DECISIONS", now)
    return max(kept, min(gone, month_began(now, timezone.get_default_timezone()))) if gone else kept


def day_begins(day: date) -> datetime:
    """Midnight there, in UTC; where clocks skip it, the moment they do, and where it comes twice, the first."""
    return datetime.combine(day, time.min, timezone.get_default_timezone()).astimezone(UTC)


def _hours(now: datetime) -> Iterator[Window]:
    """From the current one backwards."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while True:
        yield Window(hour, hour, hour + HOUR)
        hour -= HOUR


def _days(now: datetime) -> Iterator[Window]:
    day = now.astimezone(timezone.get_default_timezone()).date()
    while True:
        yield Window(day, day_begins(day), day_begins(day + DAY))
        day -= DAY


def _due(windows: Iterable[Window], model: type[Model], place: str, now: datetime) -> list[Window]:
    """Those to measure, as far as everything that ran in them is still known."""
    kept = leases_kept_since(now)
    windows = [window for window in windows if window.since >= kept]
    if not windows:
        return []
    rows = model._default_manager.filter(action=MEASURED[0], **{f"{place}__gte": windows[-1].key})
    measured = dict(rows.values_list(place, "measured_at"))
    return [window for window in windows if window.is_due(measured.get(window.key), now)]


def _by_day(hours: list[Window]) -> Iterator[list[Window]]:
    for _day, some in groupby(hours, key=lambda hour: hour.since.date()):
        yield list(some)


def _measure(windows: Sequence[Window], now: datetime, *statements: str) -> int:
    """Measure these at once; nothing where somebody else is measuring."""
    values = {
        "keys": [window.key for window in windows],
        "since": [window.since for window in windows],
        "until": [window.until for window in windows],
        "first": min(window.since for window in windows),
        "last": max(window.until for window in windows),
        "months": sorted({window.key.replace(day=1) for window in windows}),
        "now": now,
        "actions": [*MEASURED, "receive-call"],
        "measured": list(MEASURED),
    }
    with transaction.atomic(), connection.cursor() as cursor:
        if not only_one(AdvisoryLock.MEASURING):
            return 0
        for statement in statements:
            cursor.execute(statement, values)
    return len(windows)
