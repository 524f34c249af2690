"""Limits: how many, how often and how long, for whom; counted from what runs and ran."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from apps.access.models import Rule
from apps.audit.moving.mover import move_batch
from apps.connections.models import App
from apps.live.models import Cut, Lease
from tests import factories
from tests.hooks import processes

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
FULL = "limit-reached"


def minutes(number):
    return timedelta(minutes=number)


def recorded():
    """What was recorded, in the order in which it came: ids tell it to a millisecond only."""
    return sorted(processes.recorded(method="playStream"), key=lambda record: record.received_at)


# How much


def test_so_many_at_once_and_no_more(client, limited):
    rule = limited(at_once=2)
    alice = client("alice")
    assert [alice.play(id=f"m-{number}") for number in range(3)] == ["", "", FULL]
    verdicts = [(record.effect, record.reason, record.rule_ids) for record in recorded()]
    allowed = ("allow", "allowed-by-rule", [rule.id])
    assert verdicts == [allowed, allowed, ("deny", FULL, [rule.id])]
    leases = Lease.objects.filter(action="play")
    assert [(lease.username, lease.rule_ids, lease.ended_at) for lease in leases] == [("alice", [rule.id], None)] * 2


def test_an_end_makes_room_at_once(client, limited):
    limited(at_once=1)
    alice = client("alice")
    assert [alice.play(id="a"), alice.play(id="b")] == ["", FULL]
    alice.stream_event("a", "STOPPED")
    assert alice.play(id="b") == ""
    alice.disconnect()
    assert client("alice").play() == ""


def test_what_nobody_hears_when_it_ends_is_refused_when_its_minutes_are_up(client, limited, wcs):
    limited(minutes_per_day=10)
    alice = client("alice", "lobby-HLS")
    for minute, refusal in [(0, ""), (4, ""), (8, ""), (11, FULL), (12, FULL)]:
        assert alice.at(NOON + minutes(minute)).hook("playHLS", name="lobby", token="tok-alice") == refusal


@pytest.mark.parametrize("first", ["lobby", "hall", "foyer"])
def test_what_a_stream_limits_holds_under_all_of_its_names(client, limited, school, first):
    factories.make_rule("play", user=school["charlie"])
    factories.make_stream("lobby", max_viewers=1)
    factories.make_stream("hall", source="lobby")
    factories.make_stream("foyer", source="lobby", max_viewers=5)
    charlie = client("charlie")
    assert charlie.play(first) == ""
    assert [charlie.play(name) for name in ("lobby", "hall", "foyer")] == [FULL] * 3


def test_and_however_its_source_is_written(client, school):
    factories.make_rule("play", user=school["charlie"])
    factories.make_stream("hall", source="rtsp://camera:554/live", max_viewers=1)
    factories.make_stream("foyer", source="RTSP://Camera/live/")
    charlie = client("charlie")
    assert charlie.play("hall") == ""
    assert [charlie.play(name) for name in ("foyer", "rtsp://CAMERA/live")] == [FULL] * 2


@pytest.mark.parametrize("allowed", [True, False])
def test_what_fails_under_an_id_that_is_in_use_makes_no_room(client, limited, school, allowed):
    limited("publish", target=("glob", "a*"), at_once=1)
    if allowed:
        factories.make_rule("publish", user=school["charlie"], target=("exact", "busy"))
    charlie = client("charlie")
    assert charlie.publish("a0", id="m") == ""
    charlie.stream_event("m", "PUBLISHING", name="a0", published=True)
    assert charlie.publish("busy", id="m") == ("" if allowed else "no-rule")
    charlie.stream_event("m", "FAILED", name="busy", published=True, info="Stream name is already in use")
    assert charlie.publish("a1") == FULL


def test_nor_does_what_fails_without_an_id(client, limited, school):
    Rule.objects.filter(actions=["connect"]).update(limit_per="user", at_once=1)
    alice = client("alice")
    alice.hook("StreamStatusEvent", name="x", published=True, status="FAILED", info="MediaSessionId is null")
    assert alice.hook("connect", sessionId="/10.0.0.9:1/n:8443", custom={"token": "tok-alice"}) == FULL


def test_what_the_same_client_says_twice_is_one_thing(client, limited):
    limited(at_once=1)
    alice = client("alice")
    assert [alice.play(id="a"), alice.play(id="a")] == ["", ""]
    assert alice.play("elsewhere", id="a") == FULL
    assert client("alice").play(id="a") == FULL


def test_so_many_a_day(client, limited):
    limited(per_day=2)
    alice = client("alice")
    for number in range(2):
        alice.ran(f"m-{number}", NOON, NOON + minutes(1))
    assert alice.at(NOON + timedelta(hours=11)).play() == FULL
    assert alice.at(NOON + timedelta(hours=12)).play() == ""


def test_so_many_a_month(client, limited):
    limited(per_month=2)
    alice = client("alice")
    alice.ran("m-1", datetime(2026, 11, 1, tzinfo=UTC), NOON)
    alice.ran("m-2", NOON, NOON + minutes(1))
    assert alice.at(datetime(2026, 11, 30, 23, 59, tzinfo=UTC)).play() == FULL
    assert alice.at(datetime(2026, 12, 1, tzinfo=UTC)).play() == ""


def test_what_failed_before_it_started_has_not_begun(client, limited):
    limited(per_day=1)
    alice = client("alice").at(NOON)
    assert [alice.play(id="a"), alice.play(id="b")] == ["", FULL]
    alice.stream_event("a", "FAILED")
    assert alice.play(id="b") == ""
    alice.stream_event("b", "PLAYING")
    alice.stream_event("b", "STOPPED")
    assert alice.play(id="c") == FULL


def test_so_many_minutes_a_day(client, limited):
    limited(minutes_per_day=30)
    alice = client("alice")
    alice.ran("m-1", NOON, NOON + minutes(20))
    assert alice.at(NOON + minutes(60)).play(id="m-2") == ""
    alice.stream_event("m-2", "PLAYING")
    assert alice.at(NOON + minutes(69)).play() == ""  # 29 minutes: 20, and 9 of what runs
    assert alice.at(NOON + minutes(70)).play() == FULL
    assert alice.at(NOON + timedelta(hours=12)).play() == ""


def test_so_many_minutes_a_month(client, limited):
    limited(minutes_per_month=30)
    alice = client("alice")
    alice.ran("m-1", datetime(2026, 10, 31, 23, 40, tzinfo=UTC), datetime(2026, 11, 1, 0, 20, tzinfo=UTC))
    assert alice.at(NOON).play(id="m-2") == ""
    alice.stream_event("m-2", "PLAYING")
    assert alice.at(NOON + minutes(9)).play() == ""
    assert alice.at(NOON + minutes(10)).play() == FULL


def test_time_that_nothing_played_does_not_count(client, limited):
    limited(minutes_per_day=5)
    alice = client("alice").at(NOON)
    assert alice.play(id="a") == ""
    assert alice.at(NOON + minutes(30)).play() == ""


def test_when_the_minutes_are_used_up_a_stream_ends_with_its_keep_alive(client, limited):
    limited(minutes_per_day=5)
    alice = client("alice").at(NOON)
    alice.play(id="a")
    alice.stream_event("a", "PLAYING")
    keep_alive = {"name": "lobby", "published": False, "mediaSessionId": "a"}
    assert alice.at(NOON + minutes(4)).hook("StreamKeepAliveEvent", **keep_alive) == ""
    assert alice.at(NOON + minutes(5)).hook("StreamKeepAliveEvent", **keep_alive) == FULL


def test_otherwise_a_keep_alive_counts_nothing(client, limited):
    limited(at_once=1, per_day=1, per_month=1)
    alice = client("alice")
    assert alice.play(id="a") == ""
    for method in ("StreamKeepAliveEvent", "availableStream", "snapshot"):
        assert alice.hook(method, name="lobby", published=False, mediaSessionId="a") == ""
    assert Lease.objects.filter(action="play").count() == 1


def test_what_is_over_at_once_counts_for_the_day(client, limited):
    limited("message", "data", per_day=2, at_once=1)
    alice = client("alice").at(NOON)
    assert [alice.hook("sendMessage", to="10007") for _ in range(3)] == ["", "", FULL]
    assert alice.at(NOON + timedelta(days=1)).hook("OnDataEvent", payload={}) == ""


def test_of_a_rule_about_minutes_what_is_over_at_once_uses_none(client, limited):
    limited("message", at_once=1, minutes_per_day=1)
    alice = client("alice")
    assert [alice.hook("sendMessage", to="10007") for _ in range(3)] == ["", "", ""]


def test_calls_at_once_and_what_belongs_to_them(client, limited):
    limited("call", "receive-call", "answer", "hold", "dtmf", "transfer", at_once=1)
    alice = client("alice")
    assert alice.call("10007", id="a") == ""
    for method in ("hold", "unhold", "sendDtmf", "transfer"):
        assert alice.hook(method, callId="a", target="10009") == ""
    assert alice.call("10008", id="b") == FULL
    assert alice.hook("OnCallEvent", caller="10009", callId="c") == FULL
    alice.call_event("a", "BUSY")
    assert alice.hook("OnCallEvent", caller="10009", callId="c") == ""
    assert alice.hook("answer", caller="10009", callId="c") == ""


def test_sessions_at_once_apart_from_what_runs_in_them(client, school, wcs):
    Rule.objects.all().delete()
    factories.make_rule("connect", "play", "publish", limit_per="user", at_once=2)
    first, second = client("alice"), client("alice")
    assert first.play() == first.publish() == ""
    assert second.play() == FULL
    assert wcs.reason("connect", sessionId="/10.0.0.7:1/n", custom={"token": "tok-alice"}) == FULL
    assert first.connect("tok-alice") == ""  # again: it is the same session
    second.disconnect()
    assert wcs.reason("connect", sessionId="/10.0.0.7:1/n", custom={"token": "tok-alice"}) == ""
    assert client("bob")


# For whom


def test_for_each_user(client, limited):
    limited(at_once=1)
    assert [client("alice").play(), client("alice").play(), client("charlie").play()] == ["", FULL, ""]


def test_for_each_address_that_guests_come_from(client, limited, school):
    factories.make_rule("connect", guests=True)
    App.objects.update(guests=True)
    factories.make_rule("play", guests=True, limit_per="user", at_once=1)
    here, there, nowhere = ("/10.0.0.7:{}/n", "/[2001:db8::1]:{}/n", "uuid-{}")
    for place in (here, there, nowhere):
        assert [client("", place.format(port)).play() for port in (1, 2)] == ["", FULL]
    assert client("", "/[::ffff:10.0.0.7]:9/n").play() == FULL


def test_for_the_whole_group(client, school):
    for name in ("alice", "charlie"):
        factories.Group.objects.get_or_create(name="teachers")[0].user_set.add(school[name])
    factories.make_rule("play", group="teachers", limit_per="group", at_once=2)
    assert [client(name).play() for name in ("alice", "charlie", "alice")] == ["", "", FULL]


def test_for_each_stream_under_whichever_name(client, limited):
    factories.make_stream("door", source="rtsp://camera.example/door?key=1")
    factories.make_stream("gate", source="rtsp://camera.example/door?key=2")
    limited(per="target", at_once=1)
    assert [client("alice").play("door"), client("charlie").play("door")] == ["", FULL]
    assert client("alice").play("rtsp://camera.example/door?key=1") == FULL
    assert [client("alice").play("gate"), client("alice").play("lobby")] == ["", ""]


def test_for_each_number_however_it_is_written(client, limited):
    limited("call", per="target", at_once=1)
    assert client("alice").call("+49 30 1234") == ""
    assert client("charlie").call("sip:+49301234@sip.example") == FULL
    assert client("charlie").call("+49 30 1235") == ""


def test_for_everyone_together(client, limited):
    limited(per="rule", at_once=2)
    assert [client(name).play(name) for name in ("alice", "bob", "charlie")] == ["", "", FULL]


# Which rules


def test_a_rule_without_a_limit_lets_in_and_the_limit_is_not_used_up(client, limited, school):
    rule = limited(at_once=1)
    unlimited = factories.make_rule("play", target=("prefix", "open-"))
    alice = client("alice")
    assert [alice.play("open-1"), alice.play("open-2"), alice.play("lobby"), alice.play("attic")] == ["", "", "", FULL]
    assert [record.rule_ids for record in recorded()] == [
        *([unlimited.id], [unlimited.id]),
        *([rule.id], [rule.id]),
    ]


def test_of_several_the_oldest_that_has_room_lets_in(client, limited):
    first, second = limited(at_once=1), limited(per="rule", at_once=2)
    alice = client("alice")
    assert [alice.play() for _ in range(4)] == ["", "", "", FULL]
    assert [record.rule_ids for record in recorded()] == [
        *([first.id], [second.id], [second.id]),
        [first.id, second.id],
    ]


def test_a_limit_lets_nobody_in_whom_rules_refuse(client, limited, school):
    limited(at_once=5)
    factories.make_rule("play", effect="deny", user=school["charlie"])
    assert client("charlie").play() == "denied-by-rule"
    assert client("alice").publish("elsewhere") == "no-rule"


def test_a_rule_that_is_only_logged_limits_nothing(client, limited, school):
    factories.make_rule("play", user=school["alice"])
    limited(at_once=1, enforced=False)
    assert [client("alice").play(), client("alice").play()] == ["", ""]


def test_a_limit_that_comes_later_counts_what_runs_already(client, school):
    rule = school["bob"].rules.get()
    bob = client("bob")
    assert [bob.play(), bob.play()] == ["", ""]
    move_batch()
    Rule.objects.filter(pk=rule.pk).update(limit_per="user", at_once=3)
    assert [bob.play(), bob.play()] == ["", FULL]


def test_what_staff_change_counts_with_the_next_hook(client, limited, another_process):
    rule = limited(at_once=1)
    alice = client("alice")
    assert [alice.play(id="a"), alice.play(id="b")] == ["", FULL]
    ask = {"sessionId": alice.session, "name": "lobby"}
    assert another_process.reason("playStream", **ask, mediaSessionId="b") == FULL
    Rule.objects.filter(pk=rule.pk).update(at_once=2)
    assert another_process.reason("playStream", **ask, mediaSessionId="b") == ""
    Rule.objects.filter(pk=rule.pk).update(at_once=1)
    assert alice.play(id="c") == FULL


# Streams with limits of their own


def test_a_stream_limits_its_viewers_and_publishers_whatever_rules_say(client, school):
    factories.make_stream("stage", max_publishers=1, max_viewers=2)
    factories.make_rule("play", "publish")
    alice = client("alice")
    assert [alice.publish("stage"), alice.publish("stage"), alice.publish("attic")] == ["", FULL, ""]
    assert [alice.play("stage") for _ in range(3)] == ["", "", FULL]
    assert recorded()[-1].rule_ids == []


def test_it_counts_those_who_ask_for_its_source_as_well(client, school):
    factories.make_stream("door", source="rtsp://camera.example/door", max_viewers=1)
    factories.make_rule("play")
    assert [client("alice").play("rtsp://camera.example/door"), client("bob").play("door")] == ["", FULL]


def test_both_must_have_room(client, limited):
    factories.make_stream("stage", max_viewers=2)
    limited(at_once=1)
    assert [client(name).play("stage") for name in ("alice", "alice", "bob", "charlie")] == ["", FULL, "", FULL]


# One too many ends the oldest


def test_the_newcomer_is_let_in_and_the_oldest_ends(client, limited):
    rule = limited(at_once=2, overflow="end-oldest")
    alice = client("alice")
    assert [alice.play(id=id) for id in ("a", "b", "c")] == ["", "", ""]
    cut = Cut.objects.get()
    assert (cut.lease.key, cut.key, cut.ordered_by) == ("a", "a", f"rule {rule.id}")
    asked = {id: alice.hook("StreamKeepAliveEvent", name="lobby", published=False, mediaSessionId=id) for id in "abc"}
    assert asked == {"a": "cut", "b": "", "c": ""}


def test_what_is_ending_no_longer_counts(client, limited):
    limited(at_once=1, overflow="end-oldest")
    alice = client("alice")
    assert [alice.play(id=id) for id in "abc"] == [""] * 3
    assert sorted(Cut.objects.values_list("key", flat=True)) == ["a", "b"]


def test_where_the_limit_was_lowered_as_many_end_as_are_too_many(client, limited):
    rule = limited(at_once=4, overflow="end-oldest")
    alice = client("alice")
    for id in "abcd":
        alice.play(id=id)
    Rule.objects.filter(pk=rule.pk).update(at_once=2)
    assert alice.play(id="e") == ""
    assert sorted(Cut.objects.values_list("key", flat=True)) == ["a", "b", "c"]


def test_only_those_end_that_count(client, limited):
    limited(at_once=1, overflow="end-oldest")
    others, alice = client("bob"), client("alice")
    others.play(id="bob's")
    alice.publish("lobby", id="published")
    alice.play(id="a")
    alice.play(id="b")
    assert list(Cut.objects.values_list("key", flat=True)) == ["a"]


def test_no_end_of_another_makes_the_day_longer(client, limited):
    limited(at_once=1, per_day=2, overflow="end-oldest")
    alice = client("alice")
    assert [alice.play(id=id) for id in "abc"] == ["", "", FULL]
    assert list(Cut.objects.values_list("key", flat=True)) == ["a"]


def test_the_oldest_session_ends_with_all_that_is_in_it(client, school):
    Rule.objects.filter(actions=["connect"]).update(limit_per="user", at_once=1, overflow="end-oldest")
    first = client("alice")
    assert first.publish("lobby", id="a") == ""
    second = client("alice")
    assert first.publish("lobby", id="b") == "cut"
    assert first.hook("StreamKeepAliveEvent", name="lobby", published=True, mediaSessionId="a") == "cut"
    assert second.publish("lobby") == ""
    first.disconnect()
    assert first.connect("tok-alice") == ""  # a new session, though by the same id; so the second is the oldest now


# Days and months


@pytest.mark.parametrize(
    ("last_evening", "next_morning"),
    [
        ((2026, 11, 25, 23, 59), (2026, 11, 26, 0, 0)),
        ((2026, 3, 28, 23, 59), (2026, 3, 29, 0, 0)),  # the night in which an hour is skipped
        ((2026, 10, 24, 23, 59), (2026, 10, 25, 0, 0)),  # the night in which an hour comes twice
        ((2026, 10, 25, 23, 59), (2026, 10, 26, 0, 0)),  # the day that has 25 hours
    ],
)
def test_a_day_is_one_of_the_time_zone_of_the_admin(client, limited, settings, last_evening, next_morning):
    settings.TIME_ZONE = "Europe/Berlin"
    limited(per_day=1)
    year, month, day, *_ = last_evening
    alice = client("alice")
    alice.ran("m", datetime(year, month, day, tzinfo=BERLIN), datetime(year, month, day, 0, 5, tzinfo=BERLIN))
    assert alice.at(datetime(*last_evening, tzinfo=BERLIN)).play() == FULL
    assert alice.at(datetime(*next_morning, tzinfo=BERLIN)).play() == ""


def test_over_midnight_each_day_has_its_minutes(client, limited, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    limited(minutes_per_day=60)
    alice = client("alice")
    evening = datetime(2026, 3, 28, 23, 10, tzinfo=BERLIN)
    alice.ran("m", evening, evening + minutes(100))  # 50 minutes of the one day, 50 of the other
    assert alice.at(evening + minutes(110)).play(id="n") == ""
    alice.stream_event("n", "PLAYING")
    assert alice.at(evening + minutes(119)).play() == ""
    assert alice.at(evening + minutes(120)).play() == FULL


def test_a_month_is_one_of_the_time_zone_of_the_admin(client, limited, settings):
    settings.TIME_ZONE = "America/New_York"
    limited(per_month=1)
    alice = client("alice")
    alice.ran("m", datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 1, 1, tzinfo=UTC))
    assert alice.at(datetime(2026, 12, 1, 4, 59, tzinfo=UTC)).play() == FULL
    assert alice.at(datetime(2026, 12, 1, 5, tzinfo=UTC)).play() == ""
