"""The mirror: what does not change comes back byte for byte, however it was written."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.protocol.mirror import depth, members, splice
from tests.protocol.json_texts import TEXT, objects, raw_members, spelled, values

NAMES = st.sampled_from(["name", "custom", "restClientConfig", "", 'quo"te', "Ключ", "😀", "a/b\\"]) | TEXT
BODIES = st.builds(spelled, objects(NAMES, values(NAMES), max_size=6), st.integers(0, 2**32))
CHANGES = st.dictionaries(
    NAMES, st.builds(spelled, values(NAMES), st.integers(0, 99)).map(bytes.strip), min_size=1, max_size=4
)


def decoded(changes):
    return {name: value.decode() for name, value in changes.items()}


@given(BODIES)
@example(b'{"a":1.0,"b":1e400,"c":12345678901234567890,"a":"\\u0061","d":"\\/"}')
@example(b"{}")
@example(b' \r\n{\t"x" : [ ] }\n')
def test_without_changes_the_very_same_bytes_come_back(body):
    assert splice(body, {}) == body


@given(BODIES, CHANGES)
@example(b'{"n\\u0061me":1,"name":2,"x":3}', {"name": b"9"})
@example(b'{"x":"\\"name\\":1","y":{"name":1}}', {"name": b"9"})
@example(b" { } ", {"name": b"9"})
@example(b'{"x":{"}":"}"}}', {"x": b"[]", "y": b"{}"})
def test_only_the_named_members_change(body, changes):
    before = raw_members(body)
    new = decoded(changes)
    had = {name for name, _ in before}
    assert raw_members(splice(body, changes)) == [
        *((name, new.get(name, text)) for name, text in before),
        *((name, text) for name, text in new.items() if name not in had),
    ]


@given(BODIES, CHANGES)
def test_changing_back_gives_the_very_same_bytes(body, changes):
    before = raw_members(body)
    once = {name: text.encode() for name, text in before if [other for other, _ in before].count(name) == 1}
    there = {name: value for name, value in changes.items() if name in once}
    assert splice(splice(body, there), {name: once[name] for name in there}) == body


@given(BODIES)
def test_members_are_found_as_the_standard_library_finds_them(body):
    assert [(member.name, body[member.start : member.end].decode()) for member in members(body)] == raw_members(body)


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "line\nbreak", "Ключ"])
def test_a_member_that_is_added_has_its_name_escaped(name):
    assert json.loads(splice(b'{"a":1}', {name: b"2"})) == {"a": 1, name: 2}


def nesting(value):
    inner = [item for _, item in value] if isinstance(value, tuple) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(nesting, inner), default=0)


@given(values(NAMES), st.integers(0, 2**32))
@example([[], [[]]], 0)
@example("[[[{{{", 0)
@example('"[', 1)
def test_depth_is_how_deeply_the_value_nests(value, seed):
    assert depth(spelled(value, seed)) == nesting(value)


def naive_depth(text):
    deepest = now = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "[{":
            now += 1
            deepest = max(deepest, now)
        elif char in "]}":
            now -= 1
    return deepest


@given(st.text('[]{}"\\ a\n', max_size=30))
@example('"\\\\"[')
@example('["\\"[[["]')
@example('"[[[')
@example('["a\\')
def test_depth_of_text_that_is_no_json_counts_brackets_outside_strings(text):
    assert depth(text.encode()) == naive_depth(text)


@pytest.mark.parametrize("text", [b'\\"', b'"\\', b'"', b"[", b'["', b'"a\\"'])
def test_no_text_makes_depth_take_its_time(text):
    body = b"[" * 33 + text * (200_000 // len(text))
    started = time.process_time()
    depth(body)
    assert time.process_time() - started < 1
