"""Hooks counted while they are moved: by hour, by day, and by user.

Whoever writes audit events, or counts repeats on them, notes them here in the same transaction. So what is counted
always is what a GROUP BY over the audit log would give, whoever is killed and when: an event counts where it stands in
the log, at the time at which its hook first came, and so do its repeats.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import F, QuerySet, Sum
from django.utils import timezone

from apps.access.reasons import NOTED, STAFF_ACTION
from apps.audit.browsing.query import Query
from apps.audit.browsing.search import OUTCOME, find_events
from apps.audit.keeping.retention import CLASSES, past
from apps.audit.models import AuditEvent
from apps.audit.statistics.models import DayAnswer, DayCount, HourCount
from apps.audit.statistics.tally_retention import HOURS_KEPT

KEY_TEXT = 100
NAME_TEXT = 300
"""How much is kept of names that come with hooks: what an index can hold, and more than anybody needs."""


def _add(table: str, *by: str) -> str:
    key = ", ".join(by)
    return f"""INSERT INTO {table} AS known ({key}, events, hooks)
    SELECT {key}, sum(events), sum(hooks) FROM counted GROUP BY {key} ORDER BY {key}
    ON CONFLICT ({key})
        DO UPDATE SET events = known.events + excluded.events, hooks = known.hooks + excluded.hooks"""  # noqa: S608


ADD_HOURS = _add("audit_hourcount", "hour", "effect", "reason", "action", "app_key", "node_id")
ADD_DAYS = _add("audit_daycount", "day", "effect", "reason", "action", "app_key", "node_id")
ADD_ANSWERS = _add("audit_dayanswer", "day", "effect", "reason")
ADD_USERS = """INSERT INTO audit_usercount AS known (span, starts_on, username, allowed, refused)
    SELECT of.span, of.starts_on, username, coalesce(sum(hooks) FILTER (WHERE effect = 'allow'), 0),
        coalesce(sum(hooks) FILTER (WHERE effect = 'deny'), 0)
    FROM counted, LATERAL (VALUES ('day', day), ('month', date_trunc('month', day)::date)) AS of (span, starts_on)
    WHERE NOT reason = ANY (%(others)s) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (span, starts_on, username)
        DO UPDATE SET allowed = known.allowed + excluded.allowed, refused = known.refused + excluded.refused"""

COUNTED = f"""counted AS MATERIALIZED (
    SELECT date_trunc('hour', e.received_at, 'UTC') AS hour, (e.received_at AT TIME ZONE %(zone)s)::date AS day,
        e.effect, e.reason, e.action, left(e.app_key, {KEY_TEXT}) AS app_key, left(e.node_id, {KEY_TEXT}) AS node_id,
        left(e.username, {NAME_TEXT}) AS username, {{events}} AS events, {{hooks}} AS hooks
    FROM {{source}})"""  # noqa: S608 - sizes and templates of our own
_NOTED = COUNTED.format(
    events="n.events",
    hooks="n.hooks",
    source="""unnest(%(ids)s::uuid[], %(events)s::int[], %(hooks)s::int[]) AS n (id, events, hooks)
        JOIN audit_auditevent e ON e.id = n.id AND e.id BETWEEN %(first)s AND %(last)s""",
)
_NOTE = f"WITH {_NOTED}, hours AS ({ADD_HOURS}), days AS ({ADD_DAYS}), answers AS ({ADD_ANSWERS}) {ADD_USERS}"


def note(new: Iterable[AuditEvent], repeats: Mapping[UUID, int] = MappingProxyType({})) -> None:
    """Count events that are new in the log, and how many more times known ones have come; by whoever has just written
    that, in the same transaction.
    """
    added = [(event.id, 1, 1 + event.repeats) for event in new]
    added += [(id_, 0, times) for id_, times in repeats.items() if times]
    if not added:
        return
    ids, events, hooks = map(list, zip(*added, strict=True))
    values = {"ids": ids, "events": events, "hooks": hooks, "first": min(ids), "last": max(ids), **constants()}
    with connection.cursor() as cursor:
        cursor.execute(_NOTE, values)


def constants() -> dict[str, object]:
    """What the statements need beside what is counted."""
    return {"zone": settings.TIME_ZONE, "others": [*map(str, NOTED), STAFF_ACTION]}


# Reading

FINE = {"action", "app", "node"}
TELLING = {"after", "before", "decision", "reason", *FINE}
"""Qualifiers of a search that counts can tell of, FINE ones only those that are kept by these as well."""


def can_tell(query: Query) -> bool:
    """Whether the hooks that a search finds are told by counts alone."""
    whole = all(len(term.text) < KEY_TEXT for term in query.terms if term.key in ("app", "node"))
    return whole and {term.key for term in query.terms} <= TELLING


def timeline(query: Query, since: datetime, before: datetime, now: datetime, among: Query | None = None) -> QuerySet:
    """How many events of a search fall on each hour, or (where hours are no longer kept) each day of a time.

    For searches that `can_tell`, both the one and that `among` which it looks. Rows have `at` (a
    moment, or a date), `answer` (allowed, refused, noted, changed), `events` and `hooks`. Hours and days at the ends
    are whole ones. What is past its time is not told, as it is gone from the log.
    """
    finely = any(term.key in FINE for term in (*query.terms, *(among.terms if among else ())))
    rows = hours(since, before) if since >= now - HOURS_KEPT else days(since, before, finely)
    for part in filter(None, (query, among)):
        terms = tuple(term for term in part.terms if term.key not in ("after", "before"))
        rows = find_events(rows, Query(terms), timezone.get_default_timezone(), now)
    return by_answer(_still_there(rows, now))


def _still_there(rows: QuerySet, now: datetime) -> QuerySet:
    """Without hours or days of which retention let everything go; each class of events has its own time."""
    column, zone = ("hour", UTC) if rows.model is HourCount else ("day", timezone.get_default_timezone())
    for of in CLASSES:
        if before := past(of.setting, now):
            begins = before.astimezone(zone)
            gone = {f"{column}__lt": begins if column == "hour" else begins.date()}
            rows = rows.exclude(reason__in=[str(reason) for reason in of.reasons], **gone)
    return rows


def hours(since: datetime, before: datetime) -> QuerySet:
    """Counts of the hours that have something of this time; `at` is when each began."""
    begins = since.replace(minute=0, second=0, microsecond=0)
    return HourCount.objects.filter(hour__gte=begins, hour__lt=before).annotate(at=F("hour"))


def days(since: datetime, before: datetime, finely: bool = False) -> QuerySet:
    """Counts of the days that have something of this time; `at` is the date of each. By action, app and node as well
    if `finely`, which are many more.
    """
    model = DayCount if finely else DayAnswer
    zone = timezone.get_default_timezone()
    last = (before - timedelta(microseconds=1)).astimezone(zone).date()
    return model.objects.filter(day__gte=since.astimezone(zone).date(), day__lte=last).annotate(at=F("day"))


def by_answer(counts: QuerySet) -> QuerySet:
    """Counts put together by time and answer."""
    found = counts.annotate(answer=OUTCOME).values("at", "answer")
    return found.annotate(events=Sum("events"), hooks=Sum("hooks")).order_by("at", "answer")
