"""What goes when: each class after its days, by whole partitions or row by row; and nothing that a hold covers."""

import threading
import time
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.utils import timezone

from apps.access.models import TriedOut
from apps.access.reasons import NOTED, STAFF_ACTION, Reason
from apps.audit import chain
from apps.audit.chain import kind_of
from apps.audit.keeping import retention
from apps.audit.keeping.partitions import drop, partitions
from apps.audit.keeping.retention import CLASSES, DroppedPartition, past, steps
from apps.audit.models import AuditEvent, Hold
from apps.audit.net import NET
from apps.audit.recording.recorder import new_id
from apps.audit.tasks import purge
from apps.live.models import Lease
from tests import factories
from tests.admin.conftest import make_event
from tests.audit.test_partitions import TABLE, bare, database, home, years  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("years")
ENDLESS = time.monotonic() + 100_000
LONG_AGO = datetime(2025, 3, 5, 12, tzinfo=UTC)


@pytest.fixture
def kept(settings):
    """Says for how many days what is kept; what is not named, for ever."""

    def kept(**days):
        for name in ("decisions", "events", "staff_actions"):
            setattr(settings, f"KEEP_{name.upper()}", days.get(name, 0))

    return kept


def ago(**how_long):
    return timezone.now() - timedelta(**how_long)


def decision(at=LONG_AGO, **fields):
    return make_event(received_at=at, **fields)


def status_event(at=LONG_AGO, **fields):
    noted = {"effect": "allow", "reason": Reason.NOT_REFUSABLE, "action": "notify"}
    return make_event("StreamStatusEvent", received_at=at, **{**noted, **fields})


def hold(**fields):
    return Hold.objects.create(**{"name": "Case 7", "made_by": "root", **fields})


def left():
    return set(AuditEvent.objects.values_list("id", flat=True))


def names():
    return {partition.name for partition in partitions()}


def dry_run():
    said = StringIO()
    call_command("purge_audit", dry_run=True, stdout=said)
    return said.getvalue()


# Classes and their times


def test_what_is_let_go_is_called_as_in_the_chain():
    assert {of.words: {kind_of(reason) for reason in of.reasons} for of in CLASSES} == {
        words: {kind} for words, kind in chain.CLASSES.items()
    }


def test_every_reason_is_in_one_class():
    assert sorted(reason for of in CLASSES for reason in of.reasons) == sorted([*Reason, STAFF_ACTION])
    assert set(CLASSES[1].reasons) == set(NOTED)


def test_nothing_is_deleted_unless_somebody_said_so(kept):
    kept()
    events = {decision().id, status_event().id}
    before = names()
    assert list(steps(timezone.now())) == []
    assert purge() == 0
    assert (left(), names()) == (events, before)


def test_what_is_past_its_time_goes_at_midnight(settings):
    settings.KEEP_DECISIONS = 30
    assert past("KEEP_DECISIONS", datetime(2026, 3, 31, 23, 59, tzinfo=UTC)) == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "goes"),
    [({"decisions": 30}, "decision"), ({"events": 30}, "status event"), ({"decisions": 30, "events": 900}, "decision")],
)
def test_where_one_class_is_past_its_time_its_rows_go_and_the_others_stay(kept, days, goes):
    kept(**days)
    events = {"decision": decision(), "status event": status_event()}
    young = {decision(ago(days=2)).id, status_event(ago(days=2)).id}
    before = names()
    assert purge() == 1
    assert left() == young | {event.id for name, event in events.items() if name != goes}
    assert names() == before, "and no partition"


def test_where_all_classes_are_past_their_time_the_partition_is_dropped(kept):
    kept(decisions=60, events=90)
    decision(), status_event()
    young = {decision(ago(days=2)).id, status_event(ago(days=2)).id, status_event(ago(days=75)).id}
    assert f"{TABLE}_p20250301" in names()
    assert purge() == 0, "no row was deleted by itself"
    assert left() == young
    edge = past("KEEP_EVENTS", timezone.now())
    assert all(partition.ends_at > edge for partition in partitions())


def test_a_partition_that_is_not_yet_past_as_a_whole_loses_its_oldest_rows(kept):
    kept(decisions=10, events=10)
    days = range(1, 30)
    events = {number: decision(ago(days=number)).id for number in days}
    purge()
    assert left() == {events[number] for number in days if number <= 10}


def test_what_fell_into_the_net_goes_in_its_time_too(kept):
    kept(decisions=30, events=30)
    event = decision(datetime(2024, 5, 5, tzinfo=UTC))
    assert home(event.id) == NET
    assert purge() == 1
    assert left() == set()


