"""A double of the WCS REST API (protocol.md 11), acting on what runs on the simulated node. Loopback only.

It is as careless as the real one: no authentication, and `/stream/terminate` with `{}` stops every stream.
"""

import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from apps.simulator.node import ADDRESS, SimulatedNode
from apps.simulator.policies import Body
from apps.simulator.session import Session

Reply = tuple[HTTPStatus, Any]

_DONE: Reply = (HTTPStatus.OK, None)
_NONE: Reply = (HTTPStatus.NOT_FOUND, None)
_FILTERS = ("mediaSessionId", "name", "published", "status", "sessionId")


def find_streams(node: SimulatedNode, wanted: Body) -> Reply:
    return _found([stream.body for stream in node.running_streams() if _fits(stream.body, wanted)])


def terminate_streams(node: SimulatedNode, wanted: Body) -> Reply:
    streams = [stream for stream in node.running_streams() if _fits(stream.body, wanted)]
    return _ended([stream.end("Stopped by rest /terminate") for stream in streams])


def find_connections(node: SimulatedNode, wanted: Body) -> Reply:
    return HTTPStatus.OK, [session.connection | session.identity for session in _sessions(node)]


def terminate_connection(node: SimulatedNode, wanted: Body) -> Reply:
    session = node.sessions.get(str(wanted.get("sessionId")))
    if session is None or not session.disconnect():
        return _NONE
    session.notice("was disconnected by the REST API")
    return _DONE


def find_calls(node: SimulatedNode, wanted: Body) -> Reply:
    return _found([call.body for call in list(node.calls.values()) if _has(call.body, wanted)])


def terminate_call(node: SimulatedNode, wanted: Body) -> Reply:
    call = node.calls.get(str(wanted.get("callId")))
    if call is None or not call.end():
        return _NONE
    call.session.notice(f"the call with {call.peer} was ended by the REST API")
    return _DONE


def send_data(node: SimulatedNode, wanted: Body) -> Reply:
    ids = wanted.get("sessionIds") or [wanted.get("sessionId")]
    for session in [session for session in _sessions(node) if session.id in ids]:
        session.notice("got data from the REST API")
        session.receive_data(wanted.get("payload"), str(wanted.get("operationId") or ""))
    return _DONE


ROUTES: dict[str, Callable[[SimulatedNode, Body], Reply]] = {
    "/rest-api/stream/find_all": lambda node, wanted: find_streams(node, {}),
    "/rest-api/stream/find": find_streams,
    "/rest-api/stream/terminate": terminate_streams,
    "/rest-api/connection/find_all": find_connections,
    "/rest-api/connection/terminate": terminate_connection,
    "/rest-api/call/find_all": lambda node, wanted: find_calls(node, {}),
    "/rest-api/call/find": find_calls,
    "/rest-api/call/terminate": terminate_call,
    "/rest-api/data/send": send_data,
}


class RestApi:
    """The server; port 0 takes a free one."""

    def __init__(self, node: SimulatedNode, port: int = 0) -> None:
        handler = type("Handler", (_Handler,), {"node": node})
        self._server = ThreadingHTTPServer((ADDRESS, port), handler)
        self._thread = threading.Thread(target=self._serve, name="wcs-rest-api", daemon=True)

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self._server.server_address[1]}/rest-api"

    def __enter__(self) -> "RestApi":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    node: SimulatedNode

    def do_POST(self) -> None:
        wanted = self._wanted()
        route = ROUTES.get(self.path.split("?")[0])
        if wanted is None:
            self._answer(HTTPStatus.BAD_REQUEST, None)
        elif route is None:
            self._answer(*_NONE)
        else:
            self._answer(*route(self.node, wanted))

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the report tells what happened."""

    def _wanted(self) -> Body | None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            wanted = json.loads(raw or b"{}")
        except ValueError:
            return None
        return wanted if isinstance(wanted, dict) else None

    def _answer(self, status: HTTPStatus, content: Any) -> None:
        body = b"" if content is None else json.dumps(content, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _fits(body: Body, wanted: Body) -> bool:
    """Whether a stream matches the filter. No filter matches everything, as with the real one."""
    ids = wanted.get("mediaSessionIds")
    if ids and body.get("mediaSessionId") not in ids:
        return False
    return _has(body, {name: wanted[name] for name in _FILTERS if name in wanted})


def _has(body: Body, wanted: Body) -> bool:
    return all(body.get(name) == value for name, value in wanted.items())


def _found(bodies: list[Body]) -> Reply:
    return (HTTPStatus.OK, bodies) if bodies else _NONE


def _ended(ends: list[bool]) -> Reply:
    return _DONE if any(ends) else _NONE


def _sessions(node: SimulatedNode) -> list[Session]:
    return list(node.sessions.values())
