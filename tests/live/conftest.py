"""Fixtures of the tests about what runs."""

import itertools
import json
from datetime import UTC, datetime
from io import BytesIO

import pytest

from apps.hooks.answer import answer
from tests import factories
from tests.hooks.conftest import another_process, start_process  # noqa: F401 - fixtures


class Client:
    """Somebody who is connected, and what they do; every stream and call has an id of its own unless given."""

    ids = itertools.count(1)

    def __init__(self, wcs, session):
        self.wcs = wcs
        self.session = session
        self.now = None

    def at(self, now):
        """Let it be this time with whatever this client does from here on."""
        self.now = now
        return self

    def hook(self, method, **members):
        """Send a hook of this client's session; gives the reason of its refusal, or ""."""
        body = json.dumps({**self.wcs.common, "sessionId": self.session, **members}).encode()
        result = answer(method, self.wcs.environ, BytesIO(body).read, now=self.now or datetime.now(UTC))
        assert result.status in (200, 403), result
        return "" if result.status == 200 else json.loads(result.body)["error"]

    def connect(self, token=""):
        custom = {"token": token} if token else {}
        return self.hook("connect", custom=custom)

    def play(self, name="lobby", *, id=None, **members):
        return self.hook("playStream", name=name, mediaSessionId=id or f"m-{next(self.ids)}", **members)

    def publish(self, name="lobby", *, id=None, **members):
        return self.hook(
            "publishStream", name=name, published=True, mediaSessionId=id or f"m-{next(self.ids)}", **members
        )

    def ran(self, id, started, ended, *, name="lobby"):
        """Play from one moment to another."""
        assert self.at(started).play(name, id=id) == ""
        self.stream_event(id, "PLAYING")
        self.at(ended).stream_event(id, "STOPPED")

    def call(self, callee="10007", *, id=None):
        return self.hook("call", callee=callee, callId=id or f"c-{next(self.ids)}")

    def stream_event(self, id, status, **members):
        return self.hook("StreamStatusEvent", mediaSessionId=id, status=status, **members)

    def call_event(self, id, status):
        return self.hook("CallStatusEvent", callId=id, status=status)

    def disconnect(self):
        return self.hook("ConnectionStatusEvent", status="DISCONNECTED")


@pytest.fixture
def client(wcs, school):
    """Makes clients who are connected: client("alice"), or client("alice", "/10.0.0.7:1/n:8443") elsewhere."""
    ports = itertools.count(50_000)

    def connect(name, session=None):
        client = Client(wcs, session or f"/192.168.1.38:{next(ports)}/192.168.1.101:8443")
        assert client.connect(f"tok-{name}" if name else "") == ""
        return client

    return connect


@pytest.fixture
def limited(school):
    """Makes rules with limits, about playing anything unless said otherwise."""

    def make(*actions, per="user", **fields):
        return factories.make_rule(*(actions or ("play",)), limit_per=per, **fields)

    return make
