"""Every method, with every body we know from the wire: mirrored and recorded once where allowed, refused where not."""

import json
from pathlib import Path

import pytest

from apps.access.models import Rule
from apps.audit.models import HookRecord
from apps.connections.models import App, Session
from apps.protocol.methods import ACTIONS, CREDENTIALS, METHODS, find
from apps.protocol.policy import REST_CLIENT_CONFIG
from tests import factories
from tests.hooks.processes import the_record

PAYLOADS = sorted((Path(__file__).parent.parent / "payloads").glob("*.json"))
ACL_KEY = "e6f0a4b2-6f5c-4d0e-9c55-0d3b7a1f2c11"
PASSWORD = "correct horse battery staple"
SECRETS = ("xyz", "key1", "123456789", ACL_KEY, PASSWORD, "yR2mPq8sKv0LwXc6uBd1nEoJ", "tQ5xGz9aHc3RmJv7kSe2yDfL")
UNTOLD = ("sipPassword", "authToken", "sdp", "logs")
"""Members whose value is never stored."""


def wire_name(path):
    return "sendDTMF" if path.name == "sendDtmf.alias.json" else path.name.split(".")[0]


@pytest.fixture
def send(wcs):
    """Sends a body as it is in an open session, in a world where everybody is known; gives the answer.

    People are known by their tokens, or by login and password; whoever has neither is a welcome guest. There is no
    rule but one, for connecting.
    """
    factories.make_app(guests=True)
    alice = factories.make_user()
    factories.make_user("alice@example.com", password=PASSWORD)
    for token in ("xyz", "key1", "123456789", ACL_KEY):
        factories.make_token(alice, token, label=token)
    rule = factories.make_rule("connect", guests=True)
    assert wcs.reason("connect") == ""
    rule.delete()

    def send(path, body=None):
        body = body or path.read_bytes()
        token_name = "aclAuth" if b'"aclAuth"' in body else "token"
        App.objects.exclude(token_name=token_name).update(token_name=token_name)
        Session.objects.update(ended_at=None)
        HookRecord.objects.all().delete()
        return wcs.raw(wire_name(path), body)

    return send


def allow_everything():
    factories.make_rule(*ACTIONS)
    factories.make_rule(*ACTIONS, guests=True)


def test_there_is_a_body_for_every_method():
    assert {find(wire_name(path)) for path in PAYLOADS} == set(METHODS)


def test_what_is_allowed_is_mirrored_byte_for_byte(send, subtests):
    allow_everything()
    for path in PAYLOADS:
        with subtests.test(path.name):
            answer, body = send(path), path.read_bytes()
            if wire_name(path) == "connect":
                config = b',"restClientConfig":' + REST_CLIENT_CONFIG
                assert answer.body.count(config) == 1
                assert answer.body.replace(config, b"") == body
            else:
                assert answer.body == body
            assert answer.status == 200


def test_what_is_allowed_is_recorded_once_under_the_name_it_came_with(send, subtests):
    allow_everything()
    for path in PAYLOADS:
        with subtests.test(path.name):
            send(path)
            record = the_record()
            reason = "allowed-by-rule" if find(wire_name(path)).refusable else "not-refusable"
            assert (record.method, record.effect, record.reason) == (wire_name(path), "allow", reason)


def test_what_is_stored_tells_no_secret_and_leaves_out_nothing_else(send, subtests):
    allow_everything()
    for path in PAYLOADS:
        with subtests.test(path.name):
            send(path)
            stored, body = bytes(the_record().body), path.read_bytes()
            assert not [secret for secret in SECRETS if secret.encode() in stored]
            kept, came = json.loads(stored), json.loads(body)
            assert kept.keys() == came.keys()
            assert all(kept[name] == "[left out]" for name in UNTOLD if came.get(name))
            if not came.keys() & {*UNTOLD, "custom", "token"} and b"?" not in body:
                assert stored == body


NAMING_ONLY_A_CALL = ("hold", "unhold", "sendDtmf", "sendDTMF")


def test_without_rules_whatever_can_be_refused_is_refused(send, subtests):
    assert not Rule.objects.exists()
    for path in PAYLOADS:
        with subtests.test(path.name):
            answer, record = send(path), the_record()
            if find(wire_name(path)).refusable:
                reason = "unknown-call" if wire_name(path) in NAMING_ONLY_A_CALL else "no-rule"
                assert (answer.status, json.loads(answer.body)["error"]) == (403, reason)
                assert (record.effect, record.reason) == ("deny", reason)
            else:
                assert (answer.status, answer.body) == (200, path.read_bytes())
                assert (record.effect, record.reason) == ("allow", "not-refusable")


def test_without_a_session_only_what_brings_credentials_is_allowed(send, subtests):
    allow_everything()
    for path in PAYLOADS:
        method = find(wire_name(path))
        with subtests.test(path.name):
            answer = send(path, path.read_bytes().replace(b"64604", b"64605"))
            if method.refusable and method.identity is not CREDENTIALS:
                assert (answer.status, json.loads(answer.body)["error"]) == (403, "unknown-session")
            else:
                assert answer.status == 200
            Session.objects.filter(session_id__contains="64605").delete()
