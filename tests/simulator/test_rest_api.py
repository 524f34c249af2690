"""The double of the WCS REST API acts on what runs on the node."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from apps.simulator import actions
from apps.simulator.client import Client, Person
from apps.simulator.rest_api import RestApi


@pytest.fixture
def api(node):
    with RestApi(node) as api:
        yield api


@pytest.fixture
def post(api):
    """Sends a request; gives the status and what came back."""
    parts = urlsplit(api.url)

    def post(path, content=None):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
        connection.request("POST", parts.path + path, b"" if content is None else json.dumps(content))
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, json.loads(body) if body else None

    return post


@pytest.fixture
def ann(node):
    client = Client(node, Person("ann", token="abc"), ())
    actions.connect(client)
    actions.ACTIONS["publish"].run(client, "lobby")
    return client


@pytest.fixture
def bob(node, ann):
    client = Client(node, Person("bob"), ())
    actions.connect(client)
    actions.ACTIONS["play"].run(client, "lobby")
    return client


def ends(backend):
    return [
        (body["published"], body["status"], body["info"])
        for body in backend.got("StreamStatusEvent")
        if body["status"] not in ("PUBLISHING", "PLAYING")
    ]


def test_streams_are_found(post, bob):
    status, streams = post("/stream/find_all")
    assert status == 200
    assert [(stream["name"], stream["status"]) for stream in streams] == [
        ("lobby", "PUBLISHING"),
        ("lobby", "PLAYING"),
    ]
    assert post("/stream/find", {"name": "lobby", "published": False})[1] == streams[1:]


def test_nothing_found_is_a_404(post):
    assert post("/stream/find_all") == (404, None)
    assert post("/call/find_all") == (404, None)
    assert post("/connection/find_all") == (200, [])
    assert post("/stream/terminate", {"name": "lobby"}) == (404, None)


def test_one_stream_is_terminated_by_its_id(post, bob, backend):
    stream = post("/stream/find", {"published": False})[1][0]
    assert post("/stream/terminate", {"mediaSessionId": stream["mediaSessionId"]}) == (200, None)
    assert ends(backend) == [(False, "STOPPED", "Stopped by rest /terminate")]
    assert "lobby ended: Stopped by rest /terminate" in [experience.words for experience in bob.experiences]


def test_several_ids_at_once(post, bob, backend):
    ids = [stream["mediaSessionId"] for stream in post("/stream/find_all")[1]]
    assert post("/stream/terminate", {"mediaSessionIds": ids}) == (200, None)
    assert len(ends(backend)) == 2


def test_all_viewers_of_a_stream(post, bob, backend):
    assert post("/stream/terminate", {"name": "lobby", "published": False}) == (200, None)
    assert [published for published, _, _ in ends(backend)] == [False]


def test_without_a_filter_everything_stops_as_on_a_real_wcs(post, bob, backend):
    assert post("/stream/terminate", {}) == (200, None)
    assert {published for published, _, _ in ends(backend)} == {True, False}
    assert post("/stream/find_all") == (404, None)


def test_a_connection_is_terminated_with_what_runs_in_it(post, ann, backend):
    session_id = post("/connection/find_all")[1][0]["sessionId"]
    assert post("/connection/terminate", {"sessionId": session_id}) == (200, None)
    assert ends(backend) == [(True, "UNPUBLISHED", "Stopped by session disconnect")]
    assert backend.statuses("ConnectionStatusEvent")[-1][0] == "DISCONNECTED"
    assert not ann.connected
    assert post("/connection/terminate", {"sessionId": session_id}) == (404, None)


def test_a_call_is_terminated(post, ann, backend):
    actions.ACTIONS["call"].run(ann, "+4930123456")
    call = post("/call/find_all")[1][0]
    assert post("/call/terminate", {"callId": call["callId"]}) == (200, None)
    assert backend.statuses("CallStatusEvent")[-1] == ("FINISH", "Normal call clearing")
    assert post("/call/terminate", {"callId": call["callId"]}) == (404, None)


def test_data_reaches_the_sessions_it_names(post, ann, bob, backend):
    sessions = [ann.session.id, bob.session.id]
    wanted = {"nodeId": "n", "operationId": "op", "sessionIds": sessions, "payload": {"count": 1}}
    assert post("/data/send", wanted) == (200, None)
    assert [told.body["payload"] for told in bob.session.told if told.event == "OnDataEvent"] == [{"count": 1}]
    assert [body["operationId"] for body in backend.got("DataStatusEvent")] == ["op", "op"]


def test_no_hook_asks_for_permission(post, bob, backend):
    before = len(backend.received)
    post("/stream/terminate", {})
    assert {request.method for request in backend.received[before:]} == {"StreamStatusEvent"}


def test_what_is_not_json_or_not_there(post, api):
    assert post("/stream/terminate", ["x"]) == (400, None)
    assert post("/nowhere", {}) == (404, None)
