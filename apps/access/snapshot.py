"""The snapshot of this process: loaded once, then kept fresh by what the change log says.

A thread of its own listens for changes and refreshes. Deciding never waits for it, unless recording an answer found
that the revision had moved on; then it waits until this thread has caught up, at most until the hook's deadline.
"""

import gc
import logging
import os
import select
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple

import psycopg
from django.conf import settings
from django.contrib.auth import hashers
from psycopg.rows import tuple_row

from apps.access.compile import Snapshot
from apps.access.facts import Facts, Identity
from apps.access.guesses import Guesses
from apps.access.identity import identify
from apps.access.issuer_rows import ISSUERS, LINKS, issuer_row, link_row, open_secret
from apps.access.rows import (
    AppRow,
    GroupRow,
    NodeRow,
    RevocationRow,
    SipAccountRow,
    StreamRow,
    TokenRow,
    UserRow,
)
from apps.access.rule_rows import RULES, number_plan, rule_row
from apps.connections.rows import SessionRow
from apps.connections.sessions import Sessions
from apps.database.connection import AWAY_FOR, Unavailable, conninfo_of
from apps.live.rows import CutRow
from apps.protocol.messages import HookCall
from apps.protocol.methods import CONNECT
from apps.protocol.numbers import NumberClassRow

logger = logging.getLogger(__name__)

LOOK_AGAIN = 5.0
"""Seconds after which the revision is looked at even if nothing was heard."""


def session_of(call: HookCall, snapshot: Snapshot, sessions: Sessions, deadline: float) -> SessionRow | None:
    """The session that a hook comes out of; None where it comes out of none.

    A connect comes out of none, unless its id is that of a session which was ordered to end and goes on: no second
    connect puts an end to that order. Raises Unavailable.
    """
    if call.method is None or call.method.kind is not CONNECT:
        return sessions.of(call, deadline)
    if not snapshot.cuts.know_session_of(call):
        return None
    session = sessions.find(call.node_id, call.session_id, deadline)
    return session if session is not None and snapshot.cuts.cut_whole(call, session) else None


def facts_for(
    call: HookCall, snapshot: Snapshot, session: SessionRow | None, app: AppRow | None, now: datetime
) -> Facts:
    """Everything the engine may know about this hook."""
    identity = (
        identify(call, app, session, snapshot, now=now, check_password=partial(check_password, call.client_address))
        if app is not None
        else Identity()
    )
    return Facts(now=now, app=app, identity=identity, snapshot=snapshot, session=session)


class TooManyPasswords(Unavailable):
    """Others' passwords are being checked: nothing is wrong with Postgres, and there is no answer in time."""

    in_trouble = False


PATIENCE_FOR_PASSWORD = 0.4
"""Seconds a hook waits for its password to be checked: one is at a time, so that it leaves room for other hooks."""

_checking_password = threading.Semaphore()
_guesses_of_user = Guesses(limit=10, seconds=300)
_guesses_from_address = Guesses(limit=50, seconds=300)


def check_password(address: str, user: UserRow | None, password: str) -> bool:
    """Whether it is the user's password; for nobody it takes as long, so that logins cannot be guessed by the clock.

    After too many wrong ones from the client's address, for this user or at all, it is not even looked at. Staff have
    no password here: theirs opens the admin, and is not to be tried out through WCS.
    """
    now, of_user = time.monotonic(), (address, user.id if user else None)
    if not (_guesses_of_user.allows(of_user, now) and _guesses_from_address.allows(address, now)):
        return False
    if not _checking_password.acquire(timeout=PATIENCE_FOR_PASSWORD):
        raise TooManyPasswords("Too many passwords are being checked.")
    try:
        right = hashers.check_password(password, user.password if user else "")
    finally:
        _checking_password.release()
    if right:
        return True
    _guesses_of_user.was_wrong(of_user, now)
    _guesses_from_address.was_wrong(address, now)
    return False


class Part(NamedTuple):
    """One part of a snapshot: the query of its rows, and which tables' changes concern it."""

    query: str
    only_changed: str
    build: Callable[[Any], Any]
    tables: tuple[str, ...]


def _tuple(row: Any, cls: Any) -> Any:
    return cls(*(tuple(value) if isinstance(value, list) else value for value in row))


def _app(row: Any) -> AppRow:
    id_, key, guests, token_name, user, passwords, networks, rest_started = row
    basic = tuple(_basic(user, sealed) for sealed in passwords)
    return AppRow(id_, key, guests, token_name, basic, tuple(networks), rest_started)


def _node(row: Any) -> NodeRow:
    id_, node_id, secrets, networks = row
    return NodeRow(id_, node_id, tuple(open_secret(sealed) for sealed in secrets), tuple(networks))


def _basic(user: str, sealed: str) -> bytes:
    password = open_secret(sealed)
    return b"Basic " + b64encode(user.encode() + b":" + password) if password else b""


