"""connect: who gets in and as whom, what WCS is told, and how long the session lasts."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.connections.models import App, Session
from apps.protocol.methods import METHODS
from tests import factories
from tests.hooks.processes import recorded, the_record

pytestmark = pytest.mark.usefixtures("school")

PASSWORD = "alices-password"


@pytest.fixture
def alice_has_a_password(school):
    school["alice"].set_password(PASSWORD)
    school["alice"].save()


def welcome_guests():
    App.objects.update(guests=True)
    factories.make_rule("connect", guests=True)


# As whom


def test_a_token_opens_a_session_for_its_user(wcs, school):
    assert wcs.reason("connect", custom={"token": "tok-alice"}, origin="https://example.org") == ""
    session = Session.objects.get()
    assert (session.node_id, session.session_id, session.app_key) == tuple(
        wcs.common[name] for name in ("nodeId", "sessionId", "appKey")
    )
    assert (session.user, session.username, session.entered_by) == (school["alice"], "alice", "token")
    assert session.token == school["alice"].tokens.get()
    assert (session.client_address, session.origin) == ("192.168.1.38", "https://example.org")
    assert (session.opening, session.ended_at, session.end_reason) == (1, None, "")
    assert session.opened_at == the_record().received_at


@pytest.mark.usefixtures("alice_has_a_password")
@pytest.mark.parametrize("login", ["login", "username"])
def test_login_and_password_open_a_session_for_the_user(wcs, school, login):
    assert wcs.reason("connect", custom={login: "alice", "password": PASSWORD}) == ""
    session = Session.objects.get()
    assert (session.user, session.token, session.entered_by) == (school["alice"], None, "password")


@pytest.mark.usefixtures("alice_has_a_password")
@pytest.mark.parametrize("login", ["alice", "bob", "nobody"])
def test_a_wrong_password_is_refused_whoever_is_named(wcs, login):
    assert wcs.reason("connect", custom={"login": login, "password": "wrong"}) == "bad-password"
    assert not Session.objects.exists()


def test_without_credentials_nobody_gets_in(wcs):
    assert wcs.reason("connect") == "no-credentials"
    assert wcs.reason("connect", custom={}) == "no-credentials"
    assert wcs.reason("connect", custom=None) == "no-credentials"
    assert not Session.objects.exists()


def test_a_welcome_guest_gets_in_as_a_guest(wcs):
    welcome_guests()
    assert wcs.reason("connect") == ""
    session = Session.objects.get()
    assert (session.user, session.username, session.token, session.entered_by) == (None, "", None, "guest")


def test_a_welcome_guest_needs_a_rule_all_the_same(wcs):
    App.objects.update(guests=True)
    assert wcs.reason("connect") == "no-rule"


@pytest.mark.parametrize(
    "custom",
    [
        {"token": "wrong"},
        {"token": ""},
        {"token": 5},
        {"token": ["tok-alice"]},
        {"token": {"token": "tok-alice"}},
        {"token": True},
        {"token": "TOK-ALICE"},
        {"token": "tok-alice "},
        {"token": "tok-alice\x00"},
    ],
    ids=repr,
)
def test_a_bad_token_is_refused_even_where_guests_are_welcome(wcs, custom):
    welcome_guests()
    assert wcs.reason("connect", custom=custom) == "bad-token"
    assert not Session.objects.exists()


@pytest.mark.parametrize(
    "custom",
    [
        {"password": "x"},
        {"password": 5, "login": "alice"},
        {"password": "x", "login": 1},
        {"password": "x", "login": ""},
    ],
    ids=repr,
)
def test_half_a_login_is_refused_even_where_guests_are_welcome(wcs, custom):
    welcome_guests()
    assert wcs.reason("connect", custom=custom) == "bad-token"


def test_a_token_that_is_null_counts_as_none(wcs):
    welcome_guests()
    assert wcs.reason("connect", custom={"token": None}) == ""
    assert Session.objects.get().entered_by == "guest"


def test_a_bad_token_is_not_made_up_for_by_a_good_password(wcs, alice_has_a_password):
    custom = {"token": "wrong", "login": "alice", "password": PASSWORD}
    assert wcs.reason("connect", custom=custom) == "bad-token"


def test_an_expired_token_is_refused_from_that_moment_on(wcs, school):
    school["alice"].tokens.update(expires_at=timezone.now() + timedelta(minutes=1))
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == ""
    school["alice"].tokens.update(expires_at=timezone.now())
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == "expired-token"
    assert wcs.reason("playStream", name="lobby") == "expired-token", "nor does its session do any more"


def test_a_token_that_was_removed_ends_what_its_session_may(wcs, school):
    factories.make_rule("play")
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert wcs.reason("playStream", name="lobby") == ""
    school["alice"].tokens.all().delete()
    assert wcs.reason("playStream", name="lobby") == "bad-token"
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == "bad-token"


def test_a_user_who_is_switched_off_is_refused(wcs, school):
    school["alice"].is_active = False
    school["alice"].save()
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == "user-inactive"
    assert the_record().username == "alice"
    assert not Session.objects.exists()


def test_a_user_who_was_deleted_is_refused(wcs, school, alice_has_a_password):
    wcs.hook("connect", custom={"login": "alice", "password": PASSWORD})
    school["alice"].delete()
    assert wcs.reason("publishStream", name="lobby") == "user-inactive"


def test_the_app_says_what_its_token_is_called(wcs):
    App.objects.update(token_name="aclAuth")
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == "no-credentials"
    assert wcs.reason("connect", custom={"aclAuth": "tok-alice"}) == ""
    assert b"tok-alice" not in b"".join(bytes(record.body) for record in recorded())


def test_a_token_may_be_bound_to_pages_and_networks(wcs, school):
    school["alice"].tokens.update(origins=["https://example.org"], networks=["192.168.1.0/24"])
    alice = {"custom": {"token": "tok-alice"}}
    elsewhere = {"sessionId": "/203.0.113.9:1/192.168.1.101:8443"}
    assert wcs.reason("connect", **alice) == "token-not-for-this"
    assert wcs.reason("connect", **alice, origin="https://evil.example") == "token-not-for-this"
    assert wcs.reason("connect", **alice, origin="https://example.org", **elsewhere) == "token-not-for-this"
    assert wcs.reason("connect", **alice, origin="https://example.org") == ""


def test_an_rtmp_encoder_brings_its_token_in_the_address(wcs, school):
    """`rtmp://wcs/live?token=...&a=1` arrives as `custom`; the login WCS made up is nobody's."""
    assert wcs.reason("connect", custom={"a": "1", "token": "tok-alice"}, login="rQq83sodiCPY0pJXCxGO") == ""
    assert Session.objects.get().user == school["alice"]


