"""However many pages are asked for at once, and whatever they wait for, hooks have threads left."""

import json
import threading
from contextlib import ExitStack

import pytest

from apps.hooks import room

AT_ONCE = 3


class Slow:
    """Django where pages take until they are let go, and their downloads until they are closed."""

    def __init__(self):
        self.go, self.asked, self.closed = threading.Event(), threading.Semaphore(0), 0

    def __call__(self, environ, start_response):
        self.asked.release()
        if environ["PATH_INFO"] == "/admin/broken/":
            raise ZeroDivisionError
        if environ["PATH_INFO"] == "/admin/frozen/":
            assert self.go.wait(10)
        start_response("200 OK", [])
        return self

    def __iter__(self):
        yield b"page"

    def close(self):
        self.closed += 1


@pytest.fixture
def django():
    return Slow()


@pytest.fixture
def application(django):
    return room.with_room_for_hooks(django, AT_ONCE)


@pytest.fixture
def frozen(application, django):
    """As many pages as may be made wait for something that does not come, until the test is over."""
    with ExitStack() as at_the_end:
        for _ in range(AT_ONCE):
            thread = threading.Thread(target=ask, args=(application, "/admin/frozen/"))
            thread.start()
            at_the_end.callback(thread.join)
            assert django.asked.acquire(timeout=10)
        at_the_end.callback(django.go.set)
        yield


def ask(application, path):
    """The status and the body; the page is read, and done with."""
    started = []
    body = application({"PATH_INFO": path}, lambda status, headers: started.append(status))
    with ExitStack() as at_the_end:
        at_the_end.callback(getattr(body, "close", lambda: None))
        return started[0], b"".join(body)


def test_pages_that_find_no_room_are_turned_away(application, frozen, monkeypatch):
    monkeypatch.setattr(room, "PATIENCE", 0.05)
    status, body = ask(application, "/admin/")
    assert status == "503 Service Unavailable"
    assert f"<h1>{room.BUSY}</h1>" in body.decode()
    status, body = ask(application, "/api/v1/audit")
    assert (status, json.loads(body)["error"]) == ("503 Service Unavailable", "busy")
    assert json.loads(body)["detail"].startswith(room.BUSY)


def test_what_is_no_page_needs_no_room(application, frozen):
    for path in ("/hooks/connect", "/healthz", "/readyz", "/metrics", "/static/a.js", "/"):
        assert ask(application, path) == ("200 OK", b"page")


def test_no_more_than_a_few_wait_each_in_its_thread(application, django, frozen, monkeypatch):
    monkeypatch.setattr(room, "PATIENCE", 10.0)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(application, "/admin/"))) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=0.2)
    assert len([thread for thread in threads if thread.is_alive()]) == room.WAITING
    assert {status for status, _ in answers} == {"503 Service Unavailable"}
    django.go.set()
    for thread in threads:
        thread.join()
    assert [status for status, _ in answers].count("200 OK") == room.WAITING


def test_a_place_is_free_when_a_page_is_done_with_and_no_sooner(application, django, monkeypatch):
    monkeypatch.setattr(room, "PATIENCE", 0.05)
    downloads = [application({"PATH_INFO": "/admin/"}, lambda *_: None) for _ in range(AT_ONCE)]
    assert ask(application, "/admin/")[0] == "503 Service Unavailable"
    downloads[0].close()
    assert ask(application, "/admin/")[0] == "200 OK"
    assert django.closed == 2


def test_a_page_that_fails_leaves_its_place(application):
    for _ in range(AT_ONCE + 1):
        with pytest.raises(ZeroDivisionError):
            ask(application, "/admin/broken/")
    assert ask(application, "/admin/")[0] == "200 OK"
