"""Hooks that name nothing but a call are about the number of that call."""

import pytest

from apps.access.models import NumberClass, Rule
from tests import factories
from tests.hooks.processes import recorded

PREMIUM, FRIEND = "+49 900 1234567", "10007"
TONES = {"dtmf": "1", "type": "RFC2833"}
HOOKS = ("hold", "unhold", "sendDtmf", "sendDTMF")


@pytest.fixture
def alice(client, school):
    """Alice may call anybody, but neither hold calls to premium numbers nor send tones there."""
    NumberClass.objects.filter(name="premium").delete()
    premium = NumberClass.objects.create(name="premium", prefixes=["+49900"])
    factories.make_rule("call", "receive-call", "answer", "hold", "dtmf", "transfer")
    deny = {"effect": "deny", "number_class": premium}
    factories.make_rule("hold", "dtmf", target=("number-class", ""), **deny)
    return client("alice")


@pytest.mark.parametrize("method", HOOKS)
def test_rules_about_numbers_hold_for_them(alice, method):
    assert [alice.call(PREMIUM, id="a"), alice.call(FRIEND, id="b")] == ["", ""]
    assert alice.hook(method, callId="a", **TONES) == "denied-by-rule"
    assert alice.hook(method, callId="b", **TONES) == ""


def test_of_a_call_that_came_in_it_is_the_number_that_called(alice):
    assert alice.hook("OnCallEvent", caller=PREMIUM, callee="alice", callId="a") == ""
    assert alice.hook("hold", callId="a") == "denied-by-rule"


def test_the_record_says_which_number_it_was(alice):
    alice.call(PREMIUM, id="a")
    alice.hook("sendDtmf", callId="a", **TONES)
    (record,) = recorded(method="sendDtmf")
    assert (record.target, record.action) == (PREMIUM, "dtmf")


@pytest.mark.parametrize("method", HOOKS)
@pytest.mark.parametrize(("asked", "dialled"), [("support", PREMIUM), (PREMIUM, FRIEND)])
@pytest.mark.usefixtures("alice")
def test_where_a_rule_has_another_number_called_a_deny_of_either_refuses(client, method, asked, dialled):
    factories.make_rule("call", target=("exact", asked), callee=dialled)
    alice = client("alice")
    assert alice.call(asked, id="a") == ""
    assert alice.hook(method, callId="a", **TONES) == "denied-by-rule"
    (record,) = recorded(method=method)
    assert record.target == asked


@pytest.mark.parametrize("allowed", ["support", FRIEND])
def test_where_a_rule_has_another_number_called_an_allow_of_either_allows(client, school, allowed):
    factories.make_rule("call", target=("exact", "support"), callee=FRIEND)
    bob = client("bob")
    assert bob.call("support", id="a") == ""
    assert bob.hook("hold", callId="a") == "no-rule"
    factories.make_rule("hold", target=("exact", allowed))
    assert bob.hook("hold", callId="a") == ""


@pytest.mark.usefixtures("alice")
def test_an_id_for_which_another_number_is_dialled_by_now_stands_for_the_later_number(client):
    support = factories.make_rule("call", target=("exact", "support"), callee=FRIEND)
    alice = client("alice")
    assert [alice.call("support", id="a"), alice.hook("hold", callId="a")] == ["", ""]
    Rule.objects.filter(pk=support.pk).update(callee=PREMIUM)
    assert [alice.call("support", id="a"), alice.hook("hold", callId="a")] == ["", "unknown-call"]
    alice.call_event("a", "FINISH")
    assert [alice.call("support", id="a"), alice.hook("hold", callId="a")] == ["", "denied-by-rule"]


def test_a_transfer_is_about_where_it_goes(alice, school):
    alice.call(FRIEND, id="a")
    factories.make_rule("transfer", effect="deny", target=("exact", FRIEND))
    assert alice.hook("transfer", callId="a", target="10009") == ""
    assert alice.hook("transfer", callId="a", target=FRIEND) == "denied-by-rule"


def test_an_answer_that_names_no_caller_is_about_the_one_of_its_call(alice):
    factories.make_rule("answer", effect="deny", target=("exact", FRIEND))
    alice.hook("OnCallEvent", caller=FRIEND, callId="a")
    assert alice.hook("answer", callId="a") == "denied-by-rule"
    assert alice.hook("answer", callId="a", caller="10009") == ""


def test_another_process_finds_it_as_soon_as_the_call_was_answered(alice, another_process):
    alice.call(PREMIUM, id="a")
    assert another_process.reason("hold", sessionId=alice.session, callId="a") == "denied-by-rule"


def test_an_id_that_is_used_again_stands_for_the_later_number(alice, another_process):
    ask = {"sessionId": alice.session, "callId": "a"}
    alice.call(FRIEND, id="a")
    assert another_process.reason("hold", **ask) == ""
    alice.call_event("a", "FINISH")
    alice.call(PREMIUM, id="a")
    assert another_process.reason("hold", **ask) == "denied-by-rule"


def test_calls_of_others_by_the_same_id_are_none_of_its_business(alice, client):
    charlie = client("charlie")
    charlie.call(PREMIUM, id="a")
    alice.call(FRIEND, id="a")
    assert [alice.hook("hold", callId="a"), charlie.hook("hold", callId="a")] == ["", "denied-by-rule"]


@pytest.mark.parametrize("method", [*HOOKS, "answer"])
@pytest.mark.parametrize("named", [{"callId": "another"}, {"callId": ""}, {}])
def test_what_belongs_to_a_call_that_was_never_let_in_is_refused(alice, method, named):
    assert alice.call(PREMIUM, id="a") == ""
    assert alice.hook(method, **named, **TONES) == "unknown-call"


def test_what_belongs_to_a_call_that_has_ended_too(alice):
    alice.call(FRIEND, id="a")
    alice.call_event("a", "FINISH")
    assert alice.hook("hold", callId="a") == "unknown-call"


def test_and_where_two_run_under_one_id(alice):
    assert [alice.call(PREMIUM, id="a"), alice.call(FRIEND, id="a")] == ["", ""]
    assert alice.hook("sendDtmf", callId="a", **TONES) == "unknown-call"
    alice.hook("CallStatusEvent", callId="a", callee=FRIEND, status="FAILED")
    assert alice.hook("sendDtmf", callId="a", **TONES) == "denied-by-rule"
