"""Leases: what runs, as hooks and events tell; whoever hears of it first, and however often."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.audit.models import BadRecord, HookRecord
from apps.audit.moving.leases import ENDED_UNHEARD
from apps.audit.moving.mover import move_batch
from apps.live.models import Lease
from tests import factories


def the_lease(**conditions):
    return Lease.objects.get(**conditions)


def test_what_has_no_limit_has_a_lease_once_its_record_was_moved(client, school):
    rule = school["bob"].rules.get()
    bob = client("bob")
    assert bob.play(id="m") == ""
    assert not Lease.objects.filter(action="play").exists()
    move_batch()
    lease = the_lease(action="play")
    assert (lease.username, lease.user, lease.target, lease.key) == ("bob", school["bob"], "lobby", "m")
    assert (lease.rule_ids, lease.started_at, lease.ended_at) == ([rule.id], None, None)
    assert the_lease(action="connect").key == bob.session


def test_a_call_has_one_before_it_is_answered(client, school):
    factories.make_rule("call", user=school["alice"])
    alice = client("alice")
    assert alice.call("+49 30 1234", id="c") == ""
    assert (the_lease().target, the_lease().action, the_lease().key) == ("+49 30 1234", "call", "c")
    move_batch()
    assert Lease.objects.filter(action="call").count() == 1


def test_what_is_refused_or_only_tells_has_none(client):
    bob = client("bob")
    assert bob.play("elsewhere") == "no-rule"
    bob.stream_event("m", "PLAYING")
    bob.hook("stopStream", mediaSessionId="m")
    bob.hook("availableStream", name="lobby")
    move_batch()
    assert list(Lease.objects.values_list("action", flat=True)) == ["connect"]


@pytest.mark.parametrize("odd", [5, "a body of 70000 bytes", None, {}, ["x"]])
def test_a_member_that_is_called_like_what_is_left_out_changes_nothing(client, odd):
    bob = client("bob")
    bob.play(id="m")
    for status in ("PLAYING", "STOPPED"):
        event = {"mediaSessionId": "m", "status": status, "name": "lobby", "published": False, "[left out]": odd}
        assert bob.hook("StreamStatusEvent", **event) == ""
    move_batch()
    assert not BadRecord.objects.exists()
    lease = the_lease(action="play")
    assert (lease.started_at is not None, lease.ended_at is not None) == (True, True)


@pytest.mark.parametrize("moved_between", [True, False])
@pytest.mark.parametrize("status", ["UNPUBLISHED", "STOPPED", "FAILED", "DISCONNECTED"])
def test_events_tell_when_a_stream_started_and_ended(client, status, moved_between):
    bob = client("bob")
    bob.play(id="m")
    if moved_between:
        move_batch()
    bob.stream_event("m", "PLAYING")
    if moved_between:
        assert the_lease(action="play").started_at
    bob.stream_event("m", status)
    if moved_between:
        assert the_lease(action="play").ended_at
    move_batch()
    lease = the_lease(action="play")
    assert lease.opened_at <= lease.started_at <= lease.ended_at
    assert lease.end_reason == status


@pytest.mark.parametrize("status", ["FINISH", "FAILED", "BUSY"])
def test_and_a_call(client, school, status):
    factories.make_rule("call", user=school["alice"])
    alice = client("alice")
    alice.call(id="c")
    alice.call_event("c", "RING")
    assert (the_lease().started_at, the_lease().ended_at) == (None, None)
    alice.call_event("c", "ESTABLISHED")
    assert the_lease().started_at
    alice.call_event("c", "HOLD")
    assert not the_lease().ended_at
    alice.call_event("c", status)
    assert the_lease().ended_at


def test_the_end_of_a_session_ends_all_of_it(client, school):
    bob, other = client("bob"), client("bob")
    for each in (bob, other):
        each.play()
    move_batch()
    bob.disconnect()
    assert set(Lease.objects.running().values_list("session_id", flat=True)) == {other.session}
    assert set(Lease.objects.exclude(ended_at=None).values_list("end_reason", flat=True)) == {"DISCONNECTED"}


def test_an_end_of_somebody_else_ends_nothing(client, school, wcs):
    factories.make_app("otherApp")
    bob, alice = client("bob"), client("alice")
    bob.play(id="m")
    move_batch()
    alice.stream_event("m", "STOPPED")
    bob.stream_event("m", "STOPPED", appKey="otherApp")
    bob.hook("StreamStatusEvent", mediaSessionId="m", status="STOPPED", nodeId="another node")
    bob.stream_event("m", "FAILED", info="MediaSessionId is already in use")
    move_batch()
    assert the_lease(action="play").ended_at is None


SOMETHING_ELSE = [
    {"name": "attic", "published": False},
    {"name": "lobby", "published": True},
    {"name": "attic"},
    {"published": True},
]
"""What an event says of what did not happen to bob's playback of the lobby."""


