"""Moving records from the outbox into the audit log: in batches, each in one transaction, so that a killed worker
loses and doubles nothing.

Any number of workers may be at it; one at a time moves, as each batch is a link of a chain (`batches`). A record that
cannot be moved is put aside with what went wrong (`BadRecord`), and keeps nobody else from being moved.
"""

import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone
from psycopg.sql import SQL, Identifier

from apps.access import tried_out
from apps.audit.missing.gaps import note_stored
from apps.audit.models import Effect
from apps.audit.moving.batches import append, may_move, next_number
from apps.audit.moving.folding import fold
from apps.audit.moving.leases import follow
from apps.audit.moving.outbox import Record, count, move, oldest, read
from apps.audit.statistics import tallies
from apps.connections.models import Node
from apps.database.connection import TROUBLE

BATCH = 500

_PUT_ASIDE = """WITH taken AS (DELETE FROM audit_hookrecord r WHERE id = %s RETURNING id, to_jsonb(r) AS record)
    INSERT INTO audit_badrecord (id, record, problem) SELECT id, record, %s FROM taken ON CONFLICT DO NOTHING"""
_ALIKE = """SELECT outbox, array_agg(id), ARRAY(SELECT attname::text FROM pg_attribute
        WHERE attrelid = outbox::regclass AND attnum > 0 AND NOT attisdropped
            AND attname <> 'waits_since' AND record ? attname) AS columns
    FROM audit_badrecord, LATERAL (
        SELECT CASE WHEN record ? 'table_name' THEN 'audit_changerecord' WHEN record ? 'digest' THEN 'audit_auditevent'
            ELSE 'audit_hookrecord' END) AS its (outbox)
    WHERE id = ANY (%s) GROUP BY outbox, columns"""
_TRY_AGAIN = """WITH taken AS (DELETE FROM audit_badrecord WHERE id IN (
        SELECT DISTINCT ON (record ->> 'id') b.id FROM audit_badrecord b WHERE b.id = ANY (%s)
            AND NOT EXISTS (SELECT FROM {outbox} there WHERE there.id = (record ->> 'id')::uuid)
        ORDER BY record ->> 'id', failed_at) RETURNING record)
    INSERT INTO {outbox} ({columns})
    SELECT {columns} FROM taken, jsonb_populate_record(NULL::{outbox}, record) ON CONFLICT DO NOTHING"""
_SLACK = "interval '10 seconds'"  # what was seen so lately is not written again
_TOKENS_USED = f"""UPDATE accounts_token t SET last_used_at = seen.at
    FROM unnest(%s::bigint[], %s::timestamptz[]) AS seen (id, at)
    WHERE t.id = seen.id AND (t.last_used_at IS NULL OR t.last_used_at < seen.at - {_SLACK})"""  # noqa: S608
_NODES_SEEN = f"""UPDATE connections_node n
    SET first_seen_at = coalesce(n.first_seen_at, seen.first_at), last_seen_at = seen.at
    FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS seen (node_id, first_at, at)
    WHERE n.node_id = seen.node_id AND (n.last_seen_at IS NULL OR n.last_seen_at < seen.at - {_SLACK})"""  # noqa: S608

logger = logging.getLogger(__name__)


def move_batch(limit: int = BATCH) -> int:
    """Move up to `limit` of the oldest records into the audit log; gives how many are out of the outbox.

    Gives 0 at once where another mover is at work, or some of the log is aside.
    """
    return by_halves(oldest(limit), _move, _put_aside)


def by_halves(
    ids: Sequence[UUID], together: Callable[[Sequence[UUID]], int], alone: Callable[[UUID, Exception], int]
) -> int:
    """Move these together; where one of them makes that impossible, half by half, until it stands alone: nothing that
    one has in it may keep the others from being recorded. Gives how many are out of their outbox.
    """
    try:
        return together(ids)
    except Exception as error:
        if database_is_in_trouble(error):
            raise
        if len(ids) == 1:
            return alone(ids[0], error)
    half = len(ids) // 2
    return by_halves(ids[:half], together, alone) + by_halves(ids[half:], together, alone)


