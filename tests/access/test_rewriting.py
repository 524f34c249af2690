"""What WCS is told to change: nothing that was not decided, and nothing that the client would learn of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from apps.access.engine import decide
from apps.access.reasons import Reason
from apps.access.rewriting import dialled, strictest
from apps.access.rows import Rewrites, StreamRow
from apps.hooks.replies import reply
from apps.protocol.messages import HookCall
from apps.protocol.methods import METHODS, find
from apps.protocol.mirror import members
from apps.protocol.numbers import NumberClassRow, NumberPlan
from apps.protocol.policy import Hiding
from tests.access.worlds import ALICE, COMMON, call, facts, facts_about, rule, session, snapshot

CAMERA = "rtsp://10.0.0.5/live.sdp"
PLAIN, ADDRESS = StreamRow(1, "lobby", "lobby-7f3a"), StreamRow(2, "door", CAMERA)
DIALLING = {"callee": "support", "target": "support", "to": "support"}
EVERYTHING = ("call", "transfer", "message", "play", "publish")


def world(*rules, streams=(PLAIN, ADDRESS)):
    known = snapshot(rules=rules)
    known.streams.replace((), streams)
    known.plan = NumberPlan(country="49")
    known.number_classes._plan = known.plan
    known.number_classes.replace(
        (),
        [
            NumberClassRow(1, "emergency", ("112",), whole=True, protected=True),
            NumberClassRow(2, "premium", ("0900",)),
        ],
    )
    return known


def decided(method, *rules, hiding=None, streams=(PLAIN, ADDRESS), **members):
    hook = call(method, **members)
    opened = session(ALICE) if hiding is None else session(ALICE, hiding=hiding)
    return decide(hook, facts_about(hook, world(*rules, streams=streams), opened))


def changed(method, *rules, **members):
    """What WCS is told, by member."""
    return {change.member: change.value for change in decided(method, *rules, **members).changes}


def capped(**caps):
    return rule(1, *EVERYTHING, rewrites=Rewrites(**caps))


def test_rewrites_are_the_strictest_in_any_order():
    rules = [
        rule(1, "play", rewrites=Rewrites(record="on", max_width=640, callee="")),
        rule(2, "play", rewrites=Rewrites(record="off", max_width=1280, max_bitrate=500, callee="100")),
        rule(3, "play", rewrites=Rewrites(callee="200")),
        rule(4, "play"),
    ]
    wanted = Rewrites(record="off", max_width=640, max_height=None, max_bitrate=500, callee="100")
    assert strictest(rules) == strictest(reversed(rules)) == wanted
    assert strictest([rule(4, "play")]) is None


# Where a stream really comes from


@pytest.mark.parametrize(
    ("method", "name", "source"),
    [
        ("playStream", "lobby", "lobby-7f3a"),
        ("playStream", "door", CAMERA),
        ("publishStream", "lobby", "lobby-7f3a"),
        ("publishStream", "door", None),  # nobody publishes to an address
        ("playStream", "lobby-7f3a", None),  # it is the source already
        ("playStream", CAMERA, None),
        ("playStream", "elsewhere", None),
        ("stopStream", "lobby", None),
        ("snapshot", "lobby", None),
        ("StreamKeepAliveEvent", "lobby", None),
    ],
)
def test_a_stream_is_played_and_published_under_its_source(method, name, source):
    assert changed(method, rule(1, "play", "publish"), name=name).get("name") == source


def test_a_stream_whose_source_is_its_name_or_none_stays_as_it_is():
    for source in ("", "lobby"):
        streams = (StreamRow(1, "lobby", source),)
        assert changed("playStream", rule(1, "play"), name="lobby", streams=streams) == {}


def test_without_a_session_nobody_could_learn_of_it():
    hook = call("playStream", name="door")
    decision = decide(hook, replace(facts(rule(1, "play")), snapshot=world(rule(1, "play"))))
    assert [change.value for change in decision.changes] == [CAMERA]


def test_only_what_dials_is_dialled_otherwise():
    support = rule(1, *EVERYTHING, rewrites=Rewrites(callee="100", max_width=640))
    changes = {name: decided(name, support, name="door", **DIALLING).changes for name in ("call", "publishStream")}
    assert {name: dialled(find(name), made) for name, made in changes.items()} == {"call": "100", "publishStream": ""}
    assert dialled(find("call"), ()) == ""


def test_what_wcs_is_told_is_said_in_words():
    decision = decided("publishStream", capped(max_width=640), name="lobby", width=1920)
    assert decision.told == "name “lobby-7f3a” instead of “lobby”; width 640 instead of 1920"


def test_what_is_refused_tells_wcs_nothing():
    decision = decided("playStream", name="door")
    assert (decision.reason, decision.changes) == (Reason.NO_RULE, ())
    denied = decided("playStream", capped(max_width=1), rule(2, "play", effect="deny"), name="door")
    assert (denied.reason, denied.changes, denied.told) == (Reason.DENIED_BY_RULE, (), "")


@pytest.mark.parametrize("method", ["playHLS", "playRTSP"])
@pytest.mark.parametrize("name", ["lobby", "lobby-7f3a"])
@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_players_without_a_session_are_decided_alike_by_either_name_and_told_nothing(method, name, effect):
    rules = (rule(1, "play"), rule(2, "play", effect=effect, target=("stream", "lobby")))
    decision = decided(method, *rules, name=name, custom={"token": "tok-alice"})
    assert decision.reason is decided("playStream", *rules, name=name).reason
    assert decision.changes == ()


# Caps and recording


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (1920, 640),
        (641, 640),
        (640, None),
        (639, None),
        (1.5, None),
        (0, 640),  # no size asked for may be any
        (-1, 640),
        (None, 640),
        ("320", 640),
        (True, 640),
        ([320], 640),
        (10**400, 640),
    ],
)
@pytest.mark.parametrize("method", ["playStream", "publishStream"])
def test_more_than_the_cap_and_no_size_at_all_become_the_cap(method, width, told):
    assert changed(method, capped(max_width=640), name="x", width=width).get("width") == told


def test_each_cap_is_about_its_own_member():
    caps = {"max_width": 640, "max_height": 360, "max_bitrate": 500}
    wanted = {"width": 640, "height": 360, "bitrate": 500}
    assert changed("playStream", capped(**caps), name="x") == wanted
    assert changed("playStream", capped(**caps), name="x", width=9999, height=9999, bitrate=9999) == wanted
    assert changed("playStream", capped(**caps), name="x", width=1, height=1, bitrate=1) == {}


@pytest.mark.parametrize(
    ("record", "came", "told"),
    [
        ("on", False, True),
        ("on", None, True),
        ("on", "yes", True),
        ("on", True, None),
        ("off", True, False),
        ("off", "yes", False),
        ("off", False, None),
        ("off", None, None),
        ("", True, None),
    ],
)
def test_a_rule_says_whether_a_stream_is_recorded(record, came, told):
    assert changed("publishStream", capped(record=record), name="x", record=came).get("record") == told
    assert changed("playStream", capped(record=record), name="x", record=came) == {}


# Who is really called


@pytest.mark.parametrize(("method", "member"), [("call", "callee"), ("transfer", "target"), ("sendMessage", "to")])
def test_the_number_of_the_rule_is_dialled(method, member):
    assert changed(method, capped(callee="+4930123"), **{member: "support"}) == {member: "+4930123"}
    assert changed(method, capped(callee="support"), **{member: "support"}) == {}


def test_the_client_that_is_transferred_by_others_goes_where_they_say_or_nowhere():
    assert changed("OnTransferEvent", rule(1, "receive-transfer", rewrites=Rewrites(callee="1")), target="2") == {}


def test_no_alias_leads_past_a_deny():
    support = rule(1, "call", target=("exact", "support"), rewrites=Rewrites(callee="0900 123"))
    premium = rule(2, "call", effect="deny", target=("number-class", ""), target_id=2)
    assert decided("call", support, callee="support").changes
    decision = decided("call", support, premium, callee="support")
    assert (decision.reason, decision.rule_ids, decision.changes) == (Reason.DENIED_BY_RULE, (2,), ())
    assert decided("call", support, rule(2, "call", effect="deny", enforced=False), callee="support").allowed


def test_nobody_needs_a_rule_for_the_number_that_the_author_of_a_rule_chose():
    support = rule(1, "call", target=("exact", "support"), rewrites=Rewrites(callee="+4930123"))
    assert decided("call", support, callee="support").allowed
    assert decided("call", support, callee="+4930123").reason is Reason.NO_RULE


def test_an_alias_of_a_protected_number_is_as_protected():
    help_ = rule(1, "call", target=("exact", "help"), rewrites=Rewrites(callee="112"))
    deny = rule(2, "call", effect="deny", target=("exact", "112"))
    assert changed("call", help_, deny, callee="help") == {"callee": "112"}


def test_nothing_of_an_emergency_call_is_changed():
    assert changed("call", capped(callee="+4930123"), callee="112") == {}


# The session's policy must do it


@pytest.mark.parametrize(
    ("method", "asked", "needs"),
    [
        ("playStream", {"name": "door"}, Hiding.REWRITES | Hiding.SOURCES),
        ("publishStream", {"name": "lobby"}, Hiding.REWRITES | Hiding.SOURCES),
        ("playStream", {"name": "x"}, Hiding.REWRITES),
        ("call", {"callee": "support"}, Hiding.REWRITES | Hiding.NUMBERS),
        ("transfer", {"target": "support"}, Hiding.REWRITES | Hiding.NUMBERS),
        ("sendMessage", {"to": "support"}, Hiding.REWRITES | Hiding.NUMBERS),
    ],
)
def test_nothing_is_changed_in_a_session_that_would_not_do_it_or_would_show_it(method, asked, needs):
    rules = (capped(max_width=640, callee="+4930123"),)
    assert decided(method, *rules, hiding=needs, **asked).allowed
    for missing in needs:
        decision = decided(method, *rules, hiding=needs & ~missing, **asked)
        assert (decision.allowed, decision.reason, decision.changes) == (False, Reason.CONNECT_AGAIN, ())


def test_a_session_from_before_goes_on_where_nothing_is_changed():
    assert decided("playStream", rule(1, "play"), hiding=0, name="x").allowed
    assert decided("playStream", capped(max_width=640), hiding=0, name="x", width=320).allowed


@pytest.mark.parametrize(
    ("streams", "rewrites", "hiding"),
    [
        ((), None, Hiding.REWRITES),
        ((StreamRow(1, "lobby"),), Rewrites(max_width=1), Hiding.REWRITES),
        ((PLAIN,), None, Hiding.REWRITES | Hiding.SOURCES),
        ((), Rewrites(callee="1"), Hiding.REWRITES | Hiding.NUMBERS),
        ((ADDRESS,), Rewrites(callee="1"), Hiding.REWRITES | Hiding.SOURCES | Hiding.NUMBERS),
    ],
)
def test_connect_brings_a_policy_that_hides_what_there_is_to_hide(streams, rewrites, hiding):
    rules = (rule(1, "connect"), rule(2, "call", rewrites=rewrites))
    assert decided("connect", *rules, streams=streams, custom={"token": "tok-alice"}).hiding == hiding


def test_a_policy_stops_hiding_when_there_is_nothing_to_hide_any_more():
    known = world(rule(1, "connect"), rule(2, "call", rewrites=Rewrites(callee="1")))
    known.rules.replace([2], ())
    known.streams.replace([1, 2], ())
    hook = call("connect", custom={"token": "tok-alice"})
    assert decide(hook, facts_about(hook, known)).hiding == Hiding.REWRITES


# The answer


ANYTHING = rule(1, "connect", *EVERYTHING, rewrites=Rewrites("on", 640, 360, 500, "+4930123"))
texts = st.sampled_from(["lobby", "door", "x", "support", "112", "é\u2028", '"\\', ""])
values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5000), st.floats(allow_nan=False, allow_infinity=False), texts
)
sizes = st.dictionaries(st.sampled_from(["width", "height", "bitrate", "record", "other", "Name", "sdp"]), values)
names = st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "callee", "target", "to"), texts))


@given(st.sampled_from([row for row in METHODS if row.overwrite]), names, sizes, st.sampled_from([None, 1]))
def test_the_answer_differs_from_what_came_in_exactly_the_members_that_are_told(method, named, sized, indent):
    raw = json.dumps({**COMMON, **named, **sized}, indent=indent).encode()
    hook = HookCall.from_payload(method.name, find(method.name), raw)
    decision = decide(hook, facts_about(hook, world(ANYTHING), session(ALICE)))
    answer = reply(hook, raw, decision)
    assert answer.status == 200
    told = {change.member: change.value for change in decision.changes}
    assert told.keys() <= set(method.overwrite)
    came, got = texts_of(raw), texts_of(answer.body)
    assert {name: text for name, text in got.items() if name not in told} == {
        name: text for name, text in came.items() if name not in told
    }
    assert {name: json.loads(got[name]) for name in told} == told
    assert all(name not in came or json.loads(came[name]) != told[name] for name in told)


def texts_of(raw):
    """The JSON text of each member."""
    return {member.name: raw[member.start : member.end] for member in members(raw)}
