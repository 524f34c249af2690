"""A client's life on the node: which hooks come in which order, and what it experiences."""

import json
import time

import pytest

from apps.protocol.policy import rest_client_config
from tests.simulator.backend import CLOSE, REFUSED, Reply

FAIL = {"restOnError": "FAIL"}


@pytest.fixture
def live(backend, played):
    """Plays one client's steps (YAML), and gives the client; `who` are members of its entry."""

    def live(*steps: str, keep_alive: float = 0, **who: object):
        entry = "".join(f"  {name}: {json.dumps(value)}\n" for name, value in who.items())
        listed = "".join(f"  - {step}\n" for step in steps)
        text = f"keep-alive: {keep_alive}\nclients:\n- name: bob\n{entry}  steps:\n{listed}"
        return played(text).clients[0]

    return live


def words(client):
    return [experience.words for experience in client.experiences]


def methods(backend):
    return [request.method for request in backend.received]


# Connecting


def test_a_session_opens_and_closes(backend, live):
    client = live("connect")
    assert methods(backend) == ["connect", "ConnectionStatusEvent", "ConnectionStatusEvent"]
    assert [status for status, _ in backend.statuses("ConnectionStatusEvent")] == ["ESTABLISHED", "DISCONNECTED"]
    assert words(client) == ["connected", "left"]
    sessions = {request.body["sessionId"] for request in backend.received}
    assert len(sessions) == 1
    assert backend.got("ConnectionStatusEvent")[0]["authToken"] in sessions


def test_credentials_are_in_custom(backend, live):
    live("connect", token="abc", custom={"seat": 3})
    live("connect", login="bob", password="secret")
    assert [body["custom"] for body in backend.got("connect")] == [
        {"seat": 3, "token": "abc"},
        {"login": "bob", "password": "secret"},
    ]


def test_an_app_has_no_origin(backend, live):
    live("connect", origin=None)
    assert "origin" not in backend.got("connect")[0]


@pytest.mark.parametrize("answer", [REFUSED, Reply(500), Reply(200, b""), Reply(200, b"<html>"), CLOSE])
def test_without_a_readable_200_nobody_gets_in(backend, live, answer):
    backend.answers["connect"] = answer
    client = live("connect", "play: lobby")
    assert set(methods(backend)) == {"connect"}
    assert words(client)[0].endswith("declined") or words(client)[0].endswith("(the hook was sent 4 times)")
    assert words(client)[1:] == ["could not play: not connected"]


def test_what_connect_returns_is_taken_over_and_hidden_where_told(backend, played):
    config = {"ConnectionStatusEvent": {"clientExclude": "sipPassword,custom", "restExclude": "custom"}}
    sip = {"sipLogin": "10007", "sipPassword": "1234", "sipRegisterRequired": True}
    backend.answers["connect"] = lambda body: reply_with(body, restClientConfig=config, **sip)
    client = played("clients: [{name: bob, token: abc, steps: [connect]}]").clients[0]
    assert backend.got("connect")[0]["custom"] == {"token": "abc"}
    established = backend.got("ConnectionStatusEvent")[0]
    assert established["sipPassword"] == "1234"
    assert "custom" not in established
    assert "restClientConfig" not in established
    assert backend.statuses("RegistrationStatusEvent")[0][0] == "REGISTERED"
    assert client.told[:2] == ["ConnectionStatusEvent ESTABLISHED", "RegistrationStatusEvent REGISTERED"]


def reply_with(body, **members):
    return Reply(body=json.dumps(body | members).encode())


# WCS is open by default


def test_without_a_policy_a_403_stops_nothing(backend, live):
    backend.answers["publishStream"] = backend.answers["playStream"] = REFUSED
    client = live("connect", "{publish: lobby, expect: refused}", "play: lobby")
    assert backend.statuses("StreamStatusEvent")[:2] == [("PUBLISHING", "Unknown"), ("PLAYING", "Unknown")]
    assert words(client)[1] == ("asked to publish lobby: refused (403 no-rule), but WCS went on (LOG): publishing")
    assert client.differences


def test_under_fail_a_403_stops_the_stream(backend, live):
    backend.config = {"publishStream": FAIL}
    backend.answers["publishStream"] = REFUSED
    client = live("connect", "{publish: lobby, expect: refused}")
    assert backend.statuses("StreamStatusEvent") == [("FAILED", "REST_AUTHORIZATION_FAIL")]
    assert words(client)[1] == "asked to publish lobby: refused (403 no-rule), stopped with FAILED"
    assert not client.differences