PARTS = {
    "users": Part(
        """SELECT u.id, u.username, u.is_active,
                  CASE WHEN u.is_staff OR u.is_superuser THEN '' ELSE u.password END,
                  coalesce(array_agg(g.group_id) FILTER (WHERE g.group_id IS NOT NULL), ARRAY[]::integer[]),
                  u.revoked_before
           FROM accounts_user u LEFT JOIN accounts_user_groups g ON g.user_id = u.id {where} GROUP BY u.id""",
        "WHERE u.id = ANY(%(ids)s)",
        lambda row: _tuple(row, UserRow),
        ("accounts_user", "accounts_user_groups"),
    ),
    "groups": Part(
        "SELECT id, name FROM auth_group {where}",
        "WHERE id = ANY(%(ids)s)",
        lambda row: _tuple(row, GroupRow),
        ("auth_group",),
    ),
    "tokens": Part(
        """SELECT id, user_id, token_hash, expires_at, networks, origins, streams, actions, created_at, single_use,
                  CASE WHEN used_at IS NOT NULL THEN ARRAY[used_node_id, used_session_id] END
           FROM accounts_token {where}""",
        "WHERE id = ANY(%(ids)s)",
        lambda row: _tuple(row, TokenRow),
        ("accounts_token",),
    ),
    "issuers": Part(
        ISSUERS,
        "WHERE id = ANY(%(ids)s)",
        issuer_row,
        ("connections_tokenissuer",),
    ),
    "links": Part(
        LINKS,
        "WHERE id = ANY(%(ids)s)",
        link_row,
        ("streams_streamlink",),
    ),
    "revocations": Part(
        "SELECT id, before FROM accounts_revocation {where}",
        "WHERE id = ANY(%(ids)s)",
        lambda row: _tuple(row, RevocationRow),
        ("accounts_revocation",),
    ),
    "apps": Part(
        """SELECT id, key, guests, token_name, hook_user, hook_passwords, networks, rest_started
           FROM connections_app {where}""",
        "WHERE id = ANY(%(ids)s)",
        _app,
        ("connections_app",),
    ),
    "nodes": Part(
        "SELECT id, node_id, secrets, networks FROM connections_node {where}",
        "WHERE id = ANY(%(ids)s)",
        _node,
        ("connections_node",),
    ),
    "sip_accounts": Part(
        """SELECT id, user_id, login, authentication_name, password, domain, outbound_proxy, port,
                  visible_name, register
           FROM connections_sipaccount {where}""",
        "WHERE id = ANY(%(ids)s)",
        lambda row: SipAccountRow(*row),
        ("connections_sipaccount",),
    ),
    "streams": Part(
        """SELECT s.id, s.name, s.source,
                  coalesce(array_agg(g.streamgroup_id) FILTER (WHERE g.streamgroup_id IS NOT NULL), ARRAY[]::bigint[]),
                  s.max_publishers, s.max_viewers
           FROM streams_stream s LEFT JOIN streams_stream_groups g ON g.stream_id = s.id {where} GROUP BY s.id""",
        "WHERE s.id = ANY(%(ids)s)",
        lambda row: _tuple(row, StreamRow),
        ("streams_stream", "streams_stream_groups"),
    ),
    "number_classes": Part(
        "SELECT id, name, prefixes, whole, protected, short FROM access_numberclass {where}",
        "WHERE id = ANY(%(ids)s)",
        lambda row: _tuple(row, NumberClassRow),
        ("access_numberclass",),
    ),
    "cuts": Part(
        """SELECT c.id, c.node_id, c.session_id, c.key, c.opening, l.who, l.runs_out_at
           FROM live_cut c JOIN live_lease l ON l.id = c.lease_id {where}""",
        "WHERE c.id = ANY(%(ids)s)",
        lambda row: _tuple(row, CutRow),
        ("live_cut",),
    ),
    "rules": Part(RULES, "WHERE r.id = ANY(%(ids)s)", rule_row, ("access_rule",)),
}
"""In the order in which they are put into a snapshot."""

_RULES_ABOUT = {
    "streams_stream": "SELECT id FROM access_rule WHERE stream_id = ANY(%s)",
    "access_schedule": "SELECT id FROM access_rule WHERE schedule_id = ANY(%s)",
}
"""Rules whose rows hold something of a row of another table."""


def load(connection: psycopg.Connection[Any]) -> Snapshot:
    """A whole snapshot, of one revision.

    Python's collector of cycles would look at every rule again and again while they come in; it finds none.
    """
    gc.disable()
    try:
        return read(connection)
    finally:
        gc.freeze()
        gc.enable()


def read(connection: psycopg.Connection[Any]) -> Snapshot:
    """A whole snapshot that is soon thrown away again, so nothing is told to Python's collector."""
    with connection.transaction():
        _begin(connection)
        snapshot = Snapshot(plan=number_plan())
        for name, part in PARTS.items():
            with psycopg.ServerCursor(connection, "rows") as rows:  # a million of them at once would take 2 GB
                rows.itersize = 10_000
                rows.execute(part.query.format(where=""))
                getattr(snapshot, name).replace((), map(part.build, rows))
        snapshot.revision = _revision(connection)
    return snapshot