def test_rows_go_in_small_batches_with_progress(kept, monkeypatch):
    kept(decisions=30)
    monkeypatch.setattr(retention, "BATCH", 2)
    for number in range(5):
        decision(LONG_AGO + timedelta(hours=number))
    progress = []
    assert retention.purge(timezone.now(), ENDLESS, said=lambda step, gone: progress.append((str(step), gone))) == 5
    assert [gone for step, gone in progress if step.startswith("decisions")] == [2, 4, 5]


def test_a_run_ends_when_its_time_is_over_and_the_next_one_goes_on(kept):
    kept(decisions=30)
    decision()
    assert retention.purge(timezone.now(), time.monotonic() - 1) == 0
    assert len(left()) == 1
    assert purge() == 1


# What belongs to events


def test_counts_of_rules_tried_out_go_with_their_events(kept):
    kept(decisions=30)
    old, young = decision(), decision(ago(days=2))
    for event in (old, young):
        TriedOut.objects.create(
            rule_id=7, effect="deny", event_id=event.id, received_at=event.received_at, username="charlie"
        )
    purge()
    assert TriedOut.objects.values_list("event_id", flat=True).get() == young.id


def test_ended_leases_go_with_their_events_and_what_runs_stays(kept):
    kept(decisions=30)
    old, running, held = decision(), decision(), decision(username="held")
    hold(username="held")
    for event, ended_at in ((old, LONG_AGO), (running, None), (held, LONG_AGO)):
        Lease.objects.create(
            record_id=event.id, node_id="n", app_key="a", session_id="s", key=str(event.id), action="play",
            target="lobby", thing="lobby", who="charlie", username="charlie", opened_at=LONG_AGO, ended_at=ended_at,
        )  # fmt: skip
    purge()
    assert set(Lease.objects.values_list("record_id", flat=True)) == {running.id, held.id}


def test_leases_that_limits_of_this_month_count_stay(kept):
    kept(decisions=1)
    month = timezone.localtime().replace(day=1, hour=0, minute=0, second=1, microsecond=0)
    decision()
    Lease.objects.create(
        record_id=new_id(month), node_id="n", app_key="a", session_id="s", key="k", action="play", target="lobby",
        thing="lobby", who="charlie", username="charlie", opened_at=month, ended_at=month,
    )  # fmt: skip
    purge()
    assert Lease.objects.count() == 1


def staff_action(at, user):
    entry = LogEntry.objects.create(user=user, action_flag=CHANGE, object_repr="a rule")
    LogEntry.objects.filter(pk=entry.pk).update(action_time=at)
    return entry.pk


def test_actions_of_staff_have_a_time_of_their_own(kept):
    kept(staff_actions=365)
    root, olga = (factories.make_user(name, is_staff=True) for name in ("root", "olga"))
    hold(username="olga")
    hold(target="lobby")
    staff_action(LONG_AGO, root)
    stays = {staff_action(ago(days=300), root), staff_action(LONG_AGO, olga)}
    event = decision()
    assert purge() == 1
    assert set(LogEntry.objects.values_list("pk", flat=True)) == stays
    assert left() == {event.id}


# Holds


@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"username": "charlie"},
        {"target": "lobby"},
        {"session_id": factories.SESSION_ID},
        {"starts_at": LONG_AGO, "ends_at": LONG_AGO + timedelta(hours=1)},
        {"starts_at": LONG_AGO},
        {"ends_at": LONG_AGO + timedelta(seconds=1)},
        {"username": "charlie", "target": "lobby", "starts_at": LONG_AGO},
    ],
    ids=str,
)
@pytest.mark.parametrize("days", [{"decisions": 30}, {"decisions": 30, "events": 30}], ids=["rows", "partition"])
def test_what_a_hold_covers_stays(kept, selection, days):
    kept(**days)
    event = decision()
    hold(**selection)
    purge()
    assert left() == {event.id}
    assert home(event.id) in names()
    Hold.objects.update(released_at=timezone.now())
    purge()
    assert left() == set(), "and goes when it is released"


