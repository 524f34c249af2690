"""Counting wrong passwords."""

import pytest

from apps.access import guesses
from apps.access.guesses import Guesses
from tests import factories


def test_so_many_wrong_guesses_are_looked_at_and_no_more():
    counted = Guesses(limit=3, seconds=60)
    for _ in range(3):
        assert counted.allows("alice", now=0)
        counted.was_wrong("alice", now=0)
    assert not counted.allows("alice", now=59)
    assert counted.allows("bob", now=59)


def test_after_a_while_guesses_are_looked_at_again():
    counted = Guesses(limit=1, seconds=60)
    counted.was_wrong("alice", now=0)
    assert counted.allows("alice", now=60)
    counted.was_wrong("alice", now=60)
    assert not counted.allows("alice", now=119)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(guesses, "REMEMBERED", 2)
    counted = Guesses(limit=1, seconds=60)
    for name in ("alice", "bob", "charlie"):
        counted.was_wrong(name, now=0)
    assert [counted.allows(name, now=1) for name in ("alice", "bob", "charlie")] == [True, False, False]


@pytest.fixture
def student(wcs):
    factories.make_app()
    factories.make_rule("connect")
    return factories.make_user("student", password="right")


def log_in(wcs, client, password, login="student"):
    return wcs.reason("connect", sessionId=f"/{client}:1/10.0.0.1:8443", custom={"login": login, "password": password})


def test_the_right_password_does_not_help_who_guessed_too_often(wcs, student):
    for _ in range(10):
        assert log_in(wcs, "192.0.2.1", "wrong") == "bad-password"
    assert log_in(wcs, "192.0.2.1", "right") == "bad-password"
    assert log_in(wcs, "192.0.2.2", "right") == ""


def test_staff_cannot_log_in_through_wcs(wcs, student):
    student.is_staff = True
    student.save()
    assert log_in(wcs, "192.0.2.3", "right") == "bad-password"
