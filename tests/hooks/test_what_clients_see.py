"""A simulated WCS asks us over HTTP and obeys our policy: what its clients get, and what they never get to see."""

import json

import pytest

from apps.access.models import Rule
from apps.audit.models import HookRecord
from apps.simulator import actions, call_actions, message_actions, stream_actions
from apps.simulator.client import Client, Person
from apps.simulator.node import SimulatedNode
from apps.simulator.sender import Credentials, Sender
from tests import factories
from tests.hooks.processes import recorded

SOURCE, CAMERA, NUMBER = "lobby-7f3a", "rtsp://viewer:s3cret@192.0.2.5/live.sdp", "+4930123456"
ACCOUNT = {"login": "sip10007", "authentication_name": "auth-10007", "domain": "pbx.example"}
SECRETS = (SOURCE, "192.0.2.5", "s3cret", NUMBER, "sip-secret", *ACCOUNT.values())


@pytest.fixture
def node(school, live_server, settings):
    """A WCS that asks this very server."""
    settings.WHITENOISE_AUTOREFRESH = True
    sender = Sender(f"{live_server.url}/hooks", Credentials("wcs", factories.HOOK_PASSWORD))
    with SimulatedNode(sender, keep_alive=0) as node:
        yield node


@pytest.fixture
def world(school):
    """A room that is published under another name, a camera, a number behind a word; Bob has a SIP account."""
    factories.make_stream("lobby", source=SOURCE)
    factories.make_rule("play", stream=factories.make_stream("door", source=CAMERA))
    factories.make_rule("call", "transfer", "message", target=("exact", "support"), callee=NUMBER)
    factories.make_rule("call", target=("exact", "desk"))
    factories.make_rule("receive-call", "receive-message", "answer", "hold", "transfer")
    factories.make_sip_account(school["bob"], **ACCOUNT)


def join(node, name):
    client = Client(node, Person(name, address="192.168.1.38", token=f"tok-{name}"), ())
    assert actions.connect(client).experience == "allowed"
    return client


def seen_by(client, *done):
    """Everything that a client was told, and that the steps it took were called."""
    told = [[told.event, told.status, told.info, told.body] for told in client.session.told]
    return json.dumps([told, [step.words for step in done], [step.words for step in client.experiences]])


def events(client, event):
    return [told.body for told in client.session.told if told.event == event]


def test_no_client_sees_a_source_a_sip_account_or_the_number_behind_a_word(node, world):
    alice, bob = join(node, "alice"), join(node, "bob")
    steps = [stream_actions.publish(alice, "lobby")]
    watching = [stream_actions.play(bob, "lobby"), stream_actions.play(bob, "door")]
    for stream in node.running_streams():
        stream.ask_to_go_on()
    calling = [
        call_actions.call(bob, "support"),
        call_actions.transfer(bob, "support"),
        message_actions.message(bob, "support", "hello"),
        call_actions.incoming_call(bob, "+49401"),
        call_actions.answer(bob),
        message_actions.incoming_message(bob, "+49401", "hello"),
        call_actions.hangup(bob),
    ]
    leaving = [stream_actions.stop(bob, "door"), stream_actions.unpublish(alice, "lobby")]
    alice.session.disconnect()
    bob.session.disconnect()
    done = [*steps, *watching, *calling, *leaving]
    assert [step.words for step in done if step.experience != "allowed"] == []
    for client in (alice, bob):
        assert [secret for secret in SECRETS if secret in seen_by(client, *done)] == []

    # and yet WCS did what it was told:
    assert {record.target for record in recorded(method="StreamStatusEvent")} == {
        SOURCE, "rtsp://***@192.0.2.5/live.sdp",
    }  # fmt: skip
    assert {record.target for record in recorded(method="CallStatusEvent")} >= {NUMBER}
    assert {record.target for record in recorded(method="TransferStatusEvent")} == {NUMBER}
    assert {record.target for record in recorded(method="MessageStatusEvent")} >= {NUMBER}
    assert b"sip10007" in bytes(recorded(method="RegistrationStatusEvent")[0].body)
    assert not [record for record in HookRecord.objects.all() if b"sip-secret" in bytes(record.body)]


def test_clients_see_what_they_need_all_the_same(node, world):
    alice, bob = join(node, "alice"), join(node, "bob")
    stream_actions.publish(alice, "lobby")
    stream_actions.play(bob, "lobby")
    call_actions.call(bob, "support")
    (playing,) = events(bob, "StreamStatusEvent")
    assert (playing["status"], playing["mediaSessionId"] != "") == ("PLAYING", True)
    assert [body["status"] for body in events(bob, "CallStatusEvent")] == ["TRYING", "RING", "ESTABLISHED"]
    assert {"callId", "hasAudio", "mediaProvider"} <= events(bob, "CallStatusEvent")[0].keys()
    (established,) = events(bob, "ConnectionStatusEvent")
    assert established["authToken"] == bob.session.id


def test_where_nothing_is_hidden_clients_see_the_names_of_their_streams_and_numbers(node, school):
    factories.make_rule("call", target=("exact", "desk"))
    alice = join(node, "alice")
    stream_actions.publish(alice, "lobby")
    call_actions.call(alice, "desk")
    assert events(alice, "StreamStatusEvent")[0]["name"] == "lobby"
    assert events(alice, "CallStatusEvent")[0]["callee"] == "desk"


def test_the_source_may_be_asked_for_as_the_stream_itself(node, world):
    """It is the same thing under another name, for rules as for WCS."""
    alice, bob = join(node, "alice"), join(node, "bob")
    stream_actions.publish(alice, "lobby")
    assert stream_actions.play(bob, SOURCE).experience == "allowed"
    Rule.objects.filter(actions=["play"], target="lobby").update(effect="deny")
    assert stream_actions.play(bob, SOURCE).experience == "refused"
    assert stream_actions.play_hls(bob, SOURCE, token="tok-bob").experience == "refused"


def test_a_cap_holds_for_whoever_plays(node, school):
    factories.make_rule("play", user=school["bob"], target=("exact", "lobby"), max_width=320, max_height=240)
    alice, bob = join(node, "alice"), join(node, "bob")
    stream_actions.publish(alice, "lobby")
    stream_actions.play(bob, "lobby")
    (playing,) = events(bob, "StreamStatusEvent")
    assert (playing["width"], playing["height"]) == (320, 240)
