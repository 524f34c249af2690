"""What WCS gets back. Always a JSON object, never a stack trace."""

import json
import logging
from http import HTTPStatus

import msgspec

from apps.access.facts import Decision
from apps.access.reasons import REASON_TEXTS
from apps.access.rows import SipAccountRow
from apps.connections.sealing import CannotUnseal, unseal
from apps.protocol.messages import HookCall
from apps.protocol.methods import CONNECT
from apps.protocol.mirror import members, splice
from apps.protocol.policy import REST_CLIENT_CONFIGS

_OK = HTTPStatus.OK

logger = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An HTTP answer: its status, its JSON body, and headers besides the content type."""

    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        """Without the body of a 200, which may have the password of a SIP account in it."""
        return f"Answer({self.status:d})" if self.status == _OK else f"Answer({self.status:d}, {self.body!r})"


def reply(call: HookCall, body: bytes, decision: Decision) -> Answer:
    """The answer to a decided hook: the body as it came, but for what was decided to change, with the policy added at
    `connect`; or 403."""
    if not decision.allowed:
        return problem(HTTPStatus.FORBIDDEN, decision.reason, REASON_TEXTS[decision.reason])
    if call.method is not None and call.method.kind is CONNECT:
        if decision.account is not None:
            body = splice(body, _account_members(decision.account, body))
        body = splice(body, {"restClientConfig": REST_CLIENT_CONFIGS[decision.hiding]})
    if decision.changes:
        body = splice(body, {change.member: json.dumps(change.value).encode() for change in decision.changes})
    return Answer(_OK, body)


def _account_members(account: SipAccountRow, body: bytes) -> dict[str, bytes]:
    """The members of a SIP account as JSON, and null for all others of the kind that came: nothing that the client
    says, such as another proxy, may get hold of the password.
    """
    own = {**account.members, "sipPassword": _password(account)}
    others = {member.name for member in members(body) if member.name.lower().startswith("sip")} - own.keys()
    return {**dict.fromkeys(others, b"null"), **{name: json.dumps(value).encode() for name, value in own.items()}}


def _password(account: SipAccountRow) -> str:
    """In clear; "" where no key reads it, with which nobody can log in."""
    try:
        return unseal(account.password)
    except CannotUnseal as error:
        logger.error("%s The SIP account of user %s cannot log in.", error, account.user_id)
        return ""


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
