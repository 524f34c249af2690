"""What can they do? The rules about somebody and what they amount to agree with asking about each thing."""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from apps.access.rows import Conditions
from apps.access.schedules import Schedule, parse_window
from apps.access.what_can import BARE_ACTIONS, Person, examples, member_of, state
from apps.access.who_can import Verdict, asked_of_anybody
from apps.protocol.numbers import DEFAULT_CLASSES, NumberPlan, canonical
from tests.access.dice import STREAMS
from tests.access.test_who_can import CLOSED, OPEN, WideDice
from tests.access.worlds import ALICE, BOB, NOW, TEACHERS, rule, snapshot


def ids(rules):
    return [row.id for row in rules]


@given(st.integers(0, 2**32))
@example(480)
def test_streams_are_those_of_which_the_engine_says_so(seed):
    known = WideDice(seed).known(conditional=0.4)
    names = sorted(set(STREAMS) - {""})
    for user in [*known.users.by_id.values(), None]:
        page = Person(user, NOW, known).streams(names, at_most=100)
        expected = [
            (name, action)
            for name in names
            for action in ("publish", "play")
            if asked_of_anybody(action, name, NOW, known).about(user).verdict is not Verdict.CANNOT
        ]
        assert [(one.name, one.action) for one in page.found] == expected
        assert page.after == ""


def test_a_page_of_streams_ends_where_it_is_full():
    person = Person(ALICE, NOW, snapshot(rules=[rule(1, "play", target=("prefix", "b"))]))
    page = person.streams(["a1", "b1", "b2", "b3"], at_most=2)
    assert ([one.name for one in page.found], page.after) == (["b1", "b2"], "b2")
    assert person.streams(["b3"], at_most=1).after == ""


def test_rules_are_those_about_them_that_have_not_ended_denies_first():
    rules = [
        rule(1, "play"),
        rule(2, "play", user=BOB),
        rule(3, "play", group=TEACHERS),
        rule(4, "play", effect="deny", user=ALICE),
        rule(5, "play", guests=True),
        rule(6, "play", ends_at=NOW),
        rule(7, "call", starts_at=NOW + timedelta(days=1)),
    ]
    known = snapshot(rules=rules)
    assert ids(Person(ALICE, NOW, known).rules()) == [4, 7, 1, 3]
    assert ids(Person(BOB, NOW, known).rules()) == [7, 1, 2]
    assert ids(Person(None, NOW, known).rules()) == [5]
    assert ids(Person(member_of(TEACHERS), NOW, known).rules()) == [7, 1, 3]


def test_what_is_about_no_name_is_asked_about_by_itself():
    assert BARE_ACTIONS == ("imdn", "data", "bug-report")
    said = {
        one.action: one.answer.verdict for one in Person(ALICE, NOW, snapshot(rules=[rule(1, "data")])).bare_actions()
    }
    assert said == {action: Verdict.CAN if action == "data" else Verdict.CANNOT for action in BARE_ACTIONS}


@pytest.mark.parametrize("plan", [NumberPlan(), NumberPlan(country="49"), NumberPlan(country="1", international="011")])
def test_examples_are_numbers_of_their_class(plan):
    known = snapshot()
    known.plan = plan
    known.number_classes._plan = plan
    known.number_classes.replace((), DEFAULT_CLASSES)
    for row in DEFAULT_CLASSES:
        found = list(examples(row, known))
        assert all(known.number_classes.of(canonical(number, plan)) == row for number in found)
        assert found or (row.name == "national" and not plan.country), row.name


def test_numbers_of_a_class_that_are_decided_otherwise_are_said_apart():
    known = snapshot(rules=[rule(1, "call", target=("prefix", "+491900"))])
    known.number_classes.replace((), DEFAULT_CLASSES)
    premium = [one for one in Person(ALICE, NOW, known).numbers() if one.name == "premium"]
    assert [one.answer.verdict for one in premium] == [Verdict.CANNOT]
    known.rules.replace((), [rule(2, "call", target=("number-prefix", "+49900"))])
    premium = {one.answer.verdict: one.example for one in Person(ALICE, NOW, known).numbers() if one.name == "premium"}
    assert premium[Verdict.CAN].startswith("+49900")
    assert not premium[Verdict.CANNOT].startswith("+49900")


NOWHERE = Schedule("Nowhere/Town", (parse_window("daily 00:00-24:00"),))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, ""),
        ({"conditions": Conditions(networks=("10.0.0.0/8",))}, ""),
        ({"conditions": Conditions(schedule=OPEN)}, ""),
        ({"conditions": Conditions(schedule=CLOSED)}, "not at this hour"),
        ({"conditions": Conditions(schedule=NOWHERE)}, "cannot be read, so it does not count"),
        ({"conditions": Conditions(schedule=NOWHERE), "effect": "deny"}, "cannot be read, so it counts"),
        ({"starts_at": NOW + timedelta(hours=1)}, "not yet"),
        ({"enforced": False}, "only logged"),
    ],
)
def test_what_holds_a_rule_back(fields, said):
    assert state(replace(rule(1, "play"), **fields), NOW) == said


def test_what_rules_allow_by_name_is_answered_by_name():
    rules = [
        rule(1, "call", target=("exact", "support")),
        rule(2, "play", "publish", target=("exact", "exam-hall")),
        rule(3, "publish", effect="deny", target=("exact", "exam-hall")),
        rule(4, "connect", target=("exact", "defaultApp")),
        rule(5, "play", user=BOB, target=("exact", "his")),
    ]
    found = Person(ALICE, NOW, snapshot(rules=rules)).named(10)
    assert {(one.name, one.action, one.answer.verdict) for one in found} == {
        ("support", "call", Verdict.CAN),
        ("exam-hall", "play", Verdict.CAN),
        ("exam-hall", "publish", Verdict.CANNOT),
    }
