"""Rules that are only logged, tried out: what they would have decided otherwise, how often, since when, for whom."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from django.db import connection

from apps.access.models import Rule, TriedOut
from apps.access.reasons import Reason

COUNTED = 1_000
"""Nothing is counted further than this."""

TURNS = {Rule.Effect.DENY: Reason.ALLOWED_BY_RULE, Rule.Effect.ALLOW: Reason.NO_RULE}
"""What a rule of this effect would turn: a deny what a rule allowed, an allow what no rule did."""

_TALLIES = """
    SELECT r.id, h.count, h.last_at,
        (SELECT received_at FROM access_triedout WHERE rule_id = r.id AND effect = r.effect
            ORDER BY received_at LIMIT 1)
    FROM unnest(%s::bigint[], %s::text[]) AS r (id, effect)
    CROSS JOIN LATERAL (SELECT count(*), max(received_at) AS last_at FROM
        (SELECT received_at FROM access_triedout WHERE rule_id = r.id AND effect = r.effect
            ORDER BY received_at DESC LIMIT %s) AS newest) AS h
    WHERE h.count > 0"""


class Event(Protocol):
    """A recorded hook, as far as this needs to know it."""

    id: UUID
    received_at: datetime
    username: str
    reason: str
    logged_rule_ids: list[int]


class Tally(NamedTuple):
    """How often a rule would have decided otherwise, at first and at last when."""

    rule: Rule
    count: int
    first_at: datetime
    last_at: datetime

    def __str__(self) -> str:
        verb = "refused" if self.rule.effect == Rule.Effect.DENY else "allowed"
        times = (
            "once" if self.count == 1 else f"{self.count} times" if self.count <= COUNTED else f"over {COUNTED} times"
        )
        return f"would have {verb} {times}"


def note(events: Iterable[Event]) -> None:
    """Keep which of these hooks rules that were only logged would have decided otherwise."""
    events = [event for event in events if event.logged_rule_ids]
    ids = {rule_id for event in events for rule_id in event.logged_rule_ids}
    effects = dict(Rule.objects.filter(pk__in=ids).values_list("pk", "effect")) if ids else {}
    TriedOut.objects.bulk_create(
        TriedOut(
            rule_id=rule_id,
            effect=effects[rule_id],
            event_id=event.id,
            received_at=event.received_at,
            username=event.username,
        )
        for event in events
        for rule_id in event.logged_rule_ids
        if rule_id in effects and event.reason == TURNS[effects[rule_id]]
    )


def tallies(rules: Iterable[Rule]) -> dict[int, Tally]:
    """Those of the rules that would have decided something otherwise; one query, that reads no more than it counts."""
    tried = {rule.pk: rule for rule in rules if not rule.enforced}
    if not tried:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_TALLIES, [list(tried), [rule.effect for rule in tried.values()], COUNTED + 1])
        rows = cursor.fetchall()
    return {id_: Tally(tried[id_], count, first_at, last_at) for id_, count, last_at, first_at in rows}


def for_whom(rule: Rule) -> list[tuple[str, int]]:
    """Whose hooks, and how many of the last so many, the most first."""
    last = TriedOut.objects.filter(rule_id=rule.pk, effect=rule.effect).order_by("-received_at")[:COUNTED]
    return Counter(last.values_list("username", flat=True)).most_common()
