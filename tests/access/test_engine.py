"""Deciding, check by check; each test reads as a rule."""

import pytest
from msgspec.structs import replace

from apps.access.engine import CHECKS, decide
from apps.access.facts import Decision, Facts, Identity
from apps.access.reasons import REASON_TEXTS, Reason
from apps.access.rows import AppRow, LinkRow, SipAccountRow, UserRow
from apps.live.rows import CutRow
from apps.protocol.methods import METHODS, find
from apps.protocol.policy import Hiding
from tests.access.worlds import ALICE, APP, BOB, NOW, SECOND, TEACHERS, call, facts, rule, session, snapshot

LOBBY = rule(1, "publish", target=("exact", "lobby"))
ANYTHING = rule(2, "publish")
MUTED = rule(3, "publish", effect="deny", user=ALICE)
SWITCHED_OFF = UserRow(3, "charlie", active=False)
REST_APP = AppRow(2, "restApp", rest_started=True)
REFUSABLE = [method.name for method in METHODS if method.refusable]
GUESTS_OUT = rule(4, "play", effect="deny", guests=True)
NOTED = rule(5, "play", effect="deny", guests=True, enforced=False)
HOLD = rule(1, "hold")
ACCOUNT = SipAccountRow(1, ALICE.id, "7", "", "", "pbx.example", "", 5060, "", True)
OTHERS = [method.name for method in METHODS if not method.refusable]


def by_link(*rules):
    """Facts about a hook of somebody who holds a good link to what they ask for."""
    identity = Identity(entered_by="link", link=LinkRow(1, "code", "lobby", "play", NOW + SECOND))
    return Facts(now=NOW, app=APP, identity=identity, snapshot=snapshot(rules=rules))


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (facts(LOBBY), Reason.ALLOWED_BY_RULE),
        (facts(ANYTHING), Reason.ALLOWED_BY_RULE),
        (facts(LOBBY, MUTED), Reason.DENIED_BY_RULE),  # deny wins
        (facts(MUTED, LOBBY), Reason.DENIED_BY_RULE),  # whatever the order
        (facts(MUTED), Reason.DENIED_BY_RULE),
        (facts(LOBBY, MUTED, user=BOB), Reason.ALLOWED_BY_RULE),  # the deny is about Alice
        (facts(), Reason.NO_RULE),
        (facts(rule(1, "play")), Reason.NO_RULE),  # another action
        (facts(rule(1, "play", "publish", "call")), Reason.ALLOWED_BY_RULE),
        (facts(rule(1, "publish", target=("exact", "attic"))), Reason.NO_RULE),
        (facts(rule(1, "publish", target=("exact", "lob"))), Reason.NO_RULE),
        (facts(rule(1, "publish", target=("exact", "Lobby"))), Reason.NO_RULE),
        (facts(rule(1, "publish", target=("prefix", "lob"))), Reason.ALLOWED_BY_RULE),
        (facts(rule(1, "publish", target=("prefix", "lobby"))), Reason.ALLOWED_BY_RULE),
        (facts(rule(1, "publish", target=("prefix", "lobby-"))), Reason.NO_RULE),
        (facts(rule(1, "publish", target=("glob", "*bb*"))), Reason.ALLOWED_BY_RULE),
        (facts(rule(1, "publish", target=("glob", "{user}*"))), Reason.NO_RULE),
        (facts(rule(1, "publish", target=("stream", "lobby"))), Reason.ALLOWED_BY_RULE),
        (facts(rule(1, "publish", target=("stream", "attic"))), Reason.NO_RULE),
        (facts(rule(1, "publish", user=ALICE)), Reason.ALLOWED_BY_RULE),
        (facts(rule(1, "publish", user=BOB)), Reason.NO_RULE),
        (facts(rule(1, "publish", group=TEACHERS)), Reason.ALLOWED_BY_RULE),
        (facts(rule(1, "publish", group=TEACHERS), user=BOB), Reason.NO_RULE),
        (facts(rule(1, "publish", effect="deny", group=TEACHERS), ANYTHING), Reason.DENIED_BY_RULE),
        (facts(rule(1, "publish", guests=True)), Reason.NO_RULE),  # Alice is no guest
        (facts(ANYTHING, guest=True), Reason.NO_RULE),  # a guest has no account
        (facts(rule(1, "publish", guests=True), guest=True), Reason.ALLOWED_BY_RULE),
        (facts(rule(1, "publish", effect="deny", guests=True), ANYTHING, guest=True), Reason.DENIED_BY_RULE),
        (facts(rule(1, "publish", user=UserRow(TEACHERS, "x"))), Reason.NO_RULE),  # a user with a group's id
    ],
)
def test_publish_stream(known, reason):
    decision = decide(call("publishStream", name="lobby"), known)
    assert decision.reason is reason
    assert decision.allowed is (reason is Reason.ALLOWED_BY_RULE)


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "in_force"),
    [
        (None, None, True),
        (NOW, None, True),
        (NOW + SECOND, None, False),
        (None, NOW, False),
        (None, NOW + SECOND, True),
        (NOW - SECOND, NOW, False),
        (NOW, NOW + SECOND, True),
    ],
)
@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_a_period_includes_its_first_moment_and_not_its_last(effect, starts_at, ends_at, in_force):
    period = rule(1, "publish", effect=effect, starts_at=starts_at, ends_at=ends_at)
    decision = decide(call("publishStream", name="lobby"), facts(period))
    settled = Reason.ALLOWED_BY_RULE if effect == "allow" else Reason.DENIED_BY_RULE
    assert decision.reason is (settled if in_force else Reason.NO_RULE)


