"""What is no hook: each gets the status that says so, in JSON; nothing of it is allowed, and what is unreadable is
not recorded."""

import json
import time

import msgspec
import pytest

from apps.protocol.messages import MAX_BYTES, MAX_DEPTH, Wire
from tests import factories
from tests.hooks.processes import recorded, the_record

IDS = b'"nodeId":"Hw47@192.168.1.101","appKey":"defaultApp","sessionId":"/192.168.1.38:64604/192.168.1.101:8443"'
ALICE = b'"custom":{"token":"tok-alice"}'


def hook(*members):
    return b"{" + b",".join((IDS, *members)) + b"}"


def nested(depth):
    """A hook that nests so deep: its `extra` does one level less."""
    return hook(ALICE, b'"extra":' + b"[" * (depth - 1) + b"]" * (depth - 1))


def long(size):
    """A hook of so many bytes."""
    body = hook(ALICE, b'"extra":""')
    return body[:-2] + b"x" * (size - len(body)) + body[-2:]


def is_problem(answer, status, error):
    """Such an answer: an object of exactly an error and a sentence about it."""
    told = json.loads(answer.body)
    return (
        (answer.status, told.keys(), told["error"]) == (status, {"error", "detail"}, error)
        and answer.body.isascii()
        and 0 < len(told["detail"]) < 300
    )


UNREADABLE = {
    "empty": b"",
    "spaces": b" \n",
    "an array": b"[]",
    "an array of hooks": b"[" + hook(ALICE) + b"]",
    "a string": b'"hook"',
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "words": b"hook",
    "a form": b"nodeId=N&appKey=defaultApp",
    "cut off": hook(ALICE)[:-1],
    "followed by more": hook(ALICE) + b"}",
    "two hooks": hook(ALICE) * 2,
    "a comma too many": hook(ALICE)[:-1] + b",}",
    "a comma too few": hook(ALICE).replace(b",", b" ", 1),
    "single quotes": hook(ALICE).replace(b'"', b"'"),
    "a comment": hook(ALICE) + b"// hook",
    "a key without quotes": hook(ALICE, b"extra:1"),
    "NaN": hook(ALICE, b'"extra":NaN'),
    "Infinity": hook(ALICE, b'"extra":-Infinity'),
    "a leading zero": hook(ALICE, b'"extra":01'),
    "half a number": hook(ALICE, b'"extra":1e'),
    "an unknown escape": hook(ALICE, rb'"extra":"\x41"'),
    "half an escape": hook(ALICE, rb'"extra":"\u00"'),
    "a lone high surrogate": hook(ALICE, rb'"extra":"\ud800"'),
    "a lone high surrogate before more": hook(ALICE, rb'"extra":"\ud800 and so on, and so on"'),
    "a lone low surrogate": hook(ALICE, rb'"extra":"\udc00"'),
    "a lone surrogate in a member that is read": hook(ALICE, rb'"name":"lobby\ud800"'),
    "a raw NUL": hook(ALICE, b'"extra":"a\x00b"'),
    "a raw NUL after it": hook(ALICE) + b"\x00",
    "a raw line feed in a string": hook(ALICE, b'"extra":"a\nb"'),
    "a byte order mark": b"\xef\xbb\xbf" + hook(ALICE),
    "UTF-16": hook(ALICE).decode().encode("utf-16"),
    "Latin-1": hook(ALICE, '"extra":"Zoë"'.encode("latin-1")),
    "UTF-8 that was cut off": hook(ALICE, b'"extra":"\xe2\x82"'),
    "UTF-8 of a surrogate": hook(ALICE, b'"extra":"\xed\xa0\x80"'),
    "UTF-8 longer than need be": hook(ALICE, b'"extra":"\xc0\xaf"'),
    "zeros": b"\x00" * 100,
    "gzip": b"\x1f\x8b\x08\x00" + b"\x00" * 50,
}

METHODS = ("connect", "publishStream", "playHLS", "StreamStatusEvent", "OnHologramEvent")


@pytest.fixture
def sent(wcs):
    """Everything would be allowed, were it a hook."""
    factories.make_app(guests=True)
    factories.make_token(factories.make_user())
    factories.make_rule("connect", "publish", "play")
    factories.make_rule("connect", "publish", "play", guests=True)
    return wcs.raw


