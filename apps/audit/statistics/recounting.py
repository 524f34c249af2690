"""Counting the log of before: events that were moved before hooks were counted, day by day, the latest day first.

A day is not added to but counted anew, while nothing is moved; so it is exact, whatever was counted of it before, and
may be done again at any time. What retention may have deleted something of is left as it was counted then.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from time import monotonic

from django.db import connection
from django.utils import timezone

from apps.audit.ids import MARGIN, first_id
from apps.audit.keeping.partitions import patiently, short_lock
from apps.audit.keeping.retention import CLASSES, past
from apps.audit.locks import AdvisoryLock, wait_for
from apps.audit.models import AuditEvent, received
from apps.audit.net import TABLE, is_whole
from apps.audit.statistics.measuring import day_begins
from apps.audit.statistics.models import Recount
from apps.audit.statistics.tallies import ADD_ANSWERS, ADD_DAYS, ADD_HOURS, ADD_USERS, COUNTED, constants
from apps.audit.statistics.tally_retention import HOURS_KEPT

_LOG = COUNTED.format(
    events="1",
    hooks="1 + e.repeats",
    source=f"""{TABLE} e WHERE e.received_at >= %(since)s AND e.received_at < %(before)s
        AND e.id >= %(first)s AND e.id < %(last)s AND e.reason = ANY (%(reasons)s)""",
)
_OF_HOURS = (
    "DELETE FROM audit_hourcount WHERE hour >= %(since)s AND hour < %(before)s AND reason = ANY (%(reasons)s)",
    f"WITH {_LOG} {ADD_HOURS}",
)
_OF_DAY = (
    "DELETE FROM audit_daycount WHERE day = %(day)s AND reason = ANY (%(reasons)s)",
    "DELETE FROM audit_dayanswer WHERE day = %(day)s AND reason = ANY (%(reasons)s)",
    f"WITH {_LOG}, days AS ({ADD_DAYS}) {ADD_ANSWERS}",
)
_OF_USERS = (
    """WITH gone AS (DELETE FROM audit_usercount WHERE span = 'day' AND starts_on = %(day)s RETURNING *)
        UPDATE audit_usercount u SET allowed = u.allowed - gone.allowed, refused = u.refused - gone.refused FROM gone
        WHERE u.span = 'month' AND u.starts_on = date_trunc('month', %(day)s)::date AND u.username = gone.username""",
    f"WITH {_LOG} {ADD_USERS}",
)


def count_before(deadline: float, said: Callable[[date], None] = lambda day: None) -> bool:
    """Go on counting, until all is counted or until `deadline`, a time of time.monotonic. Gives whether all is
    counted; tells `said` of each day.
    """
    while not _is_done() and monotonic() < deadline:
        day = patiently(_count_next)
        if day is None:
            break
        said(day)
    return _is_done()


def _is_done() -> bool:
    return Recount.objects.filter(done=True).exists()


def begin_again() -> None:
    """Count all that is in the log anew, beginning with today."""
    Recount.objects.all().delete()


def is_counted(since: datetime) -> bool:
    """Whether all events from then on are counted."""
    day = since.astimezone(timezone.get_default_timezone()).date()
    progress = Recount.objects.first()
    return progress is not None and (progress.done or (progress.counted_back_to or date.max) <= day)


def _count_next() -> date | None:
    """Count one more day; None where there is none, or where the log cannot be counted just now."""
    with short_lock():
        wait_for(AdvisoryLock.BATCHES)
        progress = Recount.objects.first() or Recount(pk=1)
        if progress.done or not is_whole():
            return None
        day = _next_day(progress.counted_back_to)
        if day is None:
            progress.done = True
        else:
            count_day(day)
            progress.counted_back_to = day
        progress.save()
        return day


def _next_day(counted: date | None) -> date | None:
    """The latest day before that one of which something is in the log."""
    events = AuditEvent.objects.filter(received(before=day_begins(counted))) if counted else AuditEvent.objects.all()
    latest = events.order_by("-received_at").values_list("received_at", flat=True).first()
    return latest and latest.astimezone(timezone.get_default_timezone()).date()


def count_day(day: date) -> None:
    """Count a day, as far as all of it is still there. In a transaction in which nothing is moved."""
    since, before, now = day_begins(day), day_begins(day + timedelta(days=1)), timezone.now()
    kept = [of for of in CLASSES if (gone := past(of.setting, now)) is None or gone <= since]
    if not kept:
        return
    reasons = [str(reason) for of in kept for reason in of.reasons]
    if since >= now - HOURS_KEPT:
        ends = _on_the_hour(before + timedelta(hours=1, microseconds=-1))  # where midnight is within an hour, all of it
        _run(_OF_HOURS, day, _on_the_hour(since), ends, reasons)
    _run(_OF_DAY, day, since, before, reasons)
    if CLASSES[0] in kept:
        _run(_OF_USERS, day, since, before, reasons)


def _run(statements: tuple[str, ...], day: date, since: datetime, before: datetime, reasons: list[str]) -> None:
    ids = {"first": first_id(since, -MARGIN), "last": first_id(before, MARGIN)}
    values = {"day": day, "since": since, "before": before, "reasons": reasons, **ids, **constants()}
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, values)


def _on_the_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
