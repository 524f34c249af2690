"""What a change to rules would do, seen before it is made; and that it then does just that."""

import json
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.engine import decide
from apps.access.models import Rule, Schedule
from apps.access.proposals import changing, deleting, saving
from apps.access.snapshot import load
from apps.audit.asking.preview import Key, look, recorded, stopped
from apps.audit.asking.replay import asked_again
from apps.audit.models import AuditEvent
from apps.audit.moving.mover import move_batch
from apps.connections.models import Session
from apps.database.connection import conninfo_of
from tests import factories

NOW = timezone.now


def known():
    """What a process would hold in memory now."""
    with psycopg.connect(conninfo_of(settings.DATABASES["default"]), autocommit=True) as database:
        return load(database)


def previewed(proposal, snapshot, most=10_000, since=None):
    """Everything that would turn, with how often."""
    *_, last = look(recorded(most, since), snapshot, proposal.applied_to(snapshot.rules))
    return last, {key: group.count for key, group in last.groups.items()}


def replayed(before, after):
    """The same by force: everything decided again under the rules before and after."""
    counts = {}
    allowed = [
        {event.pk: decide(call, facts).allowed for event, call, facts in asked_again(AuditEvent.objects.all(), rules)}
        for rules in (before, after)
    ]
    for event in AuditEvent.objects.all():
        if allowed[0][event.pk] is not allowed[1][event.pk]:
            key = Key(event.username, event.action, event.target, allowed[1][event.pk])
            counts[key] = counts.get(key, 0) + 1
    return counts


@pytest.fixture
def day(wcs, school):
    """A day of hooks: three people try this and that through sessions of their own."""
    factories.make_rule("play", group="class", target=("prefix", "lesson-"))
    factories.make_rule("play", target=("glob", "{user}-*"))
    factories.make_rule("play", effect="deny", user=school["charlie"], target=("exact", "lesson-2"))
    factories.make_rule("publish", user=school["alice"], target=("prefix", "lesson-"), origins=["https://a.example"])
    for name in ("bob", "charlie"):
        school[name].groups.add(*Rule.objects.get(who="group").group.__class__.objects.filter(name="class"))
    for name, user in school.items():
        session = {"sessionId": f"/10.0.0.{user.pk % 250}:1/10.0.0.1:8443"}
        wcs.hook("connect", **session, custom={"token": f"tok-{name}"}, origin="https://a.example")
        for stream in ("lobby", "lesson-1", "lesson-2", f"{name}-cam"):
            wcs.hook("playStream", **session, name=stream, mediaProvider="WebRTC")
            wcs.hook("publishStream", **session, name=stream, mediaProvider="WebRTC", record=False)
            wcs.hook("StreamKeepAliveEvent", **session, name=stream, published=stream == "lobby")
    while move_batch():
        pass
    return school


def _adding(people):
    return Rule(effect="deny", who="everyone", actions=["play"], target_kind="prefix", target="lesson-")


def _adding_narrow(people):
    return Rule(
        effect="allow", who="user", user=people["charlie"], actions=["publish"], target_kind="any",
        media_providers=["WebRTC"], networks=["10.0.0.0/8"],
    )  # fmt: skip


def _adding_hours(people):
    hours = Schedule.objects.create(name="never today", time_zone="UTC", windows=["daily 00:00-24:00"])
    hours.holidays = [datetime.now(UTC).date()]
    hours.save()
    return Rule(effect="allow", who="everyone", actions=["publish"], target_kind="any", schedule=hours)


def _changing(people):
    rule = Rule.objects.get(who="group")
    rule.target = "lesson-1"
    return rule


def _moving_to_another(people):
    rule = Rule.objects.get(target="lobby", actions=["play"])
    rule.user = people["charlie"]
    return rule


@pytest.mark.parametrize("change", [_adding, _adding_narrow, _adding_hours, _changing, _moving_to_another])
def test_what_is_seen_before_saving_is_what_a_replay_finds_afterwards(day, change):
    rule = change(day)
    before = known()
    preview, turned = previewed(saving(rule, ""), before)
    assert previewed(saving(rule, ""), before)[1] == turned  # nothing was changed by looking
    assert preview.looked_at == recorded(10_000).count() > 30
    rule.save()
    assert turned == replayed(before, known())
    assert bool(turned) is (change is not _adding_hours)


def test_deleting_and_bulk_changes_are_seen_beforehand_too(day):
    denies = Rule.objects.filter(effect="deny")
    before = known()
    for proposal, make in (
        (deleting(denies), lambda: denies.delete()),
        (
            changing(Rule.objects.filter(who="group"), "", "", enforced=False),
            lambda: Rule.objects.filter(who="group").update(enforced=False),
        ),
        (
            changing(Rule.objects.filter(target="{user}-*"), "", "", ends_at=NOW() - timedelta(days=1)),
            lambda: Rule.objects.filter(target="{user}-*").update(ends_at=NOW() - timedelta(days=1)),
        ),
    ):
        _, turned = previewed(proposal, before)
        make()
        after = known()
        assert turned == replayed(before, after) != {}
        before = after


