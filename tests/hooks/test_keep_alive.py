"""StreamKeepAliveEvent: asked again and again while a stream runs, decided each time under today's rules."""

import json

import pytest

from apps.access.models import Rule
from tests import factories
from tests.hooks.processes import recorded, the_record

pytestmark = pytest.mark.usefixtures("school")


def keep_alive(wcs, *, published, name="lobby", **members):
    return wcs.reason("StreamKeepAliveEvent", name=name, published=published, status="PUBLISHING", **members)


def test_a_publisher_goes_on_while_she_may_publish(wcs, school):
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert keep_alive(wcs, published=True) == ""
    Rule.objects.filter(user=school["alice"]).delete()
    assert keep_alive(wcs, published=True) == "no-rule"
    assert [(record.action, record.effect) for record in recorded(method="StreamKeepAliveEvent")] == [
        ("publish", "allow"),
        ("publish", "deny"),
    ]


def test_a_player_goes_on_while_he_may_play(wcs, school):
    wcs.hook("connect", custom={"token": "tok-bob"})
    assert keep_alive(wcs, published=False) == ""
    factories.make_rule("play", effect="deny", user=school["bob"])
    assert keep_alive(wcs, published=False) == "denied-by-rule"
    assert {record.action for record in recorded(method="StreamKeepAliveEvent")} == {"play"}


def test_who_may_only_play_may_not_go_on_publishing_and_the_other_way_round(wcs):
    wcs.hook("connect", custom={"token": "tok-bob"})
    assert keep_alive(wcs, published=True) == "no-rule"
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert keep_alive(wcs, published=False) == "no-rule"


@pytest.mark.parametrize("published", [None, ...], ids=["null", "absent"])
def test_a_stream_that_does_not_say_what_it_is_counts_as_published(wcs, published):
    members = {} if published is ... else {"published": published}
    wcs.hook("connect", custom={"token": "tok-bob"})
    assert wcs.reason("StreamKeepAliveEvent", name="lobby", **members) == "no-rule"
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert wcs.reason("StreamKeepAliveEvent", name="lobby", **members) == ""


def test_a_refusal_is_a_403_which_stops_the_stream(wcs):
    wcs.hook("connect", custom={"token": "tok-charlie"})
    answer = wcs.hook("StreamKeepAliveEvent", name="lobby", published=False)
    assert (answer.status, json.loads(answer.body)["error"]) == (403, "no-rule")


def test_the_stream_of_a_user_who_is_switched_off_is_stopped(wcs, school):
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert keep_alive(wcs, published=True) == ""
    school["alice"].is_active = False
    school["alice"].save()
    assert keep_alive(wcs, published=True) == "user-inactive"


def test_the_stream_of_a_session_that_ended_is_stopped(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("ConnectionStatusEvent", status="DISCONNECTED")
    assert keep_alive(wcs, published=True) == "session-ended"


def test_without_a_session_the_stream_is_stopped(wcs):
    assert keep_alive(wcs, published=True) == "unknown-session"


def test_a_token_in_its_body_is_who_started_the_stream(wcs):
    """As WCS keeps `custom` of publishStream: the token there may be another one than that of the session."""
    wcs.hook("connect", custom={"token": "tok-charlie"})
    assert keep_alive(wcs, published=True, custom={"token": "tok-alice"}) == ""
    assert keep_alive(wcs, published=True, custom={"token": "wrong"}) == "bad-token"
    assert the_record(method="StreamKeepAliveEvent", effect="allow").username == "alice"


def test_the_stream_in_its_name_is_asked_about(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert keep_alive(wcs, published=True, name="elsewhere") == "no-rule"
