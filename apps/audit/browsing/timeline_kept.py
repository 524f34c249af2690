"""The timeline of a search that counts tell of as a whole, which are kept by hour and by day (`tallies`).

They are coarse, so they are of use only for a long time; what is looked for must be counted since then.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo

from django.http import QueryDict
from django.utils import timezone

from apps.audit.browsing.filters import FILTERS, PeriodFilter, as_query
from apps.audit.browsing.query import Query, moment
from apps.audit.browsing.timeline import Count, Counts
from apps.audit.models import AuditEvent
from apps.audit.statistics.recounting import is_counted
from apps.audit.statistics.tallies import can_tell, timeline

LONG = timedelta(hours=60)
"""Below it, hours would be wider than the bars."""


def kept_counts(asked: QueryDict, query: Query, now: datetime) -> Counts | None:
    """How many events of a list there were in each hour or day; None where nothing kept tells of that."""
    names = {name for name, value in asked.items() if value and name != "q"}
    chosen = as_query(asked, now)
    without_time = any(term.negated for term in query.terms if term.key in ("after", "before"))
    if not names <= {*FILTERS, *PeriodFilter.parameters} or chosen.problems or without_time:
        return None
    if not (can_tell(query) and can_tell(chosen)):
        return None
    since, before = _time(asked, query, timezone.get_current_timezone(), now)
    if since is None or before - since < LONG or not is_counted(since):
        return None
    zone = timezone.get_default_timezone()
    rows = timeline(query, since, before, now, chosen)
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
