"""The fast door: a plain WSGI callable that answers `/hooks/` and leaves everything else to Django."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from django.utils.encoding import repercent_broken_unicode

from apps.hooks.answer import answer, is_json

PREFIX = "/hooks/"
STATUS_LINES = {status: f"{status.value} {status.phrase}" for status in HTTPStatus}

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


def with_fast_door(django: Application) -> Application:
    """The application with the fast door in front of it."""

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIX):
            return django(environ, start_response)
        result = answer(wire_name(_text(path)), environ, environ["wsgi.input"].read, now=datetime.now(UTC))
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(result.body))),
            *result.headers,
        ]
        start_response(STATUS_LINES[result.status], headers)
        return [result.body]

    return application


def without_charset(django: Application) -> Application:
    """Django, not told of the charset that WCS names with every hook: JSON is in UTF-8 anyway, and reading that word
    takes Django's request longer than deciding takes us.
    """

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith(PREFIX) and is_json(environ.get("CONTENT_TYPE", "")):
            environ["CONTENT_TYPE"] = "application/json"
        return django(environ, start_response)

    return application


def wire_name(path: str) -> str:
    """The method: the last segment of the path below the prefix; "" where there is none."""
    return path[len(PREFIX) :].rstrip("/").rsplit("/", 1)[-1]


def _text(path: str) -> str:
    """A path as text, of which WSGI gives the bytes as Latin-1; what is not UTF-8 becomes %XX, as in Django."""
    return path if path.isascii() else repercent_broken_unicode(path.encode("latin-1", "replace")).decode()
