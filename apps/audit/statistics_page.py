"""The page of statistics, and each of them as a file."""

from collections.abc import Callable, Iterator

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from apps.accounts.csv_lines import csv_line
from apps.accounts.navigation import may_open
from apps.accounts.pages import note_taken
from apps.audit.models import AuditEvent
from apps.audit.statistics_hooks import hooks, refusals
from apps.audit.statistics_names import EXPORTED, streams_by_viewers, users_by_attempts, users_by_hours
from apps.audit.statistics_period import CHOICES, OWN, BadPeriod, Period, period_of
from apps.audit.statistics_running import WORDS, busiest, durations, running
from apps.audit.statistics_table import Statistic
from apps.audit.tally_models import Recount

STATISTICS: dict[str, Callable[..., Statistic]] = {
    "running": running,
    "hooks": hooks,
    "refusals": refusals,
    "durations": durations,
    "users": users_by_attempts,
    "hours": users_by_hours,
    "streams": streams_by_viewers,
    "busiest": busiest,
}
"""In the order of the page."""

WITH_NAMES = ("users", "hours", "streams")


def statistics(request: HttpRequest) -> HttpResponse:
    """All of them, for one period."""
    _check(request)
    now = timezone.now()
    try:
        period, problem = period_of(request.GET.dict(), now), ""
    except BadPeriod as error:
        period, problem = period_of({}, now), str(error)
    busy = request.GET.get("busy", "")
    context = {
        **admin.site.each_context(request),
        "title": "Statistics",
        "period": period,
        "choices": CHOICES,
        "own": period.name == OWN,
        "problem": problem,
        "shown": list(_shown(period, busy)),
        "busy": [(word, f"?{period.address}&busy={action}#busiest") for action, word in WORDS.items()],
        "recount": Recount.objects.filter(done=False).first(),
    }
    return TemplateResponse(request, "admin/audit/statistics.html", context, status=400 if problem else 200)


def statistics_file(request: HttpRequest) -> HttpResponse:
    """One of them as CSV, whole; and a note of who took it."""
    _check(request)
    name = request.GET.get("of", "")
    if name not in STATISTICS:
        return _bad(f"“of” is “{name}”. Give one of {', '.join(STATISTICS)}.")
    try:
        period = period_of(request.GET.dict(), timezone.now())
    except BadPeriod as error:
        return _bad(str(error))
    found = _statistic(name, period, request.GET.get("busy", ""), EXPORTED)
    lines = [csv_line(cells) for cells in (found.head, *(row.cells for row in found.rows)) if cells]
    what = f"{found.title}, {period}"
    note_taken(request, AuditEvent, f"Export of statistics: {what}", f"Exported statistics: {what}")
    file = f"{name}-{period.first_day}-{period.last_day}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    return HttpResponse(b"".join(lines), content_type="text/csv; charset=utf-8", headers=headers)


def _shown(period: Period, busy: str) -> Iterator[dict[str, object]]:
    for name in STATISTICS:
        statistic = _statistic(name, period, busy)
        file = f"of={name}&{period.address}" + (f"&busy={busy}" if name == "busiest" and busy in WORDS else "")
        yield {"name": name, "statistic": statistic, "file": file}


def _statistic(name: str, period: Period, busy: str, most: int | None = None) -> Statistic:
    if name == "busiest":
        return busiest(period, busy)
    return STATISTICS[name](period, *([most] if most and name in WITH_NAMES else []))


def _check(request: HttpRequest) -> None:
    if not may_open(request.user, "statistics"):
        raise PermissionDenied


def _bad(sentence: str) -> HttpResponse:
    return HttpResponseBadRequest(sentence, content_type="text/plain; charset=utf-8")
