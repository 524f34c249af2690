"""Finding hooks that were answered and are nowhere in the record, and saying since when.

For each counter the numbers are compared: those given, less those with which nothing was answered, less those stored,
in the outbox, or kept as bad records. Whatever is left was answered, and is missing. All is seen at one moment of the
database, and a process tells it of answers only after their records were committed; so under load nothing seems missing
that is not, and at rest nothing is left.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, Max, Min, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, Now

from apps.audit.ids import COUNTER_SQL, IS_NUMBERED_SQL, NUMBER_SQL, multirange, numbers_by_counter
from apps.audit.locks import AdvisoryLock, only_one, wait_for
from apps.audit.models import Counted

MOST = 100_000
"""Records in the outbox, or put aside, beyond which is not compared: they would have to be read each time."""

ENDED_FOR, SILENT_FOR, STRAY_FOR = timedelta(hours=1), timedelta(days=1), timedelta(days=30)
"""After which a counter of which nothing is missing goes into the sums of its node: where its process ended, and where
it was not heard of (it has no folder, or its machine is off); and after which one that nobody told of is forgotten."""

STALE = timedelta(minutes=3)
"""After which something is wrong where nobody has looked, or a process has not told: both are done each minute, if only
to say that nothing has changed."""

_SIZE = "(SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM unnest({numbers}) AS r)"

_STORED = f"""INSERT INTO audit_counted AS c (counter, began_at, settled, stored)
    SELECT counter, now(), numbers::int8multirange, hooks
    FROM unnest(%s::bigint[], %s::text[], %s::bigint[]) AS _ (counter, numbers, hooks) ORDER BY counter
    ON CONFLICT (counter) DO UPDATE SET settled = c.settled + excluded.settled,
        stored = c.stored + {_SIZE.format(numbers="excluded.settled - c.settled")}"""  # noqa: S608 - constants

_EXPECTED = "int8multirange(int8range(1, c.given + 1)) - c.settled - c.outstanding"
_LOOK = f"""
    waiting AS MATERIALIZED ((SELECT id, false AS is_bad FROM audit_hookrecord LIMIT %(most)s + 1)
        UNION ALL (SELECT id, true FROM audit_badrecord LIMIT %(most)s + 1)),
    numbered AS (SELECT {COUNTER_SQL.format(id="id")} AS counter, {NUMBER_SQL.format(id="id")} AS number, is_bad
        FROM waiting WHERE {IS_NUMBERED_SQL.format(id="id")}),
    found AS (SELECT counter, count(*) FILTER (WHERE NOT is_bad) AS pending, count(*) FILTER (WHERE is_bad) AS bad,
        range_agg(int8range(number, number, '[]')) AS numbers FROM numbered GROUP BY counter),
    compared AS (SELECT c.id, c.counter, coalesce(f.pending, 0) AS pending, coalesce(f.bad, 0) AS bad,
        {_EXPECTED} - coalesce(f.numbers, '{{}}') AS missing
        FROM audit_counted c LEFT JOIN found f USING (counter) WHERE c.counter IS NOT NULL)"""  # noqa: S608 - constants

_CHANGED = """(c.compared_at IS NULL OR c.published_at >= c.compared_at
    OR (c.pending, c.bad, c.missing) <> (m.pending, m.bad, m.missing))"""
_NOTE = f"""WITH {_LOOK},
    measured AS (SELECT id, pending, bad, {_SIZE.format(numbers="missing")}::bigint AS missing FROM compared),
    changed AS MATERIALIZED (SELECT m.*, c.missing AS known FROM measured m JOIN audit_counted c USING (id)
        WHERE (SELECT count(*) FROM waiting) <= %(most)s AND {_CHANGED} ORDER BY c.counter FOR UPDATE OF c)
    UPDATE audit_counted c SET pending = m.pending, bad = m.bad, missing = m.missing, compared_at = %(now)s,
        missing_after = CASE WHEN m.missing = 0 THEN NULL WHEN missing_since IS NULL
            THEN coalesce(compared_at, began_at) ELSE missing_after END,
        missing_since = CASE WHEN m.missing = 0 THEN NULL ELSE coalesce(missing_since, %(now)s) END
    FROM changed m WHERE c.id = m.id RETURNING c.id, m.missing, m.known"""  # noqa: S608 - constants
"""In the order of counters, as `note_stored` goes: neither waits for the other with what the other waits for."""

_ACKNOWLEDGE = f"""WITH {_LOOK} UPDATE audit_counted c SET settled = c.settled + compared.missing,
    acknowledged = c.acknowledged + {_SIZE.format(numbers="compared.missing")},
    missing = 0, missing_since = NULL, missing_after = NULL
    FROM compared WHERE c.id = compared.id AND c.id = %(id)s AND c.missing > 0
        AND (SELECT count(*) FROM waiting) <= %(most)s
    RETURNING {_SIZE.format(numbers="compared.missing")}::bigint"""  # noqa: S608 - constants

_SUMS = ("received", "answered", "unrecorded", "failed", "stored", "acknowledged")
_SUM_UP = f"""
    WITH gone AS (DELETE FROM audit_counted WHERE counter IS NOT NULL AND missing = 0 AND pending = 0 AND bad = 0
        AND compared_at > published_at
        AND (published_at < %(silent)s OR (ended AND published_at < %(ended)s)) RETURNING *)
    INSERT INTO audit_counted AS c (node_name, began_at, published_at, ended, {", ".join(_SUMS)})
    SELECT node_name, min(began_at), max(published_at), true, {", ".join(f"sum({name})" for name in _SUMS)}
        FROM gone GROUP BY node_name
    ON CONFLICT (node_name) WHERE counter IS NULL DO UPDATE SET published_at = excluded.published_at,
        {", ".join(f"{name} = c.{name} + excluded.{name}" for name in _SUMS)}
