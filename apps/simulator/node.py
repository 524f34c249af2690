"""One WCS node: it sends the hooks of its sessions, does what the policies say, and knows what runs on it."""

import hashlib
import itertools
import json
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from apps.simulator import policies
from apps.simulator.ledger import Ledger, Tally
from apps.simulator.policies import Body, Entry, Outcome
from apps.simulator.sender import Sender

if TYPE_CHECKING:
    from apps.simulator.calls import Call
    from apps.simulator.session import Session
    from apps.simulator.streams import Stream

T = TypeVar("T")

ADDRESS = "127.0.0.1"
API_THREADS = 8


NODE_ID = f"Sim1{hashlib.sha256(b'wcs simulator').hexdigest()[:28]}@{ADDRESS}"
"""As WCS makes them: 32 alphanumerics, @, address. The same in every run, so that the demo has one node."""


class SimulatedNode:
    """A WCS node without media.

    `keep_alive` is streaming_sessions_keep_alive_interval in seconds, 0 for off.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        node_id: str = NODE_ID,
        keep_alive: float = 10.0,
        ledger: Ledger | None = None,
    ) -> None:
        self.node_id = node_id
        self.keep_alive = keep_alive
        self.tally = Tally()
        self.leaving = threading.Event()
        self.sessions: dict[str, Session] = {}
        self.streams: dict[str, Stream] = {}
        self.calls: dict[str, Call] = {}
        self._sender = sender
        self._ledger = ledger
        self._changed = threading.Condition()
        self._ports = itertools.count(random.SystemRandom().randint(20000, 50000))
        self._threads = ThreadPoolExecutor(API_THREADS, thread_name_prefix="wcs-api")
        self._ticker = threading.Thread(target=self._tick, name="wcs-keep-alive", daemon=True)

    def __enter__(self) -> "SimulatedNode":
        if self.keep_alive:
            self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leaving.set()
        if self._ticker.ident:
            self._ticker.join()
        self._threads.shutdown()
        self._sender.close()

    def hook(self, policy: Entry, method: str, body: Body, *, lose_answers: int = 0) -> Outcome:
        """Ask or tell the backend, as the policy says, and decide what happens next."""
        if policy.disabled:
            outcome = policies.unasked(method, body)
            self.tally.add(outcome)
            return outcome
        raw = json.dumps(policies.sent(body, policy), ensure_ascii=False, separators=(",", ":")).encode()
        answer = self._sender.send(method, raw, lose_answers=lose_answers)
        outcome = policies.decide(method, policy, body, answer)
        sequence = self.tally.add(outcome)
        if self._ledger:
            self._ledger.write(sequence, outcome, raw)
        return outcome

    def session_id(self, client_address: str, port: int = 8443) -> str:
        return f"/{client_address}:{next(self._ports)}/{ADDRESS}:{port}"

    def later(self, work: Callable[..., object], *arguments: object) -> None:
        """Do it in one of the node's own threads."""
        self._threads.submit(work, *arguments)

    def put(self, running: dict[str, T], key: str, value: T) -> None:
        with self._changed:
            running[key] = value
            self._changed.notify_all()

    def take(self, running: dict[str, T], key: str) -> T | None:
        """Take it out; only one caller gets it, and that one reports its end."""
        with self._changed:
            taken = running.pop(key, None)
            self._changed.notify_all()
            return taken

    def running_streams(self) -> list["Stream"]:
        with self._changed:
            return list(self.streams.values())

    def start_stream(self, stream: "Stream") -> str:
        """Start it, or say in WCS's words why it cannot."""
        with self._changed:
            if stream.published and self._on_air(stream.name):
                return "Stream name is already in use"
            if not stream.published and "://" not in stream.name and not self._on_air(stream.name):
                return "Stream not found"
            self.put(self.streams, stream.id, stream)
            return ""

    def on_air(self, name: str) -> bool:
        """Whether it is published, as WCS calls it or as its publisher does."""
        with self._changed:
            return self._is_published(name)

    def wait_until_on_air(self, name: str, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._is_published(name), seconds)

    def _on_air(self, name: str) -> bool:
        return any(stream.published and stream.name == name for stream in self.streams.values())

    def _is_published(self, name: str) -> bool:
        return any(stream.published and name in (stream.name, stream.asked) for stream in self.streams.values())

    def _tick(self) -> None:
        while not self.leaving.wait(self.keep_alive):
            for stream in self.running_streams():
                self.later(stream.ask_to_go_on)