def test_nothing_is_recorded_or_changed_by_looking(day):
    def everything():
        with connection.cursor() as cursor:
            cursor.execute("SELECT revision FROM access_revision")
            return cursor.fetchone(), Rule.objects.count(), AuditEvent.objects.count(), Session.objects.count()

    before, snapshot = everything(), known()
    rules = list(snapshot.rules._rules)
    proposal = deleting(Rule.objects.all())
    previewed(proposal, snapshot)
    stopped(snapshot, proposal.applied_to(snapshot.rules), NOW())
    assert everything() == before
    assert list(snapshot.rules._rules) == rules


def test_only_the_last_decisions_of_the_chosen_time_are_looked_at(day):
    snapshot, everything = known(), deleting(Rule.objects.all())
    preview, _ = previewed(everything, snapshot, most=5)
    assert preview.looked_at == 5
    assert preview.since == recorded(5)[4].received_at
    _, none = previewed(everything, snapshot, since=NOW() + timedelta(hours=1))
    assert none == {}


def test_what_was_never_up_to_rules_does_not_turn(day, wcs):
    wcs.hook("playStream", sessionId="/10.9.9.9:1/10.0.0.1:8443", name="lobby")  # of a session that nobody opened
    wcs.hook("StreamStatusEvent", name="lobby", status="PLAYING", published=False)
    move_batch()
    assert AuditEvent.objects.filter(reason__in=["unknown-session", "not-refusable"]).count() == 2
    preview, turned = previewed(deleting(Rule.objects.all()), known())
    assert preview.looked_at == recorded(10_000).count() == AuditEvent.objects.count() - 2
    assert not any(key.target == "lobby" and not key.username for key in turned)


def test_streams_that_run_and_would_be_stopped_are_named(wcs, school):
    lost = factories.make_rule("play", target=("exact", "elsewhere"))
    wcs.hook("connect", custom={"token": "tok-bob"})
    for media, name in (("m1", "lobby"), ("m2", "lobby"), ("m3", "elsewhere")):
        wcs.hook("playStream", mediaSessionId=media, name=name)
    wcs.hook("StreamStatusEvent", mediaSessionId="m2", name="lobby", status="STOPPED", published=False)
    # of one that nobody let in
    wcs.hook("StreamStatusEvent", mediaSessionId="m4", name="lobby", status="PLAYING", published=False)
    while move_batch():
        pass
    lost.delete()  # so m3 is refused anyhow
    snapshot = known()
    gone = deleting(Rule.objects.filter(actions=["play"])).applied_to(snapshot.rules)
    found = stopped(snapshot, gone, NOW())
    assert [(event.username, event.action, event.target, event.media_session_id) for event in found] == [
        ("bob", "play", "lobby", "m1")
    ]
    assert found[0].session_pk == Session.objects.get().pk
    assert not stopped(snapshot, snapshot.rules, NOW())
    wcs.hook("ConnectionStatusEvent", status="DISCONNECTED")
    assert not stopped(snapshot, gone, NOW())


def test_ten_thousand_decisions_take_a_moment(wcs, school):
    many = 10_000
    factories.make_rule("play", target=("prefix", "lesson-"))
    people = [factories.make_user(f"user-{number}") for number in range(50)]
    AuditEvent.objects.bulk_create(make_decision(number, people[number % 50]) for number in range(many))
    snapshot = known()
    deny = Rule(effect="deny", who="everyone", actions=["play"], target_kind="glob", target="*-1*")
    began = time.thread_time()
    with CaptureQueriesContext(connection) as queries:
        preview, turned = previewed(saving(deny, ""), snapshot)
    assert time.thread_time() - began < 3  # of this thread alone, however busy the machine is
    assert preview.looked_at == many
    assert sum(turned.values()) == sum("-1" in f"lesson-{number % 97}" for number in range(many))
    assert len(queries) < 50  # for sessions, some hundred at a time


def make_decision(number, user):
    body = {
        "nodeId": factories.NODE_ID, "appKey": "defaultApp", "sessionId": f"/10.0.0.{number % 250}:1/10.0.0.1:8443",
        "mediaSessionId": f"media-{number}", "name": f"lesson-{number % 97}", "mediaProvider": "WebRTC",
        "hasVideo": True, "hasAudio": True, "status": "PENDING", "custom": {"device": "tablet", "number": number},
    }  # fmt: skip
    received_at = NOW() - timedelta(seconds=number)
    return AuditEvent(
        id=f"00000000-0000-7000-8000-{number:012d}", method="playStream", received_at=received_at,
        last_received_at=received_at, node_id=body["nodeId"], app_key="defaultApp", session_id=body["sessionId"],
        media_session_id=body["mediaSessionId"], action="play", target=body["name"], username=user.username,
        user_id=user.pk, effect="allow", reason="allowed-by-rule", revision=1, body=json.dumps(body).encode(),
        digest=b"",
    )  # fmt: skip
