"""JSON as others may write it: any formatting, escapes, numbers and repeated names."""

import json
from random import Random

from hypothesis import strategies as st

NUMBERS = ("0", "-0", "1.0", "-1.50", "1e400", "1E+2", "12345678901234567890", "0.10000000000000000000001", "1e-999")
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


class Object(tuple):
    """The members of an object as (name, value), in order; a name may come twice."""


class Number(str):
    """A number as it is written."""


SCALARS = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS).map(Number), TEXT)


def values(names=TEXT, scalars=SCALARS, *, max_leaves=8):
    """Any value; `names` are those of its objects' members."""
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | objects(names, inner),
        max_leaves=max_leaves,
    )


def objects(names, inner, *, max_size=4):
    return st.lists(st.tuples(names, inner), max_size=max_size).map(Object)


def spelled(value, seed=0, *, escapes=True, spaces=True):
    """The value as JSON text; the seed settles where whitespace and needless escapes go."""
    return _Speller(Random(seed), escapes=escapes, spaces=spaces).text(value).encode()


def raw_members(body):
    """The members of an object as (name, raw text of the value), found by the standard library's decoder."""
    text, decoder, found = body.decode(), json.JSONDecoder(), []
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = decoder.raw_decode(text, start)
        found.append((name, text[start:end]))
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at
    return found


def _skip(text, at):
    while text[at] in " \t\r\n":
        at += 1
    return at


class _Speller:
    def __init__(self, random, *, escapes, spaces):
        self._random = random
        self._escapes = escapes
        self._spaces = spaces
        self._eagerness = random.choice((0.0, 0.1, 1.0))

    def text(self, value):
        return self._space() + self._bare(value) + self._space()

    def _bare(self, value):
        if isinstance(value, Number):
            return value
        if isinstance(value, str):
            return '"' + "".join(map(self._character, value)) + '"'
        if isinstance(value, Object):
            return "{" + ",".join(f"{self.text(name)}:{self.text(item)}" for name, item in value) + self._space() + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(self.text, value)) + self._space() + "]"
        return json.dumps(value)

    def _space(self):
        return "".join(self._random.choices(" \t\r\n", k=self._random.choice((0, 0, 0, 1, 3)))) if self._spaces else ""

    def _character(self, char):
        if self._escapes and self._random.random() < self._eagerness:
            return self._needless_escape(char)
        return json.dumps(char, ensure_ascii=False)[1:-1]

    def _needless_escape(self, char):
        if char == "/" and self._random.random() < 0.7:
            return "\\/"
        units = char.encode("utf-16-be")
        return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
