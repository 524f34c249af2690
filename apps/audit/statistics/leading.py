"""Who has the most of a long time, without adding up everybody.

Each month and day is a list of names that an index has in falling order. Of the first of each list it is known what
they have at least, and, as nobody further down has more than the last one that was looked at, at most. So most of them
cannot be among the leaders, and what the rest have is added up. Nor can anybody who is not among them, where the last
ones together have less than the leaders: else more of each list is looked at, and in the end everybody is added up.
The algorithm is that of Fagin, Lotem and Naor, "Optimal aggregation algorithms for middleware" (2003), without random
access.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from apps.audit.statistics.models import About, Span

DEPTHS = (40, 160)
"""So many of each list are looked at: what tells the leaders of a year of 10,000 users, and a second try."""

ROUNDING = 1e-9
"""What may come of adding up seconds in another order, as a part of them."""

Part = tuple[Span, date]

_FIRST = """SELECT coalesce(names, '{{}}'), coalesce(of_each, '{{}}')
    FROM unnest(%(spans)s::text[], %(days)s::date[]) AS part (span, starts_on)
    CROSS JOIN unnest(%(actions)s::text[]) AS of (action)
    CROSS JOIN LATERAL (SELECT array_agg(name) AS names, array_agg(value) AS of_each FROM (
        SELECT {name} AS name, {value} AS value FROM {table}
        WHERE span = part.span AND starts_on = part.starts_on {more}
        ORDER BY {value} DESC LIMIT %(depth)s) AS first) AS list"""
_ATTEMPTS = _FIRST.format(name="username", value="allowed + refused", table="audit_usercount", more="")
_TIMES = _FIRST.format(
    name="name", value="seconds", table="audit_nametime", more="AND about = %(about)s AND action = of.action"
)


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists of names, the highest values first: one for each month and day, or for each of these and each action."""

    statement: str
    name: str
    parts: Sequence[Part]
    of: Mapping[str, Any]

    def first(self, depth: int) -> list[tuple[list[str], list[float]]]:
        """The first names of each list, and what they have there."""
        values = {
            "spans": [span for span, _day in self.parts],
            "days": [day for _span, day in self.parts],
            "actions": [""],
            "depth": depth,
        }
        with connection.cursor() as cursor:
            cursor.execute(self.statement, values | self.of)
            return cursor.fetchall()


def by_attempts(parts: Sequence[Part]) -> Lists:
    """Users by how many of their hooks were decided."""
    return Lists(_ATTEMPTS, "username", parts, {})


def by_time(parts: Sequence[Part], about: About, actions: Sequence[str]) -> Lists:
    """Users, or streams and numbers, by how long these actions of theirs went on."""
    return Lists(_TIMES, "name", parts, {"about": about, "actions": list(actions)})


def leaders(sums: QuerySet, lists: Lists, most: int) -> list[dict[str, Any]]:
    """The first rows of `sums`, which add up what is in the lists, name by name, in falling order."""
    for depth in DEPTHS:
        found = contenders(lists.first(depth), depth, most) if depth > most else None
        if found is not None:
            return list(sums.filter(**{f"{lists.name}__in": found})[:most])
    return list(sums[:most])


def contenders(lists: Iterable[tuple[Sequence[str], Sequence[float]]], depth: int, most: int) -> list[str] | None:
    """Those among whom the leaders are, whatever there is beyond the first `depth` of each list; None where that cannot
    be told.
    """
    at_least: Counter[str] = Counter()
    looked_at: Counter[str] = Counter()
    unseen = 0.0  # what somebody who is in none of the lists has at most
    for names, values in lists:
        last = values[-1] if len(values) == depth else 0
        unseen += last
        for name, value in zip(names, values, strict=True):
            at_least[name] += value
            looked_at[name] += last
    leading = sorted(at_least.values(), reverse=True)[most - 1 : most]
    enough = leading[0] * (1 - ROUNDING) if leading else 0
    if unseen and unseen >= enough:
        return None
    return [name for name in at_least if at_least[name] + unseen - looked_at[name] >= enough]


def among(parts: Sequence[Part]) -> Q:
    """The rows of these months and days, in the words of the primary keys."""
    days = {span: [day for of, day in parts if of == span] for span in Span}
    return Q(span=Span.MONTH, starts_on__in=days[Span.MONTH]) | Q(span=Span.DAY, starts_on__in=days[Span.DAY])
