"""Asking why: the same code as deciding, in words, and without a trace."""

import io
import json
from datetime import timedelta
from types import SimpleNamespace

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.access import explain as explaining
from apps.access import nearest
from apps.access.engine import decide
from apps.access.explain import NoSuchUser, explain, explain_now
from apps.access.facts import Facts, Identity
from apps.access.identity import guest
from apps.access.models import AccessChange, AccessRevision, Rule
from apps.access.nearest import MOST_NEAR
from apps.access.reasons import Reason
from apps.accounts.models import Token, User
from apps.audit.models import AuditEvent, HookRecord
from apps.connections.models import Node, Session
from apps.protocol.messages import HookCall
from apps.protocol.methods import find
from tests import factories
from tests.access import worlds
from tests.access.dice import EVERY_METHOD, Dice
from tests.access.test_deciding_properties import decided, in_memory
from tests.access.worlds import NOW

KEPT = (Rule, User, Token, Node, Session, HookRecord, AuditEvent, AccessRevision, AccessChange)


def traces():
    """Every row that asking might leave or change."""
    return {model.__name__: sorted(map(str, model.objects.values_list())) for model in KEPT}


def ids(said):
    return tuple(rule.id for rule in said)


# The same code as deciding


def drawn(seed):
    """A world and a hook in it, ready to be explained."""
    world, hook = Dice(-seed - 1).world(), Dice(seed).hook(EVERY_METHOD)._replace(now=NOW)
    known = in_memory(world)
    call = HookCall.from_payload(hook.method, find(hook.method), json.dumps(hook.members).encode())
    opened = hook.session if call.method and call.method.identity != "credentials" else None
    return world, hook, known, call, opened


def said_by(decision):
    return (decision.allowed, decision.reason, decision.rule_ids, decision.logged_rule_ids)


def said_in(explanation):
    return (explanation.allowed, explanation.reason, ids(explanation.rules), ids(explanation.only_logged))


@pytest.fixture
def without_rows(monkeypatch):
    """Worlds of plain values: rules print as their number, passwords are in clear."""
    monkeypatch.setattr(explaining, "rules_of_today", lambda rule_ids: {})
    monkeypatch.setattr(explaining, "_check_password", worlds.check_password)


def test_explaining_agrees_with_deciding(without_rows):
    for seed in range(3000):
        world, hook, known, call, opened = drawn(seed)
        explanation = explain(call, known, opened, now=NOW)
        assert said_in(explanation) == said_by(decided(hook, world)), seed
        assert str(explanation)


def test_as_somebody_else_it_agrees_too(without_rows):
    for seed in range(1000):
        world, _, known, call, opened = drawn(seed)
        app = known.apps.by_name.get(call.app_key)
        for user in world.users:
            facts = Facts(now=NOW, app=app, identity=Identity(user=user), snapshot=known, session=opened)
            assert said_in(explain(call, known, opened, now=NOW, as_user=user.username)) == said_by(decide(call, facts))
        someone = guest(app) if app else Identity()
        facts = Facts(now=NOW, app=app, identity=someone, snapshot=known, session=opened)
        assert said_in(explain(call, known, opened, now=NOW, as_guest=True)) == said_by(decide(call, facts))


def test_what_is_near_is_an_allow_that_did_not_settle_it(without_rows):
    found = 0
    for seed in range(1000):
        world, _, known, call, opened = drawn(seed)
        explanation = explain(call, known, opened, now=NOW)
        rules = {rule.id: rule for rule in world.rules}
        found += len(explanation.near)
        assert not explanation.near or explanation.reason == Reason.NO_RULE
        assert len(explanation.near) <= MOST_NEAR
        assert all(rules[near.id].effect == "allow" and near.missed for near in explanation.near)
    assert found > 20


# What is said


def said(*rules, method="publishStream", as_user="alice", as_guest=False, apps=(worlds.APP,), **members):
    known = worlds.snapshot(rules=rules, apps=apps)
    call = worlds.call(method, **members)
    return explain(call, known, None, now=worlds.NOW, as_user=as_user, as_guest=as_guest)


