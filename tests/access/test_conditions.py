"""The circumstances of a rule: each alone, and what cannot be compared."""

import json
from datetime import UTC, date, datetime

import msgspec
import pytest

from apps.access.comparisons import MAX_LENGTH, Comparison, holds, parse_comparison, said_text, unreadable
from apps.access.engine import decide
from apps.access.matching import applies, is_origin
from apps.access.reasons import Reason
from apps.access.rows import Conditions, Rewrites, SipAccountRow, StreamRow
from apps.access.schedules import Schedule, parse_window
from apps.protocol.numbers import NumberClassRow, NumberPlan
from tests.access.worlds import ALICE, asking, call, facts_about, rule, session, snapshot

OFFICE = Schedule("Europe/Berlin", (parse_window("Mon-Fri 08:00-18:00"),), (date(2026, 12, 25),))
MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def raw(**members):
    return msgspec.Raw(json.dumps(members).encode())


@pytest.mark.parametrize(
    ("conditions", "question", "applied"),
    [
        ({"schedule": OFFICE}, {"now": MONDAY_NOON}, True),
        ({"schedule": OFFICE}, {"now": datetime(2026, 3, 1, 12, tzinfo=UTC)}, False),
        ({"schedule": OFFICE}, {"now": datetime(2026, 12, 25, 12, tzinfo=UTC)}, False),
        ({"networks": ("10.0.0.0/8",)}, {"address": "10.1.2.3"}, True),
        ({"networks": ("10.0.0.0/8",)}, {"address": "::ffff:10.1.2.3"}, True),
        ({"networks": ("10.0.0.7/8",)}, {"address": "10.1.2.3"}, True),
        ({"networks": ("::ffff:0.0.0.0/96",)}, {"address": "10.1.2.3"}, True),
        ({"networks": ("::ffff:0:0/95",)}, {"address": "10.1.2.3"}, False),
        ({"networks": ("::ffff:10.0.0.0/104",)}, {"address": "10.1.2.3"}, True),
        ({"networks": ("::ffff:10.0.0.0/104",)}, {"address": "::ffff:11.1.2.3"}, False),
        ({"networks": ("2001:db8::/32",)}, {"address": "2001:db8::7"}, True),
        ({"networks": ("10.0.0.0/8",)}, {"address": "11.1.2.3"}, False),
        ({"networks": ("0.0.0.0/0",)}, {"address": ""}, False),
        ({"origins": ("https://a.example",)}, {"origin": "https://a.example"}, True),
        ({"origins": ("https://a.example",)}, {"origin": "https://a.example.evil"}, False),
        ({"origins": ("*.a.example",)}, {"origin": "https://www.a.example:8443"}, True),
        ({"origins": ("*.a.example",)}, {"origin": ""}, False),
        ({"media_providers": ("WebRTC", "MSE")}, {"media_providers": "MSE"}, True),
        ({"media_providers": ("WebRTC",)}, {"media_providers": "Flash"}, False),
        ({"media_providers": ("WebRTC",)}, {"media_providers": msgspec.Raw(b'["MSE", "WebRTC"]')}, True),
        ({"media_providers": ("WebRTC",)}, {"media_providers": msgspec.Raw(b"null")}, False),
        ({"media_providers": ("WebRTC",)}, {}, False),
        ({"apps": ("school",)}, {"app_key": "school"}, True),
        ({"apps": ("school",)}, {"app_key": "other"}, False),
        ({"nodes": ("edge-1",)}, {"node_id": "edge-1"}, True),
        ({"nodes": ("edge-1",)}, {"node_id": "edge-2"}, False),
        ({"custom": (parse_comparison("role = teacher"),)}, {"custom": raw(role="teacher")}, True),
        ({"custom": (parse_comparison("role = teacher"),)}, {"custom": raw(role="pupil")}, False),
        ({"custom": (parse_comparison("role = teacher"),)}, {}, False),
        ({"custom": (parse_comparison("role = teacher"),)}, {"custom": msgspec.Raw(b"null")}, False),
    ],
)
def test_a_rule_applies_only_under_its_conditions(conditions, question, applied):
    about_play = rule(1, "play", conditions=Conditions(**conditions))
    assert applies(about_play, asking("lobby", **question)) is applied


def test_all_conditions_must_hold():
    both = rule(1, "play", conditions=Conditions(networks=("10.0.0.0/8",), apps=("school",)))
    assert applies(both, asking("x", address="10.0.0.1", app_key="school"))
    assert not applies(both, asking("x", address="10.0.0.1", app_key="other"))
    assert not applies(both, asking("x", address="9.0.0.1", app_key="school"))


