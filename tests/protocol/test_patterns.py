"""Whoever may send a hook chooses its texts: no pattern takes more than one pass of them, whatever they are.

While a pattern is at work, no other hook of its process is answered.
"""

import re
import time
from importlib import import_module
from pkgutil import iter_modules

import pytest
from hypothesis import given
from hypothesis import strategies as st

import apps.protocol
from apps.protocol.numbers import canonical, hides_digits, host_of, user_part
from apps.protocol.screening import screen_text
from tests.protocol.test_numbers import GERMANY

LENGTH = 65_536
ENOUGH = 0.2
"""Seconds of the processor for such a text. One pass takes a tenth of it; a pass for each piece takes seconds."""

MATCH, SEARCH, FULLMATCH, SUB = "match", "search", "fullmatch", "sub"
WORST = {
    "mirror._SPACE": (MATCH, [("", " ", "x")]),
    "mirror._STRING": (MATCH, [('"', "a", ""), ('"', '\\"', ""), ('"', "\\\\", "")]),
    "mirror._SCALAR": (MATCH, [("", "1", ""), ("1", "-", ",")]),
    "mirror._NESTING": (SUB, [("", '"', ""), ("", '"\\"', ""), ("", '\\"', ""), ("", "[", ""), ('"', "a", "")]),
    "messages._TRACK": (SUB, [("", "/trackID=", ""), ("", "/trackID=1", "x"), ("/trackID=", "1", "x")]),
    "messages._CLIENT_ADDRESS": (MATCH, [("/", ":1", "x"), ("/", ":", "1x"), ("/[", "a", ""), ("/a:", "1", "x")]),
    "numbers._ESCAPED_PERCENT": (SUB, [("%", "25", "x"), ("", "%25", "x"), ("", "%", ""), ("%", "2", "x")]),
    "numbers._QUOTED_NAME": (
        MATCH,
        [('"', '\\"', ""), ('"', "a", ""), ("", " ", ""), ('""', " ", ""), ('"', '\\"', '"')],
    ),
    "numbers._IN_BRACKETS": (MATCH, [("", "a", ""), ("<", "a", ""), ("", "<", ">")]),
    "numbers._BEFORE_USER": (MATCH, [("", "sip", ""), ("sip", " ", ""), ("", "sip: ", "x"), ("", "sip :", "tel")]),
    "numbers._AFTER_USER": (SEARCH, [("", ";", ""), (";", " ", ""), ("", "; ", "1"), ("", "?;\t", "")]),
    "numbers._PLAIN": (FULLMATCH, [("", "1", "@"), ("1@", "a", ";"), ("sip:", "1", ";user="), ("", "sip", ":")]),
    "numbers._CONTEXT": (
        SUB,
        [(";phone-context=+", "1 ", ""), ("", ";phone-context=", ""), ("", "; ", ""), (";phone-context", " ", "")],
    ),
    "numbers._LEADING_PLUS": (MATCH, [("", "0", ""), ("", "+0", ""), ("", "+", "1")]),
    "numbers._ZERO_BELONGS": (MATCH, [("", "39", ""), ("8", "8", "")]),
    "numbers._ZERO_AFTER_COUNTRY": (MATCH, [("49", "0", ""), ("", "1", "")]),
    "numbers._NUMBER_THEN_LETTERS": (
        MATCH,
        [
            ("", "1 ", ""),
            ("", "1", ""),
            ("12345", " ", ""),
            ("12345p", " ", "1"),
            ("1", "1-.", "w 1"),
            ("1", "1 ,", ""),
        ],
    ),
    "screening._SECRET_NAME": (SEARCH, [("", "a", ""), ("", "api_", ""), ("", "pas", ""), ("", "access_ke", "")]),
    "screening._SIP_SECRET": (
        SUB,
        [
            ("", "a-", ""),
            ("", "x-token\n", ""),
            ("authorization:", "\n ", ""),
            ("authorization", " ", ""),
            ("", "authorization:\r\n", ""),
            ("", "\r\n-token-token-token", ":"),
        ],
    ),
    "screening._ADDRESS": (SUB, [("", "://", ""), ("", "?", ""), ("", f"?{'a' * 64}", ""), ("", "?a", " ")]),
    "screening._HOST": (
        FULLMATCH,
        [("", ":", ""), ("", "a", "::"), ("[", "a", ""), ("[", "]", ":"), ("a:", "1", "x"), ("", "[]:1", "")],
    ),
    "screening._ADDRESS_QUERY": (
        SUB,
        [
            *(("?", "&", ""), ("?", "#", ""), ("?", "a=&", ""), ("", "#a", ""), ("?", ";?", ""), ("&", "a", "")),
            *(("/", "a", ""), ("", "/a", ""), ("", "/", "="), ("", "/=", ""), ("", "/a=", "&"), ("/a=", "/a", "")),
        ],
    ),
    "screening._SIP_USER": (
        SUB,
        [
            ("@ ", "sip:a:", ""),
            ("@ ", "sip:", ""),
            ("", "sip:", "@"),
            ("", "sip:a:", " @"),
            ("", "sips:", "@"),
            ("", "sip", "@"),
            ("", "@", "sip:"),
            ("sip:a:", "b", '"'),
            ("", "sip:a ", "@"),
            ("", "a", ""),
        ],
    ),
}


def patterns():
    modules = [import_module(f"apps.protocol.{found.name}") for found in iter_modules(apps.protocol.__path__)]
    return {
        f"{module.__name__.removeprefix('apps.protocol.')}.{name}": value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, re.Pattern)
    }


def seconds(work, text):
    """What it takes of the processor; looked at again where it is too much, as others may have been in the way."""
    for _ in range(2):
        started = time.process_time()
        work(text)
        took = time.process_time() - started
        if took < ENOUGH:
            break
    return took


def text_of(head, piece, tail):
    return head + piece * (LENGTH // len(piece)) + tail


def test_of_every_pattern_the_worst_texts_are_known():
    assert patterns().keys() == WORST.keys()


@pytest.mark.parametrize("name", WORST)
def test_no_pattern_takes_more_than_a_pass(name):
    pattern = patterns()[name]
    how, texts = WORST[name]
    for parts in texts:
        text = text_of(*parts)
        text = text.encode() if isinstance(pattern.pattern, bytes) else text
        used = getattr(pattern, how)
        took = seconds(lambda text: used(text[:0], text) if how == SUB else used(text), text)  # noqa: B023 - at once
        assert took < ENOUGH, parts


@pytest.mark.parametrize(
    "reads", [screen_text, user_part, hides_digits, host_of, lambda text: canonical(text, GERMANY)]
)
def test_no_reading_takes_more_than_a_few_passes(reads):
    for name in WORST:
        for parts in WORST[name][1]:
            assert seconds(reads, text_of(*parts)) < ENOUGH, parts


@given(
    st.text(st.sampled_from('sSiIpP::::@@a "\n'), max_size=30)
    | st.lists(st.sampled_from(["sip:", "sips:", "SIP:", "a", ":", "@", " ", '"']), max_size=12).map("".join)
)
def test_of_sip_addresses_exactly_the_passwords_are_left_out(text):
    """As one would write it without regard to time."""
    plainly = re.compile(r'(sips?:[^:@\s"]*):[^@\s"]*@', re.IGNORECASE)
    assert screen_text(text) == plainly.sub(r"\1:***@", text)
