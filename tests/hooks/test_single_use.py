"""Tokens for single use: one session gets it, whatever comes at once, and everybody else is refused with the reason."""

import threading

import pytest

from apps.access.models import AccessRevision
from apps.accounts.models import Token
from apps.connections.models import Session
from tests import factories
from tests.database.wire import Wire
from tests.hooks.processes import conninfo, recorded

TICKET = {"custom": {"token": "ticket"}}


@pytest.fixture
def ticket(school):
    """A token for single use: Bob's, who may watch the lobby."""
    return factories.make_token(school["bob"], "ticket", label="ticket", single_use=True)


def revision():
    return AccessRevision.objects.get().revision


def use_of(token):
    token.refresh_from_db()
    return token.used_at and (token.used_node_id, token.used_session_id)


def test_the_first_session_gets_it_and_the_next_is_refused_and_recorded_so(wcs, ticket):
    raised = revision()
    assert wcs.reason("connect", **TICKET) == ""
    assert use_of(ticket) == (factories.NODE_ID, factories.SESSION_ID)
    assert wcs.reason("connect", **TICKET, sessionId="other") == "token-used"
    assert wcs.reason("connect", **TICKET, nodeId="other") == "token-used"
    assert [record.reason for record in recorded()] == ["allowed-by-rule", "token-used", "token-used"]
    assert recorded()[-1].username == "bob"
    assert Session.objects.count() == 1
    assert revision() == raised


def test_the_record_says_when_it_was_used(wcs, ticket):
    wcs.reason("connect", **TICKET)
    ticket.refresh_from_db()
    assert ticket.used_at == recorded()[0].received_at


def test_a_hook_that_is_repeated_gets_the_same_answer_in_every_process(wcs, another_process, ticket):
    first = wcs.hook("connect", **TICKET)
    used_at = Token.objects.get(pk=ticket.pk).used_at
    for process in (wcs, another_process, wcs, another_process):
        assert process.hook("connect", **TICKET) == first
        assert process.reason("connect", **TICKET, sessionId="other") == "token-used"
    assert Token.objects.get(pk=ticket.pk).used_at == used_at


def test_what_goes_on_in_its_session_goes_on(wcs, another_process, ticket):
    wcs.hook("connect", **TICKET)
    for process in (wcs, another_process):
        assert process.reason("playStream", name="lobby") == ""
        assert process.reason("playStream", name="lobby", **TICKET) == ""
        assert process.reason("StreamKeepAliveEvent", name="lobby", published=False) == ""


def test_a_refused_hook_does_not_use_it(wcs, ticket):
    assert wcs.reason("playHLS", name="attic", **TICKET) == "no-rule"
    assert wcs.reason("connect", appKey="nowhere", **TICKET) == "unknown-app"
    assert use_of(ticket) is None
    assert wcs.reason("playHLS", name="lobby", **TICKET, sessionId="/10.0.0.7:1/n:8443") == ""
    assert use_of(ticket) == (factories.NODE_ID, "/10.0.0.7:1/n:8443")


def test_a_player_uses_it_for_as_long_as_it_plays(wcs, another_process, ticket):
    for process in (wcs, another_process, wcs):
        assert process.reason("playHLS", name="lobby", **TICKET, sessionId="/10.0.0.7:1/n:8443") == ""
    for process in (wcs, another_process):
        assert process.reason("playHLS", name="lobby", **TICKET, sessionId="/10.0.0.7:2/n:8443") == "token-used"
        address = "rtsp://node:5554/lobby?token=ticket"
        assert process.reason("playRTSP", name=address, sessionId="third") == "token-used"


def test_one_stream_of_a_session_may_use_it(wcs, ticket):
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("connect", custom={"token": "tok-charlie"}, sessionId="other")
    assert wcs.reason("playStream", name="lobby", **TICKET) == ""
    assert wcs.reason("playStream", name="lobby", **TICKET, sessionId="other") == "token-used"
    assert wcs.reason("playStream", name="lobby", **TICKET) == ""


def test_a_session_that_ended_a_moment_ago_does_not_use_it(wcs, another_process, ticket):
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert another_process.reason("playStream", name="lobby") == "no-rule"  # it remembers the session
    wcs.hook("ConnectionStatusEvent", status="DISCONNECTED")
    assert another_process.reason("playStream", name="lobby", **TICKET) == "session-ended"
    assert use_of(ticket) is None


def test_rules_that_changed_a_moment_ago_do_not_use_it(wcs, another_process, ticket, school):
    assert another_process.reason("playHLS", name="lobby", custom={"token": "tok-bob"}) == ""
    factories.make_rule("play", effect="deny", user=school["bob"])
    assert another_process.reason("playHLS", name="lobby", **TICKET) == "denied-by-rule"
    assert use_of(ticket) is None


def test_under_an_app_of_the_rest_api_nothing_is_refused_nor_used_up(wcs, ticket):
    factories.make_app("restApp", rest_started=True)
    for session_id in ("one", "two"):
        assert wcs.reason("playHLS", name="lobby", appKey="restApp", sessionId=session_id, **TICKET) == ""
    assert use_of(ticket) is None


@pytest.mark.parametrize("method", ["connect", "playHLS"])
def test_of_many_at_once_exactly_one_gets_it(wcs, start_process, ticket, method):
    processes = [wcs, start_process(), start_process()]
    for process in processes:  # each has its rules in memory
        assert process.reason("playHLS", name="lobby", custom={"token": "tok-bob"}) == ""
    for round_ in range(5):
        factories.make_token(ticket.user, f"ticket {round_}", label=f"{method} {round_}", single_use=True)
        custom, reasons, barrier = {"token": f"ticket {round_}"}, [], threading.Barrier(12)

        def ask(number, custom=custom, reasons=reasons, barrier=barrier, round_=round_):
            barrier.wait()
            process = processes[number % 3]
            reasons.append(
                process.reason(method, name="lobby", custom=custom, sessionId=f"/10.0.{round_}.7:{number}/n")
            )

        threads = [threading.Thread(target=ask, args=[number]) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(reasons) == ["", *["token-used"] * 11]
        allowed = recorded(session_id__startswith=f"/10.0.{round_}.", effect="allow")
        token = Token.objects.get(label=f"{method} {round_}")
        assert [record.session_id for record in allowed] == [token.used_session_id]
    assert Session.objects.count() == (5 if method == "connect" else 0)


@pytest.fixture
def wire():
    wire = Wire(conninfo())
    yield wire
    wire.close()


def test_it_costs_one_round_trip_and_a_refusal_that_is_known_too(start_process, wire, ticket):
    process = start_process(database=wire.conninfo)
    assert process.reason("connect", custom={"token": "tok-bob"}, sessionId="s") == ""
    before = wire.round_trips
    assert process.reason("connect", **TICKET) == ""
    assert process.reason("connect", **TICKET) == ""
    assert process.reason("connect", **TICKET, sessionId="other") == "token-used"
    assert wire.round_trips - before == 3


@pytest.mark.usefixtures("ticket")
def test_where_all_viewers_share_a_session_id_it_is_good_for_nobody(wcs):
    for viewer in ("a", "b"):
        hls = {"sessionId": "lobby-HLS", "mediaSessionId": f"{viewer}-lobby-HLS"}
        assert wcs.reason("playHLS", name="lobby", **hls, **TICKET) == "token-not-for-this"