@pytest.mark.parametrize(
    ("wanted", "origin", "fits"),
    [
        ("*.example.org", "https://a.example.org", True),
        ("*.example.org", "http://a.b.example.org:81", True),
        ("*.example.org", "https://example.org", False),
        ("*.example.org", "https://.example.org", False),
        ("*.example.org", "https://evilexample.org", False),
        ("*.example.org", "https://a.example.org.evil", False),
        ("https://example.org", "https://example.org", True),
        ("https://example.org", "http://example.org", False),
    ],
)
def test_a_page_is_below_a_domain(wanted, origin, fits):
    assert is_origin(wanted, origin) is fits


@pytest.mark.parametrize(
    ("text", "custom", "held"),
    [
        ("role = teacher", {"role": "teacher"}, True),
        ("role = teacher", {"role": "Teacher"}, False),
        ("age = 18", {"age": 18.0}, True),
        ("age = 18", {"age": "18"}, True),
        ("on = true", {"on": True}, True),
        ("on = 1", {"on": True}, False),
        ("role in teacher|tutor", {"role": "tutor"}, True),
        ("role in teacher | tutor", {"role": "pupil"}, False),
        ("device.kind begins with cam-", {"device": {"kind": "cam-7"}}, True),
        ("device.kind begins with cam-", {"device": "cam-7"}, False),
        ("age >= 18", {"age": 18}, True),
        ("age > 18", {"age": 18}, False),
        ("age < 18", {"age": 18}, False),
        ("age <= 18", {"age": 18}, True),
        ("on = false", {"on": False}, True),
        ("age < 18", {"age": "17.5"}, True),
        ("age <= 18", {"age": "old"}, False),
        ("age > 1", {"age": float("inf")}, False),
        ("age > 1", {"age": "1e999999999"}, False),
        ("age > 1", {"age": "1e399"}, True),
        ("age > 1", {"age": "1e400"}, False),  # no number is that large
        ("age = 1", {"age": "1.".ljust(40, "0")}, True),
        ("age = 1", {"age": "1.".ljust(41, "0")}, False),  # nor that long
        ("role = teacher", {"role": ["teacher"]}, False),
        ("role = null", {"role": None}, False),
    ],
)
def test_a_comparison_holds(text, custom, held):
    assert holds(parse_comparison(text), custom) is held


@pytest.mark.parametrize(
    "text", ["", "role", "role teacher", "= teacher", "role =", "role in a||b", "age > old", "r" * 300]
)
def test_what_is_no_comparison_says_how_to_write_one(text):
    with pytest.raises(ValueError, match="Write it like"):
        parse_comparison(text)


def test_a_comparison_may_be_as_long_as_it_says():
    longest = "role = ".ljust(MAX_LENGTH, "r")
    assert str(parse_comparison(longest)) == longest
    with pytest.raises(ValueError, match="Write it like"):
        parse_comparison(longest + "r")


def test_what_was_said_is_told_as_text():
    assert said_text(parse_comparison("device.age = 18"), {"device": {"age": 17.5}}) == "17.5"
    assert said_text(parse_comparison("device.age = 18"), {"device": "phone"}) is None


def test_nothing_is_greater_or_less_than_what_is_no_number():
    assert not holds(Comparison("age", ">", ("old",)), {"age": 18})
    assert not holds(Comparison("age", "<", ("old",)), {"age": 18})


def test_a_comparison_reads_as_it_is_written():
    for text in ("role = teacher", "role in teacher|tutor", "device.kind begins with cam-", "age >= 18"):
        assert str(parse_comparison(text)) == text


@pytest.mark.parametrize(("effect", "reason"), [("allow", Reason.NO_RULE), ("deny", Reason.DENIED_BY_RULE)])
@pytest.mark.parametrize("broken", [unreadable("a window"), parse_comparison("role = x")])
def test_what_cannot_be_compared_counts_against(effect, reason, broken):
    known = snapshot(rules=[rule(1, "play", effect=effect, conditions=Conditions(custom=(broken,)))])
    hook = call("playStream", name="lobby", custom=[1])
    if broken.operator:
        hook = msgspec.structs.replace(hook, wire=msgspec.structs.replace(hook.wire, custom=msgspec.Raw(b"[1]")))
    asked = facts_about(call("playStream", name="lobby"), known, session(ALICE))
    decision = decide(hook, asked)
    assert (decision.reason, decision.failed_rule_ids) == (reason, (1,))


