"""What is stored of a body: everything but secrets, SDP and bulk."""

import hashlib
import json
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.protocol.messages import HookCall, MalformedHook
from apps.protocol.methods import METHODS
from apps.protocol.mirror import splice
from apps.protocol.screening import UNSTORED_MEMBERS, screen, screen_source, screen_text
from tests.protocol.json_texts import TEXT, Object, raw_members, spelled, values
from tests.secret_sources import SOURCES

SECRET_MEMBERS = frozenset({"sipPassword", "authToken", "token", "password", "rtmpUrl"})
SEARCHED_MEMBERS = frozenset(
    {"custom", "payload", "details", "sipMessageRaw", "sipHeaders", "sipContactParams", "inviteParameters"}
)

PAYLOADS = sorted((Path(__file__).parent.parent / "payloads").glob("*.json"))
HEAD, TAIL = "cAnArY", "yRaNaC"
IDS = (("nodeId", "n"), ("appKey", "a"), ("sessionId", "s"))
SEEDS = st.integers(0, 2**32)


def screened(body, secret_name="token"):
    return screen(body, secret_name)


def stored(members, secret_name="token"):
    """What is stored of a hook with these members, parsed."""
    return json.loads(screened(json.dumps({**dict(IDS), **members}).encode(), secret_name))


def assert_gone(body):
    """No piece of the canary is in the text, nor in what the text says; and it still is one JSON object."""
    said = json.dumps(json.loads(body, object_pairs_hook=list), ensure_ascii=False)
    for text in (body.decode(), said):
        assert HEAD not in text
        assert TAIL not in text
    assert isinstance(json.loads(body), dict)


# One example each


@pytest.mark.parametrize("name", sorted(SECRET_MEMBERS))
@pytest.mark.parametrize("secret", ["1234", 1234, ["1234"], {"value": "1234"}])
def test_a_secret_of_wcs_is_left_out(name, secret):
    assert stored({name: secret, "status": "NEW"})[name] == "[left out]"


@pytest.mark.parametrize("name", sorted(UNSTORED_MEMBERS))
def test_bulk_is_left_out(name):
    assert stored({name: "v=0\r\no=- 1"})[name] == "[left out]"


def test_the_sdp_and_logs_are_bulk():
    assert {"sdp", "sipSDP", "logs", "sipPassword"} == UNSTORED_MEMBERS
    assert {name for method in METHODS for name in method.unstored} <= UNSTORED_MEMBERS | SECRET_MEMBERS


@pytest.mark.parametrize("nothing", [None, "", {}, []])
def test_nothing_in_a_secrets_place_stays_as_it_is(nothing):
    assert stored({"token": nothing, "custom": nothing, "sdp": nothing}) == {
        **dict(IDS),
        "token": nothing,
        "custom": nothing,
        "sdp": nothing,
    }


@pytest.mark.parametrize(
    "name",
    ["token", "Password", "userPwd", "client_secret", "accessToken", "aclAuth", "credentials", "sig", "pin", "apiKey"],
)
def test_what_is_called_like_a_secret_in_custom_is_one(name):
    assert stored({"custom": {"room": "a", name: "1234"}})["custom"] == {"room": "a", name: "***"}


def test_the_apps_own_name_for_its_token_is_one_too():
    assert stored({"custom": {"ticket": "1234", "room": "a"}}, "ticket")["custom"] == {"ticket": "***", "room": "a"}
    assert stored({"ticket": "1234", "room": "a"}, "ticket") == {**dict(IDS), "ticket": "[left out]", "room": "a"}
    assert stored({"custom": {"ticket": "1234"}})["custom"] == {"ticket": "1234"}


@pytest.mark.parametrize("secret_name", ["ключ", 'quo"te', "a/b", "back\\slash"])
def test_an_app_may_call_its_token_what_it_likes(secret_name):
    for escaped in (True, False):
        body = json.dumps({**dict(IDS), secret_name: "1234", "custom": {secret_name: "1234"}}, ensure_ascii=escaped)
        assert b"1234" not in screened(body.encode(), secret_name)


