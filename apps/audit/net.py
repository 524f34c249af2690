"""The net below the partitions of the audit log (`keeping`), and whether all of the log is found.

What fell into the net is put where it belongs bit by bit, and until it is, it is aside and found by nobody. So whoever
says that something is not in the log, or writes what must not be there twice, sees that the log is whole first.
"""

from dataclasses import dataclass

from django.db import connection

TABLE = "audit_auditevent"
NET = f"{TABLE}_default"
ASIDE = f"{TABLE}_aside"
"""What was in the net, until it is where it belongs."""

COUNTED = 100_000

STAYS = f"LOCK TABLE ONLY {TABLE} IN ACCESS SHARE MODE"
"""Nothing is set aside before this transaction ends: the net cannot be taken away meanwhile."""

IS_ASIDE = f"""EXISTS (SELECT FROM pg_class WHERE relname = '{ASIDE}'
    AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = '{TABLE}'::regclass))"""  # noqa: S608 - our names
"""Whether something is aside, at the moment at which the statement sees the log: to_regclass would know of later."""


class BeingPutInPlace(Exception):
    """Some of the log is not found just now, so what was asked cannot be said."""

    def __init__(self) -> None:
        super().__init__(
            "Some audit events are being put in place, out of the default partition, and are not found until then. "
            "Come back in a few minutes. To have it done at once, run keep_partitions."
        )


@dataclass(frozen=True, slots=True)
class Net:
    """What is outside of proper partitions: rows in the net, and whether some are just being moved out of it."""

    rows: int
    being_moved: bool

    def __bool__(self) -> bool:
        return bool(self.rows or self.being_moved)

    def __str__(self) -> str:
        number = f"{self.rows}" if self.rows < COUNTED else f"{COUNTED} or more"
        moving = " Others are being moved out of it, and are not found until then; new ones wait." * self.being_moved
        return f"{number} audit events are in the default partition: none of their own was there for them.{moving}"


def net() -> Net:
    """What is outside of proper partitions, counted so far as it matters."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT (SELECT count(*) FROM (SELECT FROM {NET} LIMIT %s) AS fallen), {IS_ASIDE}",  # noqa: S608
            [COUNTED],
        )
        return Net(*cursor.fetchone())


def is_whole() -> bool:
    """Whether all of the log is found, which stays so until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(STAYS)
        cursor.execute(f"SELECT NOT {IS_ASIDE}")
        return bool(cursor.fetchone()[0])


def see_whole() -> None:
    """The same for whoever can do nothing else. Raises BeingPutInPlace."""
    if not is_whole():
        raise BeingPutInPlace
