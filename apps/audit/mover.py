"""Moving records from the outbox into the audit log: in batches, each in one transaction, so that a killed worker
loses and doubles nothing.

The same hook may come several times, since WCS repeats what failed while being sent. Within a window of time such
repeats become one event with a count.

A record that cannot be moved stays in the outbox, is logged by its id, and keeps nobody else from being moved.
"""

import hashlib
import logging
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from apps.access import tried_out
from apps.access.models import Rule
from apps.access.rule_rows import number_plan
from apps.audit.leases import follow
from apps.audit.models import AuditEvent, Effect, HookFields, HookRecord, received
from apps.connections.models import Node
from apps.database.connection import TROUBLE
from apps.protocol.methods import NUMBER_ACTIONS, find
from apps.protocol.numbers import canonical

BATCH = 500
PAUSE = 60.0
"""Seconds for which a record that could not be moved is left alone."""

LONGEST = timedelta(days=1)
"""For how long an event counts repeats. What keeps coming becomes a new event then, and no old partition is asked."""

NUMBER_MEMBERS = (("callee",), ("caller",), ("to",), ("from",), ("target",))
"""Members of events that hold a number."""

_ONE_MOVER = 0x5743_5347  # the advisory lock that only one mover at a time holds
_COPIED = [field.name for field in HookFields._meta.get_fields()]

_FOLDED = ("digest", "received_at", "last_received_at", "repeats", "while_away")
_SLACK = "interval '10 seconds'"  # what was seen so lately is not written again
_TOKENS_USED = f"""UPDATE accounts_token t SET last_used_at = seen.at
    FROM unnest(%s::bigint[], %s::timestamptz[]) AS seen (id, at)
    WHERE t.id = seen.id AND (t.last_used_at IS NULL OR t.last_used_at < seen.at - {_SLACK})"""  # noqa: S608
_NODES_SEEN = f"""UPDATE connections_node n
    SET first_seen_at = coalesce(n.first_seen_at, seen.first_at), last_seen_at = seen.at
    FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS seen (node_id, first_at, at)
    WHERE n.node_id = seen.node_id AND (n.last_seen_at IS NULL OR n.last_seen_at < seen.at - {_SLACK})"""  # noqa: S608

logger = logging.getLogger(__name__)
_left_alone: dict[UUID, float] = {}  # until when; a worker that starts anew simply tries them again


def move_batch(limit: int = BATCH, *, pause: float = PAUSE) -> int:
    """Move up to `limit` of the oldest records, adding the rules' sentences; gives how many were moved.

    Gives 0 at once where another mover is at work. What cannot be moved is tried again after `pause` seconds.
    """
    now = time.monotonic()
    for record_id in [record_id for record_id, until in _left_alone.items() if until <= now]:
        del _left_alone[record_id]
    waiting = HookRecord.objects.exclude(id__in=list(_left_alone)).order_by("id")  # ids sort by time
    return _move(list(waiting.values_list("id", flat=True)[:limit]), pause)


def _move(ids: Sequence[UUID], pause: float) -> int:
    """Move these together; where one of them makes that impossible, half by half, until it stands alone."""
    try:
        with transaction.atomic():
            return _move_together(ids) if ids and _alone() else 0
    except Exception as error:
        if _database_is_in_trouble(error):
            raise
        if len(ids) == 1:
            _left_alone[ids[0]] = time.monotonic() + pause
            # Without the error's message: it may quote the record, and bodies are none of a log file's business.
            kind, code = type(error).__name__, getattr(error.__cause__, "sqlstate", None)
            logger.error("Record %s cannot be moved and stays in the outbox: %s %s", ids[0], kind, code or "")
            return 0
    half = len(ids) // 2
    return _move(ids[:half], pause) + _move(ids[half:], pause)


def _database_is_in_trouble(error: Exception) -> bool:
    """Whether it failed for a reason that lies in no record, so that all must wait."""
    code = getattr(error.__cause__, "sqlstate", None)
    return code.startswith(TROUBLE) if code else isinstance(error, InterfaceError | OperationalError)


def _move_together(ids: Sequence[UUID]) -> int:
    records = sorted(HookRecord.objects.filter(id__in=ids), key=lambda record: (record.received_at, record.id))
    if records:
        _note_last_use(records)
        _fold(records)
        HookRecord.objects.filter(id__in=[record.id for record in records]).delete()
        follow(records)  # last, so that what it locks does not wait for the rest
    return len(records)


