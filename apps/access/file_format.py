"""The keys of an access file: what may stand where, and what must not contradict itself. Touches no database."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models

from apps.access.file_problems import AccessFileError, Bad, Place
from apps.access.file_sheets import SheetPlace, is_spreadsheet, read_sheets
from apps.access.file_values import (
    Entry,
    accepted_by,
    choice,
    count,
    day,
    filled,
    flag,
    in_order,
    link_code,
    listing,
    mapping,
    moment,
    of,
    or_none,
    password_hash,
    sealed,
    section,
    shared_secret,
    text,
    texts,
    token_hash,
    username,
)
from apps.access.file_yaml import parse
from apps.access.models import CAPS, CIRCUMSTANCES, LIMITS, NumberClass, Rule, Schedule
from apps.accounts.hashing import hash_token
from apps.accounts.models import Token, User
from apps.connections.models import MAX_SECRETS, App, Node, SipAccount, TokenIssuer
from apps.protocol.methods import ACTIONS_WITH_TARGET
from apps.streams.models import Stream, StreamGroup, StreamLink

ON_SOMETHING = set(ACTIONS_WITH_TARGET) - {"connect"}
"""Actions that need a target. Who may connect mostly may so through any app."""

RECORD = {"always": "on", "never": "off"}
"""How a file says whether something is recorded: on and off are no texts in YAML."""

TOKEN = mapping(
    {
        "label": of(Token, "label"),
        "token": filled(text),
        "token_hash": token_hash,
        "expires": or_none(moment),
        "networks": texts(Token, "networks"),
        "origins": texts(Token, "origins"),
        "streams": texts(Token, "streams"),
        "actions": texts(Token, "actions"),
        "single_use": flag,
        "issued": moment,
        "used": moment,
    },
    needed=("label",),
    either=(("token", "token_hash"),),
)
USER = mapping(
    {
        "username": username,
        "password": filled(text),
        "password_hash": password_hash,
        "active": flag,
        "staff": flag,
        "first_name": of(User, "first_name"),
        "last_name": of(User, "last_name"),
        "email": of(User, "email"),
        "groups": listing(of(Group, "name")),
        "revoked_before": or_none(moment),
        "tokens": listing(TOKEN),
    },
    needed=("username",),
    either=(("password", "password_hash"),),
)
APP = mapping(
    {
        "key": of(App, "key"),
        "guests": flag,
        "token_name": of(App, "token_name"),
        "hook_user": of(App, "hook_user"),
        "hook_password": filled(text),
        "hook_passwords_sealed": listing(sealed, at_most=MAX_SECRETS),
        "networks": texts(App, "networks"),
        "rest_started": flag,
        "note": of(App, "note"),
    },
    needed=("key",),
    either=(("hook_password", "hook_passwords_sealed"),),
)
NODE = mapping(
    {
        "node_id": of(Node, "node_id"),
        "name": of(Node, "name"),
        "secrets": listing(filled(text), at_most=MAX_SECRETS),
        "secrets_sealed": listing(sealed, at_most=MAX_SECRETS),
        "networks": texts(Node, "networks"),
        "api_url": of(Node, "api_url"),
        "api_user": of(Node, "api_user"),
        "api_password": text,
        "api_password_sealed": sealed,
    },
    needed=("node_id",),
    either=(("secrets", "secrets_sealed"), ("api_password", "api_password_sealed")),
)
SIP_ACCOUNT = mapping(
    {
        "user": username,
        "login": of(SipAccount, "login"),
        "authentication_name": of(SipAccount, "authentication_name"),
        "password": filled(text),
        "password_sealed": sealed,
        "domain": of(SipAccount, "domain"),
        "outbound_proxy": of(SipAccount, "outbound_proxy"),
        "port": count(SipAccount, "port"),
        "visible_name": of(SipAccount, "visible_name"),
        "register": flag,
        "note": of(SipAccount, "note"),
    },
    needed=("user",),
    either=(("password", "password_sealed"),),
)
STREAM_GROUP = mapping({"name": of(StreamGroup, "name"), "note": of(StreamGroup, "note")}, needed=("name",))
STREAM = mapping(
    {
        "name": of(Stream, "name"),
        "owner": or_none(username),
        "source": of(Stream, "source"),
        "groups": listing(of(StreamGroup, "name")),
        "max_publishers": or_none(count(Stream, "max_publishers")),
        "max_viewers": or_none(count(Stream, "max_viewers")),
        "note": of(Stream, "note"),
    },
    needed=("name",),
)
SCHEDULE = mapping(
    {
        "name": of(Schedule, "name"),
        "time_zone": of(Schedule, "time_zone"),
        "windows": filled(texts(Schedule, "windows")),
        "holidays": listing(day),
        "note": of(Schedule, "note"),
    },
    needed=("name", "time_zone", "windows"),
)
NUMBER_CLASS = mapping(
    {
        "name": of(NumberClass, "name"),
        "prefixes": texts(NumberClass, "prefixes"),
        "whole": flag,
        "short": count(NumberClass, "short"),
        "protected": flag,
        "note": of(NumberClass, "note"),
    },
    needed=("name",),
)
RULE_LIMITS = mapping(
    {
        "per": choice(("user", "group", "target", "rule"), {}, "user, group, target or rule"),
        **{name: count(Rule, name) for name in LIMITS},
        "overflow": choice(("refuse", "end-oldest"), {}, "refuse or end-oldest"),
    },
    needed=("per",),
)
RULE_CHANGES = mapping(
    {
        "callee": of(Rule, "callee"),
        "record": choice(tuple(RECORD), {}, "always or never"),
        **{name: count(Rule, name) for name in CAPS},
    }
)
LINK = mapping(
    {
        "code": link_code,
        "label": of(StreamLink, "label"),
        "stream": of(StreamLink, "stream"),
        "action": choice(("play", "publish"), {}, "play or publish"),
        "until": moment,
        "active": flag,
        "issued": moment,
        "made_by": or_none(username),
    },
    needed=("code", "label", "stream", "action", "until"),
)
ISSUER = mapping(
    {
        "issuer": of(TokenIssuer, "issuer"),
        "active": flag,
        "audience": of(TokenIssuer, "audience"),
        "algorithms": filled(texts(TokenIssuer, "algorithms")),
        "secrets": listing(shared_secret, at_most=MAX_SECRETS),
        "secrets_sealed": listing(sealed, at_most=MAX_SECRETS),
        "jwks": of(TokenIssuer, "jwks"),
        "jwks_url": of(TokenIssuer, "jwks_url"),
        "leeway": count(TokenIssuer, "leeway"),
        "user_claim": of(TokenIssuer, "user_claim"),
        "groups_claim": of(TokenIssuer, "groups_claim"),
        "streams_claim": of(TokenIssuer, "streams_claim"),
        "actions_claim": of(TokenIssuer, "actions_claim"),
        "accepts_unknown": flag,
        "note": of(TokenIssuer, "note"),
    },
    needed=("issuer", "algorithms"),
    either=(("secrets", "secrets_sealed"),),
)
_TARGET_TEXT = accepted_by(models.CharField(max_length=Rule._meta.get_field("target").max_length))
RULE = mapping(
    {
        "effect": choice(("allow", "deny"), {}, "allow or deny"),
        "who": choice(
            ("everyone", "guests"),
            {"user": username, "group": of(Group, "name")},
            "everyone, guests, {user: name} or {group: name}",
        ),
        "actions": filled(texts(Rule, "actions")),
        "target": choice(
            ("any",),
            {
                "exact": _TARGET_TEXT,
                "prefix": _TARGET_TEXT,
                "glob": _TARGET_TEXT,
                "stream": of(Stream, "name"),
                "stream_group": of(StreamGroup, "name"),
                "number_prefix": _TARGET_TEXT,
                "number_class": of(NumberClass, "name"),
            },
            "any, or one of {exact: …}, {prefix: …}, {glob: …}, {stream: …}, {stream_group: …}, {number_prefix: …} "
            "and {number_class: …}",
        ),
        "during": of(Schedule, "name"),
        **{name: texts(Rule, name) for name in CIRCUMSTANCES},
        "limits": RULE_LIMITS,
        "changes": RULE_CHANGES,
        "from": or_none(moment),
        "until": or_none(moment),
        "enforced": flag,
        "note": of(Rule, "note"),
    },
    needed=("effect", "who", "actions"),
)
FILE = mapping(
    {
        "groups": section(of(Group, "name")),
        "users": section(USER),
        "apps": section(APP),
        "nodes": section(NODE),
        "sip_accounts": section(SIP_ACCOUNT),
        "stream_groups": section(STREAM_GROUP),
        "streams": section(STREAM),
        "schedules": section(SCHEDULE),
        "number_classes": section(NUMBER_CLASS),
        "issuers": section(ISSUER),
        "links": section(LINK),
        "revoked_before": or_none(moment),
        "rules": or_none(listing(RULE)),
    }
)


def read(content: str | bytes) -> Entry:
    """The checked values of a file: YAML, or the bytes of a spreadsheet.

    Raises AccessFileError with everything that is wrong with it, and UnicodeDecodeError.
    """
    problems: list[str] = []
    try:
        if isinstance(content, bytes) and is_spreadsheet(content):
            file = FILE(read_sheets(content), SheetPlace(problems=problems))
        else:
            text = content if isinstance(content, str) else content.decode("utf-8-sig")
            file = FILE(parse(text), Place(problems=problems))
    except Bad:
        raise AccessFileError(problems) from None
    for rule in file.get("rules") or []:
        _check_target(rule)
        _check_sense(rule)
    _check_said_once(file)
    if problems:
        raise AccessFileError(problems)
    return file


def hash_of(token: Entry) -> str | None:
    """The hash of a token, however it is given."""
    return hash_token(token["token"]) if "token" in token else token.get("token_hash")


def _check_target(rule: Entry) -> None:
    """A rule on everything says so: nothing is opened by leaving something out."""
    actions = [action for action in in_order(rule.get("actions", [])) if action in ON_SOMETHING]
    if actions and "target" not in rule.given:
        rule.place.key("target").problem(f"is needed with {', '.join(actions)}; for anything at all, write any")


def _check_sense(rule: Entry) -> None:
    """What the model says about the rule as a whole. Whom and which stream it names is looked up later."""
    who, _ = rule.get("who", ("everyone", ""))
    kind, target = rule.get("target", ("any", ""))
    row = Rule(
        who=who,
        user=User() if who == "user" else None,
        group=Group() if who == "group" else None,
        target_kind=kind.replace("_", "-"),
        target="" if kind in NAMED_TARGETS else target,
        **plain_values(rule),
    )
    if kind in NAMED_TARGETS:
        setattr(row, kind, NAMED_TARGETS[kind]())
    try:
        row.clean()
    except ValidationError as error:
        limits = {"limit_per": "limits.per"} | {name: f"limits.{name}" for name in (*LIMITS, "overflow")}
        of_target = dict.fromkeys(("target", *NAMED_TARGETS), f"target.{kind}")
        rule.place.refused(error, starts_at="from", ends_at="until", **of_target, **limits)


NAMED_TARGETS = {"stream": Stream, "stream_group": StreamGroup, "number_class": NumberClass}
"""Kinds of target that name a row."""


def plain_values(rule: Entry) -> dict[str, Any]:
    """What a rule says about itself alone, by the model's names: all but who, on what and during which hours."""
    limits, changes = rule.get("limits", {}), rule.get("changes", {})
    words = {name: value[0] for name, value in limits.items() if name in ("per", "overflow")}
    return {
        "effect": rule.get("effect", ("allow", ""))[0],
        "actions": in_order(rule.get("actions", [])),
        "starts_at": rule.get("from"),
        "ends_at": rule.get("until"),
        **{name: rule.get(name, []) for name in CIRCUMSTANCES},
        **{name: limits.get(name) for name in LIMITS},
        "limit_per": words.get("per", ""),
        "overflow": words.get("overflow", Rule.Overflow.REFUSE),
        **{name: changes.get(name) for name in CAPS},
        "callee": changes.get("callee", ""),
        "record": RECORD[changes["record"][0]] if "record" in changes else "",
    }


def _check_said_once(file: Entry) -> None:
    """Two entries about the same thing would contradict each other, or hide a slip of the pen."""
    keys = {
        "sip_accounts": "user",
        "users": "username",
        "apps": "key",
        "nodes": "node_id",
        "issuers": "issuer",
        "links": "code",
    }
    for name in (*keys, "stream_groups", "streams", "schedules", "number_classes"):
        key = keys.get(name, "name")
        _each_once((entry.place.key(key), entry.get(key)) for entry in file.get(name, []))
    tokens = [(user, token) for user in file.get("users", []) for token in user.get("tokens", [])]
    _each_once((token.place, hash_of(token)) for _, token in tokens)
    _each_once((token.place.key("label"), (user.place.name, token.get("label"))) for user, token in tokens)


def _each_once(things: Iterable[tuple[Place, Any]]) -> None:
    first: dict[Any, Place] = {}
    for place, thing in things:
        if thing and first.setdefault(thing, place) is not place:
            place.problem(f"stands in {first[thing].name} already")
