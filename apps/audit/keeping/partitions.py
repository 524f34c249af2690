"""The partitions of the audit log, by ranges of ids, which begin with the time: made ahead, looked at, and dropped.

A default partition is the net: what has no partition of its own falls into it and is never lost. Rows in it are an
alarm, as they keep partitions from being made. They are put where they belong in batches.

Whatever locks the whole log for a moment waits for that no longer than LOCK_TIMEOUT, as others would wait behind it.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Composed, Identifier, Literal

from apps.audit.ids import first_id, moment_of
from apps.audit.locks import AdvisoryLock, only_one
from apps.audit.net import ASIDE, NET, TABLE, is_whole, net

AHEAD = {"month": 3, "day": 14}
"""How many months or days to come are covered at least, so that nothing falls into the net if the workers are away."""

LOCK_TIMEOUT = timedelta(milliseconds=500)
TRIES, PAUSE = 10, 0.2
"""How often a lock is tried for, and the seconds between."""

BATCH = 1_000

_PARTITIONS = """SELECT c.relname,
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''([0-9a-f-]{36})''')::uuid AS low,
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([0-9a-f-]{36})''')::uuid AS high
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %s::regclass AND c.relname <> %s ORDER BY low NULLS FIRST"""
_PUT_IN_PLACE = """WITH taken AS (DELETE FROM {aside} WHERE id IN (SELECT id FROM {aside} ORDER BY id LIMIT {batch})
        RETURNING *),
    placed AS (INSERT INTO {table} ({columns}) SELECT {columns} FROM taken ON CONFLICT DO NOTHING RETURNING id),
    twice AS (INSERT INTO audit_badrecord (id, record, problem)
        SELECT CASE WHEN id IN (SELECT id FROM audit_badrecord) THEN gen_random_uuid() ELSE id END, to_jsonb(taken),
            {twice}
        FROM taken WHERE id NOT IN (SELECT id FROM placed) RETURNING record ->> 'id' AS id)
    SELECT (SELECT count(*) FROM taken), ARRAY(SELECT id FROM twice)"""

TWICE = (
    "An event with this id is in the audit log already: somebody has put one of the two there. Run verify_audit. If it "
    "names the one in the log, delete that and try this one again; if not, this is the one to be deleted."
)
"""What is said of an event that is put aside: which of the two the chain means is not for us to say."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Partition:
    """A table with the events of a time; the first one begins at the beginning of all times."""

    name: str
    starts_at: datetime | None
    ends_at: datetime

    def __str__(self) -> str:
        begins = f"from {self.starts_at:%Y-%m-%d} " if self.starts_at else ""
        return f"{self.name} ({begins}until {self.ends_at:%Y-%m-%d})"


def boundary_after(moment: datetime) -> datetime:
    """Where a partition ends that holds this moment: with its month or its day, in UTC, as the setting says."""
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if settings.AUDIT_PARTITION == "day":
        return midnight + timedelta(days=1)
    return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)


def partitions() -> list[Partition]:
    """All of them but the net, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTITIONS, [TABLE, NET])
        return [Partition(name, low and moment_of(low), moment_of(high)) for name, low, high in cursor.fetchall()]


def is_partitioned() -> bool:
    """Whether there is something to keep: not while migrations have yet to run."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)", [TABLE])
        return (True,) in cursor.fetchall()


def keep(now: datetime, deadline: float, said: Callable[[int], None] = lambda moved: None) -> list[Partition]:
    """All that partitions need: go on moving what was in the net, make those to come, and say so if the net is used."""
    put_in_place(deadline, said=said)
    made = patiently(make_ahead, now)
    put_in_place(deadline, said=said)
    for partition in made:
        logger.info("Made partition %s", partition)
    if outside := net():
        logger.error("%s", outside)
    return made


def make_ahead(now: datetime) -> list[Partition]:
    """Make the partitions that are missing for now and for the time to come; gives those that were made.

    Where the setting was changed, those to come that are still empty are made anew in the other size.
    """
    with short_lock():
        if not only_one(AdvisoryLock.PARTITIONS):
            return []
        for partition in partitions():
            if _is_of_another_size(partition, now) and _is_empty(partition.name):
                _execute(SQL("DROP TABLE {}").format(Identifier(partition.name)))
        made = list(_missing(now))
        if made and _net_holds(made):
            if not is_whole():  # what fell into it before comes first
                return []
            _set_net_aside()
        for partition in made:
            _make(partition)
    return made


def _is_of_another_size(partition: Partition, now: datetime) -> bool:
    starts_at = partition.starts_at
    return starts_at is not None and starts_at > now and partition.ends_at != boundary_after(starts_at)


def _missing(now: datetime) -> Iterator[Partition]:
    """What is not covered from the first partition to the last one to come, and of older times what the net holds."""
    known = partitions()
    until = now
    for _ in range(AHEAD[settings.AUDIT_PARTITION] + 1):
        until = boundary_after(until)
    begins = known[-1].ends_at if known else boundary_after(now) - timedelta(days=1)
    yield from _gaps(known, until)
    while begins < until:
        ends = boundary_after(begins)
        yield _partition(begins, ends)
        begins = ends


def _gaps(known: list[Partition], until: datetime) -> Iterator[Partition]:
    """The times before the last partition that have rows in the net; each between its neighbours."""
    last = known[-1].ends_at if known else until
    looked_at: UUID | None = None
    while (moment := _oldest_in_net(looked_at)) is not None and moment < last:
        begins = max([boundary_before(moment), *(p.ends_at for p in known if p.ends_at <= moment)])
        ends = min([boundary_after(moment), *(p.starts_at for p in known if p.starts_at and p.starts_at > moment)])
        yield _partition(begins, ends)
        looked_at = first_id(ends)


