"""The timeline of a search that counts tell of as a whole, which are kept by hour and by day (`tallies`).

They are coarse, so they are of use only for a long time; what is looked for must be counted since then.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo

from django.db.models import Q
from django.http import QueryDict
from django.utils import timezone

from apps.audit.browsing.filters import DecisionFilter, PeriodFilter
from apps.audit.browsing.query import Query, moment
from apps.audit.browsing.timeline import Count, Counts
from apps.audit.models import AuditEvent
from apps.audit.statistics.recounting import is_counted
from apps.audit.statistics.tallies import FINE, can_tell, timeline

LONG = timedelta(hours=60)
"""Below it, hours would be wider than the bars."""

COLUMNS = {"reason": "reason", "app": "app_key", "node": "node_id"}
"""What the filters beside the list ask for, as far as it is counted."""


def kept_counts(asked: QueryDict, query: Query, now: datetime) -> Counts | None:
    """How many events of a list there were in each hour or day; None where nothing kept tells of that."""
    filters = {name: value for name, value in asked.items() if value and name not in ("q", *PeriodFilter.parameters)}
    without_time = any(term.negated for term in query.terms if term.key in ("after", "before"))
    effect = filters.pop("effect", "")
    if not filters.keys() <= COLUMNS.keys() or not can_tell(query) or without_time:
        return None
    since, before = _time(asked, query, timezone.get_current_timezone(), now)
    if since is None or before - since < LONG or not is_counted(since):
        return None
    condition = Q(**{COLUMNS[name]: value for name, value in filters.items()})
    condition &= DecisionFilter.condition(effect) if effect else Q()
    zone = timezone.get_default_timezone()
    rows = timeline(query, since, before, now, condition, finely=bool(filters.keys() & FINE))
    return Counts(
        tuple(Count(_moment(row["at"], zone), row["answer"], row["events"]) for row in rows), complete=True, exact=False
    )


def _time(asked: Mapping[str, str], query: Query, zone: tzinfo, now: datetime) -> tuple[datetime | None, datetime]:
    """From when until when it is looked for, by the words and by the filters; of either kind, the narrowest.

    Not from before the oldest event, as counts are kept longer: from when is None where there is none.
    """
    oldest = AuditEvent.objects.order_by("received_at").values_list("received_at", flat=True).first()
    terms = {
        key: [moment(term.value, zone, now) for term in query.terms if term.key == key] for key in ("after", "before")
    }
    since, before = PeriodFilter.times(asked, now)
    begins = [found for found in (since, min(terms["after"], default=None), oldest) if found is not None]
    ends = [found for found in (before, max(terms["before"], default=None)) if found is not None]
    return oldest and max(begins), min(ends, default=now)


def _moment(at, zone: tzinfo) -> datetime:
    return at if isinstance(at, datetime) else datetime(at.year, at.month, at.day, tzinfo=zone)
