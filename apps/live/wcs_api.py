"""The REST API of a WCS node, as far as we need it: ending one thing. Workers call it, never the hook path.

`/stream/terminate` without a filter would stop every stream on the server (protocol.md 11). So nothing is sent but one
of the three orders below, each naming one thing.
"""

import json
from base64 import b64encode
from http import HTTPStatus
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from apps.connections.models import Node
from apps.connections.sealing import CannotUnseal, unseal

TIME_LIMIT = 3.0


class ApiProblem(Exception):
    """WCS could not be told. The message is a sentence, without secrets."""


class _NoRedirects(HTTPRedirectHandler):
    """What is posted, and the login with it, goes to the address that staff gave and to no other."""

    def redirect_request(self, *_args, **_kwargs):
        return None


_opener = build_opener(_NoRedirects, ProxyHandler({}))


def end_stream(node: Node, media_session_id: str) -> bool:
    """End one publication or playback. False where none runs by that id. Raises ApiProblem."""
    return _terminate(node, "stream", "mediaSessionId", media_session_id)


def end_session(node: Node, session_id: str) -> bool:
    """End one client's connection, and all in it. False where there is none by that id. Raises ApiProblem."""
    return _terminate(node, "connection", "sessionId", session_id)


def end_call(node: Node, call_id: str) -> bool:
    """End one call. False where none runs by that id. Raises ApiProblem."""
    return _terminate(node, "call", "callId", call_id)


def _terminate(node: Node, what: str, named_by: str, id_: str) -> bool:
    if not id_ or not isinstance(id_, str):
        raise ValueError(f"Without a {named_by}, WCS would end more than one {what}.")
    return _post(node, f"{what}/terminate", {named_by: id_})


def _post(node: Node, path: str, body: dict[str, str]) -> bool:
    request = Request(f"{node.api_url.rstrip('/')}/{path}", json.dumps(body).encode(), _headers(node), method="POST")  # noqa: S310 - the model allows http and https alone
    try:
        with _opener.open(request, timeout=TIME_LIMIT):
            return True
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.NOT_FOUND:
            return False
        raise ApiProblem(f"WCS answered {error.code}.") from None
    except (URLError, OSError, HTTPException, ValueError) as error:
        raise ApiProblem(f"WCS does not answer: {_why(error)}") from None


def _headers(node: Node) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if node.api_user:
        try:
            password = unseal(node.api_password) if node.api_password else ""
        except CannotUnseal as error:
            raise ApiProblem(str(error)) from None
        headers["Authorization"] = "Basic " + b64encode(f"{node.api_user}:{password}".encode()).decode()
    return headers


def _why(error: Exception) -> str:
    return type(getattr(error, "reason", None) or error).__name__
