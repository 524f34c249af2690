"""Ending what runs: hooks about it are refused at once, and WCS is told by a worker, of one thing and no other."""

import json
import socket
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.models import Rule
from apps.audit.moving.mover import move_batch
from apps.connections.models import Node, Session
from apps.connections.sealing import unseal
from apps.live import cutting, wcs_api
from apps.live.cutting import MAX_ATTEMPTS, carry_out, order_end
from apps.live.models import Cut, Lease
from apps.live.tasks import FORGOTTEN_AT_ONCE, carry_out_cuts, forget_leases, long_over
from apps.simulator import actions
from apps.simulator.client import Client, Person
from apps.simulator.node import SimulatedNode
from apps.simulator.rest_api import RestApi
from apps.simulator.sender import Sender
from tests import factories
from tests.simulator.backend import Backend


def end(**conditions):
    return order_end(Lease.objects.filter(**conditions), by="olga", now=timezone.now())


KEEP_ALIVE = {"name": "lobby", "published": False}


# For hooks


def test_what_was_ordered_to_end_is_refused_in_every_process(client, another_process):
    bob = client("bob")
    assert [bob.play(id="a"), bob.play(id="b")] == ["", ""]
    move_batch()
    ask = {"sessionId": bob.session, **KEEP_ALIVE}
    assert another_process.reason("StreamKeepAliveEvent", **ask, mediaSessionId="a") == ""
    assert end(key="a") == 1
    assert another_process.reason("StreamKeepAliveEvent", **ask, mediaSessionId="a") == "cut"
    assert bob.hook("StreamKeepAliveEvent", **KEEP_ALIVE, mediaSessionId="a") == "cut"
    assert bob.hook("StreamKeepAliveEvent", **KEEP_ALIVE, mediaSessionId="b") == ""


def test_what_comes_out_of_a_session_that_was_ordered_to_end_is_refused(client):
    bob, other = client("bob"), client("bob")
    assert bob.play(id="a") == ""
    move_batch()
    assert end(key=bob.session) == 1
    assert bob.play() == "cut"
    assert bob.hook("StreamKeepAliveEvent", **KEEP_ALIVE, mediaSessionId="a") == "cut"
    assert bob.stream_event("a", "STOPPED") == bob.hook("stopStream", mediaSessionId="a") == ""
    assert other.play() == ""


def test_a_new_session_by_the_same_id_is_another(client):
    bob = client("bob")
    move_batch()
    end(key=bob.session)
    bob.disconnect()
    assert bob.play() == "cut"
    assert bob.connect("tok-bob") == ""
    assert bob.play() == ""


def test_until_it_has_ended_its_id_opens_no_other(client, limited):
    Rule.objects.filter(actions=["connect"]).update(limit_per="user", at_once=1, overflow="end-oldest")
    bob, other = client("bob"), client("bob")
    assert [bob.connect("tok-bob"), bob.play(), other.play()] == ["cut", "cut", ""]
    bob.disconnect()
    assert [bob.connect("tok-bob"), bob.play(), other.play()] == ["", "", "cut"]


def test_of_two_orders_about_one_session_id_each_is_about_its_own_session(client, start_process):
    bob = client("bob")
    move_batch()
    end(key=bob.session)
    bob.disconnect()
    assert bob.connect("tok-bob") == ""
    move_batch()
    end(key=bob.session)
    ask = {"sessionId": bob.session, "name": "lobby", "mediaSessionId": "m"}
    assert [bob.play(), start_process().reason("playStream", **ask)] == ["cut", "cut"]
    Lease.objects.order_by("id").first().delete()
    assert bob.play() == "cut"


def test_what_was_ordered_to_end_and_is_begun_again_counts_again(client, limited):
    limited(at_once=1, overflow="end-oldest")
    alice, other = client("alice"), client("alice")
    assert alice.hook("playStream", name="lobby") == ""
    assert other.play(id="m") == ""
    assert alice.hook("playStream", name="lobby") == ""
    assert other.hook("StreamKeepAliveEvent", **KEEP_ALIVE, mediaSessionId="m") == "cut"


def test_a_call_that_was_ordered_to_end_can_only_be_hung_up(client, school):
    factories.make_rule("call", "hold", "dtmf", user=school["alice"])
    alice = client("alice")
    alice.call(id="a")
    alice.call(id="b")
    end(key="a")
    assert [alice.hook(method, callId="a") for method in ("hold", "sendDtmf", "hangup")] == ["cut", "cut", ""]
    assert alice.hook("hold", callId="b") == ""


