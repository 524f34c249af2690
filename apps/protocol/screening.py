"""What may be stored of a body: everything but secrets, SDP and bulk, which are replaced where they stand.

The rest stays byte for byte as received. It errs towards leaving out: what looks like a secret is one.
"""

import hashlib
import json
import re
from typing import Any

import msgspec

from apps.protocol.messages import ABSENT, PlainWire, StreamObject, Wire, plain_wire
from apps.protocol.methods import METHODS
from apps.protocol.mirror import members

LEFT_OUT = b'"[left out]"'
MAX_STORED = 65_536
"""Bytes of a body that are kept; of a longer one only its length and digest are."""

TOO_LONG = b'{"[left out]"'
"""What a stored body begins with, of which only these are kept."""

MAX_SEARCHED = 16_384
"""Bytes of a member that are searched for secrets; a longer one that may hold some is left out."""

UNSTORED_MEMBERS = frozenset(name for method in METHODS for name in method.unstored)
"""Top-level members that are never kept, in whatever method they come."""

HARMLESS_MEMBERS = frozenset({"sipAuthenticationName"})
"""Members of WCS whose name only looks as if they held a secret."""

PLAIN_MEMBERS = frozenset(StreamObject.__struct_encode_fields__) - {"custom"}
_HARMLESS = (b"null", b"true", b"false", b"{}", b"[]", b'""')
_SECRET_NAME = re.compile(
    r"pass|pwd|secret|token|auth|credential|signature|api[_-]?key|access[_-]?key|jwt|^(key|sig|pin|hash|rtmpurl)$",
    re.IGNORECASE,
)
_HINTS = (
    *(f'"{name.lower()}"'.encode() for name in sorted(UNSTORED_MEMBERS)),
    *(b"pass", b"pwd", b"secret", b"token", b"auth", b"credential", b"signature", b"jwt"),
    *(b"cookie", b"-key", b'"rtmpurl"'),
    *(b'"key"', b"apikey", b"api-key", b"api_key", b"accesskey", b"access-key", b"access_key"),
    *(b'"sig"', b'"pin"', b'"hash"', b"://", b"?", b"sip:", b"sips:", b"a=crypto", b"a=ice-pwd"),
    *(b"\\u", b"\\/", b'\\"'),  # escapes, which may hide any of these
)
"""What a body must contain, in lower case, to have anything that must be left out."""

_SIP_SECRET = re.compile(
    r"^((?:proxy-)?authorization|(?:set-)?cookie|[\w-]{1,64}-(?:token|key|secret|password|passwd|pwd|auth|signature|jwt)"
    r"|a=crypto|a=ice-pwd)[ \t]*:[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*",  # and folded lines
    re.IGNORECASE | re.MULTILINE,
)
_ADDRESS = re.compile(r'(?:://|\?(?=[\w.~%-]{1,64}=))[^"\s]*(?<!”)', re.ASCII)
"""To the end of the word, less the mark with which we quote."""

_ADDRESS_QUERY = re.compile(r"([?&;](?:[^=&;?#]*+=)?+|[#/][^=&;?#/]*+=)[^&;#]+")
"""A value of the query, with its name if it has one; or one of the fragment or the path, with its name, as cameras take
logins there: /user=admin&password=x. One pass of any text."""

_HOST = re.compile(r"(?:\[[^\]]*\]|[^:]*)(?::\d*)?", re.ASCII)
"""What may stand before the path of an address: a host and a port."""

_SIP_USER = re.compile(
    r'(?<![^@\s"])(?=[^@\s"]*+@)([^@\s"]*?sips?:[^:@\s"]*+):[^@\s"]*+@',
    re.IGNORECASE,
)
"""The first user of a piece that ends with an @. Whether it does is looked at once, where the piece begins: were that
found out at each `sip:`, a piece with many of them and no @ would take a pass for each."""


class RepeatedName(ValueError):
    """An object has two members of one name. Reading it would lose one of them, and what it hides."""


def screen(body: bytes, secret_name: str = "token", wire: Wire | PlainWire | None = None) -> bytes:  # noqa: S107 - a name
    """The body as it may be stored; `secret_name` is what the app calls its token, `wire` what was read of the body, if
    it was. It must be a JSON object."""
    if len(body) > MAX_STORED:
        note = {"[left out]": f"a body of {len(body)} bytes", "sha256": hashlib.sha256(body).hexdigest()}
        return json.dumps(note).encode()
    return body if _is_plain(body, secret_name, wire or plain_wire(body)) else _screen_members(body, secret_name)


