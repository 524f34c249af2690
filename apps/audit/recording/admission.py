"""Letting in what limits count, while its record is written: both are one statement, and one round trip.

Counting, and refusing where it is too many, is done by a function in Postgres (apps/audit/migrations/0004_admission.py)
under a lock for each counted key, so that of many who come at once no more get in than the limit says. Whatever it
finds, it finds in leases; and there is exactly one record, of the admission or of the refusal.

Calls are let in this way with or without limits: hooks that come right after one find its number by its lease.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.conf import settings
from msgspec.structs import replace

from apps.access.facts import Decision, Facts
from apps.access.limiting import NOTHING_COUNTED, Counts, thing_of, who_of
from apps.access.reasons import Reason
from apps.access.rewriting import dialled
from apps.connections.rows import SessionRow
from apps.database.connection import Param, Row, int8, text, timestamp
from apps.live.counted import day_began, month_began
from apps.live.told import lease_key
from apps.protocol.messages import HookCall
from apps.protocol.methods import CALL_ACTIONS, MOMENT, PART, RUNS, Method

RUNS_OUT = timedelta(minutes=5)
"""After how long a playback whose end nobody reports is taken to have ended, if it is not asked for again."""

ADMIT = """audit_admit(
    $22::bigint, $23::bigint, $24::bigint, $14::text, $15::text, $16::bigint[], $25::jsonb, $33::bigint,
    jsonb_populate_record(NULL::live_lease, jsonb_build_object(
        'record_id', $1::uuid, 'node_id', $4::text, 'app_key', $5::text, 'session_id', $6::text, 'key', $26::text,
        'action', $10::text, 'target', $11::text, 'thing', $27::text, 'who', $28::text, 'username', $13::text,
        'user_id', $19::bigint, 'client_address', $12::inet, 'opened_at', $29::timestamptz,
        'started_at', $30::timestamptz, 'ended_at', $31::timestamptz, 'runs_out_at', $32::timestamptz,
        'dialled', $34::text))) a"""
"""Takes the values of a record, of its session, and those that `admission` gives."""

FORMATS = (1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0)
"""Of the parameters from $23 on."""


def is_admitted(call: HookCall, decision: Decision) -> bool:
    """Whether a hook is let in by counting, or is a call that will be asked about."""
    begins_call = call.action in CALL_ACTIONS and call.method is not None and call.method.extent is RUNS
    return decision.allowed and (decision.counts is not None or begins_call)


def admission(
    record_id: UUID,
    call: HookCall,
    facts: Facts,
    decision: Decision,
    session: SessionRow | None,
    username: str,
    *,
    uses_token: bool,
) -> list[Param]:
    """The values of ADMIT beyond those of a record."""
    token = facts.identity.token if uses_token else None
    in_session = session if session is not None and not session.ended else None
    return [
        int8(in_session.id) if in_session else None,
        int8(in_session.opening) if in_session else None,
        _as_json(decision.counts or NOTHING_COUNTED, facts.now),
        text(lease_key(call.method, call.media_session_id, call.call_id, call.session_id) or str(record_id)),
        text(thing_of(call, facts.snapshot)),
        text(who_of(call, username)),
        *_times(call.method, facts.now),
        int8(token.id) if token is not None else None,
        text(dialled(call.method, decision.changes) if call.method is not None else ""),
    ]


def _times(method: Method | None, now: datetime) -> list[Param]:
    """When a lease is opened, has started, has ended and runs out; it is opened only where something begins."""
    extent = method.extent if method is not None else MOMENT
    if extent is PART:
        return [None, None, None, None]
    if extent is MOMENT:
        return [timestamp(now), timestamp(now), timestamp(now), None]
    if method is not None and method.end_unreported:
        return [timestamp(now), timestamp(now), None, timestamp(now + RUNS_OUT)]
    return [timestamp(now), None, None, None]


def verdict(decision: Decision, row: Row) -> Decision:
    """The decision as counting has settled it, from effect, reason and rule ids as text."""
    effect, reason, rule_ids = (value or b"" for value in row[:3])
    ids = tuple(int(id_) for id_ in rule_ids.decode().strip("{}").split(",") if id_)
    if effect == b"allow":
        return replace(decision, rule_ids=ids, counts=None)
    return replace(decision, allowed=False, reason=Reason(reason.decode()), rule_ids=ids, rewrites=None, counts=None)


def _as_json(counts: Counts, now: datetime) -> bytes:
    zone = _zone(settings.TIME_ZONE)
    return msgspec.json.encode(
        {
            "any_of": counts.any_of,
            "all_of": counts.all_of,
            "now": now,
            "day": day_began(now, zone),
            "month": month_began(now, zone),
        }
    )


@lru_cache(maxsize=4)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
