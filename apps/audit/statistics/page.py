"""The page of statistics, and each of them as a file."""

from collections.abc import Callable, Iterator

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from apps.access.acts import note
from apps.accounts.csv_lines import csv_line
from apps.accounts.navigation import may_open
from apps.audit.statistics.app import BadApp, address_of, app_of, apps_to_choose, of_all_apps
from apps.audit.statistics.hooks import hooks, refusals
from apps.audit.statistics.models import Recount
from apps.audit.statistics.names import EXPORTED, streams_by_viewers, users_by_attempts, users_by_hours
from apps.audit.statistics.period import CHOICES, OWN, BadPeriod, Period, period_of
from apps.audit.statistics.running import WORDS, busiest, durations, running
from apps.audit.statistics.table import Statistic

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
BY_APP = ("hooks", "refusals")


def statistics(request: HttpRequest) -> HttpResponse:
    """All of them, for one period, and of one app where they can tell it."""
    _check(request)
    asked, now = request.GET.dict(), timezone.now()
    try:
        period, app, problem = period_of(asked, now), app_of(asked), ""
    except (BadPeriod, BadApp) as error:
        period, app, problem = period_of({}, now), "", str(error)
    busy = request.GET.get("busy", "")
    context = {
        **admin.site.each_context(request),
        "title": "Statistics",
        "period": period,
        "choices": CHOICES,
        "own": period.name == OWN,
        "problem": problem,
        "app": app,
        "apps": apps_to_choose(app),
        "of_app": address_of(app),
        "shown": list(_shown(period, app, busy)),
        "busy": [(word, f"?{period.address}{address_of(app)}&busy={action}#busiest") for action, word in WORDS.items()],
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
        period, app = period_of(request.GET.dict(), timezone.now()), app_of(request.GET.dict())
    except (BadPeriod, BadApp) as error:
        return _bad(str(error))
    if app and name not in BY_APP:
        return _bad(f"“{name}” is not kept by app: leave “app” out. By app there are {' and '.join(BY_APP)}.")
    found = _statistic(name, period, app, request.GET.get("busy", ""), EXPORTED)
    lines = [csv_line(cells) for cells in (found.head, *(row.cells for row in found.rows)) if cells]
    note(request, "export", "a file of statistics", told=f"{found.title}, {period}")
    file = f"{name}-{period.first_day}-{period.last_day}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    return HttpResponse(b"".join(lines), content_type="text/csv; charset=utf-8", headers=headers)


def _shown(period: Period, app: str, busy: str) -> Iterator[dict[str, object]]:
    for name in STATISTICS:
        statistic = _statistic(name, period, app, busy)
        file = f"of={name}&{period.address}" + (f"&busy={busy}" if name == "busiest" and busy in WORDS else "")
        if name in BY_APP:
            file += address_of(app)
        elif app:
            statistic = of_all_apps(statistic)
        yield {"name": name, "statistic": statistic, "file": file}


def _statistic(name: str, period: Period, app: str, busy: str, most: int | None = None) -> Statistic:
    if name == "busiest":
        return busiest(period, busy)
    if name in BY_APP:
        return STATISTICS[name](period, app)
    return STATISTICS[name](period, *([most] if most and name in WITH_NAMES else []))


def _check(request: HttpRequest) -> None:
    if not may_open(request.user, "statistics"):
        raise PermissionDenied


def _bad(sentence: str) -> HttpResponse:
    return HttpResponseBadRequest(sentence, content_type="text/plain; charset=utf-8")
