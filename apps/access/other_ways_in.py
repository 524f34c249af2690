"""Who comes in by a token that others signed (JWT), or by a link to a stream. Pure: no Django, no database.

A session that was opened so keeps what it was granted, and is judged again by it at every hook.
"""

from datetime import datetime
from hmac import compare_digest

import msgspec
from msgspec.structs import replace

from apps.access.compile import Snapshot
from apps.access.facts import Identity
from apps.access.reasons import Reason
from apps.access.revoking import is_revoked
from apps.access.rows import FROM_CLAIMS, IssuerRow, LinkRow, UserRow
from apps.access.web_tokens import Grant, TokenRefused, VerifiedTokens, time_problem
from apps.connections.rows import SessionRow
from apps.protocol.messages import HookCall
from apps.protocol.methods import STREAM_ACTIONS

_verified_tokens = VerifiedTokens()
_read_grant = msgspec.json.Decoder(Grant).decode
_write_grant = msgspec.json.Encoder().encode


def granted(identity: Identity) -> str:
    """What a session keeps of how it was opened; "" where its user or token tell all there is to tell."""
    if identity.grant is not None:
        return _write_grant(identity.grant).decode()
    return identity.link.code if identity.link is not None else ""


def is_named(target: str, streams: tuple[str, ...], snapshot: Snapshot) -> bool:
    """Whether a stream is one of these, by any of the names it is known by."""
    names, _ = snapshot.streams.known_as(target)
    return not set(names).isdisjoint(streams)


# Tokens that others signed


def by_web_token(text: str, call: HookCall, snapshot: Snapshot, *, now: datetime) -> Identity:
    """Who a signed token says it is, if that can be believed."""
    try:
        issuer, grant = _verified_tokens.read(text, snapshot.issuers)
    except TokenRefused as refusal:
        return Identity(problem=refusal.reason)
    return _by_grant(grant, issuer, call, snapshot, now)


def by_session_of_web_token(session: SessionRow, call: HookCall, snapshot: Snapshot, *, now: datetime) -> Identity:
    """Who a session belongs to that a signed token opened, if the token would still do."""
    try:
        grant = _read_grant(session.granted)
    except msgspec.DecodeError:  # somebody wrote it by SQL
        return Identity(problem=Reason.TOKEN_MALFORMED)
    issuer = snapshot.issuers.by_name.get(grant.issuer)
    if issuer is None or not issuer.active:
        return Identity(problem=Reason.UNKNOWN_ISSUER)
    return _by_grant(grant, issuer, call, snapshot, now)


def _by_grant(grant: Grant, issuer: IssuerRow, call: HookCall, snapshot: Snapshot, now: datetime) -> Identity:
    user = _user(grant, issuer, snapshot)
    if user is None:
        return Identity(problem=Reason.UNKNOWN_SUBJECT)
    problem = _grant_problem(grant, issuer, user, call, snapshot, now)
    if problem is not None:
        return Identity(user=user, problem=problem)
    return Identity(user=user, entered_by="jwt", grant=grant)


def _user(grant: Grant, issuer: IssuerRow, snapshot: Snapshot) -> UserRow | None:
    """The user of that name, in the groups that the token names besides their own; groups that are not here are none.

    Without a row it is a user known from the token alone, where the issuer is trusted that far.
    """
    groups = [group.id for name in grant.groups if (group := snapshot.groups.by_name.get(name)) is not None]
    user = snapshot.users.by_name.get(grant.subject)
    if user is None:
        if not issuer.accepts_unknown:
            return None
        return UserRow(FROM_CLAIMS, grant.subject, group_ids=tuple(dict.fromkeys(groups)))
    return replace(user, group_ids=tuple(dict.fromkeys([*user.group_ids, *groups]))) if groups else user


def _grant_problem(
    grant: Grant, issuer: IssuerRow, user: UserRow, call: HookCall, snapshot: Snapshot, now: datetime
) -> Reason | None:
    problem = time_problem(grant, issuer.leeway, now)
    if problem is not None:
        return problem
    if is_revoked(grant.issued_at, user, snapshot):
        return Reason.REVOKED
    on_stream = grant.streams is not None and call.action in STREAM_ACTIONS
    fits = (not on_stream or is_named(call.target, grant.streams or (), snapshot)) and (
        grant.actions is None or call.action == "connect" or call.action in grant.actions
    )
    return None if fits else Reason.TOKEN_NOT_FOR_THIS


# Links


def by_link(text: str, call: HookCall, snapshot: Snapshot, *, now: datetime) -> Identity:
    """Somebody who holds the token of a link: `link.<code>.<signature>`."""
    _, _, rest = text.partition(".")
    code, _, signature = rest.partition(".")
    link = snapshot.links.by_name.get(code)
    if link is None or not _is_signed(link, signature):
        return Identity(problem=Reason.BAD_TOKEN)
    return holder(link, call, snapshot, now)


def by_session_of_link(session: SessionRow, call: HookCall, snapshot: Snapshot, *, now: datetime) -> Identity:
    """Somebody whose session a link opened, if the link would still do."""
    link = snapshot.links.by_name.get(session.granted)
    return holder(link, call, snapshot, now) if link is not None else Identity(problem=Reason.BAD_TOKEN)


def _is_signed(link: LinkRow, signature: str) -> bool:
    """Compared in constant time with what each of our keys would have signed; none where no key is set."""
    given, found = signature.encode(), False
    for good in link.signatures:
        found |= compare_digest(given, good.encode())
    return found


def holder(link: LinkRow, call: HookCall, snapshot: Snapshot, now: datetime) -> Identity:
    """Somebody who holds a link, if it is good for this."""
    problem = _link_problem(link, call, snapshot, now)
    return Identity(problem=problem) if problem is not None else Identity(entered_by="link", link=link)


def _link_problem(link: LinkRow, call: HookCall, snapshot: Snapshot, now: datetime) -> Reason | None:
    maker = snapshot.users.by_id.get(link.made_by_id or 0)
    if not link.active or is_revoked(link.issued_at, maker, snapshot):
        return Reason.REVOKED
    if now >= link.ends_at:
        return Reason.EXPIRED_TOKEN
    on_stream = call.action == link.action and is_named(call.target, (link.stream,), snapshot)
    fits = call.action == "connect" or on_stream
    return None if fits else Reason.TOKEN_NOT_FOR_THIS
