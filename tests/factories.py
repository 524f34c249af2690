"""Rows for tests, with defaults. Alice publishes, Bob watches, Charlie may do nothing."""

import uuid
from base64 import b64encode
from datetime import timedelta

from django.contrib.auth.models import Group
from django.utils import timezone

from apps.access.models import Rule
from apps.accounts.hashing import hash_token
from apps.accounts.models import ApiKey, Token, User
from apps.connections.models import App, Node, SipAccount, TokenIssuer
from apps.live.counted import who
from apps.live.models import Lease
from apps.streams.models import Stream, StreamLink
from tests.access import signed

NODE_ID = "Hw47@192.168.1.101"
SESSION_ID = "/192.168.1.38:64604/192.168.1.101:8443"
HOOK_PASSWORD = "hook-secret"
SHARED_SECRET = signed.SECRET.decode()


def make_user(username="alice", *, groups=(), **fields):
    user = User.objects.create_user(username, **fields)
    user.groups.set([Group.objects.get_or_create(name=name)[0] for name in groups])
    return user


def make_token(user, token=None, label="laptop", **fields):
    """A token whose clear text is `tok-<username>` unless given."""
    return Token.objects.create(
        user=user, label=label, token_hash=hash_token(token or f"tok-{user.username}"), **fields
    )


def make_key(user, label="SIEM", **fields):
    """A key of the API, and the row that is kept of it."""
    row, key = ApiKey.objects.issue(user, label, **fields)
    return key, row


def make_link(stream="lobby", label="press", hours=1, **fields):
    """A link to watch a stream for an hour from now."""
    return StreamLink.objects.create(
        label=label, stream=stream, ends_at=timezone.now() + timedelta(hours=hours), **fields
    )


def make_issuer(issuer=signed.ISSUER, *, secret=SHARED_SECRET, **fields):
    """An issuer who shares a secret with us; its tokens are those of `signed.web_token`."""
    row = TokenIssuer(**{"issuer": issuer, "audience": signed.AUDIENCE, "algorithms": ["HS256"], **fields})
    if secret:
        row.set_secret(secret)
    row.save()
    return row


def make_app(key="defaultApp", *, hook_user="wcs", hook_password=HOOK_PASSWORD, **fields):
    app = App(key=key, hook_user=hook_user if hook_password else "", **fields)
    if hook_password:
        app.set_hook_password(hook_password)
    app.save()
    return app


def make_node(node_id=NODE_ID, *, secret=None, **fields):
    node = Node(node_id=node_id, **fields)
    if secret:
        node.set_secret(secret)
    node.save()
    return node


def make_sip_account(user, password="sip-secret", **fields):
    account = SipAccount(user=user, **{"login": "10007", "domain": "pbx.example", **fields})
    account.set_password(password)
    account.save()
    return account


def make_stream(name="lobby", **fields):
    return Stream.objects.create(name=name, **fields)


def make_rule(*actions, effect="allow", user=None, group=None, guests=False, stream=None, target=None, **fields):
    """A rule; `target` is (kind, text), for example ("prefix", "lesson-")."""
    who = "user" if user else "group" if group else "guests" if guests else "everyone"
    kind, text = target or ("stream" if stream else "any", "")
    if isinstance(group, str):
        group = Group.objects.get_or_create(name=group)[0]
    return Rule.objects.create(
        effect=effect,
        who=who,
        user=user,
        group=group,
        actions=list(actions),
        target_kind=kind,
        target=text,
        stream=stream,
        **fields,
    )


def make_lease(user=None, key="m-1", action="play", target="lobby", *, rules=(), **fields):
    """Something that was let in a minute ago and runs since, unless told otherwise."""
    began = fields.pop("opened_at", timezone.now() - timedelta(minutes=1))
    username = user.username if user else ""
    return Lease.objects.create(
        **{
            "record_id": uuid.uuid4(),
            "node_id": NODE_ID,
            "app_key": "defaultApp",
            "session_id": SESSION_ID,
            "key": key,
            "action": action,
            "target": target,
            "thing": target,
            "who": who(username, ""),
            "username": username,
            "user": user,
            "rule_ids": [rule.id for rule in rules],
            "opened_at": began,
            "started_at": began,
            **fields,
        }
    )


def basic(user="wcs", password=HOOK_PASSWORD):
    """The value of an Authorization header."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
