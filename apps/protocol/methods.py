"""The table of hook methods. Behaviour that differs from method to method is a column here, not an `if` elsewhere.

Adding a method is adding a row and a payload file: restClientConfig, admin filters, docs and tests follow.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The four kinds of hooks, as the vendor's summary page names them."""

    CONNECT = "connect"
    DIRECT = "direct"
    EVENT = "event"
    INCOMING = "incoming"


class Refusal(StrEnum):
    """What answering 403 does."""

    EFFECTIVE = "effective"  # WCS stops the operation, provided `connect` said FAIL
    POINTLESS = "pointless"  # the operation only lets go of something
    IMPOSSIBLE = "impossible"  # it has happened already


class Identity(StrEnum):
    """Where the user behind a hook is found."""

    CREDENTIALS = "credentials"  # in the body: no session exists
    SESSION = "session"  # in the session that `connect` opened
    EITHER = "either"  # in the body if it carries a credential, else in the session


class Extent(StrEnum):
    """How long what a hook asks for lasts, and so how limits count it."""

    RUNS = "runs"  # something begins, and goes on until WCS reports its end
    PART = "part"  # it belongs to something that runs already
    MOMENT = "moment"  # it is over at once


CONNECT, DIRECT, EVENT, INCOMING = Kind
EFFECTIVE, POINTLESS, IMPOSSIBLE = Refusal
CREDENTIALS, SESSION, EITHER = Identity
RUNS, PART, MOMENT = Extent

NOTIFY = "notify"  # the action of hooks that only tell us something; nobody needs to be granted it
RUNNING_STREAM = "running-stream"  # publish or play, as the body's `published` says

ACTIONS = (
    "connect",
    "publish",
    "play",
    "call",
    "answer",
    "hold",
    "transfer",
    "dtmf",
    "message",
    "imdn",
    "subscribe",
    "xcap",
    "data",
    "bug-report",
    "receive-call",
    "receive-message",
    "receive-transfer",
)
"""What staff grant."""

STREAM_ACTIONS = ("publish", "play")
NUMBER_ACTIONS = (
    "call",
    "answer",
    "hold",
    "transfer",
    "dtmf",
    "message",
    "receive-call",
    "receive-message",
    "receive-transfer",
)
"""Actions whose target is a number, or an address of SIP with one."""
CALL_ACTIONS = ("call", "receive-call")
"""Actions that begin a call."""


@dataclass(frozen=True, slots=True)
class Method:
    """One hook method of WCS.

    `name` is as on the wire, `aliases` are other spellings seen there (matched in any letter case).
    `target` lists the body's members that may name what is acted on; the first one present counts.
    `address_target` says that the target may be an address on the node itself, whose path is the stream's name.
    `of_call` says that a hook without a target of its own is about the number of the call that its `callId` names.
    `extent` says how long what it asks for lasts. `starts` and `ends` are the values of `status` with which something
    that was asked for is running, or over; `ends_session` those with which the session is over, and all in it.
    `tells_of` are the actions that began what such an event tells of.
    `overwrite` are the members that we may change, and that WCS takes from our answer (protocol.md 5).
    `dials` is the member with what is called or written to, where WCS would do so.
    `unstored` are members that are never stored, and which WCS is asked not to send.
    `shows_source`, `shows_number` and `shows_account` are the members through which the client would learn the source
    of a stream, the number that is dialled instead of what it asked for, and the SIP account that it was given.
    """

    name: str
    kind: Kind
    action: str
    refusal: Refusal
    target: tuple[str, ...] = ()
    identity: Identity = SESSION
    aliases: tuple[str, ...] = ()
    overwrite: tuple[str, ...] = ()
    dials: str = ""
    unstored: tuple[str, ...] = ()
    shows_source: tuple[str, ...] = ()
    shows_number: tuple[str, ...] = ()
    shows_account: tuple[str, ...] = ()
    address_target: bool = False
    of_call: bool = False
    extent: Extent = MOMENT
    starts: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    ends_session: tuple[str, ...] = ()
    tells_of: tuple[str, ...] = ()

    @property
    def in_session(self) -> bool:
        """True where it happens in the session that `connect` opened; else a session with its ids is none of it."""
        return self.identity is not CREDENTIALS

    @property
    def has_target(self) -> bool:
        """True where it is about something with a name or number, its own or that of its call."""
        return bool(self.target) or self.of_call

    @property
    def refusable(self) -> bool:
        """True where our 403 stops something, so that it may be refused at all."""
        return self.refusal is EFFECTIVE

    def is_end(self, status: str, info: str) -> bool:
        """True for an event that tells that something is over. Whoever asks for an id that is in use already is told
        FAILED under that id; what runs under it goes on.
        """
        return status in self.ends and info != "MediaSessionId is already in use"

    @property
    def end_unreported(self) -> bool:
        """True where something runs outside any session, so that no event tells when it has ended."""
        return self.extent is RUNS and self.identity is CREDENTIALS and self.kind is not CONNECT


