"""playHLS and playRTSP: nobody connected before, so the credentials in the hook decide, as they do for playStream."""

import json
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.utils import timezone

from apps.connections.models import App, Session
from tests import factories
from tests.hooks.processes import recorded, the_record

pytestmark = pytest.mark.usefixtures("school")


def hls(wcs, token=None, name="lobby", **members):
    custom = {} if token is None else {"token": token}
    return wcs.reason("playHLS", name=name, mediaProvider="HLS", custom=custom, **members)


def rtsp(wcs, token=None, name="lobby", **members):
    """As newer builds send it: the whole address with its query, and the key again in `custom`."""
    query = "" if token is None else f"?appKey=defaultApp&token={quote(token)}"
    custom = {} if token is None else {"token": token}
    address = f"rtsp://192.168.1.101:5554/{quote(name)}{query}"
    return wcs.reason("playRTSP", name=address, mediaProvider="RTSP", custom=custom, **members)


def stream(wcs, token=None, name="lobby"):
    """What playStream says to the same person, in a session of their own."""
    custom = {} if token is None else {"token": token}
    session_id = f"/192.168.1.38:1/{token}"
    refused = wcs.reason("connect", custom=custom, sessionId=session_id)
    return refused or wcs.reason("playStream", name=name, sessionId=session_id)


both = pytest.mark.parametrize("play", [hls, rtsp], ids=["playHLS", "playRTSP"])


@both
def test_bob_watches_without_ever_having_connected(wcs, school, play):
    assert play(wcs, "tok-bob") == ""
    record = the_record()
    assert (record.username, record.target, record.action) == ("bob", "lobby", "play")
    assert not Session.objects.exists()


@both
def test_everybody_gets_the_same_answer_as_from_play_stream(wcs, school, play):
    school["charlie"].tokens.update(expires_at=timezone.now() - timedelta(days=1))
    factories.make_token(factories.make_user("dora", is_active=False))
    people = {"tok-alice": "no-rule", "tok-bob": "", "tok-charlie": "expired-token", "tok-dora": "user-inactive"}
    for token, expected in {**people, "wrong": "bad-token", None: "no-credentials"}.items():
        assert play(wcs, token) == stream(wcs, token) == expected
        assert play(wcs, token, name="elsewhere") == stream(wcs, token, name="elsewhere") == (expected or "no-rule")


@both
def test_a_session_of_the_same_id_lends_it_nothing(wcs, play):
    wcs.hook("connect", custom={"token": "tok-bob"})
    assert play(wcs) == "no-credentials"
    assert play(wcs, "wrong") == "bad-token"
    assert play(wcs, "tok-alice") == "no-rule"


@both
def test_guests_watch_where_the_app_and_a_rule_say_so(wcs, play):
    App.objects.update(guests=True)
    assert play(wcs) == "no-rule"
    factories.make_rule("play", guests=True, target=("exact", "lobby"))
    assert play(wcs) == ""
    assert play(wcs, "wrong") == "bad-token", "a wrong token is not as good as none"


@both
def test_it_repeats_and_each_time_it_is_decided_anew(wcs, school, play):
    assert play(wcs, "tok-bob") == ""
    rule = factories.make_rule("play", effect="deny", user=school["bob"])
    assert play(wcs, "tok-bob") == "denied-by-rule"
    rule.delete()
    assert play(wcs, "tok-bob") == ""
    assert [record.effect for record in recorded()] == ["allow", "deny", "allow"]


@both
def test_the_app_it_names_is_asked(wcs, play):
    factories.make_app("kiosk", guests=True)
    factories.make_rule("play", guests=True)
    assert play(wcs, appKey="kiosk") == ""
    assert play(wcs) == "no-credentials"
    assert play(wcs, "tok-bob", appKey="nobodysApp") == "unknown-app"


def test_old_builds_bring_the_token_beside_the_name(wcs):
    assert wcs.reason("playHLS", name="lobby", sessionId="test-HLS", token="tok-bob") == ""
    assert wcs.reason("playHLS", name="lobby", sessionId="test-HLS", token="wrong") == "bad-token"
    assert wcs.reason("playHLS", name="lobby", sessionId="test-HLS", token=5) == "bad-token"


def test_the_address_alone_may_bring_the_token(wcs):
    address = "rtsp://192.168.1.101:5554/lobby?token=tok-bob"
    assert wcs.reason("playRTSP", name=address) == ""
    assert wcs.reason("playRTSP", rtspUrl=address) == "", "as old builds name it"
    assert wcs.reason("playRTSP", name=address.replace("bob", "bab")) == "bad-token"
    assert {(record.target, b"tok-bob" in bytes(record.body)) for record in recorded()} == {("lobby", False)}


def test_a_wrong_token_beside_a_good_one_in_the_address_is_refused(wcs):
    address = "rtsp://192.168.1.101:5554/lobby?token=tok-bob"
    assert wcs.reason("playRTSP", name=address, custom={"token": "wrong"}) == "bad-token"


def test_the_token_is_called_what_the_app_says(wcs):
    App.objects.update(token_name="aclAuth")
    assert wcs.reason("playHLS", name="lobby", custom={"aclAuth": "tok-bob"}) == ""
    assert wcs.reason("playRTSP", name="rtsp://n:5554/lobby?aclAuth=tok-bob") == ""
    assert wcs.reason("playRTSP", name="rtsp://n:5554/lobby?token=tok-bob") == "no-credentials"


def test_login_and_password_do_too(wcs, school):
    school["bob"].set_password("bobs-password")
    school["bob"].save()
    assert wcs.reason("playHLS", name="lobby", custom={"login": "bob", "password": "bobs-password"}) == ""
    assert wcs.reason("playHLS", name="lobby", custom={"login": "bob", "password": "wrong"}) == "bad-password"


def test_a_token_for_other_streams_or_actions_does_not_do(wcs, school):
    school["bob"].tokens.update(streams=["elsewhere"])
    assert hls(wcs, "tok-bob") == "token-not-for-this"
    school["bob"].tokens.update(streams=["lobby"], actions=["publish"])
    assert hls(wcs, "tok-bob") == "token-not-for-this"
    school["bob"].tokens.update(actions=["play"])
    assert hls(wcs, "tok-bob") == ""


def test_the_answer_is_the_mirror_alone(wcs):
    answer = wcs.hook("playHLS", name="lobby", custom={"token": "tok-bob"})
    assert json.loads(answer.body) == {**wcs.common, "name": "lobby", "custom": {"token": "tok-bob"}}