@pytest.mark.parametrize(
    "selection",
    [
        {"username": "charlie2"},
        {"target": "lob"},
        {"session_id": "other"},
        {"starts_at": LONG_AGO + timedelta(seconds=1)},
        {"ends_at": LONG_AGO},
        {"username": "charlie", "target": "other"},
        {"until": LONG_AGO},
        {"released_at": LONG_AGO},
    ],
    ids=str,
)
@pytest.mark.parametrize("days", [{"decisions": 30}, {"decisions": 30, "events": 30}], ids=["rows", "partition"])
def test_what_no_hold_covers_goes(kept, selection, days):
    kept(**days)
    decision()
    hold(**selection)
    purge()
    assert left() == set()


def test_other_rows_of_a_partition_that_is_held_go(kept):
    kept(decisions=30, events=30)
    held = decision(username="ann")
    decision(), status_event()
    hold(username="ann")
    assert purge() == 2
    assert left() == {held.id}
    assert home(held.id) in names()


def test_a_number_is_held_however_it_was_dialled(kept):
    kept(decisions=30, events=30)
    held = decision(action="call", target="0049 30 1234", number="+49301234")
    hold(target="+49 (30) 1234")
    purge()
    assert left() == {held.id}


def test_an_event_whose_repeats_reach_into_the_time_is_held(kept):
    kept(decisions=30, events=30)
    event = decision()
    AuditEvent.objects.update(last_received_at=LONG_AGO + timedelta(hours=2))
    hold(starts_at=LONG_AGO + timedelta(hours=1))
    purge()
    assert left() == {event.id}


def test_a_hold_made_while_a_partition_was_looked_at_is_kept_to(kept):
    kept(decisions=30, events=30)
    event = decision()
    found = [step for step in steps(timezone.now()) if isinstance(step, DroppedPartition)]
    hold(username="charlie")
    for step in found:
        step.take()
    assert left() == {event.id}


def test_a_hold_waits_for_what_is_being_deleted_and_nothing_is_deleted_after_it(kept):
    """Nobody gets a hold confirmed of which something still goes."""
    kept(decisions=30)
    decision()
    (step,) = [step for step in steps(timezone.now()) if isinstance(step, retention.DeletedEvents)]
    order = []

    def make_hold():
        hold(username="charlie")
        order.append("held")
        connections.close_all()

    thread = threading.Thread(target=make_hold)
    with transaction.atomic():
        step.take()
        thread.start()
        thread.join(0.3)
        order.append("deleted")
    thread.join()
    assert order == ["deleted", "held"]


def test_dropping_waits_for_a_lock_less_than_a_second(kept, monkeypatch):
    """Somebody reads an old partition for long: others must not wait behind us, and the next run tries again."""
    monkeypatch.setattr("apps.audit.keeping.partitions.TRIES", 1)
    locked, done = threading.Event(), threading.Event()
    (oldest, *_) = partitions()

    def read():
        with connection.cursor() as cursor:
            cursor.execute(f"BEGIN; SELECT count(*) FROM {oldest.name}")
            locked.set()
            done.wait(30)
            cursor.execute("ROLLBACK")
        connections.close_all()

    thread = threading.Thread(target=read)
    thread.start()
    locked.wait(30)
    began = time.monotonic()
    with pytest.raises(Exception, match="lock timeout"):
        retention.patiently(drop, oldest)
    assert time.monotonic() - began < 3
    done.set()
    thread.join()
    assert retention.patiently(drop, oldest)
    assert oldest not in partitions()


# The command


def test_a_dry_run_says_what_would_go_and_deletes_nothing(kept):
    kept(decisions=30, events=30, staff_actions=365)
    events = {decision().id, decision(username="ann").id, decision(datetime(2025, 4, 1, tzinfo=UTC)).id}
    hold(username="ann")
    staff_action(LONG_AGO, factories.make_user())
    before = names()
    said = dry_run()
    assert "Would go: decisions before" in said
    assert f"in {TABLE}_p20250301: 1" in said
    assert f"Would go: partition {TABLE}_p20250401 (from 2025-04-01 until 2025-05-01), whole: 1" in said
    assert "Would go: actions of staff before" in said
    assert "Held: what Case 7 covers" in said
    assert (left(), names(), LogEntry.objects.count()) == (events, before, 1)


def test_a_dry_run_says_that_nothing_would_go(kept):
    kept()
    decision()
    said = dry_run()
    assert "Kept: decisions for ever (WCSGATE_KEEP_DECISIONS)" in said
    assert "Nothing would go." in said


def test_the_command_deletes_what_its_dry_run_named(kept):
    kept(decisions=30)
    decision()
    said = StringIO()
    call_command("purge_audit", stdout=said)
    assert "Done. Rows deleted, beside dropped partitions: 1." in said.getvalue()
    assert left() == set()