"""  # noqa: S608 - constants

logger = logging.getLogger(__name__)


class Missing(NamedTuple):
    """The one number, since when something is missing, when that was last looked for, and how many processes have not
    told what they answered for too long: of those nobody knows whether something is missing."""

    hooks: int
    since: datetime | None
    looked_at: datetime | None
    silent: int


def note_stored(ids: Iterable[UUID]) -> None:
    """The records with these ids are in the audit log, as events or repeats, with this transaction. Once more does not
    count again."""
    counters = [(counter, multirange(numbers), len({*numbers})) for counter, numbers in numbers_by_counter(ids).items()]
    if counters:
        with connection.cursor() as cursor:
            cursor.execute(_STORED, [list(column) for column in zip(*counters, strict=True)])


def compare(now: datetime) -> None:
    """See what is missing, and note it; nothing where somebody else does just now, or too much waits to tell."""
    with transaction.atomic(), connection.cursor() as cursor:
        if not only_one(AdvisoryLock.GAPS):
            return
        cursor.execute(_NOTE, {"most": MOST, "now": now})
        for id_, missing, known in cursor.fetchall():
            if missing > known:
                counted = Counted.objects.defer("settled", "outstanding").get(pk=id_)
                logger.critical("%s hooks that were answered are not in the record: of %s", missing, counted)


def sum_up(now: datetime) -> None:
    """Keep the table small: what ended with nothing missing goes into the sums of its node."""
    with connection.cursor() as cursor:
        cursor.execute(_SUM_UP, {"silent": now - SILENT_FOR, "ended": now - ENDED_FOR})
    Counted.objects.filter(published_at=None, began_at__lt=now - STRAY_FOR).delete()


def acknowledge(counted_id: int) -> int:
    """What is missing of a counter is known of, and no longer reported; gives how many hooks that are. None are while
    too much waits to tell which ones. In a transaction: until it ends nobody compares what was there before."""
    wait_for(AdvisoryLock.GAPS)
    with connection.cursor() as cursor:
        cursor.execute(_ACKNOWLEDGE, {"most": MOST, "id": counted_id})
        found = cursor.fetchone()
    return found[0] if found else 0


def missing() -> Missing:
    """The one number. A process counts as silent until its counters are taken over, or are summed up."""
    told = Counted.objects.annotate(told_at=Coalesce("published_at", "began_at"))
    is_silent = Q(ended=False, counter__isnull=False, told_at__lt=Now() - STALE, told_at__gt=Now() - SILENT_FOR)
    found = told.aggregate(
        hooks=Sum("missing"),
        since=Min("missing_since"),
        looked_at=Max("compared_at"),
        silent=Count("process", distinct=True, filter=is_silent),
    )
    return Missing(found["hooks"] or 0, found["since"], found["looked_at"], found["silent"])


def gaps() -> QuerySet[Counted]:
    """Where something is missing, the oldest first."""
    return Counted.objects.filter(missing__gt=0).defer("settled", "outstanding").order_by("missing_since", "id")


SHOWN = ("received", "answered", "unrecorded", "failed", "stored", "pending", "bad", "missing", "acknowledged")


def per_node(limit: int = 1000) -> list[dict[str, int | str]]:
    """What is counted, by node; those first of which something is missing."""
    told = Counted.objects.exclude(published_at=None).values("node_name")
    return list(told.annotate(**{name: Sum(name) for name in SHOWN}).order_by("-missing", "node_name")[:limit])
