"""A method nobody told us about: mirrored and recorded if its caller is known, since newer builds may have more."""

import json

import pytest

from tests import factories
from tests.hooks.processes import recorded, the_record

pytestmark = pytest.mark.usefixtures("school")


def test_it_is_mirrored_and_recorded_under_its_own_name(wcs):
    body = b'{ "nodeId":"N", "appKey":"defaultApp", "sessionId":"S", "weight":1.0, "weight":2 }'
    answer = wcs.raw("OnHologramEvent", body)
    assert (answer.status, answer.body) == (200, body)
    record = the_record()
    assert (record.method, record.effect, record.reason) == ("OnHologramEvent", "allow", "unknown-method")
    assert (record.node_id, record.session_id, record.action, record.target) == ("N", "S", "", "")
    assert bytes(record.body) == body


def test_no_session_is_looked_for_and_nobody_is_named(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("OnHologramEvent")
    assert the_record(method="OnHologramEvent").username == ""


def test_a_caller_who_is_not_known_is_refused(wcs):
    answer = wcs.hook("OnHologramEvent", environ={"HTTP_AUTHORIZATION": factories.basic(password="wrong")})
    assert answer.status == 401
    assert not recorded()


def test_it_is_let_pass_for_an_app_nobody_knows_too(wcs):
    assert wcs.hook("OnHologramEvent", appKey="nobodysApp").status == 200
    assert the_record().reason == "unknown-method"


def test_its_secrets_are_left_out_too(wcs):
    wcs.hook("OnHologramEvent", token="tok-alice", custom={"password": "hush"}, name="rtsp://me:pw@host/live")
    stored = bytes(the_record().body)
    assert not [secret for secret in (b"tok-alice", b"hush", b"me:pw") if secret in stored]


@pytest.mark.parametrize("name", ["ünïcode", "x" * 2000, "drop table\n", "a\x00b", ""], ids=ascii)
def test_strange_names_are_recorded_as_far_as_can_be(wcs, name):
    assert wcs.hook(name).status == 200
    assert the_record().method == name[:600].replace("\x00", "\ufffd")


def test_a_near_miss_does_not_pass_for_the_method(wcs):
    """`publishStream ` is not refused, but nor does WCS ask for it: no policy entry of ours has that name."""
    answer = wcs.hook("publishStream ")
    assert answer.status == 200
    assert the_record().reason == "unknown-method"
    policy = json.loads(wcs.hook("connect", custom={"token": "tok-alice"}).body)["restClientConfig"]
    assert "publishStream " not in policy