@pytest.mark.parametrize(("effect", "reason"), [("allow", Reason.NO_RULE), ("deny", Reason.DENIED_BY_RULE)])
@pytest.mark.parametrize("said", [["Flash", 1], ["Flash", None], "Flash", {"Flash": 1}, 7])
def test_media_providers_that_cannot_be_read_count_against(effect, reason, said):
    known = snapshot(rules=[rule(1, "play", effect=effect, conditions=Conditions(media_providers=("Flash",)))])
    hook = call("playStream", name="lobby", mediaProviders=said)
    decision = decide(hook, facts_about(hook, known, session(ALICE)))
    assert (decision.reason, decision.failed_rule_ids) == (reason, (1,))


def test_the_one_provider_of_a_stream_counts_whatever_stands_beside_it():
    denied = rule(1, "play", effect="deny", conditions=Conditions(media_providers=("Flash",)))
    known = snapshot(rules=[denied, rule(2, "play")])
    hook = call("playStream", name="lobby", mediaProvider="WebRTC", mediaProviders=["Flash", 1])
    assert decide(hook, facts_about(hook, known, session(ALICE))).rule_ids == (2,)


# Things known by several names


CAMERA = "rtsp://10.0.0.5/live.sdp"


def decided(method, known, **members):
    hook = call(method, **members)
    return decide(hook, facts_about(hook, known, session(ALICE)))


def with_streams(*rules):
    known = snapshot(rules=rules)
    known.streams.replace((), [StreamRow(1, "lobby", CAMERA, (5,))])
    return known


@pytest.mark.parametrize(
    "target", [("stream", "lobby"), ("exact", "lobby"), ("prefix", "lob"), ("glob", "l*y"), ("stream-group", "")]
)
@pytest.mark.parametrize(("effect", "reason"), [("allow", Reason.ALLOWED_BY_RULE), ("deny", Reason.DENIED_BY_RULE)])
@pytest.mark.parametrize("name", ["lobby", CAMERA])
def test_a_rule_about_a_stream_is_about_its_source(target, effect, reason, name):
    about = rule(1, "play", effect=effect, target=target, target_id=5 if target[0] == "stream-group" else None)
    for method in ("playStream", "StreamKeepAliveEvent"):
        assert decided(method, with_streams(about), name=name, published=False).reason is reason


def test_a_stream_that_got_another_source_is_not_behind_the_old_one():
    known = with_streams(rule(1, "play", target=("stream", "lobby")))
    known.streams.replace((), [StreamRow(1, "lobby", "rtsp://other")])
    assert decided("playStream", known, name=CAMERA).reason is Reason.NO_RULE
    assert decided("playStream", known, name="rtsp://other").reason is Reason.ALLOWED_BY_RULE
    known.streams.replace([1], ())
    assert decided("playStream", known, name="rtsp://other").reason is Reason.NO_RULE


def test_of_two_streams_with_one_source_the_other_stays_behind_it():
    known = with_streams(rule(1, "play", target=("stream", "attic")))
    known.streams.replace((), [StreamRow(2, "attic", CAMERA, (6,)), StreamRow(3, "cellar", CAMERA)])
    known.streams.replace((), [StreamRow(1, "lobby", "rtsp://other", (5,))])
    known.streams.replace([3], ())
    assert known.streams.known_as(CAMERA) == ((CAMERA, "attic"), (6,))
    assert decided("playStream", known, name=CAMERA).reason is Reason.ALLOWED_BY_RULE


def with_numbers(*rules):
    known = snapshot(rules=rules)
    known.plan = NumberPlan("49")
    known.number_classes._plan = known.plan
    known.number_classes.replace(
        (),
        [
            NumberClassRow(1, "emergency", ("112",), whole=True, protected=True),
            NumberClassRow(2, "premium", ("0900",)),
            NumberClassRow(3, "national", ("+49",)),
        ],
    )
    known.sip_accounts.replace((), [SipAccountRow(1, ALICE.id, "7", "", "", "PBX.example", "", 5060, "", True)])
    return known


