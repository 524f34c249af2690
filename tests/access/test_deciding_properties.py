"""What holds for any rules, users, tokens and hooks; and that deciding agrees with a model written for clarity."""

import json
import re
from collections import namedtuple
from datetime import timedelta
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apps.access.compile import Rows
from apps.access.engine import decide
from apps.access.facts import Decision, Identity
from apps.access.other_ways_in import granted
from apps.access.reasons import Reason
from apps.access.rows import AppRow, GroupRow, LinkRow, RuleRow, TokenRow, UserRow
from apps.access.web_tokens import verify
from apps.accounts.hashing import hash_token
from apps.protocol.messages import HookCall
from apps.protocol.methods import METHODS, find
from apps.protocol.policy import Hiding
from tests.access.signed import claims_of, issuer, sign, web_token
from tests.access.worlds import COMMON, DAY, HOUR, NOW, facts_about, session, snapshot

World = namedtuple("World", "users tokens apps rules issuers links revocations", defaults=((), (), ()))
Hook = namedtuple("Hook", "method members session")  # as it comes in, with the session that is found for it

USERNAMES = ("alice", "bob", "*", "{user}", "a*b")
STREAMS = ("lobby", "lobby-1", "", "alice", "a*b", *(f"{name}-cam" for name in USERNAMES))
PATTERNS = ("*", "lobby*", "*-cam", "{user}-*", "*{user}*", "l*b*y", "{user}")
MOMENTS = (None,) * 7 + tuple(NOW + timedelta(hours=hours) for hours in (-2, -1, 0, 1, 2))
USER_IDS = GROUPS = (1, 2, 3)
TOKENS = ("t1", "t2", "t3", "t4")
PAST = (NOW - 3 * DAY, NOW - 2 * DAY, NOW - DAY)
"""When things were issued; and before when they are revoked."""

ISSUED_AT = int(PAST[1].timestamp())
LINKS = ("press", "crew")
LINK_TOKENS = tuple(f"link.{code}.signed" for code in LINKS)
NARROWING = {"groups": ["group-1", "group-9"], "streams": ["lobby", "alice-cam"], "scope": "play call"}
SIGNED = {
    web_token(claims.pop("sub", "alice"), iat=claims.pop("iat", ISSUED_AT), **claims): (reason, said)
    for reason, claims in (
        (None, {}),
        (None, {"sub": "zoe"}),
        (None, {"sub": "bob", **NARROWING}),
        (None, {"sub": "zoe", "groups": ["group-2"], "streams": [], "scope": ""}),
        (None, {"iat": None}),
        (Reason.EXPIRED_TOKEN, {"exp": ISSUED_AT + 1}),
        (Reason.TOKEN_NOT_YET_VALID, {"nbf": ISSUED_AT + 10 * 24 * 3600}),
        (Reason.WRONG_AUDIENCE, {"aud": "somebody else"}),
        (Reason.TOKEN_MALFORMED, {"exp": None}),
    )
    for said in [dict(claims)]
} | {sign(claims_of(), key=b"somebody else's secret of 32 byte"): (Reason.BAD_SIGNATURE, {})}
"""Signed tokens, each with what is wrong with it (if anything) and what it says."""

