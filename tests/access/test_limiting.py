"""Limits, as deciding names them: they only ever stand in the way of what rules allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from apps.access.engine import decide
from apps.access.reasons import Reason
from apps.access.rows import Limits
from apps.live.counted import thing
from apps.protocol.methods import METHODS
from apps.protocol.numbers import NumberPlan
from tests.access.worlds import ALICE, call, facts, rule

PER = ("user", "group", "target", "rule")
MEASURES = ("at_once", "per_day", "per_month", "minutes_per_day", "minutes_per_month")
NAMES = [method.name for method in METHODS]
ACTIONS = sorted({method.action for method in METHODS})

limits = st.none() | st.builds(
    Limits,
    per=st.sampled_from(PER),
    overflow=st.sampled_from(("refuse", "end-oldest")),
    **{name: st.none() | st.integers(1, 3) for name in MEASURES},
)
rules = st.lists(
    st.builds(
        lambda actions, effect, limits, target: (actions, effect, limits, target),
        st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=4, unique=True),
        st.sampled_from(("allow", "allow", "allow", "deny")),
        limits,
        st.sampled_from((None, ("exact", "lobby"), ("prefix", "lo"))),
    ),
    max_size=5,
)


def rows(drawn, *, limited=True):
    made = []
    for number, (actions, effect, limits, target) in enumerate(drawn, start=1):
        row = rule(number, *actions, effect=effect, **({"target": target} if target else {}))
        made.append(replace(row, limits=limits if limited and effect == "allow" else None))
    return made


@given(rules, st.sampled_from(NAMES))
def test_limits_allow_nothing_that_is_refused_without_them_and_refuse_nothing_by_themselves(drawn, name):
    hook = call(name, name="lobby", callee="lobby")
    with_limits, without = decide(hook, facts(*rows(drawn))), decide(hook, facts(*rows(drawn, limited=False)))
    assert (with_limits.allowed, with_limits.reason) == (without.allowed, without.reason)
    assert set(with_limits.rule_ids) <= set(without.rule_ids)
    assert with_limits.counts is None or with_limits.reason is Reason.ALLOWED_BY_RULE


@given(rules, st.sampled_from(NAMES))
def test_a_rule_without_a_limit_makes_looking_at_limits_needless(drawn, name):
    hook = call(name, name="lobby", callee="lobby")
    decision = decide(hook, facts(*rows(drawn), rule(99, hook.action)))
    assert decision.counts is None
    assert not decision.allowed or decision.reason is not Reason.ALLOWED_BY_RULE or 99 in decision.rule_ids


@given(rules, st.sampled_from(NAMES))
def test_whatever_is_counted_names_rules_that_let_it_in_oldest_first(drawn, name):
    decision = decide(call(name, name="lobby", callee="lobby"), facts(*rows(drawn)))
    if decision.counts is not None:
        assert tuple(count.rule_id for count in decision.counts.any_of) == decision.rule_ids
        assert all(any(getattr(count, measure) for measure in MEASURES) for count in decision.counts.any_of)


@pytest.mark.parametrize(
    ("per", "key"), [("user", "7 user alice"), ("group", "7"), ("rule", "7"), ("target", "7 target lobby")]
)
def test_the_key_says_for_whom_it_counts(per, key):
    limited = replace(rule(7, "play"), limits=Limits(per=per, at_once=1))
    counts = decide(call("playStream", name="lobby"), facts(limited)).counts
    assert [count.key for count in counts.any_of] == [key]
    connecting = replace(rule(7, "connect"), limits=Limits(per=per, at_once=1))
    (count,) = decide(call("connect"), facts(connecting)).counts.any_of
    assert count.key.startswith("7 connect")


def test_nobody_is_counted_as_somebody_else():
    named = replace(ALICE, username="guest ")
    limited = replace(rule(7, "play", "connect"), limits=Limits(per="user", at_once=1))
    (count,) = decide(call("playStream", name="lobby"), facts(limited, user=named)).counts.any_of
    assert count.key == "7 user guest "


def test_a_guest_is_counted_by_the_address():
    limited = replace(rule(7, "play", guests=True), limits=Limits(per="user", at_once=1))
    (count,) = decide(call("playStream", name="lobby"), facts(limited, guest=True)).counts.any_of
    assert count.key == "7 guest 192.168.1.38"


def test_a_thing_keeps_no_secret_and_stays_another_thing():
    plan = NumberPlan()
    one, two = (thing("play", "door", f"rtsp://admin:{word}@camera/1?key=1", plan) for word in ("sesame", "open"))
    assert one != two
    assert "sesame" not in one
    assert thing("play", "lobby", "", plan) == "lobby"
    assert thing("call", "sip:+49301234@sip.example", "", plan) == "+49301234"
    assert len(thing("play", "x" * 5000, "", plan)) < 700
