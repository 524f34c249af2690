"""A made-up past as the record of a database that is there to be tried out: for `fill_audit`, never for production.

Whoever moves events waits meanwhile, since the past gets batches of the same chain. Months that are still empty are
written before they are a part of the log, and get their indexes in one go.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from itertools import groupby
from multiprocessing import get_context

from django.db import connection, transaction
from django.utils import timezone
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from apps.accounts.models import User
from apps.audit.chain import BEFORE_THE_FIRST, batch_hash
from apps.audit.filling import made_up
from apps.audit.filling.days import BATCH, Log, MadeBatch, write_day
from apps.audit.keeping.partitions import (
    Partition,
    attach,
    boundary_after,
    boundary_before,
    create,
    partitions,
    short_lock,
)
from apps.audit.locks import AdvisoryLock
from apps.audit.models import AuditEvent, Batch
from apps.audit.moving.batches import CONTENT, next_number
from apps.audit.net import TABLE
from apps.audit.statistics.measuring import measure
from apps.audit.statistics.recounting import begin_again, count_before
from apps.connections.models import App, Node
from apps.database.connection import conninfo_of
from apps.live.tasks import KEPT
from apps.streams.models import Stream

Said = Callable[[str], None]
Work = tuple[str, date, int, int]
"""The table, the day, its events, and the number of its first batch."""


def fill(count: int, *, until: date, days: int, seed: int, workers: int, said: Said) -> None:
    """Write so many events of the days before that one, with what ran lately, and with the statistics of it all."""
    with _alone():
        empty = not AuditEvent.objects.exists()
        found = list(made_up.days(until, days, count))
        months = lay_out(_midnight(found[0][0]), _midnight(until)) if empty else []
        work = list(_work(found, months))
        log = _log(seed, until - KEPT)
        with _processes(workers) as run:
            done = 0
            for table, some in groupby(work, key=lambda one: one[0]):
                some = list(some)
                made = run(write_day, [log] * len(some), *zip(*some, strict=True))
                _add(made, next((month for month in months if month.name == table), None))
                done += sum(events for _, _, events, _ in some)
                said(f"{done} of {count} events, until {some[-1][1]}")
        _vacuum(*(month.name for month in months), "live_lease", "connections_session", "audit_batch")
        said("Counting it for statistics")
        begin_again()
        count_before(math.inf)
    measure(timezone.now(), math.inf)


def add_people() -> None:
    """Rows for those whom the past speaks of, as far as they are not there: users, streams, nodes and apps."""
    users = (User(username=made_up.username(number), password="!") for number in range(made_up.USERS))  # noqa: S106
    User.objects.bulk_create(users, ignore_conflicts=True, batch_size=1000)
    streams = (Stream(name=made_up.stream_name(number)) for number in range(made_up.STREAMS))
    Stream.objects.bulk_create(streams, ignore_conflicts=True, batch_size=1000)
    nodes = (Node(node_id=node, name=f"edge {number}") for number, node in enumerate(made_up.NODES, start=1))
    Node.objects.bulk_create(nodes, ignore_conflicts=True)
    App.objects.bulk_create((App(key=key) for key in made_up.APPS), ignore_conflicts=True)


@contextmanager
def _alone() -> Iterator[None]:
    """As the only one who writes batches, over all transactions until the end."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '30s'")
        cursor.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock.BATCHES])
        cursor.execute("RESET lock_timeout")
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [AdvisoryLock.BATCHES])


def lay_out(since: datetime, until: datetime) -> list[Partition]:
    """In an empty log: partitions of their own for the time since then, in place of the first one, which had all of it.

    Their tables are there, but are attached only when they are full.
    """
    with short_lock():
        old = [known for known in partitions() if known.starts_at is None or known.starts_at <= until]
        for known in old:
            _execute("DROP TABLE {}", known.name)
        begins = boundary_before(since)
        first = Partition(f"{TABLE}_first", None, begins)
        create(first)
        attach(first)
        made = []
        while begins < old[-1].ends_at:
            ends = min(boundary_after(begins), old[-1].ends_at)
            made.append(Partition(f"{TABLE}_p{begins:%Y%m%d}", begins, ends))
            create(made[-1])
            begins = ends
    return made


def _work(found: Iterable[tuple[date, int]], months: Sequence[Partition]) -> Iterator[Work]:
    """What is written where: into the month, or through the log itself where that had something in it already."""
    number = next_number()
    for day, count in found:
        table = next((month.name for month in months if _midnight(day) < month.ends_at), TABLE)
        yield table, day, count, number
        number += -(-count // BATCH)


def _log(seed: int, leases_since: date) -> Log:
    return Log(
        conninfo=make_conninfo(conninfo_of(connection.settings_dict), tcp_user_timeout=0),  # disks may take their time
        columns=[field.column for field in AuditEvent._meta.concrete_fields],
        content=CONTENT,
        leases_since=leases_since,
        seed=seed,
        users=dict(User.objects.values_list("username", "id")),
        streams=dict(Stream.objects.values_list("name", "id")),
    )


@contextmanager
def _processes(workers: int) -> Iterator[Callable]:
    """A `map` that has so many processes to work with; none but this one for a single worker."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool.map


def _add(made: Iterable[list[MadeBatch]], month: Partition | None) -> None:
    """The batches of a month as links of the chain, and the month as a part of the log."""
    last = Batch.objects.order_by("-number").values_list("hash", flat=True).first()
    previous = bytes(last) if last is not None else BEFORE_THE_FIRST
    with transaction.atomic():
        for batches in made:
            rows = []
            for number, moved_at, entries in batches:
                own = batch_hash(number, moved_at, "", previous, entries)
                rows.append(Batch(number=number, moved_at=moved_at, entries=entries, previous=previous, hash=own))
                previous = own
            Batch.objects.bulk_create(rows)
        if month is not None:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL maintenance_work_mem = '512MB'")
            attach(month)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _vacuum(*tables: str) -> None:
    """As autovacuum would sooner or later, so that nobody measures while it does."""
    for table in tables:
        _execute("VACUUM (ANALYZE) {}", table)


def _execute(statement: str, table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(SQL(statement).format(Identifier(table)))
