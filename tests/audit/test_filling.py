"""A made-up past: for a database to be tried out on, and as right as a real one."""

import json
from collections import Counter
from datetime import UTC, date, datetime
from io import StringIO
from itertools import pairwise

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.access.reasons import Reason
from apps.accounts.models import User
from apps.audit.filling import made_up
from apps.audit.filling.made_up import Day, days
from apps.audit.ids import MARGIN, moment_of
from apps.audit.keeping.partitions import partitions
from apps.audit.locks import AdvisoryLock
from apps.audit.models import AuditEvent, Batch, received
from apps.audit.moving.mover import move_batch
from apps.audit.net import TABLE, net
from apps.audit.proving.evidence import outside_the_chain, pieces
from apps.audit.proving.verifying import Verifier
from apps.audit.statistics.models import RunningDay
from apps.connections.models import Session
from apps.live.models import Lease
from tests import factories
from tests.admin.conftest import browser_of
from tests.audit.test_mover import make_record
from tests.audit.test_partitions import database, run  # noqa: F401 - a fixture
from tests.audit.test_tallies import counted, in_the_log

UNTIL = date(2026, 11, 20)


def fill(*arguments, events=2_000):
    said = StringIO()
    call_command(
        "fill_audit", str(events), "--days", "100", "--until", str(UNTIL), "--workers", "1", *arguments, stdout=said
    )
    return said.getvalue()


def looked():
    return Verifier().look_at(pieces())


# What is made up


def test_a_day_is_the_same_again_with_the_same_seed():
    day = Day(1, UNTIL, 300).made()
    assert Day(1, UNTIL, 300).made() == day
    assert Day(2, UNTIL, 300).made().events != day.events
    assert Day(1, date(2026, 11, 19), 300).made().events != day.events


def test_all_events_of_a_day_are_of_that_day_and_in_order():
    events = Day(1, UNTIL, 2_000).made().events
    moments = [event["received_at"] for event in events]
    assert len(events) == 2_000
    assert {moment.date() for moment in moments} == {UNTIL}
    assert moments == sorted(moments)
    assert all(abs(moment_of(event["id"]) - event["received_at"]) < MARGIN for event in events)


def test_days_share_the_events_without_losing_any():
    shared = list(days(UNTIL, 365, 1_000_003))
    assert sum(count for _, count in shared) == 1_000_003
    assert (shared[0][0], shared[-1][0]) == (date(2025, 11, 20), date(2026, 11, 19))
    assert shared[-1][1] > shared[5][1] > 0


