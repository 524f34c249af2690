"""The one writer of records. Writing a record is also the check that what was decided on is still true.

`commit` inserts the record only if the revision, and the session where there is one, are still those that were decided
on. So an answer is never older than the last committed change, it is durable before WCS sees it, and an ordinary hook
costs one round trip. Statements that open or end a session do so in the same statement.
"""

import os
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import msgspec

from apps.access.facts import Decision, Facts, Identity
from apps.access.networks import parse_address
from apps.access.other_ways_in import granted
from apps.access.rows import TokenRow
from apps.audit.recording import admission
from apps.audit.recording.token_uses import uses_token, using_token
from apps.connections.rows import SessionRow
from apps.connections.sessions import Sessions
from apps.database.connection import (
    Database,
    Param,
    Statement,
    StatementFailed,
    as_int,
    int8,
    int8_array,
    text,
    timestamp,
    uuid,
)
from apps.live.told import key_told_of, told_of
from apps.protocol.messages import HookCall
from apps.protocol.methods import CONNECT, Method
from apps.protocol.screening import screen, screen_text

MAX_TEXT = 600
"""Characters of a text column; what is longer is in the body, whole."""

COLUMNS = """id, received_at, method, node_id, app_key, session_id, media_session_id, call_id, status, action, target,
    client_address, username, effect, reason, rule_ids, logged_rule_ids, body, user_id, token_id, told, revision"""
VALUES = """$1::uuid, $2::timestamptz, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::inet, $13, $14, $15, $16::bigint[],
    $17::bigint[], $18::bytea, $19::bigint, $20::bigint, $21, r.revision"""
FORMATS = (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1)
_INSERT = f"INSERT INTO audit_hookrecord ({COLUMNS}) SELECT {VALUES} FROM access_revision r"  # noqa: S608

PLAIN = Statement("record", f"{_INSERT} WHERE r.revision = $22::bigint RETURNING revision", FORMATS)
_IN_SESSION = Statement(
    "record_in_session",
    f"""{_INSERT}, connections_session s
        WHERE r.revision = $22::bigint AND s.id = $23::bigint AND s.opening = $24::bigint AND s.ended_at IS NULL
        RETURNING revision""",
    (*FORMATS, 1, 1),
)


def _opening(values: tuple[str, str, str, str], record: str) -> str:
    """What opens a session where there is a record; the names are those of the values that `statement_for` adds."""
    entered_by, origin, hiding, grant = values
    return f"""INSERT INTO connections_session AS s (node_id, session_id, opening, app_key, user_id, username, token_id,
            entered_by, client_address, origin, hiding, opened_at, ended_at, end_reason, granted)
        SELECT $4, $6, 1, $5, $19, $13, $20, {entered_by}, $12::inet, {origin}, {hiding}::smallint, $2, NULL, '',
            {grant} FROM {record}
        ON CONFLICT (node_id, session_id) DO UPDATE SET opening = s.opening + 1, app_key = excluded.app_key,
            user_id = excluded.user_id, username = excluded.username, token_id = excluded.token_id,
            entered_by = excluded.entered_by, client_address = excluded.client_address, origin = excluded.origin,
            hiding = excluded.hiding, opened_at = excluded.opened_at, ended_at = NULL, end_reason = '',
            granted = excluded.granted
        RETURNING id, opening"""  # noqa: S608 - constants


_OPENING = Statement(
    "record_opening_session",
    f"""WITH record AS ({_INSERT} WHERE r.revision = $22::bigint RETURNING revision)
        {_opening(("$23", "$24", "$25", "$26"), "record")}""",
    (*FORMATS, 0, 0, 0, 0),
)
_ENDED = """ended_at = greatest($2, opened_at), end_reason = REASON,
    started_at = CASE WHEN started_at <= greatest($2, opened_at) THEN started_at END"""
ENDING = Statement(
    "record_ending_session",
    f"""WITH record AS ({_INSERT} WHERE r.revision = $22::bigint RETURNING revision),
        ended AS (UPDATE connections_session SET ended_at = $2, end_reason = $23
            WHERE node_id = $4 AND session_id = $6 AND app_key = $5 AND ended_at IS NULL
                AND EXISTS (SELECT FROM record)),
        all_in_it AS (UPDATE live_lease SET {_ENDED.replace("REASON", "$23")}
            WHERE node_id = $4 AND session_id = $6 AND app_key = $5 AND ended_at IS NULL
                AND EXISTS (SELECT FROM record))
        SELECT revision FROM record""",  # noqa: S608 - constants
    (*FORMATS, 0),
)