def test_under_fail_a_broken_backend_stops_it_too_but_that_is_no_refusal(backend, live):
    backend.config = {"playStream": FAIL}
    backend.answers["playStream"] = Reply(503)
    client = live("connect", "{play: lobby, expect: refused}")
    assert backend.statuses("StreamStatusEvent") == [("FAILED", "REST_FAIL")]
    assert client.experiences[1].experience == "failed"
    assert client.differences


def test_a_disabled_method_is_not_asked(backend, live):
    backend.config = {"publishStream": {"restPolicy": "DISABLE"}}
    client = live("connect", "{publish: lobby, expect: allowed}")
    assert "publishStream" not in methods(backend)
    assert backend.statuses("StreamStatusEvent")[0][0] == "PUBLISHING"
    assert words(client)[1] == "asked to publish lobby: publishing, the backend was not asked (DISABLE)"


def test_an_event_that_fails_under_fail_is_an_error_event_for_the_client(backend, live):
    backend.config = {"StreamStatusEvent": FAIL}
    backend.answers["StreamStatusEvent"] = Reply(500)
    client = live("connect", "publish: lobby")
    assert "ErrorEvent" in client.told
    assert "StreamStatusEvent PUBLISHING" in client.told


# Streams


def test_a_stream_is_published_and_let_go(backend, live):
    client = live("connect", "publish: {stream: lobby, token: key1}", "unpublish: lobby")
    assert methods(backend)[2:5] == ["publishStream", "StreamStatusEvent", "unPublishStream"]
    asked = backend.got("publishStream")[0]
    assert (asked["published"], asked["status"], asked["custom"]) == (True, "PENDING", {"token": "key1"})
    assert 1400 < len(asked["sdp"]) < 4000
    assert backend.statuses("StreamStatusEvent") == [("PUBLISHING", "Unknown"), ("UNPUBLISHED", "Stopped by user")]
    assert {body["mediaSessionId"] for body in backend.got("StreamStatusEvent")} == {asked["mediaSessionId"]}
    assert words(client)[2] == "stopped publishing lobby"


def test_the_sdp_stays_at_home_where_excluded(backend, live):
    backend.config = rest_client_config()
    live("connect", "publish: lobby")
    assert "sdp" not in backend.got("publishStream")[0]
    assert "sdp" not in backend.got("StreamStatusEvent")[0]


def test_a_stream_is_renamed_only_under_overwrite(backend, live):
    backend.answers["publishStream"] = lambda body: reply_with(body, name="real", width=99)
    live("connect", "publish: lobby")
    backend.config = {"publishStream": {"restPolicy": "OVERWRITE", "restOverwrite": "name"}}
    client = live("connect", "publish: lobby")
    names = [body["name"] for body in backend.got("StreamStatusEvent") if body["status"] == "PUBLISHING"]
    assert names == ["lobby", "real"]
    assert words(client)[1] == "asked to publish lobby: publishing real"


def test_what_is_not_on_air_cannot_be_played(backend, live):
    client = live("connect", "{play: lobby, expect: allowed}")
    assert backend.statuses("StreamStatusEvent") == [("FAILED", "Stream not found")]
    assert words(client)[1] == "asked to play lobby: failed (Stream not found)"


def test_a_source_address_can_always_be_played(backend, live):
    live("connect", "play: rtsp://192.0.2.5/live.sdp")
    assert backend.statuses("StreamStatusEvent")[0][0] == "PLAYING"


def test_a_name_is_published_once(backend, live):
    live("connect", "publish: lobby", "publish: lobby")
    assert ("FAILED", "Stream name is already in use") in backend.statuses("StreamStatusEvent")


def test_players_stop_with_the_publication(backend, live):
    client = live("connect", "publish: lobby", "play: lobby", "unpublish: lobby")
    assert backend.statuses("StreamStatusEvent")[2:] == [
        ("UNPUBLISHED", "Stopped by user"),
        ("STOPPED", "Stopped by publisher stop"),
    ]
    assert "lobby ended: Stopped by publisher stop" in words(client)


def test_who_leaves_ends_everything(backend, live):
    live("connect", "publish: lobby", "call: '+4930123456'")
    assert backend.statuses("StreamStatusEvent")[-1] == ("UNPUBLISHED", "Stopped by session disconnect")
    assert backend.statuses("CallStatusEvent")[-1] == ("FINISH", "Normal call clearing")
    assert methods(backend)[-1] == "ConnectionStatusEvent"


