"""Random worlds and hooks for deciding, over the whole rule language. The same seed draws the same."""

from collections import namedtuple
from datetime import UTC, date, datetime, timedelta
from random import Random

from apps.access.comparisons import parse_comparison, unreadable
from apps.access.compile import Rows
from apps.access.facts import Identity
from apps.access.other_ways_in import granted
from apps.access.reasons import Reason
from apps.access.rows import (
    AppRow,
    Conditions,
    GroupRow,
    LinkRow,
    RevocationRow,
    Rewrites,
    RuleRow,
    StreamRow,
    TokenRow,
    UserRow,
)
from apps.access.schedules import Schedule, parse_window
from apps.access.web_tokens import verify
from apps.accounts.hashing import hash_token
from apps.protocol.methods import METHODS
from apps.protocol.numbers import NumberClassRow, NumberPlan
from tests.access.signed import claims_of, issuer, sign, web_token
from tests.access.worlds import COMMON, DAY, NOW, session

World = namedtuple("World", "users groups tokens apps streams number_classes issuers links revocations rules plan")
Hook = namedtuple("Hook", "method members session now written")  # as it comes in, with the session found for it
Written = namedtuple("Written", "text user dialled at_home", defaults=(True,))
"""What stands for a number: the whole text, what of it is dialled, its digits and signs ("" where it has none), and
whether it is plainly called in the own telephone system.
"""

USERNAMES = ("alice", "bob", "*", "{user}", "a*b")
STREAMS = ("lobby", "lobby-1", "", "alice", "a*b", *(f"{name}-cam" for name in USERNAMES))
ASKED = ("lobby",) * 4 + ("lobby-1", "alice-cam") * 2 + STREAMS
SOURCES = ("rtsp://n/lobby-1", "rtsp://cam/1", "rtsp://cam/2")
PATTERNS = ("*", "lobby*", "*-cam", "{user}-*", "*{user}*", "l*b*y", "{user}", "rtsp:*")
MOMENTS = (None,) * 25 + tuple(NOW + timedelta(hours=hours) for hours in (-2, -1, 0, 1, 2))
USER_IDS = GROUPS = STREAM_GROUPS = (1, 2, 3)
CLASS_IDS = (1, 2, 3, 4, 5, 6)
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
ADDRESSES = ("192.168.1.38", "10.0.0.7", "::ffff:10.0.0.7", "2001:db8::7", "fe80::1%2", "")
NETWORKS = ("192.168.0.0/16", "10.0.0.0/8", "10.0.0.7/32", "::ffff:10.0.0.0/104", "2001:db8::/32", "0.0.0.0/0", "::/0")
NETWORKS = (*NETWORKS, "10.0.0.8/29", "no network")
ORIGINS = ("https://a.example", "https://www.a.example:8443", "http://x.y.a.example", "https://ba.example")
WANTED_ORIGINS = ("https://a.example", "*.a.example", "https://ba.example", "*.example")
MEDIA = ("WebRTC", "MSE", "RTSP", "Flash")
NODES = ("n", "edge")
ACTIONS = ("connect", "publish", "play", "call", "answer", "transfer", "message", "receive-call", "receive-message")
ACTIONS = (*ACTIONS, "receive-transfer", "hold")
COMPARISONS = ("role = teacher", "role in pupil|tutor", "device.kind begins with cam-", "age >= 18", "age < 18.5")
COMPARISONS = (*map(parse_comparison, (*COMPARISONS, "age = 18", "age > 18", "age <= 17.5", "on = true")),)
SAID = {
    "role": ("teacher", "teacher", "pupil", "Teacher", ["teacher"], None),
    "age": (18, 18.0, "18", 21, 30, 40, 17, 17.5, "17", "old", True),
    "device": ({"kind": "cam-7"}, {"kind": "cam-"}, {"kind": "phone"}, "cam-7", {}),
    "on": (True, False, "true", 1),
}
WINDOWS = ("Sun 10:00-14:00", "daily 22:00-06:00", "Mon-Fri 08:00-18:00", "Sat-Sun 23:00-02:30", "Sun 00:00-24:00")
WINDOWS = (*map(parse_window, (*WINDOWS, "Sat 13:00-13:00", "Mon 12:00-13:00")),)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Nowhere/Never")
HOLIDAYS = (date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 2))
NOWS = (NOW,) * 6 + (datetime(2026, 3, 1, 22, 30, tzinfo=UTC), datetime(2026, 3, 1, 1, 15, tzinfo=UTC))
NOWS = (*NOWS, NOW - timedelta(hours=1), NOW + timedelta(hours=1), NOW + timedelta(days=1))
PLANS = (NumberPlan("49"), NumberPlan("39"), NumberPlan())
NUMBERS = ("112", "110", "100", "10007", "0900123456", "+49900123456", "0049900123456", "030123", "+4930123")
NUMBERS = (*NUMBERS, "+390123456", "+1900555", "0", "+", "00")
NUMBER_TEXTS = (*NUMBERS, "0900", "+49900", "00499", "+49", "112", "support")
NUMBER_PREFIXES = ("+49900", "+49900", "+49900", "+4930", "+49", "+", "11", "10", "+390", "0", "")
CLASS_PREFIXES = ("0900", "+49900", "{country}", "+", "00", "0", "+1", "11", "+4930", "100")
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
STREAM_METHODS = ("publishStream", "playStream", "playHLS", "playRTSP", "StreamKeepAliveEvent")
NUMBER_METHODS = ("call", "answer", "transfer", "sendMessage", "OnCallEvent", "OnMessageEvent", "OnTransferEvent")
USUAL_METHODS = ("connect", *STREAM_METHODS * 2, "call", "call", *NUMBER_METHODS)
EVERY_METHOD = (*(method.name for method in METHODS), "futureMethod")
REFUSABLE = tuple(method.name for method in METHODS if method.refusable)