def test_a_playback_without_a_session_too(wcs, school):
    hls = {"name": "lobby", "custom": {"token": "tok-bob"}, "sessionId": "test-HLS", "mediaSessionId": "m-HLS"}
    assert wcs.reason("playHLS", **hls) == ""
    move_batch()
    end(key="m-HLS")
    assert wcs.reason("playHLS", **hls) == "cut"
    assert wcs.reason("playHLS", **{**hls, "mediaSessionId": "another"}) == ""


def test_of_those_who_share_an_id_only_the_one_who_was_ordered_to_end_is_refused(wcs, limited):
    limited(at_once=9)
    hls = {"name": "lobby", "sessionId": "lobby-HLS"}
    alice, charlie = {**hls, "token": "tok-alice"}, {**hls, "token": "tok-charlie"}
    assert [wcs.reason("playHLS", **alice), wcs.reason("playHLS", **charlie)] == ["", ""]
    assert end(username="charlie") == 1
    assert [wcs.reason("playHLS", **alice), wcs.reason("playHLS", **charlie)] == ["", "cut"]


def test_and_only_until_what_was_ordered_to_end_has_run_out(wcs, limited):
    limited(at_once=9)
    hls = {"name": "lobby", "sessionId": "lobby-HLS", "token": "tok-charlie"}
    assert wcs.reason("playHLS", **hls) == ""
    Lease.objects.filter(action="play").update(runs_out_at=timezone.now() + timedelta(seconds=1))
    end(action="play")
    assert wcs.reason("playHLS", **hls) == "cut"
    time.sleep(1.1)
    assert wcs.reason("playHLS", **hls) == ""


def test_nothing_is_ordered_twice_and_nothing_that_has_ended(client):
    bob = client("bob")
    bob.play(id="a")
    move_batch()
    assert [end(key="a"), end(key="a")] == [1, 0]
    bob.play(id="b")
    bob.stream_event("b", "STOPPED")
    move_batch()
    assert end(key="b") == 0


def test_many_sessions_are_ordered_to_end_in_a_few_queries(client):
    sessions = [client("bob").session for _ in range(5)]
    move_batch()
    connected = {"action": "connect", "session_id__in": sessions}
    Session.objects.filter(session_id=sessions[0]).update(opening=7)
    with CaptureQueriesContext(connection) as queries:
        assert end(**connected) == 5
    assert len([query for query in queries if "connections_session" in query["sql"]]) == 1
    assert [Cut.objects.get(session_id=session).opening for session in sessions] == [7, 1, 1, 1, 1]


# Telling WCS


class Api:
    """A REST API of WCS that notes what it is told, and answers as it should."""

    def __init__(self):
        self.got, self.status = [], 200
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.got.append((self.path, json.loads(body), self.headers.get("Authorization")))
                self.send_response(api.status)
                if api.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/rest-api"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def api(db):
    api = Api()
    yield api
    api.server.shutdown()
    api.server.server_close()


@pytest.fixture
def node(api):
    return factories.make_node(api_url=api.url)


@pytest.mark.parametrize(
    ("action", "path", "named"),
    [
        ("publish", "/rest-api/stream/terminate", {"mediaSessionId": "k"}),
        ("play", "/rest-api/stream/terminate", {"mediaSessionId": "k"}),
        ("call", "/rest-api/call/terminate", {"callId": "k"}),
        ("receive-call", "/rest-api/call/terminate", {"callId": "k"}),
        ("connect", "/rest-api/connection/terminate", {"sessionId": factories.SESSION_ID}),
    ],
)
def test_wcs_is_told_to_end_that_one_thing(node, api, action, path, named):
    factories.make_lease(action=action, key="k")
    end(key="k")
    assert carry_out_cuts() == 1
    assert api.got == [(path, named, None)]
    assert Cut.objects.get().told_at
    assert carry_out_cuts() == 0


def test_with_the_login_of_the_node(node, api):
    node.api_user = "gate"
    node.set_api_password("sesame")
    node.save()
    assert "sesame" not in node.api_password
    factories.make_lease()
    end()
    carry_out()
    assert api.got[0][2] == factories.basic("gate", "sesame")


def test_nothing_is_sent_for_a_node_without_an_address_nor_for_what_has_ended(api, db):
    factories.make_node()
    factories.make_lease()
    end()
    assert carry_out() == 0
    Node.objects.update(api_url=api.url)
    Lease.objects.update(ended_at=timezone.now())
    assert carry_out() == 0
    assert api.got == []


@pytest.mark.parametrize("ask", [wcs_api.end_stream, wcs_api.end_session, wcs_api.end_call])
@pytest.mark.parametrize("id_", ["", None, {}, []])
def test_nothing_can_be_ended_without_its_id(node, api, ask, id_):
    """WCS would take it for a filter that everything passes, and stop the whole server."""
    with pytest.raises(ValueError, match="would end more than one"):
        ask(node, id_)
    assert api.got == []


