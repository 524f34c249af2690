"""Postgres is away, slow or locked: the answer is a 503 within a second, and nobody is let in meanwhile."""

import json
import threading
import time

import psycopg
import pytest

from apps.access import snapshot
from apps.access.snapshot import SnapshotKeeper
from apps.database import connection
from apps.database.connection import AWAY_FOR
from apps.database.hook_path import impatient
from apps.hooks import answer as flow
from tests.database.wire import Wire
from tests.hooks.processes import conninfo, recorded

A_SECOND = 1.5  # on a computer that is busy with other tests
AT_ONCE = 0.5  # that is, without having waited for Postgres, whose time is 0.8


@pytest.fixture
def wire(school):
    wire = Wire(impatient(conninfo()))
    yield wire
    wire.close()


@pytest.fixture
def process(wire, start_process, monkeypatch):
    """This process, all of whose connections to Postgres go through the wire; Alice is connected."""
    process = start_process(database=wire.conninfo, keeper=SnapshotKeeper(wire.conninfo))
    monkeypatch.setattr(flow, "_gate", lambda: process.gate)
    yield process
    wire.close()  # so that nobody waits for it while the process is stopped


@pytest.fixture
def alice(wcs, process):
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == ""
    assert wcs.reason("publishStream", name="lobby") == ""
    return wcs


def could_not_decide(answer):
    told = json.loads(answer.body)
    return (answer.status, answer.headers, told.keys(), told["error"]) == (
        503,
        (),
        {"error", "detail"},
        "could-not-decide",
    )


def timed(wcs, method="publishStream", **members):
    began = time.monotonic()
    answer = wcs.hook(method, name="lobby", **members)
    return answer, time.monotonic() - began


def test_where_postgres_is_gone_the_answer_is_a_503_at_once(alice, wire):
    wire.close()
    for _ in range(20):
        answer, took = timed(alice)
        assert could_not_decide(answer)
        assert took < AT_ONCE
    assert len(recorded(method="publishStream")) == 1


def test_where_postgres_went_silent_the_answer_is_a_503_within_a_second_and_then_at_once(alice, wire, monkeypatch):
    monkeypatch.setattr(connection, "AWAY_FOR", 10)
    wire.stall()
    answer, took = timed(alice)
    assert could_not_decide(answer)
    assert took < A_SECOND
    for _ in range(10):
        answer, took = timed(alice)
        assert could_not_decide(answer)
        assert took < AT_ONCE


def test_that_goes_for_all_who_ask_at_the_same_time(alice, wire):
    results = []
    threads = [threading.Thread(target=lambda: results.append(timed(alice))) for _ in range(12)]
    wire.stall()
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert all(could_not_decide(answer) for answer, _ in results)
    assert max(took for _, took in results) < A_SECOND


def test_not_even_an_event_is_answered_200_unrecorded(alice, wire):
    wire.close()
    answer, _ = timed(alice, "StreamStatusEvent")
    assert could_not_decide(answer)


def test_where_the_rules_were_never_read_the_answer_is_a_503_within_a_second(wcs, process, wire):
    wire.close()
    for token in ("tok-alice", "wrong"):
        answer, took = timed(wcs, "connect", custom={"token": token})
        assert could_not_decide(answer)
        assert took < A_SECOND


def test_when_postgres_is_back_so_are_the_answers(alice, wire):
    wire.stall()
    assert could_not_decide(timed(alice)[0])
    wire.cut()
    wire.go_on()
    time.sleep(AWAY_FOR)
    assert alice.reason("publishStream", name="lobby") == ""
    assert len(recorded(method="publishStream")) == 2


def test_what_changed_meanwhile_counts_then(alice, wire, school):
    wire.stall()
    assert could_not_decide(timed(alice)[0])
    school["alice"].is_active = False
    school["alice"].save()
    wire.cut()
    wire.go_on()
    time.sleep(AWAY_FOR)
    assert alice.reason("publishStream", name="lobby") == "user-inactive"


def test_a_break_between_two_hooks_is_not_noticed(alice, wire):
    for _ in range(5):
        wire.cut()
        assert alice.reason("publishStream", name="lobby") == ""
    assert len(recorded(method="publishStream")) == 6


def test_a_table_that_is_locked_is_a_503_within_a_second(alice):
    with psycopg.connect(conninfo()) as somebody:
        somebody.execute("LOCK TABLE audit_hookrecord")
        answer, took = timed(alice)
        assert could_not_decide(answer)
        assert took < A_SECOND
    time.sleep(AWAY_FOR)
    assert alice.reason("publishStream", name="lobby") == ""


def test_a_session_that_somebody_has_locked_holds_up_nobody_else(alice):
    """Its connecting again has to wait; what only looks at sessions does not, nor do other sessions."""
    alice.hook("connect", sessionId="other", custom={"token": "tok-alice"})
    with psycopg.connect(conninfo()) as somebody:
        somebody.execute("SELECT FROM connections_session WHERE session_id <> 'other' FOR UPDATE")
        results = {}

        def connect(session_id):
            results[session_id] = timed(alice, "connect", sessionId=session_id, custom={"token": "tok-alice"})

        threads = [threading.Thread(target=connect, args=(id_,)) for id_ in (alice.common["sessionId"], "other", "new")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert alice.reason("publishStream", name="lobby") == ""
    locked, _ = results.pop(alice.common["sessionId"])
    assert could_not_decide(locked)
    assert {answer.status for answer, _ in results.values()} == {200}


def test_changes_that_are_long_in_coming_hold_up_nobody(alice):
    """Somebody imports a great many rules in one transaction: hooks go on under the rules of before."""
    with psycopg.connect(conninfo()) as somebody:
        somebody.execute("UPDATE access_rule SET effect = 'deny'")
        assert alice.reason("publishStream", name="lobby") == ""
        answer, took = timed(alice, "StreamStatusEvent", nodeId="seen-for-the-first-time@192.0.2.1")
        assert answer.status == 200
        assert took < AT_ONCE
    assert alice.reason("publishStream", name="lobby") == "denied-by-rule"


def test_too_many_passwords_at_once_are_a_503_and_no_outage(alice, process, school):
    school["bob"].set_password("bobs-password")
    school["bob"].save()
    with snapshot._checking_password:
        answer = alice.hook("connect", custom={"login": "bob", "password": "bobs-password"})
    assert could_not_decide(answer)
    assert process.emptying.since is None
