"""What WCS gets back. Always a JSON object, never a stack trace."""

import json
from http import HTTPStatus

import msgspec

from apps.access.facts import Decision
from apps.access.reasons import REASON_TEXTS
from apps.protocol.messages import HookCall
from apps.protocol.methods import CONNECT
from apps.protocol.mirror import splice
from apps.protocol.policy import REST_CLIENT_CONFIGS, Hiding

_OK = HTTPStatus.OK


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An HTTP answer: its status, its JSON body, and headers besides the content type."""

    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def reply(call: HookCall, body: bytes, decision: Decision) -> Answer:
    """The answer to a decided hook: the body as it came, but for what was decided to change, with the policy added at
    `connect`; or 403."""
    if not decision.allowed:
        return problem(HTTPStatus.FORBIDDEN, decision.reason, REASON_TEXTS[decision.reason])
    if call.method is not None and call.method.kind is CONNECT:
        body = splice(body, {"restClientConfig": REST_CLIENT_CONFIGS[Hiding(decision.hiding)]})
    if decision.changes:
        body = splice(body, {change.member: json.dumps(change.value).encode() for change in decision.changes})
    return Answer(_OK, body)


def problem(status: HTTPStatus, error: str, detail: str, *headers: tuple[str, str]) -> Answer:
    """An answer that says what is wrong: a stable code and a sentence."""
    return Answer(status, json.dumps({"error": error, "detail": detail}).encode(), headers)


def log_in() -> Answer:
    """Ask WCS for the app's HTTP Basic login."""
    return problem(
        HTTPStatus.UNAUTHORIZED,
        "login-wanted",
        "The login of this hook is missing or wrong.",
        ("WWW-Authenticate", 'Basic realm="WCS Gate", charset="UTF-8"'),
    )
