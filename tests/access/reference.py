"""What ought to be decided, written for clarity alone: loops over all rows, nothing looked up, nothing compiled.

It shares no code with what it checks but the rows, the table of methods and the hash of tokens. It counts what it saw,
so that a test can tell whether a random world has anything to say.
"""

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from apps.access.facts import Decision
from apps.access.reasons import Reason
from apps.access.rows import Rewrites, UserRow
from apps.accounts.hashing import hash_token
from apps.protocol.methods import find
from tests.access.dice import GROUPS, ISSUED_AT, PAST, SIGNED, Written
from tests.access.worlds import HOUR, NOW
from tests.protocol.number_oracle import slow_canonical

NUMBER_ACTIONS = ("call", "answer", "transfer", "message", "receive-call", "receive-message", "receive-transfer")
TARGETS = {  # for each action but those of streams: the member of the hook that names the target
    "connect": "appKey",
    "call": "callee",
    "answer": "caller",
    "transfer": "target",
    "message": "to",
    "receive-call": "caller",
    "receive-message": "from",
    "receive-transfer": "target",
}


HOLDER_OF_LINK = object()
"""In the place of a user: nobody's, but with a link."""


class Problem(Exception):
    """The identity is not good; says the reason."""


class CannotCompare(Exception):
    """A rule cannot be compared with a hook."""


def only(rows):
    """The one row, or None."""
    return next(iter(rows), None)