@pytest.mark.parametrize(
    ("near", "missed"),
    [
        ({"target": ("exact", "lobby-1")}, "“lobby” is not “lobby-1”"),
        ({"target": ("stream", "hall")}, "“lobby” is not “hall”"),
        ({"target": ("prefix", "lesson-")}, "“lobby” does not begin with “lesson-”"),
        ({"target": ("glob", "{user}-*")}, "“lobby” does not match “alice-*”"),
        ({"ends_at": worlds.NOW}, "it ended at 2026-03-01 12:00 UTC; asked about 2026-03-01 12:00 UTC"),
        (
            {"starts_at": worlds.NOW + timedelta(hours=1)},
            "it begins at 2026-03-01 13:00 UTC; asked about 2026-03-01 12:00 UTC",
        ),
        ({"enforced": False}, "it is only logged"),
    ],
)
def test_a_near_miss_compares_the_values(without_rows, near, missed):
    explanation = said(worlds.rule(1, "publish", **near), name="lobby")
    assert [(rule.id, rule.missed) for rule in explanation.near] == [(1, missed)]


def test_a_rule_about_the_same_thing_but_another_action_is_near(without_rows):
    explanation = said(worlds.rule(1, "play", "call", target=("exact", "lobby")), name="lobby")
    assert explanation.near[0].missed == "it is about: play, call; not: publish"


def test_a_hook_that_names_nothing_is_told_so(without_rows):
    explanation = said(worlds.rule(1, "publish", target=("exact", "lobby")))
    assert explanation.near[0].missed == "the hook names nothing, so it is not “lobby”"


@pytest.mark.parametrize(
    "rule",
    [
        worlds.rule(1, "play"),  # another action, on anything: that is not near
        worlds.rule(1, "play", target=("exact", "lobby-1")),  # two things
        worlds.rule(1, "publish", user=worlds.BOB, target=("exact", "lobby-1")),  # about somebody else
        worlds.rule(1, "publish", effect="deny", target=("exact", "lobby-1")),
    ],
)
def test_what_is_farther_away_is_not_near(without_rows, rule):
    assert said(rule, name="lobby").near == []


def test_a_rule_that_cannot_be_matched_is_told_as_that(without_rows):
    explanation = said(worlds.rule(1, "publish", target=("shape", "round")), name="lobby")
    assert explanation.near[0].missed == "Rule 1 has a target of an unknown kind, shape."


def test_where_a_deny_settles_it_no_allow_is_near(without_rows):
    deny, allow = worlds.rule(1, "publish", effect="deny"), worlds.rule(2, "publish", target=("exact", "lobby-1"))
    assert said(deny, allow, name="lobby").near == []


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        ({"method": "publishStream", "name": "lobby"}, "alice may not publish “lobby”."),
        ({"method": "connect"}, "alice may not connect through app “defaultApp”."),
        ({"method": "OnCallEvent", "caller": "+43"}, "alice may not receive calls from “+43”."),
        ({"method": "hold"}, "alice may not hold calls."),
        ({"method": "playStream", "name": "lobby", "as_user": "", "as_guest": True}, "Somebody unknown may not play"),
        ({"method": "hangup"}, "hangup is never refused."),
        ({"method": "futureMethod"}, "futureMethod is never refused."),
    ],
)
def test_the_verdict_is_a_sentence(without_rows, asked, verdict):
    assert said(**asked).verdict.startswith(verdict)


def test_somebody_who_is_not_there(without_rows):
    with pytest.raises(NoSuchUser, match="There is no user “nobody”"):
        said(as_user="nobody")


# Now, on the rules of the last commit


@pytest.fixture
def hook(school, wcs):
    """A hook as this method would have it."""

    def made(method, **members):
        return HookCall.from_payload(method, find(method), json.dumps({**wcs.common, **members}).encode())

    return made


def ask(call, **whom):
    return explain_now(call, now=timezone.now(), **whom)


def test_a_change_counts_at_once(hook):
    call = hook("publishStream", name="door")
    for number in range(10):
        rule = factories.make_rule("publish", target=("exact", "door"))
        assert ids(ask(call, as_user="alice").rules) == (rule.pk,), number
        rule.delete()
        assert ask(call, as_user="alice").reason == Reason.NO_RULE
    factories.make_user("dora")
    assert ask(call, as_user="dora").user == "dora"


def test_it_says_how_it_was_found_who_asks(hook, wcs):
    by_token = hook("connect", custom={"token": "tok-alice"})
    assert (ask(by_token).user, ask(by_token).found) == ("alice", "by the token in the hook")
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == ""
    in_session = hook("publishStream", name="lobby")
    assert (ask(in_session).user, ask(in_session).found) == ("alice", "by the token that opened its session")
    assert ask(in_session, as_user="bob").found == "taken as recognised"
    assert ask(hook("connect", custom={"token": "wrong"})).who == "Somebody unknown"


