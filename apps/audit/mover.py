"""Moving records from the outbox into the audit log: in batches, each in one transaction, so that a killed worker
loses and doubles nothing.

The same hook may come several times, since WCS repeats what failed while being sent. Within a window of time such
repeats become one event with a count.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, Value
from django.db.models.functions import Coalesce

from apps.access.models import Rule
from apps.accounts.models import Token
from apps.audit.models import AuditEvent, HookFields, HookRecord
from apps.connections.models import Node

BATCH = 500
_ONE_MOVER = 0x5743_5347  # the advisory lock that only one mover at a time holds
_COPIED = [field.name for field in HookFields._meta.get_fields()]


def move_batch(limit: int = BATCH) -> int:
    """Move up to `limit` of the oldest records, adding the rules' sentences; gives how many were moved.

    Gives 0 at once where another mover is at work.
    """
    with transaction.atomic():
        if not _alone():
            return 0
        oldest = HookRecord.objects.order_by("id")[:limit]  # ids sort by time, and they have an index
        records = sorted(oldest, key=lambda record: (record.received_at, record.id))
        if records:
            _note_last_use(records)
            _fold(records)
            HookRecord.objects.filter(id__in=[record.id for record in records]).delete()
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
        str((record.user_id, record.rule_ids, record.logged_rule_ids)),
    )
    return hashlib.blake2b(b"\x00".join(part.encode() for part in parts) + bytes(record.body), digest_size=16).digest()


def _alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_ONE_MOVER])
        return bool(cursor.fetchone()[0])


def _fold(records: Sequence[HookRecord]) -> None:
    """Write new events, and count repeats on the events they repeat."""
    window = timedelta(seconds=settings.REPEAT_WINDOW)
    digests = {record.id: digest(record) for record in records}
    first = min(record.received_at for record in records)
    latest: dict[bytes, AuditEvent] = {}
    for event in AuditEvent.objects.filter(
        digest__in=set(digests.values()), last_received_at__gte=first - window
    ).order_by("received_at"):
        latest[bytes(event.digest)] = event
    sentences = _sentences(records)
    new, repeated = [], {}
    for record in records:
        event = latest.get(digests[record.id])
        if event is not None and event.id == record.id:
            continue  # moved before: the spooled or repeated copy of a record that came through
        if event is not None and record.received_at - event.last_received_at <= window:
            event.repeats += 1
            event.last_received_at = max(event.last_received_at, record.received_at)
            repeated[event.id] = event
        else:
            event = latest[digests[record.id]] = _event(record, digests[record.id], sentences)
            new.append(event)
    AuditEvent.objects.bulk_create(new, ignore_conflicts=True)
    fresh = {event.id for event in new}
    AuditEvent.objects.bulk_update(
        [event for event in repeated.values() if event.id not in fresh], ["repeats", "last_received_at"]
    )


def _event(record: HookRecord, key: bytes, sentences: dict[int, str]) -> AuditEvent:
    return AuditEvent(
        **{name: getattr(record, name) for name in _COPIED},
        user_id=record.user_id,
        rules=[
            sentences.get(rule_id, f"Rule {rule_id}, removed meanwhile")
            for rule_id in [*record.rule_ids, *record.logged_rule_ids]
        ],
        last_received_at=record.received_at,
        digest=key,
    )


def _sentences(records: Iterable[HookRecord]) -> dict[int, str]:
    ids = {rule_id for record in records for rule_id in [*record.rule_ids, *record.logged_rule_ids]}
    rules = Rule.objects.filter(id__in=ids).select_related("user", "group", "stream")
    return {rule.id: str(rule) for rule in rules}


def _note_last_use(records: Sequence[HookRecord]) -> None:
    """Say on tokens and nodes when they were last seen, and put nodes on the list that were not on it.

    The triggers know that the former changes nobody's access.
    """
    tokens = {record.token_id: record.received_at for record in records if record.token_id is not None}
    for token_id, used_at in tokens.items():
        Token.objects.filter(id=token_id).update(last_used_at=used_at)
    nodes = {record.node_id: record.received_at for record in records if record.node_id}
    for node_id, seen_at in nodes.items():
        Node.objects.filter(
            Q(last_seen_at=None) | Q(last_seen_at__lt=seen_at - timedelta(seconds=10)), node_id=node_id
        ).update(first_seen_at=Coalesce("first_seen_at", Value(seen_at)), last_seen_at=seen_at)
    known = set(Node.objects.filter(node_id__in=nodes).values_list("node_id", flat=True))
    new = {node_id: seen_at for node_id, seen_at in nodes.items() if node_id not in known}
    if new:  # last, as it locks the revision: whoever edits a node has its row first and the revision then
        Node.objects.bulk_create(
            [Node(node_id=id_, first_seen_at=seen_at, last_seen_at=seen_at) for id_, seen_at in new.items()],
            ignore_conflicts=True,
        )
