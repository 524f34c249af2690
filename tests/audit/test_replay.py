"""Recorded hooks, decided again: as they were answered, and as other rules would answer them."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.access import compile
from apps.access.compile import ChangedRules, RuleIndex
from apps.access.engine import decide
from apps.access.models import NumberClass, Rule, Schedule
from apps.access.reasons import Reason
from apps.access.rule_rows import row_of
from apps.access.snapshot import load
from apps.audit.asking.replay import asked_again, flips
from apps.audit.models import AuditEvent
from apps.audit.moving.mover import move_batch
from apps.connections.models import Session
from apps.database.connection import conninfo_of
from apps.streams.models import StreamGroup
from tests import factories
from tests.access import signed, worlds
from tests.access.dice import Dice

LATER = datetime(2026, 3, 1, tzinfo=UTC)


def known():
    """What a process would hold in memory now."""
    with psycopg.connect(conninfo_of(settings.DATABASES["default"]), autocommit=True) as database:
        return load(database)


def moved():
    """All hooks that came, in their final place."""
    while move_batch():
        pass
    return list(AuditEvent.objects.order_by("received_at"))


def decided_again(events, snapshot=None):
    """Reason and rules of each, decided again."""
    return [
        (decision.reason, list(decision.rule_ids))
        for _, call, facts in asked_again(events, snapshot or known())
        for decision in [decide(call, facts)]
    ]


def recorded(events):
    return [(event.reason, event.rule_ids) for event in events]


def test_under_the_same_rules_every_answer_is_the_same(wcs, school):
    factories.make_app("open", guests=True, hook_password="")
    factories.make_rule("play", target=("glob", "{user}-*"))
    factories.make_rule("play", guests=True, target=("exact", "lobby"))
    factories.make_rule("publish", effect="deny", target=("prefix", "secret-"))
    factories.make_rule("publish", origins=["https://a.example"], custom=["seat = 5"], networks=["192.168.0.0/16"])
    wcs.hook("connect", custom={"token": "tok-alice"}, origin="https://a.example")
    wcs.hook("publishStream", name="lobby")
    wcs.hook("publishStream", name="hall", custom={"seat": 5})
    wcs.hook("publishStream", name="hall", custom={"seat": 6})
    wcs.hook("publishStream", name="secret-1")
    wcs.hook("publishStream", name="x" * 70_000)
    wcs.hook("playStream", name="alice-1")
    wcs.hook("call", callee="sip:+49301234@pbx")
    wcs.hook("hangup")
    wcs.hook("StreamStatusEvent", name="lobby", status="PUBLISHING")
    wcs.hook("futureMethod")
    wcs.hook("playHLS", name="lobby", appKey="open")
    wcs.hook("connect", custom={"token": "wrong"}, sessionId="s-2")
    wcs.hook("publishStream", name="lobby", sessionId="s-3")
    wcs.hook("connect", appKey="nowhere", sessionId="s-4")
    school["alice"].is_active = False
    school["alice"].save()
    wcs.hook("publishStream", name="lobby")
    events = moved()
    assert {event.reason for event in events} >= {
        *(Reason.ALLOWED_BY_RULE, Reason.DENIED_BY_RULE, Reason.NO_RULE, Reason.BAD_TOKEN, Reason.UNKNOWN_SESSION),
        *(Reason.NOT_REFUSABLE, Reason.UNKNOWN_METHOD, Reason.USER_INACTIVE),
    }
    *before, last = events
    assert decided_again([last]) == [(Reason.USER_INACTIVE, [])]
    school["alice"].is_active = True
    school["alice"].save()
    assert decided_again(before) == recorded(before)


def test_what_a_change_flips_is_what_it_flips_once_saved(wcs, school):
    wcs.hook("connect", custom={"token": "tok-bob"})
    wcs.hook("playStream", name="lobby")
    wcs.hook("playStream", name="hall")
    wcs.hook("playStream", name="door")
    events, snapshot = moved(), known()
    open_hall = Rule(effect="allow", who="everyone", actions=["play"], target_kind="exact", target="hall")
    gone = Rule.objects.get(user=school["bob"], actions=["play"])
    changed = ChangedRules(snapshot.rules, [gone.pk], [row_of(open_hall)])
    found = [(flip.event.target, flip.before.reason, flip.after.reason) for flip in flips(events, snapshot, changed)]
    assert found == [
        ("lobby", Reason.ALLOWED_BY_RULE, Reason.NO_RULE),
        ("hall", Reason.NO_RULE, Reason.ALLOWED_BY_RULE),
    ]
    gone.delete()
    open_hall.save()
    reasons = [reason for reason, _ in decided_again(events)]
    assert reasons == [Reason.ALLOWED_BY_RULE, Reason.NO_RULE, Reason.ALLOWED_BY_RULE, Reason.NO_RULE]


def test_the_moment_is_that_of_the_hook(wcs, school):
    wcs.hook("connect", custom={"token": "tok-bob"})
    events, snapshot = moved(), known()
    ended = worlds.rule(99, "connect", effect="deny", ends_at=events[0].received_at + timedelta(seconds=1))
    assert [flip.after.reason for flip in flips(events, snapshot, ChangedRules(snapshot.rules, (), [ended]))] == [
        Reason.DENIED_BY_RULE
    ]


def test_who_was_not_recognised_or_is_gone_is_allowed_nothing(wcs, school):
    factories.make_rule("publish", "play")
    wcs.hook("connect", custom={"token": "wrong"})
    wcs.hook("connect", custom={"token": "tok-bob"})
    wcs.hook("playStream", name="lobby")
    events = moved()
    school["bob"].delete()
    events = list(AuditEvent.objects.filter(pk__in=[event.pk for event in events]).order_by("received_at"))
    assert [reason for reason, _ in decided_again(events)] == [
        Reason.BAD_TOKEN,
        Reason.USER_INACTIVE,
        Reason.USER_INACTIVE,
    ]


def test_who_came_by_a_signed_token_or_a_link_is_known_by_their_session(wcs, school):
    factories.make_issuer(accepts_unknown=True, groups_claim="groups")
    factories.make_rule("publish", group="crew", target=("exact", "lobby"))
    token = signed.web_token("zoe", now=datetime.now(UTC), groups=["crew"])
    wcs.hook("connect", custom={"token": token})
    wcs.hook("publishStream", name="lobby")
    wcs.hook("publishStream", name="attic")
    link = factories.make_link()
    holder = {"sessionId": "/10.0.0.9:5/n"}
    assert wcs.reason("connect", custom={"token": link.token}, **holder) == ""
    assert wcs.reason("playStream", name="lobby", **holder) == ""
    deny = factories.make_rule("play", effect="deny", guests=True)
    assert wcs.reason("playStream", name="lobby", **holder) == "denied-by-rule"
    events, snapshot = moved(), known()
    *before, _ = events
    now = dict(zip([event.pk for event in events], decided_again(events, snapshot), strict=True))
    for event in before:
        if event.action != "play":
            assert now[event.pk] == (event.reason, event.rule_ids), event
    opened = ChangedRules(snapshot.rules, [deny.pk])
    assert [(flip.event.action, flip.after.reason) for flip in flips(events, snapshot, opened)] == [
        ("play", Reason.ALLOWED_BY_LINK),
        ("play", Reason.ALLOWED_BY_LINK),
    ]


def test_a_viewer_of_a_public_name_still_gets_its_source(wcs, school):
    stream = factories.make_stream("door", source="rtsp://192.0.2.5/live.sdp")
    allow = factories.make_rule("play", user=school["bob"], stream=stream)
    wcs.hook("connect", custom={"token": "tok-bob"})
    assert wcs.reason("playStream", name="door") == ""
    events, snapshot = moved(), known()
    assert decided_again(events, snapshot) == recorded(events)
    found = list(flips(events, snapshot, ChangedRules(snapshot.rules, [allow.pk])))
    assert [(flip.before.reason, flip.after.reason) for flip in found] == [(Reason.ALLOWED_BY_RULE, Reason.NO_RULE)]


@pytest.mark.parametrize("method", ["hold", "unhold", "sendDtmf", "answer"])
def test_what_names_nothing_but_a_call_is_about_its_number(wcs, school, method):
    factories.make_rule("call")
    factories.make_rule("hold", "dtmf", "answer", target=("number-prefix", "+49"))
    premium = factories.make_rule("hold", "dtmf", "answer", effect="deny", target=("number-prefix", "+49900"))
    wcs.hook("connect", custom={"token": "tok-bob"})
    for id_, callee in (("a", "+49 30 1234"), ("b", "+49 900 1234")):
        wcs.hook("call", callee=callee, callId=id_)
        wcs.hook(method, callId=id_)
    events = [event for event in moved() if event.method == method]
    assert [reason for reason, _ in recorded(events)] == [Reason.ALLOWED_BY_RULE, Reason.DENIED_BY_RULE]
    snapshot = known()
    assert decided_again(events, snapshot) == recorded(events)
    without = ChangedRules(snapshot.rules, [premium.pk])
    assert [flip.event.target for flip in flips(events, snapshot, without)] == ["+49 900 1234"]


@pytest.mark.parametrize("method", ["connect", "playHLS"])
def test_what_happened_in_no_session_is_not_judged_by_one_with_its_ids(wcs, school, method):
    factories.make_rule("connect", "play", effect="deny", origins=["https://b.example"])
    factories.make_rule("play")
    wcs.hook("connect", custom={"token": "tok-bob"}, origin="https://a.example")
    wcs.hook(method, name="lobby", custom={"token": "tok-bob"}, origin="https://b.example")
    events = moved()
    assert decided_again(events) == recorded(events)
    assert events[1].reason == Reason.DENIED_BY_RULE


def test_an_app_that_came_to_be_known_makes_nobody_known(wcs, school):
    wcs.hook("playHLS", name="lobby", appKey="later")
    events = moved()
    factories.make_app("later", guests=True)
    factories.make_rule("play", guests=True)
    assert {reason for reason, _ in decided_again(events)} == {Reason.UNKNOWN_APP}


def test_the_page_of_a_session_opened_later_is_not_that_of_an_earlier_hook(wcs, school):
    wcs.hook("connect", custom={"token": "tok-bob"})
    wcs.hook("playStream", name="hall")
    events = moved()
    Session.objects.update(origin="https://a.example", opened_at=datetime.now(UTC) + timedelta(hours=1))
    factories.make_rule("play", origins=["https://a.example"])
    assert decided_again(events)[1][0] == Reason.NO_RULE
    Session.objects.update(opened_at=events[0].received_at)
    assert decided_again(events)[1][0] == Reason.ALLOWED_BY_RULE


def test_many_events_cost_one_query_for_their_sessions(wcs, school):
    wcs.hook("connect", custom={"token": "tok-bob"})
    for number in range(30):
        wcs.hook("playStream", name=f"hall-{number}")
    events, snapshot = moved(), known()
    with CaptureQueriesContext(connection) as queries:
        assert len(decided_again(events, snapshot)) == 31
    assert len(queries) == 1


def test_nothing_is_recorded_or_changed(wcs, school):
    wcs.hook("connect", custom={"token": "tok-bob"})
    events = moved()
    before = list(AuditEvent.objects.values()), list(Session.objects.values()), list(Rule.objects.values())
    decided_again(events)
    assert (list(AuditEvent.objects.values()), list(Session.objects.values()), list(Rule.objects.values())) == before


# Rules as after a change


def test_changed_rules_are_the_rules_after_the_change(monkeypatch):
    monkeypatch.setattr(compile, "FEW", 0)  # only rules that may be about the target are found
    for seed in range(300):
        dice = Dice(seed)
        world, other = dice.world(), dice.world()
        gone = {rule.id for rule in world.rules if dice.random() < 0.3}
        put = [rule for rule in other.rules if dice.random() < 0.5]
        after = RuleIndex(world.rules)
        after.replace(gone, put)
        changed = ChangedRules(RuleIndex(world.rules), gone, put)
        for user in (*world.users, None):
            question = worlds.asking("lobby", action=Random(seed).choice(("play", "publish")))
            found = [{rule.id: rule for rule in index.candidates(user, question)} for index in (changed, after)]
            assert found[0] == found[1], seed


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"starts_at": LATER, "ends_at": LATER + timedelta(days=1), "enforced": False},
        {"networks": ["10.0.0.0/8"], "origins": ["*.a.example"], "custom": ["role in a|b"]},
        {"media_providers": ["WebRTC"], "apps": ["school"], "nodes": ["edge"]},
        {"limit_per": "user", "at_once": 2, "minutes_per_day": 5},
        {"record": "off", "max_width": 640, "callee": "100"},
        {"target": ("number-prefix", "0049 30")},
        {"target": ("number-class", "")},
        {"target": ("stream-group", "")},
        {"schedule": True},
        {"stream": True},
    ],
)
def test_the_row_of_a_rule_is_that_of_the_query(transactional_db, fields):
    more = {
        "number-class": lambda: {"number_class": NumberClass.objects.create(name="x", prefixes=["+49900"])},
        "stream-group": lambda: {"stream_group": StreamGroup.objects.create(name="x")},
    }.get(fields.get("target", ("",))[0], dict)()
    if fields.get("stream"):
        more["stream"] = factories.make_stream()
    if fields.get("schedule"):
        more["schedule"] = Schedule.objects.create(
            name="x", time_zone="Europe/Berlin", windows=["Mon-Fri 08:00-18:00"], holidays=[date(2026, 12, 25)]
        )
    rule = factories.make_rule("call", "play", user=factories.make_user(), **{**fields, **more})
    saved = next(iter(known().rules._rules.values()))
    assert row_of(rule) == saved
    assert saved.id == rule.pk