ISSUERS = (
    (issuer(),),
    (issuer(accepts_unknown=True),),
    (issuer(accepts_unknown=True, groups_claim="groups"),),
    (issuer(groups_claim="groups", streams_claim="streams", actions_claim="scope"),),
    (issuer(active=False),),
    (),
)
NETWORKS = {"/192.168.1.38:64604/n": "192.168.0.0/16", "/10.0.0.7:5/n": "10.0.0.0/8"}
SESSION_IDS = (*NETWORKS, "/[::ffff:10.0.0.7]:5/n", "uuid")
ORIGINS = ("https://a.example", "https://b.example")
ACTIONS = ("connect", "publish", "play", "call")
APP, OTHER_APP = COMMON["appKey"], "otherApp"
APPS = (
    (AppRow(1, APP),),
    (AppRow(1, APP), AppRow(2, OTHER_APP, guests=True)),
    (AppRow(1, APP, guests=True), AppRow(2, OTHER_APP, token_name="key")),
    (AppRow(1, APP, guests=True),),
    (AppRow(1, APP, token_name="key"),),
    (AppRow(1, APP, rest_started=True),),
    (),
)
USUAL_METHODS = ("connect", "publishStream", "playStream", "playHLS", "playRTSP", "call", "StreamKeepAliveEvent")
EVERY_METHOD = (*(method.name for method in METHODS), "futureMethod")
REFUSABLE = tuple(method.name for method in METHODS if method.refusable)
WRONG_CREDENTIALS = (
    {"token": "wrong", "key": "wrong"},
    {"token": "", "key": ""},
    {"token": 5, "key": False},
    {"token": ["t1"], "key": {}},
    {"password": "wrong", "login": "alice"},
    {"password": "pw", "login": "nobody"},
    {"password": "pw"},
    {"password": 1, "login": "alice"},
    *({"token": text, "key": text} for text in ("a.b.c", "link.press.forged", "link.press", "link.other.signed")),
    *({"token": text, "key": text} for text, (problem, _) in SIGNED.items() if problem),
)


