"""What ran by hour and by day: compared with a model that asks every lease about every second, and more by hand."""

import random
import time
import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from django.utils import timezone

from apps.audit.locks import AdvisoryLock
from apps.audit.statistics.measuring import LATE, day_begins, measure
from apps.audit.statistics.models import NameTime, RunningDay, RunningHour
from apps.live.models import Lease
from tests import factories

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def lease(began, ended=None, action="play", username="ann", target="lobby", **fields):
    return Lease.objects.create(
        record_id=uuid.uuid4(),
        node_id=factories.NODE_ID,
        app_key="defaultApp",
        session_id="s",
        key="k",
        action=action,
        target=target,
        thing=target,
        who=username,
        username=username,
        **{"opened_at": began, "started_at": began, "ended_at": ended, **fields},
    )


def measured(now):
    return measure(now, time.monotonic() + 1_000)


def hour(at, action="play"):
    row = RunningHour.objects.get(hour=at, action=action)
    return row.began, row.seconds, row.peak, row.ended


# A model


def expected(leases, since, until, now):
    """Began, seconds, peak, ended, seconds of those, longest: by looking at every moment at which something changes."""
    spans = [(each.started_at, max(each.started_at, over_of(each, now)), is_over(each, now)) for each in leases]
    moments = sorted({since, *(moment for span in spans for moment in span[:2] if since <= moment < until)})
    ended = [over - began for began, over, is_over in spans if is_over and since <= over < until]
    return (
        sum(since <= began < until for began, _, _ in spans),
        sum(max(timedelta(0), min(over, until) - max(began, since)).total_seconds() for began, over, _ in spans),
        max(sum(began <= moment < over for began, over, _ in spans) for moment in moments),
        len(ended),
        sum(ended, timedelta(0)).total_seconds(),
        max(ended, default=timedelta(0)).total_seconds(),
    )


def over_of(each, now):
    return each.ended_at or min(each.runs_out_at or now, now)


def is_over(each, now):
    return each.ended_at is not None or (each.runs_out_at is not None and each.runs_out_at <= now)


def told(row):
    values = (row.began, row.seconds, row.peak, row.ended, row.ended_seconds, row.longest)
    return tuple(round(value, 3) for value in values)


def random_leases(dice, now):
    for _number in range(dice.randrange(1, 120)):
        began = now - timedelta(minutes=dice.randrange(60 * 50))
        over = began + timedelta(minutes=dice.choice((0, 1, 5, 59, 60, 61, 600, 3_000)))
        action = dice.choice(("play", "publish", "call", "receive-call", "connect"))
        how = dice.random()
        fields = {"ended_at": over if over < now else None}
        if how < 0.1:
            fields = {"ended_at": None, "runs_out_at": over}
        if how > 0.9:
            fields |= {"started_at": None}
        who, target = dice.choice(("", "ann", "bob")), dice.choice(("lobby", "hall"))
        yield lease(began, action=action, username=who, target=target, **fields)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Havana"])
def test_it_is_what_every_lease_says(settings, zone, seed):
    settings.TIME_ZONE = zone
    dice, now = random.Random(seed), datetime(2026, 10, 26, 1, 17, tzinfo=UTC)  # clocks are turned back in Berlin
    if zone == "America/Havana":
        now = datetime(2026, 11, 2, 1, 17, tzinfo=UTC)  # midnight comes twice
    leases = [each for each in random_leases(dice, now) if each.started_at is not None]
    measured(now)
    for row in RunningHour.objects.all():
        of = [each for each in leases if each.action.removeprefix("receive-") == row.action]
        assert told(row) == expected(of, row.hour, row.hour + HOUR, now), row.hour
    for row in RunningDay.objects.all():
        of = [each for each in leases if each.action.removeprefix("receive-") == row.action]
        assert told(row) == expected(of, day_begins(row.day), day_begins(row.day + DAY), now), row.day
    for row in NameTime.objects.filter(span="day"):
        of = [
            each
            for each in leases
            if each.action.removeprefix("receive-") == row.action
            and row.name == (each.username if row.about == "user" else each.target)
        ]
        began, seconds, peak, *_ = expected(of, day_begins(row.starts_on), day_begins(row.starts_on + DAY), now)
        assert (row.times, round(row.seconds, 3), row.peak) == (began, seconds, peak)
    assert sum(RunningDay.objects.values_list("seconds", flat=True)) == pytest.approx(
        sum(RunningHour.objects.values_list("seconds", flat=True))
    )
    by_month = {(r.about, r.starts_on, r.action, r.name): r.seconds for r in NameTime.objects.filter(span="month")}
    for (about, month, action, name), seconds in by_month.items():
        days = NameTime.objects.filter(span="day", about=about, action=action, name=name)
        in_it = [row.seconds for row in days if row.starts_on.replace(day=1) == month]
        assert seconds == pytest.approx(sum(in_it))
    assert {key[0] for key in by_month} <= {"user", "target"}