def test_the_same_world_allows_what_is_a_hook(sent):
    assert sent("connect", hook(ALICE)).status == 200


def test_a_body_that_cannot_be_read_is_a_400_and_not_recorded(sent, subtests):
    for what, body in UNREADABLE.items():
        for method in METHODS:
            with subtests.test(what, method=method):
                assert is_problem(sent(method, body), 400, "malformed")
    assert not recorded()


def members_read():
    """Each member that is read, with a value of every other type."""
    values = {"str": b'"text"', "bool": b"true", "number": b"5", "array": b'["text"]', "object": b'{"a":1}'}
    for field in msgspec.structs.fields(Wire):
        if field.type is not msgspec.Raw:
            right = "bool" if field.encode_name == "published" else "str"
            for kind, value in values.items():
                if kind != right:
                    yield field.encode_name, kind, b'"%s":%s' % (field.encode_name.encode(), value)


def test_a_member_that_is_read_must_have_its_type(sent, subtests):
    for name, kind, member in members_read():
        with subtests.test(name, type=kind):
            for method in ("publishStream", "StreamStatusEvent"):
                assert is_problem(sent(method, hook(member)), 400, "malformed")
    assert not recorded()


def test_custom_must_be_an_object_where_it_may_carry_a_credential(sent, subtests):
    for value in (b'"text"', b"5", b"true", b'["tok-alice"]', b'[{"token":"tok-alice"}]'):
        for method in ("connect", "playHLS"):
            with subtests.test(method, custom=value):
                assert is_problem(sent(method, hook(b'"custom":' + value)), 400, "malformed")
    assert not recorded()


def test_ids_longer_than_any_of_wcs_are_a_400(sent, subtests):
    for name in (b"nodeId", b"appKey", b"sessionId", b"mediaSessionId", b"callId"):
        with subtests.test(name.decode()):
            too_long = b'{"nodeId":"N","sessionId":"S","appKey":"defaultApp","%s":"%s"}' % (name, b"x" * 256)
            assert is_problem(sent("StreamStatusEvent", too_long), 400, "malformed")
            assert sent("StreamStatusEvent", too_long.replace(b"x" * 256, "ü".encode() * 255)).status != 400


def test_connect_needs_the_ids_of_its_session(sent):
    for body in (b"{}", b'{"nodeId":"N","appKey":"defaultApp"}', b'{"sessionId":"S","appKey":"defaultApp"}'):
        assert is_problem(sent("connect", body), 400, "malformed")


def test_numbers_too_big_for_any_type_are_mirrored_all_the_same(sent):
    for number in (b"1e999", b"-1e-999", b"9" * 5000, b"0." + b"3" * 5000):
        body = hook(b'"custom":{"token":"tok-alice","weight":%s}' % number, b'"weight":%s' % number)
        assert sent("publishStream", body).status == 403, "no session: decided, not stumbled over"
        answer = sent("playHLS", body)
        assert (answer.status, answer.body) == (200, body)


# Size


def test_a_body_may_have_256_kib_and_not_a_byte_more(sent):
    answer = sent("playHLS", long(MAX_BYTES))
    assert (answer.status, len(answer.body)) == (200, MAX_BYTES)
    for body in (long(MAX_BYTES + 1), b"x" * (MAX_BYTES + 1)):
        assert is_problem(sent("playHLS", body), 413, "too-large")
    assert len(recorded()) == 1


def test_a_body_may_nest_32_deep_and_no_deeper(sent):
    assert sent("playHLS", nested(MAX_DEPTH)).status == 200
    for body in (nested(MAX_DEPTH + 1), nested(5000), b"[" * 100_000, b'{"a":' * 40_000):
        assert is_problem(sent("playHLS", body), 413, "too-large")
    assert len(recorded()) == 1


def test_brackets_in_strings_do_not_nest(sent):
    assert sent("playHLS", hook(ALICE, b'"extra":"' + b"[{" * 5000 + b'"')).status == 200
    assert sent("playHLS", hook(ALICE, b'"extra":"\\"' + b"[{" * 5000 + b'"')).status == 200