class Dice(Random):
    """Draws worlds and hooks. Far faster than drawing each piece with a strategy, so far more of them are tried."""

    def some(self, choices):
        """A few of these; often none."""
        return tuple(self.sample(choices, self.choice((0, 0, 1, 2))))

    def world(self):
        names = self.sample(USERNAMES, self.choice((1, 3, 3, 3)))
        return World(
            users=tuple(self.user(id_, name) for id_, name in zip(USER_IDS, names, strict=False)),
            tokens=tuple(self.token(text) for text in self.sample(TOKENS, self.choice((0, 3, 4, 4)))),
            apps=self.choice(APPS[:5]) if self.random() < 0.9 else self.choice(APPS),
            rules=tuple(self.rule(id_) for id_ in self.sample(range(1, 50), self.choice((0, 4, 12, 20)))),
            issuers=self.choice(ISSUERS[:4]) if self.random() < 0.8 else self.choice(ISSUERS),
            links=tuple(self.link(code) for code in self.sample(LINKS, self.choice((1, 2, 2)))),
            revocations=(self.choice(PAST),) if self.random() < 0.1 else (),
        )

    def user(self, id_, name):
        revoked_before = self.choice((None,) * 9 + PAST)
        return UserRow(id_, name, self.random() < 0.8, "pw", self.some(GROUPS), revoked_before)

    def token(self, text):
        limited = self.random() < 0.3
        return TokenRow(
            id=TOKENS.index(text) + 10,
            user_id=max(1, TOKENS.index(text)) if self.random() < 0.7 else self.choice(USER_IDS),
            hash=hash_token(text),
            expires_at=self.choice(MOMENTS),
            networks=self.some(tuple(NETWORKS.values())) if limited else (),
            origins=self.some(ORIGINS) if limited else (),
            streams=self.some(STREAMS) if limited else (),
            actions=self.some(ACTIONS) if limited else (),
            issued_at=self.choice(PAST),
            single_use=self.random() < 0.3,
            used_by=self.choice((None, None, ("n", self.choice(SESSION_IDS)))),
        )

    def link(self, code):
        return LinkRow(
            id=LINKS.index(code) + 1,
            code=code,
            stream=self.choice(("lobby", "lobby", *STREAMS)),
            action=self.choice(("play", "play", "publish")),
            ends_at=self.choice((NOW + HOUR, NOW + HOUR, NOW)),
            active=self.random() < 0.9,
            issued_at=self.choice(PAST),
            made_by_id=self.choice((*USER_IDS, None)),
            signatures=("signed", "signed-before"),
        )

    def rule(self, id_):
        who = self.choice(("everyone", "everyone", "guests", "user", "group"))
        kind = self.choice(("any", "any", "any", "exact", "prefix", "stream", "glob", "glob"))
        return RuleRow(
            id=id_,
            effect=self.choice(("allow", "allow", "deny")),
            who=who,
            actions=tuple(self.sample(ACTIONS, self.randint(1, 3))),
            user_id=self.choice(USER_IDS) if who == "user" else None,
            group_id=self.choice(GROUPS) if who == "group" else None,
            target_kind=kind,
            target="" if kind == "any" else self.choice(PATTERNS if kind == "glob" else STREAMS),
            starts_at=self.choice(MOMENTS),
            ends_at=self.choice(MOMENTS),
            enforced=self.random() < 0.8,
        )

    def hook(self, methods):
        members = {
            "nodeId": "n",
            "sessionId": self.choice(SESSION_IDS),
            "appKey": self.choice((APP,) * 40 + (OTHER_APP, "nowhere", None)),
            "name": self.choice((*STREAMS, None, "rtsp://n:5554/lobby?token=t1&key=t2", "rtsp://n/lobby-1")),
            "callee": self.choice(STREAMS),
            "published": self.choice((True, False, None)),
            "origin": self.choice(("", *ORIGINS)),
            "token": self.choice((None,) * 12 + ("t1", "wrong", 5)),
            "custom": self.custom(),
        }
        return Hook(self.choice(USUAL_METHODS if self.random() < 0.7 else methods), members, self.session())

    def custom(self):
        match self.choice(("nothing", "nothing", "token", "token", "password", "anything", "signed", "link")):
            case "nothing":
                return self.choice((None, {}))
            case "token":
                return {self.choice(("token", "token", "key")): self.choice(TOKENS)}
            case "signed":
                return {self.choice(("token", "token", "key")): self.choice(tuple(SIGNED))}
            case "link":
                return {self.choice(("token", "token", "key")): self.choice(LINK_TOKENS)}
            case "password":
                return {self.choice(("login", "username")): self.choice(USERNAMES), "password": "pw"}
        values = (None, True, 5, "", "wrong", "pw", "t1", *USERNAMES)
        names = self.sample(("token", "key", "password", "login", "username"), 3)
        return {name: self.choice(values) for name in names}

    def session(self):
        if self.random() < 0.05:
            return None
        id_ = self.choice(USER_IDS)
        entered_by = self.choice(("token", "token", "password", "password", "guest", "guest", "rest", "jwt", "link"))
        return session(
            granted=self.granted(entered_by),
            opened_at=self.choice((*PAST, NOW)),
            user_id=id_ if self.random() < 0.9 else None,
            entered_by=entered_by,
            token_id=self.choice((id_ + 10, id_ + 10, id_ + 10, 10, None)),
            app_key=self.choice((APP,) * 6 + (OTHER_APP,)),
            origin=self.choice(("", *ORIGINS)),
            ended=self.random() < 0.05,
        )

    def granted(self, entered_by):
        """What a session keeps that was opened so."""
        if entered_by == "link":
            return self.choice((*LINKS, "other"))
        if entered_by == "jwt":
            good = [text for text, (problem, _) in SIGNED.items() if problem in (None, Reason.EXPIRED_TOKEN)]
            rows = Rows(lambda row: row.issuer)
            rows.replace((), [issuer(groups_claim="groups", streams_claim="streams", actions_claim="scope")])
            return granted(Identity(grant=verify(self.choice(good), rows)[1]))
        return ""


SEEDS = st.integers(0, 2**32)
WORLDS = SEEDS.map(lambda seed: Dice(seed).world())
HOOKS = SEEDS.map(lambda seed: Dice(seed).hook(EVERY_METHOD))
REFUSABLE_HOOKS = SEEDS.map(lambda seed: Dice(seed).hook(REFUSABLE))
NEW_RULES = SEEDS.map(lambda seed: Dice(seed).rule(99))