def test_what_wcs_does_not_know_has_ended(node, api):
    api.status = 404
    factories.make_lease()
    end()
    carry_out()
    assert Cut.objects.get().told_at
    assert Lease.objects.get().end_reason == "WCS knows of no such thing running."
    assert Lease.objects.get().ended_at


@pytest.mark.parametrize("status", [302, 401, 500])
def test_where_wcs_fails_it_is_told_again_a_while_later_and_not_for_ever(node, api, status):
    api.status = status
    factories.make_lease()
    end()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert carry_out() == 0
        cut = Cut.objects.get()
        assert (cut.attempts, cut.told_at, cut.problem) == (attempt, None, f"WCS answered {status}.")
        assert cut.try_at > timezone.now() + timedelta(seconds=2**attempt - 1)
        assert carry_out() == 0
        Cut.objects.update(try_at=timezone.now())
    assert carry_out() == 0
    assert len(api.got) == MAX_ATTEMPTS


def test_where_it_is_away_the_order_says_so(node, api):
    Node.objects.update(api_url="http://127.0.0.1:9/rest-api")
    factories.make_lease()
    end()
    carry_out()
    assert Cut.objects.get().problem == "WCS does not answer: ConnectionRefusedError"


def test_a_node_that_speaks_no_http_keeps_no_other_order_waiting(node, api):
    with socket.create_server(("127.0.0.1", 0)) as odd:
        Thread(target=_babble, args=(odd,), daemon=True).start()
        factories.make_node("odd", api_url=f"http://127.0.0.1:{odd.getsockname()[1]}/rest-api")
        factories.make_lease(node_id="odd", key="there")
        end()
        factories.make_lease(key="here")
        end()
        assert carry_out() == 1
    assert Cut.objects.get(key="there").problem == "WCS does not answer: BadStatusLine"
    assert [body["mediaSessionId"] for _, body, _ in api.got] == ["here"]


def _babble(server):
    """Answer one request with what is no HTTP."""
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"220 mail.example.org ready\r\n")


def test_two_workers_do_not_tell_it_twice(node, api):
    factories.make_lease()
    end()
    first = cutting._claim(timezone.now())
    assert first is not None
    assert cutting._claim(timezone.now()) is None


# Afterwards


def test_leases_that_ended_long_ago_are_forgotten_with_their_orders(db):
    old, new, running = (factories.make_lease(key=key) for key in ("old", "new", "running"))
    end()
    now = timezone.now()
    Lease.objects.filter(pk=old.pk).update(ended_at=now - timedelta(days=63))
    Lease.objects.filter(pk=new.pk).update(ended_at=now - timedelta(hours=1))
    assert forget_leases() == 1
    assert set(Lease.objects.all()) == {new, running}
    assert set(Cut.objects.values_list("lease", flat=True)) == {new.pk, running.pk}


def test_what_has_ended_long_ago_is_found_by_its_index(db):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # the table is all but empty
        plan = long_over(timezone.now())[:FORGOTTEN_AT_ONCE].explain()
    assert "lease_ended" in plan


def test_the_password_for_the_rest_api_is_resealed_with_the_others(db, settings):
    node = factories.make_node(api_user="gate")
    node.set_api_password("sesame")
    node.save()
    new = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [new, *settings.ENCRYPTION_KEYS]
    call_command("reseal_secrets")
    settings.ENCRYPTION_KEYS = [new]
    node.refresh_from_db()
    assert unseal(node.api_password) == "sesame"


# From end to end, with a simulated WCS


def test_a_simulated_wcs_ends_that_stream_and_no_other(db):
    with Backend() as backend, SimulatedNode(Sender(backend.url), keep_alive=0) as wcs, RestApi(wcs) as rest:
        factories.make_node(wcs.node_id, api_url=rest.url)
        ann = Client(wcs, Person("ann"), ())
        actions.connect(ann)
        for name in ("lobby", "attic"):
            actions.ACTIONS["publish"].run(ann, name)
        lobby = next(stream for stream in wcs.running_streams() if stream.name == "lobby")
        session = lobby.session.id
        factories.make_lease(node_id=wcs.node_id, session_id=session, key=lobby.id, action="publish")
        end(key=lobby.id)
        assert carry_out() == 1
        assert [stream.name for stream in wcs.running_streams()] == ["attic"]
        assert [body["info"] for body in backend.got("StreamStatusEvent")][-1] == "Stopped by rest /terminate"
        factories.make_lease(node_id=wcs.node_id, session_id=session, key=session, action="connect")
        end(key=session)
        assert carry_out() == 1
        assert wcs.running_streams() == []
        assert backend.got("ConnectionStatusEvent")[-1]["status"] == "DISCONNECTED"