@pytest.mark.parametrize(
    ("hook", "known", "decision"),
    [
        (call("futureMethod"), facts(app=None), Decision(True, Reason.UNKNOWN_METHOD)),
        (call("StreamStatusEvent"), facts(app=None), Decision(True, Reason.NOT_REFUSABLE)),
        (call("unPublishStream"), facts(problem=Reason.BAD_TOKEN), Decision(True, Reason.NOT_REFUSABLE)),
        (call("hangup"), facts(user=SWITCHED_OFF), Decision(True, Reason.NOT_REFUSABLE)),
        (
            call("publishStream"),
            facts(MUTED, app=REST_APP, problem=Reason.UNKNOWN_SESSION),
            Decision(True, Reason.STARTED_BY_REST_API),
        ),
        (call("publishStream"), facts(ANYTHING, app=None), Decision(False, Reason.UNKNOWN_APP)),
        *(
            (call("publishStream"), facts(ANYTHING, problem=problem), Decision(False, problem))
            for problem in (
                Reason.UNKNOWN_SESSION,
                Reason.SESSION_ENDED,
                Reason.NO_CREDENTIALS,
                Reason.BAD_TOKEN,
                Reason.EXPIRED_TOKEN,
                Reason.TOKEN_NOT_FOR_THIS,
                Reason.BAD_PASSWORD,
            )
        ),
        (
            call("publishStream"),
            facts(ANYTHING, user=SWITCHED_OFF, problem=Reason.EXPIRED_TOKEN),
            Decision(False, Reason.EXPIRED_TOKEN),
        ),
        (call("publishStream"), facts(ANYTHING, user=SWITCHED_OFF), Decision(False, Reason.USER_INACTIVE)),
        (call("publishStream"), facts(ANYTHING), Decision(True, Reason.ALLOWED_BY_RULE, rule_ids=(2,))),
        (call("publishStream"), facts(ANYTHING, MUTED), Decision(False, Reason.DENIED_BY_RULE, rule_ids=(3,))),
        (call("publishStream"), facts(), Decision(False, Reason.NO_RULE)),
        (call("playStream"), by_link(), Decision(True, Reason.ALLOWED_BY_LINK)),
        (call("playStream"), by_link(ANYTHING), Decision(True, Reason.ALLOWED_BY_LINK)),
        (call("playStream"), by_link(rule(6, "play", effect="deny")), Decision(True, Reason.ALLOWED_BY_LINK)),
        (call("playStream"), by_link(GUESTS_OUT), Decision(False, Reason.DENIED_BY_RULE, rule_ids=(4,))),
        (call("playStream"), by_link(NOTED), Decision(True, Reason.ALLOWED_BY_LINK, logged_rule_ids=(5,))),
    ],
)
def test_the_first_check_with_an_opinion_settles_it(hook, known, decision):
    assert decide(hook, known) == decision


