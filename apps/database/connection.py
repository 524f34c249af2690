"""The connection to Postgres that the hook path uses.

It talks to libpq through psycopg's low-level interface: statements are prepared once, parameters are bytes that we
encode ourselves, and waiting ends at a deadline. Everywhere else Django's ORM is the better tool.
"""

import select
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from weakref import WeakSet

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
AWAY_FOR = 0.3
"""Seconds for which nobody asks again after Postgres did not answer."""

# Plain numbers: looking up a member of an enumeration runs Python code before Python 3.12
_BINARY = int(pq.Format.BINARY)
_TUPLES_OK, _COMMAND_OK = int(pq.ExecStatus.TUPLES_OK), int(pq.ExecStatus.COMMAND_OK)
_PIPELINE_SYNC, _PIPELINE_ABORTED = int(pq.ExecStatus.PIPELINE_SYNC), int(pq.ExecStatus.PIPELINE_ABORTED)
_BAD = int(pq.ConnStatus.BAD)

_pack_int8 = struct.Struct("!q").pack
_unpack_int8 = struct.Struct("!q").unpack

Param = bytes | None
Row = tuple[bytes | None, ...]


class Unavailable(Exception):
    """Postgres cannot be reached, or did not answer in time."""

    in_trouble = True


TROUBLE = ("08", "25", "40", "53", "55", "57", "58")
"""Classes of Postgres errors for which no data is to blame: disconnected, read-only, deadlock, full, shut down."""


class StatementFailed(Exception):
    """Postgres refused a statement. `sqlstate` is its five-letter code."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(sqlstate, message)  # as they were given: whoever unpickles it calls it with these
        self.sqlstate = sqlstate

    def __str__(self) -> str:
        return ": ".join(self.args)

    @property
    def in_trouble(self) -> bool:
        """True where it is Postgres that cannot, not the statement that is bad: it is worth another try later."""
        return self.sqlstate.startswith(TROUBLE)


@dataclass(frozen=True, eq=False)
class Statement:
    """A statement to be prepared once a connection. `formats` has 1 for each parameter given in binary, else 0."""

    name: str
    sql: str
    formats: tuple[int, ...]


Outcome = list[Row] | Exception


def text(value: str) -> bytes:
    """A text parameter (format 0). Postgres has no NUL in text: it becomes U+FFFD."""
    if "\x00" in value:
        value = value.replace("\x00", "\ufffd")
    return value.encode("utf-8", "replace")


def int8(value: int) -> bytes:
    """A bigint parameter (format 1)."""
    return _pack_int8(value)


def timestamp(value: datetime) -> bytes:
    """A timestamptz parameter (format 1)."""
    since = value - EPOCH
    return _pack_int8((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def uuid(value: UUID) -> bytes:
    """A uuid parameter (format 1)."""
    return value.bytes


def int8_array(values: Sequence[int]) -> bytes:
    """A bigint[] parameter (format 0)."""
    return f"{{{','.join(map(str, values))}}}".encode()


def as_int(value: bytes | None) -> int:
    """A bigint out of a row."""
    return int(_unpack_int8(value)[0]) if value is not None else 0


def as_moment(value: bytes | None) -> datetime | None:
    """A timestamptz out of a row; None for null."""
    return EPOCH + timedelta(microseconds=as_int(value)) if value is not None else None


class Connection:
    """A connection that is made when first needed, and made anew when it broke. For one thread at a time.

    It is always in libpq's pipeline mode, so that preparing a statement and running it is one round trip.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo.encode()
        self._pgconn: pq.abc.PGconn | None = None
        self._prepared: set[str] = set()

    def run(self, statement: Statement, params: Sequence[Param], deadline: float) -> list[Row]:
        """Run a statement in a transaction of its own; gives its rows, with values in binary.

        `deadline` is a moment of `time.monotonic`. A connection that turns out to be broken is made anew once.
        Raises Unavailable or StatementFailed.
        """
        reused = self._pgconn is not None
        try:
            return self._run(statement, params, deadline)
        except Unavailable:
            self.close()
            if not reused or time.monotonic() >= deadline:
                raise
        try:
            return self._run(statement, params, deadline)
        except Unavailable:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection; the next `run` makes a new one."""
        if self._pgconn is not None:
            self._pgconn.finish()
        self._pgconn = None
        self._prepared.clear()

    def _run(self, statement: Statement, params: Sequence[Param], deadline: float) -> list[Row]:
        pgconn = self._pgconn
        try:
            if pgconn is None:
                pgconn = self._pgconn = _connect(self._conninfo, deadline)
                pgconn.enter_pipeline_mode()
                pgconn.nonblocking = 1
            name = statement.name.encode()
            is_new = statement.name not in self._prepared
            if is_new:
                pgconn.send_prepare(name, statement.sql.encode())
            pgconn.send_query_prepared(name, params, statement.formats, _BINARY)
            pgconn.pipeline_sync()
            while pgconn.flush():
                _wait(pgconn, deadline, writing=True)
            outcomes = _outcomes(pgconn, deadline)
        except psycopg.OperationalError as error:
            raise Unavailable(f"Postgres went away: {error}") from None
        if is_new and outcomes[0] == []:
            self._prepared.add(statement.name)
        for outcome in outcomes:  # of preparing, of running, and where that failed of the commit
            if isinstance(outcome, Exception):
                raise outcome
        rows: list[Row] = outcomes[1 if is_new else 0]  # type: ignore[assignment]
        return rows


class Database:
    """Connections to one database, one for each thread; and a memory, for a moment, of its being away."""

    def __init__(self, conninfo: str, patience: float = 0.0) -> None:
        """`patience` is how many seconds a hook usually has: that one which has much less got no answer does not mean
        that Postgres is away."""
        self._conninfo = conninfo
        self._patience = patience
        self._threads = threading.local()
        self._connections: WeakSet[Connection] = WeakSet()
        self._away_until = 0.0

    def run(self, statement: Statement, params: Sequence[Param], deadline: float) -> list[Row]:
        """As `Connection.run`, on this thread's connection; at once Unavailable where Postgres was so a moment ago."""
        self.expect_an_answer()
        now = time.monotonic()
        if now >= deadline:
            raise Unavailable("There was no time left to ask Postgres.")
        try:
            rows = self._connection().run(statement, params, deadline)
        except Unavailable:
            if deadline - now >= self._patience / 2:
                self._away_until = time.monotonic() + AWAY_FOR
            raise
        self._away_until = 0.0
        return rows

    def expect_an_answer(self) -> None:
        """Raises Unavailable where Postgres was so a moment ago."""
        if self._away_until and time.monotonic() < self._away_until:
            raise Unavailable("Postgres did not answer a moment ago.")

    def close(self) -> None:
        """Let go of the connections of all threads, when none of them uses its own."""
        for connection in list(self._connections):
            connection.close()

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._threads.connection = Connection(self._conninfo)
            self._connections.add(connection)
        return connection