def digest(record: HookRecord) -> bytes:
    """What makes two hooks the same: where it came from, who it was, what it said and how it was answered.

    The body alone does not tell people apart: their credentials were left out of it.
    """
    parts = (
        record.method.lower(),
        record.node_id,
        record.app_key,
        record.session_id,
        record.media_session_id,
        record.call_id,
        record.status,
        record.effect,
        record.reason,
        record.username,
        record.told,
        str((record.user_id, record.rule_ids, record.logged_rule_ids)),
    )
    return hashlib.blake2b(b"\x00".join(part.encode() for part in parts) + bytes(record.body), digest_size=16).digest()


def _alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_ONE_MOVER])
        return bool(cursor.fetchone()[0])


def _fold(records: Sequence[HookRecord]) -> None:
    """Write new events, and count repeats on the events they repeat.

    A record may come back after it was moved: where the connection broke before the hook path heard that it was
    committed, the recorder writes it again under the same id and time. An event with its id says so. A repeat has left
    no id, only the time of the latest one; no two hooks that are the same come in the same microsecond.
    """
    window = timedelta(seconds=settings.REPEAT_WINDOW)
    digests = {record.id: digest(record) for record in records}
    first_at, last_at = records[0].received_at, records[-1].received_at
    latest = _latest_events(set(digests.values()), first_at - window, last_at + window)
    counted_until = {key: event.last_received_at for key, event in latest.items()}
    moved_before = set(
        AuditEvent.objects.filter(id__in=digests, id__range=(min(digests), max(digests))).values_list("id", flat=True)
    )
    sentences = _sentences(records)
    new: dict[UUID, AuditEvent] = {}
    repeated: dict[UUID, AuditEvent] = {}
    written_before: set[UUID] = set()  # events that were written after all, and then answered from the spool
    for record in records:
        key = digests[record.id]
        event = latest.get(key)
        if record.id in moved_before or record.received_at == counted_until.get(key):
            if record.while_away:
                written_before.add(record.id if record.id in moved_before else latest[key].id)
            continue
        if event and _repeats(record, event, window):
            event.repeats += 1
            event.last_received_at = max(event.last_received_at, record.received_at)
            event.while_away |= record.while_away
            repeated[event.id] = event
        else:
            event = latest[key] = new[record.id] = _event(record, key, sentences)
    AuditEvent.objects.bulk_create(new.values())
    tried_out.note(new.values())
    known = [event for event in repeated.values() if event.id not in new]
    AuditEvent.objects.bulk_update(known, ["repeats", "last_received_at", "while_away"])
    if written_before:
        AuditEvent.objects.filter(id__in=written_before).update(while_away=True)


def _repeats(record: HookRecord, event: AuditEvent, window: timedelta) -> bool:
    """Whether this is one more of the event, being the same: near enough in time, and not without an end."""
    until = min(event.last_received_at + window, event.received_at + LONGEST)
    return event.received_at - window <= record.received_at <= until


def _latest_events(digests: Iterable[bytes], since: datetime, before: datetime) -> dict[bytes, AuditEvent]:
    """The latest event of each digest, with no more of it than counting needs: bodies may be large."""
    events = AuditEvent.objects.filter(
        received(since - LONGEST, before), digest__in=digests, last_received_at__gte=since
    ).order_by("received_at")
    return {bytes(event.digest): event for event in events.only(*_FOLDED)}


def _event(record: HookRecord, key: bytes, sentences: dict[int, str]) -> AuditEvent:
    return AuditEvent(
        **{name: getattr(record, name) for name in _COPIED},
        user_id=record.user_id,
        rules=[
            sentences.get(rule_id, f"Rule {rule_id}, removed meanwhile")
            for rule_id in [*record.rule_ids, *record.logged_rule_ids]
        ],
        number=_number(record),
        last_received_at=record.received_at,
        digest=key,
    )


def _number(record: HookRecord) -> str:
    """The number that a hook is about, in its one form; "" where it is about something else, or about a name."""
    method = find(record.method)
    is_number = record.action in NUMBER_ACTIONS or (method is not None and method.target in NUMBER_MEMBERS)
    return canonical(record.target, number_plan()) if is_number else ""


def _sentences(records: Iterable[HookRecord]) -> dict[int, str]:
    ids = {rule_id for record in records for rule_id in [*record.rule_ids, *record.logged_rule_ids]}
    rules = Rule.objects.filter(id__in=ids).with_names()
    return {rule.id: str(rule) for rule in rules}


def _note_last_use(records: Sequence[HookRecord]) -> None:
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