@pytest.mark.parametrize(
    "callee", ["0900 123456", "+49900123456", "0049-900-123456", "sip:+49900123456@pbx", "tel:0900123456"]
)
@pytest.mark.parametrize(
    "target",
    [("number-class", "", 2), ("number-prefix", "+49900", None), ("prefix", "0900", None), ("prefix", "00499", None)],
)
def test_a_deny_catches_a_number_however_it_is_written(callee, target):
    kind, text, id_ = target
    deny = rule(1, "call", effect="deny", target=(kind, text), target_id=id_)
    assert decided("call", with_numbers(rule(2, "call"), deny), callee=callee).reason is Reason.DENIED_BY_RULE


def test_the_longest_beginning_says_which_class_a_number_is_in():
    national = rule(1, "call", target=("number-class", ""), target_id=3)
    assert decided("call", with_numbers(national), callee="030123").reason is Reason.ALLOWED_BY_RULE
    assert decided("call", with_numbers(national), callee="0900123").reason is Reason.NO_RULE


def test_what_only_looks_like_a_number_is_none_where_no_number_is_meant():
    about_numbers = [
        rule(1, "subscribe", target=("number-prefix", "11")),
        rule(2, "subscribe", target=("number-class", ""), target_id=1),
        rule(3, "subscribe", target=("exact", "0049")),
    ]
    assert decided("subscribe", with_numbers(*about_numbers), event="112").reason is Reason.NO_RULE
    assert decided("subscribe", with_numbers(*about_numbers), event="+49").reason is Reason.NO_RULE
    assert decided("subscribe", with_numbers(*about_numbers), event="0049").rule_ids == (3,)


@pytest.mark.parametrize("rules", [(), (rule(1, "call", effect="deny"),)])
def test_no_rule_refuses_an_emergency_call(rules):
    for callee in (
        "112",
        "tel:112",
        "1 1 2",
        "sip:112@pbx.example",
        "112@PBX.example:5060",
        "sip:112@pbx.example;user=phone",
    ):
        decision = decided("call", with_numbers(*rules), callee=callee)
        assert (decision.allowed, decision.reason) == (True, Reason.PROTECTED_NUMBER), callee
    assert decided("call", with_numbers(*rules), callee="112900123").allowed is False
    assert decided("transfer", with_numbers(*rules), callId="c", target="112").allowed is False


@pytest.mark.parametrize(
    "callee",
    [
        "sip:112@elsewhere.example",
        "112@elsewhere.example",
        "sip:112@pbx.example.evil",
        "sip:112@pbx.example:6666",
        "sip:112@pbx.example@evil",
        "sip:112:pw@pbx.example",
        "sip:112@pbx.example;maddr=evil",
        "sip:112;x@evil",
        "sip:112@pbx.example?Route=evil",
        "<sip:112@evil>",
        '"Bob" <sip:112@pbx.example>',
        "sip:%31%31%32@evil",
        "sip:112@pbx.example%40evil",
    ],
)
def test_a_protected_number_opens_no_way_to_other_hosts(callee):
    assert decided("call", with_numbers(), callee=callee).allowed is False
    assert (
        decided("call", with_numbers(rule(1, "call"), rule(2, "call", effect="deny")), callee=callee).allowed is False
    )


def test_whose_domain_is_not_known_here_calls_protected_numbers_plainly():
    known = with_numbers()
    known.sip_accounts.replace([1], ())
    assert decided("call", known, callee="112").reason is Reason.PROTECTED_NUMBER
    assert decided("call", known, callee="sip:112@pbx.example").reason is Reason.NO_RULE


# Digits that may be read in different ways

HIDING = ["7 <sip:0900123@pbx>", "sip:100;x=0900123@pbx", "sip:100@0900123@pbx", "100:0900123@pbx"]


@pytest.mark.parametrize("callee", HIDING)
@pytest.mark.parametrize(
    ("method", "member", "action"),
    [
        ("call", "callee", "call"),
        ("transfer", "target", "transfer"),
        ("sendMessage", "to", "message"),
        ("OnTransferEvent", "target", "receive-transfer"),
    ],
)
def test_digits_that_some_would_dial_are_refused_whatever_is_allowed(method, member, action, callee):
    decision = decided(method, with_numbers(rule(1, action)), **{member: callee})
    assert (decision.allowed, decision.reason, decision.rule_ids) == (False, Reason.HIDDEN_DIGITS, (1,))


@pytest.mark.parametrize("callee", HIDING)
def test_where_a_rule_has_its_own_number_called_nobody_reads_them(callee):
    support = rule(1, "call", rewrites=Rewrites(callee="+4930123"))
    decision = decided("call", with_numbers(support), callee=callee)
    assert [change.value for change in decision.changes] == ["+4930123"]