def in_memory(world):
    """A world as a process holds it."""
    return snapshot(
        users=world.users,
        tokens=world.tokens,
        apps=world.apps,
        rules=world.rules,
        groups=[GroupRow(id_, f"group-{id_}") for id_ in GROUPS],
        issuers=world.issuers,
        links=world.links,
        revoked_before=only(world.revocations),
    )


def decided(hook, world):
    """What the code decides; the policy that connect brings is no matter of rules."""
    known = in_memory(world)
    call = HookCall.from_payload(hook.method, find(hook.method), json.dumps(hook.members).encode())
    opened = hook.session if call.method and call.method.identity != "credentials" else None
    return replace(decide(call, facts_about(call, known, opened)), hiding=Hiding(0))


def only(rows):
    """The one row, or None."""
    return next(iter(rows), None)


def app_of(hook, world):
    return only(app for app in world.apps if app.key == (hook.members["appKey"] or ""))


# The model: loops over all rows, nothing looked up, nothing compiled


HOLDER_OF_LINK = object()


class Problem(Exception):
    """The identity is not good; says the reason."""


def expected(hook, world):
    """What ought to be decided."""
    method, app = find(hook.method), app_of(hook, world)
    if method is None:
        return Decision(True, Reason.UNKNOWN_METHOD)
    if method.refusal != "effective":
        return Decision(True, Reason.NOT_REFUSABLE)
    if app and app.rest_started:
        return Decision(True, Reason.STARTED_BY_REST_API)
    if not app:
        return Decision(False, Reason.UNKNOWN_APP)
    try:
        user = expected_user(hook, world, method, app)
        by_link, user = user is HOLDER_OF_LINK, None if user is HOLDER_OF_LINK else user
    except Problem as problem:
        return Decision(False, problem.args[0])
    if user is not None and not user.active:
        return Decision(False, Reason.USER_INACTIVE)
    in_force = [rule for rule in world.rules if is_about(rule, user, action_of(hook), target_of(hook))]
    denies = tuple(sorted(rule.id for rule in in_force if rule.enforced and rule.effect == "deny"))
    allows = tuple(sorted(rule.id for rule in in_force if rule.enforced and rule.effect == "allow"))
    logged = tuple(sorted(rule.id for rule in in_force if not rule.enforced))
    if denies:
        return Decision(False, Reason.DENIED_BY_RULE, denies, logged)
    if by_link:
        return Decision(True, Reason.ALLOWED_BY_LINK, (), logged)
    if allows:
        return Decision(True, Reason.ALLOWED_BY_RULE, allows, logged)
    return Decision(False, Reason.NO_RULE, (), logged)


def expected_user(hook, world, method, app):
    """The user, None for a guest, or HOLDER_OF_LINK; raises Problem."""
    opened = hook.session
    if method.identity != "credentials":
        if opened is None or opened.app_key != app.key:
            raise Problem(Reason.UNKNOWN_SESSION)
        if opened.ended:
            raise Problem(Reason.SESSION_ENDED)
    if method.identity in ("credentials", "either"):
        token, login, password = offered(hook, app)
        origin = hook.members.get("origin", "") if method.identity == "credentials" else opened.origin
        if token is not None:
            if not isinstance(token, str):
                raise Problem(Reason.BAD_TOKEN)
            row = only(row for row in world.tokens if row.hash == hash_token(token))
            if row is None and token.startswith("link."):
                _, code, signature = (token + "..").split(".")[:3]
                return holder_of(code if signature.startswith("signed") else "", hook, world)
            if row is None and token.count(".") == 2:
                return bearer_of(token, hook, world)
            return user_of(row, hook, world, origin)
        if password is not None:
            if not isinstance(password, str) or not isinstance(login, str):
                raise Problem(Reason.BAD_TOKEN)
            user = only(user for user in world.users if user.username == login)
            if user is None or user.password != password:
                raise Problem(Reason.BAD_PASSWORD)
            return user
    if method.identity != "credentials":
        check_revoked(opened.opened_at, only(user for user in world.users if user.id == opened.user_id), world)
        if opened.entered_by == "link":
            return holder_of(opened.granted, hook, world)
        if opened.entered_by == "jwt":
            return user_granted(json.loads(opened.granted), hook, world)
    entered_by = opened.entered_by if method.identity != "credentials" else "guest"
    if entered_by == "guest" and app.guests:
        return None
    if entered_by == "password":
        user = only(user for user in world.users if user.id == opened.user_id)
        if user is None:
            raise Problem(Reason.USER_INACTIVE)
        return user
    if entered_by == "token":
        row = only(row for row in world.tokens if (row.id, row.user_id) == (opened.token_id, opened.user_id))
        return user_of(row, hook, world, opened.origin)
    raise Problem(Reason.NO_CREDENTIALS)