def test_secrets_are_found_however_deep():
    custom = {"a": [{"b": {"password": "1234", "c": 1}}]}
    assert stored({"custom": custom})["custom"] == {"a": [{"b": {"password": "***", "c": 1}}]}


@pytest.mark.parametrize("name", sorted(SEARCHED_MEMBERS))
def test_whatever_applications_or_sip_peers_fill_is_searched(name):
    assert stored({name: {"token": "1234"}})[name] == {"token": "***"}


def test_where_a_stream_is_republished_is_left_out_as_its_path_ends_with_a_key():
    assert stored({"rtmpUrl": "rtmp://live.example.org/app/1234"})["rtmpUrl"] == "[left out]"
    assert stored({"custom": {"rtmpUrl": "rtmp://h/1234"}})["custom"] == {"rtmpUrl": "***"}


def test_numbers_beside_a_secret_stay_as_they_are_written():
    body = b'{"custom":{"token":"1234","x":[1.0,1e400,12345678901234567890,-0.10]}}'
    assert screened(body) == b'{"custom":{"token":"***","x":[1.0,1e400,12345678901234567890,-0.10]}}'


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("rtsp://alice:pw@camera/live", "rtsp://***@camera/live"),
        ("rtsp://alice:p@w@camera:554/live", "rtsp://***@camera:554/live"),
        ("rtsp://DOMAIN\\alice:pw@camera/live", "rtsp://***@camera/live"),
        ("rtsp://pw@camera", "rtsp://***@camera"),
        ("https://h/p?a=pw&b=pw;c=pw#top", "https://h/p?a=***&b=***;c=***#top"),
        ("https://h/p?pw", "https://h/p?***"),
        ("https://h/p?a=p=w?pw", "https://h/p?a=***"),
        ("https://h/p?a=&b", "https://h/p?a=&***"),
        ("https://h/p#access_token=pw&x=pw", "https://h/p#access_token=***&x=***"),
        ("see https://u:pw@h/?k=pw or http://u:pw@g", "see https://***@h/?k=*** or http://***@g"),
        ("https://h:8443/a@b/c", "https://h:8443/a@b/c"),
        ("rtsp://alice:p/w@camera/live", "rtsp://***@camera/live"),
        ("rtsp://alice:p#w@camera/live#top", "rtsp://***@camera/live#top"),
        ("rtsp://alice:p?w@x@camera:554/live?k=pw", "rtsp://***@camera:554/live?k=***"),
        ("rtsp://a@b:p/w@[::1]:554/live", "rtsp://***@[::1]:554/live"),
        ("rtsp://[::1]:554/live/a@b", "rtsp://[::1]:554/live/a@b"),
        ("rtsp://camera/user=alice_password=pw_channel=1.sdp", "rtsp://camera/user=***"),
        ("rtsp://camera/user=alice&password=pw&channel=1", "rtsp://camera/user=***&password=***&channel=***"),
        ("rtsp://camera:554/a/password=p/w?k=pw", "rtsp://camera:554/a/password=***"),
        ("https://h/p#top", "https://h/p#top"),
        ("lobby", "lobby"),
        ("alice:pw@camera", "alice:pw@camera"),
    ],
)
def test_an_address_loses_its_user_and_the_values_of_its_query(address, kept):
    assert screen_text(address) == kept
    assert stored({"name": address})["name"] == kept
    assert stored({"custom": {"x": [address]}})["custom"]["x"] == [kept]
    assert json.loads(screened(spelled(Object([("name", address), ("e", "/")]), 1)))["name"] == kept


