"""Emptying the spool: what was answered while Postgres was away goes to the outbox when it is back.

Each batch is one transaction, which also notes how far the file has been replayed. So whoever empties a file may be
killed at any moment, and the next one goes on where it ended.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import pq

from apps.audit.recording.late import decoded
from apps.audit.recording.spool import MAGIC, Piece, Spool, files, keep_pieces_aside, pieces, since_of
from apps.audit.recording.spool_folder import OthersFile, UnusableFile, loggable, move_aside, taken_over
from apps.database.connection import StatementFailed

BATCH, BATCH_BYTES = 500, 8_000_000
PAUSE = 0.5
"""Seconds after which it is tried again."""
QUIET = timedelta(seconds=2)
"""For how long nobody may have found Postgres away, for it to count as back."""
REMEMBERED = timedelta(days=30)
"""For how long outages are kept."""

_NOTE = """INSERT INTO audit_outage AS o (name, since, until, noted_at, replayed) VALUES (%s, %s, %s, now(), %s)
    ON CONFLICT (name) DO UPDATE SET until = excluded.until, noted_at = excluded.noted_at RETURNING o.replayed"""
_PROGRESS = "UPDATE audit_outage SET replayed = %s, entries = entries + %s, noted_at = now() WHERE name = %s"
_FORGET = "DELETE FROM audit_outage WHERE noted_at < now() - %s"

logger = logging.getLogger(__name__)
Connection = psycopg.Connection[Any]


class _Bad(NamedTuple):
    """What cannot be recorded, and why: in words, or what Postgres said of it as a code."""

    piece: Piece
    why: str


def take_over(folder: Path | None, connection: Connection, deadline: float = math.inf) -> int:
    """Replay and remove the files of processes that died; gives how many entries that were. Whatever one of the files
    is, the others are replayed. After `deadline`, a time of time.monotonic, the rest is left to whoever comes next.

    Raises psycopg.OperationalError or StatementFailed, where Postgres cannot take them after all.
    """
    replayed = 0
    for path in files(folder):
        try:
            replayed += _take_over(path, connection, deadline)
        except OthersFile as error:  # what is in it was answered: it stays where its process, if it lives, looks for it
            logger.error("%s cannot be replayed by this user: %s", loggable(path), error)
        except (UnusableFile, psycopg.DataError, ValueError, OverflowError) as error:  # the latter by its name or time
            move_aside(path, error)
        except (psycopg.Error, StatementFailed):
            raise
        except Exception:  # of the disk, mostly: it is looked at again
            logger.exception("%s cannot be replayed just now", loggable(path))
        if time.monotonic() >= deadline:
            break
    return replayed


def _take_over(path: Path, connection: Connection, deadline: float) -> int:
    with taken_over(path) as ours:
        if ours is None:
            return 0
        file = path.stat()
        written_at = datetime.fromtimestamp(file.st_mtime, UTC)
        since = since_of(path) or datetime.now(UTC)
        end, entries = _replay(path, since, written_at, connection, deadline=deadline)
        if end >= file.st_size:
            path.unlink()
            logger.warning("The spool file %s of a process that has ended was replayed, to %s.", loggable(path), end)
        return entries


class Emptying:
    """Empties the spool of this process, and those of processes that died, in a thread of its own while it has to.

    It is also what knows since when this process finds Postgres away.
    """

    def __init__(self, conninfo: str, spool: Spool) -> None:
        self._conninfo = conninfo
        self._spool = spool
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._found_away = self._connected_at = datetime.min.replace(tzinfo=UTC)
        self.since: datetime | None = None

    def away(self, now: datetime) -> datetime:
        """Postgres was found away just now; gives since when it is."""
        with self._lock:
            self._found_away = datetime.now(UTC)
            if self.since is None:
                self.since = now
                logger.error("Postgres is away. Events are kept in the spool; nobody new is let in.")
            self._begin()
            return self.since

    def look(self) -> None:
        """See whether processes that died have left something."""
        with self._lock:
            if files(self._spool.folder):
                self._begin()

    def stop(self) -> None:
        """End the thread, and leave what is not replayed to others."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._spool.close()

    def _begin(self) -> None:
        if self._thread is None and not self._stopped.is_set():
            self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with closing(psycopg.connect(self._conninfo, autocommit=True)) as connection:
                    self._connected_at = datetime.now(UTC)
                    while not self._stopped.wait(PAUSE):
                        self._empty(connection)
                        if self._is_over():
                            return
            except (psycopg.Error, StatementFailed, OSError) as error:
                logger.warning("The spool cannot be emptied yet: %s", str(error).partition("\n")[0])
            except Exception:  # it must go on trying: what is in the spool was answered
                logger.exception("The spool cannot be emptied")
            self._stopped.wait(PAUSE)

    def _empty(self, connection: Connection) -> None:
        """Replay all there is; without any, still write something: only that shows that Postgres is back."""
        since, file = self.since, self._spool.file
        back_at = max(self._connected_at, self._found_away)
        if file is not None:
            until, entries = _replay(file.path, since or datetime.now(UTC), back_at, connection, until=file.synced)
            if entries:
                logger.warning("%s entries of the spool were replayed.", entries)
            self._spool.remove(until)
        elif since is not None:
            _note(connection, f"{since:%Y%m%dT%H%M%S}-{os.getpid()}", since, back_at)
        take_over(self._spool.folder, connection)

    def _is_over(self) -> bool:
        """Whether nothing is left to do; then this thread is no longer needed."""
        with self._lock:
            quiet = datetime.now(UTC) - self._found_away > QUIET
            if self._spool.file is not None or (self.since is not None and not quiet):
                return False
            if self.since is not None:
                logger.warning("Postgres is back. It was away since %s.", self.since)
            self.since = self._thread = None
            return True


