"""Finding sessions again: from memory where they are remembered, else from the database; ended ones not from memory."""

import time

import msgspec
import pytest
from django.utils import timezone

from apps.connections import sessions as module
from apps.connections.models import Session
from apps.connections.rows import SessionRow
from apps.connections.sessions import Sessions
from apps.database.connection import Database
from tests import factories
from tests.database.wire import Wire
from tests.hooks.processes import conninfo


@pytest.fixture
def wire(transactional_db):
    wire = Wire(conninfo())
    yield wire
    wire.close()


@pytest.fixture
def sessions(wire):
    database = Database(wire.conninfo)
    yield Sessions(database)
    database.close()


def make_session(session_id="S", **fields):
    return Session.objects.create(
        node_id="N", session_id=session_id, app_key="defaultApp", entered_by="guest", **fields
    )


def find(sessions, session_id="S", node_id="N"):
    return sessions.find(node_id, session_id, time.monotonic() + 2)


def test_a_row_has_everything_that_hooks_find(sessions):
    alice = factories.make_user()
    values = {"opening": 3, "user": alice, "username": "alice", "token": factories.make_token(alice), "hiding": 5}
    session = make_session(**values, origin="https://example.org", granted="some", ended_at=timezone.now())
    found = find(sessions)
    assert session.row() == found
    assert [name for name, value in msgspec.structs.asdict(found).items() if not value] == []


def test_it_is_found_as_it_is(sessions):
    alice = factories.make_user()
    token = factories.make_token(alice)
    row = make_session(
        opening=3, user=alice, username="Zoë", token=token, origin="https://example.org", granted="what it was granted"
    )
    assert find(sessions) == SessionRow(
        id=row.id,
        opening=3,
        app_key="defaultApp",
        user_id=alice.id,
        username="Zoë",
        token_id=token.id,
        entered_by="guest",
        origin="https://example.org",
        opened_at=row.opened_at,
        granted="what it was granted",
    )


def test_a_guest_has_neither_user_nor_token(sessions):
    make_session()
    session = find(sessions)
    assert (session.user_id, session.username, session.token_id) == (None, "", None)


def test_what_was_found_is_remembered(sessions, wire):
    make_session()
    found = find(sessions)
    assert find(sessions) is found
    assert wire.round_trips == 1


def test_what_was_never_there_is_looked_for_each_time(sessions, wire):
    assert find(sessions) is None
    make_session()
    assert find(sessions) is not None
    assert wire.round_trips == 2


def test_without_ids_nothing_is_looked_for(sessions, wire):
    make_session("")
    assert find(sessions, "") is None
    assert find(sessions, node_id="") is None
    assert wire.round_trips == 0


def test_node_and_session_belong_together(sessions):
    make_session()
    assert find(sessions, node_id="other") is None
    assert find(sessions, "other") is None
    assert find(sessions, "N", node_id="S") is None


def test_one_that_ended_is_found_but_not_remembered(sessions, wire):
    make_session(ended_at=timezone.now())
    assert find(sessions).ended
    Session.objects.update(ended_at=None)
    assert not find(sessions).ended
    assert wire.round_trips == 2


def test_what_is_forgotten_is_looked_up_again(sessions, wire):
    make_session()
    find(sessions)
    Session.objects.update(opening=2)
    assert find(sessions).opening == 1, "as it was remembered; recording a hook would notice"
    sessions.forget("N", "S")
    assert find(sessions).opening == 2
    assert wire.round_trips == 2
    sessions.forget("N", "never there")


def test_memory_is_bounded_and_what_is_forgotten_is_found_again(sessions, wire, monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 3)
    for number in range(5):
        make_session(str(number))
        find(sessions, str(number))
    assert len(sessions._remembered) == 3
    assert [find(sessions, str(number)) is not None for number in range(5)] == [True] * 5
    assert wire.round_trips > 5