SIP = "REGISTER sip:h SIP/2.0\r\nVia: x\r\n%s\r\nCall-ID: 7\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('Authorization: Digest response="pw"', "Authorization: ***"),
        ("proxy-authorization : Basic pw", "proxy-authorization: ***"),
        ("Authorization: Digest username=a,\r\n response=pw,\r\n\tnonce=pw", "Authorization: ***"),
        ("X-Auth-Token: pw", "X-Auth-Token: ***"),
        ("X-API-Key: pw", "X-API-Key: ***"),
        ("Cookie: sid=pw", "Cookie: ***"),
        ("X-Campaign: 42", "X-Campaign: 42"),
        ("a=crypto:1 AES inline:pw", "a=crypto: ***"),
        ("a=ice-pwd:pw", "a=ice-pwd: ***"),
        ("WWW-Authenticate: Digest nonce=1", "WWW-Authenticate: Digest nonce=1"),
        ("Subject: Authorization: none", "Subject: Authorization: none"),
    ],
)
def test_a_sip_message_loses_the_lines_that_authorize(line, kept):
    assert stored({"sipMessageRaw": SIP % line})["sipMessageRaw"] == SIP % kept
    assert stored({"sipHeaders": [line]})["sipHeaders"] == [kept]


@pytest.mark.parametrize(
    "body",
    [
        b'{"token":"1234","token":null}',
        b'{"token":null,"token":"1234"}',
        b'{"custom":{"token":"1234"},"custom":{}}',
        b'{"custom":{"token":"1234"},"custom":null}',
        b'{"custom":{},"custom":{"token":"1234"}}',
        b'{"custom":{"a":{"token":"1234"},"a":1}}',
        b'{"custom":{"a":[{"token":"1234"}],"a":[]}}',
        b'{"t\\u006fken":"1234"}',
        b'{"custom":{"t\\u006fken":"1234"}}',
        b'{"token":null,"t\\u006fken":"1234"}',
        b'{"x":{"token":"y"},"token":"1234"}',
        b'{"x":"\\"token\\":","token":"1234"}',
        b'{"name":"rtsp:\\/\\/a:1234@h\\/?k=1234"}',
        b'{"name":"rtsp\\u003a//a:1234@h"}',
        b'{"name":"rtsp:\\u002f/a:1234@h?k=1234"}',
        b'{"name":"rtsp://a\\u003a1234@h?k=\\u00311234"}',
        b'{"x":{"y":["rtsp:\\/\\/a:1234@h"]}}',
        b'{"name":"rtsp://d\\\\a:1234@h"}',
        b'{"name":"rtsp://h?k=\\\\1234"}',
        b'{"name":"rtsp://a\xc2\xa0b:1234@h"}',
        b'{"name":"rtsp://a\\u00a0b:1234@h"}',
    ],
)
def test_no_way_of_writing_hides_a_secret(body):
    assert b"1234" not in screened(body)
    json.loads(screened(body))


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_the_payloads_of_wcs_keep_all_but_their_secrets(path):
    body = path.read_bytes()
    before, after = dict(raw_members(body)), dict(raw_members(screened(body, "aclAuth")))
    changed = {name for name in before if before[name] != after[name]}
    assert list(before) == list(after)
    assert changed <= SECRET_MEMBERS | SEARCHED_MEMBERS | UNSTORED_MEMBERS | {"name", "url"}
    assert not {"xyz", "key1", "1234", "correct horse battery staple"} & {
        word for text in after.values() for word in text.split('"')
    }