def test_bodies_are_json_of_a_usual_size_that_says_the_same():
    events = [event for event in Day(1, UNTIL, 3_000).made().events if event["method"]]
    for event in events:
        body = json.loads(event["body"])
        assert (body["nodeId"], body["sessionId"]) == (event["node_id"], event["session_id"])
    sizes = sorted(len(event["body"]) for event in events)
    assert 300 < sizes[len(sizes) // 20] < sizes[-len(sizes) // 20] < 600


def test_much_of_what_happens_in_life_happens():
    events = Day(1, UNTIL, 40_000).made().events
    reasons = {event["reason"] for event in events}
    wanted = {*made_up.AT_CONNECT, *made_up.OF_STREAMS, *made_up.OF_CALLS, Reason.ALLOWED_BY_RULE, Reason.NOT_REFUSABLE}
    assert len(wanted - reasons) < 4, wanted - reasons
    assert any(event["repeats"] for event in events)
    assert any(event["duration"] for event in events)
    assert "staff-action" in reasons
    users = Counter(event["username"] for event in events).most_common()
    assert users[0][1] > 20 * users[len(users) // 2][1]


# In the database


def test_the_record_is_whole_and_what_comes_later_goes_on_from_it(database):  # noqa: F811
    said = fill()
    assert "Made up: 2000 events of 100 days before 2026-11-20. None of this ever happened." in said
    make_record()
    assert move_batch() == 1
    found = looked()
    assert (found.problems, found.events, found.batches) == ([], 2_001, 101)
    assert outside_the_chain(0) == []
    changed = AuditEvent.objects.order_by("id")[1_000]
    run(f"UPDATE {TABLE} SET username = 'mallory' WHERE id = %s", changed.pk)
    assert looked().problems == [f"Event {changed.pk} of batch {changed.batch} was changed."]


def test_every_month_has_a_partition_of_its_own_with_all_indexes(database):  # noqa: F811
    before = indexes(partitions()[0].name)
    fill()
    counts = dict(run(f"SELECT tableoid::regclass::text, count(*) FROM {TABLE} GROUP BY 1"))
    assert sorted(counts) == [f"{TABLE}_p2026{month}01" for month in ("08", "09", "10", "11")]
    assert net().rows == 0
    known = partitions()
    assert known[0].starts_at is None
    assert all(one.ends_at == other.starts_at for one, other in pairwise(known))
    assert known[-1].ends_at > datetime.now(UTC)
    for partition in known:
        assert indexes(partition.name) == before, partition


def indexes(table):
    """What its indexes are over, and that they are parts of those of the log."""
    return run(
        """SELECT regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', ''), i.indisvalid, p.relname
            FROM pg_index i JOIN pg_inherits h ON h.inhrelid = i.indexrelid JOIN pg_class p ON p.oid = h.inhparent
            WHERE i.indrelid = %s::regclass ORDER BY 1, 3""",
        table,
    )


def test_what_ran_has_leases_and_sessions(database):  # noqa: F811
    fill("--people")
    lately = received(since=datetime(2026, 11, 1, tzinfo=UTC))
    event = AuditEvent.objects.filter(lately, duration__isnull=False, method="StreamStatusEvent").first()
    lease = Lease.objects.get(session_id=event.session_id, key=event.media_session_id)
    assert lease.ended_at - lease.started_at == event.duration
    session = Session.objects.get(session_id=event.session_id)
    assert session.username == event.username
    assert event.user_id == User.objects.filter(username=event.username).values_list("id", flat=True).first()
    assert event.stream.name == event.target


def test_statistics_know_of_it(database):  # noqa: F811
    fill()
    assert counted()[1:] == in_the_log(timezone.get_default_timezone())[1:]
    assert RunningDay.objects.filter(action="play", day=date(2026, 11, 18), began__gt=0).exists()


def test_its_pages_are_there(database):  # noqa: F811
    fill()
    browser = browser_of(factories.make_user("root", is_staff=True, is_superuser=True))
    event = AuditEvent.objects.filter(method="playStream").first()
    for address in ("", f"?q=user:{event.username}", f"?q=stream:{event.target}+decision:refused", "?p=oldest"):
        assert browser.get(f"/admin/audit/auditevent/{address}").status_code == 200, address
    assert browser.get(f"/admin/audit/auditevent/{event.pk}/change/").status_code == 200


def test_several_processes_write_the_same(database):  # noqa: F811
    fill("--workers", "2", events=300)
    batches = list(Batch.objects.order_by("number").values_list("hash", flat=True))
    assert looked().problems == []
    AuditEvent.objects.all().delete()
    for model in (Batch, Lease, Session):
        model.objects.all().delete()
    fill(events=300)
    assert list(Batch.objects.order_by("number").values_list("hash", flat=True)) == batches


# Where it is not to be


def test_a_log_with_events_is_filled_only_when_told_so(database):  # noqa: F811
    make_record()
    move_batch()
    with pytest.raises(CommandError, match="has events already"):
        fill()
    fill("--more", events=200)
    found = looked()
    assert (found.problems, found.events) == ([], 201)


def test_production_is_never_filled(db, settings):
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="is to be true"):
        fill()


def test_nobody_moves_meanwhile_and_everybody_can_afterwards(database, monkeypatch):  # noqa: F811
    held = []

    def count(*arguments):
        held.append(holders())
        return write(*arguments)

    from apps.audit.filling import fill as filling

    write = filling.write_day
    monkeypatch.setattr(filling, "write_day", count)
    fill(events=100)
    assert set(held) == {1}
    assert holders() == 0


def holders():
    """How many have the lock under which batches are written."""
    return run(
        """SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
        AdvisoryLock.BATCHES,
    )[0][0]