class Reference:
    """Decides in one world."""

    def __init__(self, world, seen=None):
        self.world = world
        self.seen = Counter() if seen is None else seen

    def decide(self, hook):
        """What ought to be decided on this hook."""
        decision = self._decide(hook)
        self.seen[decision.reason] += 1
        return decision

    def _decide(self, hook):
        method, app = find(hook.method), app_of(hook, self.world)
        if method is None:
            return Decision(True, Reason.UNKNOWN_METHOD)
        if method.refusal != "effective":
            return Decision(True, Reason.NOT_REFUSABLE)
        if app and app.rest_started:
            return Decision(True, Reason.STARTED_BY_REST_API)
        if not app:
            return Decision(False, Reason.UNKNOWN_APP)
        try:
            user = self.user(hook, method, app)
        except Problem as problem:
            return Decision(False, problem.args[0])
        by_link, user = user is HOLDER_OF_LINK, None if user is HOLDER_OF_LINK else user
        if user is not None and not user.active:
            return Decision(False, Reason.USER_INACTIVE)
        if action_of(hook) == "call" and self.is_protected(hook):
            return Decision(True, Reason.PROTECTED_NUMBER)
        return self.settled_by_rules(hook, user, by_link)

    def is_protected(self, hook):
        number_class = self.class_of(self.number(hook))
        return number_class is not None and number_class.protected and hook.written.at_home

    def settled_by_rules(self, hook, user, by_link):
        denies, allows, logged, failed = self.in_force(hook, user)
        self.saw("rules that fail", " and ".join(sorted({rule.effect for rule in failed})) or "none")
        self.saw("only logged", bool(logged))
        if denies:
            return Decision(False, Reason.DENIED_BY_RULE, ids(denies), ids(logged), ids(failed))
        if not allows and not by_link:
            return Decision(False, Reason.NO_RULE, (), ids(logged), ids(failed))
        rewrites = self.rewritten(allows)
        denies = self.denies_of_its_source(hook, user) or self.denies_of_what_is_dialled(hook, user, rewrites)
        if denies:
            return Decision(False, Reason.DENIED_BY_RULE, ids(denies), ids(logged), ids(failed))
        if by_link:
            return Decision(True, Reason.ALLOWED_BY_LINK, (), ids(logged), ids(failed), rewrites)
        return Decision(True, Reason.ALLOWED_BY_RULE, ids(allows), ids(logged), ids(failed), rewrites)

    def in_force(self, hook, user):
        denies, allows, logged, failed = [], [], [], []
        for rule in self.world.rules:
            as_a_call = action_of(hook) == "transfer" and rule.effect == "deny" and is_about(rule, user, "call")
            if not as_a_call and not is_about(rule, user, action_of(hook)):
                continue
            try:
                in_force = self.is_in_force(rule, hook, user)
            except CannotCompare:
                failed.append(rule)
                in_force = rule.effect == "deny"
            if in_force:
                self.seen[f"{rule.who}, {rule.target_kind}"] += 1
                (logged if not rule.enforced else denies if rule.effect == "deny" else allows).append(rule)
        return denies, allows, logged, failed

    def denies_of_its_source(self, hook, user):
        """Rules that deny what a stream of a public name really is."""
        for stream in self.streams(hook):
            if stream.name == target_of(hook) and stream.source:
                method = "playStream" if hook.method == "playRTSP" else hook.method  # which would read it as its own
                behind = hook._replace(method=method, members={**hook.members, "name": stream.source})
                denies, *_ = self.in_force(behind, user)
                self.saw("the source of a public name is denied", bool(denies))
                return denies
        return []

    def denies_of_what_is_dialled(self, hook, user, rewrites):
        """Rules that deny the number that another rule puts in the place of the one asked for."""
        callee = rewrites.callee if rewrites is not None else ""
        method = find(hook.method)
        if method.dials not in method.overwrite or callee in ("", hook.written.text):
            return []
        dialled = hook._replace(written=Written(callee, callee, callee))
        if action_of(hook) == "call" and self.is_protected(dialled):
            return []
        denies, *_ = self.in_force(dialled, user)
        self.saw("what is dialled instead is denied", bool(denies))
        return denies

    def saw(self, what, outcome):
        """Count it, and give it on."""
        self.seen[f"{what}: {outcome}"] += 1
        return outcome

    # Who

    def user(self, hook, method, app):
        """The user, None for a guest, or HOLDER_OF_LINK; raises Problem."""
        opened = hook.session
        if method.identity != "credentials":
            if opened is None or opened.app_key != app.key:
                raise Problem(Reason.UNKNOWN_SESSION)
            if opened.ended:
                raise Problem(Reason.SESSION_ENDED)
        if method.identity in ("credentials", "either"):
            token, login, password = offered(hook, app)
            if token is not None:
                if not isinstance(token, str):
                    raise Problem(Reason.BAD_TOKEN)
                row = only(row for row in self.world.tokens if row.hash == hash_token(token))
                if row is None and token.startswith("link."):
                    self.saw("entered by", "link of the hook")
                    _, code, signature = (token + "..").split(".")[:3]
                    return self.holder_of(code if signature.startswith("signed") else "", hook)
                if row is None and token.count(".") == 2:
                    self.saw("entered by", "signed token of the hook")
                    return self.bearer_of(token, hook)
                self.saw("entered by", "token of the hook")
                return self.user_of(row, hook)
            if password is not None:
                if not isinstance(password, str) or not isinstance(login, str):
                    raise Problem(Reason.BAD_TOKEN)
                user = only(user for user in self.world.users if user.username == login)
                if user is None or user.password != password:
                    raise Problem(Reason.BAD_PASSWORD)
                self.saw("entered by", "password of the hook")
                return user
        if method.identity != "credentials":
            self.check_revoked(opened.opened_at, only(user for user in self.world.users if user.id == opened.user_id))
        entered_by = self.saw("entered by", opened.entered_by if method.identity != "credentials" else "guest")
        if entered_by == "guest" and app.guests:
            return None
        if entered_by == "link":
            return self.holder_of(opened.granted, hook)
        if entered_by == "jwt":
            said = json.loads(opened.granted)
            return self.user_granted({**said, "expires_at": datetime.fromisoformat(said["expires_at"])}, hook)
        if entered_by == "password":
            user = only(user for user in self.world.users if user.id == opened.user_id)
            if user is None:
                raise Problem(Reason.USER_INACTIVE)
            return user
        if entered_by == "token":
            ours = (opened.token_id, opened.user_id)
            return self.user_of(only(row for row in self.world.tokens if (row.id, row.user_id) == ours), hook)
        raise Problem(Reason.NO_CREDENTIALS)

    def user_of(self, token, hook):
        user = only(user for user in self.world.users if token and user.id == token.user_id)
        if token is None or user is None:
            raise Problem(Reason.BAD_TOKEN)
        self.check_revoked(token.issued_at, user)
        if token.single_use and token.used_by not in (None, (hook.members["nodeId"], hook.members["sessionId"])):
            raise Problem(Reason.TOKEN_USED)
        if token.expires_at and token.expires_at <= hook.now:
            raise Problem(Reason.EXPIRED_TOKEN)
        action = action_of(hook)
        if (
            (token.networks and not any(is_within(address_of(hook), network) for network in token.networks))
            or (token.origins and origin_of(hook) not in token.origins)
            or (token.streams and action in ("publish", "play") and not {*self.names(hook)} & {*token.streams})
            or (token.actions and action != "connect" and action not in token.actions)
            or (token.single_use and hook.method in ("playHLS", "playRTSP") and not address_of(hook))
        ):
            raise Problem(Reason.TOKEN_NOT_FOR_THIS)
        return user

    def check_revoked(self, issued_at, user):
        moments = [*(row.before for row in self.world.revocations), user.revoked_before if user else None]
        if any(before and (issued_at is None or issued_at < before) for before in moments):
            raise Problem(Reason.REVOKED)

    def holder_of(self, code, hook):
        link = only(link for link in self.world.links if link.code == code)
        if link is None:
            raise Problem(Reason.BAD_TOKEN)
        if not link.active:
            raise Problem(Reason.REVOKED)
        self.check_revoked(link.issued_at, only(user for user in self.world.users if user.id == link.made_by_id))
        if link.ends_at <= hook.now:
            raise Problem(Reason.EXPIRED_TOKEN)
        is_for_this = action_of(hook) == link.action and link.stream in self.names(hook)
        if action_of(hook) != "connect" and not is_for_this:
            raise Problem(Reason.TOKEN_NOT_FOR_THIS)
        return HOLDER_OF_LINK

    def bearer_of(self, token, hook):
        if token not in SIGNED:
            raise Problem(Reason.TOKEN_MALFORMED)
        problem, said = SIGNED[token]
        issuer = only(issuer for issuer in self.world.issuers if issuer.active)
        if issuer is None:
            raise Problem(Reason.UNKNOWN_ISSUER)
        if problem in (Reason.BAD_SIGNATURE, Reason.WRONG_AUDIENCE, Reason.TOKEN_MALFORMED):
            raise Problem(problem)
        grant = {"subject": said.get("sub", "alice"), "issued_at": said.get("iat", ISSUED_AT), "problem": problem}
        grant["expires_at"] = datetime.fromtimestamp(said["exp"], UTC) if "exp" in said else NOW + HOUR
        grant["groups"] = said.get("groups", []) if issuer.groups_claim else []
        if issuer.streams_claim:
            grant["streams"] = said.get("streams", [])
        if issuer.actions_claim:
            grant["actions"] = said.get("scope", "").split()
        return self.user_granted(grant, hook)

    def user_granted(self, grant, hook):
        """The user that a signed token is about; `grant` is what it says, or what a session keeps of that."""
        issuer = only(issuer for issuer in self.world.issuers if issuer.active)
        if issuer is None:
            raise Problem(Reason.UNKNOWN_ISSUER)
        user = only(user for user in self.world.users if user.username == grant["subject"])
        if user is None and not issuer.accepts_unknown:
            raise Problem(Reason.UNKNOWN_SUBJECT)
        user = user or UserRow(0, grant["subject"])
        if grant["expires_at"] <= hook.now:
            raise Problem(Reason.EXPIRED_TOKEN)
        if grant.get("problem"):
            raise Problem(grant["problem"])
        self.check_revoked(PAST[1] if grant.get("issued_at") else None, user)
        action = action_of(hook)
        if "streams" in grant and action in ("publish", "play") and not {*self.names(hook)} & {*grant["streams"]}:
            raise Problem(Reason.TOKEN_NOT_FOR_THIS)
        if "actions" in grant and action not in ("connect", *grant["actions"]):
            raise Problem(Reason.TOKEN_NOT_FOR_THIS)
        named = tuple(id_ for id_ in GROUPS if f"group-{id_}" in grant.get("groups", ()))
        return replace(user, group_ids=(*user.group_ids, *(id_ for id_ in named if id_ not in user.group_ids)))

    # What

    def is_in_force(self, rule, hook, user):
        """Whether it applies to what is asked, at this moment, under these circumstances."""
        if rule.starts_at is not None and self.saw("begins later", rule.starts_at > hook.now):
            return False
        if rule.ends_at is not None and self.saw("has ended", rule.ends_at <= hook.now):
            return False
        if not self.saw(f"target {rule.target_kind}", self.is_target(rule, hook, user)):
            return False
        return rule.conditions is None or self.all_hold(rule.conditions, hook)

    def is_target(self, rule, hook, user):
        names = self.names(hook)
        match rule.target_kind:
            case "any":
                return True
            case "exact" | "stream":
                return any(name == rule.target for name in names)
            case "prefix":
                return any(name[: len(rule.target)] == rule.target for name in names)
            case "glob":
                return any(fits(rule.target, name, user) for name in names)
            case "stream-group":
                return any(rule.target_id in stream.group_ids for stream in self.streams(hook))
            case "number-class":
                number_class = self.class_of(self.number(hook))
                return number_class is not None and number_class.id == rule.target_id
            case "number-prefix":
                if rule.target == "":
                    raise CannotCompare
                return self.number(hook)[: len(rule.target)] == rule.target
        raise CannotCompare

    def names(self, hook):
        """Every text by which a rule may call the target."""
        target = target_of(hook)
        if action_of(hook) in ("publish", "play"):
            return [target, *(stream.name for stream in self.streams(hook) if stream.source == target)]
        if action_of(hook) in NUMBER_ACTIONS:
            return [name for name in self.spellings(hook) if name] or [""]
        return [target]

    def streams(self, hook):
        """The streams that are meant: the one of this name, and those that play from a source of this name."""
        if action_of(hook) not in ("publish", "play"):
            return []
        target = target_of(hook)
        return [stream for stream in self.world.streams if target in (stream.name, stream.source or None)]

    def spellings(self, hook):
        """The number as it came, as it is dialled, in its one form, and as it is dialled here."""
        plan, number = self.world.plan, self.number(hook)
        dialled_here = []
        if number.startswith("+"):
            dialled_here.append(plan.international + number[1:])
        if plan.country and number.startswith("+" + plan.country):
            dialled_here.append(plan.national + number.removeprefix("+" + plan.country))
        return [hook.written.text, hook.written.user, number, *(d for d in dialled_here if self.canonical(d) == number)]

    def number(self, hook):
        """The number in its one form, "" where there is none."""
        is_number = action_of(hook) in NUMBER_ACTIONS and hook.written.dialled
        return self.canonical(hook.written.dialled) if is_number else ""

    def canonical(self, dialled):
        return slow_canonical(dialled, self.world.plan.country)

    def class_of(self, number):
        """The class of a number: one that names it whole, else the longest beginning, else a short one."""
        if not number:
            return None
        classes = sorted(self.world.number_classes, key=lambda row: (not row.protected, row.id))
        for row in classes:
            if row.whole and number in [self.canonical(text) for text in row.prefixes]:
                return self.seen_class("whole", row)
        for length in range(len(number), 0, -1):
            for row in classes:
                if not row.whole and number[:length] in [self.beginning(text) for text in row.prefixes]:
                    return self.seen_class("beginning", row)
        short = only(row for row in classes if not number.startswith("+") and len(number) <= row.short)
        return self.seen_class("short", short) if short else None

    def seen_class(self, how, row):
        self.seen[f"number class by {how}"] += 1
        return row

    def beginning(self, text):
        """How numbers begin, in the one form."""
        country = f"+{self.world.plan.country}" if self.world.plan.country else ""
        if "{country}" in text:
            return country
        if text in ("+", "00"):
            return "+"
        return country if text == "0" and country else self.canonical(text)

    # Under which circumstances

    def all_hold(self, conditions, hook):
        """Whether all that are given hold; the first that does not settles it, so nothing after it can fail."""
        asked = [
            ("schedule", conditions.schedule, lambda: is_open(conditions.schedule, hook.now)),
            ("networks", conditions.networks, lambda: self.is_in(conditions.networks, hook)),
            ("origins", conditions.origins, lambda: self.is_on(conditions.origins, hook)),
            ("media", conditions.media_providers, lambda: bool(media(hook) & {*conditions.media_providers})),
            ("apps", conditions.apps, lambda: hook.members["appKey"] in conditions.apps),
            ("nodes", conditions.nodes, lambda: hook.members["nodeId"] in conditions.nodes),
            ("custom", conditions.custom, lambda: self.says(conditions.custom, hook)),
        ]
        return all(self.saw(name, holds()) for name, wanted, holds in asked if wanted)

    def is_in(self, networks, hook):
        if "no network" in networks:
            raise CannotCompare
        return any(is_within(address_of(hook), network) for network in networks)

    def is_on(self, origins, hook):
        return any(is_page(wanted, origin_of(hook)) for wanted in origins)

    def says(self, comparisons, hook):
        custom = hook.members["custom"]
        if custom is not None and not isinstance(custom, dict):
            raise CannotCompare
        return all(self.saw(f"custom {one.operator}", compare(one, custom or {})) for one in comparisons)

    # What is changed

    def rewritten(self, allows):
        """What these rules change together."""
        oldest_first = sorted(allows, key=lambda rule: rule.id)
        changes = [rule.rewrites for rule in oldest_first if rule.rewrites is not None]
        if not changes:
            return None
        records = [one.record for one in changes]
        caps = {}
        for name in ("max_width", "max_height", "max_bitrate"):
            given = [getattr(one, name) for one in changes if getattr(one, name) is not None]
            caps[name] = min(given) if given else None
        record = self.saw("record", "off" if "off" in records else "on" if "on" in records else "")
        return Rewrites(record=record, callee=([one.callee for one in changes if one.callee] or [""])[0], **caps)


