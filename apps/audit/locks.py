"""Advisory locks of the audit log, each a number of its own: who has one is the only one at that work."""

from enum import IntEnum

from django.db import connection


class AdvisoryLock(IntEnum):
    """Held until the end of a transaction. The numbers begin with “WCSG”."""

    BATCHES = 0x5743_5347
    PARTITIONS = 0x5743_5348
    MEASURING = 0x5743_5349
    GAPS = 0x5743_534A
    SEALS = 0x5743_534B


def only_one(lock: AdvisoryLock) -> bool:
    """Whether this transaction is now the only one at that work; it is until it ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock])
        return bool(cursor.fetchone()[0])


def wait_for(lock: AdvisoryLock) -> None:
    """Be the only one at that work, as above, when the others are done. Raises OperationalError where that takes
    longer than the transaction may wait.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
