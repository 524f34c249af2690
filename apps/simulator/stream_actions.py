"""Publishing and playing, with a session and without."""

from apps.simulator import bodies, policies, streams
from apps.simulator.client import Client, Experience
from apps.simulator.policies import Body, Outcome
from apps.simulator.streams import Stream


def publish(
    client: Client, stream: str, token: str = "", custom: Body | None = None, lose_answers: int = 0
) -> Experience:
    return _start(client, stream, "publish", _custom(token, custom), lose_answers)


def play(client: Client, stream: str, token: str = "", custom: Body | None = None, lose_answers: int = 0) -> Experience:
    return _start(client, stream, "play", _custom(token, custom), lose_answers)


def unpublish(client: Client, stream: str = "") -> Experience:
    return _let_go(client, stream, published=True)


def stop(client: Client, stream: str = "") -> Experience:
    return _let_go(client, stream, published=False)


def stream_event(client: Client, type: str = "audioMuted", payload: Body | None = None) -> Experience:
    """The publisher mutes, or sends data to all who watch."""
    mine = _mine(client, "", published=True)
    if mine is None:
        return Experience("had no stream to send an event with")
    members = {"mediaSessionId": mine.id, "type": type} | ({"payload": payload} if payload else {})
    outcome = mine.session.ask("sendStreamEvent", members)
    for other in client.node.running_streams():
        if other.name == mine.name and not other.published:
            other.session.report("StreamEvent", members | {"mediaSessionId": other.id})
    return client.happened(f"sent the stream event {type}", outcome, "")


def snapshot(client: Client, stream: str) -> Experience:
    outcome = client.session.ask("snapshot", {"name": stream, "mediaSessionId": bodies.new_id()})
    return client.happened(f"asked for a picture of {stream}", outcome, "sent")


def available(client: Client, stream: str) -> Experience:
    outcome = client.session.ask("availableStream", {"name": stream, "mediaSessionId": bodies.new_id()})
    answer = "it is on air" if client.node.on_air(stream) else "it is not on air"
    return client.happened(f"asked whether {stream} is on air", outcome, answer)


def play_hls(client: Client, stream: str, token: str = "", key: str = "token", times: int = 2) -> Experience:
    """An HLS player: no session, one hook for each request of the playlist, under the same ids."""
    body = _player(client, stream, 8445, "HLS", {key: token} if token else {})
    return _watch(client, "playHLS", stream, body, times)


def play_rtsp(client: Client, stream: str, token: str = "", key: str = "aclAuth", times: int = 3) -> Experience:
    """An RTSP player: no session, one hook for each RTSP method but OPTIONS."""
    body = _player(client, stream, 554, "RTSP", {key: token} if token else {})
    query = f"?{key}={token}" if token else ""
    body |= {"name": f"rtsp://127.0.0.1:5554/{stream}{query}", "userAgent": "LibVLC/3.0.4"}
    return _watch(client, "playRTSP", stream, body, times)


def _start(client: Client, name: str, verb: str, custom: Body, lose_answers: int) -> Experience:
    session = client.session
    outcome = streams.request(session, name, published=verb == "publish", custom=custom, lose_answers=lose_answers)
    done = f"{verb}ing"
    if outcome.goes_on:
        stream = Stream(session, outcome.body, name)
        done += f" {stream.called}" if stream.called != name else ""
        problem = stream.start()
        done = f"failed ({problem})" if problem else done
    return client.happened(f"asked to {verb} {name}", outcome, done)


def _let_go(client: Client, name: str, *, published: bool) -> Experience:
    stream = _mine(client, name, published=published)
    if stream is None:
        return Experience(f"had nothing to {'unpublish' if published else 'stop'}")
    words = f"stopped {'publishing' if published else 'playing'} {stream.called}"
    return client.happened(words, streams.let_go(stream), "")


def _mine(client: Client, name: str, *, published: bool) -> Stream | None:
    """The client's newest stream of that name; of any name if none is given."""
    mine = [
        stream
        for stream in client.node.running_streams()
        if stream.session is client.session and stream.published is published and name in ("", stream.called)
    ]
    return mine[-1] if mine else None


def _player(client: Client, stream: str, port: int, provider: str, custom: Body) -> Body:
    return {
        "nodeId": client.node.node_id,
        "appKey": client.person.app,
        "sessionId": client.node.session_id(client.person.address, port),
        "mediaSessionId": f"{bodies.new_id()}-{stream}-{provider}",
        "name": stream,
        "mediaProvider": provider,
    } | ({"custom": custom} if custom else {})


def _watch(client: Client, method: str, stream: str, body: Body, times: int) -> Experience:
    outcome = _hooks_of_player(client, method, body, times)
    protocol = "HLS" if method == "playHLS" else "RTSP"
    return client.happened(f"asked to play {stream} by {protocol}", outcome, "playing")


def _hooks_of_player(client: Client, method: str, body: Body, times: int) -> Outcome:
    outcome = client.node.hook(policies.DEFAULT, method, body)
    for _ in range(times - 1):
        if not outcome.goes_on:
            break
        outcome = client.node.hook(policies.DEFAULT, method, body)
    return outcome


def _custom(token: str, custom: Body | None) -> Body:
    return (custom or {}) | ({"token": token} if token else {})
