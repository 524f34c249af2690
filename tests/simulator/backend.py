"""A small hook backend on loopback that answers as told, and remembers what it got."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLOSE = "close the connection without an answer"
MIRROR = "mirror"


@dataclass
class Reply:
    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    after: float = 0.0
    headers: dict = field(default_factory=dict)


REFUSED = Reply(403, b'{"error": "no-rule"}')


@dataclass
class Received:
    method: str
    headers: dict
    raw: bytes
    port: int

    @property
    def body(self) -> dict:
        return json.loads(self.raw)


class Backend:
    """Mirrors everything with 200; `config` is the restClientConfig that connect gets.

    `answers` says otherwise for a method: a reply, CLOSE, a list of these (the last stays), or a function of the
    body that gives one.
    """

    def __init__(self, config: object = None, **answers: object) -> None:
        self.config = config
        self.answers: dict[str, object] = answers
        self.received: list[Received] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"backend": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hooks"

    def __enter__(self) -> "Backend":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def got(self, method: str) -> list[dict]:
        return [request.body for request in self.received if request.method == method]

    def statuses(self, event: str) -> list[tuple]:
        return [(body.get("status"), body.get("info")) for body in self.got(event)]

    def reply(self, request: Received) -> Reply | str:
        with self._lock:
            self.received.append(request)
            answer = self.answers.get(request.method, MIRROR)
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Callable):
            answer = answer(request.body)
        return self._mirror(request) if answer == MIRROR else answer

    def _mirror(self, request: Received) -> Reply:
        if request.method == "connect" and self.config is not None:
            return Reply(body=json.dumps(request.body | {"restClientConfig": self.config}).encode())
        return Reply(body=request.raw)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    backend: Backend

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.backend.reply(
            Received(self.path.rsplit("/", 1)[1], dict(self.headers), raw, self.client_address[1])
        )
        if answer == CLOSE:
            self.close_connection = True
            return
        time.sleep(answer.after)
        try:
            self._send(answer)
        except OSError:  # the node had enough
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, answer: Reply) -> None:
        self.send_response(answer.status)
        headers = {
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
        } | answer.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
