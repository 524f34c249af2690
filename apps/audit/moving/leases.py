"""Leases as the records tell: what was let in without a limit, what has started, what has ended.

What ends is also ended by the hook that says so, at once; here it is looked at again, in case the lease was opened
after its end had come. Everything may be done twice, or in another order: the outcome is the same.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import msgspec
from django.db import connection

from apps.access.rule_rows import number_plan
from apps.audit.models import AuditEvent, Effect, received
from apps.audit.moving.outbox import Record
from apps.audit.recording.admission import RUNS_OUT
from apps.database.lookups import AnyOf
from apps.live.counted import thing, who
from apps.live.models import Lease
from apps.live.told import key_told_of, lease_key, told_of
from apps.protocol.methods import METHODS, RUNS, Method, find
from apps.protocol.screening import TOO_LONG
from apps.streams.models import Stream

SLACK = timedelta(seconds=10)
"""How far the clocks of two web servers may be apart, and so an end seem to come before its beginning."""

_CHANGE = """UPDATE live_lease l SET {change} FROM (
        SELECT l.id, min(event.at) AS at, min(event.reason) AS reason
        FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[], %s::text[])
            AS event (node_id, session_id, app_key, key, told, at, reason)
        JOIN live_lease l ON l.session_id = event.session_id AND l.key = event.key
            AND l.node_id = event.node_id AND l.app_key = event.app_key
            AND event.told -> l.action ?| ARRAY['', l.target, l.thing, l.dialled]
        WHERE l.opened_at <= event.at + interval '{slack}' AND {still} GROUP BY l.id
    ) AS event
    WHERE l.id = event.id AND l.id IN (SELECT id FROM live_lease WHERE id = event.id FOR UPDATE SKIP LOCKED)"""
_START = _CHANGE.format(
    slack=SLACK,
    change="started_at = greatest(event.at, l.opened_at)",
    still="l.started_at IS NULL AND (l.ended_at IS NULL OR l.ended_at >= event.at)",
)
_STARTED_BY_THEN = "started_at = CASE WHEN l.started_at <= {ended} THEN l.started_at END"
_END = _CHANGE.format(  # an end that has ended something is not the end of what runs under that id by now
    slack=SLACK,
    change="ended_at = greatest(event.at, l.opened_at), end_reason = event.reason, "
    + _STARTED_BY_THEN.format(ended="greatest(event.at, l.opened_at)"),
    still="""l.ended_at IS NULL AND NOT EXISTS (
        SELECT FROM live_lease over WHERE over.session_id = l.session_id AND over.key = l.key
            AND over.node_id = l.node_id AND over.ended_at = event.at)""",
)
_END_WITH_SESSION = f"""UPDATE live_lease l
    SET ended_at = greatest(s.ended_at, l.opened_at), end_reason = s.end_reason,
        {_STARTED_BY_THEN.format(ended="greatest(s.ended_at, l.opened_at)")}
    FROM connections_session s
    WHERE l.session_id = ANY (%s) AND l.ended_at IS NULL AND s.ended_at IS NOT NULL
        AND s.node_id = l.node_id AND s.session_id = l.session_id AND s.app_key = l.app_key"""  # noqa: S608 - constants
ENDED_UNHEARD = "UPDATE live_lease SET ended_at = runs_out_at WHERE ended_at IS NULL AND runs_out_at <= %s"
_OPENED = (
    *("record_id", "node_id", "app_key", "session_id", "key", "action", "target", "thing", "who", "username"),
    *("user_id", "client_address", "rule_ids", "opened_at", "started_at", "runs_out_at"),
)
_OPEN = f"""INSERT INTO live_lease ({", ".join(_OPENED)})
    SELECT {", ".join(_OPENED)} FROM json_populate_recordset(NULL::live_lease, %s) ON CONFLICT DO NOTHING"""  # noqa: S608
_LONGER = """UPDATE live_lease l SET runs_out_at = longer.at
    FROM unnest(%s::bigint[], %s::timestamptz[]) AS longer (id, at) WHERE l.id = longer.id"""

_MARKS = ("***", "[left out]")
"""What stands in a stored body where a secret was (apps/protocol/screening.py)."""


class _Body(msgspec.Struct):
    info: str | None = None
    published: bool | None = None
    name: str | None = None
    callee: str | None = None
    caller: str | None = None


_decode = msgspec.json.Decoder(_Body).decode


def follow(records: Sequence[Record]) -> None:
    """Bring the leases up to what these records say; they are in the order in which the hooks came."""
    opening = [record for record in records if _opens(record)]
    _open(opening)
    events = [(record, method) for record in records if (method := find(record.method)) is not None]
    before = [(event, method) for event in _moved_before(opening) if (method := find(event.method)) is not None]
    _change(_START, [event for event, method in [*before, *events] if event.status in method.starts])
    _change(_END, [event for event, method in [*before, *events] if ends(event, method)])
    sessions = sorted({record.session_id for record in records if record.session_id})
    with connection.cursor() as cursor:
        cursor.execute(_END_WITH_SESSION, [sessions])
        cursor.execute(ENDED_UNHEARD, [records[-1].received_at])


def _opens(record: Record) -> bool:
    method = find(record.method)
    return method is not None and method.extent is RUNS and record.effect == Effect.ALLOWED


def ends(record: Record | AuditEvent, method: Method) -> bool:
    if record.status not in method.ends:
        return False
    return method.is_end(record.status, _body(record).info or "" if record.status == "FAILED" else "")


def _body(record: Record | AuditEvent) -> _Body:
    return _decode(bytes(record.body))


def _told_by(record: Record | AuditEvent) -> str:
    """What it tells of. Where what names it was not kept as it came, nothing that is found here: one thing might be
    taken for another, and the event itself has been heard already."""
    method, body = find(record.method), _body(record)
    assert method is not None  # noqa: S101 - it tells of something; this is for the type checker
    names = f"{body.name} {body.callee} {body.caller}"
    whole = not bytes(record.body).startswith(TOO_LONG) and not any(mark in names for mark in _MARKS)
    return msgspec.json.encode(told_of(method, body, number_plan()) if whole else {}).decode()


def key_of(record: Record | AuditEvent) -> str:
    method = find(record.method)
    ids = record.media_session_id, record.call_id, record.session_id
    return key_told_of(method, *ids) if method is not None else ""


def _open(records: Sequence[Record]) -> None:
    """A lease for each that has none yet. The same hook again is the same thing, still running."""
    if not records:
        return
    known = Lease.objects.filter(AnyOf("record_id", [record.id for record in records]))
    have = set(known.values_list("record_id", flat=True))
    sources = _sources(records)
    leases = [_lease(record, sources) for record in records if record.id not in have]
    running = _like_these(leases)
    new, longer = [], dict[int, Lease]()
    for lease in leases:
        again = next((known for known in running.get(_same(lease), ()) if _ran(known, lease)), None)
        if again is None:
            running.setdefault(_same(lease), []).append(lease)
            new.append(lease)
        elif lease.runs_out_at and again.runs_out_at:
            again.runs_out_at = max(again.runs_out_at, lease.runs_out_at)
            if again.pk:
                longer[again.pk] = again
    rows = [{name: getattr(lease, name) for name in _OPENED} for lease in new]
    with connection.cursor() as cursor:
        if longer:
            cursor.execute(_LONGER, [list(longer), [lease.runs_out_at for lease in longer.values()]])
        if rows:
            cursor.execute(_OPEN, [msgspec.json.encode(rows).decode()])


def _lease(record: Record, sources: dict[str, str]) -> Lease:
    method = find(record.method)
    unreported = method is not None and method.end_unreported
    address = record.client_address or ""
    return Lease(
        record_id=record.id,
        node_id=record.node_id,
        app_key=record.app_key,
        session_id=record.session_id,
        key=lease_key(method, record.media_session_id, record.call_id, record.session_id),
        action=record.action,
        target=record.target,
        thing=thing(record.action, record.target, sources.get(record.target, ""), number_plan()),
        who=who(record.username, address),
        username=record.username,
        user_id=record.user_id,
        client_address=record.client_address,
        rule_ids=record.rule_ids,
        opened_at=record.received_at,
        started_at=record.received_at if unreported else None,
        runs_out_at=record.received_at + RUNS_OUT if unreported else None,
    )


def _sources(records: Iterable[Record]) -> dict[str, str]:
    names = {record.target for record in records}
    return dict(Stream.objects.filter(AnyOf("name", names)).exclude(source="").values_list("name", "source"))


def _same(lease: Lease) -> tuple[str, ...]:
    return (lease.node_id, lease.session_id, lease.key, lease.action, lease.thing, lease.who)


def _like_these(leases: Sequence[Lease]) -> dict[tuple[str, ...], list[Lease]]:
    """What is known under the ids of these."""
    sessions, keys = {lease.session_id for lease in leases}, {lease.key for lease in leases}
    found: dict[tuple[str, ...], list[Lease]] = {}
    for lease in Lease.objects.filter(AnyOf("session_id", sessions), AnyOf("key", keys)).order_by("id"):
        found.setdefault(_same(lease), []).append(lease)
    return found


def _ran(known: Lease, lease: Lease) -> bool:
    """Whether what is known ran when the other was asked for."""
    until = known.ended_at or known.runs_out_at
    return known.opened_at <= lease.opened_at and (until is None or until > lease.opened_at)


def _moved_before(opening: Sequence[Record]) -> list[AuditEvent]:
    """Starts and ends that were moved before their beginnings: it was two processes that recorded them."""
    if not opening:
        return []
    named = [method.name for method in METHODS if method.starts or method.ends]
    events = AuditEvent.objects.filter(
        received(since=min(record.received_at for record in opening) - SLACK),
        AnyOf("session_id", {record.session_id for record in opening}),
        node_id__in={record.node_id for record in opening},
        method__in=named,
    )
    return list(events.order_by("received_at", "id").defer("rules", "digest"))


def _change(sql: str, events: Sequence[Record | AuditEvent]) -> None:
    if not events:
        return
    columns = [
        [event.node_id for event in events],
        [event.session_id for event in events],
        [event.app_key for event in events],
        [key_of(event) for event in events],
        [_told_by(event) for event in events],
        [event.received_at for event in events],
        [event.status for event in events],
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, columns)
