"""What is wrong with the rules in the database: the rows that linting needs, in a pinned number of queries."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Exists, Model, OuterRef, QuerySet

from apps.access.lint import Finding, Known, findings_of
from apps.access.models import Rule
from apps.access.overlaps import overlaps
from apps.access.rows import RuleRow
from apps.access.rule_rows import RULES, number_plan, rule_row
from apps.accounts.models import User
from apps.connections.models import App, Node
from apps.streams.models import Stream, StreamGroup

TOGETHER = 10_000
"""Rules that are looked at together: as many as a page takes a second for."""

MOST_DENIES = 10_000
"""Denies that are held against them; where there are more, fewer rules are found to be caught by one."""


class Look(NamedTuple):
    """What was found among how many rules, and after which rule to look on; None where all have been looked at."""

    findings: list[Finding]
    looked_at: int
    next_after: int | None


def look_at(now: datetime, after: int = 0, *, together: int = TOGETHER, most: int | None = None) -> Look:
    """Look at the rules with the next higher ids, until so many things at most are found."""
    rows = _rows("WHERE r.id > %s ORDER BY r.id LIMIT %s", [after, together])
    findings = _findings(rows, now)
    if most is not None and len(findings) > most:
        last = findings[most - 1].rule_id
        kept = [finding for finding in findings if finding.rule_id <= last]
        return Look(kept, sum(row.id <= last for row in rows), last)
    return Look(findings, len(rows), rows[-1].id if len(rows) == together else None)


def look_at_one(rule: Rule, now: datetime) -> list[Finding]:
    """What is wrong with one rule, and with those that say the same."""
    about = ("effect", "who", "user_id", "group_id", "target_kind", "target", "stream_id", "stream_group_id")
    twins = Rule.objects.filter(
        number_class_id=rule.number_class_id, **{name: getattr(rule, name) for name in about}
    ).order_by("pk")
    ids = [rule.pk, *twins.values_list("pk", flat=True)[:MOST_TWINS]]
    rows = _rows("WHERE r.id = ANY(%s) ORDER BY r.id", [ids])
    return [finding for finding in _findings(rows, now) if finding.rule_id == rule.pk]


MOST_TWINS = 100
"""Rules about the same people and target that one rule is compared with."""


def _findings(rows: Sequence[RuleRow], now: datetime) -> list[Finding]:
    known = _known(rows, now)
    found = [finding for row in rows for finding in findings_of(row, known)]
    over = {finding.rule_id for finding in found if finding.kind == "expired"}
    others = [row for row in rows if row.id not in over]
    found += overlaps(others, _denies(others, known), known)
    return sorted(found, key=lambda finding: finding.rule_id)


def _known(rows: Sequence[RuleRow], now: datetime) -> Known:
    """What these rules are about, and whether it is there."""
    users = {row.user_id for row in rows if row.user_id}
    groups = {row.group_id for row in rows if row.group_id}
    stream_groups = {row.target_id for row in rows if row.target_kind == "stream-group"}
    streams = {row.target for row in rows if row.target_kind == "stream"}
    apps = dict(App.objects.values_list("key", "guests"))
    return Known(
        now=now,
        plan=number_plan(),
        apps=frozenset(apps),
        guests_welcome=any(apps.values()),
        nodes=frozenset(Node.objects.values_list("node_id", flat=True)),
        groups_with_members=_some_of(
            Group, groups, User.groups.through.objects.filter(group=OuterRef("pk"), user__is_active=True)
        ),
        stream_groups_with_streams=_some_of(
            StreamGroup, stream_groups, Stream.groups.through.objects.filter(streamgroup=OuterRef("pk"))
        ),
        inactive_users=frozenset(User.objects.filter(pk__in=users, is_active=False).values_list("pk", flat=True)),
        groups_of_user=_grouped(User.groups.through.objects.filter(user__in=users).values_list("user_id", "group_id")),
        stream_groups_of=_grouped(
            Stream.objects.filter(name__in=streams, groups__isnull=False).values_list("name", "groups")
        ),
    )


def _some_of(model: type[Model], ids: Iterable[int | None], members: QuerySet) -> frozenset[int]:
    """Those of the groups that have members, of which one is enough to know it."""
    return frozenset(model.objects.filter(Exists(members), pk__in=ids).values_list("pk", flat=True))


def _grouped(pairs: Iterable[tuple]) -> dict:
    grouped: dict = {}
    for key, value in pairs:
        grouped[key] = (*grouped.get(key, ()), value)
    return grouped


def _denies(rows: Sequence[RuleRow], known: Known) -> list[RuleRow]:
    """Denies that may be about the same people as these rules."""
    allows = [row for row in rows if row.effect == "allow"]
    users = [row.user_id for row in allows if row.user_id]
    groups = {row.group_id for row in allows if row.group_id}
    groups.update(group for user in users for group in known.groups_of_user.get(user, ()))
    return _rows(
        """WHERE r.effect = 'deny' AND r.enforced AND (r.ends_at IS NULL OR r.ends_at > %s)
            AND (r.who IN ('everyone', 'guests') OR r.user_id = ANY(%s) OR r.group_id = ANY(%s))
            ORDER BY r.id LIMIT %s""",
        [known.now, users, list(groups), MOST_DENIES],
    )


def _rows(where: str, params: list) -> list[RuleRow]:
    with connection.cursor() as cursor:
        cursor.execute(RULES.format(where=where), params)
        return list(map(rule_row, cursor.fetchall()))
