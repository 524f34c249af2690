"""Records that are written late: of hooks that were answered while Postgres was away.

What was decided then stands, whatever has changed meanwhile; so the statements are those of the recorder, without its
look at the revision. They may be run twice, and for a record that had been written after all. What ends a session or
what runs in it ends only what was there when the hook came, not what has begun under the same id since.
"""

from uuid import UUID
from zlib import crc32

import msgspec

from apps.access.facts import Decision, Facts
from apps.audit.recording.recorder import (
    COLUMNS,
    ENDED,
    ENDING,
    PLAIN,
    STARTED,
    VALUES,
    statement_for,
    values_of,
    whose,
)
from apps.connections.rows import SessionRow
from apps.database.connection import Param, Statement
from apps.protocol.messages import HookCall

_OF_SESSION = """(SELECT s.{column} FROM connections_session s
    WHERE s.node_id = $4 AND s.session_id = $6 AND s.app_key = $5 AND s.opened_at <= $2)"""
_VALUES = (
    VALUES.replace("$13,", f"coalesce(nullif($13, ''), {_OF_SESSION.format(column='username')}, ''),")
    .replace("$19::bigint", f"coalesce($19::bigint, {_OF_SESSION.format(column='user_id')})")
    .replace("r.revision", "$22::bigint")
)
"""With the user of the session, where this process did not have it in memory."""

_LATE = f"""INSERT INTO audit_hookrecord ({COLUMNS}, while_away) SELECT {_VALUES}, true
    ON CONFLICT (id) DO UPDATE SET while_away = true RETURNING revision"""


def _late(statement: Statement) -> Statement:
    still = "AND ended_at IS NULL"
    sql = statement.sql.replace(PLAIN.sql, _LATE).replace(still, f"{still} AND opened_at <= $2")
    return Statement(f"late_{statement.name}", sql, statement.formats)


LATE = {plain.name: _late(plain) for plain in (PLAIN, ENDING, STARTED[PLAIN], ENDED[PLAIN])}
FORM = crc32(" ".join(COLUMNS.split()).encode())
"""Changes when what a record consists of does: then entries of before cannot be read any more."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record to be written late: which statement writes it, and its values."""

    statement: str
    values: tuple[bytes | None, ...]
    form: int = FORM


def entry_for(
    record_id: UUID, call: HookCall, body: bytes, facts: Facts, decision: Decision, session: SessionRow | None
) -> Entry:
    """The record of a hook that opens nothing and that no limit counts."""
    username, user_id = whose(call, facts.identity, session)
    values = values_of(record_id, call, body, facts, decision, username, user_id, facts.snapshot.revision)
    statement, more = statement_for(call, decision, facts, None, admitted=False)
    return Entry(statement.name, (*values, *more))


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def decoded(payload: bytes | None) -> tuple[Statement, tuple[Param, ...]] | None:
    """What writes an entry, and its values; None where this version cannot read it."""
    try:
        entry = _decode(payload or b"")
    except msgspec.DecodeError:
        return None
    statement = LATE.get(entry.statement)
    return (statement, entry.values) if statement is not None and entry.form == FORM else None