def test_an_unknown_app_lets_nobody_in(wcs):
    assert wcs.reason("connect", appKey="nobodysApp", custom={"token": "tok-alice"}) == "unknown-app"
    assert not Session.objects.exists()


def test_a_client_with_an_ipv6_address_of_its_link_only_gets_in(wcs):
    wcs.common["sessionId"] = "/fe80:0:0:0:1c2f:60ff:fedd:11e6%eth0:64604/fe80:0:0:0:0:0:0:1%eth0:8443"
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == ""
    assert Session.objects.get().client_address == the_record().client_address == "fe80::1c2f:60ff:fedd:11e6"


# What WCS is told


def test_the_answer_lists_every_method_so_that_nothing_stays_open_by_default(wcs):
    body = wcs.hook("connect", custom={"token": "tok-alice"}).body
    config = json.loads(body)["restClientConfig"]
    assert config.keys() == {name for method in METHODS for name in (method.name, *method.aliases)}
    assert {name: config[method.name]["restOnError"] for method in METHODS for name in (method.name,)} == {
        method.name: "FAIL" if method.refusable or method.kind != "event" else "LOG" for method in METHODS
    }


def test_a_restclientconfig_that_the_client_slipped_in_is_replaced(wcs):
    """WCS passes what clients send along; the last word on the policy is ours."""
    body = (
        b'{"nodeId":"N","sessionId":"S","appKey":"defaultApp","restClientConfig":{},"custom":{"token":"tok-alice"},'
        b'"restClientConfi\\u0067":{"publishStream":{"restOnError":"LOG"}}}'
    )
    answer = wcs.raw("connect", body)
    configs = [value for name, value in json.loads(answer.body, object_pairs_hook=list) if name == "restClientConfig"]
    assert answer.status == 200
    assert len(configs) == 2
    assert configs[0] == configs[1] != []
    assert b'"LOG"' in answer.body
    assert [name for name, _ in configs[0]][:1] == ["connect"]


