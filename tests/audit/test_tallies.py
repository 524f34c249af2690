"""Hooks counted while they are moved: always what a GROUP BY over the audit log would give."""

import random
import threading
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.utils import timezone

from apps.access.reasons import NOTED, STAFF_ACTION, Reason
from apps.audit.browsing.query import parse
from apps.audit.browsing.search import find_events
from apps.audit.keeping import partitions
from apps.audit.locks import AdvisoryLock
from apps.audit.models import AuditEvent, HookRecord
from apps.audit.moving import mover
from apps.audit.moving.changes import move_changes
from apps.audit.moving.mover import move_batch
from apps.audit.narrative import outcome
from apps.audit.recording.recorder import new_id
from apps.audit.statistics import recounting
from apps.audit.statistics.models import (
    DayAnswer,
    DayCount,
    HourCount,
    NameTime,
    Recount,
    RunningDay,
    RunningHour,
    UserCount,
)
from apps.audit.statistics.tallies import can_tell, timeline
from apps.audit.tasks import forget_hours, purge
from tests import factories
from tests.admin.conftest import make_event
from tests.audit.test_mover import database, make_record  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("database")
KEYS = ("effect", "reason", "action", "app_key", "node_id")
ANSWERS = (
    ("allow", Reason.ALLOWED_BY_RULE),
    ("deny", Reason.NO_RULE),
    ("deny", Reason.DENIED_BY_RULE),
    ("allow", Reason.NOT_REFUSABLE),
)


