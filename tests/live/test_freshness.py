"""Whoever waits to be counted is decided anew if meanwhile something changed; and nothing is left half done."""

import threading
import time
from contextlib import contextmanager

import psycopg
import pytest

from apps.access.models import Rule
from apps.accounts.models import Token
from apps.audit.recording.recorder import Recorder
from apps.connections.models import Session
from apps.database.connection import StatementFailed, Unavailable
from apps.database.hook_path import impatient
from apps.live.models import Cut, Lease
from tests import factories
from tests.hooks.processes import conninfo, recorded

SOMEBODY_WAITS = """SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


@pytest.fixture
def raw():
    with psycopg.connect(conninfo(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def waiting(raw):
    """Lets a hook wait for its turn while something happens; gives what it was answered."""

    @contextmanager
    def waiting(rule, ask):
        answers = []
        thread = threading.Thread(target=lambda: answers.append(ask()))
        with raw.transaction():
            raw.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{rule.id} user alice"])
            thread.start()
            until = time.monotonic() + 5
            while not raw.execute(SOMEBODY_WAITS).fetchone():
                assert time.monotonic() < until
            yield answers
        thread.join()

    return waiting


def test_a_rule_that_is_taken_back_while_it_waits_lets_nobody_in(client, limited, waiting):
    rule, alice = limited(at_once=1), client("alice")
    with waiting(rule, alice.play) as answers:
        Rule.objects.filter(pk=rule.pk).update(enforced=False)
    assert answers == ["no-rule"]
    assert not Lease.objects.filter(action="play")
    assert [record.reason for record in recorded(method="playStream")] == ["no-rule"]


def test_a_session_that_ends_while_it_waits_lets_nobody_in(client, limited, waiting):
    rule, alice = limited(at_once=1), client("alice")
    with waiting(rule, alice.play) as answers:
        Session.objects.update(ended_at="2026-01-01T00:00Z")
    assert answers == ["session-ended"]
    assert not Lease.objects.filter(action="play")


def test_whoever_came_before_is_counted(client, limited, waiting, raw):
    rule, alice = limited(at_once=1), client("alice")
    with waiting(rule, alice.play) as answers:
        lease = factories.make_lease(rules=[rule], username="alice", who="user alice")
    assert answers == ["limit-reached"]
    assert list(Lease.objects.filter(action="play")) == [lease]


def test_a_token_for_single_use_is_used_by_what_is_let_in_alone(wcs, school, client):
    Rule.objects.filter(actions=["connect"]).update(limit_per="user", at_once=1)
    token = factories.make_token(school["bob"], "ticket", label="ticket", single_use=True)
    bob, ticket = client("bob"), {"custom": {"token": "ticket"}}
    assert wcs.reason("connect", **ticket) == "limit-reached"
    assert Token.objects.get(pk=token.pk).used_at is None
    bob.disconnect()
    assert wcs.reason("connect", **ticket) == ""
    assert Token.objects.get(pk=token.pk).used_session_id == factories.SESSION_ID
    Rule.objects.filter(actions=["connect"]).update(at_once=5)
    assert wcs.reason("connect", **ticket, sessionId="/10.0.0.7:1/n") == "token-used"
    assert wcs.reason("connect", **ticket) == ""


def test_a_link_lets_in_as_many_as_the_stream_does(wcs, school):
    factories.make_stream("lobby", max_viewers=1)
    factories.make_rule("play", guests=True, limit_per="rule", at_once=1)
    hold = {"name": "lobby", "custom": {"token": factories.make_link().token}}
    assert wcs.reason("playHLS", **hold, sessionId="/10.0.0.7:1/n", mediaSessionId="a") == ""
    assert wcs.reason("playHLS", **hold, sessionId="/10.0.0.7:1/n", mediaSessionId="a") == ""
    assert wcs.reason("playHLS", **hold, sessionId="/10.0.0.8:1/n", mediaSessionId="b") == "limit-reached"
    assert {tuple(record.rule_ids) for record in recorded(method="playHLS")} == {()}


# Where the connection breaks after the commit


class Deaf(Recorder):
    """Hears of no first answer of the database, as where the connection broke just after the commit."""

    def __init__(self, database, sessions):
        super().__init__(Twice(database), sessions)


class Twice:
    def __init__(self, database):
        self._database = database

    def run(self, statement, params, deadline):
        if statement.name.startswith("record"):
            self._database.run(statement, params, deadline)
        return self._database.run(statement, params, deadline)

    def expect_an_answer(self):
        self._database.expect_an_answer()


def test_an_admission_that_is_sent_again_is_one(start_process, client, limited):
    limited(at_once=1)
    alice, deaf = client("alice"), start_process(recorder=Deaf)
    ask = {"sessionId": alice.session, "name": "lobby"}
    assert deaf.reason("playStream", **ask, mediaSessionId="a") == ""
    assert deaf.reason("playStream", **ask, mediaSessionId="b") == "limit-reached"
    assert Lease.objects.filter(action="play").count() == 1
    assert [record.effect for record in recorded(method="playStream")] == ["allow", "deny"]


def test_so_is_a_session(start_process, school):
    Rule.objects.filter(actions=["connect"]).update(limit_per="user", at_once=1)
    deaf = start_process(recorder=Deaf)
    assert deaf.reason("connect", custom={"token": "tok-alice"}) == ""
    assert deaf.reason("connect", custom={"token": "tok-alice"}, sessionId="another") == "limit-reached"
    assert deaf.reason("publishStream", name="lobby") == ""
    assert Session.objects.get().opening == 1


def test_one_that_can_not_be_counted_in_time_is_not_let_in(start_process, client, limited, raw):
    rule, alice = limited(at_once=5), client("alice")
    process = start_process(database=impatient(conninfo()))
    with raw.transaction():
        raw.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{rule.id} user alice"])
        with pytest.raises((Unavailable, StatementFailed)):
            process.reason("playStream", sessionId=alice.session, name="lobby", mediaSessionId="a")
        time.sleep(0.2)  # by now Postgres has given up, too
    assert not Lease.objects.filter(action="play")
    assert not Cut.objects.exists()
    assert not recorded(method="playStream")
