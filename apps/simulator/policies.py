"""What WCS does next: from restClientConfig, the kind of hook and the answer (protocol.md 3.3 and 7). Pure.

WCS is open by default. A method that restClientConfig does not list, or lists badly, gets LOG and NOTIFY: a
403 is then logged, and the operation goes on. That is simulated exactly; it is the point of this module.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from apps.protocol.methods import CONNECT, DIRECT, EVENT, INCOMING, Kind, find

Body = dict[str, Any]

FORBIDDEN = 403
KEEP_ALIVE = "StreamKeepAliveEvent"
IDENTITY = ("nodeId", "appKey", "sessionId")
"""Members nobody documents a change of. The simulator keeps its own, whatever the answer says."""

REPORTS_THROUGH = {
    "call": "CallStatusEvent",
    "answer": "CallStatusEvent",
    "hold": "CallStatusEvent",
    "unhold": "CallStatusEvent",
    "hangup": "CallStatusEvent",
    "OnCallEvent": "CallStatusEvent",
    "transfer": "TransferStatusEvent",
    "OnTransferEvent": "TransferStatusEvent",
    "sendMessage": "MessageStatusEvent",
    "sendIMDN": "MessageStatusEvent",
    "OnMessageEvent": "MessageStatusEvent",
    "subscribe": "SubscriptionStatusEvent",
    "sendXcapRequest": "XcapStatusEvent",
    "publishStream": "StreamStatusEvent",
    "unPublishStream": "StreamStatusEvent",
    "playStream": "StreamStatusEvent",
    "stopStream": "StreamStatusEvent",
    "pauseStream": "StreamStatusEvent",
    "OnDataEvent": "DataStatusEvent",
    "submitBugReport": "BugReportStatusEvent",
    "sessionDebug": "SessionDebugStatusEvent",
}
"""The event that tells the client how an operation ended; a method without one gets an ErrorEvent."""

PLAYERS = {"playHLS": ("HTTP", "401"), "playRTSP": ("RTSP", "connection closed")}
"""Methods with no session behind them: no policy can exist, a refusal always works (protocol.md 5.3)."""


class Step(StrEnum):
    """What WCS does with the operation."""

    GO_ON = "go on"
    BREAK_OFF = "break off"
    DECLINE = "decline"  # the connection itself


class Verdict(StrEnum):
    """How the backend answered."""

    ALLOWED = "allowed"
    REFUSED = "refused"  # 403
    FAILED = "failed"  # anything else that is not a readable 200, or nothing
    UNASKED = "unasked"  # DISABLE: the hook was not sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one hook; `status` is None where nothing did, and `failure` says why."""

    status: int | None = None
    body: bytes = b""
    content_type: str = "application/json"
    failure: str = ""
    attempts: int = 1
    seconds: float = 0.0

    @property
    def content(self) -> Body | None:
        """The object of a 200 that WCS can read, else None."""
        if self.status != 200 or not self.content_type.lower().startswith("application/json"):
            return None
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    @property
    def reason(self) -> str:
        """The code a refusing backend may give for our report; WCS itself hands it to nobody."""
        try:
            reason = json.loads(self.body)["error"]
        except (ValueError, RecursionError, KeyError, TypeError):
            return ""
        return reason[:60] if isinstance(reason, str) else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One method's policy; the defaults are those of WCS."""

    client_exclude: tuple[str, ...] = ()
    rest_exclude: tuple[str, ...] = ()
    fails: bool = False
    policy: str = "NOTIFY"
    overwrite: tuple[str, ...] = ()

    @property
    def disabled(self) -> bool:
        """True where the backend is not called at all. Both spellings occur in the vendor's documents."""
        return self.policy in ("DISABLE", "DISABLED")


DEFAULT = Entry()


