"""What WCS is told to change, hook by hook, and what the record says of it."""

import json

import pytest

from apps.access.models import Rule
from apps.audit.models import AuditEvent
from apps.audit.moving.mover import move_batch
from apps.connections.models import Session
from apps.protocol.policy import REST_CLIENT_CONFIGS, Hiding
from tests import factories
from tests.hooks.processes import the_record
from tests.hooks.test_doors import request, wsgi
from tests.secret_sources import SOURCES

pytestmark = pytest.mark.usefixtures("school")

CAMERA = "rtsp://viewer:s3cret@192.0.2.5/live.sdp"


@pytest.fixture
def door(school):
    """A stream that comes from a camera, which Bob may watch."""
    stream = factories.make_stream("door", source=CAMERA)
    factories.make_rule("play", user=school["bob"], stream=stream)
    return stream


def connect(wcs, name="bob", **members):
    """Connects; gives the policy."""
    return json.loads(wcs.hook("connect", custom={"token": f"tok-{name}"}, **members).body)["restClientConfig"]


def test_the_viewer_of_an_alias_gets_the_source_and_never_sees_it(wcs, door):
    policy = connect(wcs)
    for method in ("playStream", "StreamStatusEvent", "stopStream", "StreamKeepAliveEvent"):
        assert "name" in policy[method]["clientExclude"].split(",")
    assert policy["playStream"]["restPolicy"] == "OVERWRITE"
    assert "name" in policy["playStream"]["restOverwrite"].split(",")
    body = json.dumps({**wcs.common, "name": "door", "published": False, "width": 1.0})
    answer = wcs.raw("playStream", body.encode())
    assert answer.body.decode() == body.replace('"door"', f'"{CAMERA}"')


def test_the_record_says_what_came_and_in_words_what_wcs_was_told_without_the_login_of_the_camera(wcs, door):
    connect(wcs)
    wcs.hook("playStream", name="door")
    record = the_record(method="playStream")
    assert (record.target, json.loads(bytes(record.body))["name"]) == ("door", "door")
    assert record.told == "name “rtsp://***@192.0.2.5/live.sdp” instead of “door”"
    told = record.told
    move_batch()
    assert AuditEvent.objects.get(method="playStream").told == told


@pytest.mark.parametrize("source", SOURCES)
def test_wherever_a_login_stands_in_the_source_it_is_in_no_record(wcs, school, source):
    factories.make_rule("play", user=school["bob"], stream=factories.make_stream("cam", source=source))
    connect(wcs)
    assert json.loads(wcs.hook("playStream", name="cam").body)["name"] == source
    record = the_record(method="playStream")
    assert record.told.endswith("” instead of “cam”")
    assert "Secret" not in record.told + bytes(record.body).decode()


def test_whoever_holds_a_link_to_an_alias_gets_the_source_too(wcs, door):
    link = factories.make_link(stream="door")
    wcs.hook("connect", custom={"token": link.token})
    assert json.loads(wcs.hook("playStream", name="door").body)["name"] == CAMERA
    assert the_record(method="playStream").reason == "allowed-by-link"
    Session.objects.update(hiding=0, opening=7)
    assert wcs.reason("playStream", name="door") == "connect-again"


def test_what_happens_later_under_the_source_is_decided_by_the_rules_about_the_alias(wcs, door):
    connect(wcs)
    later = {"name": CAMERA, "published": False}
    assert wcs.reason("StreamKeepAliveEvent", **later) == ""
    factories.make_rule("play", effect="deny", stream=door)
    assert wcs.reason("StreamKeepAliveEvent", **later) == "denied-by-rule"
    assert wcs.reason("playStream", name="door") == "denied-by-rule"


def test_where_no_stream_has_a_source_clients_see_everything(wcs):
    assert {entry["clientExclude"] for entry in connect(wcs).values()} == {""}
    assert Session.objects.get().hiding == Hiding.REWRITES


def test_a_client_from_before_the_stream_had_a_source_must_connect_again(wcs, another_process, school):
    stream = factories.make_stream("door")
    factories.make_rule("play", user=school["bob"], stream=stream)
    connect(wcs)
    assert wcs.reason("playStream", name="door") == another_process.reason("playStream", name="door") == ""
    stream.source = CAMERA
    stream.save()
    assert wcs.reason("playStream", name="door") == another_process.reason("playStream", name="door") == "connect-again"
    assert CAMERA not in wcs.hook("playStream", name="door").body.decode()
    connect(wcs)
    assert json.loads(wcs.hook("playStream", name="door").body)["name"] == CAMERA
    assert another_process.reason("playStream", name="door") == ""


def test_a_session_of_a_former_version_is_told_nothing_that_it_would_not_do(wcs, school):
    rule = factories.make_rule("play", user=school["bob"], target=("exact", "hd"), max_width=640)
    connect(wcs)
    assert json.loads(wcs.hook("playStream", name="hd").body)["width"] == 640
    Session.objects.update(hiding=0, opening=7)  # another opening, so that no process remembers it as it was
    assert wcs.reason("playStream", name="hd") == "connect-again"
    assert wcs.reason("playStream", name="hd", width=320) == ""
    rule.delete()


def test_caps_and_recording(wcs, school):
    factories.make_rule("publish", user=school["alice"], target=("exact", "hd"), record="on", max_bitrate=500)
    connect(wcs, "alice")
    answer = wcs.hook("publishStream", name="hd", record=False, bitrate=0)
    assert json.loads(answer.body) == {**wcs.common, "name": "hd", "record": True, "bitrate": 500}
    assert the_record(method="publishStream").told == "record true instead of false; bitrate 500 instead of 0"


def test_the_page_says_support_and_we_dial_the_number(wcs, school):
    rule = factories.make_rule("call", target=("exact", "support"), callee="+4930123456")
    policy = connect(wcs)
    assert policy["CallStatusEvent"]["clientExclude"] == "callee,sipMessageRaw"
    assert json.loads(wcs.hook("call", callee="support", callId="c1").body)["callee"] == "+4930123456"
    record = the_record(method="call")
    assert (record.target, record.told) == ("support", "callee “+4930123456” instead of “support”")
    factories.make_rule("call", effect="deny", target=("number-prefix", "+4930"))
    assert wcs.reason("call", callee="support", callId="c2") == "denied-by-rule"
    Rule.objects.exclude(pk=rule.pk).filter(effect="deny").delete()
    assert wcs.reason("call", callee="+4930123456", callId="c3") == "no-rule"


def test_what_is_refused_says_nothing_of_what_it_would_have_become(wcs, door, school):
    factories.make_rule("play", effect="deny", user=school["bob"])
    connect(wcs)
    answer = wcs.hook("playStream", name="door")
    assert (answer.status, CAMERA in answer.body.decode()) == (403, False)
    assert the_record(method="playStream").told == ""


def test_both_doors_change_the_same(wcs, door):
    connect(wcs)
    body = json.dumps({**wcs.common, "name": "door"}).encode()
    fast = request(wsgi.application, path="/hooks/playStream", body=body)
    assert fast == request(wsgi.django, path="/hooks/playStream", body=body)
    assert json.loads(fast[2])["name"] == CAMERA


def test_connect_is_answered_with_one_of_the_policies_that_were_made_before(wcs, door):
    body = wcs.hook("connect", custom={"token": "tok-bob"}).body
    assert body.count(REST_CLIENT_CONFIGS[Hiding.REWRITES | Hiding.SOURCES]) == 1
