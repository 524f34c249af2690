"""What legal holds cover, as conditions; and keeping them as they are while something is deleted."""

from collections.abc import Iterable
from datetime import timedelta

from django.db import connection
from django.db.models import Q
from psycopg.sql import SQL, Composable, Literal

from apps.access.rule_rows import number_plan
from apps.audit.browsing.paging import TakesTooLong, patience
from apps.audit.models import Hold
from apps.protocol.numbers import canonical

COUNTED = 1_000
"""Events of a hold that are counted; what is more is only said to be."""

PATIENCE = timedelta(seconds=2)
"""How long Postgres may look for them."""

_REPEATS_REACH = timedelta(days=2)
"""Further than any event's last repeat is from its first (`folding`), so that what a hold of a time covers is found
through an index of when events came."""


def covered(holds: Iterable[Hold]) -> Composable:
    """The condition, on columns of the audit log, of what any of these covers."""
    conditions = [SQL("({})").format(_covered(hold)) for hold in holds]
    return SQL("({})").format(SQL(" OR ").join(conditions or [SQL("false")]))


def _covered(hold: Hold) -> Composable:
    parts: list[Composable] = [SQL("true")]
    if hold.username:
        parts.append(SQL("username = {}").format(Literal(hold.username)))
    if hold.target:
        number = canonical(hold.target, number_plan()) or hold.target
        parts.append(
            SQL("(target = {} OR (number <> '' AND number = {}))").format(Literal(hold.target), Literal(number))
        )
    if hold.session_id:
        parts.append(SQL("session_id = {}").format(Literal(hold.session_id)))
    if hold.starts_at:  # an event whose repeats reach into the time belongs to it
        parts.append(SQL("last_received_at >= {}").format(Literal(hold.starts_at)))
    if hold.ends_at:
        parts.append(SQL("received_at < {}").format(Literal(hold.ends_at)))
    return SQL(" AND ").join(parts)


def how_many(hold: Hold) -> int | None:
    """How many audit events a hold covers by now, one more than COUNTED at most; None where that takes too long."""
    condition = _covered(hold)
    if hold.starts_at:
        earliest = Literal(hold.starts_at - _REPEATS_REACH)
        condition = SQL("{} AND received_at >= {}").format(condition, earliest)
    statement = SQL("SELECT count(*) FROM (SELECT FROM audit_auditevent WHERE {} LIMIT {}) AS found")
    try:
        with patience(PATIENCE), connection.cursor() as cursor:
            cursor.execute(statement.format(condition, Literal(COUNTED + 1)))
            return cursor.fetchone()[0]
    except TakesTooLong:
        return None


def covered_staff_actions(holds: Iterable[Hold]) -> Q:
    """The condition, on the admin's history, of what any of these covers: a hold of a stream or session covers none."""
    condition = Q(pk__in=[])
    for hold in holds:
        if not (hold.target or hold.session_id):
            user = Q(user__username=hold.username) if hold.username else Q()
            starts = Q(action_time__gte=hold.starts_at) if hold.starts_at else Q()
            ends = Q(action_time__lt=hold.ends_at) if hold.ends_at else Q()
            condition |= ~Q(pk=None) & user & starts & ends
    return condition


def lock_holds() -> None:
    """Until this transaction ends, no hold is made or released: whoever makes one waits, and then it is kept to."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE audit_hold IN SHARE MODE")
