"""Who can? What is said of each user agrees with deciding, in random worlds and under all circumstances."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from apps.access.comparisons import parse_comparison, unreadable
from apps.access.engine import decide
from apps.access.facts import Facts, Identity
from apps.access.identity import guest
from apps.access.matching import applies
from apps.access.reasons import Reason
from apps.access.rows import AppRow, Conditions, Rewrites, RuleRow, StreamRow, UserRow
from apps.access.schedules import Schedule, parse_window
from apps.access.who_can import Verdict, asked_of, asked_of_anybody, hook_about
from apps.access.who_can_people import People, allowed_people, denied_people, idle_rules
from apps.protocol.messages import HookCall
from apps.protocol.methods import ACTIONS
from apps.protocol.numbers import NumberClassRow
from tests.access.dice import ACTIONS as DRAWN
from tests.access.dice import ORIGINS, STREAMS, Dice
from tests.access.worlds import ALICE, BOB, NOW, TEACHERS, link, rule, snapshot

CAN, PERHAPS, CANNOT = Verdict
PROTECTED = NumberClassRow(1, "emergency", ("112",), whole=True, protected=True)
PREMIUM = NumberClassRow(2, "premium", ("+49900",))
NETWORKS = {"/192.168.1.38:64604/n": "192.168.0.0/16", "/10.0.0.7:5/n": "10.0.0.0/8"}
TARGETS = (*STREAMS, "112", "+49900123", "rtsp://cam/1", "app-1", "app-2", "7;isub=0900")
OPEN, CLOSED = (
    Schedule("Europe/Berlin", (parse_window("Sun 08:00-18:00"),)),  # NOW is a Sunday, at noon
    Schedule("Europe/Berlin", (parse_window("Mon-Fri 08:00-18:00"),)),
)
CIRCUMSTANCES = [
    {"sessionId": session_id, "origin": origin, "custom": {"role": role}, "nodeId": node, "mediaProvider": media}
    for session_id, origin, role, node, media in [
        (next(iter(NETWORKS)), ORIGINS[0], "teacher", "node-1", "WebRTC"),
        (list(NETWORKS)[1], ORIGINS[1], "pupil", "node-2", "HLS"),
        ("uuid", "", "teacher", "node-2", "WebRTC"),
        (next(iter(NETWORKS)), ORIGINS[1], "pupil", "node-1", "HLS"),
    ]
]


class WideDice(Dice):
    """Draws rules of every kind, with circumstances, in a world with aliases, stream groups and number classes."""

    def rule(self, id_):
        row = super().rule(id_)
        kind, target_id = self.choice(
            (("", 0),) * 5 + (("stream-group", 1), ("stream-group", 2), ("number-class", 1), ("number-class", 2))
        )
        if kind:
            row = replace(row, target_kind=kind, target="", target_id=target_id)
        elif self.random() < 0.1:
            row = replace(row, target_kind="number-prefix", target=self.choice(("+49", "11", "+49900")))
        conditions = self.conditions() if self.random() < self.conditional else None
        return replace(row, conditions=conditions)

    def conditions(self):
        return Conditions(
            schedule=self.choice((None, None, OPEN, CLOSED)),
            networks=self.some(tuple(NETWORKS.values())),
            origins=self.some(ORIGINS) if self.random() < 0.3 else (),
            media_providers=self.some(("WebRTC", "HLS")) if self.random() < 0.3 else (),
            apps=self.some(("app-1", "app-2")) if self.random() < 0.3 else (),
            nodes=self.choice(((), (), ("node-1",))),
            custom=self.choice(((),) * 8 + ((parse_comparison("role = teacher"),), (unreadable("no"),))),
        )

    def known(self, conditional):
        """A snapshot of a drawn world, whose rules have circumstances this often."""
        self.conditional = conditional
        world = self.world()
        apps = (AppRow(1, "app-1", guests=self.random() < 0.5), AppRow(2, "app-2", rest_started=self.random() < 0.1))
        made = snapshot(users=world.users, apps=apps, rules=world.rules)
        made.streams.replace(
            (),
            [StreamRow(1, "lobby", "rtsp://cam/1", (1,)), StreamRow(2, "alice", "rtsp://cam/1"), StreamRow(3, "a*b")],
        )
        made.number_classes.replace((), [PROTECTED, PREMIUM])
        return made


SEEDS = st.integers(0, 2**32)
ASKED = st.tuples(st.sampled_from(DRAWN), st.sampled_from(TARGETS))


def really(known, user, action, target, **members):
    """What deciding says of a hook under these circumstances."""
    bare = hook_about(action, target)
    named = {bare.method.target[0]: target} if bare.method.target else {}
    key = target if action == "connect" else members.pop("app", "app-1")
    body = json.dumps({**members, "appKey": key, **named})
    call = HookCall.from_payload(bare.wire_name, bare.method, body.encode())
    call = replace(call, target=target) if bare.method.of_call else call  # as Calls finds it
    app = known.apps.by_name.get(call.app_key)
    if action != "connect":
        app = replace(app, rest_started=False)
    identity = Identity(user=user, entered_by="token") if user else guest(app) if app else Identity()
    return decide(call, Facts(now=NOW, app=app, identity=identity, snapshot=known))


def everybody(known):
    """Every user; and guests, for whom it takes an app that welcomes them."""
    return [*known.users.by_id.values(), None]


@given(SEEDS, ASKED)
def test_without_circumstances_it_is_just_what_deciding_says(seed, asked):
    known = WideDice(seed).known(conditional=0)
    question = asked_of_anybody(*asked, NOW, known)
    for user in everybody(known):
        answer, decision = question.about(user), really(known, user, *asked, **CIRCUMSTANCES[0])
        assert answer.verdict is (CAN if decision.allowed else CANNOT)
        assert (answer.reason, answer.rule_ids) == (decision.reason, decision.rule_ids)
        assert answer == asked_of(user, *asked, NOW, known)


@given(SEEDS, ASKED)
def test_under_no_circumstances_is_anybody_promised_or_refused_wrongly(seed, asked):
    known = WideDice(seed).known(conditional=0.6)
    question = asked_of_anybody(*asked, NOW, known)
    for user in everybody(known):
        answer = question.about(user)
        for circumstances in CIRCUMSTANCES:
            for app in ("app-1", "app-2") if user else ("app-1",):
                decision = really(known, user, *asked, app=app, **circumstances)
                assert answer.verdict is PERHAPS or decision.allowed is (answer.verdict is CAN)
                if decision.reason is Reason.ALLOWED_BY_RULE:
                    assert answer.verdict is CAN or set(decision.rule_ids) <= set(answer.rule_ids)
                if answer.verdict is PERHAPS and decision.reason is Reason.DENIED_BY_RULE:
                    assert set(decision.rule_ids) <= set(answer.unless_ids)
        assert answer == asked_of(user, *asked, NOW, known)


def is_among(user, people):
    return people.everyone or user.id in people.user_ids or not set(user.group_ids).isdisjoint(people.group_ids)


@given(SEEDS, ASKED)
def test_the_people_named_are_those_of_whom_the_engine_says_so(seed, asked):
    known = WideDice(seed).known(conditional=0.4)
    question = asked_of_anybody(*asked, NOW, known)
    allowed, denied = allowed_people(question), denied_people(question)
    for user in known.users.by_id.values():
        answer = question.about(user)
        let = is_among(user, allowed) and not is_among(user, denied)
        can = let and (user.active or question.without_rules(active=False).allowed)
        assert can is (answer.verdict is not CANNOT)
        if not can and is_among(user, allowed):
            assert answer.overruled_ids or question.without_rules().allowed
            assert answer.reason is (Reason.DENIED_BY_RULE if user.active else Reason.USER_INACTIVE)
        elif not can:
            assert not answer.overruled_ids


def test_the_dice_draw_every_verdict():
    drawn = set()
    for seed in range(40):
        known = WideDice(seed).known(conditional=0.5)
        for action in DRAWN:
            question = asked_of_anybody(action, "lobby", NOW, known)
            drawn |= {question.about(user).verdict for user in everybody(known)}
    assert drawn == set(Verdict)


# One by one


def verdicts(*rules, action="play", target="lobby", users=(ALICE, BOB)):
    question = asked_of_anybody(action, target, NOW, snapshot(users=users, rules=rules))
    return [question.about(user).verdict for user in users]


AT_HOME = Conditions(networks=("10.0.0.0/8",))
LOBBY = rule(1, "play", target=("exact", "lobby"))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], [CANNOT, CANNOT]),
        ([LOBBY], [CAN, CAN]),
        ([rule(1, "publish")], [CANNOT, CANNOT]),
        ([rule(1, "play", group=TEACHERS)], [CAN, CANNOT]),
        ([rule(1, "play", target=("glob", "{user}-*"))], [CANNOT, CANNOT]),
        ([rule(1, "play", target=("glob", "lob*"), user=BOB)], [CANNOT, CAN]),
        ([LOBBY, rule(2, "play", effect="deny", user=ALICE)], [CANNOT, CAN]),
        ([LOBBY, rule(2, "play", effect="deny", enforced=False)], [CAN, CAN]),
        ([rule(1, "play", conditions=AT_HOME)], [PERHAPS, PERHAPS]),
        ([LOBBY, rule(2, "play", effect="deny", user=BOB, conditions=AT_HOME)], [CAN, PERHAPS]),
        ([rule(1, "play", conditions=Conditions(schedule=OPEN))], [CAN, CAN]),
        ([rule(1, "play", conditions=Conditions(schedule=CLOSED))], [CANNOT, CANNOT]),
        ([rule(1, "play", starts_at=NOW + timedelta(hours=1))], [CANNOT, CANNOT]),
    ],
)
def test_a_verdict_is_what_the_rules_amount_to(rules, expected):
    assert verdicts(*rules) == expected


def test_a_name_in_a_pattern_means_that_user_alone():
    rules = [rule(1, "play", target=("glob", "{user}-*"))]
    assert verdicts(*rules, target="alice-cam") == [CAN, CANNOT]


def test_who_is_switched_off_can_nothing_although_a_rule_allows_it():
    off = replace(ALICE, active=False)
    answer = asked_of_anybody("play", "lobby", NOW, snapshot(users=(off,), rules=[LOBBY])).about(off)
    assert (answer.verdict, answer.reason, answer.overruled_ids) == (CANNOT, Reason.USER_INACTIVE, (1,))


@pytest.mark.parametrize("action", ["hold", "dtmf", "answer"])
def test_a_rule_about_numbers_is_about_what_is_done_in_calls_to_them(action):
    deny = rule(2, action, effect="deny", target=("number-prefix", "+49900"))
    assert verdicts(rule(1, action), deny, action=action, target="+49 900 1234") == [CANNOT, CANNOT]
    assert verdicts(rule(1, action), deny, action=action, target="+49 30 1234") == [CAN, CAN]


def test_a_protected_number_can_be_called_by_everybody():
    known = snapshot(rules=[rule(1, "call", effect="deny")])
    known.number_classes.replace((), [PROTECTED])
    question = asked_of_anybody("call", "tel:112", NOW, known)
    assert question.about(ALICE).reason is Reason.PROTECTED_NUMBER
    assert allowed_people(question).everyone
    assert not denied_people(question).everyone


@pytest.mark.parametrize("action", ["call", "transfer", "message"])
def test_what_has_hidden_digits_nobody_can_but_whom_a_rule_has_another_number_called_for(action):
    allowed, of_teachers = rule(1, action), replace(rule(2, action, group=TEACHERS), rewrites=Rewrites(callee="100"))
    question = asked_of_anybody(action, "sip:7@0900@h", NOW, snapshot(users=(ALICE, BOB), rules=[allowed]))
    assert question.about(ALICE).reason is Reason.HIDDEN_DIGITS
    assert allowed_people(question) == People()
    question = asked_of_anybody(action, "sip:7@0900@h", NOW, snapshot(users=(ALICE, BOB), rules=[allowed, of_teachers]))
    assert [question.about(user).verdict for user in (ALICE, BOB)] == [CAN, CANNOT]
    assert allowed_people(question) == People(group_ids=(TEACHERS,))


def test_who_is_called_or_watched_as_somebody_likes_hides_no_digits():
    for action, target in (("receive-call", "7;isub=0900"), ("play", "rtsp://cam/1")):
        assert allowed_people(asked_of_anybody(action, target, NOW, snapshot(rules=[rule(1, action)]))).everyone


@pytest.mark.parametrize(
    ("rules", "verdict", "reason"),
    [
        ([], CAN, Reason.ALLOWED_BY_LINK),
        ([rule(1, "play", effect="deny")], CAN, Reason.ALLOWED_BY_LINK),
        ([rule(1, "play", effect="deny", guests=True)], CANNOT, Reason.DENIED_BY_RULE),
        ([rule(1, "play", effect="deny", guests=True, conditions=AT_HOME)], PERHAPS, Reason.ALLOWED_BY_LINK),
    ],
)
def test_whoever_holds_a_link_can_unless_guests_are_denied_it(rules, verdict, reason):
    known = snapshot(rules=rules)
    known.links.replace((), [link("good"), link("other", id=2, stream="door"), link("off", id=3, active=False)])
    question = asked_of_anybody("play", "lobby", NOW, known)
    (good,) = question.links()
    assert good.code == "good"
    answer = question.about_holder(good)
    assert (answer.verdict, answer.reason) == (verdict, reason)
    assert asked_of_anybody("publish", "lobby", NOW, known).links() == []


def test_an_app_known_by_its_name_is_no_circumstance():
    through = Conditions(apps=("defaultApp",))
    assert verdicts(rule(1, "connect", conditions=through), action="connect", target="defaultApp") == [CAN, CAN]
    assert verdicts(rule(1, "connect", conditions=through), action="connect", target="other") == [CANNOT, CANNOT]
    assert verdicts(rule(1, "play", conditions=through)) == [PERHAPS, PERHAPS]


def test_rules_that_fit_but_decide_nothing_now_are_named():
    rules = [
        LOBBY,
        rule(2, "play", conditions=Conditions(schedule=CLOSED)),
        rule(3, "play", starts_at=NOW + timedelta(hours=1)),
        rule(4, "play", enforced=False),
        rule(5, "play", ends_at=NOW),
        rule(6, "play", conditions=AT_HOME),
        rule(7, "play", target=("exact", "elsewhere")),
    ]
    question = asked_of_anybody("play", "lobby", NOW, snapshot(rules=rules))
    assert {row.id for row in idle_rules(question)} == {2, 3, 4}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_can_be_asked_about(action):
    assert verdicts(rule(1, action), action=action, target="defaultApp") == [CAN, CAN]


def test_a_rule_that_cannot_be_read_counts_if_it_denies():
    odd = RuleRow(2, "deny", "everyone", ("play",), target_kind="unheard-of")
    question = asked_of_anybody("play", "lobby", NOW, snapshot(rules=[odd, LOBBY]))
    assert question.about(BOB).reason is Reason.DENIED_BY_RULE
    assert denied_people(question).everyone
    with pytest.raises(ValueError, match="unknown kind"):
        applies(odd, question.question)


def test_a_user_of_long_ago_has_no_part_in_it():
    gone = UserRow(9, "gone")
    rules = [rule(1, "play", user=gone, target=("glob", "{user}-*"))]
    question = asked_of_anybody("play", "gone-cam", NOW, snapshot(rules=rules))
    assert allowed_people(question).user_ids == ()