@pytest.mark.parametrize("method", ["connect", "playHLS"])
def test_what_happens_in_no_session_is_not_explained_by_one_with_its_ids(hook, run, wcs, method):
    factories.make_rule("connect", "play", effect="deny", origins=["https://b.example"])
    factories.make_rule("play")
    assert wcs.reason("connect", custom={"token": "tok-alice"}, origin="https://a.example") == ""
    again = {"name": "lobby", "custom": {"token": "tok-alice"}, "origin": "https://b.example"}
    assert wcs.reason(method, **again) == Reason.DENIED_BY_RULE
    assert ask(hook(method, **again)).reason == Reason.DENIED_BY_RULE
    assert run(method, **again).startswith("Refused: denied-by-rule.")


def test_the_moment_is_that_which_was_asked_about(hook):
    ended = timezone.now() - timedelta(days=1)
    factories.make_rule("publish", target=("exact", "door"), ends_at=ended)
    call = hook("publishStream", name="door")
    assert not ask(call, as_user="bob").allowed
    assert explain_now(call, now=ended - timedelta(hours=1), as_user="bob").allowed


def test_asking_leaves_no_trace(hook, wcs):
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == ""
    before = traces()
    for custom in ({"token": "tok-bob"}, {"token": "wrong"}, {"login": "alice", "password": "wrong"}, None):
        for method in ("connect", "publishStream", "playStream", "playHLS", "StreamStatusEvent", "hangup"):
            ask(hook(method, name="lobby", custom=custom))
    ask(hook("connect", nodeId="never-seen"), as_user="alice")
    assert traces() == before


def test_trying_passwords_locks_no_client_out_and_is_no_way_to_guess(hook, wcs, school, monkeypatch):
    monkeypatch.setattr(explaining, "_guesses", explaining.Guesses(limit=10, seconds=300))
    school["alice"].set_password("right")
    school["alice"].save()
    right = {"login": "alice", "password": "right"}
    assert ask(hook("connect", custom=right)).allowed
    for _ in range(60):
        assert ask(hook("connect", custom={**right, "password": "wrong"})).reason == Reason.BAD_PASSWORD
    assert ask(hook("connect", custom=right)).reason == Reason.BAD_PASSWORD
    assert wcs.reason("connect", custom=right) == ""


# manage.py explain


@pytest.fixture
def run(hook, wcs, tmp_path):
    """Run the command on a body with the common members and these."""

    def run(method, *arguments, **members):
        body = tmp_path / "body.json"
        body.write_text(json.dumps({**wcs.common, **members}))
        return run_on(body, method, *arguments)

    return run


def run_on(body, method, *arguments):
    out = io.StringIO()
    call_command("explain", method, str(body), *arguments, stdout=out)
    return out.getvalue()


def test_it_prints_sentences(run):
    lines = run("publishStream", "--as", "alice", name="lobby").splitlines()
    assert lines[0] == "Allowed: allowed-by-rule. A rule allows it."
    assert lines[1].startswith("alice (taken as recognised) asks to publish “lobby” by publishStream, under the rules")
    assert lines[2:] == [
        "  Settled by: Allow user “alice” to publish “lobby”",
        "  What WCS does: 200: WCS goes on.",
    ]


def test_it_prints_what_was_near_and_what_is_only_logged(run):
    factories.make_rule("publish", effect="deny", enforced=False)
    text = run("publishStream", "--as", "alice", name="lobby-1")
    assert "  Near: Allow user “alice” to publish “lobby” — “lobby-1” is not “lobby”" in text
    assert "  Only logged: Deny everyone with an account to publish anything (only logged)" in text


def test_it_prints_what_is_near_by_two_things_what_to_do_and_how_far_it_looked(run, monkeypatch):
    monkeypatch.setattr(nearest, "LOOKED_AT", 3)
    factories.make_rule("publish", group="teachers", target=("exact", "door"))
    factories.make_rule("publish", target=("exact", "door"), enforced=False, networks=["10.0.0.0/8"])
    text = run("publishStream", "--as", "charlie", name="door")
    assert "to publish “door” — charlie is not in group “teachers”" in text
    assert "— it is only logged; 192.168.1.38 is in none of 10.0.0.0/8" in text
    assert "  There are more than" in text
    assert "  What to do: Add a rule that allows it." in text
    assert "  What to do: If the app is yours, add it by its app key." in run("connect", appKey="nowhere")


