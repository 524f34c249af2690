"""Events have happened and some hooks only let go: whatever is wrong with them, they are recorded and never refused."""

import json

import pytest

from apps.protocol.methods import METHODS
from tests import factories
from tests.hooks.processes import recorded, the_record

pytestmark = pytest.mark.usefixtures("school")

NEVER_REFUSED = [method.name for method in METHODS if not method.refusable]


def goes_through_and_is_recorded(wcs, method, **members):
    before = len(recorded())
    body = json.dumps({**wcs.common, **members}).encode()
    answer = wcs.raw(method, body)
    assert (answer.status, answer.body) == (200, body)
    record = recorded()[-1]
    assert len(recorded()) == before + 1
    assert (record.method, record.effect, record.reason) == (method, "allow", "not-refusable")
    return record


def test_which_those_are():
    assert {"hangup", "unPublishStream", "stopStream", "ConnectionStatusEvent"} < set(NEVER_REFUSED)
    assert "StreamKeepAliveEvent" not in NEVER_REFUSED


def test_they_go_through_for_whoever_it_is(wcs, school, subtests):
    factories.make_rule("publish", "play", "call", effect="deny")
    wcs.hook("connect", custom={"token": "tok-alice"})
    school["alice"].is_active = False
    school["alice"].save()
    for method in NEVER_REFUSED:
        with subtests.test(method):
            assert goes_through_and_is_recorded(wcs, method, name="lobby").username == "alice"


def test_they_go_through_without_a_session(wcs, subtests):
    for method in NEVER_REFUSED:
        with subtests.test(method):
            assert goes_through_and_is_recorded(wcs, method, name="lobby").username == ""


def test_they_go_through_for_an_app_nobody_knows(wcs, subtests):
    for method in NEVER_REFUSED:
        with subtests.test(method):
            assert goes_through_and_is_recorded(wcs, method, appKey="nobodysApp").app_key == "nobodysApp"


def test_they_go_through_without_any_member(wcs, subtests):
    for method in NEVER_REFUSED:
        with subtests.test(method):
            answer = wcs.raw(method, b"{}")
            assert (answer.status, answer.body) == (200, b"{}")


def test_they_go_through_after_the_end_of_the_session(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("ConnectionStatusEvent", status="DISCONNECTED")
    record = goes_through_and_is_recorded(wcs, "StreamStatusEvent", name="lobby", status="UNPUBLISHED")
    assert record.username == "alice", "whose it was is known all the same"


def test_a_wrong_token_in_them_is_not_looked_at(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    record = goes_through_and_is_recorded(wcs, "StreamStatusEvent", custom={"token": "wrong"})
    assert (record.username, record.token_id) == ("alice", None)
    goes_through_and_is_recorded(wcs, "StreamStatusEvent", custom="not an object")


def test_another_spelling_is_recorded_as_it_came(wcs):
    for spelling in ("ErrorEvent", "ERRORSTATUSEVENT", "errorstatusevent"):
        goes_through_and_is_recorded(wcs, spelling, status="REST_FAIL")


def test_what_it_says_is_recorded(wcs):
    wcs.hook(
        "StreamStatusEvent",
        name="lobby",
        mediaSessionId="56141d10-fddc-11e6-ac3a-4d67d5b3360d",
        status="FAILED",
        info="Failed by ICE timeout",
    )
    record = the_record()
    assert (record.status, record.target, record.action) == ("FAILED", "lobby", "notify")
    assert record.media_session_id == "56141d10-fddc-11e6-ac3a-4d67d5b3360d"
    assert b"Failed by ICE timeout" in bytes(record.body)
