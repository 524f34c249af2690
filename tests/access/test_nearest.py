"""What a rule missed: nothing exactly if it applies, all of it in words that compare, and the nearest found in time."""

import json
from datetime import UTC, date, datetime, timedelta
from random import Random

import msgspec
import pytest

from apps.access import nearest as search
from apps.access.comparisons import parse_comparison, unreadable
from apps.access.compile import RuleIndex
from apps.access.matching import BEFOREHAND, CIRCUMSTANCES, applies, misses
from apps.access.misses import Names
from apps.access.nearest import MOST_NEAR, nearest
from apps.access.question import Question
from apps.access.rows import Conditions, UserRow
from apps.access.schedules import Schedule, parse_window
from apps.protocol.methods import ACTIONS
from apps.protocol.numbers import NumberClassRow
from tests.access.worlds import ALICE, BOB, NOW, TEACHERS, rule

OFFICE = Schedule("Europe/Berlin", (parse_window("Mon-Fri 08:00-18:00"),), (date(2026, 12, 25),))
FRIDAY_EVENING = datetime(2026, 3, 6, 18, 2, tzinfo=UTC)
PREMIUM, NATIONAL = NumberClassRow(2, "premium", ("+49900",)), NumberClassRow(3, "national", ("+49",))
NAMES = Names(UTC, "bob", "teachers", "cameras", "national")


def asking(target="lobby", *, action="play", user=ALICE, **fields):
    """A question of this user, or of a guest."""
    whom = {"username": user.username, "user_id": user.id, "group_ids": user.group_ids} if user else {}
    return Question(action, (target,) if isinstance(target, str) else target, fields.pop("now", NOW), **whom, **fields)


def raw(**members):
    return msgspec.Raw(json.dumps(members).encode())


def said(about, question):
    return [miss.say(NAMES) for miss in misses(about, question)]


# Missing and matching are the same


CONDITIONS = {
    "schedule": (OFFICE, Schedule("UTC", (parse_window("daily 00:00-24:00"),)), Schedule("nowhere", ())),
    "networks": (("10.0.0.0/8",), ("2001:db8::/32", "192.168.0.0/16")),
    "origins": (("https://a.example",), ("*.a.example",)),
    "media_providers": (("WebRTC", "MSE"), ("HLS",)),
    "apps": (("school",), ("other", "school")),
    "nodes": (("edge",), ("edge", "core")),
    "custom": ((parse_comparison("role = teacher"),), (parse_comparison("age > 17"),), (unreadable("a window"),)),
}
KINDS = ("any", "any", "exact", "prefix", "glob", "stream-group", "number-class", "number-prefix", "shape")
WHO = ({}, {}, {"user": ALICE}, {"user": BOB}, {"group": TEACHERS}, {"group": 8}, {"guests": True})
CLASSES = (None, PREMIUM, NATIONAL)


def drawn(dice):
    """A rule, a user or None for a guest, and what they ask."""
    conditions = {name: dice.choice(values) for name, values in CONDITIONS.items() if dice.random() < 0.25}
    kind = dice.choice(
        ("any", "any", "exact", "prefix", "glob", "stream-group", "number-class", "number-prefix", "shape")
    )
    who = dice.choice(
        ({}, {}, {"user": dice.choice((ALICE, BOB))}, {"group": dice.choice((TEACHERS, 8))}, {"guests": True})
    )
    drawn_rule = rule(
        1,
        *dice.sample(("play", "publish", "call"), dice.choice((1, 2, 3))),
        effect=dice.choice(("allow", "deny")),
        target=(kind, dice.choice(("lobby", "lob", "{user}*", "+49"))),
        target_id=dice.choice((2, 3)) if kind in ("stream-group", "number-class") else None,
        enforced=dice.random() < 0.85,
        starts_at=dice.choice((None, None, NOW, NOW + timedelta(hours=1))),
        ends_at=dice.choice((None, None, NOW, NOW + timedelta(days=9))),
        conditions=Conditions(**conditions) if conditions else None,
        **who,
    )
    user = dice.choice((ALICE, ALICE, BOB, None))
    question = asking(
        dice.choice(("lobby", "alice-1", "", "+49900123")),
        action=dice.choice(("play", "call")),
        user=user,
        now=dice.choice((NOW, FRIDAY_EVENING)),
        number=dice.choice(("", "+49900123")),
        number_class=dice.choice(CLASSES),
        stream_groups=dice.choice(((), (2,))),
        address=dice.choice(("", "10.1.2.3", "2001:db8::1", "9.9.9.9")),
        origin=dice.choice(("", "https://a.example", "https://www.a.example")),
        media_providers=dice.choice(("", "WebRTC", msgspec.Raw(b'["HLS", "Flash"]'), msgspec.Raw(b'["WebRTC", 1]'))),
        app_key=dice.choice(("school", "other")),
        node_id=dice.choice(("edge", "core")),
        custom=dice.choice((msgspec.Raw(), raw(role="teacher", age=18), raw(role="pupil"), msgspec.Raw(b"[1]"))),
    )
    return drawn_rule, user, question


