"""Asking why, where limits decide: the numbers, the same outcome as for a hook, and no trace."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from apps.access.explain import explain_now
from apps.live.models import Cut, Lease
from apps.protocol.messages import HookCall
from apps.protocol.methods import find
from tests import factories
from tests.live.conftest import Client


@pytest.fixture
def why(wcs):
    """Asks as a client would; gives the explanation."""

    def why(client, method="playStream", **members):
        body = {**wcs.common, "sessionId": client.session, "name": "lobby", **members}
        call = HookCall.from_payload(method, find(method), json.dumps(body).encode())
        return explain_now(call, now=client.now or datetime.now(UTC))

    return why


def test_it_says_how_many_there_are_and_may_be(client, limited, why):
    rule = limited(at_once=2, per_day=10)
    alice = client("alice")
    alice.play()
    answer = why(alice)
    assert (answer.allowed, answer.reason) == (True, "allowed-by-rule")
    assert [(said.id, said.used) for said in answer.rules] == [(rule.id, "1 of 2 run at once, 1 of 10 today")]
    alice.play()
    answer = why(alice)
    assert (answer.allowed, answer.reason) == (False, "limit-reached")
    assert [(said.id, said.used) for said in answer.rules] == [(rule.id, "2 of 2 run at once, 2 of 10 today")]
    assert "2 of 2 run at once" in str(answer)


def test_it_says_so_of_minutes(client, limited, why):
    limited(minutes_per_day=30, minutes_per_month=100)
    alice, noon = client("alice"), datetime(2026, 11, 25, 12, tzinfo=UTC)
    alice.ran("a", noon, noon + timedelta(minutes=12, seconds=20))
    (said,) = why(alice).rules if why(alice.at(noon + timedelta(hours=1))) else ()
    assert said.used == "12 of 30 minutes today, 12 of 100 minutes this month"


def test_it_says_what_the_stream_itself_limits(client, school, why):
    factories.make_stream("lobby", max_viewers=1)
    bob = client("bob")
    bob.play()
    answer = why(bob)
    assert (answer.allowed, answer.reason, answer.rules) == (False, "limit-reached", [])
    assert "1 of 1 run at once" in answer.detail


def test_it_says_that_the_oldest_would_end_and_ends_it_not(client, limited, why):
    limited(at_once=1, overflow="end-oldest")
    alice = client("alice")
    alice.play()
    answer = why(alice)
    assert answer.allowed
    assert answer.rules[0].used == "1 of 1 run at once, the oldest would be ended"
    assert not Cut.objects.exists()


def test_what_runs_already_is_not_counted_against_itself(client, limited, why):
    limited(at_once=1)
    alice = client("alice")
    alice.play(id="a")
    assert why(alice, mediaSessionId="a").allowed
    assert not why(alice, mediaSessionId="b").allowed


def test_what_runs_under_the_id_of_its_session_is_not_what_is_asked_for_under_one_of_its_own(client, limited, why):
    limited(at_once=1)
    alice = client("alice")
    assert alice.hook("playStream", name="lobby") == ""  # without a media session id
    assert why(alice).allowed
    assert not why(alice, mediaSessionId="b").allowed
    assert alice.play(id="b") == "limit-reached"


def test_what_a_link_let_in_is_not_counted_against_itself_either(wcs, client, school, why):
    factories.make_stream("lobby", max_viewers=1)
    holder = Client(wcs, "/10.0.0.7:1/n")
    assert holder.connect(factories.make_link().token) == ""
    for _ in range(2):
        assert holder.play(id="a") == ""
    assert why(holder, mediaSessionId="a").allowed
    assert not why(holder, mediaSessionId="b").allowed
    assert holder.play(id="b") == "limit-reached"


def test_the_same_call_to_where_a_rule_has_another_number_called_is_another_call(client, limited, why):
    rule = limited("call", at_once=1, callee="100")
    alice = client("alice")
    assert alice.call("support", id="c") == ""
    assert why(alice, "call", callee="support", callId="c").allowed
    rule.callee = "200"
    rule.save()
    assert not why(alice, "call", callee="support", callId="c").allowed
    assert alice.call("support", id="c") == "limit-reached"


def test_minutes_are_up_for_what_nobody_hears_when_it_ends(client, limited, why):
    limited(minutes_per_day=10)
    alice, noon = client("alice", "lobby-HLS"), datetime(2026, 11, 25, 12, tzinfo=UTC)
    for minute, allowed in [(0, True), (4, True), (8, True), (11, False)]:
        alice.at(noon + timedelta(minutes=minute))
        assert why(alice, "playHLS", token="tok-alice").allowed is allowed
        alice.hook("playHLS", name="lobby", token="tok-alice")


def test_it_finds_the_call_that_a_hook_belongs_to(client, school, why):
    factories.make_rule("call", user=school["alice"])
    factories.make_rule("dtmf", user=school["alice"], target=("number-prefix", "+49"))
    alice = client("alice")
    alice.call("+49 30 1234", id="c")
    answer = why(alice, "sendDtmf", callId="c", dtmf="1")
    assert (answer.allowed, answer.target) == (True, "+49 30 1234")


def test_asking_leaves_no_trace(client, limited, why):
    limited(at_once=1, overflow="end-oldest")
    alice = client("alice")
    alice.play()
    before = list(Lease.objects.values())
    for _ in range(3):
        why(alice)
    assert list(Lease.objects.values()) == before


@pytest.mark.parametrize("seed", range(12))
def test_it_says_what_the_hook_then_gets(wcs, client, limited, why, seed):
    """The one rule of which limits have room is written in SQL for hooks and in Python for whoever asks."""
    chance = random.Random(seed)
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)
    for _ in range(chance.randint(1, 3)):
        measures = ("at_once", "per_day", "per_month", "minutes_per_day", "minutes_per_month")
        limits = {name: chance.randint(1, 4) for name in chance.sample(measures, chance.randint(1, 3))}
        overflow = chance.choice(("refuse", "end-oldest")) if "at_once" in limits else "refuse"
        limited(per=chance.choice(("user", "target", "rule")), overflow=overflow, **limits)
    if chance.random() < 0.5:
        factories.make_stream("lobby", max_viewers=chance.randint(1, 6))
    holder = Client(wcs, "/10.0.0.7:1/n")
    assert holder.connect(factories.make_link().token) == ""
    clients = [client("alice"), client("charlie"), holder]
    for minute in range(20):
        who = chance.choice(clients).at(noon + timedelta(minutes=minute))
        name, id = chance.choice(("lobby", "attic")), f"m-{chance.randint(1, 9)}"
        said = why(who, name=name, mediaSessionId=id)
        got = who.play(name, id=id)
        assert (said.allowed, said.reason if not said.allowed else "") == (got == "", got)
        if got == "" and chance.random() < 0.7:
            who.stream_event(id, "PLAYING")
        if chance.random() < 0.3:
            who.stream_event(id, chance.choice(("STOPPED", "FAILED")))