class Killed(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


def random_record(dice, at):
    """Few differences, so that many are repeats."""
    effect, reason = dice.choice(ANSWERS)
    return make_record(
        received_at=at,
        id=new_id(at),
        media_session_id=f"media-{dice.randrange(3)}",
        action=dice.choice(("publish", "play")),
        app_key=dice.choice(("defaultApp", "x" * 300)),
        node_id=dice.choice(("edge-1", "edge-2")),
        username=dice.choice(("", "alice", "bob")),
        effect=effect,
        reason=reason,
    )


def in_the_log(zone):
    """What the audit log says, counted here: by hour, by day (also coarsely), and by user."""
    hours, days, answers, users = Counter(), Counter(), Counter(), Counter()
    for event in AuditEvent.objects.all():
        key = (event.effect, event.reason, event.action, event.app_key[:100], event.node_id[:100])
        local, hooks = event.received_at.astimezone(zone), 1 + event.repeats
        hour = event.received_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        for counts, place in ((hours, hour), (days, local.date())):
            counts[place, *key, "events"] += 1
            counts[place, *key, "hooks"] += hooks
        answers[local.date(), event.effect, event.reason, "events"] += 1
        answers[local.date(), event.effect, event.reason, "hooks"] += hooks
        if event.reason not in (*NOTED, STAFF_ACTION):
            for span, day in (("day", local.date()), ("month", local.date().replace(day=1))):
                users[span, day, event.username, event.effect] += hooks
    return hours, days, answers, users


def counted():
    """The same as it was counted."""
    found = []
    for model, place in ((HourCount, "hour"), (DayCount, "day")):
        counts = Counter()
        for row in model.objects.all():
            key = (getattr(row, place), *(getattr(row, name) for name in KEYS))
            counts[*key, "events"], counts[*key, "hooks"] = row.events, row.hooks
        found.append(counts)
    answers = Counter()
    for row in DayAnswer.objects.all():
        answers[row.day, row.effect, row.reason, "events"] = row.events
        answers[row.day, row.effect, row.reason, "hooks"] = row.hooks
    users = Counter()
    for row in UserCount.objects.all():
        users[row.span, row.starts_on, row.username, "allow"] = row.allowed
        users[row.span, row.starts_on, row.username, "deny"] = row.refused
    return (*found, answers, +users)


def assert_exact():
    assert counted() == in_the_log(timezone.get_default_timezone())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_whatever_is_moved_in_whatever_batches_is_counted_as_it_is_in_the_log(settings, monkeypatch, zone, seed):
    settings.TIME_ZONE = zone
    dice = random.Random(seed)
    began = datetime(2026, 10, 24, 21, tzinfo=UTC)  # around the end of summer time in Berlin
    for _round in range(4):
        for _number in range(dice.randrange(1, 60)):
            random_record(
                dice, began + timedelta(seconds=dice.randrange(30 * 3600), microseconds=dice.randrange(10**6))
            )
        for _number in range(dice.randrange(12)):
            again = dice.choice(HookRecord.objects.all())
            again.received_at += timedelta(seconds=dice.randrange(1, 60))
            again.id = new_id(again.received_at)
            again.save(force_insert=True)
        while HookRecord.objects.exists():
            if dice.random() < 0.3:
                killed_in_the_middle(monkeypatch)
            else:
                move_batch(dice.randrange(1, 40))
            assert_exact()
    assert sum(event.repeats for event in AuditEvent.objects.all())


def killed_in_the_middle(monkeypatch):
    """A mover that dies after it has counted, and before it commits."""
    with monkeypatch.context() as patch:
        patch.setattr(mover, "append", killed)
        with pytest.raises(Killed):
            move_batch(20)


def test_what_staff_change_is_counted_as_that_and_is_nobodys_attempt():
    factories.make_stream()
    assert move_changes()
    assert_exact()
    assert [(row["answer"], row["events"]) for row in moments_of("decision:changed", hours=2)] == [("changed", 1)]
    assert not UserCount.objects.exists()


def test_a_record_that_comes_back_after_it_was_moved_is_not_counted_again():
    record = make_record(1)
    move_batch()
    record.save(force_insert=True)
    move_batch()
    assert DayCount.objects.get().hooks == 1
    assert_exact()


# Counting what was there before


def count_before():
    return recounting.count_before(time.monotonic() + 1_000)


def some_days(dice, days=4):
    """Events of some days that nobody has counted."""
    now = timezone.now()
    for _number in range(60):
        effect, reason = dice.choice(ANSWERS)
        at = now - timedelta(days=dice.randrange(days), seconds=dice.randrange(3600))
        username = dice.choice(("", "alice"))
        make_event(received_at=at, effect=effect, reason=reason, username=username, repeats=dice.randrange(3))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_what_was_moved_before_is_counted_day_by_day_together_with_what_comes(settings, zone):
    settings.TIME_ZONE = zone
    dice = random.Random(zone)
    some_days(dice)
    make_record(1, received_at=timezone.now(), id=new_id(timezone.now()))
    assert not recounting.is_counted(timezone.now())
    days = []

    def said(day):
        days.append(day)
        moved_now()

    assert recounting.count_before(time.monotonic() + 1_000, said)
    assert days == sorted(set(days), reverse=True)
    assert_exact()
    assert recounting.is_counted(timezone.now() - timedelta(days=400))
    assert count_before()
    assert_exact()


def test_an_hour_in_which_a_day_ends_is_counted_whole(settings):
    settings.TIME_ZONE = "Asia/Kolkata"  # where midnight is at half past six in the evening, in UTC
    midnight = timezone.now().replace(hour=18, minute=30, second=0, microsecond=0) - timedelta(days=2)
    for minutes in (-20, -10, 10):
        make_event(received_at=midnight + timedelta(minutes=minutes))
    recounting.count_day((midnight - timedelta(hours=1)).astimezone(timezone.get_default_timezone()).date())
    assert HourCount.objects.get().hooks == 3


def moved_now():
    now = timezone.now()
    make_record(1, received_at=now, id=new_id(now), media_session_id=str(now))
    assert move_batch()


def test_it_goes_on_where_it_was_interrupted():
    some_days(random.Random(3))
    with pytest.raises(Killed):
        recounting.count_before(time.monotonic() + 1_000, killed)
    progress = Recount.objects.get()
    assert not progress.done
    assert recounting.is_counted(timezone.now())
    assert not recounting.is_counted(timezone.now() - timedelta(days=30))
    assert count_before()
    assert_exact()


def killed(*_):
    raise Killed


def test_a_day_that_is_counted_and_not_committed_is_counted_again(monkeypatch):
    some_days(random.Random(4))
    with monkeypatch.context() as patch:
        patch.setattr(Recount, "save", killed)
        with pytest.raises(Killed):
            count_before()
    assert not DayCount.objects.exists()
    count_before()
    assert_exact()


def test_counting_again_puts_right_what_was_wrong():
    some_days(random.Random(5))
    count_before()
    DayCount.objects.update(hooks=1_000)
    UserCount.objects.filter(span="day").delete()
    UserCount.objects.filter(span="month").delete()
    call_command("count_audit", "--again", stdout=StringIO())
    assert_exact()


def test_days_counted_before_there_were_answers_are_put_together():
    some_days(random.Random(6))
    count_before()
    DayAnswer.objects.all().delete()
    migration = import_module("apps.audit.migrations.0020_day_answers")
    with connection.cursor() as cursor:
        cursor.execute(migration.COUNT)
    assert_exact()


def test_the_command_says_how_far_it_is():
    now = timezone.now()
    make_event(received_at=now - timedelta(days=2))
    out = StringIO()
    call_command("count_audit", stdout=out)
    day = timezone.localtime(now - timedelta(days=2)).date()
    assert out.getvalue().splitlines() == [f"Counted {day}", "All of the log is counted."]


def test_what_retention_may_have_deleted_of_stays_as_it_was_counted(settings):
    old, now = timezone.now() - timedelta(days=10), timezone.now()
    make_event(received_at=old)
    make_event(received_at=old, effect="allow", reason=Reason.NOT_REFUSABLE)
    count_before()
    settings.KEEP_EVENTS = 5
    AuditEvent.objects.all().delete()
    make_event(received_at=old + timedelta(seconds=1))
    recounting.begin_again()
    count_before()
    assert sorted(DayCount.objects.values_list("reason", "hooks")) == [("no-rule", 1), ("not-refusable", 1)]
    settings.KEEP_DECISIONS = 5
    AuditEvent.objects.filter(received_at__lt=now).delete()
    make_event(received_at=old, repeats=7)
    recounting.begin_again()
    count_before()
    assert set(DayCount.objects.values_list("hooks", flat=True)) == {1}


def test_nothing_is_counted_while_some_of_the_log_is_aside(monkeypatch):
    make_event()
    monkeypatch.setattr(recounting, "is_whole", lambda: False)
    assert not count_before()
    assert not DayCount.objects.exists()


def test_it_waits_for_whoever_is_moving(monkeypatch):
    monkeypatch.setattr(partitions, "TRIES", 2)
    make_event()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock.BATCHES])
    failed = []

    def other():
        try:
            count_before()
        except OperationalError as error:
            failed.append(error)
        connections.close_all()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [AdvisoryLock.BATCHES])
    assert failed
    assert not DayCount.objects.exists()