def _replay(
    path: Path,
    since: datetime,
    back_at: datetime,
    connection: Connection,
    *,
    until: int | None = None,
    deadline: float = math.inf,
) -> tuple[int, int]:
    """Put what is in a file into the outbox, as far as there is time but never nothing; gives where that ends, and how
    many entries were put there."""
    place, entries = _note(connection, path.stem, since, back_at), 0
    todo = pieces(path, place, until)
    for batch in _batches(todo):
        entries += _write(path, batch, connection)
        place = batch[-1].end
        if time.monotonic() >= deadline:
            break
    return place, entries


def _batches(todo: Iterable[Piece]) -> Iterator[list[Piece]]:
    """So many together as are written in one transaction, and as there is memory for."""
    batch: list[Piece] = []
    for piece in todo:
        batch.append(piece)
        if len(batch) >= BATCH or piece.end - batch[0].start >= BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _note(connection: Connection, name: str, since: datetime, until: datetime) -> int:
    """Note that there was an outage; gives how far its file has been replayed."""
    row = connection.execute(_NOTE, [name, since, until, len(MAGIC)]).fetchone()
    connection.execute(_FORGET, [REMEMBERED])
    return int(row[0]) if row else 0


def _write(path: Path, batch: Sequence[Piece], connection: Connection) -> int:
    """Write the records of these, and note how far the file is replayed; what cannot be written is kept aside, with its
    bytes."""
    with connection.transaction():
        bad = _write_most(batch, connection)
        if bad:
            _keep_aside(path, bad)
        written = len(batch) - len(bad)
        connection.execute(_PROGRESS, [batch[-1].end, written, path.stem])
        return written


def _write_most(batch: Sequence[Piece], connection: Connection) -> list[_Bad]:
    """Write what can be; gives the others. Where one of them makes that impossible, half by half, until it stands
    alone."""
    try:
        with connection.transaction():
            return [_Bad(piece, "no whole entry") for piece in batch if not _write_one(piece, connection)]
    except StatementFailed as error:
        if error.in_trouble:
            raise
        if len(batch) == 1:
            return [_Bad(batch[0], error.sqlstate)]
    half = len(batch) // 2
    return _write_most(batch[:half], connection) + _write_most(batch[half:], connection)


def _write_one(piece: Piece, connection: Connection) -> bool:
    """Write one; False where it cannot be read."""
    entry = decoded(piece.payload)
    if entry is None:
        return False
    statement, values = entry
    pgconn = connection.pgconn
    result = pgconn.exec_params(statement.sql.encode(), values, param_formats=statement.formats)
    if result.status != pq.ExecStatus.TUPLES_OK:
        sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"08006").decode()
        raise StatementFailed(sqlstate, "A spooled record could not be written.")
    return True


def _keep_aside(path: Path, bad: Sequence[_Bad]) -> None:
    """With one line of log, however many they are."""
    logger.error(
        "%s entries of the spool file %s (%s bytes) cannot be recorded and are kept aside: %s",
        len(bad),
        loggable(path),
        sum(piece.end - piece.start for piece, _ in bad),
        ", ".join(sorted({why for _, why in bad})),
    )
    keep_pieces_aside(path, [piece for piece, _ in bad])
