"""Rules to look at: what is wrong with a rule, and no alarm where nothing is."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest

from apps.access.comparisons import parse_comparison, unreadable
from apps.access.lint import Known, findings_of
from apps.access.matching import applies
from apps.access.overlaps import callees, catches_all, duplicates, shadows
from apps.access.question import Question
from apps.access.rows import Conditions, Limits, Rewrites, RuleRow
from apps.access.schedules import Schedule, parse_window
from apps.protocol.numbers import NumberPlan

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
KNOWN = Known(
    now=NOW,
    plan=NumberPlan(country="49", national="0"),
    apps=frozenset({"shop"}),
    guests_welcome=True,
    nodes=frozenset({"edge-1"}),
    groups_with_members=frozenset({1}),
    stream_groups_with_streams=frozenset({1}),
    inactive_users=frozenset({9}),
    groups_of_user={5: (1,)},
    stream_groups_of={"door": (1,)},
)


def rule(*actions, **fields):
    """A rule about user 5 with which nothing is wrong, but for what is given."""
    defaults = {"id": 1, "effect": "allow", "who": "user", "user_id": 5, "target_kind": "exact", "target": "lobby"}
    values = {**defaults, **fields}
    if values["who"] != "user":
        values["user_id"] = None
    return RuleRow(actions=actions or ("play",), **values)


def kinds(row, known=KNOWN):
    return [finding.kind for finding in findings_of(row, known)]


def under(**conditions):
    return {"conditions": Conditions(**conditions)}


HOURS = (parse_window("Mon-Fri 08:00-18:00"),)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (rule(ends_at=NOW), "expired"),
        (rule("imdn", "data"), "never-matches"),
        (rule("call", "data"), "partly-idle"),
        (rule("call", target_kind="stream-group", target="", target_id=1), "never-matches"),
        (rule("play", target_kind="number-prefix", target="+49"), "never-matches"),
        (rule(target_kind="glob", target="{group}-*"), "never-matches"),
        (rule(target_kind="glob", target="{user}-*", who="guests"), "never-matches"),
        (rule("call", target_kind="number-prefix", target=""), "never-matches"),
        (rule(who="group", group_id=2), "refers-to-nothing"),
        (rule(user_id=9), "refers-to-nothing"),
        (rule(target_kind="stream-group", target="", target_id=2), "refers-to-nothing"),
        (rule("connect", target="shpo"), "refers-to-nothing"),
        (rule(**under(apps=("shpo",))), "never-matches"),
        (rule(**under(apps=("shpo", "shop"))), "refers-to-nothing"),
        (rule(**under(nodes=("edge-2",))), "never-matches"),
        (rule(**under(networks=("nonsense",))), "never-matches"),
        (rule(**under(custom=(unreadable("It is no comparison."),))), "unreadable"),
        (rule(**under(custom=tuple(map(parse_comparison, ("role = a", "role = b"))))), "never-matches"),
        (rule(**under(schedule=Schedule("UTC", ()))), "never-matches"),
        (rule(**under(schedule=Schedule("UTC", HOURS, (date(2025, 12, 25),)))), "old-holidays"),
        (rule("publish", who="everyone", target_kind="any", target=""), "opens-everything"),
        (rule("call", who="guests", target_kind="glob", target="**"), "opens-everything"),
        *((rule(target_kind="glob", target=text), "looks-like-regex") for text in
          (r"cam\d", "cam.*", "room-[a-z]", "^lobby", "lobby$", "(a|b)-*")),
        (rule(target="lobby-*"), "star-is-text"),
        (rule(target_kind="prefix", target="{user}-"), "star-is-text"),
        (rule("call", target_kind="prefix", target="+49900"), "number-as-text"),
        (rule("call", target_kind="glob", target="0900*"), "number-as-text"),
        (rule(rewrites=Rewrites(callee="+4930")), "changes-nothing"),
        (rule("call", rewrites=Rewrites(max_width=640)), "changes-nothing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(row, kind):
    assert kinds(row) == [kind]
    (finding,) = findings_of(row, KNOWN)
    assert [text[-1] for text in (finding.problem, finding.advice)] == [".", "."]


@pytest.mark.parametrize(
    "row",
    [
        rule(),
        rule(ends_at=NOW + DAY),
        rule("hold", "dtmf", target_kind="number-prefix", target="+49900"),
        rule("connect", who="everyone", target_kind="any", target=""),
        rule("play", who="everyone", target_kind="any", target="", **under(networks=("10.0.0.0/8",))),
        rule("call", who="everyone", target_kind="any", target="", limits=Limits("user", per_day=3)),
        rule("play", who="everyone", target_kind="any", target="", effect="deny"),
        rule("play", target_kind="any", target=""),
        rule(target_kind="glob", target="lesson-*-{user}"),
        rule(target="v1.2-final"),
        rule("call", target_kind="number-prefix", target="+49900"),
        rule(target_kind="prefix", target="2026"),
        rule("connect", target="shop", **under(nodes=("edge-1",))),
        rule(**under(custom=tuple(map(parse_comparison, ("age = 1", "age = 1.0"))))),
        rule(**under(schedule=Schedule("UTC", HOURS, (date(2025, 12, 25), date(2026, 12, 25))))),
        rule("publish", "call", rewrites=Rewrites(callee="+4930", record="on")),
    ],
)
def test_what_may_be_meant_is_no_finding(row):
    assert kinds(row) == []


def test_nobody_is_a_guest_where_no_app_lets_guests_in():
    row = rule(who="guests")
    assert kinds(row) == []
    assert kinds(row, Known(now=NOW, plan=KNOWN.plan)) == ["refers-to-nothing"]


DENY = {"id": 2, "effect": "deny"}


@pytest.mark.parametrize(
    ("deny", "allow"),
    [
        (rule(**DENY), rule()),
        (rule("play", "publish", **DENY), rule()),
        (rule(**DENY, who="everyone", target_kind="any", target=""), rule()),
        (rule(**DENY, who="group", group_id=1), rule()),
        (rule(**DENY, target_kind="prefix", target="lob"), rule()),
        (rule(**DENY, target_kind="prefix", target="les"), rule(target_kind="glob", target="lesson-*")),
        (rule(**DENY, target_kind="glob", target="*b*"), rule()),
        (rule(**DENY, target_kind="stream-group", target="", target_id=1), rule(target_kind="stream", target="door")),
        (
            rule("call", **DENY, target_kind="number-prefix", target="+49"),
            rule("call", target_kind="number-prefix", target="+49900"),
        ),
        (rule(**DENY, ends_at=NOW + 2 * DAY), rule(ends_at=NOW + DAY)),
        (rule(**DENY, starts_at=NOW + DAY), rule(starts_at=NOW + DAY)),
        (rule(**DENY, **under(apps=("shop",))), rule(**under(apps=("shop",)))),
    ],
)
def test_a_rule_that_a_deny_catches_whole_is_found(deny, allow):
    assert [(finding.rule_id, finding.other_id) for finding in shadows([allow], [deny], KNOWN)] == [(1, 2)]


@pytest.mark.parametrize(
    ("deny", "allow"),
    [
        (rule(**DENY), rule("play", "publish")),
        (rule(**DENY, user_id=6), rule()),
        (rule(**DENY, who="group", group_id=2), rule()),
        (rule(**DENY, who="everyone"), rule(who="guests")),
        (rule(**DENY), rule(who="everyone")),
        (rule(**DENY, target="lobby-1"), rule()),
        (rule(**DENY, target_kind="prefix", target="lesson-1"), rule(target_kind="glob", target="lesson-*")),
        (rule(**DENY, target_kind="glob", target="{user}*"), rule()),
        (rule(**DENY, target_kind="glob", target="les*"), rule(target_kind="prefix", target="lesson")),
        (rule(**DENY, ends_at=NOW + DAY), rule()),
        (rule(**DENY, starts_at=NOW + DAY), rule()),
        (rule(**DENY, enforced=False), rule()),
        (rule(**DENY, **under(apps=("shop",))), rule()),
        (rule(**DENY), rule(ends_at=NOW)),
        (rule(**DENY), rule(effect="deny")),
    ],
)
def test_a_rule_of_which_something_may_be_left_is_none(deny, allow):
    assert not list(shadows([allow], [deny], KNOWN))


KINDS = ("any", "exact", "prefix", "glob", "stream")
TEXTS = ("*", "l", "lo", "lobby", "lobby*", "lobby-1", "{user}-*", "*-cam", "a*b")
MOMENTS = (None, NOW - DAY, NOW, NOW + DAY, NOW + 2 * DAY)
PLACES = (None, None, Conditions(apps=("shop",)), Conditions(nodes=("edge-1",)))


def drawn(dice, id_, effect):
    kind = dice.choice(KINDS)
    return rule(
        *dice.sample(("play", "publish"), dice.randint(1, 2)), id=id_, effect=effect, target_kind=kind,
        target="" if kind == "any" else dice.choice(TEXTS), conditions=dice.choice(PLACES),
        starts_at=dice.choice(MOMENTS), ends_at=dice.choice(MOMENTS),
    )  # fmt: skip


def test_a_deny_that_is_said_to_catch_a_rule_matches_whatever_it_matches():
    dice, caught = Random(7), 0
    names = [text.replace("*", middle) for text in TEXTS for middle in ("", "-x")] + ["alice-1", "alice-cam"]
    questions = [
        Question(action, (name,), now, username=who, app_key=app, node_id=node)
        for action in ("play", "publish")
        for name in names
        for now in (NOW, NOW + DAY, NOW + 3 * DAY)
        for who in ("alice", None)
        for app, node in (("shop", "edge-1"), ("", ""))
    ]
    for _ in range(4_000):
        deny, allow = drawn(dice, 2, "deny"), drawn(dice, 1, "allow")
        if catches_all(deny, allow, KNOWN):
            caught += 1
            for question in questions:
                if question.action in allow.actions and applies(allow, question):
                    assert question.action in deny.actions
                    assert applies(deny, question), (deny, allow, question)
    assert caught > 100


def test_rules_that_say_the_same_are_found_whatever_their_order():
    rows = [rule("play", "publish", id=1), rule("publish", "play", id=2, enforced=False), rule("play", id=3)]
    assert [(finding.rule_id, finding.other_id) for finding in duplicates(rows)] == [(2, 1)]


def test_two_numbers_to_call_instead_are_found_where_their_periods_meet():
    def sending(id_, callee, **fields):
        return rule("call", id=id_, target="support", rewrites=Rewrites(callee=callee), **fields)

    first = sending(1, "+4930", ends_at=NOW + DAY)
    assert [(finding.rule_id, finding.other_id) for finding in callees([sending(2, "+4940"), first])] == [(2, 1)]
    assert not list(callees([first, sending(2, "+4930")]))
    assert not list(callees([first, sending(2, "+4940", starts_at=NOW + DAY)]))
    assert not list(callees([first, sending(2, "+4940", who="everyone")]))