def _move(ids: Sequence[UUID]) -> int:
    with transaction.atomic():
        return _move_together(ids) if ids and may_move() else 0


def _put_aside(record_id: UUID, error: Exception) -> int:
    """Keep a record as it is, with what went wrong, where staff see it and can try again."""
    kind, code = type(error).__name__, getattr(error.__cause__, "sqlstate", None)
    with connection.cursor() as cursor:
        cursor.execute(_PUT_ASIDE, [record_id, problem_of(error)])
        put_aside = cursor.rowcount
    # Without the error's message: it may quote the record, and bodies are none of a log file's business.
    logger.error("Record %s cannot be moved and is put aside: %s %s", record_id, kind, code or "")
    return put_aside


def problem_of(error: Exception) -> str:
    """What went wrong, as it is kept."""
    said = f"{type(error).__name__}: {error}".replace("\0", "")
    return said.encode("utf-8", "backslashreplace").decode()[:1_000]


def try_again(ids: Sequence[UUID]) -> int:
    """Put records that were put aside back into the outboxes that they came from, and events into the log; gives how
    many. What is there already stays aside.

    They may be from before an upgrade: columns that they do not have, or that the outbox has no longer, are left out.
    """
    put_back = 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ALIKE, [list(ids)])
        for outbox, alike, columns in cursor.fetchall():
            names = SQL(", ").join(map(Identifier, columns))
            cursor.execute(SQL(_TRY_AGAIN).format(outbox=Identifier(outbox), columns=names), [alike])
            put_back += cursor.rowcount
    return put_back


def database_is_in_trouble(error: Exception) -> bool:
    """Whether it failed for a reason that lies in no record, so that all must wait."""
    code = getattr(error.__cause__, "sqlstate", None)
    return code.startswith(TROUBLE) if code else isinstance(error, InterfaceError | OperationalError)


def _move_together(ids: Sequence[UUID]) -> int:
    records = read(ids)
    if not records:
        return 0
    _note_last_use(records)
    follow(records)
    number = next_number()
    folded = fold(records)
    move(records, folded.new, number)
    count(folded.counted)
    tallies.note(folded.new, folded.more)
    tried_out.note(folded.new)
    if folded.new or folded.counted:
        append(number, timezone.now(), folded.new, folded.counted)
    note_stored(record.id for record in records)
    return len(records)


def _note_last_use(records: Sequence[Record]) -> None:
    """Say on tokens and nodes when they were last seen, and put nodes on the list that were not on it.

    A token that was shown and refused, being expired for example, was not used. The triggers know that all this
    changes nobody's access, but have to compare rows for it: what is the same for 10 seconds is left as it is.
    """
    allowed = [record for record in records if record.effect == Effect.ALLOWED]
    used = {record.token_id: record.received_at for record in allowed if record.token_id is not None}
    nodes = {record.node_id: record.received_at for record in records if record.node_id}
    first = {record.node_id: record.received_at for record in reversed(records) if record.node_id}
    with connection.cursor() as cursor:
        if used:
            cursor.execute(_TOKENS_USED, [list(used), list(used.values())])
        if nodes:
            cursor.execute(_NODES_SEEN, [list(nodes), [first[node_id] for node_id in nodes], list(nodes.values())])
    new = nodes.keys() - set(Node.objects.filter(node_id__in=nodes).values_list("node_id", flat=True))
    if new:  # last, as it locks the revision: whoever edits a node has its row first and the revision then
        Node.objects.bulk_create(
            [Node(node_id=id_, first_seen_at=first[id_], last_seen_at=nodes[id_]) for id_ in sorted(new)],
            ignore_conflicts=True,
        )
