"""What leaves the outbox: records as plain values, and the events they become.

Rows of models would cost more than all else there is to do about a record. Members are called as the models' are, so
whoever only reads takes either.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db import connection

from apps.audit.ids import moment_of
from apps.audit.locks import AdvisoryLock

COPIED = (
    *("id", "received_at", "method", "node_id", "app_key", "session_id", "media_session_id", "call_id", "status"),
    *("action", "target", "client_address", "username", "effect", "reason", "rule_ids", "logged_rule_ids", "told"),
    *("revision", "body", "user_id"),
)
"""Columns that an event has of its record, and which nothing is done to; in the order of the fields below."""

_ADDED = (
    *("id", "while_away", "stream_id", "node_name", "rules", "number", "repeats", "last_received_at", "repeat_ids"),
    *("duration", "digest"),
)
_COUNTED = ("id", "while_away", "repeats", "last_received_at", "repeat_ids")
_BODY_SHA256 = "sha256(body) AS body_sha256"

WAITING = """(SELECT count(*) AS hooks, min(waits_since) AS hooks_since
        FROM (SELECT waits_since FROM audit_hookrecord LIMIT 100000) AS first_ones) AS hooks_waiting,
    (SELECT count(*) AS changes, min(changed_at) AS changes_since
        FROM (SELECT changed_at FROM audit_changerecord LIMIT 100000) AS first_ones) AS changes_waiting"""
"""How much waits to be moved, and since when it has been waiting: a row with `hooks`, `hooks_since`, `changes`,
`changes_since`, to be selected from."""

_FIRST = """SELECT least((SELECT id FROM audit_hookrecord ORDER BY id LIMIT 1),
    (SELECT id FROM audit_changerecord ORDER BY id LIMIT 1))"""

_OLDEST = """SELECT id FROM audit_hookrecord WHERE (SELECT pg_try_advisory_xact_lock(%s))
    ORDER BY id LIMIT %s"""  # ids sort by time
_READ = f"""SELECT {", ".join(COPIED)}, token_id, while_away FROM audit_hookrecord WHERE id = ANY (%s)
    ORDER BY received_at, id"""  # noqa: S608 - columns of our own
_MOVE = f"""WITH taken AS (DELETE FROM audit_hookrecord WHERE id = ANY (%(all)s) RETURNING *),
    added AS (SELECT * FROM json_to_recordset(%(added)s) AS _ (id uuid, while_away boolean, stream_id bigint,
        node_name text, rules text[], number text, repeats int, last_received_at timestamptz, repeat_ids uuid[],
        duration text, digest text))
    INSERT INTO audit_auditevent ({", ".join(COPIED)}, while_away, stream_id, node_name, rules, number, repeats,
        last_received_at, repeat_ids, duration, digest, batch)
    SELECT {", ".join(f"taken.{name}" for name in COPIED)}, added.while_away, stream_id, node_name, rules, number,
        repeats, last_received_at, repeat_ids, duration::interval, decode(digest, 'base64'), %(batch)s
    FROM taken JOIN added USING (id)"""  # noqa: S608 - columns of our own
_COUNT = """UPDATE audit_auditevent e SET repeats = c.repeats, repeat_ids = c.repeat_ids,
        last_received_at = c.last_received_at, while_away = c.while_away
    FROM json_to_recordset(%s) AS c (id uuid, while_away boolean, repeats int, last_received_at timestamptz,
        repeat_ids uuid[])
    WHERE e.id = c.id AND e.id BETWEEN %s AND %s"""  # said once more for the partitions


class Record(msgspec.Struct):
    """A `HookRecord`, as it was read."""

    id: UUID
    received_at: datetime
    method: str
    node_id: str
    app_key: str
    session_id: str
    media_session_id: str
    call_id: str
    status: str
    action: str
    target: str
    client_address: str | None
    username: str
    effect: str
    reason: str
    rule_ids: list[int]
    logged_rule_ids: list[int]
    told: str
    revision: int
    body: bytes
    user_id: int | None
    token_id: int | None
    while_away: bool


class NewEvent(Record, kw_only=True):
    """The `AuditEvent` that a record becomes."""

    stream_id: int | None
    node_name: str
    rules: list[str]
    number: str
    duration: timedelta | None
    last_received_at: datetime
    digest: bytes
    repeats: int = 0
    repeat_ids: list[UUID] = []


class KnownEvent(msgspec.Struct):
    """An `AuditEvent` of before: what counting needs, and what tells which hook it is of. Of its body no more than the
    SHA-256, as bodies may be large.
    """

    id: UUID
    digest: bytes
    received_at: datetime
    last_received_at: datetime
    repeats: int
    repeat_ids: list[UUID]
    while_away: bool
    method: str
    node_id: str
    app_key: str
    session_id: str
    media_session_id: str
    call_id: str
    status: str
    effect: str
    reason: str
    username: str
    body_sha256: bytes


class Vanished(Exception):
    """What was read is no longer in the outbox: somebody else has taken it."""


def waiting_since() -> dict[str, datetime]:
    """Since when hooks, and changes by staff, have been waiting to be moved; without those of which nothing waits."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT hooks_since, changes_since FROM {WAITING}")  # noqa: S608 - our own
        hooks, changes = cursor.fetchone()
    return {what: since for what, since in (("hooks", hooks), ("changes by staff", changes)) if since is not None}


