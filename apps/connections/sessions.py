"""Finding sessions again, fast: from a bounded memory of this process, else by one indexed query.

A remembered session may be out of date. That is safe: recording a hook checks, in the same statement, that its session
is still the one that was remembered (see apps/audit/recording/recorder.py).
"""

from threading import Lock

from apps.connections.rows import SessionRow
from apps.database.connection import Database, Statement, as_int, as_moment, text
from apps.protocol.messages import HookCall

REMEMBERED = 50_000
"""Sessions a process keeps in memory."""

_FIND = Statement(
    "find_session",
    """SELECT id, opening, app_key, user_id, username, token_id, entered_by, origin, ended_at IS NOT NULL,
              opened_at, granted, hiding::bigint
       FROM connections_session WHERE node_id = $1 AND session_id = $2""",
    (0, 0),
)


class Sessions:
    """The sessions of all clients, by node id and session id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: dict[tuple[str, str], SessionRow] = {}
        self._lock = Lock()

    def of(self, call: HookCall, deadline: float) -> SessionRow | None:
        """The session in which a hook happens; None for what happens in none, or in one that never was."""
        if call.method is None or not call.method.in_session:
            return None
        return self.find(call.node_id, call.session_id, deadline)

    def find(self, node_id: str, session_id: str, deadline: float) -> SessionRow | None:
        """The session, ended or not; None if there never was one. Raises Unavailable."""
        if not node_id or not session_id:
            return None
        session = self._remembered.get((node_id, session_id))
        if session is not None:
            return session
        rows = self._database.run(_FIND, [text(node_id), text(session_id)], deadline)
        if not rows:
            return None
        id_, opening, app_key, user_id, username, token_id, entered_by, origin, ended, *more = rows[0]
        opened_at, granted, hiding = more
        session = SessionRow(
            id=as_int(id_),
            opening=as_int(opening),
            app_key=_str(app_key),
            user_id=as_int(user_id) if user_id is not None else None,
            username=_str(username),
            token_id=as_int(token_id) if token_id is not None else None,
            entered_by=_str(entered_by),
            origin=_str(origin),
            ended=ended == b"\x01",
            opened_at=as_moment(opened_at),
            granted=_str(granted),
            hiding=as_int(hiding),
        )
        if not session.ended:
            self.remember(node_id, session_id, session)
        return session

    def remembered(self, node_id: str, session_id: str) -> SessionRow | None:
        """The session, if it is in memory; it may have ended meanwhile."""
        return self._remembered.get((node_id, session_id))

    def remember(self, node_id: str, session_id: str, session: SessionRow) -> None:
        """Keep a session in memory, forgetting the one kept longest when there are too many."""
        with self._lock:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[node_id, session_id] = session

    def forget(self, node_id: str, session_id: str) -> None:
        """Look it up again next time."""
        with self._lock:
            self._remembered.pop((node_id, session_id), None)


def _str(value: bytes | None) -> str:
    return value.decode() if value is not None else ""
