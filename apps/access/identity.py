"""Who is behind a hook. Pure: no Django, no database.

A wrong credential is never better than none, and none never better than a wrong one: whatever is in a credential's
place and is not good is a problem, also where guests are welcome.
"""

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from apps.access.compile import Snapshot
from apps.access.facts import Identity, origin_of
from apps.access.networks import in_networks
from apps.access.other_ways_in import by_link, by_session_of_link, by_session_of_web_token, by_web_token, is_named
from apps.access.reasons import Reason
from apps.access.revoking import is_revoked
from apps.access.rows import AppRow, TokenRow, UserRow
from apps.access.web_tokens import may_be_web_token
from apps.accounts.hashing import LINK_PREFIX, hash_token
from apps.connections.rows import SessionRow
from apps.protocol.messages import Credential, HookCall
from apps.protocol.methods import STREAM_ACTIONS

CheckPassword = Callable[[UserRow | None, str], bool]
"""Whether the password is that of the user; takes as long for nobody (None) as for somebody."""


def identify(
    call: HookCall,
    app: AppRow,
    session: SessionRow | None,
    snapshot: Snapshot,
    *,
    now: datetime,
    check_password: CheckPassword,
) -> Identity:
    """Who is behind this hook: the credential in its body where the method takes one, else its session's user.

    Nobody, where the hook is not refused whoever it is and a credential does not hold: it must not be put down to
    somebody whose password was only guessed at.
    """
    if call.method is None or not call.method.refusable:
        return Identity()
    identity = _identify(call, app, session, snapshot, now=now, check_password=check_password)
    return Identity() if app.rest_started and identity.problem is not None else identity


def _identify(
    call: HookCall,
    app: AppRow,
    session: SessionRow | None,
    snapshot: Snapshot,
    *,
    now: datetime,
    check_password: CheckPassword,
) -> Identity:
    assert call.method is not None  # noqa: S101 - identify has seen to it; this is for the type checker
    credential = call.credential(app.token_name)
    if call.method.in_session:
        problem = _session_problem(session, app)
        if problem is not None:
            return Identity(problem=problem)
    if credential is not None:
        return _by_credential(credential, call, session, snapshot, now=now, check_password=check_password)
    if not call.method.in_session:
        return guest(app)
    assert session is not None  # noqa: S101 - _session_problem has seen to it; this is for the type checker
    return _by_session(session, call, app, snapshot, now=now)


def guest(app: AppRow) -> Identity:
    """Who comes without a credential: a guest, where the app welcomes them."""
    return Identity(entered_by="guest") if app.guests else Identity(problem=Reason.NO_CREDENTIALS)


def _session_problem(session: SessionRow | None, app: AppRow) -> Reason | None:
    if session is None or session.app_key != app.key:
        return Reason.UNKNOWN_SESSION
    return Reason.SESSION_ENDED if session.ended else None


def _by_credential(
    credential: Credential,
    call: HookCall,
    session: SessionRow | None,
    snapshot: Snapshot,
    *,
    now: datetime,
    check_password: CheckPassword,
) -> Identity:
    if credential.token is not None:
        return _by_token_text(credential.token, call, origin_of(call, session), snapshot, now=now)
    if credential.login is None or credential.password is None:
        return Identity(problem=Reason.BAD_TOKEN)
    user = snapshot.users.by_name.get(credential.login)
    if not check_password(user, credential.password) or user is None:
        return Identity(user=user, problem=Reason.BAD_PASSWORD)
    return Identity(user=user, entered_by="password")


def _by_token_text(text: str, call: HookCall, origin: str, snapshot: Snapshot, *, now: datetime) -> Identity:
    """Ours come first: what was issued here may look like anything."""
    token = snapshot.tokens.by_name.get(hash_token(text))
    if token is None and text.startswith(LINK_PREFIX):
        return by_link(text, call, snapshot, now=now)
    if token is None and may_be_web_token(text):
        return by_web_token(text, call, snapshot, now=now)
    return _by_token(token, call, origin, snapshot, now=now)


def _by_session(session: SessionRow, call: HookCall, app: AppRow, snapshot: Snapshot, *, now: datetime) -> Identity:
    user = snapshot.users.by_id.get(session.user_id or 0)
    if is_revoked(session.opened_at, user, snapshot):
        return Identity(user=user, problem=Reason.REVOKED)
    match session.entered_by:
        case "guest":
            return guest(app)
        case "link":
            return by_session_of_link(session, call, snapshot, now=now)
        case "jwt":
            return by_session_of_web_token(session, call, snapshot, now=now)
        case "token":
            token = snapshot.tokens.by_id.get(session.token_id or 0)
            if token is not None and token.user_id != session.user_id:
                token = None
            return _by_token(token, call, origin_of(call, session), snapshot, now=now)
        case "password":
            if user is None:
                return Identity(problem=Reason.USER_INACTIVE)
            return Identity(user=user, entered_by="password")
    return Identity(problem=Reason.NO_CREDENTIALS)


def _by_token(token: TokenRow | None, call: HookCall, origin: str, snapshot: Snapshot, *, now: datetime) -> Identity:
    user = snapshot.users.by_id.get(token.user_id) if token is not None else None
    if token is None or user is None:
        return Identity(problem=Reason.BAD_TOKEN)
    if token.single_use:
        token = replace(token, used_by=snapshot.used_by(token))
    problem = _token_problem(token, user, call, origin, snapshot, now)
    if problem is not None:
        return Identity(user=user, token=token, problem=problem)
    return Identity(user=user, token=token, entered_by="token")


def _token_problem(
    token: TokenRow, user: UserRow, call: HookCall, origin: str, snapshot: Snapshot, now: datetime
) -> Reason | None:
    if is_revoked(token.issued_at, user, snapshot):
        return Reason.REVOKED
    if token.single_use and token.used_by not in (None, (call.node_id, call.session_id)):
        return Reason.TOKEN_USED
    if token.expires_at is not None and now >= token.expires_at:
        return Reason.EXPIRED_TOKEN
    fits = (
        (not token.networks or in_networks(call.client_address, token.networks))
        and (not token.origins or origin in token.origins)
        and (not token.streams or call.action not in STREAM_ACTIONS or is_named(call.target, token.streams, snapshot))
        and (not token.actions or call.action == "connect" or call.action in token.actions)
    )
    return None if fits and (not token.single_use or _is_of_one_client(call)) else Reason.TOKEN_NOT_FOR_THIS


def _is_of_one_client(call: HookCall) -> bool:
    """Whether the session id of a hook tells who uses a token. All who watch a stream by HLS may share one."""
    shared = call.method is not None and call.method.end_unreported and not call.client_address
    return bool(call.node_id and call.session_id) and not shared
