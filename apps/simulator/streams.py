"""Streams of a session: published or played, kept alive, ended."""

import time

from apps.simulator import bodies
from apps.simulator.bodies import new_id
from apps.simulator.policies import KEEP_ALIVE, Body, Outcome
from apps.simulator.session import Session


class Stream:
    """One publication or one playback. `asked` is the name that the client asked for; WCS may call it otherwise."""

    def __init__(self, session: Session, body: Body, asked: str) -> None:
        self.session = session
        self.asked = asked
        self.body = body
        self.id: str = body["mediaSessionId"]
        self.name = str(body["name"])
        self.published: bool = body["published"]
        self._being_asked = False

    @property
    def status(self) -> str:
        return "PUBLISHING" if self.published else "PLAYING"

    @property
    def called(self) -> str:
        """What the client calls it: what it is told, or else what it asked for."""
        return self.name if self.session.shows("StreamStatusEvent", "name") else self.asked

    def start(self) -> str:
        """Let media flow; or report FAILED and say why it cannot."""
        problem = self.session.node.start_stream(self)
        if problem:
            self._report("FAILED", problem)
            return problem
        self.body = bodies.running(self.body) | {"createDate": int(time.time() * 1000), "status": self.status}
        self._report(self.status)
        return ""

    def ask_to_go_on(self) -> None:
        """The keep-alive: a refusal under FAIL stops the stream."""
        if self._being_asked:  # a slow backend is not asked twice at a time
            return
        self._being_asked = True
        outcome = self.session.ask(KEEP_ALIVE, self.body)
        self._being_asked = False
        if not outcome.goes_on:
            self.end("Terminated by keep-alive")

    def end(self, info: str) -> bool:
        """Stop it, and with a publication all who watch; False if it had ended before."""
        node = self.session.node
        if node.take(node.streams, self.id) is None:
            return False
        if info not in ("Stopped by user", "Stopped by session disconnect"):
            self.session.notice(f"{self.called} ended: {info}")
        self._report("UNPUBLISHED" if self.published else "STOPPED", info)
        if self.published:
            for other in node.running_streams():
                if other.name == self.name:
                    other.end("Stopped by publisher stop")
        return True

    def _report(self, status: str, info: str = "Unknown") -> None:
        self.session.report("StreamStatusEvent", self.body, status, info)


def request(session: Session, name: str, *, published: bool, custom: Body, lose_answers: int = 0) -> Outcome:
    """Ask whether it may be published or played."""
    body = bodies.stream(name, published=published, custom=custom, media_session_id=new_id())
    method = "publishStream" if published else "playStream"
    return session.ask(method, body, lose_answers=lose_answers)


def let_go(stream: Stream) -> Outcome:
    """The client stops it itself."""
    members = ("mediaSessionId", "name", "published", "hasVideo", "hasAudio", "status", "record")
    outcome = stream.session.ask(
        "unPublishStream" if stream.published else "stopStream",
        {name: stream.body[name] for name in members},
        report=stream.body,
    )
    if outcome.goes_on:
        stream.end("Stopped by user")
    return outcome