def screen_text(text: str) -> str:
    """A text without what it may hide: the user and password of a URL, the values of its query, the password of a SIP
    address, the credentials of a SIP message."""
    if ":" not in text and "?" not in text:
        return text
    text = _SIP_SECRET.sub(r"\1: ***", text)
    text = _SIP_USER.sub(r"\1:***@", text) if ":" in text and "@" in text else text
    return _ADDRESS.sub(_screened_address, text) if "://" in text or "?" in text else text


def _is_plain(body: bytes, secret_name: str, wire: Wire | PlainWire | None) -> bool:
    """Whether the body is one of the common small ones in which nothing can be hidden, so that it is not taken apart.

    Of members that stand twice, what is read here is only the last one; that matters for `custom` alone.
    """
    if not isinstance(wire, PlainWire) or secret_name in PLAIN_MEMBERS:
        return False
    if b"\\" in body or b"?" in body or b"://" in body:
        return False
    return wire.custom is ABSENT or (bytes(wire.custom) in _HARMLESS and body.count(b'"custom"') == 1)


def _may_hold_secrets(text: bytes, secret_name: str) -> bool:
    """Whether it is worth reading: a few searches."""
    text = text.lower()
    own_name = json.dumps(secret_name, ensure_ascii=False)[1:-1].encode().lower()
    return own_name in text or any(hint in text for hint in _HINTS)


def _screen_members(body: bytes, secret_name: str) -> bytes:
    pieces, done = [], 0
    for member in members(body):
        value = body[member.start : member.end]
        pieces += [body[done : member.start], _kept(member.name, value, secret_name)]
        done = member.end
    pieces.append(body[done:])
    return b"".join(pieces)


def _kept(name: str, value: bytes, secret_name: str) -> bytes:
    """What is stored for the value of one top-level member."""
    if value in _HARMLESS:
        return value
    if name in UNSTORED_MEMBERS or is_secret(name, secret_name):
        return LEFT_OUT
    if value[:1] not in (b"{", b"[", b'"') or not _may_hold_secrets(value, secret_name):
        return value
    if len(value) > MAX_SEARCHED:
        return LEFT_OUT
    try:
        parsed = _parse(value)
    except RepeatedName:
        return LEFT_OUT
    screened = _without_secrets(parsed, secret_name)
    return value if screened == parsed else msgspec.json.encode(screened)


def is_secret(name: str, secret_name: str = "token") -> bool:  # noqa: S107 - the name of a member
    """Whether a member of this name is taken for a secret."""
    return name not in HARMLESS_MEMBERS and (name == secret_name or _SECRET_NAME.search(name) is not None)


def _parse(value: bytes) -> Any:
    """The value with its numbers as they are written. Raises RepeatedName."""
    return json.loads(value, parse_float=msgspec.Raw, parse_int=msgspec.Raw, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise RepeatedName
    return members


def _without_secrets(value: Any, secret_name: str) -> Any:
    if isinstance(value, dict):
        return {
            name: "***" if is_secret(name, secret_name) else _without_secrets(item, secret_name)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item, secret_name) for item in value]
    return _text_without_secrets(value, secret_name) if isinstance(value, str) else value


def _text_without_secrets(text: str, secret_name: str) -> str:
    """As `screen_text`; and where the text is JSON itself, as clients like to send it, without its secrets."""
    if text.lstrip()[:1] not in ("{", "["):
        return screen_text(text)
    try:
        parsed = _parse(text.encode())
        screened = _without_secrets(parsed, secret_name)
    except RepeatedName:
        return "***"
    except (ValueError, RecursionError):
        return screen_text(text)
    return text if screened == parsed else msgspec.json.encode(screened).decode()


def screen_source(address: str) -> str:
    """The address of a stream without what it may hide. It is known to be one: so what stands before an @ in its path
    is taken for a password, which `screen_text` cannot tell from a path."""
    scheme, found, rest = address.partition("://")
    return f"{scheme}{_without_values(_without_user(found + rest, until='?#'))}" if found else screen_text(address)


def _screened_address(match: re.Match[str]) -> str:
    return _without_values(_without_user(match[0], until="/?#"))


def _without_user(address: str, until: str) -> str:
    """Without the user and password that end with the last @ before one of these characters.

    Passwords may have these in them, written as they are: where no host and port stands before the first one, the login
    goes on, to the last @ there is.
    """
    if not address.startswith("://"):
        return address
    before, authority = _until(address[3:], until), _until(address[3:], "/?#")
    is_host = _HOST.fullmatch(authority.rpartition("@")[2]) is not None
    user, found, _ = (before if is_host else address[3:]).rpartition("@")
    return f"://***@{address[3 + len(user) + 1 :]}" if found else address


def _without_values(address: str) -> str:
    return _ADDRESS_QUERY.sub(r"\1***", address)


def _until(text: str, characters: str) -> str:
    """What stands before the first of these characters."""
    return text[: min((place for place in map(text.find, characters) if place >= 0), default=len(text))]