@pytest.mark.parametrize(
    ("ordered", "session_id", "opening", "is_cut"),
    [
        ("call-1", "here", 1, True),
        ("", "here", 1, True),  # the whole session
        ("", "here", 2, False),  # a later one with its ids
        ("call-2", "here", 1, False),
        ("call-1", "elsewhere", 1, False),
    ],
)
def test_what_was_ordered_to_end_is_refused_whatever_rules_say(ordered, session_id, opening, is_cut):
    known = replace(facts(rule(1, "transfer")), session=session(ALICE, opening=opening))
    known.snapshot.cuts.replace((), [CutRow(1, "node", "here", ordered, 1)])
    decision = decide(call("transfer", sessionId=session_id, callId="call-1"), known)
    assert (decision.allowed, decision.reason) == ((False, Reason.CUT) if is_cut else (True, Reason.ALLOWED_BY_RULE))


# What connecting brings


def connecting(*rules, **fields):
    known = facts(*rules, **fields)
    known.snapshot.sip_accounts.replace((), [ACCOUNT])
    return decide(call("connect"), known)


def test_who_a_rule_lets_in_gets_their_sip_account_and_never_sees_it():
    decision = connecting(rule(1, "connect"))
    assert (decision.account, decision.hiding) == (ACCOUNT, Hiding.REWRITES | Hiding.ACCOUNT)
    assert decision.told == "the SIP account of the user"


@pytest.mark.parametrize("fields", [{"user": BOB}, {"app": REST_APP}])
def test_who_has_none_or_was_let_in_by_no_rule_gets_no_sip_account(fields):
    decision = connecting(rule(1, "connect"), **fields)
    assert (decision.allowed, decision.account, decision.hiding) == (True, None, Hiding.REWRITES)


def test_who_is_refused_gets_no_policy():
    assert connecting() == Decision(False, Reason.NO_RULE)


# A call for which a rule had another number called


@pytest.mark.parametrize(
    ("rules", "reason", "rule_ids"),
    [
        ([HOLD, rule(2, "hold", effect="deny", target=("exact", "support"))], Reason.DENIED_BY_RULE, (2,)),
        ([HOLD, rule(2, "hold", effect="deny", target=("number-prefix", "100"))], Reason.DENIED_BY_RULE, (2,)),
        ([HOLD, rule(2, "hold", effect="deny", target=("exact", "101"))], Reason.ALLOWED_BY_RULE, (1,)),
        ([rule(3, "hold", target=("exact", "support"))], Reason.ALLOWED_BY_RULE, (3,)),
        ([rule(3, "hold", target=("exact", "100"))], Reason.ALLOWED_BY_RULE, (3,)),
        ([rule(3, "hold", target=("exact", "101"))], Reason.NO_RULE, ()),
    ],
)
def test_what_belongs_to_it_is_about_both_numbers(rules, reason, rule_ids):
    hold = replace(call("hold", callId="c"), target="support", dialled="100")
    decision = decide(hold, facts(*rules))
    assert (decision.reason, decision.rule_ids) == (reason, rule_ids)


def test_the_order_of_the_checks_is_the_policy():
    assert [check.__name__ for check in CHECKS] == [
        "method_unknown",
        "not_refusable",
        "started_by_rest_api",
        "app_unknown",
        "cut",
        "identity_bad",
        "user_inactive",
        "call_unknown",
        "protected_number",
        "settled_by_link",
        "settled_by_rules",
    ]


def test_every_reason_has_a_text_and_a_check_that_gives_it():
    assert set(REASON_TEXTS) == set(Reason)
    assert all(text.endswith(".") for text in REASON_TEXTS.values())


@pytest.mark.parametrize("name", OTHERS)
def test_what_has_happened_or_lets_go_is_never_refused(name):
    decision = decide(call(name), facts(rule(1, find(name).action, effect="deny"), app=None, user=None))
    assert decision == Decision(True, Reason.NOT_REFUSABLE)


