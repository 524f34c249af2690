"""Rules out of Postgres: the query, and the row it makes. What few rules have comes as JSON, or not at all."""

from datetime import date
from functools import lru_cache
from sys import intern
from typing import Any

import msgspec
from django.conf import settings

from apps.access.comparisons import parse_comparison, unreadable
from apps.access.rows import Conditions, Limits, Rewrites, RuleRow
from apps.access.schedules import Schedule, parse_window
from apps.protocol.numbers import NumberPlan, prefix

RULES = """
    SELECT r.id, r.effect, r.who, r.actions, r.user_id, r.group_id, r.target_kind, coalesce(s.name, r.target),
        coalesce(r.stream_group_id, r.number_class_id), r.starts_at, r.ends_at, r.enforced,
        CASE WHEN r.schedule_id IS NOT NULL
            OR r.networks || r.origins || r.media_providers || r.apps || r.nodes || r.custom <> ARRAY[]::varchar[]
        THEN json_build_object('time_zone', w.time_zone, 'windows', w.windows, 'holidays', w.holidays,
            'networks', r.networks, 'origins', r.origins, 'media_providers', r.media_providers,
            'apps', r.apps, 'nodes', r.nodes, 'custom', r.custom)::text END,
        CASE WHEN r.limit_per <> ''
        THEN json_build_object('per', r.limit_per, 'at_once', r.at_once, 'per_day', r.per_day,
            'per_month', r.per_month, 'minutes_per_day', r.minutes_per_day,
            'minutes_per_month', r.minutes_per_month, 'overflow', r.overflow)::text END,
        CASE WHEN r.record <> '' OR r.callee <> '' OR coalesce(r.max_width, r.max_height, r.max_bitrate) IS NOT NULL
        THEN json_build_object('record', r.record, 'max_width', r.max_width, 'max_height', r.max_height,
            'max_bitrate', r.max_bitrate, 'callee', r.callee)::text END
    FROM access_rule r LEFT JOIN streams_stream s ON s.id = r.stream_id
        LEFT JOIN access_schedule w ON w.id = r.schedule_id {where}"""


class _Conditions(msgspec.Struct):
    """Conditions as the query gives them."""

    time_zone: str | None
    windows: tuple[str, ...] | None
    holidays: tuple[date, ...] | None
    networks: tuple[str, ...]
    origins: tuple[str, ...]
    media_providers: tuple[str, ...]
    apps: tuple[str, ...]
    nodes: tuple[str, ...]
    custom: tuple[str, ...]


_CONDITIONS = ("networks", "origins", "media_providers", "apps", "nodes", "custom")
_LIMITS = ("at_once", "per_day", "per_month", "minutes_per_day", "minutes_per_month", "overflow")
_REWRITES = ("record", "max_width", "max_height", "max_bitrate", "callee")
_NO_HOURS = {"time_zone": None, "windows": None, "holidays": None}

_decode_conditions = msgspec.json.Decoder(_Conditions).decode
_decode_limits = msgspec.json.Decoder(Limits).decode
_decode_rewrites = msgspec.json.Decoder(Rewrites).decode


def rule_row(row: Any) -> RuleRow:
    """One row of RULES. What many rules have, they share: it is most of what they would take."""
    id_, effect, who, actions, user_id, group_id, kind, target, target_id, starts, ends, enforced, *more = row
    conditions, limits, rewrites = more
    return RuleRow(
        id_,
        intern(str(effect)),
        intern(str(who)),
        _same(tuple(actions)),
        _same(user_id),
        _same(group_id),
        intern(str(kind)),
        intern(prefix(target, number_plan()) if kind == "number-prefix" else str(target)),
        target_id,
        starts,
        ends,
        enforced,
        _conditions(conditions) if conditions else None,
        _decode_limits(limits) if limits else None,
        _decode_rewrites(rewrites) if rewrites else None,
    )


@lru_cache(maxsize=10_000)
def _same(value: Any) -> Any:
    """The value that came before, if this one is equal: actions, and ids of users and groups, which come in runs."""
    return value


def row_of(rule: Any) -> RuleRow:
    """The row of a rule that need not be saved: what the query would give of it. Unsaved, its id is 0."""
    asked = {name: getattr(rule, name) for name in _CONDITIONS}
    hours = (
        {name: getattr(rule.schedule, name) for name in ("time_zone", "windows", "holidays")} if rule.schedule else {}
    )
    limits = {"per": rule.limit_per, **{name: getattr(rule, name) for name in _LIMITS}}
    rewrites = {name: getattr(rule, name) for name in _REWRITES}
    return rule_row(
        (
            *(rule.pk or 0, rule.effect, rule.who, rule.actions, rule.user_id, rule.group_id, rule.target_kind),
            rule.stream.name if rule.stream else rule.target,
            rule.stream_group_id or rule.number_class_id,
            *(rule.starts_at, rule.ends_at, rule.enforced),
            _json({**_NO_HOURS, **hours, **asked}) if rule.schedule or any(asked.values()) else None,
            _json(limits) if rule.limit_per else None,
            _json(rewrites) if any(rewrites.values()) else None,
        )
    )


def _json(values: dict[str, Any]) -> str:
    return msgspec.json.encode(values).decode()


@lru_cache(maxsize=1)
def number_plan() -> NumberPlan:
    """How numbers are dialled here, from the settings."""
    return NumberPlan(
        country=settings.COUNTRY_CODE,
        international=settings.INTERNATIONAL_PREFIX,
        national=settings.NATIONAL_PREFIX,
        unprefixed=int(settings.UNPREFIXED_DIGITS),
    )


@lru_cache(maxsize=10_000)
def _conditions(text: str) -> Conditions:
    """Rules with the same circumstances share them."""
    try:
        read = _decode_conditions(text)
        has_hours = read.time_zone is not None
        schedule = _schedule(read.time_zone or "", read.windows or (), read.holidays or ()) if has_hours else None
        custom = tuple(parse_comparison(text) for text in read.custom)
    except (ValueError, msgspec.ValidationError) as error:  # written by SQL; the form would have said so
        return Conditions(custom=(unreadable(str(error)),))
    return Conditions(
        schedule=schedule,
        networks=read.networks,
        origins=read.origins,
        media_providers=read.media_providers,
        apps=read.apps,
        nodes=read.nodes,
        custom=custom,
    )


def _schedule(time_zone: str, windows: tuple[str, ...], holidays: tuple[date, ...]) -> Schedule:
    return Schedule(time_zone, tuple(parse_window(window) for window in windows), holidays)
