"""How the API says what is wrong: a stable code and a sentence, as hooks are answered; and what is sent in place of a
page that ended in an error."""

import logging
import sys
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views import defaults
from rest_framework.response import Response
from rest_framework.views import exception_handler

from apps.hooks.middleware import CHANGES_NOTHING, NOTHING_CHANGED, away
from wcsgate.logs import is_away

logger = logging.getLogger(__name__)


def problem(error: Exception, context: dict[str, Any]) -> Response | None:
    """The answer to whatever a view of the API raises; None for what is no problem of the caller's."""
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("The API could not answer, the database being away: %s", type(error).__name__)
        said = {"error": "database-away", "detail": "The database does not answer. Ask again in a while."}
        return Response(said, status=503, headers={"Retry-After": "10"})
    response = exception_handler(error, context)
    if response is not None:
        detail = response.data["detail"]
        response.data = {"error": detail.code.replace("_", "-"), "detail": str(detail)}
    return response


def failed(request: HttpRequest) -> HttpResponse:
    """What is sent in place of a page that failed, or whatever is on the way to one: that Postgres is away, where that
    is why. Django calls it while it handles the error."""
    error = sys.exc_info()[1]
    if error is None or not is_away(error):
        return defaults.server_error(request)
    looked = request.method in CHANGES_NOTHING
    return away(request, NOTHING_CHANGED if looked else "Look whether it was saved before you send it again.")