def _changing(plain: Statement, name: str, change: str, *values: str) -> Statement:
    """The statement, made to change as well what the event tells of: two values more, its key and all that it may be
    (apps/live/told.py), then these."""
    first = len(plain.formats) + 1
    for number, value in enumerate(values, start=first + 2):
        change = change.replace(value, f"${number}")
    sql = f"""WITH record AS ({plain.sql}),
        changed AS (UPDATE live_lease SET {change}
            WHERE session_id = $6 AND key = ${first} AND node_id = $4 AND app_key = $5 AND ended_at IS NULL
                AND ${first + 1}::jsonb -> action ?| ARRAY['', target, thing, dialled] AND EXISTS (SELECT FROM record))
        SELECT revision FROM record"""  # noqa: S608 - constants
    return Statement(f"{plain.name}_{name}", sql, (*plain.formats, *[0] * (2 + len(values))))


STARTED = {
    plain: _changing(plain, "of_start", "started_at = coalesce(started_at, greatest($2, opened_at))")
    for plain in (PLAIN, _IN_SESSION)
}
ENDED = {plain: _changing(plain, "of_end", _ENDED, "REASON") for plain in (PLAIN, _IN_SESSION)}
_AS_ADMITTED = VALUES.replace("$14, $15, $16::bigint[]", "a.effect, a.reason, a.rule_ids").replace(
    "$21, r.revision", "CASE a.effect WHEN 'allow' THEN $21 ELSE '' END, $22"
)
_ADMITTED = f"""INSERT INTO audit_hookrecord ({COLUMNS}) SELECT {_AS_ADMITTED} FROM {admission.ADMIT}
    RETURNING effect, reason, rule_ids"""  # noqa: S608 - constants
_ADMITTING = Statement(
    "record_admitting",
    f"WITH record AS ({_ADMITTED}) SELECT effect, reason, rule_ids::text FROM record",  # noqa: S608 - constants
    (*FORMATS, *admission.FORMATS),
)
_ADMITTING_SESSION = Statement(
    "record_admitting_session",
    f"""WITH record AS ({_ADMITTED}),
        opened AS ({_opening(("$35", "$36", "$37", "$38"), "record WHERE effect = 'allow'")})
        SELECT effect, reason, rule_ids::text, id, opening FROM record LEFT JOIN opened ON true""",  # noqa: S608
    (*FORMATS, *admission.FORMATS, 0, 0, 0, 0),
)
_RECORDED = Statement(
    "recorded",
    """SELECT effect, reason, rule_ids::text FROM audit_hookrecord WHERE id = $1
       UNION ALL SELECT effect, reason, rule_ids::text FROM audit_auditevent WHERE id = $1""",
    (1,),
)
_USING_TOKEN = {statement: using_token(statement) for statement in (PLAIN, _IN_SESSION, _OPENING)}
_TOKEN_USE = Statement(
    "token_use", "SELECT used_node_id, used_session_id FROM accounts_token WHERE id = $1 AND used_at IS NOT NULL", (1,)
)
_REVISION = Statement("revision", "SELECT revision FROM access_revision", ())


_VERSION_BITS, _VERSION_7 = 0xF000_C000_0000_0000_0000, 0x7000_8000_0000_0000_0000


def new_id(now: datetime) -> UUID:
    """An id for a record: a UUID of version 7, so that ids made later sort later."""
    random = int.from_bytes(os.urandom(10), "big") & ~_VERSION_BITS | _VERSION_7
    return UUID(int=int(now.timestamp() * 1000) << 80 | random)


class Recorder:
    """Writes records, and with them what hooks do to sessions."""

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions

    def commit(
        self,
        record_id: UUID,
        call: HookCall,
        body: bytes,
        facts: Facts,
        decision: Decision,
        session: SessionRow | None,
        *,
        revision: int,
        deadline: float,
    ) -> Decision | None:
        """Record a hook with its decision, durably; gives the decision as it then stands, limits having been counted.
        None if what was decided on is no longer true; then nothing is recorded, and the session is looked up again
        next time.

        `deadline` is a moment of `time.monotonic`. Raises Unavailable or StatementFailed.
        """
        username, user_id = whose(call, facts.identity, session)
        params = values_of(record_id, call, body, facts, decision, username, user_id, revision)
        admitted, uses = admission.is_admitted(call, decision), uses_token(facts, decision)
        if admitted:
            params += admission.admission(record_id, call, facts, decision, session, username, uses_token=uses)
        plain, more = statement_for(call, decision, facts, session, admitted=admitted)
        statement = _USING_TOKEN[plain] if uses and not admitted else plain
        try:
            rows = self._database.run(statement, params + more, deadline)
        except StatementFailed as error:
            if error.sqlstate != "23505":
                raise
            # The record is there already: a connection broke after it was written, and we came again.
            rows = self._database.run(_RECORDED, params[:1], deadline) if admitted else [()]
        if not rows or plain in (_OPENING, _ADMITTING_SESSION, ENDING):
            self._sessions.forget(call.node_id, call.session_id)
        if not rows:
            return None
        opened = rows[0][3:] if admitted else rows[0]
        if opened and opened[0] and plain in (_OPENING, _ADMITTING_SESSION):
            self._sessions.remember(call.node_id, call.session_id, _opened(call, facts, decision, opened))
        return admission.verdict(decision, rows[0]) if admitted else decision

    def expect_an_answer(self) -> None:
        """Raises Unavailable where Postgres was away a moment ago, so that nothing is sent."""
        self._database.expect_an_answer()

    def use_of(self, token: TokenRow, deadline: float) -> tuple[str, str] | None:
        """The node id and session id that used a token for single use; None while nobody has."""
        rows = self._database.run(_TOKEN_USE, [int8(token.id)], deadline)
        return ((rows[0][0] or b"").decode(), (rows[0][1] or b"").decode()) if rows else None

    def revision(self, deadline: float) -> int:
        """The database's revision now."""
        rows = self._database.run(_REVISION, [], deadline)
        return as_int(rows[0][0]) if rows else 0


