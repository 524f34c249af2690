"""How WCS sends one hook: POST over kept connections, its time limit, its retries, its ways to sign."""

import base64
import hmac
import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from apps.simulator.policies import Answer

USER_AGENT = "Java/1.8.0_382"


class NotDelivered(Exception):
    """The request failed while being sent. The message says how."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the node shows who it is: restUsername and restPassword of the app, or rest_hook_secret_key.

    Both want the Authorization header, and nobody documents which wins; here the signature does.
    `after_challenge` sends user and password only once the backend has asked with a 401, then always.
    """

    user: str = ""
    password: str = ""
    secret: bytes = b""
    after_challenge: bool = False

    def header(self, body: bytes) -> str:
        if self.secret:
            return f"WCS {hmac.new(self.secret, body, 'md5').hexdigest()}"
        if self.user:
            return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return ""

    def __repr__(self) -> str:
        return "Credentials(...)"


class Sender:
    """Sends hooks to one backend; safe to share between threads, each of which keeps its own connection.

    `time_limit` is rest_request_timeout in seconds, 0 for none. `retries` is rest_client_request_retry_count:
    how often a request is repeated that failed while being sent, a connection closed without an answer
    included. Time-outs and answers are never repeated.
    """

    def __init__(
        self, url: str, credentials: Credentials | None = None, *, time_limit: float = 15.0, retries: int = 3
    ) -> None:
        self.url = url.rstrip("/")
        self.time_limit = time_limit
        self.retries = retries
        self._credentials = credentials or Credentials()
        self._challenged = not self._credentials.after_challenge
        self._mine = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def send(self, method: str, body: bytes, *, lose_answers: int = 0) -> Answer:
        """Deliver one hook. The first `lose_answers` answers get lost, so the hook is sent again."""
        began = time.monotonic()
        answer = Answer(failure="never sent")
        attempts = 0
        for attempts in range(1, 2 + max(self.retries, lose_answers)):
            try:
                answer = self._attempt(method, body)
            except NotDelivered as error:
                answer = Answer(failure=str(error))
                continue
            if attempts > lose_answers:
                break
            self._drop()
        return replace(answer, attempts=attempts, seconds=time.monotonic() - began)

    def close(self) -> None:
        """Close every thread's connection; call it when nobody sends any more."""
        for connection in self._connections:
            connection.close()

    def _attempt(self, method: str, body: bytes) -> Answer:
        answer, challenge = self._exchange(method, body)
        if answer.status == 401 and not self._challenged and challenge.lower().startswith("basic"):
            self._challenged = True
            answer, _ = self._exchange(method, body)
        return answer

    def _exchange(self, method: str, body: bytes) -> tuple[Answer, str]:
        """One request and its answer, and what a 401 asks for."""
        try:
            response = self._post(method, body)
        except TimeoutError:
            return self._failed(f"no answer within {self.time_limit:g} s"), ""
        except OSError as error:  # RemoteDisconnected, too
            self._drop()
            raise NotDelivered(_words(error)) from error
        except http.client.HTTPException:
            return self._failed("an answer that is not HTTP"), ""
        try:
            text = response.read()
        except TimeoutError:
            return self._failed(f"no whole answer within {self.time_limit:g} s"), ""
        except (OSError, http.client.HTTPException):
            return self._failed("an answer that broke off"), ""
        answer = Answer(response.status, text, response.getheader("Content-Type", ""))
        return answer, response.getheader("WWW-Authenticate", "")

    def _post(self, method: str, body: bytes) -> http.client.HTTPResponse:
        connection = self._connection()
        connection.putrequest("POST", f"{urlsplit(self.url).path}/{method}", skip_accept_encoding=True)
        for name, value in self._headers(body).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse()

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json;charset=UTF-8",
            "User-Agent": USER_AGENT,
            "Connection": "keep-alive",
            "Content-Length": str(len(body)),
        }
        authorization = self._credentials.header(body) if self._challenged else ""
        return headers | ({"Authorization": authorization} if authorization else {})

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = self._mine.connection = _opener(self.url)(self.time_limit or None)
            self._connections.append(connection)
        return connection

    def _failed(self, words: str) -> Answer:
        self._drop()
        return Answer(failure=words)

    def _drop(self) -> None:
        """Close this thread's connection; the next request opens it anew."""
        self._connection().close()


def _opener(url: str) -> Callable[[float | None], http.client.HTTPConnection]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return lambda time_limit: kind(parts.hostname or "", parts.port, timeout=time_limit)


def _words(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, http.client.RemoteDisconnected):
        return "connection closed without an answer"
    return (error.strerror or str(error) or type(error).__name__).lower()