@pytest.mark.parametrize("said", SOMETHING_ELSE)
@pytest.mark.parametrize("opened_before", [True, False])
def test_what_happens_to_something_else_under_its_id_ends_nothing(client, said, opened_before):
    bob = client("bob")
    bob.play(id="m")
    if opened_before:
        move_batch()
    bob.stream_event("m", "PLAYING", **said)
    bob.stream_event("m", "FAILED", info="Stream name is already in use", **said)
    move_batch()
    assert (the_lease(action="play").started_at, the_lease(action="play").ended_at) == (None, None)


def test_nor_does_what_happens_to_another_call_under_its_id(client, school):
    factories.make_rule("call", "receive-call", user=school["alice"])
    alice = client("alice")
    assert alice.call("+49 30 1234", id="c") == ""
    assert alice.hook("OnCallEvent", caller="10009", callee="10001", callId="i") == ""
    alice.hook("CallStatusEvent", callId="c", callee="+49 30 9999", caller="10001", status="FAILED")
    alice.hook("CallStatusEvent", callId="i", callee="10001", caller="10008", status="BUSY")
    move_batch()
    assert Lease.objects.running().filter(action__in=["call", "receive-call"]).count() == 2
    alice.hook("CallStatusEvent", callId="c", callee="+49301234", caller="10001", status="FAILED")
    alice.hook("CallStatusEvent", callId="i", callee="10001", caller="10009", status="FINISH")
    assert not Lease.objects.running().filter(action__in=["call", "receive-call"])


def test_a_call_for_which_another_number_is_called_ends_by_either(client, school):
    factories.make_rule("call", user=school["alice"], callee="+49 30 5")
    alice = client("alice")
    for callee in ("support", "+49 30 5"):
        assert alice.call("support", id=callee) == ""
        alice.hook("CallStatusEvent", callId=callee, callee=callee, status="FAILED")
    assert not Lease.objects.running().filter(action="call")


@pytest.mark.parametrize("name", ["hall", "rtsp://camera:pw@10.0.0.9/live"])
def test_a_stream_ends_by_its_name_and_by_its_source(client, limited, name):
    factories.make_stream("hall", source="rtsp://camera:pw@10.0.0.9/live")
    limited(at_once=1)
    alice = client("alice")
    assert alice.play("hall", id="m") == ""
    alice.stream_event("m", "FAILED", name="rtsp://camera:other@10.0.0.9/live", published=False)
    move_batch()
    assert alice.play("lobby") == "limit-reached"
    alice.stream_event("m", "FAILED", name=name, published=False)
    assert alice.play("lobby") == ""


@pytest.mark.parametrize("method", ["StreamStatusEvent", "CallStatusEvent"])
def test_what_has_no_id_ends_no_session(client, method):
    bob = client("bob")
    move_batch()
    bob.hook(method, name="lobby", published=True, status="FAILED", info="MediaSessionId is null")
    bob.hook(method, mediaSessionId="", callId="", status="FAILED")
    move_batch()
    assert the_lease(action="connect").ended_at is None


def test_a_stream_without_an_id_ends_when_it_says_so(client, limited):
    limited(at_once=1)
    alice = client("alice")
    assert alice.hook("playStream", name="lobby") == ""
    alice.hook("StreamStatusEvent", name="lobby", published=False, status="FAILED", info="MediaSessionId is null")
    assert alice.play() == ""


def test_the_same_hook_again_is_the_same_thing(client):
    bob = client("bob")
    for _ in range(3):
        assert bob.play(id="m") == ""
    move_batch()
    bob.play(id="m")
    move_batch()
    assert Lease.objects.filter(action="play").count() == 1


