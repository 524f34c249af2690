"""What staff are told on every page when the database was away lately, or something answered is still to be recorded.

One look at a small table and one into a folder; the page itself shows that the database is back.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from apps.accounts.navigation import may_see
from apps.audit.models import Outage
from apps.audit.recording import spool_folder
from apps.audit.recording.spool import waiting
from apps.protocol.action_words import joined

TOLD_FOR = timedelta(hours=1)
APART = timedelta(seconds=2)
"""Between two outages there is more time than that."""
TOLD = 3
"""How many are told one by one."""


class Time(NamedTuple):
    """When the database was away; until None where that is not known yet."""

    since: datetime
    until: datetime | None


class Told(NamedTuple):
    """A sentence, and the list of what it speaks of, for those who may see it."""

    sentence: str
    url: str


def outages(request: HttpRequest) -> dict:
    """A context processor; templates call what it gives only where they show it."""
    return {"lately": lambda: told(request)}


def told(request: HttpRequest) -> Told | None:
    """What to say now; None where nothing happened lately."""
    lately = list(Outage.objects.filter(noted_at__gte=timezone.now() - TOLD_FOR).order_by("since"))
    pending = waiting(spool_folder.configured())
    times = _times(lately, pending.since)
    if not times:
        return None
    entries = sum(outage.entries for outage in lately)
    url = f"{reverse('admin:audit_auditevent_changelist')}?while=away"
    leads = entries and may_see(request.user, "audit.auditevent")
    return Told(_sentence(times, entries, pending.entries), url if leads else "")


def _times(lately: list[Outage], pending_since: datetime | None) -> list[Time]:
    """When it was away: what several processes found of one outage put together; an end of None is not known yet."""
    times: list[Time] = []
    for outage in lately:
        if times and outage.since <= times[-1].until + APART:
            times[-1] = times[-1]._replace(until=max(times[-1].until, outage.until))
        else:
            times.append(Time(outage.since, outage.until))
    if pending_since and not any(time.since - APART <= pending_since <= time.until + APART for time in times):
        times.append(Time(pending_since, None))
    return times


def _sentence(times: list[Time], entries: int, pending: int) -> str:
    periods = [f"from {_at(since)} to {_at(until)}" if until else f"since {_at(since)}" for since, until in times]
    if len(periods) > TOLD:
        periods = [f"{len(periods)} times, last {periods[-1]}"]
    return (
        f"The database was away {joined(periods, 'and')}. Clients who wanted something new were refused; running "
        f"streams were kept for a while. {_hooks_said(entries, pending)}"
    )


def _hooks_said(entries: int, pending: int) -> str:
    if not entries and not pending:
        return "No hook was answered meanwhile."
    if not entries:
        return f"{_hooks(pending)} answered meanwhile {'is' if pending == 1 else 'are'} still to be recorded."
    wait = f", and {pending} {'is' if pending == 1 else 'are'} still to come" if pending else ""
    return f"{_hooks(entries)} answered meanwhile {'has' if entries == 1 else 'have'} been recorded since{wait}."


def _hooks(number: int) -> str:
    return "1 hook" if number == 1 else f"{number} hooks"


def _at(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}"