@pytest.mark.parametrize("callee", HIDING)
def test_who_calls_us_may_be_called_as_they_like(callee):
    assert decided("OnCallEvent", with_numbers(rule(1, "receive-call")), caller=callee).allowed


@pytest.mark.parametrize(
    "callee",
    ["0900123", "+49 (0)30 123-45", "sip:100@pbx1.example:5060", '"Room 7" <sip:100@pbx>', "support", "alice2", ""],
)
def test_ordinary_numbers_hide_nothing(callee):
    assert decided("call", with_numbers(rule(1, "call")), callee=callee).allowed


# What has several names is one thing


@pytest.mark.parametrize(
    "name",
    [
        "rtsp://10.0.0.5/live.sdp?",
        "rtsp://10.0.0.5/live.sdp/",
        "rtsp://10.0.0.5/live.sdp#x",
        "rtsp://10.0.0.5:554/live.sdp",
        "RTSP://10.0.0.5/live.sdp",
        " rtsp://10.0.0.5/live.sdp ",
    ],
)
@pytest.mark.parametrize("target", [("stream", "lobby"), ("exact", CAMERA)])
def test_a_source_is_the_same_however_it_is_written(name, target):
    rules = (rule(1, "play"), rule(2, "play", effect="deny", target=target))
    assert decided("playStream", with_streams(*rules), name=name).reason is Reason.DENIED_BY_RULE


@pytest.mark.parametrize(
    "name", ["rtsp://10.0.0.5/live.sdp2", "rtsp://10.0.0.5:8554/live.sdp", "rtsp://10.0.0.6/live.sdp"]
)
def test_another_address_is_another_source(name):
    rules = (rule(1, "play"), rule(2, "play", effect="deny", target=("stream", "lobby")))
    assert decided("playStream", with_streams(*rules), name=name).reason is Reason.ALLOWED_BY_RULE


@pytest.mark.parametrize("target", [("exact", CAMERA), ("prefix", "rtsp://10.0.0."), ("glob", "*live.sdp")])
@pytest.mark.parametrize("method", ["playStream", "playHLS", "StreamKeepAliveEvent", "availableStream"])
def test_no_public_name_leads_past_a_ban_on_its_source(target, method):
    known = with_streams(rule(1, "play"), rule(2, "play", effect="deny", target=target))
    hook = call(method, name="lobby", published=False, custom={"token": "tok-alice"})
    decision = decide(hook, facts_about(hook, known, session(ALICE)))
    assert (decision.reason, decision.rule_ids) == (Reason.DENIED_BY_RULE, (2,))


def test_an_allow_for_the_source_opens_no_public_name():
    assert decided("playStream", with_streams(rule(1, "play", target=("exact", CAMERA))), name="lobby").reason is (
        Reason.NO_RULE
    )


@pytest.mark.parametrize(("effect", "reason"), [("allow", Reason.NO_RULE), ("deny", Reason.DENIED_BY_RULE)])
@pytest.mark.parametrize(
    "fields", [{"conditions": Conditions(networks=("192.168.1.0/240",))}, {"target": ("number-prefix", "")}]
)
def test_what_no_form_would_let_through_counts_against(effect, reason, fields):
    known = with_numbers(rule(1, "call", effect=effect, **fields))
    assert decided("call", known, callee="0301234").reason is reason


def test_ids_have_no_nul_anywhere():
    hook = call("playStream", name="x", mediaSessionId="M\0", callId="C\0", nodeId="n\0", sessionId="s\0", appKey="a\0")
    ids = (hook.media_session_id, hook.call_id, hook.node_id, hook.session_id, hook.app_key)
    assert ids == ("M\ufffd", "C\ufffd", "n\ufffd", "s\ufffd", "a\ufffd")


@pytest.mark.parametrize("target", [("number-class", "", 2), ("prefix", "0900", None), ("any", "", None)])
def test_what_nobody_may_call_nobody_may_be_transferred_to(target):
    kind, text, id_ = target
    rules = (rule(1, "transfer", "call"), rule(2, "call", effect="deny", target=(kind, text), target_id=id_))
    decision = decided("transfer", with_numbers(*rules), callId="c", target="0900 123456")
    assert (decision.reason, decision.rule_ids) == (Reason.DENIED_BY_RULE, (2,))


def test_an_allow_of_calls_allows_no_transfer():
    assert decided("transfer", with_numbers(rule(1, "call")), callId="c", target="030123").reason is Reason.NO_RULE