def ids(rules):
    return tuple(sorted(rule.id for rule in rules))


def app_of(hook, world):
    return only(app for app in world.apps if app.key == (hook.members["appKey"] or ""))


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


def action_of(hook):
    if hook.method == "StreamKeepAliveEvent":
        return "play" if hook.members.get("published") is False else "publish"
    return find(hook.method).action


def target_of(hook):
    member = TARGETS.get(action_of(hook), "name")
    if member not in find(hook.method).target:
        return ""
    target = hook.members.get(member) or ""
    if hook.method == "playRTSP" and (found := re.fullmatch(r"rtsp://[^/]*/([^?]*).*", target)):
        return found[1]
    return target


def is_about(rule, user, action):
    """Whether the rule is about this user (None: a guest) and action."""
    if user is None:
        who = rule.who == "guests"
    else:
        who = (
            rule.who == "everyone"
            or (rule.who == "user" and rule.user_id == user.id)
            or (rule.who == "group" and rule.group_id in user.group_ids)
        )
    return who and action in rule.actions


def fits(pattern, text, user):
    """Whether a pattern fits, by a regular expression."""
    if "{user}" in pattern and user is None:
        return False
    pieces = [
        ".*" if piece == "*" else re.escape(user.username if piece == "{user}" else piece)
        for piece in re.split(r"(\*|\{user\})", pattern)
    ]
    return re.fullmatch("".join(pieces), text, re.DOTALL) is not None


