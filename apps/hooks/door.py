"""The fast door: a plain WSGI callable that answers `/hooks/` and leaves everything else to Django."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from django.utils.encoding import repercent_broken_unicode

from apps.hooks.answer import answer, answer_unread, read_body

PREFIX = "/hooks/"

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


def with_fast_door(django: Application) -> Application:
    """The application with the fast door in front of it."""

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIX):
            return django(environ, start_response)
        name = wire_name(_text(path))
        result = answer_unread(name, environ)
        if result is None:
            body = read_body(environ["wsgi.input"].read, environ)
            result = answer(name, environ, body, now=datetime.now(UTC))
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(result.body))),
            *result.headers,
        ]
        start_response(f"{result.status.value} {result.status.phrase}", headers)
        return [result.body]

    return application


def wire_name(path: str) -> str:
    """The method: the last segment of the path below the prefix; "" where there is none."""
    return path[len(PREFIX) :].rstrip("/").rsplit("/", 1)[-1]


def _text(path: str) -> str:
    """A path as text, of which WSGI gives the bytes as Latin-1; what is not UTF-8 becomes %XX, as in Django."""
    return path if path.isascii() else repercent_broken_unicode(path.encode("latin-1", "replace")).decode()