def test_a_stream_event_reaches_who_watches(backend, live):
    live("connect", "publish: lobby", "play: lobby", "stream-event: {type: data, payload: {count: 23}}")
    assert backend.got("sendStreamEvent")[0]["payload"] == {"count": 23}
    assert backend.got("StreamEvent")[0]["mediaSessionId"] == backend.got("playStream")[0]["mediaSessionId"]


# Keep-alives


def test_running_streams_are_kept_alive(backend, live):
    live("connect", "publish: lobby", "wait: 0.5", keep_alive=0.1)
    asked = backend.got("StreamKeepAliveEvent")
    assert len(asked) >= 2
    assert {(body["status"], body["published"]) for body in asked} == {("PUBLISHING", True)}


def test_a_refused_keep_alive_under_fail_stops_the_stream(backend, live):
    backend.config = {"StreamKeepAliveEvent": FAIL}
    backend.answers["StreamKeepAliveEvent"] = REFUSED
    client = live("connect", "publish: lobby", "wait: 0.4", keep_alive=0.1)
    assert len(backend.got("StreamKeepAliveEvent")) == 1
    assert backend.statuses("StreamStatusEvent")[-1] == ("UNPUBLISHED", "Terminated by keep-alive")
    assert "lobby ended: Terminated by keep-alive" in words(client)


def test_a_refused_keep_alive_under_log_stops_nothing(backend, live):
    backend.answers["StreamKeepAliveEvent"] = REFUSED
    live("connect", "publish: lobby", "wait: 0.4", keep_alive=0.1)
    assert backend.statuses("StreamStatusEvent")[-1] == ("UNPUBLISHED", "Stopped by session disconnect")


def test_a_slow_backend_is_not_asked_twice_about_one_stream(backend, live):
    backend.answers["StreamKeepAliveEvent"] = Reply(after=0.5)
    live("connect", "publish: lobby", "wait: 0.4", keep_alive=0.05)
    assert len(backend.got("StreamKeepAliveEvent")) == 1


# Players without a session


def test_hls_asks_on_each_request_of_the_playlist(backend, live):
    client = live("play-hls: {stream: lobby, token: abc, times: 3}")
    asked = backend.got("playHLS")
    assert len(asked) == 3
    assert asked[0] == asked[2]
    assert asked[0]["custom"] == {"token": "abc"}
    assert asked[0]["mediaSessionId"].endswith("-lobby-HLS")
    assert words(client) == ["asked to play lobby by HLS: playing"]


def test_a_refused_hls_player_gets_a_401(backend, live):
    backend.answers["playHLS"] = REFUSED
    client = live("{play-hls: lobby, expect: refused}")
    assert len(backend.got("playHLS")) == 1
    assert words(client) == ["asked to play lobby by HLS: refused (403 no-rule), the player got HTTP 401"]


def test_rtsp_carries_its_key_in_the_address_and_in_custom(backend, live):
    live("play-rtsp: {stream: lobby, token: abc}")
    asked = backend.got("playRTSP")
    assert len(asked) == 3
    assert asked[0]["name"] == "rtsp://127.0.0.1:5554/lobby?aclAuth=abc"
    assert asked[0]["custom"] == {"aclAuth": "abc"}


# Calls


def test_a_call_rings_and_is_answered_held_transferred(backend, live):
    live("connect", "call: '+4930123456'", "hold", "unhold", "dtmf: '1'", "transfer: '10009'")
    statuses = [status for status, _ in backend.statuses("CallStatusEvent")]
    assert statuses == ["TRYING", "RING", "ESTABLISHED", "HOLD", "ESTABLISHED", "FINISH"]
    assert [status for status, _ in backend.statuses("TransferStatusEvent")] == ["TRYING", "COMPLETED"]
    assert backend.got("sendDtmf")[0]["dtmf"] == "1"
    assert len({body["callId"] for body in backend.got("CallStatusEvent")}) == 1


def test_a_refused_call_under_fail_never_rings(backend, live):
    backend.config = {"call": FAIL}
    backend.answers["call"] = REFUSED
    live("connect", "{call: '0900123456', expect: refused}", "hangup")
    assert [status for status, _ in backend.statuses("CallStatusEvent")] == ["FAILED"]
    assert "hangup" not in methods(backend)


def test_the_callee_is_replaced_under_overwrite(backend, live):
    backend.config = {"call": {"restPolicy": "OVERWRITE", "restOverwrite": "callee"}}
    backend.answers["call"] = lambda body: reply_with(body, callee="+4930999")
    client = live("connect", "call: help-desk")
    assert {body["callee"] for body in backend.got("CallStatusEvent")} == {"+4930999"}
    assert words(client)[1] == "called help-desk: talking to +4930999"