def boundary_before(moment: datetime) -> datetime:
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if settings.AUDIT_PARTITION == "day" else midnight.replace(day=1)


def _oldest_in_net(since: UUID | None) -> datetime | None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM {NET} WHERE id >= %s ORDER BY id LIMIT 1", [since or UUID(int=0)])  # noqa: S608
        row = cursor.fetchone()
    return moment_of(row[0]) if row else None


def _partition(begins: datetime, ends: datetime) -> Partition:
    return Partition(f"{TABLE}_p{begins:%Y%m%d}", begins, ends)


def _net_holds(made: list[Partition]) -> bool:
    """Whether rows in the net belong into partitions that are to be made, and so are in their way."""
    for partition in made:
        oldest = _oldest_in_net(first_id(partition.starts_at))
        if oldest is not None and oldest < partition.ends_at:
            return True
    return False


def _make(partition: Partition) -> None:
    """Make it by itself and attach it: this way nobody who writes has to wait, unlike for PARTITION OF."""
    create(partition)
    attach(partition)


def create(partition: Partition) -> None:
    """Make its table, which is none of the log's yet."""
    name, table = Identifier(partition.name), Identifier(TABLE)
    _execute(SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(name, table))


def attach(partition: Partition) -> None:
    """Make its table a part of the log; what indexes it lacks are made."""
    low = Literal(str(first_id(partition.starts_at))) if partition.starts_at else SQL("MINVALUE")
    _execute(
        SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            Identifier(TABLE), Identifier(partition.name), low, Literal(str(first_id(partition.ends_at)))
        )
    )


def _set_net_aside() -> None:
    """Put an empty net in the place of the one with rows. To attach anything beside them, all of them would be read
    under a lock; so they wait aside, to be moved in batches.
    """
    _execute(SQL("ALTER TABLE {} DETACH PARTITION {}").format(Identifier(TABLE), Identifier(NET)))
    _execute(SQL("ALTER TABLE {} RENAME TO {}").format(Identifier(NET), Identifier(ASIDE)))
    _execute(
        SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(
            Identifier(NET), Identifier(TABLE)
        )
    )
    _execute(SQL("ALTER TABLE {} ATTACH PARTITION {} DEFAULT").format(Identifier(TABLE), Identifier(NET)))


def put_in_place(deadline: float, batch: int = BATCH, said: Callable[[int], None] = lambda moved: None) -> int:
    """Move what was set aside out of the net to where it belongs, until all is moved or until `deadline`, a time of
    time.monotonic. Gives how many rows were moved; tells `said` how far it has come, batch by batch.
    """
    moved = 0
    try:
        while time.monotonic() < deadline and (in_batch := _put_some_in_place(batch)) is not None:
            moved += in_batch
            said(moved)
    except IntegrityError as error:  # of another column, as the table was altered by hand
        logger.critical(
            "An event that waits in %s cannot be in the audit log: %s. Nothing is moved into the log until it can.",
            ASIDE,
            error.__cause__.diag.message_detail,
        )
    return moved


@transaction.atomic
def _put_some_in_place(batch: int) -> int | None:
    """How many of what was set aside were moved; None where nothing is aside, or somebody else is at it."""
    if not only_one(AdvisoryLock.PARTITIONS) or is_whole():
        return None
    names = {"aside": Identifier(ASIDE), "table": Identifier(TABLE), "columns": _columns_aside()}
    with connection.cursor() as cursor:
        cursor.execute(SQL(_PUT_IN_PLACE).format(batch=batch, twice=Literal(TWICE), **names))
        in_batch, twice = cursor.fetchone()
        if in_batch < batch:
            cursor.execute(SQL("DROP TABLE {}").format(Identifier(ASIDE)))
    for id_ in twice:
        logger.critical("Event %s is in the audit log already, as another one. This one is put aside.", id_)
    return in_batch


def _columns_aside() -> Composed:
    """The columns of what was set aside; the log may have got others since."""
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, ASIDE)
    return SQL(", ").join(Identifier(column.name) for column in columns)


def drop(partition: Partition, still: Callable[[], bool] = lambda: True) -> bool:
    """Drop a partition with all it holds, if this is `still` right just before. Gives whether it was dropped."""
    with short_lock():
        if not (only_one(AdvisoryLock.PARTITIONS) and still()):
            return False
        _execute(SQL("DROP TABLE {}").format(Identifier(partition.name)))
    return True


def patiently(change: Callable, *arguments: object) -> object:
    """Make a change that needs a short lock, again and again where others have it for too long."""
    for attempt in range(1, TRIES + 1):
        try:
            return change(*arguments)
        except OperationalError as error:
            if attempt == TRIES or not isinstance(error.__cause__, LockNotAvailable):
                raise
            time.sleep(PAUSE)
    raise AssertionError("It is tried at least once.")


@contextmanager
def short_lock() -> Iterator[None]:
    """A transaction that waits for no lock for longer than LOCK_TIMEOUT."""
    with transaction.atomic():
        _execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(f"{LOCK_TIMEOUT // timedelta(milliseconds=1)}ms")))
        yield


def _is_empty(table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(SQL("SELECT NOT EXISTS (SELECT FROM {})").format(Identifier(table)))
        return bool(cursor.fetchone()[0])


def _execute(statement: Composed) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
