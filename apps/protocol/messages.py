"""One hook as we read it: the few members that deciding and recording need, typed; the rest stays bytes.

What is read is listed in `StreamObject` and `Wire`; msgspec skips everything else without building it, yet checks that
it is JSON.
"""

import re
from functools import lru_cache
from typing import Annotated, ClassVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from apps.protocol.methods import CONNECT, CREDENTIALS, EITHER, RUNNING_STREAM, Method
from apps.protocol.mirror import depth

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_ID = 255
"""Characters of an id; those of WCS have far fewer."""

Id = Annotated[str, msgspec.Meta(max_length=MAX_ID)]

ABSENT = msgspec.Raw()
"""The value of a member that did not come."""

_TRACK = re.compile(r"/trackID=\d+$", re.IGNORECASE)
_CLIENT_ADDRESS = re.compile(r"^/(?:\[([^\]]+)\]|([^/]+?)):\d+(?:/|$)")


class MalformedHook(ValueError):
    """The body cannot be read as a hook. The message says what was expected."""


class HookTooLarge(ValueError):
    """The body is longer or nests deeper than any hook of WCS."""


class StreamObject(msgspec.Struct, frozen=True, gc=False):
    """The members of the stream object that hold no secret (protocol.md 4.2), but for what an address or an escape may
    hide, and `custom`. Strings may be null or absent (protocol.md 4.1).

    They are spelled as on the wire, and stand in the order in which they come there, in which they are read fastest.
    Raw ones are kept as bytes: some until a rule changes them, most for good.
    """

    nodeId: Id | None = None
    appKey: Id | None = None
    sessionId: Id | None = None
    mediaSessionId: Id | None = None
    name: str | None = None
    published: bool | None = None
    hasVideo: msgspec.Raw = ABSENT
    hasAudio: msgspec.Raw = ABSENT
    status: str | None = None
    info: str | None = None
    audioCodec: msgspec.Raw = ABSENT
    videoCodec: msgspec.Raw = ABSENT
    record: msgspec.Raw = ABSENT
    recordName: msgspec.Raw = ABSENT
    width: msgspec.Raw = ABSENT
    height: msgspec.Raw = ABSENT
    bitrate: msgspec.Raw = ABSENT
    minBitrate: msgspec.Raw = ABSENT
    maxBitrate: msgspec.Raw = ABSENT
    quality: msgspec.Raw = ABSENT
    gop: msgspec.Raw = ABSENT
    fps: msgspec.Raw = ABSENT
    audioBitrate: msgspec.Raw = ABSENT
    mediaProvider: str | None = None
    mediaType: msgspec.Raw = ABSENT
    custom: msgspec.Raw = ABSENT
    createDate: msgspec.Raw = ABSENT
    timeShift: msgspec.Raw = ABSENT
    history: msgspec.Raw = ABSENT
    audioState: msgspec.Raw = ABSENT
    videoState: msgspec.Raw = ABSENT
    codecImpl: msgspec.Raw = ABSENT
    transport: msgspec.Raw = ABSENT
    cvoExtension: msgspec.Raw = ABSENT
    constraints: msgspec.Raw = ABSENT
    localMediaInfo: msgspec.Raw = ABSENT
    operationId: msgspec.Raw = ABSENT
    userAgent: msgspec.Raw = ABSENT
    origin: str | None = None


class Wire(StreamObject, frozen=True, gc=False):
    """All members that we read."""

    callId: Id | None = None
    mediaProviders: msgspec.Raw = ABSENT
    rtspUrl: str | None = None
    callee: str | None = None
    caller: str | None = None
    target: str | None = None
    to: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    event: str | None = None
    url: str | None = None
    token: msgspec.Raw = ABSENT


class PlainWire(StreamObject, frozen=True, gc=False, forbid_unknown_fields=True):
    """Those of a hook that has no members but the ones of the stream object: nothing else is in it."""

    callId: ClassVar[None] = None
    mediaProviders: ClassVar[msgspec.Raw] = ABSENT
    rtspUrl: ClassVar[None] = None
    callee: ClassVar[None] = None
    caller: ClassVar[None] = None
    target: ClassVar[None] = None
    to: ClassVar[None] = None
    from_: ClassVar[None] = None
    event: ClassVar[None] = None
    url: ClassVar[None] = None
    token: ClassVar[msgspec.Raw] = ABSENT