@pytest.mark.parametrize("name", REFUSABLE)
@pytest.mark.parametrize("known", [facts(), facts(user=BOB), facts(guest=True), facts(user=None), facts(app=None)])
def test_nobody_is_allowed_because_nothing_was_found(name, known):
    assert not decide(call(name, name="lobby"), known).allowed


@pytest.mark.parametrize("name", REFUSABLE)
def test_a_rule_for_its_action_lets_a_hook_pass(name):
    hook = call(name)
    assert decide(hook, facts(rule(1, hook.action))).allowed
    assert not decide(hook, facts(rule(1, hook.action, effect="deny"), rule(2, hook.action))).allowed


def test_somebody_who_is_neither_a_user_nor_a_guest_is_refused():
    nobody = Facts(NOW, APP, Identity(), snapshot(rules=[ANYTHING, rule(5, "publish", guests=True)]))
    assert decide(call("publishStream"), nobody) == Decision(False, Reason.NO_RULE)


def test_a_keep_alive_needs_the_right_to_do_what_the_stream_does():
    playing, publishing = (call("StreamKeepAliveEvent", name="lobby", published=done) for done in (False, True))
    assert decide(playing, facts(rule(1, "play"))).allowed
    assert not decide(publishing, facts(rule(1, "play"))).allowed
    assert decide(publishing, facts(ANYTHING)).allowed


def test_the_rules_that_settled_it_are_named_in_order():
    rules = [rule(id_, "publish", effect=effect) for id_, effect in ((9, "deny"), (2, "allow"), (4, "deny"))]
    assert decide(call("publishStream"), facts(*rules)).rule_ids == (4, 9)
    assert decide(call("publishStream"), facts(rule(8, "publish"), rule(2, "publish"))).rule_ids == (2, 8)


# Rules that are only logged


@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_a_rule_that_is_only_logged_decides_nothing_and_is_named(effect):
    logged = rule(5, "publish", effect=effect, enforced=False)
    assert decide(call("publishStream"), facts(logged)) == Decision(False, Reason.NO_RULE, logged_rule_ids=(5,))
    assert decide(call("publishStream"), facts(logged, ANYTHING)) == Decision(
        True, Reason.ALLOWED_BY_RULE, rule_ids=(2,), logged_rule_ids=(5,)
    )
    assert decide(call("publishStream"), facts(logged, MUTED)) == Decision(
        False, Reason.DENIED_BY_RULE, rule_ids=(3,), logged_rule_ids=(5,)
    )


def test_a_rule_that_is_only_logged_and_not_in_force_is_not_named():
    over = rule(5, "publish", enforced=False, ends_at=NOW)
    assert decide(call("publishStream"), facts(over, ANYTHING)).logged_rule_ids == ()


# Rules that raise an error


def broken(rule_id, effect, **fields):
    """A rule whose period has no time zone, so that comparing it raises."""
    return rule(rule_id, "publish", effect=effect, starts_at=NOW.replace(tzinfo=None), **fields)


def test_a_deny_that_raises_counts_and_is_reported():
    assert decide(call("publishStream"), facts(broken(6, "deny"), ANYTHING)) == Decision(
        False, Reason.DENIED_BY_RULE, rule_ids=(6,), failed_rule_ids=(6,)
    )


def test_an_allow_that_raises_does_not_count_and_is_reported():
    assert decide(call("publishStream"), facts(broken(6, "allow"))) == Decision(
        False, Reason.NO_RULE, failed_rule_ids=(6,)
    )
    assert decide(call("publishStream"), facts(broken(6, "allow"), ANYTHING)) == Decision(
        True, Reason.ALLOWED_BY_RULE, rule_ids=(2,), failed_rule_ids=(6,)
    )


def test_a_rule_that_is_only_logged_and_raises_decides_nothing():
    decision = decide(call("publishStream"), facts(broken(6, "deny", enforced=False), ANYTHING))
    assert (decision.allowed, decision.logged_rule_ids, decision.failed_rule_ids) == (True, (6,), (6,))


def test_a_rule_of_an_effect_nobody_knows_denies():
    assert not decide(call("publishStream"), facts(rule(1, "publish", effect="maybe"), ANYTHING)).allowed