def conninfo_of(settings: dict[str, Any]) -> str:
    """A connection string from an entry of Django's DATABASES; it notices a peer that went silent within seconds."""
    return make_conninfo(
        dbname=settings["NAME"],
        user=settings["USER"] or None,
        password=settings["PASSWORD"] or None,
        host=settings["HOST"] or None,
        port=settings["PORT"] or None,
        **{
            **settings["OPTIONS"],
            "application_name": "wcsgate hooks",
            "connect_timeout": 2,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": 5000,
        },
    )


def _connect(conninfo: bytes, deadline: float) -> pq.abc.PGconn:
    pgconn = pq.PGconn.connect_start(conninfo)
    status: int = pq.PollingStatus.WRITING
    while status != pq.PollingStatus.OK:
        if status == pq.PollingStatus.FAILED or pgconn.status == pq.ConnStatus.BAD:
            message = pgconn.get_error_message()
            pgconn.finish()
            raise Unavailable(f"Postgres cannot be reached: {message}")
        _wait(pgconn, deadline, writing=status == pq.PollingStatus.WRITING)
        status = pgconn.connect_poll()
    return pgconn


def _outcomes(pgconn: pq.abc.PGconn, deadline: float) -> list[Outcome]:
    """What became of everything sent since the last sync."""
    outcomes: list[Outcome] = []
    while True:
        while pgconn.is_busy():
            _wait(pgconn, deadline)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:  # the end of one statement's results
            if pgconn.status == _BAD:
                raise Unavailable("Postgres closed the connection.")
            continue
        if result.status == _PIPELINE_SYNC:
            return outcomes
        outcomes.append(_outcome(result))


def _wait(pgconn: pq.abc.PGconn, deadline: float, *, writing: bool = False) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise Unavailable("Postgres did not answer in time.")
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLOUT if writing else select.POLLIN)
    if not poll.poll(left * 1000):
        raise Unavailable("Postgres did not answer in time.")


_GONE = ("08", "57P", "53300", "26000", "0A000")
"""Beginnings of the codes that mean the server is going away, takes nobody more, or forgot what was prepared (so that
a new connection helps), not that the statement is bad."""


def _outcome(result: pq.abc.PGresult) -> Outcome:
    """Rows, or the error of a statement. Raises Unavailable where it is not the statement's fault."""
    status = result.status
    if status == _TUPLES_OK:
        columns = range(result.nfields)
        return [tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)]
    if status == _COMMAND_OK:
        return []
    if status == _PIPELINE_ABORTED:
        return StatementFailed("25P02", "It could not even be prepared.")
    sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    message = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"no message").decode(errors="replace")
    if not sqlstate or sqlstate.startswith(_GONE):
        raise Unavailable(f"Postgres went away: {message}")
    return StatementFailed(sqlstate, message)