def offered(hook, app):
    """Token, login and password as the body has them."""
    custom = hook.members.get("custom") or {}
    token = custom.get(app.token_name)
    if token is None:
        token = hook.members.get("token")
    name = hook.members.get("name") or ""
    if token is None and hook.method == "playRTSP":
        found = re.search(rf"[?&]{app.token_name}=([^&]*)", name)
        token = found and found[1]
    return token, custom.get("login") or custom.get("username"), custom.get("password")


def check_revoked(issued_at, user, world):
    for before in (only(world.revocations), user.revoked_before if user else None):
        if before and (issued_at is None or issued_at < before):
            raise Problem(Reason.REVOKED)


def holder_of(code, hook, world):
    link = only(link for link in world.links if link.code == code)
    if link is None:
        raise Problem(Reason.BAD_TOKEN)
    if not link.active:
        raise Problem(Reason.REVOKED)
    check_revoked(link.issued_at, only(user for user in world.users if user.id == link.made_by_id), world)
    if link.ends_at <= NOW:
        raise Problem(Reason.EXPIRED_TOKEN)
    if action_of(hook) != "connect" and (action_of(hook), target_of(hook)) != (link.action, link.stream):
        raise Problem(Reason.TOKEN_NOT_FOR_THIS)
    return HOLDER_OF_LINK


def bearer_of(token, hook, world):
    if token not in SIGNED:
        raise Problem(Reason.TOKEN_MALFORMED)
    problem, said = SIGNED[token]
    if not any(issuer.active for issuer in world.issuers):
        raise Problem(Reason.UNKNOWN_ISSUER)
    if problem in (Reason.BAD_SIGNATURE, Reason.WRONG_AUDIENCE, Reason.TOKEN_MALFORMED):
        raise Problem(problem)
    issuer = only(world.issuers)
    grant = {"subject": said.get("sub", "alice"), "iat": said.get("iat", ISSUED_AT), "problem": problem}
    grant["groups"] = said.get("groups", []) if issuer.groups_claim else []
    if issuer.streams_claim:
        grant["streams"] = said.get("streams", [])
    if issuer.actions_claim:
        grant["actions"] = said.get("scope", "").split()
    return user_granted(grant, hook, world)


def user_granted(grant, hook, world):
    """The user that a signed token is about; `grant` is what it says, or what a session keeps of that."""
    issuer = only(issuer for issuer in world.issuers if issuer.active)
    if issuer is None:
        raise Problem(Reason.UNKNOWN_ISSUER)
    groups = tuple(id_ for id_ in GROUPS if f"group-{id_}" in grant.get("groups", ()))
    user = only(user for user in world.users if user.username == grant["subject"])
    if user is None and not issuer.accepts_unknown:
        raise Problem(Reason.UNKNOWN_SUBJECT)
    user = user or UserRow(0, grant["subject"])
    if grant.get("problem") or grant.get("expires_at", "9") <= NOW.isoformat():
        raise Problem(grant.get("problem") or Reason.EXPIRED_TOKEN)
    issued_at = grant["iat"] if "iat" in grant else grant.get("issued_at")
    check_revoked(PAST[1] if issued_at else None, user, world)
    action = action_of(hook)
    if "streams" in grant and action in ("publish", "play") and target_of(hook) not in grant["streams"]:
        raise Problem(Reason.TOKEN_NOT_FOR_THIS)
    if "actions" in grant and action not in ("connect", *grant["actions"]):
        raise Problem(Reason.TOKEN_NOT_FOR_THIS)
    return replace(user, group_ids=(*user.group_ids, *(id_ for id_ in groups if id_ not in user.group_ids)))