def is_open(schedule, now):
    """Whether one of the windows is open: it began today or yesterday, on a day that is no holiday."""
    if schedule.time_zone == "Nowhere/Never":
        raise CannotCompare
    local = now.astimezone(ZoneInfo(schedule.time_zone))
    today, minute = local.date(), local.hour * 60 + local.minute
    if today in schedule.holidays:
        return False
    for window in schedule.windows:
        length = (window.ends - window.starts) % (24 * 60) or 24 * 60
        for days_ago in (0, 1):
            began_on = today - timedelta(days=days_ago)
            since = minute + days_ago * 24 * 60 - window.starts
            if began_on.weekday() in window.days and began_on not in schedule.holidays and 0 <= since < length:
                return True
    return False


def address_of(hook):
    """The client's address, "" where the session's id does not tell it."""
    found = re.match(r"/\[?(.*?)\]?:64604/", hook.members["sessionId"])
    return found[1] if found else ""


def is_within(address, network):
    """Whether the bits of an address begin with those of the network."""
    base, _, length = network.partition("/")
    if not address or not length:
        return False
    ours, theirs, length = bits(address), bits(base), int(length)
    if "::ffff:" in base:
        length -= 96
    return len(ours) == len(theirs) and ours[:length] == theirs[:length]


def bits(address):
    """An address as zeros and ones; one of IPv4 is the same in the clothes of IPv6."""
    parsed = ip_address(address.partition("%")[0].removeprefix("::ffff:"))
    return f"{int(parsed):0{parsed.max_prefixlen}b}"


