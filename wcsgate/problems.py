"""How the API says what is wrong: a stable code and a sentence, as hooks are answered."""

import logging
from typing import Any

from django.db import InterfaceError, OperationalError
from rest_framework.response import Response
from rest_framework.views import exception_handler

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