SIP_MEMBERS = (
    "sipLogin",
    "sipAuthenticationName",
    "sipPassword",
    "sipVisibleName",
    "sipDomain",
    "sipOutboundProxy",
    "sipProxy",
    "sipPort",
    "sipContactParams",
    "sipRegisterRequired",
)
"""Members of a connection that make up its SIP account (protocol.md 3.1)."""

_SIP = ("sipPassword",)
_SIP_MESSAGE = ("sipMessageRaw",)
_MEDIA = ("sdp",)
_CALL_MEDIA = ("sdp", "sipSDP")
_NAME = ("name",)
_SIZE = ("width", "height", "bitrate")
_CALLER = ("caller", "visibleName")  # the login, also where the account has no other name to show
_SENDER = ("from", "visibleName")

METHODS = (
    Method(
        "connect",
        CONNECT,
        "connect",
        EFFECTIVE,
        ("appKey",),
        CREDENTIALS,
        unstored=_SIP,
        shows_account=SIP_MEMBERS,
        extent=RUNS,
    ),
    # Direct invocations that can usefully be refused: protocol.md 5.1
    Method(
        "call",
        DIRECT,
        "call",
        EFFECTIVE,
        ("callee",),
        overwrite=("callee",),
        dials="callee",
        unstored=_CALL_MEDIA,
        shows_number=("callee",),
        shows_account=_CALLER,
        extent=RUNS,
    ),
    Method(
        "answer",
        DIRECT,
        "answer",
        EFFECTIVE,
        ("caller",),
        unstored=_CALL_MEDIA,
        shows_account=("callee",),
        of_call=True,
        extent=PART,
    ),
    Method("hold", DIRECT, "hold", EFFECTIVE, of_call=True, extent=PART),
    Method("unhold", DIRECT, "hold", EFFECTIVE, of_call=True, extent=PART),
    Method(
        "transfer",
        DIRECT,
        "transfer",
        EFFECTIVE,
        ("target",),
        overwrite=("target",),
        dials="target",
        shows_number=("target",),
        extent=PART,
    ),
    Method("sendDtmf", DIRECT, "dtmf", EFFECTIVE, aliases=("sendDTMF",), of_call=True, extent=PART),
    Method(
        "sendMessage",
        DIRECT,
        "message",
        EFFECTIVE,
        ("to",),
        overwrite=("to",),
        dials="to",
        shows_number=("to",),
        shows_account=_SENDER,
    ),
    Method("sendIMDN", DIRECT, "imdn", EFFECTIVE),
    Method("subscribe", DIRECT, "subscribe", EFFECTIVE, ("event",)),
    Method("sendXcapRequest", DIRECT, "xcap", EFFECTIVE, ("url",)),
    Method(
        "publishStream",
        DIRECT,
        "publish",
        EFFECTIVE,
        ("name",),
        EITHER,
        overwrite=("name", "record", *_SIZE),
        unstored=_MEDIA,
        shows_source=_NAME,
        extent=RUNS,
    ),
    Method(
        "playStream",
        DIRECT,
        "play",
        EFFECTIVE,
        ("name",),
        EITHER,
        overwrite=("name", *_SIZE),
        unstored=_MEDIA,
        shows_source=_NAME,
        extent=RUNS,
    ),
    Method("playHLS", DIRECT, "play", EFFECTIVE, ("name",), CREDENTIALS, unstored=_MEDIA, extent=RUNS),
    Method(
        "playRTSP",
        DIRECT,
        "play",
        EFFECTIVE,
        ("name", "rtspUrl"),
        CREDENTIALS,
        unstored=_MEDIA,
        address_target=True,  # protocol.md 5.3: the full RTSP URL with its query
        extent=RUNS,
    ),
    Method("OnDataEvent", DIRECT, "data", EFFECTIVE),
    Method("submitBugReport", DIRECT, "bug-report", EFFECTIVE, aliases=("sendBugReport",)),
    # Direct invocations that only let go: protocol.md 5.2
    Method("hangup", DIRECT, "call", POINTLESS),
    Method("unPublishStream", DIRECT, "publish", POINTLESS, ("name",), unstored=_MEDIA, shows_source=_NAME),
    Method("stopStream", DIRECT, "play", POINTLESS, ("name",), unstored=_MEDIA, shows_source=_NAME),
    # Events: protocol.md 5.4
    Method(
        "ConnectionStatusEvent",
        EVENT,
        NOTIFY,
        IMPOSSIBLE,
        unstored=_SIP,
        shows_account=SIP_MEMBERS,
        ends_session=("DISCONNECTED", "FAILED"),
        starts=("ESTABLISHED",),
        tells_of=("connect",),
    ),
    Method(
        "RegistrationStatusEvent",
        EVENT,
        NOTIFY,
        IMPOSSIBLE,
        unstored=_SIP,
        shows_account=(*SIP_MEMBERS, *_SIP_MESSAGE),
    ),
    Method(
        "CallStatusEvent",
        EVENT,
        NOTIFY,
        IMPOSSIBLE,
        ("callee",),
        unstored=_CALL_MEDIA,
        shows_number=("callee", *_SIP_MESSAGE),
        shows_account=(*_CALLER, *_SIP_MESSAGE),
        starts=("ESTABLISHED",),
        ends=("FINISH", "FAILED", "BUSY"),
        tells_of=CALL_ACTIONS,
    ),
    Method(
        "TransferStatusEvent",
        EVENT,
        NOTIFY,
        IMPOSSIBLE,
        ("target",),
        shows_number=("target", "callee", *_SIP_MESSAGE),
        shows_account=(*_CALLER, *_SIP_MESSAGE),
    ),
    Method(
        "MessageStatusEvent",
        EVENT,
        NOTIFY,
        IMPOSSIBLE,
        ("to",),
        shows_number=("to", *_SIP_MESSAGE),
        shows_account=(*_SENDER, *_SIP_MESSAGE),
    ),
    Method("SubscriptionStatusEvent", EVENT, NOTIFY, IMPOSSIBLE, ("event",), shows_account=_SIP_MESSAGE),
    Method("XcapStatusEvent", EVENT, NOTIFY, IMPOSSIBLE),
    Method(
        "StreamStatusEvent",
        EVENT,
        NOTIFY,
        IMPOSSIBLE,
        ("name",),
        unstored=_MEDIA,
        shows_source=_NAME,
        starts=("PUBLISHING", "PLAYING"),
        ends=("UNPUBLISHED", "STOPPED", "FAILED", "DISCONNECTED"),
        tells_of=STREAM_ACTIONS,
    ),
    Method("DataStatusEvent", EVENT, NOTIFY, IMPOSSIBLE),
    Method("BugReportStatusEvent", EVENT, NOTIFY, IMPOSSIBLE),
    Method(
        "StreamKeepAliveEvent",
        EVENT,
        RUNNING_STREAM,
        EFFECTIVE,  # an event whose refusal works: it stops the stream (protocol.md 9)
        ("name",),
        EITHER,
        unstored=_MEDIA,
        shows_source=_NAME,
        extent=PART,
    ),
    Method("sendStreamEvent", EVENT, NOTIFY, IMPOSSIBLE, shows_source=_NAME),
    Method("StreamEvent", EVENT, NOTIFY, IMPOSSIBLE, shows_source=_NAME),
    # Incoming invocations: protocol.md 5.5
    Method(
        "OnCallEvent",
        INCOMING,
        "receive-call",
        EFFECTIVE,
        ("caller",),
        unstored=_CALL_MEDIA,
        shows_account=("callee", *_SIP_MESSAGE),
        extent=RUNS,
    ),
    Method("OnMessageEvent", INCOMING, "receive-message", EFFECTIVE, ("from",), shows_account=("to", *_SIP_MESSAGE)),
    Method(
        "OnTransferEvent",
        INCOMING,
        "receive-transfer",
        EFFECTIVE,
        ("target",),
        dials="target",
        shows_account=("callee", *_SIP_MESSAGE),
    ),
    # Named elsewhere in the vendor's documents: protocol.md 5.6
    Method("pauseStream", DIRECT, "play", POINTLESS, ("name",), unstored=_MEDIA, shows_source=_NAME),
    Method("snapshot", DIRECT, "play", EFFECTIVE, ("name",), EITHER, shows_source=_NAME, extent=PART),
    Method("availableStream", DIRECT, "play", EFFECTIVE, ("name",), EITHER, shows_source=_NAME, extent=PART),
    Method("pushLogs", DIRECT, "bug-report", EFFECTIVE, unstored=("logs",)),
    Method("sessionDebug", DIRECT, "bug-report", EFFECTIVE),
    Method("SessionDebugStatusEvent", EVENT, NOTIFY, IMPOSSIBLE),
    Method("ErrorStatusEvent", EVENT, NOTIFY, IMPOSSIBLE, aliases=("ErrorEvent",)),
    Method("RecordingStatusEvent", EVENT, NOTIFY, IMPOSSIBLE, shows_source=_NAME),
    Method("StreamsStatEvent", EVENT, NOTIFY, IMPOSSIBLE, shows_source=_NAME),
    Method("StreamTranscodingGroupEvent", EVENT, NOTIFY, IMPOSSIBLE, shows_source=_NAME),
)

ACTIONS_WITH_TARGET = tuple(
    action for action in ACTIONS if any(row.action == action and row.has_target for row in METHODS)
)
"""Actions that may be about something with a name or number. All others fit rules about anything alone."""

_BY_SPELLING = {spelling.lower(): row for row in METHODS for spelling in (row.name, *row.aliases)}


def find(wire_name: str) -> Method | None:
    """The row for a method name in any letter case or by alias; None for one nobody told us about."""
    return _BY_SPELLING.get(wire_name.lower())