@dataclass(frozen=True, slots=True)
class Told:
    """What the client is told: an event with a status, as it reaches the client."""

    event: str
    status: str = ""
    info: str = ""
    body: Body = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one hook: how it was answered, and what WCS does next with which body."""

    method: str
    step: Step
    verdict: Verdict
    body: Body
    answer: Answer | None = None
    told: Told | None = None
    sip_status: int | None = None  # what the SIP caller of an incoming invocation gets

    @property
    def goes_on(self) -> bool:
        return self.step is Step.GO_ON

    @property
    def experience(self) -> str:
        """allowed, refused, failed; or `unheeded`: not allowed, and WCS went on all the same."""
        if self.verdict in (Verdict.ALLOWED, Verdict.UNASKED):
            return "allowed"
        return "unheeded" if self.goes_on else self.verdict.value


def entries(config: object) -> dict[str, Entry]:
    """restClientConfig, read as WCS does; what cannot be read is left at the defaults."""
    if not isinstance(config, Mapping):
        return {}
    return {name: _entry(value) for name, value in config.items() if isinstance(value, Mapping)}


def sent(body: Body, entry: Entry) -> Body:
    """What the backend gets."""
    return _without(body, entry.rest_exclude)


def seen(body: Body, entry: Entry) -> Body:
    """What the client gets."""
    return _without(body, entry.client_exclude)


def unasked(method: str, body: Body) -> Outcome:
    return Outcome(method, Step.GO_ON, Verdict.UNASKED, body)


def decide(method: str, entry: Entry, body: Body, answer: Answer) -> Outcome:
    """What WCS does next, given the answer to the hook `method` whose operation has `body`."""
    content = answer.content
    if content is not None:
        return Outcome(method, Step.GO_ON, Verdict.ALLOWED, _taken_over(method, entry, body, content), answer)
    verdict = Verdict.REFUSED if answer.status == FORBIDDEN else Verdict.FAILED
    step, told, sip_status = _after_error(method, entry, _info(verdict))
    return Outcome(method, step, verdict, body, answer, told, sip_status)


def _after_error(method: str, entry: Entry, info: str) -> tuple[Step, Told | None, int | None]:
    """The error matrix, protocol.md 7."""
    kind = kind_of(method)
    if kind is CONNECT:  # declined whatever the policy: there is none yet
        return Step.DECLINE, Told("ConnectionStatusEvent", "FAILED", info), None
    if method in PLAYERS:
        return Step.BREAK_OFF, Told(*PLAYERS[method]), None
    if not entry.fails:
        return Step.GO_ON, None, None
    if method == KEEP_ALIVE:  # the one event whose refusal works: protocol.md 9
        return Step.BREAK_OFF, Told("StreamStatusEvent", info="Terminated by keep-alive"), None
    if kind is EVENT:
        return Step.GO_ON, Told("ErrorEvent", info=info), None
    event = REPORTS_THROUGH.get(method, "ErrorEvent")
    if kind is INCOMING:
        return Step.BREAK_OFF, Told(event, "FAILED", "SIP 403 FORBIDDEN"), FORBIDDEN
    return Step.BREAK_OFF, Told(event, "FAILED", info), None


def kind_of(method: str) -> Kind:
    """A method the table does not have is taken for a direct invocation."""
    row = find(method)
    return row.kind if row else DIRECT


def _taken_over(method: str, entry: Entry, body: Body, content: Body) -> Body:
    if kind_of(method) is CONNECT:  # every returned field counts
        taken = {name: value for name, value in content.items() if name != "restClientConfig"}
    elif entry.policy == "OVERWRITE":
        taken = {name: content[name] for name in entry.overwrite if name in content}
    else:
        return body
    return body | {name: value for name, value in taken.items() if name not in IDENTITY}


def _entry(value: Mapping[str, object]) -> Entry:
    return Entry(
        client_exclude=_names(value.get("clientExclude")),
        rest_exclude=_names(value.get("restExclude")),
        fails=value.get("restOnError") == "FAIL",
        policy=str(value.get("restPolicy") or "NOTIFY"),
        overwrite=_names(value.get("restOverwrite")),
    )


def _names(listed: object) -> tuple[str, ...]:
    """Names separated by commas. Spaces are not removed: nobody documents that WCS would."""
    return tuple(name for name in listed.split(",") if name) if isinstance(listed, str) else ()


def _without(body: Body, names: tuple[str, ...]) -> Body:
    return {name: value for name, value in body.items() if name not in names}


def _info(verdict: Verdict) -> str:
    """Error names of the legacy client; which WCS uses for what is unknown."""
    return "REST_AUTHORIZATION_FAIL" if verdict is Verdict.REFUSED else "REST_FAIL"
