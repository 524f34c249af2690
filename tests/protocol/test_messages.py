"""Reading hooks: what is understood of the bodies WCS sends, and what is refused as unreadable."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.protocol.messages import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_ID,
    Credential,
    HookCall,
    HookTooLarge,
    MalformedHook,
    Wire,
)
from apps.protocol.methods import METHODS, find
from tests.protocol.json_texts import NUMBERS, TEXT, Number, Object, objects, spelled, values

PAYLOADS = sorted((Path(__file__).parent.parent / "payloads").glob("*.json"))
IDS = ("nodeId", "appKey", "sessionId", "mediaSessionId", "callId")

CALLEE, RTSP_SOURCE = "+4930123456", "rtsp://192.168.1.60:554/live.sdp"
XCAP = "https://xcap.example.com/resource-lists/users/sip:10007@sip.example.com/index?a=1&b=%C3%BC"
TARGETS = {  # by method, or by payload where one differs; "" for all others
    "connect": "defaultApp",
    "call": CALLEE,
    "answer": CALLEE,
    "OnCallEvent": CALLEE,
    "OnCallEvent.sip-call-id": "PPP009",
    "CallStatusEvent": CALLEE,
    "transfer": "10009",
    "OnTransferEvent": "10009",
    "TransferStatusEvent": "10009",
    "sendMessage": "10009",
    "MessageStatusEvent": "10009",
    "OnMessageEvent": "10009,10010",
    "subscribe": "reg",
    "SubscriptionStatusEvent": "reg",
    "sendXcapRequest": XCAP,
    "publishStream": "lobby",
    "unPublishStream": "lobby",
    "playStream": "lobby",
    "playStream.rtsp-source": RTSP_SOURCE,
    "playStream.vod": "vod://file.mp4",
    "stopStream": "lobby",
    "pauseStream": "lobby",
    "playHLS": "lobby",
    "playRTSP": "lobby",
    "snapshot": "lobby",
    "availableStream": "lobby",
    "StreamStatusEvent": "lobby",
    "StreamStatusEvent.vod-end": "vod://file.mp4",
    "StreamKeepAliveEvent": "lobby",
}
ACL_KEY = Credential(token="e6f0a4b2-6f5c-4d0e-9c55-0d3b7a1f2c11")
CREDENTIALS = {  # by payload: the app's name for its token, and what is offered; None for all others
    "connect": ("token", Credential(token="xyz")),
    "connect.room": ("token", Credential(token="xyz")),
    "connect.rtmp": ("token", Credential(token="xyz")),
    "connect.sip": ("token", Credential(token="xyz")),
    "connect.cdn": ("aclAuth", ACL_KEY),
    "connect.sfu": (
        "token",
        Credential(login="alice@example.com", password="correct horse battery staple"),
    ),
    "playHLS": ("token", Credential(token="key1")),
    "playHLS.old": ("token", Credential(token="123456789")),
    "playHLS.acl": ("aclAuth", ACL_KEY),
    "playRTSP.acl": ("aclAuth", ACL_KEY),
    "publishStream": ("token", Credential(token="key1")),
    "publishStream.rtmp": ("token", Credential(token="key1")),
    "playStream": ("token", Credential(token="key1")),
    "playStream.rtsp-source": ("token", Credential(token="key1")),
}


def read(method, body):
    return HookCall.from_payload(method, find(method), body)


def hook(method, **members):
    """A hook with the ids WCS sends, and these members."""
    common = {"nodeId": "node", "appKey": "defaultApp", "sessionId": "/192.168.1.38:64604/192.168.1.101:8443"}
    return read(method, json.dumps({**common, **members}).encode())


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_every_payload_is_read(path):
    wire_name = path.stem.partition(".")[0]
    call = read(wire_name, path.read_bytes())
    assert call.wire_name == wire_name
    assert call.node_id == "Hw47@192.168.1.101"
    assert call.client_address == "192.168.1.38"
    assert call.target == TARGETS.get(path.stem, TARGETS.get(wire_name, ""))


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_every_payload_offers_the_credential_it_has(path):
    secret_name, expected = CREDENTIALS.get(path.stem, ("token", None))
    call = read(path.stem.partition(".")[0], path.read_bytes())
    assert call.credential(secret_name) == expected


def test_every_method_has_a_payload():
    assert {find(path.stem.partition(".")[0]) for path in PAYLOADS} == set(METHODS)


@pytest.mark.parametrize(
    ("published", "action"), [(True, "publish"), (False, "play"), (None, "publish")], ids=["publisher", "player", "?"]
)
def test_a_keep_alive_is_about_what_the_stream_does(published, action):
    assert hook("StreamKeepAliveEvent", name="lobby", published=published).action == action


@pytest.mark.parametrize("method", [method for method in METHODS if method.name != "StreamKeepAliveEvent"])
def test_any_other_hook_attempts_the_action_of_its_row(method):
    assert hook(method.name, published=False).action == method.action


def test_a_method_nobody_told_us_about_is_read_all_the_same():
    call = hook("futureMethod", name="lobby", custom={"token": "t"})
    assert (call.method, call.wire_name, call.action, call.target) == (None, "futureMethod", "", "")
    assert call.app_key == "defaultApp"
    assert call.credential() is None


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("rtsp://192.168.1.101:5554/lobby", "lobby"),
        ("rtsp://192.168.1.101:5554/lobby?aclAuth=key&appKey=a", "lobby"),
        ("rtsp://alice:pw@[2001:db8::1]:5554/a/b/", "a/b"),
        ("rtsp://192.168.1.101:5554/%D0%BA%D0%BB%D1%8E%D1%87", "ключ"),
        ("rtsp://192.168.1.101:5554", ""),
        ("lobby", "lobby"),
    ],
)
def test_the_target_of_play_rtsp_is_the_stream_in_its_address(name, target):
    assert hook("playRTSP", name=name).target == target


def test_an_address_that_play_stream_names_is_the_target_as_it_is():
    assert hook("playStream", name="rtsp://camera/live?x=1").target == "rtsp://camera/live?x=1"


@pytest.mark.parametrize("address", ["rtsp://[2001:db8::1/lobby", "rtsp://h\u2100/lobby", "//[lobby"])
def test_an_address_that_cannot_be_read_is_malformed(address):
    with pytest.raises(MalformedHook, match="address of the stream cannot be read") as caught:
        hook("playRTSP", name=address).credential()
    assert address not in str(caught.value)


@pytest.mark.parametrize(
    ("session_id", "address"),
    [
        ("/192.168.1.38:64604/192.168.1.101:8443", "192.168.1.38"),
        ("/192.168.1.38:64604/0a1b2c", "192.168.1.38"),
        ("/[2001:db8::7]:64604/[2001:db8::1]:8443", "2001:db8::7"),
        ("/2001:db8:0:0:0:0:0:7:64604/2001:db8:0:0:0:0:0:1:8443", "2001:db8:0:0:0:0:0:7"),
        ("/192.168.1.38:64604", "192.168.1.38"),
        ("/10.0.0.1/10.0.0.1-a7", ""),
        ("8f2e7d4a-5d36-4c6e-9a57-2f2d3d8a1c55", ""),
        ("test-HLS", ""),
        ("", ""),
    ],
)
def test_the_clients_address_is_read_from_the_session_id_where_it_is_there(session_id, address):
    assert hook("publishStream", sessionId=session_id).client_address == address


# Credentials


def test_a_token_is_read_from_custom_under_the_apps_name_for_it():
    call = hook("connect", custom={"token": "other", "aclAuth": "key"})
    assert call.credential("aclAuth") == Credential(token="key")
    assert call.credential() == Credential(token="other")


def test_a_token_is_read_from_the_top_level():
    assert hook("playHLS", token="key").credential("aclAuth") == Credential(token="key")


def test_a_token_in_custom_comes_before_one_at_the_top_level():
    assert hook("playHLS", token="outer", custom={"token": "inner"}).credential() == Credential(token="inner")
    assert hook("playHLS", token="outer", custom={"token": None}).credential() == Credential(token="outer")


@pytest.mark.parametrize("member", ["name", "rtspUrl"])
def test_a_token_is_read_from_the_query_of_an_rtsp_address(member):
    call = hook("playRTSP", **{member: "rtsp://node:5554/lobby?appKey=a&aclAuth=k%20y"})
    assert call.credential("aclAuth") == Credential(token="k y")
    assert call.credential("token") is None


def test_a_token_in_custom_comes_before_one_in_an_rtsp_address():
    call = hook("playRTSP", name="rtsp://node/lobby?token=outer", custom={"token": "inner"})
    assert call.credential() == Credential(token="inner")


def test_an_empty_token_in_an_rtsp_address_is_there():
    assert hook("playRTSP", name="rtsp://node/lobby?token=").credential() == Credential(token="")


def test_an_address_that_is_no_address_of_the_node_carries_no_credential():
    assert hook("playStream", name="rtsp://camera/live?token=key").credential() is None


@pytest.mark.parametrize("login", ["login", "username"])
def test_a_password_comes_with_a_login(login):
    call = hook("connect", custom={login: "alice", "password": "pw"})
    assert call.credential() == Credential(login="alice", password="pw")


def test_a_token_comes_before_a_password():
    call = hook("connect", custom={"login": "alice", "password": "pw", "token": "key"})
    assert call.credential() == Credential(token="key")


@pytest.mark.parametrize(
    "custom", [None, {}, {"token": None}, {"login": "alice"}, {"login": "alice", "password": None}]
)
def test_where_there_is_nothing_in_a_credentials_place_there_is_none(custom):
    assert hook("connect", custom=custom, token=None).credential() is None
    assert hook("connect").credential() is None


@pytest.mark.parametrize("token", [False, 0, 12345, [], ["key"], {}, {"token": "key"}])
@pytest.mark.parametrize("place", ["custom", "top level"])
def test_a_token_that_is_no_string_is_garbled_not_absent(token, place):
    call = hook("connect", custom={"token": token}) if place == "custom" else hook("connect", token=token)
    assert call.credential() == Credential(garbled=True)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_token_that_is_any_number_is_garbled(number):
    body = b'{"nodeId":"n","sessionId":"s","custom":{"token":%s}}' % number.encode()
    assert read("connect", body).credential() == Credential(garbled=True)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_beside_the_token_does_no_harm(number):
    body = b'{"nodeId":"n","sessionId":"s","custom":{"x":[%s],"token":"key"}}' % number.encode()
    assert read("connect", body).credential() == Credential(token="key")


@pytest.mark.parametrize(
    "custom",
    [
        {"password": "pw"},
        {"password": 1, "login": "alice"},
        {"password": "pw", "login": 1},
        {"password": "pw", "login": ""},
        {"password": "pw", "login": 7, "username": "alice"},
        {"password": {}, "login": []},
    ],
)
def test_a_password_without_a_login_or_one_that_is_no_string_is_garbled(custom):
    assert hook("connect", custom=custom).credential() == Credential(garbled=True)


@pytest.mark.parametrize("custom", ["token", 1, True, ["token"]])
def test_custom_that_is_no_object_is_malformed(custom):
    with pytest.raises(MalformedHook, match=r"expected `object`.*\$\.custom"):
        hook("connect", custom=custom).credential()


@pytest.mark.parametrize("method", [method for method in METHODS if method.identity == "session"])
def test_a_method_that_lives_in_a_session_carries_no_credential(method):
    assert hook(method.name, token="key", custom={"token": "key"}).credential() is None


def test_a_credential_does_not_show_its_secret():
    assert "s3cret" not in repr(Credential(token="s3cret", login="a", password="s3cret"))


# What cannot be read


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is not JSON: Input data was truncated."),
        (b"hello", "The body is not JSON: JSON is malformed: invalid character (byte 0)."),
        (b'{"name":"lobby"', "The body is not JSON: Input data was truncated."),
        (b'{"name":"lobby"}}', "The body is not JSON: JSON is malformed: trailing characters (byte 17)."),
        (b"\xef\xbb\xbf{}", "The body is not JSON: JSON is malformed: invalid character (byte 0)."),
        (b'{"name":"lo\xffbby"}', "The body is not UTF-8: byte 11 cannot be read."),
        (b'{"x":"\xed\xa0\x80"}', "The body is not UTF-8: byte 6 cannot be read."),
        (b"[]", "The body is not a hook: Expected `object`, got `array`."),
        (b'"connect"', "The body is not a hook: Expected `object`, got `str`."),
        (b"null", "The body is not a hook: Expected `object`, got `null`."),
        (b'{"name":1}', "The body is not a hook: Expected `str | null`, got `int` - at `$.name`."),
        (b'{"published":"yes"}', "The body is not a hook: Expected `bool | null`, got `str` - at `$.published`."),
    ],
)
def test_a_body_that_cannot_be_read_gets_one_sentence(body, sentence):
    with pytest.raises(MalformedHook) as caught:
        read("publishStream", body)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "text",
    [
        b'{"name":"\x00"}',
        b'{"x\x00":1}',
        b'{"x":"\n"}',
        b'{"name":"\\ud800"}',
        b'{"x":"\\udc00\\ud800"}',
        b'{"\\ud83d":1}',
        b'{"custom":{"token":"\\ud800"}}',
        b'{"custom":{"\\ud800x":1}}',
        b'{"x":NaN}',
        b'{"x":01}',
        b'{"x":1.}',
        b'{"x":"\\q"}',
        b"{'x':1}",
        b'{"x":1,}',
    ],
)
def test_nul_lone_surrogates_and_almost_json_are_refused_wherever_they_stand(text):
    with pytest.raises(MalformedHook, match="The body is not JSON: "):
        read("publishStream", text)


def test_a_nul_that_is_escaped_is_text_like_any_other():
    assert read("publishStream", b'{"name":"lob\\u0000by"}').target == "lob\x00by"


def test_a_pair_of_surrogates_is_one_character():
    assert read("publishStream", b'{"name":"\\ud83d\\ude00"}').target == "😀"


def test_a_body_as_long_as_allowed_is_read_and_one_byte_more_is_too_large():
    body = b'{"name":"lobby"}'
    assert read("publishStream", body.ljust(MAX_BYTES)).target == "lobby"
    with pytest.raises(HookTooLarge, match="at most 262144 bytes; this one has 262145"):
        read("publishStream", body.ljust(MAX_BYTES + 1))


def nested(levels):
    return b'{"custom":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def test_a_body_as_deep_as_allowed_is_read_and_one_level_more_is_too_large():
    read("publishStream", nested(MAX_DEPTH))
    with pytest.raises(HookTooLarge, match="at most 32 deep; this one nests 33 deep"):
        read("publishStream", nested(MAX_DEPTH + 1))


def test_brackets_side_by_side_or_in_text_do_not_nest():
    read("publishStream", b'{"name":"' + b"[" * 100 + b'","x":[' + b"[]," * 100 + b"[]]}")


@pytest.mark.parametrize("name", IDS)
def test_an_id_has_255_characters_at_most(name):
    hook("connect", **{name: "é" * MAX_ID})
    with pytest.raises(MalformedHook) as caught:
        hook("connect", **{name: "é" * (MAX_ID + 1)})
    assert str(caught.value) == f"The body is not a hook: Expected `str` of length <= 255 - at `$.{name}`."


@pytest.mark.parametrize("missing", [{"nodeId": None}, {"sessionId": ""}, {"nodeId": "", "sessionId": None}])
def test_connect_needs_the_ids_of_a_session(missing):
    with pytest.raises(MalformedHook, match="connect needs nodeId and sessionId"):
        hook("connect", **missing)
    hook("publishStream", **missing)


def test_any_string_may_be_null_or_absent():
    names = [name for name in Wire.__struct_encode_fields__ if name not in ("nodeId", "sessionId")]
    body = json.dumps(dict.fromkeys(names)).encode()
    call = read("publishStream", body)
    assert (call.node_id, call.app_key, call.target, call.status, call.origin) == ("", "", "", "", "")


MEMBER_NAMES = st.sampled_from(Wire.__struct_encode_fields__) | TEXT
HOOK_NAMES = st.sampled_from([method.name for method in METHODS] + ["futureMethod"])
ADDRESSES = st.text("[]:/?#@%.=&;alτ\u2100 \t", max_size=20).map("rtsp://".__add__)
HOOK_LIKE = st.builds(
    lambda members, seed: spelled(Object((("nodeId", "n"), ("sessionId", "s"), *members)), seed),
    objects(MEMBER_NAMES, ADDRESSES | values(MEMBER_NAMES), max_size=6),
    st.integers(0, 2**32),
)
CUSTOM = objects(st.sampled_from(["token", "password", "login", "username"]), values(TEXT))
WITH_CUSTOM = st.builds(
    lambda custom, seed: spelled(Object((("nodeId", "n"), ("sessionId", "s"), ("custom", custom))), seed),
    CUSTOM | values(TEXT),
    st.integers(0, 2**32),
)


@st.composite
def damaged(draw, bodies):
    body = bytearray(draw(bodies))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=2) | st.sampled_from([b"\\", b'"', b"{", b"1e400"])
        )
    return bytes(body)


@settings(max_examples=1500)
@given(HOOK_NAMES, st.binary() | damaged(HOOK_LIKE | WITH_CUSTOM | st.sampled_from([p.read_bytes() for p in PAYLOADS])))
@example("playRTSP", b'{"name":"//["}')
@example("connect", b'{"nodeId":"n","sessionId":"s","custom":{"x":1e400}}')
@example("connect", b'{"nodeId":"n","sessionId":"s","token":1e400}')
def test_any_bytes_are_read_or_refused_and_nothing_else_happens(name, body):
    try:
        call = read(name, body)
        call.credential()
        call.credential("aclAuth")
    except (MalformedHook, HookTooLarge) as error:
        sentence = str(error)
        assert sentence.startswith(("The body is not ", "A body may "))
        assert sentence.endswith(".")
        assert "\n" not in sentence
    else:
        assert isinstance(call.client_address, str)
        (call.target + call.origin + call.status + call.info + call.node_id).encode()


@settings(max_examples=500)
@given(HOOK_NAMES, HOOK_LIKE)
def test_what_is_read_is_what_the_standard_library_reads(name, body):
    try:
        call = read(name, body)
    except MalformedHook:
        return
    members = json.loads(body)
    assert call.app_key == (members.get("appKey") or "")
    assert call.status == (members.get("status") or "")
    if call.method and call.method.target == ("name",):
        assert call.target == (members.get("name") or "")


@given(st.sampled_from(["connect", "playHLS", "publishStream"]), WITH_CUSTOM)
@example(
    "connect", spelled(Object((("nodeId", "n"), ("sessionId", "s"), ("custom", Object([("token", Number("1e400"))])))))
)
def test_whatever_is_in_the_tokens_place_counts_unless_it_is_null(name, body):
    custom = json.loads(body)["custom"]
    call = read(name, body)
    if not isinstance(custom, dict | None):
        with pytest.raises(MalformedHook):
            call.credential()
    elif (token := (custom or {}).get("token")) is not None:
        assert call.credential() == (Credential(token=token) if isinstance(token, str) else Credential(garbled=True))
    elif (custom or {}).get("password") is not None:
        assert call.credential() is not None
    else:
        assert call.credential() is None
