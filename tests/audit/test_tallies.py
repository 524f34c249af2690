"""Hooks counted while they are moved: always what a GROUP BY over the audit log would give."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.access.reasons import Reason
from apps.audit import mover, recounting, tallies
from apps.audit.models import AuditEvent, HookRecord
from apps.audit.mover import move_batch
from apps.audit.query import parse
from apps.audit.search import NOTED
from apps.audit.tally_models import DayCount, HourCount, UserCount
from tests.audit.test_mover import database, make_record  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("database")
KEYS = ("effect", "reason", "action", "app_key", "node_id")
ANSWERS = (
    ("allow", Reason.ALLOWED_BY_RULE),
    ("deny", Reason.NO_RULE),
    ("deny", Reason.DENIED_BY_RULE),
    ("allow", Reason.NOT_REFUSABLE),
)


class Killed(Exception):
    pass


def random_record(dice, at):
    """Few differences, so that many are repeats."""
    effect, reason = dice.choice(ANSWERS)
    return make_record(
        received_at=at,
        id=tallies_id(at),
        media_session_id=f"media-{dice.randrange(3)}",
        action=dice.choice(("publish", "play")),
        app_key=dice.choice(("defaultApp", "x" * 300)),
        node_id=dice.choice(("edge-1", "edge-2")),
        username=dice.choice(("", "alice", "bob")),
        effect=effect,
        reason=reason,
    )


def tallies_id(at):
    from apps.audit.recorder import new_id

    return new_id(at)


def in_the_log(zone):
    """What the audit log says, counted here: by hour, by day, and by user."""
    hours, days, users = Counter(), Counter(), Counter()
    for event in AuditEvent.objects.all():
        key = (event.effect, event.reason, event.action, event.app_key[:100], event.node_id[:100])
        local, hooks = event.received_at.astimezone(zone), 1 + event.repeats
        hour = event.received_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        for counts, place in ((hours, hour), (days, local.date())):
            counts[place, *key, "events"] += 1
            counts[place, *key, "hooks"] += hooks
        if event.reason not in NOTED:
            for span, day in (("day", local.date()), ("month", local.date().replace(day=1))):
                users[span, day, event.username, event.effect] += hooks
    return hours, days, users


def counted():
    """The same as it was counted."""
    found = []
    for model, place in ((HourCount, "hour"), (DayCount, "day")):
        counts = Counter()
        for row in model.objects.all():
            key = (getattr(row, place), *(getattr(row, name) for name in KEYS))
            counts[*key, "events"], counts[*key, "hooks"] = row.events, row.hooks
        found.append(counts)
    users = Counter()
    for row in UserCount.objects.all():
        users[row.span, row.starts_on, row.username, "allow"] = row.allowed
        users[row.span, row.starts_on, row.username, "deny"] = row.refused
    return (*found, +users)


def assert_exact():
    assert counted() == in_the_log(timezone.get_default_timezone())


@pytest.mark.parametrize("seed", range(6))
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
            again.id = tallies_id(again.received_at)
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

    def follow(records):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed), transaction.atomic():
        patch.setattr(mover, "follow", follow)
        patch.setattr(mover, "_database_is_in_trouble", lambda error: True)
        move_batch(20)


def test_a_record_that_comes_back_after_it_was_moved_is_not_counted_again():
    record = make_record(1)
    move_batch()
    record.save(force_insert=True)
    move_batch()
    assert DayCount.objects.get().hooks == 1
    assert_exact()
