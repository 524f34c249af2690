"""An app marked as started by the WCS REST API: nothing under its key is refused, and the records say why."""

import json

import pytest

from apps.connections.models import App, Session
from apps.protocol.methods import METHODS
from tests import factories
from tests.hooks.processes import recorded, the_record


@pytest.fixture
def dialer(wcs):
    """A WCS that sends hooks for such an app, in a world without users or rules."""
    factories.make_app("dialer", rest_started=True)
    wcs.common["appKey"] = "dialer"
    return wcs


def test_nothing_is_refused(dialer, subtests):
    for method in METHODS:
        with subtests.test(method.name):
            body = json.dumps({**dialer.common, "name": "lobby", "callee": "+4930123456"}).encode()
            answer = dialer.raw(method.name, body)
            reason = "started-by-rest-api" if method.refusable else "not-refusable"
            assert answer.status == 200
            assert json.loads(answer.body).items() >= json.loads(body).items()
            assert [(record.effect, record.reason) for record in recorded(method=method.name)] == [("allow", reason)]


def test_neither_a_wrong_token_nor_a_deny_stands_in_its_way(dialer):
    alice = factories.make_user(is_active=False)
    factories.make_token(alice)
    factories.make_rule("call", "connect", effect="deny")
    assert dialer.reason("connect", custom={"token": "wrong"}) == ""
    assert dialer.reason("call", callee="+4930123456") == ""
    assert dialer.reason("playHLS", name="lobby", custom={"token": "tok-alice"}) == ""


def test_its_sessions_are_known_to_be_such(dialer):
    dialer.hook("connect")
    session = Session.objects.get()
    assert (session.entered_by, session.user, session.username) == ("rest", None, "")


def test_once_the_mark_is_taken_off_its_sessions_are_nobodys(dialer):
    factories.make_rule("call")
    factories.make_rule("call", guests=True)
    dialer.hook("connect")
    assert dialer.reason("call", callee="+4930123456") == ""
    App.objects.update(rest_started=False)
    assert dialer.reason("call", callee="+4930123456") == "no-credentials"


def test_its_caller_must_be_known_all_the_same(dialer):
    answer = dialer.hook("call", environ={"HTTP_AUTHORIZATION": ""})
    assert answer.status == 401
    assert not recorded()


def test_other_apps_are_decided_as_ever(dialer):
    factories.make_app()
    assert dialer.reason("publishStream", name="lobby", appKey="defaultApp") == "unknown-session"
    assert the_record().effect == "deny"


def test_who_it_was_is_recorded_where_a_token_says_so(dialer):
    factories.make_token(factories.make_user())
    dialer.hook("playHLS", name="lobby", custom={"token": "tok-alice"})
    assert (the_record().username, the_record().reason) == ("alice", "started-by-rest-api")


def test_a_wrong_password_puts_nothing_down_to_its_owner(dialer):
    factories.make_user("alice", password="right")
    assert dialer.reason("connect", custom={"login": "alice", "password": "wrong"}) == ""
    assert (the_record().username, Session.objects.get().username) == ("", "")