def test_a_refusal_carries_no_policy(wcs):
    answer = wcs.hook("connect", custom={"token": "wrong"})
    assert json.loads(answer.body).keys() == {"error", "detail"}


@pytest.mark.parametrize("missing", ["nodeId", "sessionId"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_connect_that_names_no_session_cannot_be_read(wcs, missing, value):
    answer = wcs.hook("connect", **{missing: value}, custom={"token": "tok-alice"})
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "malformed")


# The same session again


def test_connecting_again_opens_the_session_anew_for_whoever_connects(wcs, school):
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert wcs.reason("publishStream", name="lobby") == ""
    wcs.hook("connect", custom={"token": "tok-bob"})
    assert (Session.objects.get().user, Session.objects.get().opening) == (school["bob"], 2)
    assert wcs.reason("publishStream", name="lobby") == "no-rule"
    assert wcs.reason("playStream", name="lobby") == ""
    assert the_record(method="playStream").username == "bob"


def test_another_process_that_remembers_the_old_session_acts_for_the_new_user_at_once(wcs, another_process):
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert another_process.reason("publishStream", name="lobby") == "", "it remembers Alice now"
    wcs.hook("connect", custom={"token": "tok-bob"})
    assert another_process.reason("publishStream", name="lobby") == "no-rule"
    assert another_process.reason("playStream", name="lobby") == ""
    assert the_record(method="playStream").username == "bob"
    assert {record.username for record in recorded(method="publishStream", effect="deny")} == {"bob"}


def test_another_app_does_not_inherit_the_session(wcs, school):
    factories.make_app("otherApp")
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert wcs.reason("publishStream", name="lobby", appKey="otherApp") == "unknown-session"
    assert the_record(method="publishStream").username == ""


def test_another_node_does_not_know_the_session(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert wcs.reason("publishStream", name="lobby", nodeId="other@192.0.2.1") == "unknown-session"


def test_a_refused_connect_leaves_the_session_of_somebody_else_alone(wcs, school):
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert wcs.reason("connect", custom={"token": "wrong"}) == "bad-token"
    assert wcs.reason("publishStream", name="lobby") == ""
    assert Session.objects.get().opening == 1


# Its end


@pytest.mark.parametrize("status", ["DISCONNECTED", "FAILED"])
def test_the_end_of_the_connection_ends_the_session_in_every_process(wcs, another_process, status):
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert another_process.reason("publishStream", name="lobby") == "", "it remembers the session now"
    wcs.hook("ConnectionStatusEvent", status=status, info="CONNECTION_ERROR")
    assert wcs.reason("publishStream", name="lobby") == "session-ended"
    assert another_process.reason("publishStream", name="lobby") == "session-ended"
    session = Session.objects.get()
    assert (session.ended_at, session.end_reason) == (
        the_record(method="ConnectionStatusEvent").received_at,
        f"{status} CONNECTION_ERROR",
    )


def test_an_established_connection_ends_nothing(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("ConnectionStatusEvent", status="ESTABLISHED")
    assert wcs.reason("publishStream", name="lobby") == ""


def test_a_session_that_ended_may_be_opened_again(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("ConnectionStatusEvent", status="DISCONNECTED")
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert wcs.reason("publishStream", name="lobby") == ""
    session = Session.objects.get()
    assert (session.opening, session.ended_at, session.end_reason) == (2, None, "")


def test_an_end_that_comes_twice_is_the_first_one(wcs):
    wcs.hook("connect", custom={"token": "tok-alice"})
    for info in ("first", "second"):
        assert wcs.hook("ConnectionStatusEvent", status="DISCONNECTED", info=info).status == 200
    assert Session.objects.get().end_reason == "DISCONNECTED first"
    assert len(recorded(method="ConnectionStatusEvent")) == 2


def test_only_its_own_app_ends_a_session(wcs):
    factories.make_app("otherApp")
    wcs.hook("connect", custom={"token": "tok-alice"})
    for app_key in ("otherApp", "nobodysApp", ""):
        wcs.hook("ConnectionStatusEvent", status="DISCONNECTED", appKey=app_key)
    assert wcs.reason("publishStream", name="lobby") == ""
    assert Session.objects.get().ended_at is None