def refresh(snapshot: Snapshot, connection: psycopg.Connection[Any]) -> Snapshot:
    """The snapshot at the database's revision: the same one, changed in place, or a new one where that cannot be."""
    with connection.transaction():
        _begin(connection)
        revision = _revision(connection)
        if revision == snapshot.revision:
            return snapshot
        changes = connection.execute(
            "SELECT revision, table_name, row_id FROM access_change WHERE revision > %s ORDER BY revision",
            [snapshot.revision],
        ).fetchall()
        whole_story = 0 < revision - snapshot.revision == len({number for number, _, _ in changes})
        if whole_story and all(row_id is not None for _, _, row_id in changes):
            read_again(snapshot, connection, [(table, row_id) for _, table, row_id in changes])
            snapshot.revision = revision
            return snapshot
    return load(connection)


def read_again(snapshot: Snapshot, connection: psycopg.Connection[Any], changes: Sequence[tuple[str, int]]) -> None:
    """Read what these changed rows, by table and id, make up; each is noted by the id that the triggers note."""
    for name, part in PARTS.items():
        if ids := _ids(connection, name, changes):
            rows = connection.execute(part.query.format(where=part.only_changed), {"ids": ids})
            built = list(map(part.build, rows))
            getattr(snapshot, name).replace(ids, built)


def _ids(connection: psycopg.Connection[Any], name: str, changes: Sequence[tuple[str, int]]) -> list[int]:
    """Ids of the rows of one part to read again. A stream's new name concerns the rules about it, and so on."""
    ids = {row_id for table, row_id in changes if table in PARTS[name].tables}
    for table, rules_about in _RULES_ABOUT.items() if name == "rules" else ():
        if changed := [row_id for changed_table, row_id in changes if changed_table == table]:
            ids |= {rule_id for (rule_id,) in connection.execute(rules_about, [changed])}
    return sorted(ids)


def _begin(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _revision(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT revision FROM access_revision").fetchone()
    return int(row[0]) if row else 0


class SnapshotKeeper:
    """Holds this process's snapshot and keeps it fresh, in a thread that starts when first needed."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._snapshot: Snapshot | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        self._stopped = False
        self._failed_at = -AWAY_FOR

    def current(self, deadline: float) -> Snapshot:
        """The snapshot as it is. Raises Unavailable where none could be loaded until the deadline."""
        return self._snapshot or self._wait(lambda: self._snapshot is not None, deadline)

    @property
    def in_memory(self) -> Snapshot | None:
        """The snapshot as it is, without waiting; None where none is loaded."""
        return self._snapshot

    def other_than(self, revision: int, deadline: float) -> Snapshot:
        """The snapshot once it has moved on from a revision. Raises Unavailable if that takes too long."""
        return self._wait(lambda: self._snapshot is not None and self._snapshot.revision != revision, deadline)

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _wait(self, is_good: Callable[[], bool], deadline: float) -> Snapshot:
        self._start()
        self._wake()
        if self._snapshot is None and time.monotonic() < self._failed_at + AWAY_FOR:
            raise Unavailable("The rules could not be read a moment ago.")
        with self._changed:
            if not self._changed.wait_for(is_good, timeout=max(0.0, deadline - time.monotonic())):
                raise Unavailable("The rules could not be read in time.")
        assert self._snapshot is not None  # noqa: S101 - is_good has seen to it; this is for the type checker
        return self._snapshot

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # so many have called that it will wake up all the same
            os.write(self._wake_writer, b"x")

    def _start(self) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_fresh, name="snapshot", daemon=True)
                self._thread.start()

    def _keep_fresh(self) -> None:
        while not self._stopped:
            try:
                with psycopg.connect(self._conninfo, autocommit=True, row_factory=tuple_row) as connection:
                    connection.execute("LISTEN wcsgate_access")
                    while not self._stopped:
                        self._refresh(connection)
                        self._sleep(connection)
            except psycopg.OperationalError as error:
                self._failed_at = time.monotonic()
                logger.warning("The rules cannot be read: %s", str(error).partition("\n")[0])
                time.sleep(0.3)
            except Exception:  # it must go on trying, with nothing half changed: meanwhile hooks are refused
                self._snapshot = None
                self._failed_at = time.monotonic()
                logger.exception("The rules cannot be read")
                time.sleep(1)

    def _refresh(self, connection: psycopg.Connection[Any]) -> None:
        snapshot = refresh(self._snapshot, connection) if self._snapshot else load(connection)
        with self._changed:
            self._snapshot = snapshot
            self._changed.notify_all()

    def _sleep(self, connection: psycopg.Connection[Any]) -> None:
        """Until something changes, somebody asks, or a while has passed."""
        if list(connection.notifies(timeout=0)):
            return  # they came along with the answer to a query: the socket will not tell of them again
        ready, _, _ = select.select([connection.fileno(), self._wake_reader], [], [], LOOK_AGAIN)
        if self._wake_reader in ready:
            os.read(self._wake_reader, 4096)
        if connection.fileno() in ready:
            list(connection.notifies(timeout=0))


@lru_cache(maxsize=1)
def snapshot_keeper() -> SnapshotKeeper:
    """The keeper of this process, made at first use."""
    return SnapshotKeeper(conninfo_of(settings.DATABASES["default"]))