def test_a_busy_number(backend, live):
    live("connect", "call: {callee: '+4930123456', busy: true}")
    assert backend.statuses("CallStatusEvent")[-1] == ("BUSY", "SIP 486 Busy Here")


def test_an_incoming_call_is_answered(backend, live):
    client = live("connect", "incoming-call: '+4930123456'", "answer", "hangup")
    assert backend.got("OnCallEvent")[0]["incoming"] is True
    assert [status for status, _ in backend.statuses("CallStatusEvent")] == ["RING", "ESTABLISHED", "FINISH"]
    assert "OnCallEvent PENDING" in client.told


def test_a_refused_incoming_call_under_fail_gives_the_caller_a_403(backend, live):
    backend.config = {"OnCallEvent": FAIL}
    backend.answers["OnCallEvent"] = REFUSED
    client = live("connect", "{incoming-call: '+4930123456', expect: refused}")
    assert backend.statuses("CallStatusEvent") == [("FAILED", "SIP 403 FORBIDDEN")]
    assert backend.got("CallStatusEvent")[0]["sipStatus"] == 403
    assert words(client)[1].endswith("refused (403 no-rule), the caller got SIP 403")
    assert "OnCallEvent PENDING" not in client.told


# The rest


@pytest.mark.parametrize(
    ("step", "method", "event"),
    [
        ("message: '10009'", "sendMessage", "MessageStatusEvent"),
        ("imdn: '10009'", "sendIMDN", "MessageStatusEvent"),
        ("data: {count: 23}", "OnDataEvent", "DataStatusEvent"),
        ("subscribe: reg", "subscribe", "SubscriptionStatusEvent"),
        ("xcap: http://x", "sendXcapRequest", "XcapStatusEvent"),
        ("bug-report: no sound", "submitBugReport", "BugReportStatusEvent"),
    ],
)
def test_a_direct_invocation_reports_through_its_event(backend, live, step, method, event):
    live("connect", step)
    assert methods(backend)[2:4] == [method, event]
    backend.config = {method: FAIL}
    backend.answers[method] = REFUSED
    client = live("connect", step)
    assert backend.statuses(event)[-1] == ("FAILED", "REST_AUTHORIZATION_FAIL")
    assert f"{event} FAILED" in client.told


@pytest.mark.parametrize("step", ["dtmf: '1'", "snapshot: lobby", "available: lobby"])
def test_without_an_event_of_its_own_the_client_gets_an_error_event(backend, live, step):
    backend.config = dict.fromkeys(("sendDtmf", "snapshot", "availableStream"), FAIL)
    backend.answers |= dict.fromkeys(backend.config, REFUSED)
    assert "ErrorEvent FAILED" in live("connect", "call: '1'", step).told


def test_a_message_arrives_unless_refused(backend, live):
    backend.config = {"OnMessageEvent": FAIL}
    assert "OnMessageEvent RECEIVED" in live("connect", "incoming-message: {sender: '1', text: Hi}").told
    backend.answers["OnMessageEvent"] = REFUSED
    assert "OnMessageEvent RECEIVED" not in live("connect", "incoming-message: '1'").told


def test_every_body_names_node_app_and_session(backend, live):
    live("connect", "publish: lobby", "call: '1'", "incoming-transfer: '2'", "data: null", "play-hls: lobby")
    for request in backend.received:
        assert list(request.body)[:3] == ["nodeId", "appKey", "sessionId"], request.method


def test_a_hook_whose_answer_got_lost_comes_twice_and_says_the_same(backend, live):
    client = live("connect: {lose-answers: 1}")
    first, second = (request.raw for request in backend.received[:2])
    assert first == second
    assert words(client)[0] == "connected (the hook was sent 2 times)"


def test_clients_live_at_the_same_time(backend, played):
    began = time.monotonic()
    played("clients: [{name: 'c{n}', count: 20, steps: [connect, wait: 0.3]}]")
    assert time.monotonic() - began < 4, "one after the other they take 6 seconds"
    assert len({body["sessionId"] for body in backend.got("connect")}) == 20


def test_rounds_live_again(backend, played):
    result = played("{rounds: 3, clients: [{name: bob, steps: [connect]}]}")
    assert len({body["sessionId"] for body in backend.got("connect")}) == 3
    assert words(result.clients[0]) == ["connected", "left"]
