"""What requests pass by: hooks at the reference door, and staff."""

from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from apps.access.staff_acts import acting_for
from apps.database.connection import Unavailable
from apps.database.hook_path import expect_an_answer
from apps.hooks.door import PREFIX
from apps.hooks.notice_page import notice_page
from apps.hooks.views import HookView

Respond = Callable[[HttpRequest], HttpResponseBase]


def hooks_first(get_response: Respond) -> Respond:
    """Hooks go straight to their view, past all other middleware, as they do at the fast door.

    WCS has no session, cookie, form or page: what is there for browsers would only cost time, and could only make the
    two doors differ.
    """
    view = HookView.as_view()

    def respond(request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(PREFIX):
            return view(request, method=request.path_info[len(PREFIX) :])
        return get_response(request)

    return respond


CHANGES_NOTHING = ("GET", "HEAD", "OPTIONS", "TRACE")
PROBES = ("/healthz", "/readyz", "/metrics")
PATIENCE = 2.0
"""Seconds that staff wait for Postgres before they are told that it is away."""
AWAY = "The database does not answer just now."
NOTHING_CHANGED = "Nothing was changed."
HOOKS_GO_ON = "Running streams go on for a while, and whoever wants something new has to wait."


def away_is_said(get_response: Respond) -> Respond:
    """Nobody waits for a Postgres that does not answer: a page says so. What asks how we are says it its own way."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        if request.path_info in PROBES:
            return get_response(request)
        try:
            expect_an_answer(PATIENCE)
            connection.cursor().close()  # pages have another connection, and there may be none left
        except (Unavailable, OperationalError, InterfaceError):
            return away(request)
        return get_response(request)

    return respond


def away(request: HttpRequest, what_became: str = NOTHING_CHANGED) -> HttpResponse:
    """The notice that the database is away, and what became of what was asked for."""
    headers = {"Retry-After": "5", "Cache-Control": "no-store"}
    if request.path_info.startswith("/api/"):
        detail = f"{AWAY} {what_became} Try again in a moment."
        return JsonResponse({"error": "database-away", "detail": detail}, status=503, headers=headers)
    page = notice_page(AWAY.rstrip("."), f"{what_became} {HOOKS_GO_ON}", looked=request.method in CHANGES_NOTHING)
    return HttpResponse(page, status=503, headers=headers)


def staff_acts(get_response: Respond) -> Respond:
    """What a request changes is recorded with who sent it, from where, and why."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        if request.method in CHANGES_NOTHING or not request.user.is_authenticated:
            return get_response(request)
        with acting_for(request, request.user):
            return get_response(request)

    return respond