@pytest.mark.parametrize(
    "filler",
    [b";", b"?", b"&", b"#", b"://", b"@", b"=;", b":", b"/", b"/a=", b":x/@", b"\\\\", b"\\/", b"Authorization:"],
)
def test_no_text_makes_screening_take_its_time(filler):
    text = b'"://h?' + filler * (200_000 // len(filler)) + b'"'
    body = b'{"name":%s,"custom":{"x":%s}}' % (text, text)
    started = time.process_time()
    screen(body)
    screen(b'{"e":"\\/",' + body[1:])
    assert time.process_time() - started < 2


@pytest.mark.parametrize("source", SOURCES)
def test_of_a_source_all_that_may_be_a_login_is_left_out(source):
    assert "Secret" not in screen_source(source)
    assert "fe80::1" in screen_source(source) or "10.0.0.9" in screen_source(source)
    assert screen_text(screen_source(source)) == screen_source(source)


@pytest.mark.parametrize("source", ["lobby", "rtsp://camera:554/live/1", "vod://film.mp4", "rtsp://[::1]/live"])
def test_a_source_without_a_login_stays_as_it_is(source):
    assert screen_source(source) == source


# Canaries

ODD = st.text(st.sampled_from("aZ09-._~%$'()*+,:@!|^`{}<>\\/\"é✓😀 "), max_size=6)
IN_ADDRESS = st.text(st.sampled_from("aZ09-._~%$'()*+,:@!|^`{}<>\\é✓😀"), max_size=6)
SECRETS = ODD.map(lambda middle: HEAD + middle + TAIL)
ADDRESS_SECRETS = IN_ADDRESS.map(lambda middle: HEAD + middle + TAIL)
SECRET_NAMES = st.sampled_from(["token", "password", "accessToken", "aclAuth", "ticket", "X-Api-Key", "sessionSecret"])
HARMLESS_NAMES = st.sampled_from(["name", "status", "room", "nick", "x", "Ключ", 'quo"te'])
ADDRESSES = ADDRESS_SECRETS.flatmap(
    lambda secret: st.sampled_from(
        [
            f"rtsp://alice:{secret}@camera/live",
            f"rtsp://{secret}@camera",
            f"https://h/p?{secret}",
            f"https://h/p?x=1&k={secret}#top",
            f"https://h/p;k={secret}",
            f"https://h#k={secret}",
            f"see rtsp://a:{secret}@h/p?k={secret} there",
        ]
    )
)
SIP_MESSAGES = st.tuples(
    SECRETS,
    st.sampled_from(
        ["Authorization: Digest {}", "Proxy-Authorization:{}", "authorization: a,\r\n {}", "a=crypto:1 {}"]
    ),
).map(lambda pair: SIP % pair[1].format(pair[0]))


def nested_in(inner):
    """Objects and arrays that have the value somewhere in them."""
    return st.recursive(
        inner,
        lambda deeper: (
            st.tuples(HARMLESS_NAMES, deeper).map(lambda pair: Object([("a", 1), pair, ("b", "c")]))
            | deeper.map(lambda value: [None, value])
        ),
        max_leaves=3,
    )


NAMED_SECRETS = st.tuples(SECRET_NAMES, SECRETS | SECRETS.map(lambda secret: [secret]))
IN_SEARCHED = (
    nested_in(NAMED_SECRETS.map(lambda pair: Object([("a", 1.5), pair])))
    | nested_in(NAMED_SECRETS.map(lambda pair: Object([pair, (pair[0], "again")])))
    | nested_in(SECRETS.map(lambda secret: Object([("a", Object([("token", secret)])), ("a", 1)])))
    | nested_in(ADDRESSES)
    | nested_in(SIP_MESSAGES)
)
PLACES = st.one_of(
    st.tuples(st.sampled_from(sorted(SECRET_MEMBERS | UNSTORED_MEMBERS | {"ticket"})), SECRETS | IN_SEARCHED),
    st.tuples(st.sampled_from(sorted(SEARCHED_MEMBERS)), IN_SEARCHED),
    st.tuples(st.sampled_from(["name", "info", "callee", "memberOfAFutureBuild"]), nested_in(ADDRESSES)),
)
HARMLESS_VALUES = st.sampled_from([None, "", [], Object(), "token", "x"]) | values(HARMLESS_NAMES, max_leaves=4)
HARMLESS = st.tuples(HARMLESS_NAMES | st.sampled_from(["custom", "token", "sdp", "payload"]), HARMLESS_VALUES)


@settings(max_examples=1500)
@given(st.lists(PLACES, min_size=1, max_size=3), st.lists(HARMLESS, max_size=3), SEEDS, st.booleans())
@example([("token", HEAD)], [("token", None)], 3, False)
@example([("custom", Object([("token", HEAD)]))], [("custom", Object())], 3, False)
def test_a_secret_survives_nowhere_and_in_no_way_of_writing(places, harmless, seed, escapes):
    members = [*places, *harmless]
    Random(seed).shuffle(members)
    body = spelled(Object(members), seed, escapes=escapes)
    assert_gone(screen(body, "ticket"))


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(
            HARMLESS_NAMES | st.sampled_from(["custom", "payload", "sipHeaders", "details"]),
            st.sampled_from(["https://h:8443/a/b#top", "rtsp://camera/live", "v=0; a=b?"]) | TEXT,
        ),
        max_size=5,
        unique_by=lambda member: member[0],
    ),
    SEEDS,
)
def test_where_there_is_no_secret_every_byte_stays(members, seed):
    nested = [(name, Object([("x", value), ("y", [value, None, 1])])) for name, value in members]
    for some in (members, nested):
        body = spelled(Object(some), seed)
        assert screen(body) == body


