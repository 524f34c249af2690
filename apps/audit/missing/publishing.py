"""Telling the database what processes have answered: each its own, once a second, and of those that died whoever finds
their files.

What has been answered is told only while no spool of this machine holds anything: what was answered from a spool is
then in the outbox, and so whoever compares finds every record of an answer that it knows of. A process that tells
nothing for that reason counts as silent as any other does, when it lasts.
"""

import logging
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from apps.audit.ids import multirange
from apps.audit.recording.count_file import Found, left_in, read
from apps.audit.recording.counting import Counts, Look
from apps.audit.recording.spool import files
from apps.audit.recording.spool_folder import UnusableFile, loggable, move_aside, taken_over

PAUSE = 1.0
TAKE_OVER_EVERY = 5
"""How many pauses lie between two looks for files of processes that died."""
ALIVE = timedelta(minutes=1)
"""After which a counter is told again though nothing has changed, as its process lives."""

_PUBLISH = """
    INSERT INTO audit_counted AS c (counter, process, node_name, began_at, published_at, ended, given, outstanding,
        settled, received, answered, failed, unrecorded)
    SELECT %(counter)s, %(process)s, %(node_name)s, %(now)s, %(told_at)s::timestamptz, %(ended)s, %(given)s,
        %(outstanding)s::int8multirange, %(settled)s::int8multirange, %(received)s, %(answered)s, %(failed)s,
        %(unrecorded)s
    WHERE NOT %(published)s OR EXISTS (SELECT FROM audit_counted WHERE counter = %(counter)s)
    ON CONFLICT (counter) DO UPDATE SET process = excluded.process, node_name = excluded.node_name,
        published_at = coalesce(excluded.published_at, c.published_at), ended = c.ended OR excluded.ended,
        given = greatest(c.given, excluded.given), settled = c.settled + excluded.settled,
        outstanding = CASE WHEN excluded.given < c.given THEN c.outstanding ELSE excluded.outstanding END,
        received = greatest(c.received, excluded.received), answered = greatest(c.answered, excluded.answered),
        failed = greatest(c.failed, excluded.failed), unrecorded = greatest(c.unrecorded, excluded.unrecorded)
"""
_END = """UPDATE audit_counted SET ended = true, published_at = %s, settled = settled + outstanding, outstanding = '{}'
    WHERE counter = ANY(%s)"""

logger = logging.getLogger(__name__)
Connection = psycopg.Connection[Any]


class Publishing:
    """Tells what this process has answered, in a thread of its own."""

    def __init__(self, conninfo: str, counts: Counts, folder: Path | None) -> None:
        self._conninfo = conninfo
        self._counts = counts
        self._folder = folder
        self._told: dict[int, tuple[Look, datetime]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counts", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def publish(self, connection: Connection, now: datetime) -> None:
        """Tell what has changed since it was told last. Raises psycopg.Error."""
        looks = self._counts.look()
        waiting = bool(files(self._folder))  # looked for after the counts: see above
        for look in looks:
            told, told_at = self._told.get(look.found.key, (None, now))
            if look == told and now - told_at < ALIVE:
                continue
            values = _values(self._counts.name, look.found, [number for _, number in look.uncertain], now)
            if not connection.execute(_PUBLISH, {**values, **(_NOTHING_ANSWERED if waiting else {})}).rowcount:
                self._counts.begin_anew(look.found.key)
            elif waiting:
                continue
            else:
                self._counts.is_published(look)
            self._told[look.found.key] = look._replace(found=look.found._replace(published=True)), now

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with closing(psycopg.connect(self._conninfo, autocommit=True)) as connection:
                    self._publish_on(connection)
            except (psycopg.Error, OSError) as error:
                logger.info("What was answered cannot be told to the database: %s", str(error).partition("\n")[0])
            except Exception:  # it must go on: without it nobody would see what is missing
                logger.exception("What was answered cannot be told to the database")
            self._stopped.wait(PAUSE)

    def _publish_on(self, connection: Connection) -> None:
        rounds = 0
        while not self._stopped.wait(PAUSE):
            self.publish(connection, datetime.now(UTC))  # its own first: whatever others have left keeps none from it
            if rounds % TAKE_OVER_EVERY == 0:
                take_over(self._folder, connection)
            rounds += 1


_NOTHING_ANSWERED = {"told_at": None, "given": 0, "answered": 0, "received": 0, "outstanding": "{}", "settled": "{}"}
"""In the place of what is not told yet; the statement leaves what the database knows."""


def take_over(folder: Path | None, connection: Connection) -> int:
    """Tell what processes that died had answered, and remove their files; gives how many.

    Numbers that were out when a process died may be in the record or not: nobody knows whether those hooks were
    answered, so they are neither missing nor too many. Raises psycopg.Error.
    """
    taken = 0
    for path in left_in(folder):
        try:
            taken += _take_over(path, folder, connection)
        except (UnusableFile, psycopg.DataError) as error:
            move_aside(path, error)
        except OSError as error:
            logger.error("%s cannot be taken over just now: %s", loggable(path), error.strerror or error)
    return taken


def _take_over(path: Path, folder: Path | None, connection: Connection) -> bool:
    with taken_over(path) as ours:
        if ours is None or files(folder):
            return False
        with connection.transaction():
            _tell(path.stem, *read(ours), connection, datetime.now(UTC))
        path.unlink()
        return True


def _tell(process: str, counters: list[Found], of_another_boot: bool, connection: Connection, now: datetime) -> None:
    if of_another_boot:
        connection.execute(_END, [now, [found.key for found in counters]])
        return
    for found in counters:
        values = _values(process, found, found.busy | found.idle, now)
        busy = {"received": values["received"] + len(found.busy), "outstanding": "{}", "ended": True}
        connection.execute(_PUBLISH, {**values, **busy})


def _values(process: str, found: Found, settled: Any, now: datetime) -> dict[str, Any]:
    answered = found.given - len(found.busy) - len(found.idle) - found.void
    return {
        "counter": found.key,
        "process": process,
        "node_name": found.node_name,
        "now": now,
        "told_at": now,
        "ended": False,
        "given": found.given,
        "outstanding": multirange((found.busy | found.idle).difference(settled)),
        "settled": multirange(settled),
        "received": answered + found.failed + found.unrecorded,
        "answered": answered,
        "failed": found.failed,
        "unrecorded": found.unrecorded,
        "published": found.published,
    }
