"""The workers' tasks. Nudges only: whatever is lost of them, the next one makes up for."""

import time
from typing import Any

import psycopg
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from apps.audit.exporting import exports
from apps.audit.keeping import partitions, retention
from apps.audit.missing import gaps, publishing
from apps.audit.moving.changes import move_changes
from apps.audit.moving.mover import move_batch
from apps.audit.moving.pace import MOST, Pace
from apps.audit.moving.spool_emptying import take_over
from apps.audit.proving.seals import seal
from apps.audit.recording import spool_folder
from apps.audit.recording.count_file import left_in
from apps.audit.recording.spool import files
from apps.audit.statistics import measuring, recounting, tally_retention
from apps.database.connection import conninfo_of

AT_A_TIME = 5.0
"""Seconds that slow work may take of a worker, as moving records waits for it where there is only one."""
AT_ONCE = 2.0
"""The same for work that goes on as soon as it is nudged again."""

_pace = Pace()


@shared_task(name="audit.move_records")
def move_records(*, batch: int = MOST, batches: int = 200, **_: object) -> int:
    """Empty the outboxes, up to a bound, and say how many records were moved. Safe to run twice, and at once.

    `batch` is how many are moved in one transaction at most, `batches` how many transactions there are for each outbox.
    Nothing is moved while some of the log is aside, so that is put in place first.
    """
    moved = 0
    partitions.put_in_place(time.monotonic() + AT_A_TIME)
    for move in (move_batch, move_changes):
        for _number in range(batches):
            in_batch, more = _pace.move(move, batch)
            moved += in_batch
            if not more:
                break
    return moved


@shared_task(name="audit.take_over_spools")
def take_over_spools(**_: object) -> int:
    """Replay some of what web processes that died have left in their spools; gives how many entries that were. The next
    nudge goes on."""
    folder = spool_folder.configured()
    if not files(folder):
        return 0
    with _connection() as connection:
        return take_over(folder, connection, time.monotonic() + AT_ONCE)


@shared_task(name="audit.look_for_gaps")
def look_for_gaps(**_: object) -> int:
    """Compare what was answered with what is in the record; gives how many hooks are missing. Safe to run twice."""
    folder = spool_folder.configured()
    if left_in(folder):
        with _connection() as connection:
            publishing.take_over(folder, connection)
    gaps.compare(timezone.now())
    gaps.sum_up(timezone.now())
    return gaps.missing().hooks


def _connection() -> psycopg.Connection[Any]:
    """One of their own for what commits by itself."""
    return psycopg.connect(conninfo_of(settings.DATABASES["default"]), autocommit=True)


@shared_task(name="audit.keep_partitions")
def keep_partitions(**_: object) -> int:
    """Make partitions ahead, and put in place what fell into the default one. Safe to run twice, and at once."""
    return len(partitions.keep(timezone.now(), time.monotonic() + AT_A_TIME))


@shared_task(name="audit.seal")
def seal_record(**_: object) -> bool:
    """Seal the record, once a day. Safe to run twice, and at once."""
    return seal(timezone.now()) is not None


@shared_task(name="audit.purge")
def purge(**_: object) -> int:
    """Let go some of what is past its time; the next nudge goes on. Safe to run twice, and at once."""
    return retention.purge(timezone.now(), time.monotonic() + AT_A_TIME)


@shared_task(name="audit.write_exports")
def write_exports(**_: object) -> int:
    """Write some more of the exports that are wanted; the next nudge goes on. Safe to run twice, and at once."""
    return exports.work(timezone.now(), time.monotonic() + AT_ONCE)


@shared_task(name="audit.forget_exports")
def forget_exports(**_: object) -> int:
    """Delete exports that were kept long enough, and say how many that were."""
    return exports.forget(timezone.now())


@shared_task(name="audit.measure_running")
def measure_running(**_: object) -> int:
    """Measure what runs and ran, for statistics. Safe to run twice, and at once."""
    return measuring.measure(timezone.now(), time.monotonic() + AT_A_TIME)


@shared_task(name="audit.forget_hours")
def forget_hours(**_: object) -> int:
    """Let go hooks by hour of which days are enough. Safe to run twice, and at once."""
    return tally_retention.forget_hours(timezone.now())


@shared_task(name="audit.count_before")
def count_before(**_: object) -> bool:
    """Count some more of what was moved before hooks were counted. Safe to run twice, and at once."""
    return recounting.count_before(time.monotonic() + AT_A_TIME)