def values_of(
    record_id: UUID,
    call: HookCall,
    body: bytes,
    facts: Facts,
    decision: Decision,
    username: str,
    user_id: int | None,
    revision: int,
) -> list[Param]:
    """The values of VALUES, as Postgres takes them: without secrets, cut to size."""
    token = facts.identity.token
    return [
        uuid(record_id),
        timestamp(facts.now),
        text(call.wire_name[:MAX_TEXT]),
        text(call.node_id),
        text(call.app_key),
        text(call.session_id),
        text(call.media_session_id),
        text(call.call_id),
        text(screen_text(call.status)[:MAX_TEXT]),
        text(call.action),
        text(screen_text(call.target)[:MAX_TEXT]),
        _inet(call.client_address),
        text(username),
        b"allow" if decision.allowed else b"deny",
        text(decision.reason),
        int8_array(decision.rule_ids),
        int8_array(decision.logged_rule_ids),
        screen(body, facts.app.token_name if facts.app else "token", call.wire),
        int8(user_id) if user_id is not None else None,
        int8(token.id) if token else None,
        text(screen_text(decision.told)[:MAX_TEXT]) if decision.changes or decision.account else b"",
        int8(revision),
    ]


def whose(call: HookCall, identity: Identity, session: SessionRow | None) -> tuple[str, int | None]:
    """Name and id of the user that a hook is put down to."""
    if identity.user is not None:
        return identity.user.username, identity.user.id or None
    if session is not None and session.app_key == call.app_key:
        return session.username, session.user_id
    return "", None


def statement_for(
    call: HookCall, decision: Decision, facts: Facts, session: SessionRow | None, *, admitted: bool
) -> tuple[Statement, list[Param]]:
    """The statement that records this hook, and its values beyond those of VALUES and of its admission."""
    method = call.method
    if method is not None and method.kind is CONNECT and decision.allowed:
        entered_by, origin = facts.identity.entered_by or "rest", screen_text(call.origin)[:255]
        hiding = text(str(int(decision.hiding)))
        more: list[Param] = [text(entered_by), text(origin), hiding, text(granted(facts.identity))]
        return _ADMITTING_SESSION if admitted else _OPENING, more
    if admitted:
        return _ADMITTING, []
    end_reason = text(screen_text(f"{call.status} {call.info}".strip())[:255]) if method and call.status else b""
    if method is not None and call.status in method.ends_session:
        return ENDING, [end_reason]
    plain, in_session = PLAIN, list[Param]()
    if session is not None and not session.ended:
        plain, in_session = _IN_SESSION, [int8(session.id), int8(session.opening)]
    if method is not None and method.is_end(call.status, call.info):
        return ENDED[plain], [*in_session, *_what_it_tells_of(call, method, facts), end_reason]
    if method is not None and call.status in method.starts:
        return STARTED[plain], [*in_session, *_what_it_tells_of(call, method, facts)]
    return plain, in_session


def _what_it_tells_of(call: HookCall, method: Method, facts: Facts) -> list[Param]:
    key = key_told_of(method, call.media_session_id, call.call_id, call.session_id)
    return [text(key), msgspec.json.encode(told_of(method, call.wire, facts.snapshot.plan))]


def _opened(call: HookCall, facts: Facts, decision: Decision, row: tuple[bytes | None, ...]) -> SessionRow:
    identity = facts.identity
    user = identity.user
    return SessionRow(
        id=as_int(row[0]),
        opening=as_int(row[1]),
        app_key=call.app_key,
        user_id=user.id or None if user else None,
        username=user.username if user else "",
        token_id=identity.token.id if identity.token else None,
        entered_by=identity.entered_by or "rest",
        origin=call.origin[:255],
        opened_at=facts.now,
        granted=granted(identity),
        hiding=decision.hiding,
    )


@lru_cache(maxsize=4096)
def _inet(address: str) -> Param:
    parsed = parse_address(address)
    return str(parsed).encode() if parsed is not None else None
