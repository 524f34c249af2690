"""publishStream: who may publish, and what is answered."""

import json

import pytest

from tests import factories

pytestmark = pytest.mark.usefixtures("school")


def test_alice_publishes(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    answer = wcs.hook("publishStream", name="lobby")
    assert answer.status == 200
    assert json.loads(answer.body) == {**wcs.common, "name": "lobby"}


def test_bob_may_only_watch(wcs):
    wcs.hook("connect", custom={"token": "tok-bob"})
    assert wcs.reason("publishStream", name="lobby") == "no-rule"
    assert wcs.reason("playStream", name="lobby") == ""


def test_nobody_publishes_without_a_session(wcs):
    assert wcs.reason("publishStream", name="lobby") == "unknown-session"


def test_a_token_in_the_body_wins_over_the_session(wcs):
    wcs.hook("connect", custom={"token": "tok-bob"})
    assert wcs.reason("publishStream", name="lobby", custom={"token": "tok-alice"}) == ""


def test_a_wrong_token_in_the_body_is_worse_than_none(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert wcs.reason("publishStream", name="lobby", custom={"token": "wrong"}) == "bad-token"


def test_a_deny_beats_an_allow(wcs, school):
    factories.make_rule("publish", effect="deny", user=school["alice"])
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert wcs.reason("publishStream", name="lobby") == "denied-by-rule"


def test_a_switched_off_user_is_refused_with_the_next_hook(wcs, school):
    wcs.hook("connect", custom={"token": "tok-alice"})
    school["alice"].is_active = False
    school["alice"].save()
    assert wcs.reason("publishStream", name="lobby") == "user-inactive"