def all_moved_before() -> datetime | None:
    """A moment before which nothing came that waits to be moved; None where nothing waits at all."""
    with connection.cursor() as cursor:
        cursor.execute(_FIRST)
        (first,) = cursor.fetchone()
    return first and moment_of(first)


def oldest(limit: int) -> list[UUID]:
    """The ids of up to so many records, the oldest first; none where another mover is at work, so that nobody reads
    them in vain."""
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST, [AdvisoryLock.BATCHES, limit])
        return [id_ for (id_,) in cursor]


def read(ids: Sequence[UUID]) -> list[Record]:
    """These records, in the order in which the hooks came."""
    with connection.cursor() as cursor:
        cursor.execute(_READ, [list(ids)])
        return [Record(*row) for row in cursor]


def known_events(condition: str, values: Sequence[object]) -> list[KnownEvent]:
    """Events of the audit log for which a condition in SQL is true, those that came first before others."""
    columns = ", ".join([*KnownEvent.__struct_fields__[:-1], _BODY_SHA256])
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM audit_auditevent WHERE {condition} ORDER BY received_at",  # noqa: S608 - our own
            values,
        )
        return [KnownEvent(*row) for row in cursor]


def move(records: Sequence[Record], new: Sequence[NewEvent], batch: int) -> None:
    """Take all these records out of the outbox, and put those that become events into the audit log.

    What is copied never leaves the database; it is as it was read, as nobody changes a row of the outbox. Raises
    Vanished where there is not an event for each of `new`.
    """
    values = {"all": [record.id for record in records], "added": _rows(new, _ADDED), "batch": batch}
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, values)
        if cursor.rowcount != len(new):
            raise Vanished(f"{cursor.rowcount} of {len(new)} records were there.")


def count(events: Iterable[KnownEvent]) -> None:
    """Write what counting has changed of these."""
    events = list(events)
    if events:
        ids = [event.id for event in events]
        with connection.cursor() as cursor:
            cursor.execute(_COUNT, [_rows(events, _COUNTED), min(ids), max(ids)])


def _rows(events: Iterable[msgspec.Struct], members: Sequence[str]) -> str:
    """As JSON, from which Postgres makes rows: cheaper than a parameter for each value."""
    rows = [{name: _value(getattr(event, name)) for name in members} for event in events]
    return msgspec.json.encode(rows).decode()


def _value(value: object) -> object:
    """Postgres reads all that JSON makes of these, but of ISO 8601 no duration that is negative."""
    if isinstance(value, timedelta):
        return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"
    return value