def test_it_knows_the_number_of_a_call(run, wcs):
    factories.make_rule("call", "hold")
    factories.make_rule("hold", effect="deny", target=("number-prefix", "+49900"))
    wcs.hook("connect", custom={"token": "tok-alice"})
    assert wcs.reason("call", callee="+49 900 1234", callId="c") == ""
    assert "asks to hold “+49 900 1234” by hold" in run("hold", callId="c")
    assert run("hold", callId="c").startswith("Refused: denied-by-rule.")


def test_it_prints_json(run):
    said = json.loads(run("publishStream", "--as", "bob", "--json", name="door"))
    assert (said["allowed"], said["reason"], said["user"], said["target"]) == (False, "no-rule", "bob", "door")
    assert said["what_wcs_does"].startswith("403: WCS stops it")
    assert said["rules"] == said["near"] == []
    assert (said["app"], said["what_to_do"], said["near_cut"]) == ("defaultApp", "Add a rule that allows it.", "")
    factories.make_rule("publish", group="teachers", target=("exact", "door"))
    near = json.loads(run("publishStream", "--as", "bob", "--json", name="door"))["near"]
    assert [rule["missed"] for rule in near] == ["bob is not in group “teachers”"]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_it_prints_no_login_or_token_of_a_name(run, options):
    text = run("publishStream", "--as", "alice", *options, name="rtsp://u:PW@cam/1?token=tok-1")
    assert text.count("rtsp://***@cam/1?token=***") == 2  # what was asked, and what is near
    assert "PW" not in text
    assert "tok-1" not in text


def test_it_reads_standard_input(run, wcs, monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(wcs.common).encode())))
    assert run_on("-", "connect", "--as", "alice").startswith("Allowed")


def test_the_command_leaves_no_trace(run, wcs):
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == ""
    before = traces()
    assert "by the token that opened its session" in run("publishStream", name="lobby")
    assert "Refused: bad-password" in run("connect", custom={"login": "alice", "password": "wrong"})
    assert traces() == before


def test_what_goes_wrong_is_a_sentence(run, tmp_path, monkeypatch):
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(CommandError, match="The body is not JSON"):
        run_on(broken, "publishStream")
    broken.write_text("[" * 40 + "]" * 40)
    with pytest.raises(CommandError, match="nest at most 32 deep"):
        run_on(broken, "publishStream")
    with pytest.raises(CommandError, match=r"cannot be read: No such file or directory\."):
        run_on(tmp_path / "missing.json", "publishStream")
    with pytest.raises(CommandError, match="There is no user “nobody”"):
        run("publishStream", "--as", "nobody")
    monkeypatch.setattr(psycopg, "connect", away)
    with pytest.raises(CommandError, match="The database does not answer: it is away"):
        run("publishStream")


def away(*_, **__):
    raise psycopg.OperationalError("it is away")


def test_it_explains_under_the_rules_of_then(run):
    then = timezone.now().isoformat()
    rule = Rule.objects.get(user__username="alice")
    rule.delete()
    factories.make_rule("publish", effect="deny")
    lines = run("publishStream", "--as", "alice", "--at", then, name="lobby").splitlines()
    assert lines[0] == "Allowed: allowed-by-rule. A rule allows it."
    assert lines[2] == "  Settled by: Allow user “alice” to publish “lobby”"
    assert run("publishStream", "--as", "alice", name="lobby").startswith("Refused: denied-by-rule")
    assert run("publishStream", "--as", "alice", "--at", "2100-01-01", name="lobby").startswith("Refused")
    with pytest.raises(CommandError, match="was not recorded"):
        run("publishStream", "--as", "alice", "--at", "2001-01-01", name="lobby")


def test_limits_of_then_are_not_counted(run):
    rule = factories.make_rule("play", limit_per="user", at_once=1)
    factories.make_lease(User.objects.get(username="alice"), rules=[rule])
    then = timezone.now().isoformat()
    Rule.objects.filter(pk=rule.pk).delete()
    assert run("playStream", "--as", "alice", "--at", then, name="hall").startswith("Allowed: allowed-by-rule")
