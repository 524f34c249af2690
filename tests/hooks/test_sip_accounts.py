"""SIP accounts: what connect is answered with, whatever the client sends; and that nobody else ever has them."""

import json
import logging

import pytest

from apps.access.files import export_access
from apps.access.snapshot import snapshot_keeper
from apps.audit.models import HookRecord
from apps.connections.models import Session, SipAccount
from apps.hooks.replies import Answer
from apps.protocol.methods import SIP_MEMBERS
from apps.protocol.policy import Hiding
from tests import factories
from tests.hooks.processes import the_record

pytestmark = pytest.mark.usefixtures("school")

ALICE = {"custom": {"token": "tok-alice"}}
GIVEN = {
    "sipLogin": "10007",
    "sipAuthenticationName": "10007",
    "sipPassword": "sip-secret",
    "sipVisibleName": "10007",
    "sipDomain": "pbx.example",
    "sipOutboundProxy": "pbx.example",
    "sipPort": 5060,
    "sipRegisterRequired": True,
}


@pytest.fixture
def account(school):
    return factories.make_sip_account(school["alice"])


def connected(wcs, **members):
    """The answer to Alice's connect, without what it has of the body."""
    answer = wcs.hook("connect", **ALICE, **members)
    assert answer.status == 200
    return {name: value for name, value in json.loads(answer.body).items() if name not in {*wcs.common, *ALICE}}


def test_a_user_gets_their_account_at_connect(wcs, account):
    answer = connected(wcs)
    policy = answer.pop("restClientConfig")
    assert answer == GIVEN
    assert Session.objects.get().hiding == Hiding.REWRITES | Hiding.ACCOUNT
    for method in ("connect", "ConnectionStatusEvent", "RegistrationStatusEvent"):
        assert set(SIP_MEMBERS) <= set(policy[method]["clientExclude"].split(","))
    assert "sipMessageRaw" in policy["RegistrationStatusEvent"]["clientExclude"]
    assert "sipMessageRaw" in policy["CallStatusEvent"]["clientExclude"]


def test_every_member_is_as_staff_say(wcs, school):
    factories.make_sip_account(
        school["alice"], "pw", login="7", authentication_name="auth7", domain="a.example", outbound_proxy="b.example",
        port=5080, visible_name="Alice “A” Ü", register=False,
    )  # fmt: skip
    answer = connected(wcs)
    assert {name: answer[name] for name in GIVEN} == {
        "sipLogin": "7",
        "sipAuthenticationName": "auth7",
        "sipPassword": "pw",
        "sipVisibleName": "Alice “A” Ü",
        "sipDomain": "a.example",
        "sipOutboundProxy": "b.example",
        "sipPort": 5080,
        "sipRegisterRequired": False,
    }


def test_nothing_that_the_client_sends_gets_between_the_account_and_its_server(wcs, account):
    """Else another proxy would be sent what the password can be guessed from."""
    sent = {
        "sipLogin": "666", "sipOutboundProxy": "evil.example", "sipDomain": "evil.example", "sipPort": "6666",
        "sipProxy": "evil.example", "sipContactParams": "x=y", "sipTransport": "evil", "SIPProxy": "evil",
    }  # fmt: skip
    answer = connected(wcs, **sent)
    answer.pop("restClientConfig")
    assert answer == {**GIVEN, "sipProxy": None, "sipContactParams": None, "sipTransport": None, "SIPProxy": None}


def test_members_that_come_twice_or_in_disguise_are_replaced_wherever_they_stand(wcs, account):
    body = (
        b'{"nodeId":"N","sessionId":"S","appKey":"defaultApp","sipProxy":"evil","sip\\u0050roxy":"evil",'
        b'"sipPassword":"a","sipPasswor\\u0064":"b","custom":{"token":"tok-alice"}}'
    )
    answer = wcs.raw("connect", body)
    pairs = json.loads(answer.body, object_pairs_hook=list)
    assert {json.dumps(value) for name, value in pairs if name == "sipProxy"} == {"null"}
    assert [value for name, value in pairs if name == "sipPassword"] == ["sip-secret"] * 2
    assert b"evil" not in answer.body


def test_whoever_has_none_keeps_what_the_page_sends(wcs, account):
    body = json.dumps({**wcs.common, "custom": {"token": "tok-bob"}, "sipLogin": "20", "sipPassword": "own"}).encode()
    answer = wcs.raw("connect", body)
    assert answer.body.startswith(body[:-1])
    assert Session.objects.get().hiding == Hiding.REWRITES


def test_a_guest_and_whoever_is_refused_get_none(wcs, account):
    factories.make_rule("connect", effect="deny", user=account.user)
    answer = wcs.hook("connect", **ALICE)
    assert answer.status == 403
    assert b"sip" not in answer.body


def test_the_next_connect_has_the_account_of_that_moment(wcs, account):
    connected(wcs)
    account.set_password("another")
    account.domain = "moved.example"
    account.save()
    answer = connected(wcs)
    assert (answer["sipPassword"], answer["sipDomain"]) == ("another", "moved.example")
    account.delete()
    assert connected(wcs).keys() == {"restClientConfig"}


def test_the_record_says_that_there_was_one_and_nothing_of_it(wcs, account, caplog):
    caplog.set_level(logging.DEBUG)
    connected(wcs)
    record = the_record()
    assert record.told == "the SIP account of the user"
    stored = [str(value) for value in HookRecord.objects.values_list().get()] + [
        bytes(record.body).decode(),
        caplog.text,
    ]
    assert not [text for text in stored if "sip-secret" in text or "pbx.example" in text]


def test_no_repr_and_no_export_tells_it(wcs, account):
    answer = wcs.hook("connect", **ALICE)
    assert "sip-secret" not in repr(answer) + repr(Answer(200, b"sip-secret")) + export_access()
    row = snapshot_keeper().current(float("inf")).sip_accounts.by_id[account.pk]
    assert not [text for text in ("sip-secret", account.password, "10007") if text in repr(row)]


def test_an_account_that_no_key_reads_lets_nobody_log_in_and_says_so(wcs, account, settings, caplog):
    SipAccount.objects.update(password="garbage")
    assert connected(wcs)["sipPassword"] == ""
    assert f"The SIP account of user {account.user_id} cannot log in." in caplog.text
    assert "garbage" not in caplog.text