def origin_of(hook):
    """The page: that of the session, where the method has one."""
    has_session = find(hook.method).identity != "credentials"
    return hook.session.origin if has_session else hook.members["origin"]


def is_page(wanted, origin):
    if wanted.startswith("*."):
        return re.fullmatch(rf"https?://[^:/]+{re.escape(wanted[1:])}(:\d+)?", origin) is not None
    return wanted == origin


def media(hook):
    """What the stream or call uses, or the client could."""
    one, several = hook.members["mediaProvider"], hook.members["mediaProviders"]
    if one:
        return {one}
    if several is None:
        return set()
    if not isinstance(several, list) or not all(isinstance(text, str) for text in several):
        raise CannotCompare
    return {*several}


def compare(comparison, custom):
    if comparison.operator == "":
        raise CannotCompare
    said = custom
    for name in comparison.name.split("."):
        said = said.get(name) if isinstance(said, dict) else None
    if said is None or isinstance(said, dict | list):
        return False
    said = {True: "true", False: "false"}[said] if isinstance(said, bool) else str(said)
    wanted = comparison.values
    ours, theirs = number(said), number(wanted[0])
    match comparison.operator:
        case "=" | "in":
            return said in wanted or (ours is not None and ours in [number(value) for value in wanted])
        case "begins with":
            return said.startswith(wanted[0])
        case ">":
            return ours is not None and ours > theirs
        case "<":
            return ours is not None and ours < theirs
        case ">=":
            return ours is not None and ours >= theirs
        case "<=":
            return ours is not None and ours <= theirs
    raise AssertionError(comparison)


def number(text):
    return Decimal(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None
