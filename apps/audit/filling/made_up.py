"""A past that never was, to try the record out on: hooks as they might have come in a year. Pure; `filling` writes it.

What people do is skewed as it is in life: some are busy, most are not, some streams are seen by all. Everything of a
day follows from the seed, the day and how many events it has, so that days can be made apart from each other. For that,
everybody has left by midnight.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from operator import itemgetter
from random import Random
from typing import Any
from uuid import UUID

from apps.access.reasons import NOTED, STAFF_ACTION, Reason
from apps.audit.ids import EPOCH

Made = dict[str, Any]
"""Columns of an event, or of a lease, with their values."""

USERS, STREAMS, NUMBERS, NETWORKS = 10_000, 2_000, 20_000, 50
NODES = tuple(f"edge-{number}@10.0.0.{number}" for number in range(1, 11))
APPS = ("defaultApp", "schoolApp", "clinicApp", "radioApp", "telephoneApp")
PREFIXES = tuple(f"+{country}{area}" for country in ("49", "33", "44", "1", "39") for area in range(201, 211))
RULES = tuple(
    f"{effect} group “{group}” to {what} any {thing} that begins with “{kind}-”"
    for effect, what, thing in (("Allow", "publish", "stream"), ("Allow", "play", "stream"), ("Deny", "play", "stream"))
    for group in ("teachers", "pupils", "doctors", "patients", "hosts")
    for kind in ("lobby", "lesson", "room", "ward")
)
KINDS = ("lobby", "lesson", "room", "ward", "studio", "gate", "hall", "yard")
FIRST_NAMES = (
    *("anna", "ben", "carla", "david", "emma", "finn", "greta", "hugo", "ida", "jonas", "klara", "leo", "mia", "noah"),
    *("olga", "paul", "rosa", "sam", "tilda", "uwe", "vera", "willi", "xenia", "yusuf", "zoe"),
)
AT_CONNECT = (
    *(Reason.BAD_TOKEN, Reason.EXPIRED_TOKEN, Reason.NO_CREDENTIALS, Reason.BAD_PASSWORD, Reason.USER_INACTIVE),
    *(Reason.UNKNOWN_APP, Reason.TOKEN_NOT_FOR_THIS, Reason.TOKEN_USED, Reason.REVOKED, Reason.TOKEN_MALFORMED),
    *(Reason.UNKNOWN_ISSUER, Reason.BAD_SIGNATURE, Reason.WRONG_AUDIENCE, Reason.TOKEN_NOT_YET_VALID),
    *(Reason.UNKNOWN_SUBJECT, Reason.NO_RULE, Reason.LIMIT_REACHED),
)
OF_STREAMS = (
    *(Reason.NO_RULE, Reason.DENIED_BY_RULE, Reason.LIMIT_REACHED, Reason.CUT, Reason.UNKNOWN_SESSION),
    *(Reason.SESSION_ENDED, Reason.CONNECT_AGAIN),
)
OF_CALLS = (Reason.NO_RULE, Reason.DENIED_BY_RULE, Reason.HIDDEN_DIGITS, Reason.LIMIT_REACHED, Reason.UNKNOWN_CALL)
_VERSION_7, _RANDOM = 0x7000_8000_0000_0000_0000, 0x0FFF_3FFF_FFFF_FFFF_FFFF
_BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
)


def days(until: date, number: int, count: int) -> Iterator[tuple[date, int]]:
    """So many days before that one, with how many of the events fall on each: few at weekends, ever more over time."""
    found = [until - timedelta(days=back) for back in range(number, 0, -1)]
    weights = [(0.3 if day.weekday() > 4 else 1) * (1 + place / number) for place, day in enumerate(found)]
    share, before = 0.0, 0
    for day, weight in zip(found, weights, strict=True):
        share += weight
        after = round(count * share / sum(weights))
        yield day, after - before
        before = after


def username(number: int) -> str:
    return f"{FIRST_NAMES[number % len(FIRST_NAMES)]}.{number // len(FIRST_NAMES)}"


def stream_name(number: int) -> str:
    return f"{KINDS[number % len(KINDS)]}-{number // len(KINDS)}"


def phone_number(number: int) -> str:
    return f"{PREFIXES[number % len(PREFIXES)]}{5550000 + number}"


def address(user: int) -> str:
    """From where somebody comes: out of one of the networks, a tenth of them by IPv6."""
    network, host = user % NETWORKS, user // NETWORKS
    return f"2001:db8:{network:x}::{host + 1:x}" if user % 10 == 7 else f"10.{network}.{host // 250}.{host % 250 + 1}"


def id_at(moment: datetime, dice: Random) -> UUID:
    """An id as records have them."""
    milliseconds = (moment - EPOCH) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80 | dice.getrandbits(80) & _RANDOM | _VERSION_7)


@dataclass(slots=True)
class Day:
    """One day: its events in the order of time, and the leases of what was let in."""

    seed: int
    day: date
    count: int
    events: list[Made] = field(default_factory=list)
    leases: list[Made] = field(default_factory=list)

    def made(self) -> "Day":
        """The same, with all that happened."""
        dice = Random(f"{self.seed} {self.day}")  # noqa: S311 - nothing here is a secret
        while len(self.events) < self.count:
            if dice.random() < 0.02:
                self.events.append(_staff_action(dice, _time_of_day(self.day, dice)))
            else:
                _Visit(dice, self).happens()
        del self.events[self.count :]
        there = {event["id"] for event in self.events}
        self.leases = [lease for lease in self.leases if lease["record_id"] in there]
        self.events.sort(key=itemgetter("received_at", "id"))
        return self


def _time_of_day(day: date, dice: Random) -> datetime:
    """Mostly in the late morning."""
    return datetime.combine(day, time(), UTC) + timedelta(hours=dice.triangular(0, 23.5, 10.5))


def _skewed(dice: Random, count: int) -> int:
    """One of so many; the low ones by far the most often."""
    return int(count * dice.random() ** 3)


def _staff_action(dice: Random, moment: datetime) -> Made:
    number = _skewed(dice, USERS)
    body = (
        f'{{"table":"access_rule","row":{number + 1},"before":{{"enforced":true,"note":"as agreed with the school"}},'
        f'"after":{{"enforced":false,"note":"as agreed with the school"}},"secrets":[],"username":"admin",'
        f'"address":"10.0.0.99","path":"/admin/access/streampermission/{number + 1}/change/",'
        f'"why":"asked for by phone"}}'
    )
    return {
        **_NOTHING,
        "id": id_at(moment, dice),
        "received_at": moment,
        "last_received_at": moment,
        "action": "change",
        "target": f"rule {number + 1}",
        "client_address": "10.0.0.99",
        "username": "admin",
        "effect": "allow",
        "reason": STAFF_ACTION,
        "rule_ids": [number + 1],
        "rules": [RULES[number % len(RULES)]],
        "told": "enforced “no” instead of “yes”",
        "body": body.encode(),
        "digest": dice.randbytes(16),
    }


_NOTHING: Made = {
    **dict.fromkeys(
        "method node_id node_name app_key session_id media_session_id call_id status action target number username "
        "told".split(),
        "",
    ),
    **dict.fromkeys(("client_address", "user_id", "stream_id", "duration")),
    "rule_ids": [],
    "logged_rule_ids": [],
    "rules": [],
    "repeat_ids": [],
    "revision": 1,
    "repeats": 0,
    "while_away": False,
}


class _Visit:
    """One session: somebody comes, does this and that, and leaves."""

    def __init__(self, dice: Random, day: Day) -> None:
        self._dice, self._day = dice, day
        self._now = _time_of_day(day.day, dice)
        self._ends = datetime.combine(day.day, time(23, 59, 59), UTC)
        self._user = _skewed(dice, USERS)
        node, app = _skewed(dice, len(NODES)), _skewed(dice, len(APPS))
        self._session = (
            f"/{address(self._user)}:{dice.randrange(20000, 65000)}/10.0.0.{node + 1}:8443-{dice.getrandbits(32):x}"
        )
        self._base = {
            **_NOTHING,
            "node_id": NODES[node],
            "node_name": f"edge {node + 1}",
            "app_key": APPS[app],
            "session_id": self._session,
            "client_address": address(self._user),
            "username": username(self._user) if self._user % 97 else "",
            "revision": (day.day - date(2020, 1, 1)).days,
        }
        self._head = f'{{"nodeId":"{NODES[node]}","appKey":"{APPS[app]}","sessionId":"{self._session}"'

    def happens(self) -> None:
        dice, browser = self._dice, _BROWSER.format(self._dice.randrange(90, 130))
        body = (
            f',"mediaProviders":["WebRTC","MSE"],"clientVersion":"2.0","clientOSVersion":"5.0 (Windows NT 10.0)",'
            f'"clientBrowserVersion":"{browser}","keepAlive":false,'
            f'"custom":{{"token":"***","displayName":"Zoë Müller"}},"origin":"https://www.example.com",'
            f'"clientInfo":{{"platform":"Windows","mobile":false,"architecture":"x86"}}}}'
        )
        if dice.random() < 0.06:
            reason = AT_CONNECT[_skewed(dice, len(AT_CONNECT))]
            for _ in range(1 + _skewed(dice, 4)):
                self._event("connect", body, "connect", self._base["app_key"], reason=reason)
            return
        began = self._allowed("connect", body, "connect", self._base["app_key"], key=self._session)
        status = f',"mediaProviders":["WebRTC","MSE"],"clientBrowserVersion":"{browser}","info":"Unknown"'
        self._tells("ConnectionStatusEvent", f'{status},"status":"ESTABLISHED"}}', "ESTABLISHED")
        for _ in range(1 + int(dice.expovariate(1 / 3))):
            dice.choices((self._plays, self._publishes, self._calls), (7, 2, 3))[0]()
        self._tells("ConnectionStatusEvent", f'{status},"status":"DISCONNECTED"}}', "DISCONNECTED", ends=began)

    def _plays(self) -> None:
        self._streams("playStream", "play", "PLAYING", "stopStream", "STOPPED")

    def _publishes(self) -> None:
        self._streams("publishStream", "publish", "PUBLISHING", "unPublishStream", "UNPUBLISHED")

    def _streams(self, method: str, action: str, runs: str, stop: str, over: str) -> None:
        dice = self._dice
        name, media = stream_name(_skewed(dice, STREAMS)), str(UUID(int=dice.getrandbits(128), version=4))
        about: Made = {"media_session_id": media}
        body = (
            f',"mediaSessionId":"{media}","name":"{name}","published":{"true" if action == "publish" else "false"},'
            f'"hasVideo":true,"hasAudio":true,"record":false,"width":640,"height":480,"bitrate":0,"minBitrate":0,'
            f'"maxBitrate":0,"quality":0,"mediaProvider":"WebRTC","audioCodec":"opus","videoCodec":"H264",'
            f'"custom":{{"label":"Player"}},"status":"'
        )
        if dice.random() < 0.12:
            self._event(method, f'{body}PENDING"}}', action, name, "PENDING", _one(dice, OF_STREAMS), **about)
            return
        began = self._allowed(method, f'{body}PENDING"}}', action, name, "PENDING", key=media, **about)
        self._tells("StreamStatusEvent", f'{body}{runs}"}}', runs, name, **about)
        for _ in range(int(dice.expovariate(1 / 9))):
            self._event("StreamKeepAliveEvent", f'{body}{runs}"}}', action, name, runs, after=60, **about)
        if dice.random() < 0.8:
            self._event(stop, f'{body}{over}"}}', action, name, over, Reason.NOT_REFUSABLE, **about)
        self._tells("StreamStatusEvent", f'{body}{over}"}}', over, name, ends=began, **about)

    def _calls(self) -> None:
        dice = self._dice
        number, call = phone_number(_skewed(dice, NUMBERS)), str(UUID(int=dice.getrandbits(128), version=4))
        comes_in = dice.random() < 0.3
        method, action = ("OnCallEvent", "receive-call") if comes_in else ("call", "call")
        caller, callee = (number, "10007") if comes_in else ("10007", number)
        about: Made = {"call_id": call, "number": number}
        body = (
            f',"callId":"{call}","parentCallId":null,"incoming":{"true" if comes_in else "false"},"caller":"{caller}",'
            f'"callee":"{callee}","visibleName":"Zoë Müller","hasAudio":true,"hasVideo":false,"receiveVideo":false,'
            f'"mediaProvider":"WebRTC","isMsrp":false,"holdForTransfer":false,"inviteParameters":{{"param1":"value1"}},'
            f'"status":"'
        )
        if dice.random() < 0.15:
            self._event(method, f'{body}PENDING"}}', action, number, "PENDING", _one(dice, OF_CALLS), **about)
            return
        began = self._allowed(method, f'{body}PENDING"}}', action, number, "PENDING", key=call, **about)
        for status in ("RING", "ESTABLISHED"):
            self._tells("CallStatusEvent", f'{body}{status}"}}', status, callee, **about)
        for _ in range(_skewed(dice, 6)):
            self._event("sendDtmf", f'{body}ESTABLISHED","dtmf":"5"}}', "dtmf", number, "ESTABLISHED", **about)
        self._event("hangup", f'{body}FINISH"}}', "call", "", "FINISH", Reason.NOT_REFUSABLE, after=90, call_id=call)
        self._tells("CallStatusEvent", f'{body}FINISH"}}', "FINISH", callee, ends=began, **about)

    def _tells(self, method: str, body: str, status: str, target: str = "", **more: Any) -> None:
        """Something has happened."""
        self._event(method, body, "notify", target, status, Reason.NOT_REFUSABLE, after=3, **more)

    def _allowed(
        self, method: str, body: str, action: str, target: str, status: str = "", *, key: str, **more: Any
    ) -> Made:
        """Something is let in, and runs; gives its lease."""
        event = self._event(method, body, action, target, status, **more)
        lease: Made = {
            **{name: event[name] for name in _ALIKE},
            "record_id": event["id"],
            "key": key,
            "thing": target,
            "who": event["username"] or f"guest {event['client_address']}",
            "opened_at": event["received_at"],
            "started_at": event["received_at"],
            "ended_at": self._ends,
            "end_reason": "",
        }
        self._day.leases.append(lease)
        return lease

    def _event(
        self,
        method: str,
        body: str,
        action: str,
        target: str,
        status: str = "",
        reason: str = Reason.ALLOWED_BY_RULE,
        *,
        after: float = 8,
        ends: Made | None = None,
        **more: Any,
    ) -> Made:
        dice = self._dice
        self._now = now = min(self._ends, self._now + timedelta(seconds=dice.expovariate(1 / after)))
        event = {
            **self._base,
            "id": id_at(now, dice),
            "received_at": now,
            "last_received_at": now,
            "method": method,
            "action": action,
            "target": target,
            "status": status,
            "reason": str(reason),
            "effect": "allow" if reason in _ALLOWED else "deny",
            "body": (self._head + body).encode(),
            "digest": dice.randbytes(16),
            **more,
        }
        if reason in _BY_A_RULE:
            rule = _skewed(dice, len(RULES))
            event["rule_ids"], event["rules"] = [rule + 1], [RULES[rule]]
        if ends is not None:
            ends["ended_at"], ends["end_reason"] = now, status
            event["duration"] = now - ends["started_at"]
        _happens_to(event, dice)
        self._day.events.append(event)
        return event


_ALIKE = ("node_id", "app_key", "session_id", "action", "target", "username", "user_id", "client_address", "rule_ids")
_BY_A_RULE = (Reason.ALLOWED_BY_RULE, Reason.DENIED_BY_RULE)
_ALLOWED = (*NOTED, Reason.ALLOWED_BY_RULE, Reason.KEPT_WHILE_AWAY)


def _happens_to(event: Made, dice: Random) -> None:
    """One hook in fifty comes again; few were answered while the database was away."""
    fate = dice.random()
    if fate < 0.02:
        event["repeats"] = 1 + _skewed(dice, 3)
        event["last_received_at"] += timedelta(seconds=dice.random() * 10)
        event["repeat_ids"] = [id_at(event["last_received_at"], dice) for _ in range(event["repeats"])]
    elif fate < 0.0205:
        event["while_away"] = True


def _one(dice: Random, of: Sequence[Reason]) -> Reason:
    return of[_skewed(dice, len(of))]