def user_of(token, hook, world, origin):
    user = only(user for user in world.users if token and user.id == token.user_id)
    if token is None or user is None:
        raise Problem(Reason.BAD_TOKEN)
    check_revoked(token.issued_at, user, world)
    if token.single_use and token.used_by not in (None, ("n", hook.members["sessionId"])):
        raise Problem(Reason.TOKEN_USED)
    if token.expires_at and token.expires_at <= NOW:
        raise Problem(Reason.EXPIRED_TOKEN)
    action = action_of(hook)
    network = (NETWORKS | {"/[::ffff:10.0.0.7]:5/n": "10.0.0.0/8"}).get(hook.members["sessionId"])
    if (
        (token.networks and network not in token.networks)
        or (token.origins and origin not in token.origins)
        or (token.streams and action in ("publish", "play") and target_of(hook) not in token.streams)
        or (token.actions and action != "connect" and action not in token.actions)
    ):
        raise Problem(Reason.TOKEN_NOT_FOR_THIS)
    return user


def action_of(hook):
    if hook.method == "StreamKeepAliveEvent":
        return "play" if hook.members.get("published") is False else "publish"
    return find(hook.method).action


def target_of(hook):
    member = {"connect": "appKey", "call": "callee"}.get(hook.method, "name")
    if member not in find(hook.method).target:
        return ""
    target = hook.members.get(member) or ""
    if hook.method == "playRTSP" and (found := re.fullmatch(r"rtsp://[^/]*/([^?]*).*", target)):
        return found[1]
    return target


def is_about(rule, user, action, target):
    """Whether the rule is in force for this user (None: a guest), action and target."""
    if user is None:
        who = rule.who == "guests"
    else:
        who = (
            rule.who == "everyone"
            or (rule.who == "user" and rule.user_id == user.id)
            or (rule.who == "group" and rule.group_id in user.group_ids)
        )
    begun = rule.starts_at is None or rule.starts_at <= NOW
    over = rule.ends_at is not None and rule.ends_at <= NOW
    return who and action in rule.actions and begun and not over and is_target(rule, target, user)


def is_target(rule, target, user):
    match rule.target_kind:
        case "any":
            return True
        case "exact" | "stream":
            return target == rule.target
        case "prefix":
            return target.startswith(rule.target)
    if "{user}" in rule.target and user is None:
        return False
    pieces = [
        ".*" if piece == "*" else re.escape(user.username if piece == "{user}" else piece)
        for piece in re.split(r"(\*|\{user\})", rule.target)
    ]
    return re.fullmatch("".join(pieces), target, re.DOTALL) is not None


def test_the_dice_draw_every_reason():
    drawn = {expected(Dice(seed).hook(EVERY_METHOD), Dice(-seed - 1).world()).reason for seed in range(3000)}
    not_here = {Reason.PROTECTED_NUMBER, Reason.HIDDEN_DIGITS, Reason.CONNECT_AGAIN}  # no numbers, nothing to change
    assert drawn == set(Reason) - not_here


@settings(max_examples=4000)
@given(HOOKS, WORLDS)
def test_deciding_agrees_with_the_model(hook, world):
    assert decided(hook, world) == expected(hook, world)


# Properties