class Dice(Random):
    """Draws worlds and hooks. Far faster than drawing each piece with a strategy, so far more of them are tried."""

    def some(self, choices):
        """A few of these; often none."""
        return tuple(self.sample(choices, self.choice((0, 0, 1, 2))))

    def seldom(self, choices):
        """A few of these; mostly none."""
        return self.some(choices) if self.random() < 0.3 else ()

    def world(self):
        names = self.sample(USERNAMES, self.choice((1, 3, 3, 3, 3)))
        streams = self.sample(STREAMS, self.randint(0, 6))
        return World(
            users=tuple(self.user(id_, name) for id_, name in zip(USER_IDS, names, strict=False)),
            tokens=tuple(self.token(text) for text in self.sample(TOKENS, self.choice((0, 4, 4, 4, 4)))),
            apps=self.choice((*APPS[:5], *APPS[2:4] * 2)) if self.random() < 0.95 else self.choice(APPS),
            groups=tuple(GroupRow(id_, f"group-{id_}") for id_ in GROUPS),
            issuers=self.choice(ISSUERS[:4]) if self.random() < 0.8 else self.choice(ISSUERS),
            links=tuple(self.link(code) for code in self.sample(LINKS, self.choice((1, 2, 2)))),
            revocations=(RevocationRow(1, self.choice(PAST)),) if self.random() < 0.05 else (),
            streams=tuple(self.stream(id_, name) for id_, name in enumerate(streams, 1)),
            number_classes=tuple(self.number_class(id_) for id_ in self.sample(CLASS_IDS, self.randint(0, 6))),
            rules=tuple(self.rule(id_) for id_ in self.sample(range(1, 50), self.choice((0, 4, 12, 25, 40)))),
            plan=self.choice((PLANS[0], *PLANS)),
        )

    def user(self, id_, name):
        groups = tuple(self.sample(GROUPS, self.choice((0, 1, 2, 2))))
        return UserRow(id_, name, self.random() < 0.9, "pw", groups, self.choice((None,) * 20 + PAST))

    def stream(self, id_, name):
        return StreamRow(id_, name, self.choice(("", *SOURCES)), self.some(STREAM_GROUPS))

    def number_class(self, id_):
        whole = self.random() < 0.3
        texts = NUMBERS[:-2] if whole else CLASS_PREFIXES
        protected = self.random() < 0.15
        return NumberClassRow(id_, f"class {id_}", self.some(texts), whole, protected, self.choice((0, 0, 0, 3, 5)))

    def token(self, text):
        limited = self.random() < 0.3
        return TokenRow(
            id=TOKENS.index(text) + 10,
            user_id=max(1, TOKENS.index(text)) if self.random() < 0.9 else self.choice(USER_IDS),
            hash=hash_token(text),
            expires_at=self.choice(MOMENTS),
            networks=self.some(NETWORKS) if limited else (),
            origins=self.some(ORIGINS) if limited else (),
            streams=self.some(STREAMS) if limited else (),
            actions=self.some(ACTIONS[:4]) if limited else (),
            issued_at=self.choice(PAST),
            single_use=self.random() < 0.3,
            used_by=self.choice((None, None, ("n", self.session_id()))),
        )

    def session_id(self):
        address = self.choice(ADDRESSES)
        peer = f"[{address}]" if ":" in address else address
        return f"/{peer}:64604/n" if address else "uuid"

    def link(self, code):
        return LinkRow(
            id=LINKS.index(code) + 1,
            code=code,
            stream=self.choice(ASKED),
            action=self.choice(("play", "play", "publish")),
            ends_at=self.choice((NOW + 2 * DAY, NOW + 2 * DAY, NOW)),
            active=self.random() < 0.9,
            issued_at=self.choice(PAST),
            made_by_id=self.choice((*USER_IDS, None)),
            signatures=("signed", "signed-before"),
        )

    def rule(self, id_):
        who = self.choice(("everyone", "everyone", "guests", "user", "user", "group", "group"))
        kind, target, target_id = self.target()
        return RuleRow(
            id=id_,
            effect=self.choice(("allow", "allow", "deny")),
            who=who,
            actions=tuple(self.sample(ACTIONS, self.randint(3, 7))),
            user_id=self.choice(USER_IDS) if who == "user" else None,
            group_id=self.choice(GROUPS) if who == "group" else None,
            target_kind=kind,
            target=target,
            target_id=target_id,
            starts_at=self.choice(MOMENTS),
            ends_at=self.choice(MOMENTS),
            enforced=self.random() < 0.8,
            conditions=self.conditions() if self.random() < 0.5 else None,
            rewrites=self.rewrites() if self.random() < 0.5 else None,
        )

    def target(self):
        """A kind of target, its text and its id."""
        kind = self.choice(
            ("any", "any", "any", "text", "text", "text", "text", "text", *("stream-group", "class", "number") * 2)
        )
        match kind:
            case "text":
                texts = NUMBER_TEXTS if self.random() < 0.3 else (*ASKED, *SOURCES)
                kind = self.choice(("exact", "prefix", "stream", "stream", "glob"))
                return kind, self.choice(PATTERNS if kind == "glob" and self.random() < 0.8 else texts), None
            case "stream-group":
                return "stream-group", "", self.choice(STREAM_GROUPS)
            case "class":
                return "number-class", "", self.choice(CLASS_IDS)
            case "number":
                return "number-prefix", self.choice(NUMBER_PREFIXES), None
        return ("unheard-of" if self.random() < 0.08 else "any"), "", None

    def conditions(self):
        schedules = (None, None, None, None, self.schedule())
        broken = (unreadable("a window"),) if self.random() < 0.1 else ()
        return Conditions(
            schedule=self.choice(schedules),
            networks=self.seldom(NETWORKS),
            origins=self.seldom(WANTED_ORIGINS),
            media_providers=self.seldom(MEDIA),
            apps=self.seldom((APP, OTHER_APP)),
            nodes=self.seldom(NODES),
            custom=broken + (tuple(self.sample(COMPARISONS, self.choice((1, 1, 2)))) if self.random() < 0.6 else ()),
        )

    def schedule(self):
        zone = self.choice(ZONES[:3]) if self.random() < 0.95 else ZONES[3]
        return Schedule(zone, tuple(self.sample(WINDOWS, self.choice((0, 1, 2, 3)))), self.seldom(HOLIDAYS))

    def rewrites(self):
        sizes = (None, None, 320, 640, 1280)
        return Rewrites(
            record=self.choice(("", "", "on", "off")),
            max_width=self.choice(sizes),
            max_height=self.choice(sizes),
            max_bitrate=self.choice(sizes),
            callee=self.choice(("", "100", "0900123456", "0900123456")),
        )

    def hook(self, methods):
        written = self.written()
        members = {
            "nodeId": self.choice((*NODES[:1] * 5, *NODES)),
            "sessionId": self.session_id(),
            "appKey": self.choice((APP,) * 80 + (OTHER_APP, "nowhere", None)),
            "name": self.choice((*ASKED, *SOURCES, None, "rtsp://n:5554/lobby?token=t1&key=t2", "rtsp://n/lobby-1")),
            **dict.fromkeys(("callee", "caller", "target", "to", "from"), written.text),
            "published": self.choice((True, False, None)),
            "origin": self.choice(("", *ORIGINS)),
            "mediaProvider": self.choice((None, *MEDIA)),
            "mediaProviders": self.choice((None, [], list(MEDIA[:2]), "MSE", [5])),
            "token": self.choice((None,) * 40 + ("t1", "wrong", 5)),
        }
        method = self.choice(USUAL_METHODS if self.random() < 0.85 else methods)
        members["custom"] = self.custom(method)
        return Hook(method, members, self.session(), self.choice(NOWS), written)

    def written(self):
        """A number in one of the ways people write it, or a name, or nothing."""
        if self.random() < 0.1:
            return Written(*self.choice((("support", "support", ""), ("sip:support@pbx", "support", ""), ("", "", ""))))
        dialled = self.choice(NUMBERS[:-3])
        user = "".join(sign + self.choice(("", "", "", " ", "-", ".")) for sign in dialled[:-1]) + dialled[-1]
        forms = ("{}", "{}", "sip:{}@pbx.example", "tel:{}", '"Bob" <sip:{}@10.0.0.7;transport=udp>', "SIP: {}@h;x=5")
        form = self.choice(forms)
        return Written(form.format(user), user, dialled, "@" not in form)

    def custom(self, method):
        said = {name: self.choice(values) for name, values in SAID.items() if self.random() < 0.8}
        if method in NUMBER_METHODS and self.random() < 0.04:
            return self.choice(([1], "text", 5))  # where no credential is looked for, nothing reads it but rules
        match self.choice(
            ("nothing",) * 12 + ("token",) * 4 + ("password",) * 3 + ("anything", "signed", "link", "link")
        ):
            case "nothing":
                return self.choice((None, {}, said, said, said, said))
            case "token":
                return {self.choice(("token", "token", "key")): self.choice(TOKENS), **said}
            case "signed":
                return {self.choice(("token", "token", "key")): self.choice(tuple(SIGNED)), **said}
            case "link":
                return {self.choice(("token", "token", "key")): self.choice(LINK_TOKENS), **said}
            case "password":
                return {self.choice(("login", "username")): self.choice(USERNAMES), "password": "pw", **said}
        values = (None, True, 5, "", "wrong", "pw", "t1", *USERNAMES)
        names = self.sample(("token", "key", "password", "login", "username"), 3)
        return {name: self.choice(values) for name in names}

    def session(self):
        if self.random() < 0.03:
            return None
        id_ = self.choice(USER_IDS)
        ways = ("token",) * 5 + ("password",) * 5 + ("guest",) * 4 + ("rest", "jwt", "link")
        entered_by = self.choice(ways)
        return session(
            granted=self.granted(entered_by),
            opened_at=self.choice((*PAST, NOW, NOW, NOW)),
            user_id=id_ if self.random() < 0.97 else None,
            entered_by=entered_by,
            token_id=self.choice((id_ + 10,) * 8 + (10, None)),
            app_key=self.choice((APP,) * 25 + (OTHER_APP,)),
            origin=self.choice(("", *ORIGINS)),
            ended=self.random() < 0.03,
        )

    def granted(self, entered_by):
        """What a session keeps that was opened so."""
        if entered_by == "link":
            return self.choice((*LINKS, *LINKS, "other"))
        if entered_by == "jwt":
            good = [text for text, (problem, _) in SIGNED.items() if problem in (None, Reason.EXPIRED_TOKEN)]
            rows = Rows(lambda row: row.issuer)
            rows.replace((), [issuer(groups_claim="groups", streams_claim="streams", actions_claim="scope")])
            return granted(Identity(grant=verify(self.choice(good), rows)[1]))
        return ""