class Credential(msgspec.Struct, frozen=True, gc=False):
    """What somebody offers to show who they are: a token, or a login with a password.

    `garbled` is true where there is something in a credential's place that cannot be one; it is wrong, not absent.
    """

    token: str | None = None
    login: str | None = None
    password: str | None = None
    garbled: bool = False

    def __repr__(self) -> str:
        return "Credential(...)"


class HookCall(msgspec.Struct, frozen=True, gc=False):
    """One hook, read. `method` is None for a name that the table does not have.

    `dialled` is the number that a rule had called instead of the target, of the call that the hook belongs to.
    `of_unknown_call` is true where it names nothing but a call, and that is not one that runs.
    """

    method: Method | None
    wire_name: str
    node_id: str
    app_key: str
    session_id: str
    media_session_id: str
    call_id: str
    target: str
    action: str
    origin: str
    status: str
    info: str
    wire: Wire | PlainWire
    dialled: str = ""
    of_unknown_call: bool = False

    @classmethod
    def from_payload(cls, wire_name: str, method: Method | None, body: bytes) -> "HookCall":
        """Read the body of a hook.

        Raises HookTooLarge or MalformedHook, whose messages are sentences fit for the answer.
        """
        wire = _read(body)
        if method is not None and method.kind is CONNECT and not (wire.nodeId and wire.sessionId):
            raise MalformedHook("The body is not a hook: connect needs nodeId and sessionId.")
        return cls(
            method=method,
            wire_name=wire_name,
            node_id=_id(wire.nodeId),
            app_key=_id(wire.appKey),
            session_id=_id(wire.sessionId),
            media_session_id=_id(wire.mediaSessionId),
            call_id=_id(wire.callId),
            target=_target(wire, method) if method else "",
            action=_action(wire, method) if method else "",
            origin=wire.origin or "",
            status=wire.status or "",
            info=wire.info or "",
            wire=wire,
        )

    @property
    def client_address(self) -> str:
        """The client's address, read from the session id where it has the form `/address:port/...`, else ""."""
        return _client_address(self.session_id)

    @property
    def media_providers(self) -> str | msgspec.Raw:
        """What the stream or call uses; at connect what the client could use: a list, unread. See `read_media`."""
        return self.wire.mediaProvider or self.wire.mediaProviders

    def credential(self, secret_name: str = "token") -> Credential | None:  # noqa: S107 - the name of a member
        """The credential in the body, where this method may carry one; None where there is none.

        `secret_name` is the key under which the app's clients put their token in `custom`. A member that is null
        counts as absent.
        """
        if self.method is None or self.method.identity not in (CREDENTIALS, EITHER):
            return None
        wire = self.wire
        if wire.custom is wire.token is ABSENT and not self.method.address_target:
            return None
        custom = _object(wire.custom, "custom")
        token = _value(custom.get(secret_name, ABSENT))
        if token is None:
            token = _value(wire.token)
        if token is None and self.method.address_target:
            token = _query(wire.name or wire.rtspUrl or "").get(secret_name)
        if token is not None:
            return Credential(token=token) if isinstance(token, str) else Credential(garbled=True)
        password = _value(custom.get("password", ABSENT))
        if password is None:
            return None
        login = _value(custom.get("login", ABSENT)) or _value(custom.get("username", ABSENT))
        if isinstance(password, str) and isinstance(login, str):
            return Credential(login=login, password=password)
        return Credential(garbled=True)


def read_media(media: str | msgspec.Raw) -> tuple[str, ...]:
    """The names of media providers in what a hook says of them. Raises ValueError for what is no list of texts."""
    if isinstance(media, str):
        return (media,) if media else ()
    if media in (ABSENT, _NULL):
        return ()
    try:
        return _decode_texts(media)
    except msgspec.DecodeError:
        raise ValueError("What came as “mediaProviders” is no list of texts.") from None


_NULL = msgspec.Raw(b"null")
_decode = msgspec.json.Decoder(Wire).decode
_decode_plain = msgspec.json.Decoder(PlainWire).decode
_decode_texts = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def plain_wire(body: bytes) -> PlainWire | None:
    """The members of a JSON object that has none but those of the stream object; None for any other.

    Raises msgspec.DecodeError for what is no JSON.
    """
    try:
        return _decode_plain(body)
    except msgspec.ValidationError:
        return None