@given(REFUSABLE_HOOKS, WORLDS)
def test_without_a_rule_nobody_is_allowed(hook, world):
    app = app_of(hook, world)
    decision = decided(hook, world._replace(rules=(), links=()))
    assert decision.allowed is bool(app and app.rest_started)


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, NEW_RULES)
def test_a_deny_beats_every_allow(hook, world, deny):
    deny = RuleRow(99, "deny", deny.who, ACTIONS, deny.user_id, deny.group_id, "any")
    before = decided(hook, world)
    after = decided(hook, world._replace(rules=(*world.rules, deny)))
    if 99 in after.rule_ids:
        assert not after.allowed
        assert after.reason is Reason.DENIED_BY_RULE
    else:
        assert after == before


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, st.integers(0, 2**32))
def test_the_order_of_rules_users_and_tokens_is_irrelevant(hook, world, seed):
    shuffled = World(*(tuple(Random(seed).sample(rows, len(rows))) for rows in world))
    assert decided(hook, shuffled) == decided(hook, world)


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, NEW_RULES)
def test_one_allow_more_takes_nothing_away_and_one_deny_more_gives_nothing(hook, world, row):
    more = decided(hook, world._replace(rules=(*world.rules, row)))
    before = decided(hook, world)
    if row.effect == "allow":
        assert more.allowed or not before.allowed
    else:
        assert before.allowed or not more.allowed


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, st.sampled_from(WRONG_CREDENTIALS))
def test_who_offers_a_wrong_credential_is_never_allowed(hook, world, wrong):
    assume(find(hook.method).identity != "session")
    members = {**hook.members, "custom": wrong, "token": None}
    if "password" in wrong:
        members["name"] = "lobby"  # no address with a token in it
    decision = decided(hook._replace(members=members), world)
    assert not decision.allowed or decision.reason is Reason.STARTED_BY_REST_API


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, st.sampled_from(WRONG_CREDENTIALS))
def test_a_wrong_credential_is_never_better_than_none(hook, world, wrong):
    nothing = {**hook.members, "token": None, "custom": None, "name": "lobby"}
    with_wrong = decided(hook._replace(members={**nothing, "custom": wrong}), world)
    without = decided(hook._replace(members=nothing), world)
    assert without.allowed or not with_wrong.allowed


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS)
def test_an_expired_token_is_worth_as_much_as_one_that_never_was(hook, world):
    expired = tuple(replace(row, expires_at=NOW) for row in world.tokens)
    with_expired, without = decided(hook, world._replace(tokens=expired)), decided(hook, world._replace(tokens=()))
    assert with_expired.allowed is without.allowed
    if with_expired != without:
        assert with_expired.reason in (Reason.EXPIRED_TOKEN, Reason.REVOKED, Reason.TOKEN_USED)
        assert without.reason is Reason.BAD_TOKEN


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS)
def test_nobody_who_is_switched_off_is_allowed(hook, world):
    off = tuple(replace(row, active=False) for row in world.users)
    decision = decided(hook, world._replace(users=off, issuers=ISSUERS[0]))
    if decision.allowed and decision.reason not in (Reason.STARTED_BY_REST_API, Reason.ALLOWED_BY_LINK):
        rows = {row.id: row for row in world.rules}
        assert {rows[id_].who for id_ in decision.rule_ids} == {"guests"}


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS)
def test_taking_a_token_an_app_or_a_group_away_allows_nothing_new(hook, world):
    before = decided(hook, world)
    assume(not before.allowed)
    assert not decided(hook, world._replace(tokens=world.tokens[1:])).allowed
    assert not decided(hook, world._replace(apps=())).allowed
    allows = tuple(row for row in world.rules if row.effect == "allow")
    if allows == world.rules:
        alone = tuple(replace(row, group_ids=()) for row in world.users)
        assert not decided(hook, world._replace(users=alone)).allowed


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, st.sampled_from(PAST))
def test_revoking_everything_allows_nothing_new(hook, world, before):
    decision = decided(hook, world)
    revoked = decided(hook, world._replace(revocations=(max(before, *world.revocations, PAST[0]),)))
    assert decision.allowed or not revoked.allowed


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS)
def test_taking_links_and_issuers_away_leaves_nobody_in_by_them(hook, world):
    decision = decided(hook, world._replace(links=(), issuers=()))
    assert decision.reason is not Reason.ALLOWED_BY_LINK
    assert decided(hook, world).allowed or not decision.allowed
