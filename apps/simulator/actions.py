"""What a client can do, by the name it has in a scenario.

An action is a function; its first parameter after the client is what a bare value in the scenario stands for
(`play: lobby`), the others are options (`play: {stream: lobby, token: abc}`).
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from apps.simulator import call_actions, message_actions, stream_actions
from apps.simulator.bodies import connection
from apps.simulator.client import Client, Experience
from apps.simulator.session import Session


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a client can do."""

    name: str
    run: Callable[..., Experience]
    needs_session: bool = True

    @property
    def parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.run).parameters.values())[1:]


def connect(client: Client, lose_answers: int = 0) -> Experience:
    """Open a session; an open one is closed before."""
    person = client.person
    session = Session(
        client.node,
        app_key=person.app,
        address=person.address,
        connection=connection(origin=person.origin, custom=person.credentials, sip=person.sip),
        notice=client.notice,
    )
    outcome = client.connect(session, lose_answers=lose_answers)
    return client.happened("" if outcome.goes_on else "asked to connect", outcome, "connected")


def disconnect(client: Client) -> Experience:
    client.leave()
    return Experience("disconnected")


def wait(client: Client, seconds: float = 1.0) -> Experience:
    client.node.leaving.wait(seconds)
    return Experience(f"waited {seconds:g} s")


def wait_for(client: Client, stream: str, seconds: float = 10.0) -> Experience:
    """Wait until somebody publishes the stream."""
    came = client.node.wait_until_on_air(stream, seconds)
    return Experience(f"waited for {stream}" if came else f"waited for {stream}, which never came on air")


_SESSION = (
    Action("connect", connect, needs_session=False),
    Action("disconnect", disconnect, needs_session=False),
    Action("wait", wait, needs_session=False),
    Action("wait-for", wait_for, needs_session=False),
)
_STREAMS = (
    Action("publish", stream_actions.publish),
    Action("play", stream_actions.play),
    Action("unpublish", stream_actions.unpublish),
    Action("stop", stream_actions.stop),
    Action("stream-event", stream_actions.stream_event),
    Action("snapshot", stream_actions.snapshot),
    Action("available", stream_actions.available),
    Action("play-hls", stream_actions.play_hls, needs_session=False),
    Action("play-rtsp", stream_actions.play_rtsp, needs_session=False),
)
_CALLS = (
    Action("call", call_actions.call),
    Action("incoming-call", call_actions.incoming_call),
    Action("answer", call_actions.answer),
    Action("hold", call_actions.hold),
    Action("unhold", call_actions.unhold),
    Action("dtmf", call_actions.dtmf),
    Action("transfer", call_actions.transfer),
    Action("incoming-transfer", call_actions.incoming_transfer),
    Action("hangup", call_actions.hangup),
)
_MESSAGES = (
    Action("message", message_actions.message),
    Action("incoming-message", message_actions.incoming_message),
    Action("imdn", message_actions.imdn),
    Action("data", message_actions.data),
    Action("subscribe", message_actions.subscribe),
    Action("xcap", message_actions.xcap),
    Action("bug-report", message_actions.bug_report),
)

ACTIONS = {action.name: action for action in (*_SESSION, *_STREAMS, *_CALLS, *_MESSAGES)}