# The timeline of a search


def moments_of(query, **back):
    now = timezone.now()
    return list(timeline(parse(query), now - timedelta(**back), now, now))


@pytest.mark.parametrize(
    ("query", "yes"),
    [
        ("", True),
        ("decision:refused reason:no-rule action:play app:defaultApp node:edge-1 after:7d", True),
        ("-reason:no-rule", True),
        ("user:ann", False),
        ("lobby", False),
        ("decision:refused ip:10.0.0.1", False),
        ("app:" + "x" * 100, False),
    ],
)
def test_counts_tell_of_some_searches(query, yes):
    assert can_tell(parse(query)) is yes


@pytest.mark.parametrize(
    "query", ["", "decision:noted", "reason:no-rule", "-action:play", "node:edge-1 decision:refused"]
)
def test_a_timeline_says_what_the_search_finds(query):
    dice, now = random.Random(query), timezone.now()
    for _number in range(150):
        random_record(dice, now - timedelta(hours=dice.randrange(30)))
    while move_batch():
        pass
    found = find_events(AuditEvent.objects.all(), parse(query), UTC, now)
    told = {(row["at"], row["answer"]): row["events"] for row in moments_of(query, hours=40)}
    assert told == dict(
        Counter((event.received_at.replace(minute=0, second=0, microsecond=0), outcome(event)) for event in found)
    )
    days = moments_of(query, days=100)
    assert sum(row["events"] for row in days) == found.count()
    assert all(isinstance(row["at"], date) and not isinstance(row["at"], datetime) for row in days)


# How long


def test_names_go_with_the_decisions_and_all_else_stays(settings):
    settings.KEEP_DECISIONS, settings.KEEP_EVENTS = 30, 30
    old = timezone.now() - timedelta(days=100)
    make_record(1, received_at=old, id=new_id(old))
    make_record(2, received_at=timezone.now(), id=new_id(timezone.now()))
    move_batch()
    NameTime.objects.create(
        span="day", about="user", starts_on=old.date(), action="play", name="ann", times=1, seconds=1, peak=1
    )
    purge()
    assert AuditEvent.objects.count() == 1
    assert forget_hours() == 1
    assert (DayCount.objects.count(), HourCount.objects.count()) == (2, 1)
    assert not NameTime.objects.exists()
    assert set(UserCount.objects.values_list("starts_on", flat=True)) <= {date.today(), date.today().replace(day=1)}


def test_statistics_go_where_an_operator_wants_an_end(settings):
    old = timezone.now() - timedelta(days=100)
    for at in (old, timezone.now()):
        make_record(1, received_at=at, id=new_id(at), media_session_id=str(at))
    move_batch()
    for day in (old, timezone.now()):
        measure = {"action": "play", "began": 1, "seconds": 1, "peak": 1, "ended": 0, "ended_seconds": 0, "longest": 0}
        RunningDay.objects.create(day=day.date(), measured_at=day, **measure)
        RunningHour.objects.create(hour=day, measured_at=day, **measure)
    settings.KEEP_STATISTICS = 50
    purge()
    for model in (DayAnswer, DayCount, HourCount, RunningDay, RunningHour):
        assert model.objects.count() == 1, model
    assert AuditEvent.objects.count() == 2
