"""What staff are told on every page when the database was away lately, or something answered is still to be recorded.

One look at a small table and one into a folder; the page itself shows that the database is back.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db.models import Max, Min, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from apps.accounts.navigation import may_see
from apps.audit.models import Outage
from apps.audit.spool import waiting

TOLD_FOR = timedelta(hours=1)


class Told(NamedTuple):
    """A sentence, and the list of what it speaks of, for those who may see it."""

    sentence: str
    url: str


def outages(request: HttpRequest) -> dict:
    """A context processor; templates call what it gives only where they show it."""
    return {"lately": lambda: told(request)}


def told(request: HttpRequest) -> Told | None:
    """What to say now; None where nothing happened lately."""
    lately = Outage.objects.filter(noted_at__gte=timezone.now() - TOLD_FOR).aggregate(
        since=Min("since"), until=Max("until"), entries=Sum("entries")
    )
    pending = waiting(Path(settings.SPOOL) if settings.SPOOL else None)
    since = min(filter(None, (lately["since"], pending.since)), default=None)
    if since is None:
        return None
    url = f"{reverse('admin:audit_auditevent_changelist')}?while=away"
    sentence = _sentence(since, lately["until"], lately["entries"] or 0, pending.entries)
    return Told(sentence, url if may_see(request.user, "audit.auditevent") else "")


def _sentence(since: datetime, until: datetime | None, entries: int, pending: int) -> str:
    period = f"since {_at(since)}" if until is None else f"from {_at(since)} to {_at(until)}"
    wait = f", and {pending} are still to come" if pending else ""
    return (
        f"The database was away {period}. Clients who wanted something new were refused; running streams were kept for "
        f"a while. {entries} hooks that were answered meanwhile have been recorded since{wait}."
    )


def _at(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}"