def test_a_string_that_never_ends_takes_no_longer_than_others(sent):
    began = time.process_time()
    assert is_problem(sent("playHLS", b"[" * 20 + b'"' + b'\\"' * 120_000), 400, "malformed")
    assert is_problem(sent("playHLS", b"[" * 33 + b'"' + b'\\"' * 120_000), 413, "too-large")
    assert time.process_time() - began < 2, "a look at every byte takes milliseconds, one for every pair minutes"


# Verb and content type


def test_any_verb_but_post_is_a_405(sent, subtests):
    for verb in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post", "HOOK", ""):
        with subtests.test(verb):
            answer = sent("playHLS", hook(ALICE), environ={"REQUEST_METHOD": verb})
            assert is_problem(answer, 405, "not-post")
            assert answer.headers == (("Allow", "POST"),)
    assert not recorded()


def test_what_does_not_say_it_is_json_in_utf_8_is_a_415(sent, subtests):
    for content_type in (
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/*",
        "application/jsonp",
        "application/json-patch+json",
        "application/json;charset=latin-1",
        "application/json;charset=UTF-16",
        "application/json;charset=",
        'application/json;charset="utf-8',
        "application/json, text/plain",
        "json",
    ):
        with subtests.test(content_type):
            answer = sent("playHLS", hook(ALICE), environ={"CONTENT_TYPE": content_type})
            assert is_problem(answer, 415, "not-json")
    assert not recorded()


def test_a_missing_content_type_is_a_415(sent, wcs):
    del wcs.environ["CONTENT_TYPE"]
    assert is_problem(sent("playHLS", hook(ALICE)), 415, "not-json")


def test_json_may_be_named_in_several_ways(sent, subtests):
    for content_type in (
        "application/json",
        "application/json;charset=UTF-8",
        "Application/JSON; Charset=utf-8",
        'application/json; charset="UTF-8"',
        " application/json ; charset=utf-8 ",
        "application/json;",
    ):
        with subtests.test(content_type):
            assert sent("playHLS", hook(ALICE), environ={"CONTENT_TYPE": content_type}).status == 200


# NUL, written as JSON may write it


def test_an_escaped_nul_in_a_name_is_decided_and_recorded(sent):
    answer = sent("publishStream", hook(rb'"name":"lob\u0000by"'))
    assert (answer.status, json.loads(answer.body)["error"]) == (403, "unknown-session")
    assert the_record().target == "lob\ufffdby"


def test_an_escaped_nul_does_not_pass_for_another_name(sent):
    """Where it is refused it is refused as what it is, not as what Postgres makes of it."""
    factories.make_rule("play", effect="deny", target=("exact", "lobby"))
    factories.make_rule("play", effect="deny", target=("exact", "lob\ufffdby"))
    answer = sent("playHLS", hook(ALICE, rb'"name":"lob\u0000by"'))
    assert (answer.status, answer.body) == (200, hook(ALICE, rb'"name":"lob\u0000by"'))
    assert sent("playHLS", hook(ALICE, b'"name":"lobby"')).status == 403


def test_an_escaped_nul_in_every_member_is_recorded(sent):
    body = json.dumps(
        {
            field.encode_name: "a\x00b" if field.type is not msgspec.Raw else {"a\x00b": "c\x00d"}
            for field in msgspec.structs.fields(Wire)
            if field.encode_name != "published"
        }
    ).encode()
    assert sent("StreamStatusEvent", body).status == 200
    record = the_record()
    assert {
        getattr(record, name) for name in ("node_id", "app_key", "session_id", "media_session_id", "call_id", "status")
    } == {"a\ufffdb"}


def test_an_app_key_with_an_escaped_nul_is_nobodys(sent):
    body = hook(ALICE).replace(b"defaultApp", rb"defaultApp\u0000")
    answer = sent("playHLS", body)
    assert (answer.status, json.loads(answer.body)["error"]) == (403, "unknown-app")


# A fault of our own


def test_a_fault_is_a_500_that_tells_nothing(sent, monkeypatch):
    def stumble(*_):
        raise ZeroDivisionError("something private")

    monkeypatch.setattr("apps.hooks.answer.decide", stumble)
    answer = sent("playHLS", hook(ALICE))
    assert is_problem(answer, 500, "fault")
    assert b"private" not in answer.body
    assert not recorded()