def _read(body: bytes) -> Wire | PlainWire:
    if len(body) > MAX_BYTES:
        raise HookTooLarge(f"A body may have at most {MAX_BYTES} bytes; this one has {len(body)}.")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and (deep := depth(body)) > MAX_DEPTH:
        raise HookTooLarge(f"A body may nest at most {MAX_DEPTH} deep; this one nests {deep} deep.")
    try:
        if not body.isascii():
            body.decode()
        return plain_wire(body) or _decode(body)
    except UnicodeDecodeError as error:
        raise MalformedHook(f"The body is not UTF-8: byte {error.start} cannot be read.") from None
    except msgspec.ValidationError as error:
        raise MalformedHook(f"The body is not a hook: {error}.") from None
    except msgspec.DecodeError as error:
        raise MalformedHook(f"The body is not JSON: {error}.") from None


@lru_cache(maxsize=4096)
def _client_address(session_id: str) -> str:
    match = _CLIENT_ADDRESS.match(session_id)
    return (match[1] or match[2]) if match else ""


def _id(value: str | None) -> str:
    """An id as it is compared and stored: Postgres has no NUL in text, so it is U+FFFD everywhere."""
    if not value:
        return ""
    return value.replace("\x00", "\ufffd") if "\x00" in value else value


def address_key(name: str) -> str:
    """A name by which an address is the same however it is written; what is no address stays as it is.

    Scheme and host in small letters, without the usual port, an empty query, a fragment, or slashes at the end.
    """
    scheme, sign, rest = name.strip().partition("://")
    if not sign:
        return name
    host, slash, path = rest.partition("#")[0].partition("/")
    host, path = host.partition("?")[0] if not slash else host, path.rstrip("?").rstrip("/")
    port = _USUAL_PORTS.get(scheme.lower(), "")
    return f"{scheme.lower()}://{host.rstrip('?').lower().removesuffix(port)}/{path}"


_USUAL_PORTS = {"rtsp": ":554", "rtmp": ":1935", "rtmps": ":443", "http": ":80", "https": ":443"}


def _target(wire: Wire | PlainWire, method: Method) -> str:
    for member in method.target:
        value: str | None = getattr(wire, "from_" if member == "from" else member)
        if value:
            return _path(value) if method.address_target else value
    return ""


def _action(wire: Wire | PlainWire, method: Method) -> str:
    if method.action != RUNNING_STREAM:
        return method.action
    return "play" if wire.published is False else "publish"


def _value(raw: msgspec.Raw) -> str | msgspec.Raw | None:
    """The text of a string, None for null or nothing; what is neither stays as it came."""
    if raw is ABSENT:
        return None
    text = bytes(raw)
    if text in (b"", b"null"):
        return None
    return _decode_text(raw) if text.startswith(b'"') else raw


def _object(raw: msgspec.Raw, name: str) -> dict[str, msgspec.Raw]:
    """The members of an object, none for null or nothing. They stay unread: a number need not fit into a float."""
    if _value(raw) is None:
        return {}
    try:
        return _decode_members(raw)
    except msgspec.ValidationError:
        raise MalformedHook(f"The body is not a hook: expected `object`, got another type - at `$.{name}`.") from None


def _path(address: str) -> str:
    """The stream's name in an address on the node, for example `lobby` in rtsp://node:5554/lobby?aclAuth=key.

    A player names a track of it, too: rtsp://node:5554/lobby/trackID=1. What else could be read in two ways is none.
    """
    if "://" not in address and "?" not in address:
        return address
    path = unquote(_split(address).path).strip("/")
    path = _TRACK.sub("", path)
    if not path.isprintable() or any(part in (".", "..") for part in path.split("/")) or "//" in path:
        raise MalformedHook("The body is not a hook: the address of the stream cannot be read.")
    return path


def _query(address: str) -> dict[str, str]:
    return dict(parse_qsl(_split(address).query, keep_blank_values=True))


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # whose message would repeat the address, maybe with a password in it
        raise MalformedHook("The body is not a hook: the address of the stream cannot be read.") from None
