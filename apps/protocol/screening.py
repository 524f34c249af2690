"""What may be stored of a body: everything but secrets, SDP and bulk, which are replaced where they stand.

The rest stays byte for byte as received. It errs towards leaving out: what looks like a secret is one.
"""

import json
import re
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from apps.protocol.messages import ABSENT, Wire
from apps.protocol.methods import METHODS
from apps.protocol.mirror import members

LEFT_OUT = b'"[left out]"'

SECRET_MEMBERS = frozenset({"sipPassword", "authToken", "token", "password"})
"""Top-level members of WCS that carry a secret, in whatever method they come."""

SEARCHED_MEMBERS = frozenset(
    {"custom", "payload", "details", "sipMessageRaw", "sipHeaders", "sipContactParams", "inviteParameters"}
)
"""Top-level members that applications or SIP peers fill: searched for secrets at any depth."""

UNSTORED_MEMBERS = frozenset(name for method in METHODS for name in method.unstored) - SECRET_MEMBERS
"""Top-level members that are only bulk."""

_LOOKED_INTO = tuple(sorted(SECRET_MEMBERS | SEARCHED_MEMBERS | UNSTORED_MEMBERS))
_values = attrgetter(*_LOOKED_INTO)
_HARMLESS = (b"", b"null", b"{}", b"[]", b'""')

_SECRET_NAME = re.compile(
    r"pass|pwd|secret|token|auth|credential|signature|api[_-]?key|access[_-]?key|jwt|^(key|sig|pin|hash)$",
    re.IGNORECASE,
)
_SIP_SECRET = re.compile(
    r"^((?:proxy-)?authorization|a=crypto|a=ice-pwd)[ \t]*:[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*",  # and folded lines
    re.IGNORECASE | re.MULTILINE,
)
_ADDRESS = re.compile(r'://[^"\s]*', re.ASCII)
_ADDRESS_BYTES = re.compile(rb'://(?:[^"\s\\]|\\[\\/])*+')
_ADDRESS_USER = re.compile(r"^://[^/?#]*@")
_ADDRESS_QUERY = re.compile(r"([?&;](?:[^=&;?#]*+=)?+|#[^=&;?#]*+=)[^&;#]+")
"""A value of the query, with its name if it has one; or one of the fragment, with its name. One pass of any text."""


class RepeatedName(ValueError):
    """An object has two members of one name. Reading it would lose one of them, and what it hides."""


def screen(body: bytes, wire: Wire, secret_name: str = "token") -> bytes:  # noqa: S107
    """The body as it may be stored; `wire` is what was read of it, `secret_name` what the app calls its token."""
    body = _screen_members(body, wire, secret_name)
    if b":/" in body:
        body = _ADDRESS_BYTES.sub(_screened_address_bytes, body)
    return body


def screen_text(text: str) -> str:
    """A name or address without what a URL may hide: user and password, and the values of its query."""
    return _ADDRESS.sub(_screened_address, text) if "://" in text else text


def _screen_members(body: bytes, wire: Wire, secret_name: str) -> bytes:
    """Find by search the few members that may have to go, where that is certain to find the right place.

    It is when the member's name stands once in the text and nothing is written with escapes; else every member is
    looked at.
    """
    if b"\\u" in body or b"\\/" in body:
        return _screen_every_member(body, secret_name)
    if secret_name not in SECRET_MEMBERS and _quoted(secret_name) in body:
        return _screen_every_member(body, secret_name)
    for name, raw in zip(_LOOKED_INTO, _values(wire), strict=True):
        if raw is ABSENT:
            continue
        value = bytes(raw)
        key = _quoted(name)
        if body.count(key) != 1:  # it may stand twice: what was read is only the last one
            return _screen_every_member(body, secret_name)
        if value in _HARMLESS:
            continue
        start = body.index(value, body.index(key) + len(key))
        body = body[:start] + _kept(name, value, secret_name) + body[start + len(value) :]
    return body


def _screen_every_member(body: bytes, secret_name: str) -> bytes:
    pieces, done = [], 0
    for member in members(body):
        pieces += [
            body[done : member.start],
            _kept(member.name, body[member.start : member.end], secret_name),
        ]
        done = member.end
    pieces.append(body[done:])
    return b"".join(pieces)


def _kept(name: str, value: bytes, secret_name: str) -> bytes:
    """What is stored for the value of one top-level member."""
    if value in _HARMLESS:
        return value
    if name in SECRET_MEMBERS or name in UNSTORED_MEMBERS or name == secret_name:
        return LEFT_OUT
    if name in SEARCHED_MEMBERS or b"\\/" in value or b"\\u" in value:
        try:
            parsed = _parse(value)
        except RepeatedName:
            return LEFT_OUT
        screened = _without_secrets(parsed, secret_name)
        return value if screened == parsed else msgspec.json.encode(screened)
    return value


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
            name: "***" if name == secret_name or _SECRET_NAME.search(name) else _without_secrets(item, secret_name)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item, secret_name) for item in value]
    return screen_text(_SIP_SECRET.sub(r"\1: ***", value)) if isinstance(value, str) else value


def _screened_address(match: re.Match[str]) -> str:
    return _ADDRESS_QUERY.sub(r"\1***", _ADDRESS_USER.sub("://***@", match[0]))


def _screened_address_bytes(match: re.Match[bytes]) -> bytes:
    text = match[0].decode(errors="surrogateescape")
    return _ADDRESS_QUERY.sub(r"\1***", _ADDRESS_USER.sub("://***@", text)).encode(errors="surrogateescape")


@lru_cache(maxsize=64)
def _quoted(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False).encode()