def in_force(about, user, question):
    """Whether deciding takes the rule into account, as a rule that allows."""
    try:
        return about in RuleIndex([about]).candidates(user, question) and applies(about, question) and about.enforced
    except Exception:
        return False


def test_nothing_is_missed_exactly_if_the_rule_applies():
    applied = 0
    kinds = set()
    for seed in range(20_000):
        about, user, question = drawn(Random(seed))
        found = misses(about, question)
        assert (not found) is in_force(about, user, question), (seed, found)
        assert all(miss.say(NAMES) for miss in found), seed
        applied += not found
        kinds |= {miss.kind for miss in found}
    assert applied > 300
    assert kinds == {"who", "action", "enforced", "period", "target", *CONDITIONS}


def test_every_condition_of_a_rule_is_in_the_table():
    assert [condition.kind for condition in CIRCUMSTANCES] == list(Conditions.__struct_fields__)


# In words


@pytest.mark.parametrize(
    ("conditions", "question", "missed"),
    [
        ({"schedule": OFFICE}, {"now": FRIDAY_EVENING}, "Friday 19:02 is outside Mon-Fri 08:00-18:00 Europe/Berlin"),
        ({"networks": ("10.0.0.0/8",)}, {"address": "203.0.113.7"}, "203.0.113.7 is in none of 10.0.0.0/8"),
        ({"networks": ("10.0.0.0/8",)}, {}, "the hook shows no client address, so it is in none of 10.0.0.0/8"),
        (
            {"origins": ("https://a.example", "*.b.example")},
            {"origin": "https://c.example"},
            "the page https://c.example is none of https://a.example, *.b.example",
        ),
        ({"origins": ("*.b.example",)}, {}, "the hook names no page, so it is none of *.b.example"),
        (
            {"media_providers": ("WebRTC", "MSE")},
            {"media_providers": "HLS"},
            "the media provider is HLS, not WebRTC or MSE",
        ),
        (
            {"media_providers": ("MSE",)},
            {"media_providers": msgspec.Raw(b'["MSE", 1]')},
            "What came as “mediaProviders” is no list of texts.",
        ),
        ({"media_providers": ("MSE",)}, {}, "the hook names no media provider, so it is not MSE"),
        ({"apps": ("school", "demo")}, {"app_key": "other"}, "the app is “other”, not “school” or “demo”"),
        ({"nodes": ("edge-1",)}, {"node_id": "edge-2"}, "the node is “edge-2”, not “edge-1”"),
    ],
)
def test_circumstances_are_compared(conditions, question, missed):
    about = rule(1, "play", conditions=Conditions(**conditions))
    assert said(about, asking(**question)) == [missed]


@pytest.mark.parametrize(
    ("comparisons", "custom", "missed"),
    [
        (["role = teacher"], {"role": "pupil"}, "role is “pupil”, not “teacher”"),
        (["role = teacher"], {}, "role is not said at all; asked for is role = teacher"),
        (["role = teacher"], {"role": ["teacher"]}, "role is not said at all; asked for is role = teacher"),
        (["role in teacher|tutor"], {"role": "pupil"}, "role is “pupil”, not “teacher” or “tutor”"),
        (["kind begins with cam-"], {"kind": "mic-1"}, "kind is “mic-1”, which does not begin with “cam-”"),
        (["age >= 18"], {"age": 17}, "age is “17”, not >= 18"),
        (["a = 1", "b = 2", "c = 3"], {"a": 1, "b": 3, "c": 4}, "b is “3”, not “2”; c is “4”, not “3”"),
        (["api_key = x"], {"api_key": "s3cret"}, "api_key is something else, not “x”"),
        (["site = x"], {"site": "https://u:PW@h/?t=1"}, "site is “https://***@h/?t=***”, not “x”"),
        (["role = x"], {"role": "r" * 500}, f"role is “{'r' * 100}…”, not “x”"),
    ],
)
def test_what_the_client_says_is_compared_but_no_secret_shown(comparisons, custom, missed):
    about = rule(1, "play", conditions=Conditions(custom=tuple(map(parse_comparison, comparisons))))
    assert said(about, asking(custom=raw(**custom))) == [missed]


def test_a_custom_that_is_no_object_is_said_to_be():
    about = rule(1, "play", conditions=Conditions(custom=(parse_comparison("role = x"),)))
    assert said(about, asking(custom=msgspec.Raw(b"[1]"))) == ["What came as “custom” is no object."]