@settings(max_examples=400)
@given(st.lists(PLACES | HARMLESS, max_size=4), SEEDS)
def test_searching_for_members_and_looking_at_each_give_the_same(members, seed):
    body = spelled(Object(members), seed, escapes=False)
    with_escape = splice(body, {"forced": b'"\\/"'})
    assert screen(with_escape, "ticket") == splice(screen(body, "ticket"), {"forced": b'"\\/"'})


@settings(max_examples=400)
@given(st.lists(PLACES | HARMLESS, max_size=4), SEEDS, st.sampled_from(["ticket", "token", "name"]))
def test_what_a_hook_was_read_as_makes_no_difference(members, seed, secret_name):
    body = spelled(Object([*IDS, *members]), seed)
    try:
        wire = HookCall.from_payload("publishStream", None, body).wire
    except MalformedHook:
        return
    assert screen(body, secret_name, wire) == screen(body, secret_name)


@settings(max_examples=400)
@given(st.lists(PLACES | HARMLESS, max_size=4), SEEDS)
def test_screening_twice_changes_nothing_more(members, seed):
    body = spelled(Object(members), seed)
    once = screen(body, "ticket")
    assert screen(once, "ticket") == once


def repeats_a_name(text):
    repeated = []

    def look(pairs):
        repeated.extend(pairs[len(dict(pairs)) :])
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return bool(repeated)


@settings(max_examples=400)
@given(st.lists(PLACES | HARMLESS, max_size=4), SEEDS)
def test_members_that_hold_no_secret_keep_their_bytes(members, seed):
    body = spelled(Object(members), seed)
    looked_into = SECRET_MEMBERS | SEARCHED_MEMBERS | UNSTORED_MEMBERS | {"ticket"}
    before, after = raw_members(body), raw_members(screen(body, "ticket"))
    assert [name for name, _ in before] == [name for name, _ in after]
    for (name, text), (_, kept) in zip(before, after, strict=True):
        if name not in looked_into and HEAD not in json.dumps(json.loads(text), ensure_ascii=False):
            assert kept == (text if kept == text or not repeats_a_name(text) else '"[left out]"')


@pytest.mark.parametrize(
    "body",
    [
        b'{"accessToken":"S3cr3t"}',
        b'{"connection":{"sipPassword":"S3cr3t"}}',
        b'{"custom":"{\\"token\\":\\"S3cr3t\\"}"}',
        b'{"payload":{"text":"[{\\"password\\":\\"S3cr3t\\"}]"}}',
        b'{"to":"sip:alice:S3cr3t@example.org"}',
        b'{"name":"live?token=S3cr3t"}',
        b'{"info":"rtsp://alice:S3cr3t@camera/live"}',
    ],
)
def test_secrets_in_other_places_are_found_too(body):
    assert b"S3cr3t" not in screen(body)
    json.loads(screen(body))


def test_of_a_body_that_is_too_long_to_keep_length_and_digest_stay():
    body = b'{"payload":"%s"}' % (b"x" * 70_000)
    kept = json.loads(screen(body))
    assert kept == {"[left out]": f"a body of {len(body)} bytes", "sha256": hashlib.sha256(body).hexdigest()}


def test_a_long_member_that_may_hold_a_secret_is_left_out_unread():
    body = b'{"custom":{"token":"S3cr3t","x":"%s"},"name":"lobby"}' % (b"x" * 20_000)
    assert json.loads(screen(body)) == {"custom": "[left out]", "name": "lobby"}
