"""The mirror: our answer is the bytes that came, changed in exactly the members that must change.

Parsing and writing again would turn `1.0` into `1`, lose digits, order and duplicate keys. So nothing is written
again: members are found in the text and their values replaced there.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s]+")
_NESTING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)
"""A string (one that never ends goes to the end, so that no text takes more than one pass), or a bracket."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a JSON object: its name, and where its value stands in the text."""

    name: str
    start: int
    end: int


def members(body: bytes) -> Iterator[Member]:
    """The top-level members of a well-formed JSON object, in order, duplicates included."""
    at = _after_space(body, _after_space(body, 0) + 1)
    while body[at : at + 1] == b'"':
        key_end = _end_of_value(body, at)
        start = _after_space(body, _after_space(body, key_end) + 1)
        end = _end_of_value(body, start)
        yield Member(json.loads(body[at:key_end]), start, end)
        at = _after_space(body, end)
        if body[at : at + 1] == b",":
            at = _after_space(body, at + 1)


def splice(body: bytes, changes: Mapping[str, bytes]) -> bytes:
    """The object with the named members' values replaced; members it does not have are added at its end.

    `changes` maps names to JSON text. Everything else comes back byte for byte.
    """
    pieces, done, missing = [], 0, dict(changes)
    last = None
    for last in members(body):
        if last.name in changes:
            pieces += [body[done : last.start], changes[last.name]]
            done = last.end
            missing.pop(last.name, None)
    pieces.append(body[done:])
    text = b"".join(pieces)
    return _append(text, missing, empty=last is None) if missing else text


def depth(body: bytes) -> int:
    """How deeply arrays and objects nest, brackets inside strings aside. Works on text that is not JSON, too."""
    deepest = now = 0
    for token in _NESTING.finditer(body):
        mark = body[token.start()]
        if mark in b"[{":
            now += 1
            deepest = max(deepest, now)
        elif mark in b"]}":
            now -= 1
    return deepest


def _append(body: bytes, new: Mapping[str, bytes], *, empty: bool) -> bytes:
    text = b",".join(json.dumps(name).encode() + b":" + value for name, value in new.items())
    end = body.rindex(b"}")
    return body[:end] + (b"" if empty else b",") + text + body[end:]


def _after_space(body: bytes, at: int) -> int:
    match = _SPACE.match(body, at)
    return match.end() if match else at


def _end_of_value(body: bytes, at: int) -> int:
    """Where the value that starts at `at` ends."""
    first = body[at : at + 1]
    if first == b'"':
        string = _STRING.match(body, at)
        return string.end() if string else len(body)
    if first not in (b"{", b"["):
        scalar = _SCALAR.match(body, at)
        return scalar.end() if scalar else len(body)
    open_brackets = 0
    for token in _NESTING.finditer(body, at):
        mark = body[token.start()]
        if mark in b"[{":
            open_brackets += 1
        elif mark in b"]}":
            open_brackets -= 1
            if not open_brackets:
                return token.end()
    return len(body)