# By hand


def test_two_after_each_other_are_not_two_at_once():
    lease(NOON, NOON + HOUR / 2)
    lease(NOON + HOUR / 2, NOON + HOUR)
    measured(NOON + HOUR)
    assert hour(NOON) == (2, 3600, 1, 1)
    assert hour(NOON + HOUR) == (0, 0, 0, 1)


def test_what_runs_over_midnight_is_split_and_still_running_counts_until_now():
    lease(NOON - 13 * HOUR)
    measured(NOON)
    days = {row.day: (row.began, row.seconds) for row in RunningDay.objects.filter(action="play")}
    assert days == {date(2026, 11, 19): (1, 3600), date(2026, 11, 20): (0, 12 * 3600)}


def test_what_failed_before_it_started_has_not_run():
    lease(NOON, NOON + HOUR / 4, started_at=None)
    measured(NOON + HOUR / 2)
    assert hour(NOON) == (0, 0, 0, 0)


def test_a_session_that_nobody_heard_the_end_of_is_taken_to_run_out():
    lease(NOON, runs_out_at=NOON + HOUR / 4)
    measured(NOON + HOUR / 2)
    assert hour(NOON) == (1, 900, 1, 1)


def test_a_call_is_a_call_in_both_directions():
    lease(NOON, action="call", target="+4930123")
    lease(NOON, action="receive-call", target="+4930123")
    measured(NOON + HOUR / 2)
    assert hour(NOON, "call")[2] == 2
    assert NameTime.objects.get(span="day", about="target").peak == 2


def test_an_end_that_comes_late_is_heard_of():
    running = lease(NOON)
    measured(NOON + HOUR)
    assert hour(NOON) == (1, 3600, 1, 0)
    Lease.objects.filter(pk=running.pk).update(ended_at=NOON + HOUR / 2)
    measured(NOON + 2 * HOUR)
    assert hour(NOON) == (1, 1800, 1, 1)


def test_measuring_again_changes_nothing_where_nothing_has_changed():
    lease(NOON, NOON + HOUR)
    measured(NOON + 2 * HOUR)
    before = list(RunningHour.objects.values("hour", "action", "seconds", "peak").order_by("hour", "action"))
    measured(NOON + 5 * HOUR)
    after = RunningHour.objects.filter(hour__lte=NOON + 2 * HOUR)
    assert list(after.values("hour", "action", "seconds", "peak").order_by("hour", "action")) == before


def test_what_is_over_is_measured_ever_more_rarely_and_then_never():
    lease(NOON, NOON + HOUR)
    moments, now = [], NOON + HOUR
    while now < NOON + HOUR + LATE + DAY:
        measured(now)
        measured_at = RunningHour.objects.get(hour=NOON, action="play").measured_at
        if not moments or measured_at > moments[-1]:
            moments.append(measured_at)
        now += timedelta(minutes=30)
    assert len(moments) < 20
    assert NOON + HOUR + LATE <= moments[-1] < NOON + HOUR + LATE * 1.5


def test_where_leases_may_be_gone_already_what_was_measured_stays(settings):
    lease(NOON, NOON + HOUR)
    measured(NOON + HOUR)
    Lease.objects.all().delete()
    settings.KEEP_DECISIONS = 1
    lease(NOON - 40 * DAY)
    later = datetime(2026, 12, 1, 23, tzinfo=UTC)
    RunningHour.objects.update(measured_at=NOON)
    measured(later)
    assert hour(NOON) == (1, 3600, 1, 0)
    assert RunningHour.objects.filter(hour__gt=NOON + HOUR).earliest("hour").hour == datetime(2026, 11, 30, tzinfo=UTC)


def test_it_stops_when_its_time_is_up():
    lease(NOON - 5 * DAY)
    assert measure(NOON, time.monotonic() - 1) == 0
    assert not RunningHour.objects.exists()


def test_a_time_without_anything_is_known_to_have_been_empty():
    lease(NOON - 2 * HOUR, NOON - HOUR)
    measured(NOON)
    assert hour(NOON) == (0, 0, 0, 0)
    assert RunningHour.objects.earliest("hour").hour == NOON - 2 * HOUR


@pytest.mark.django_db(transaction=True)
def test_two_do_not_measure_at_once():
    import threading

    from django.db import connection, connections

    lease(timezone.now() - HOUR)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock.MEASURING])
    try:
        found = []

        def other():
            found.append(measured(timezone.now()))
            connections.close_all()

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [AdvisoryLock.MEASURING])
    assert found == [0]
