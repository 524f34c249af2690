"""Room for hooks: only so many pages of staff and programs are made at a time in a process, so that some of its threads
are always left, whatever pages wait for.
"""

import json
import threading
from collections.abc import Iterable, Iterator

from apps.hooks.door import STATUS_LINES, Application, Environ, StartResponse
from apps.hooks.notice_page import notice_page

PAGES = ("/admin/", "/api/")
WAITING = 2
"""So many pages wait for their turn at a time, each in a thread of its own; all others are turned away at once."""
PATIENCE = 2.0
BUSY = "Too many pages are asked for at once."


class Room:
    """Places for pages that are being made, and for a few that wait for one of these."""

    def __init__(self, at_once: int) -> None:
        self._places = threading.BoundedSemaphore(at_once)
        self._queue = threading.BoundedSemaphore(WAITING)

    def enter(self) -> bool:
        """Take a place, to be left again; False where there is none."""
        if self._places.acquire(blocking=False):
            return True
        if not self._queue.acquire(blocking=False):
            return False
        try:
            return self._places.acquire(timeout=PATIENCE)
        finally:
            self._queue.release()

    def leave(self) -> None:
        """Give it to the next one."""
        self._places.release()


class Page:
    """A page on its way to whoever asked; it has its place until the server is done with it."""

    def __init__(self, body: Iterable[bytes], room: Room) -> None:
        self._body, self._room = body, room

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """As WSGI servers call it, once, also where the other side has gone."""
        try:
            getattr(self._body, "close", lambda: None)()
        finally:
            self._room.leave()


def with_room_for_hooks(django: Application, at_once: int) -> Application:
    """Django, which is asked for at most so many pages at once."""
    room = Room(at_once)

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        if not path.startswith(PAGES):
            return django(environ, start_response)
        if not room.enter():
            return _turned_away(path, environ.get("REQUEST_METHOD", "GET"), start_response)
        try:
            return Page(django(environ, start_response), room)
        except BaseException:
            room.leave()
            raise

    return application


def _turned_away(path: str, method: str, start_response: StartResponse) -> list[bytes]:
    is_page = path.startswith("/admin/")
    page = notice_page(BUSY, "Nothing was changed.", looked=method == "GET") if is_page else ""
    body = (page or json.dumps({"error": "busy", "detail": f"{BUSY} Nothing was changed. Try again."})).encode()
    headers = [
        ("Content-Type", "text/html; charset=utf-8" if is_page else "application/json"),
        ("Content-Length", str(len(body))),
        ("Retry-After", "5"),
        ("Cache-Control", "no-store"),
    ]
    start_response(STATUS_LINES[503], headers)
    return [body]
