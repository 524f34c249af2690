"""What an answer costs on the wire to Postgres: one round trip with one statement, and nothing of Django's ORM."""

import time

import pytest
from django.db import connection
from django.utils import timezone

from apps.access.snapshot import SnapshotKeeper
from apps.connections.models import Session
from tests import factories
from tests.access.signed import web_token
from tests.database.wire import Wire
from tests.hooks.processes import conninfo, recorded


@pytest.fixture
def wires():
    """Those of a process: for answering, and for keeping its snapshot fresh."""
    answering, keeping = Wire(conninfo()), Wire(conninfo())
    yield answering, keeping
    answering.close()
    keeping.close()


@pytest.fixture
def process(wires, start_process, school):
    answering, keeping = wires
    return start_process(database=answering.conninfo, keeper=SnapshotKeeper(keeping.conninfo))


@pytest.fixture
def cost(process, wires):
    """Sends hooks that must not touch Django's ORM; gives their round trips and statements, and the last reason."""
    answering, keeping = wires

    def touched(*_):
        raise AssertionError("Django's ORM was used.")

    def cost(method, times=1, **members):
        before = (answering.round_trips, answering.statements, keeping.round_trips)
        with connection.execute_wrapper(touched):
            for _ in range(times):
                reason = process.reason(method, **members)
        assert keeping.round_trips == before[2]
        return answering.round_trips - before[0], answering.statements - before[1], reason

    return cost


def settled(process):
    """Wait until the process has heard of every change."""
    deadline = time.monotonic() + 5
    with connection.cursor() as cursor:
        cursor.execute("SELECT revision FROM access_revision")
        (revision,) = cursor.fetchone()
    while process.keeper.current(deadline).revision != revision:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.02)  # it may look once more, since others may have told it as well


@pytest.fixture
def alice(process):
    """Alice is connected, and her session known to the process."""
    settled(process)
    assert process.reason("connect", custom={"token": "tok-alice"}) == ""


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    ("method", "members", "reason"),
    [
        ("publishStream", {"name": "lobby"}, ""),
        ("publishStream", {"name": "elsewhere"}, "no-rule"),
        ("publishStream", {"name": "lobby", "custom": {"token": "wrong"}}, "bad-token"),
        ("playStream", {"name": "lobby", "custom": {"token": "tok-bob"}}, ""),
        ("StreamKeepAliveEvent", {"name": "lobby", "published": True}, ""),
        ("StreamStatusEvent", {"name": "lobby", "status": "PUBLISHING"}, ""),
        ("ConnectionStatusEvent", {"status": "ESTABLISHED"}, ""),
        ("hangup", {"callId": "1"}, ""),
        ("OnHologramEvent", {}, ""),
    ],
)
def test_an_ordinary_hook_costs_one_round_trip(cost, method, members, reason):
    assert cost(method, **members) == (1, 1, reason)
    assert cost(method, times=10, **members) == (10, 10, reason)
    assert len(recorded(method=method)) == 11


def test_so_does_connect(cost, process):
    settled(process)
    for token, reason in {"tok-alice": "", "wrong": "bad-token"}.items():
        assert cost("connect", custom={"token": token}) == (1, 1, reason)
        assert cost("connect", custom={"token": token}, times=5) == (5, 5, reason)


@pytest.mark.usefixtures("alice")
def test_so_does_the_end_of_a_session(cost):
    assert cost("ConnectionStatusEvent", status="DISCONNECTED") == (1, 1, "")
    assert Session.objects.get().ended_at


def test_so_do_hooks_without_a_session(cost, process):
    settled(process)
    assert cost("playHLS", name="lobby", custom={"token": "tok-bob"}) == (1, 1, "")
    assert cost("playRTSP", name="rtsp://n/lobby?token=wrong", times=5) == (5, 5, "bad-token")
    assert cost("OnHologramEvent", appKey="nobodysApp") == (1, 1, "")


def test_so_do_signed_tokens_and_links(cost, process):
    factories.make_issuer()
    signed_token, link = web_token("bob", now=timezone.now()), factories.make_link().token
    settled(process)
    for token in (signed_token, link):
        assert cost("connect", custom={"token": token}, times=3) == (3, 3, "")
        assert cost("playHLS", name="lobby", custom={"token": token}, times=3) == (3, 3, "")
        assert cost("playStream", name="lobby") == (1, 1, "")


def test_a_session_that_is_not_remembered_costs_one_more(wcs, cost, process):
    settled(process)
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert cost("publishStream", name="lobby") == (2, 2, "")
    assert cost("publishStream", name="lobby") == (1, 1, "")


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"at_once": 100}, ""),
        ({"at_once": 1}, "limit-reached"),
        ({"at_once": 100, "per_day": 100, "per_month": 100, "minutes_per_day": 5, "minutes_per_month": 5}, ""),
    ],
)
def test_so_does_a_hook_that_limits_count(cost, process, school, limits, reason):
    factories.make_rule("play", user=school["alice"], limit_per="user", **limits)
    settled(process)
    process.reason("playStream", name="lobby", mediaSessionId="first")
    settled(process)
    assert cost("playStream", name="lobby", mediaSessionId="second") == (1, 1, reason)


@pytest.mark.usefixtures("alice")
def test_and_one_that_makes_room_by_ending_the_oldest(wires, process, school):
    """Every process then hears of that, as of any change; but the hook does not wait for it."""
    answering, _ = wires
    factories.make_rule("play", user=school["alice"], limit_per="user", at_once=1, overflow="end-oldest")
    settled(process)
    process.reason("playStream", name="lobby", mediaSessionId="first")
    before = answering.round_trips
    assert process.reason("playStream", name="lobby", mediaSessionId="second") == ""
    assert answering.round_trips == before + 1


@pytest.mark.usefixtures("alice")
def test_a_hook_with_nothing_but_a_call_id_costs_one_more_and_no_other_does(cost, process, school):
    factories.make_rule("call", "hold", "dtmf", "transfer", user=school["alice"], target=("exact", "10007"))
    settled(process)
    assert cost("call", callee="10007", callId="c-1") == (1, 1, "")
    assert cost("hold", callId="c-1") == (2, 2, "")
    assert cost("sendDtmf", callId="c-1", dtmf="5") == (2, 2, "")
    assert cost("sendDtmf", callId="c-2", dtmf="5") == (2, 2, "unknown-call")
    assert cost("transfer", callId="c-1", target="10007") == (1, 1, "")
    assert cost("hangup", callId="c-1") == (1, 1, "")


@pytest.mark.usefixtures("alice")
def test_a_change_that_was_heard_of_costs_nothing(cost, process, school):
    factories.make_rule("play", user=school["alice"])
    settled(process)
    assert cost("playStream", name="lobby") == (1, 1, "")
