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


@pytest.mark.parametrize(
    "name",
    [
        "ünïcode",
        "x" * 101,
        "drop table\n",
        "a\x00b",
        "",
        "publishStream ",
        "connect.json",
        "connect,",
        "publi\u017fhStream",
    ],
    ids=ascii,
)
def test_what_cannot_be_the_name_of_a_method_is_an_error_and_let_in_nowhere(wcs, name):
    """An address like .../hooks/?key=1 in WCS would otherwise get its every hook mirrored, without a policy."""
    answer = wcs.hook(name)
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "not-a-method")
    assert not recorded()
