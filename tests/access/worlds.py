"""Small worlds for deciding in: rows, calls and facts, without a database."""

import json
from datetime import UTC, datetime, timedelta

from apps.access.compile import Snapshot
from apps.access.facts import Facts, Identity
from apps.access.identity import identify
from apps.access.question import Question
from apps.access.rows import AppRow, LinkRow, RevocationRow, RuleRow, TokenRow, UserRow
from apps.accounts.hashing import hash_token
from apps.connections.rows import SessionRow
from apps.protocol.messages import HookCall
from apps.protocol.methods import find
from apps.protocol.policy import Hiding

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
APP = AppRow(1, "defaultApp")
TEACHERS = 7
ALICE = UserRow(1, "alice", password="pw-alice", group_ids=(TEACHERS,))
BOB = UserRow(2, "bob", password="pw-bob")
CAST = (ALICE, BOB)
ALL_HIDDEN = sum(Hiding)
"""The policy of a session in which everything is hidden that can be."""

COMMON = {"nodeId": "node", "appKey": APP.key, "sessionId": "/192.168.1.38:64604/192.168.1.101:8443"}


def call(method, **members):
    """A hook with the common members and these."""
    return HookCall.from_payload(method, find(method), json.dumps({**COMMON, **members}).encode())


def asking(*targets, action="play", username="alice", **fields):
    """A question about this target, or about one known by several texts."""
    return Question(action, targets, fields.pop("now", NOW), username, **fields)


def rule(rule_id, *actions, effect="allow", user=None, group=None, guests=False, target=("any", ""), **fields):
    """A rule; about everyone with an account unless said otherwise."""
    who = "user" if user else "group" if group else "guests" if guests else "everyone"
    kind, text = target
    return RuleRow(rule_id, effect, who, actions, user.id if user else None, group, kind, text, **fields)


def token(user, text=None, token_id=None, **limits):
    """A token whose clear text is `tok-<username>` unless given; issued a day ago."""
    limits = {"issued_at": NOW - DAY, **limits}
    return TokenRow(token_id or user.id * 10, user.id, hash_token(text or f"tok-{user.username}"), **limits)


def link(code="press", **fields):
    """A link to watch the lobby for an hour, made a day ago; its token is `link.<code>.signed` or `.signed-before`."""
    defaults = {"id": 1, "stream": "lobby", "action": "play", "ends_at": NOW + HOUR, "issued_at": NOW - DAY}
    return LinkRow(**{**defaults, "code": code, "signatures": ("signed", "signed-before"), **fields})


def snapshot(*, users=CAST, tokens=None, apps=(APP,), rules=(), groups=(), issuers=(), links=(), revoked_before=None):
    """What a process holds in memory; each user has a token unless said otherwise."""
    made = Snapshot(1)
    made.users.replace((), users)
    made.tokens.replace((), [token(user) for user in users] if tokens is None else tokens)
    made.apps.replace((), apps)
    made.rules.replace((), rules)
    made.groups.replace((), groups)
    made.issuers.replace((), issuers)
    made.links.replace((), links)
    made.revocations.replace((), [RevocationRow(1, revoked_before)] if revoked_before else [])
    return made


def session(user=None, entered_by=None, **fields):
    """A session of this user, or of a guest."""
    entered_by = entered_by or ("token" if user else "guest")
    values = {
        "id": 1,
        "opening": 1,
        "app_key": APP.key,
        "user_id": user.id if user else None,
        "username": user.username if user else "",
        "token_id": user.id * 10 if user and entered_by == "token" else None,
        "hiding": ALL_HIDDEN,
        "entered_by": entered_by,
        "opened_at": NOW - HOUR,
    }
    return SessionRow(**{**values, **fields})


def check_password(user, password):
    """Passwords are in clear here; hashing is Django's."""
    return user is not None and user.password == password


def identity_of(hook, known, opened=None, now=NOW):
    """Who is behind a hook; nobody where its app is not known."""
    app = known.apps.by_name.get(hook.app_key)
    if app is None:
        return Identity()
    return identify(hook, app, opened, known, now=now, check_password=check_password)


def facts_about(hook, known, opened=None, now=NOW):
    """What the engine may know about a hook."""
    return Facts(
        now=now,
        app=known.apps.by_name.get(hook.app_key),
        identity=identity_of(hook, known, opened, now),
        snapshot=known,
        session=opened,
    )


def facts(*rules, user=ALICE, app=APP, problem=None, guest=False, now=NOW):
    """Facts about a hook of this user, where that much is settled already."""
    identity = Identity(user=None if guest else user, problem=problem, entered_by="guest" if guest else "token")
    return Facts(now=now, app=app, identity=identity, snapshot=snapshot(rules=rules))
