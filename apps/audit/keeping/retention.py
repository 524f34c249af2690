"""What of the record goes when: each class of it after a number of days, unless a legal hold covers it.

Where all classes of a partition are past their time, and no hold covers any of it, the partition is dropped. What
remains is deleted row by row, in small batches. Days begin at midnight, UTC, so that there is nothing to do most times.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import connection, models
from django.db.models import Exists, OuterRef
from django.utils import timezone
from psycopg.sql import SQL, Composable, Identifier, Literal

from apps.access.models import TriedOut
from apps.access.reasons import NOTED, STAFF_ACTION, Reason
from apps.audit.chain import line
from apps.audit.keeping.holds import covered, covered_staff_actions, lock_holds
from apps.audit.keeping.partitions import Partition, drop, partitions, patiently, short_lock
from apps.audit.locks import AdvisoryLock, wait_for
from apps.audit.models import AuditEvent, Batch, Hold
from apps.audit.moving.batches import append, next_number
from apps.audit.net import NET
from apps.audit.statistics.tally_retention import statistics_past
from apps.live.counted import month_began
from apps.live.models import Lease

BATCH = 1_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventClass:
    """Events that are kept for the same time: by why they were answered as they were."""

    words: str
    setting: str
    reasons: tuple[str, ...]


DECISIONS = EventClass("decisions", "KEEP_DECISIONS", tuple(reason for reason in Reason if reason not in NOTED))
EVENTS = EventClass("status events", "KEEP_EVENTS", NOTED)
CHANGES = EventClass("changes by staff", "KEEP_STAFF_ACTIONS", (STAFF_ACTION,))
CLASSES = (DECISIONS, EVENTS, CHANGES)


def past(setting: str, now: datetime) -> datetime | None:
    """Before when things are past their time; None where they are kept for ever."""
    days = getattr(settings, setting)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=days) if days else None


class Step:
    """Something that is past its time, and goes as one whole or in batches."""

    def count(self) -> int:
        """How many rows would go."""
        raise NotImplementedError

    def take(self) -> int:
        """Let some of it go, as much as can go at once; gives how many rows that were, 0 where all is done."""
        raise NotImplementedError


@dataclass(slots=True)
class NotedFirst(Step):
    """That events of a class are let go is itself in the record, before they are: so nobody takes them for lost."""

    of: EventClass
    before: datetime

    def __str__(self) -> str:
        return f"note that {self.of.words} before {self.before:%Y-%m-%d} are let go"

    def count(self) -> int:
        return 0

    def take(self) -> int:
        patiently(self._note)
        return 0

    def _note(self) -> None:
        note = {"let go": self.of.words, "before": self.before}
        with short_lock():
            wait_for(AdvisoryLock.BATCHES)
            if not Batch.objects.exclude(note="").filter(note=line(**note).decode()).exists():
                append(next_number(), timezone.now(), note=note)


@dataclass(slots=True)
class DroppedPartition(Step):
    """A partition of which nothing is to be kept."""

    partition: Partition
    holds: Sequence[Hold]
    kept: Sequence[EventClass]

    def __str__(self) -> str:
        return f"partition {self.partition}, whole"

    def count(self) -> int:
        return _one(SQL("SELECT count(*) FROM {}").format(Identifier(self.partition.name)))

    def take(self) -> int:
        """Drop it, unless something is to be kept that came after it was looked at: the next run looks again."""
        rows = _one(SQL("SELECT reltuples::bigint FROM pg_class WHERE relname = {}").format(self.partition.name))
        if patiently(drop, self.partition, self._still_nothing_is_kept):
            logger.info("Dropped %s with about %d audit events", self.partition, max(rows, 0))
        return 0

    def _still_nothing_is_kept(self) -> bool:
        lock_holds()
        if any(_has(self.partition, of) for of in self.kept):
            return False
        return set(Hold.objects.in_force().values_list("pk", flat=True)) <= {hold.pk for hold in self.holds}


@dataclass(slots=True)
class DeletedEvents(Step):
    """Events of one class in one table, as far as they are older than a moment and not held."""

    table: str
    of: EventClass
    before: datetime

    def __str__(self) -> str:
        return f"{self.of.words} before {self.before:%Y-%m-%d} in {self.table}"

    def count(self) -> int:
        return _one(SQL("SELECT count(*) FROM {} WHERE {}").format(Identifier(self.table), self._condition()))

    def any(self) -> bool:
        """Whether there is something to delete."""
        return bool(
            _one(SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(Identifier(self.table), self._condition()))
        )

    def take(self) -> int:
        return int(patiently(self._delete_batch))

    def _delete_batch(self) -> int:
        with short_lock(), connection.cursor() as cursor:
            lock_holds()
            cursor.execute(
                SQL(
                    """DELETE FROM {table} WHERE id IN
                        (SELECT id FROM {table} WHERE {past} LIMIT {batch} FOR UPDATE SKIP LOCKED)"""
                ).format(table=Identifier(self.table), past=self._condition(), batch=BATCH)
            )
            return cursor.rowcount

    def _condition(self) -> Composable:
        """Both effects by name: the index begins with them."""
        return SQL(
            "effect IN ('allow', 'deny') AND reason = ANY ({reasons}::text[]) AND received_at < {before} AND NOT {held}"
        ).format(
            reasons=Literal([str(reason) for reason in self.of.reasons]),
            before=Literal(self.before),
            held=covered(Hold.objects.in_force()),
        )


@dataclass(slots=True)
class DeletedRows(Step):
    """Rows of another table that are of no use any longer."""

    words: str
    past: Callable[[], models.QuerySet]

    def __str__(self) -> str:
        return self.words

    def count(self) -> int:
        return self.past().count()

    def take(self) -> int:
        return int(patiently(self._delete_batch))

    def _delete_batch(self) -> int:
        with short_lock():
            lock_holds()
            ids = list(self.past().order_by("pk").values_list("pk", flat=True)[:BATCH])
            self.past().model._default_manager.filter(pk__in=ids).delete()
        return len(ids)


def steps(now: datetime) -> Iterator[Step]:
    """What is to go at this moment, in this order."""
    events = list(_of_events(now))
    if events:
        yield from (NotedFirst(of, before) for of in CLASSES if (before := past(of.setting, now)))
    yield from events
    decisions = past(DECISIONS.setting, now)
    if decisions and events:
        yield DeletedRows("counts of rules that were tried out, of events that are gone", lambda: _tried_out(decisions))
        yield DeletedRows("ended leases, of events that are gone", lambda: _leases(decisions, now))
    if before := past("KEEP_STAFF_ACTIONS", now):
        yield DeletedRows(f"actions of staff before {before:%Y-%m-%d}", lambda: _staff_actions(before))
    for words, rows in statistics_past(past("KEEP_STATISTICS", now), decisions):
        yield DeletedRows(words, rows)


def purge(now: datetime, deadline: float, said: Callable[[Step, int], None] = lambda step, gone: None) -> int:
    """Let go what is past its time, until all is gone or until `deadline`, a time of time.monotonic. Gives how many
    rows were deleted, those of dropped partitions aside; tells `said` how far each step has come.
    """
    gone = 0
    for step in steps(now):
        of_step = 0
        while time.monotonic() < deadline:
            taken = step.take()
            of_step += taken
            said(step, of_step)
            if taken < BATCH:
                break
        if of_step:
            logger.info("Deleted %d: %s", of_step, step)
        gone += of_step
    return gone


def _of_events(now: datetime) -> Iterator[Step]:
    times = {of: before for of in CLASSES if (before := past(of.setting, now))}
    if not times:
        return
    holds = list(Hold.objects.in_force())
    for partition in partitions():
        kept = [of for of in CLASSES if of not in times or partition.ends_at > times[of]]
        if (
            not {DECISIONS, EVENTS}.intersection(kept)
            and not any(_has(partition, of) for of in kept)
            and not _holds_any(partition, holds)
        ):
            yield DroppedPartition(partition, holds, kept)
        else:
            yield from _deleted(partition.name, times, partition.starts_at)
    yield from _deleted(NET, times, None)


def _deleted(table: str, times: dict[EventClass, datetime], starts_at: datetime | None) -> Iterator[Step]:
    for of, before in times.items():
        step = DeletedEvents(table, of, before)
        if (starts_at is None or starts_at < before) and step.any():
            yield step


def _has(partition: Partition, of: EventClass) -> bool:
    """Whether it has events of a class, of which none may be dropped."""
    return bool(
        _one(
            SQL(
                "SELECT EXISTS (SELECT FROM {} WHERE effect IN ('allow', 'deny') AND reason = ANY ({}::text[]))"
            ).format(Identifier(partition.name), Literal([*map(str, of.reasons)]))
        )
    )


def _holds_any(partition: Partition, holds: Sequence[Hold]) -> bool:
    """Whether a hold covers something of it; one after the other, so that each may go through an index."""
    table = Identifier(partition.name)
    return any(_one(SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(table, covered([hold]))) for hold in holds)


def _tried_out(before: datetime) -> models.QuerySet:
    event = AuditEvent.objects.filter(pk=OuterRef("event_id"))
    return TriedOut.objects.filter(~Exists(event), received_at__lt=before)


def _leases(before: datetime, now: datetime) -> models.QuerySet:
    """Not those of this month, which limits still count."""
    event = AuditEvent.objects.filter(pk=OuterRef("record_id"))
    counted = month_began(now, timezone.get_default_timezone())
    return Lease.objects.filter(~Exists(event), ended_at__lt=min(before, counted))


def _staff_actions(before: datetime) -> models.QuerySet:
    return LogEntry.objects.filter(action_time__lt=before).exclude(covered_staff_actions(Hold.objects.in_force()))


def _one(statement: Composable):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]