def test_an_end_that_is_moved_before_its_beginning_leaves_nothing_running(client):
    bob = client("bob")
    bob.play(id="m")
    bob.stream_event("m", "STOPPED")
    (beginning,) = HookRecord.objects.filter(method="playStream").values()
    HookRecord.objects.filter(method="playStream").delete()
    move_batch()
    HookRecord.objects.create(**beginning)
    move_batch()
    assert the_lease(action="play").ended_at
    assert the_lease(action="play").end_reason == "STOPPED"


def test_nor_does_a_session_that_ended_before_its_beginnings_were_moved(client):
    bob = client("bob")
    bob.play(id="m")
    beginnings = list(HookRecord.objects.values())
    HookRecord.objects.all().delete()
    bob.disconnect()
    move_batch()
    HookRecord.objects.bulk_create(HookRecord(**beginning) for beginning in beginnings)
    move_batch()
    assert Lease.objects.count() == 2
    assert not Lease.objects.running()


def test_an_old_end_does_not_end_what_began_under_its_id_later(client):
    bob = client("bob")
    bob.play(id="m")
    bob.stream_event("m", "STOPPED")
    move_batch()
    later = datetime.now(UTC) + timedelta(minutes=1)
    bob.play(id="m")
    HookRecord.objects.update(received_at=later)
    move_batch()
    assert Lease.objects.running().get(action="play").opened_at == later


def test_an_end_ends_one_thing_even_if_its_id_is_used_again_at_once(client):
    bob = client("bob")
    bob.play(id="m")
    move_batch()
    bob.stream_event("m", "STOPPED")
    assert not Lease.objects.running().filter(action="play")
    bob.play(id="m")
    move_batch()
    assert Lease.objects.running().filter(action="play").count() == 1


def test_moving_records_again_changes_nothing(client):
    bob = client("bob")
    bob.play(id="m")
    bob.stream_event("m", "PLAYING")
    bob.stream_event("m", "STOPPED")
    records = list(HookRecord.objects.values())
    move_batch()
    before = list(Lease.objects.order_by("id").values())
    HookRecord.objects.bulk_create(HookRecord(**record) for record in records)
    move_batch()
    assert list(Lease.objects.order_by("id").values()) == before


def test_a_playback_without_a_session_runs_out_unless_it_is_asked_for_again(wcs, school):
    hls = {"name": "lobby", "custom": {"token": "tok-bob"}, "sessionId": "test-HLS", "mediaSessionId": "m-HLS"}
    assert wcs.reason("playHLS", **hls) == ""
    move_batch()
    lease = the_lease(action="play")
    assert lease.started_at == lease.opened_at
    first = lease.runs_out_at
    assert wcs.reason("playHLS", **hls) == ""
    move_batch()
    assert the_lease(action="play").runs_out_at > first
    assert Lease.objects.running().filter(action="play").exists()
    assert not Lease.objects.running(first + timedelta(minutes=1)).filter(action="play").exists()
    Lease.objects.update(runs_out_at=first - timedelta(minutes=10))
    wcs.reason("connect", custom={"token": "tok-bob"})
    move_batch()
    assert the_lease(action="play").ended_at == first - timedelta(minutes=10)


def test_many_that_are_asked_for_again_are_one_change(wcs, school):
    hls = [{"name": "lobby", "custom": {"token": "tok-bob"}, "sessionId": f"HLS-{n}"} for n in range(4)]
    first = [wcs.reason("playHLS", **body, mediaSessionId=body["sessionId"]) for body in hls]
    move_batch()
    before = dict(Lease.objects.filter(action="play").values_list("key", "runs_out_at"))
    again = [wcs.reason("playHLS", **body, mediaSessionId=body["sessionId"]) for body in hls]
    with CaptureQueriesContext(connection) as queries:
        move_batch()
    assert first == again == [""] * 4
    after = dict(Lease.objects.filter(action="play").values_list("key", "runs_out_at"))
    assert len(after) == 4
    assert all(after[key] > before[key] for key in before)
    changes = [query for query in queries if query["sql"].startswith("UPDATE live_lease l SET runs_out_at")]
    assert len(changes) == 1


def test_what_runs_out_is_found_by_its_index(db):
    now = datetime.now(UTC)
    Lease.objects.bulk_create(
        Lease(record_id=uuid4(), node_id="n", opened_at=now) for _ in range(500)
    )  # without an end
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ANALYZE live_lease")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {ENDED_UNHEARD}", [datetime.now(UTC)])
        assert "lease_running_out" in str(cursor.fetchall())