@pytest.mark.parametrize(
    ("target", "question", "missed"),
    [
        (("exact", "hall"), {}, "“lobby” is not “hall”"),
        (("stream-group", ""), {}, "“lobby” is not in the group of streams “cameras”"),
        (
            ("number-class", ""),
            {"number": "+49900123", "number_class": PREMIUM},
            "+49900123 is in class “premium”, not “national”",
        ),
        (("number-class", ""), {"number": "123"}, "123 is in no class of numbers, not “national”"),
        (("number-class", ""), {}, "“lobby” is no number"),
        (("number-class", ""), {"target": ""}, "the hook names no number"),
        (("number-prefix", "+4930"), {"number": "+49900123"}, "+49900123 does not begin with +4930"),
        (("exact", "hall"), {"target": ("rtsp://u:PW@cam/1", "door")}, "“rtsp://***@cam/1” is not “hall”"),
    ],
)
def test_targets_are_compared(target, question, missed):
    about = rule(1, "play", target=target, target_id=3)
    assert said(about, asking(**{"target": "lobby", **question})) == [missed]


@pytest.mark.parametrize(
    ("who", "user", "missed"),
    [
        ({"group": TEACHERS}, BOB, "bob is not in group “teachers”"),
        ({"group": TEACHERS}, None, "a guest is not in group “teachers”"),
        ({"user": BOB}, ALICE, "alice is not “bob”"),
        ({"guests": True}, ALICE, "alice is no guest"),
        ({}, None, "a guest has no account"),
    ],
)
def test_who_asks_is_compared(who, user, missed):
    assert said(rule(1, "play", **who), asking(user=user)) == [missed]


# The nearest of them


def ids(found):
    return [near.rule.id for near in found.rules]


def found_near(*rules, user=ALICE, **question):
    return nearest(RuleIndex(rules), user, asking(user=user, **question))


def test_one_thing_comes_before_two_and_a_like_name_before_another():
    weekdays = {"conditions": Conditions(schedule=OFFICE)}
    networks = {"conditions": Conditions(schedule=OFFICE, networks=("10.0.0.0/8",))}
    rules = (
        rule(1, "play", target=("exact", "hall")),
        rule(2, "play", **networks),
        rule(3, "play", target=("exact", "lobby-1")),
        rule(4, "play", target=("exact", "lobby"), **weekdays),
        rule(5, "play", target=("exact", "hall"), **networks),  # three things
        rule(6, "play", target=("exact", "lobb"), enforced=False),
    )
    assert ids(found_near(*rules)) == [4, 3, 1, 2, 6]


def test_a_rule_for_a_group_the_user_is_not_in_is_near_if_all_else_fits():
    fits = rule(1, "play", group=8, target=("exact", "lobby"))
    assert ids(found_near(fits, rule(2, "play", group=8, target=("exact", "hall")))) == [1]
    assert ids(found_near(fits, user=None)) == []
    removed = RuleIndex([fits])
    removed.replace([1], ())
    assert removed.groups() == []
    assert ids(nearest(removed, ALICE, asking())) == []


@pytest.mark.parametrize(
    "far",
    [
        rule(1, "publish"),
        rule(1, "publish", target=("exact", "lobby-1")),
        rule(1, "play", user=BOB, target=("exact", "lobby")),
        rule(1, "play", effect="deny", target=("exact", "lobby-1")),
        rule(1, "play", group=8, target=("exact", "lobby"), enforced=False),
    ],
)
def test_what_is_farther_away_is_not_near(far):
    assert ids(found_near(far)) == []


def test_there_are_never_more_than_a_few_and_each_once():
    many = [rule(number, *ACTIONS, target=("exact", f"lobby-{number}")) for number in range(1, 40)]
    assert len(set(ids(found_near(*many)))) == len(ids(found_near(*many))) == MOST_NEAR


def test_it_looks_only_so_far_and_says_so(monkeypatch):
    monkeypatch.setattr(search, "LOOKED_AT", 100)
    many = [rule(number, "play", target=("exact", f"hall-{number}")) for number in range(200)]
    same = rule(900, "play", target=("exact", "lobby"), enforced=False)
    found = found_near(*many, same)
    assert found.cut
    assert 900 in ids(found)  # what is about the same thing is looked at first
    assert not found_near(*many[:90], same).cut
    groups = [rule(number, "play", group=number) for number in range(1, 200)]
    assert found_near(*groups, user=UserRow(9, "dora")).cut


class Endless(RuleIndex):
    """Rules without end about everybody; to look at too many of them is an error."""

    def about(self, user):
        for number in range(search.LOOKED_AT + 1):
            yield rule(number, "play", target=("exact", f"hall-{number}"))
        raise AssertionError("It looked at more rules than it may.")


def test_it_never_looks_at_more_rules_however_many_there_are():
    found = nearest(Endless(), ALICE, asking())
    assert found.cut
    assert len(found.rules) == MOST_NEAR


def test_beforehand_is_what_the_index_and_the_engine_look_at():
    assert [condition.kind for condition in BEFOREHAND] == ["who", "action", "enforced"]
