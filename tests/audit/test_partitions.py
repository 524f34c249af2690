"""The partitions of the audit log: made out of what was there, made ahead, in either size; and the net below them."""

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connection, connections, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.audit.apps import _keep_partitions
from apps.audit.ids import first_id, moment_of
from apps.audit.keeping import partitions
from apps.audit.keeping.partitions import Partition, boundary_after, make_ahead, put_in_place
from apps.audit.models import AuditEvent, BadRecord, received
from apps.audit.moving.mover import move_batch, try_again
from apps.audit.net import ASIDE, NET, TABLE, Net, net
from apps.audit.recording.recorder import new_id
from apps.audit.tasks import keep_partitions
from tests import factories
from tests.admin.conftest import browser_of, make_event
from tests.audit.test_mover import make_record

LATER = time.monotonic() + 100_000
BEFORE, NOW_ON = [("audit", "0006_answered_while_away")], [("audit", "0007_partitions")]


def run(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else None


def migrate(targets):
    MigrationExecutor(connection).migrate(targets)


def home(event_id):
    """The partition that an event is in."""
    return run(f"SELECT tableoid::regclass::text FROM {TABLE} WHERE id = %s", event_id)[0][0]


def spans():
    return [(known.starts_at, known.ends_at) for known in partitions.partitions()]


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def lay_out():
    """The partitions as the migration leaves them: the first one, and the net."""
    run(f"DROP TABLE IF EXISTS {ASIDE}")
    for known in partitions.partitions():
        run(f"DROP TABLE {known.name}")
    run(f"CREATE TABLE {TABLE}_first (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    until = first_id(boundary_after(timezone.now()))
    run(f"ALTER TABLE {TABLE} ATTACH PARTITION {TABLE}_first FOR VALUES FROM (MINVALUE) TO ('{until}')")


@pytest.fixture
def database(transactional_db):
    """A database to commit to; its partitions are afterwards what they were before."""
    yield
    AuditEvent.objects.all().delete()
    lay_out()
    make_ahead(timezone.now())


@pytest.fixture
def migrating(database):
    """A database to migrate back and forth."""
    yield
    migrate(MigrationExecutor(connection).loader.graph.leaf_nodes("audit"))


@pytest.fixture
def bare(database):
    lay_out()


def test_the_log_is_read_while_its_indexes_are_built(migrating):
    migrate([("audit", "0013_counted")])
    loader = MigrationExecutor(connection).loader
    sql = loader.collect_sql([(loader.get_migration("audit", "0014_indexes_for_pages"), False)])
    built = 0
    with transaction.atomic():
        for statement in sql:
            if statement.startswith(("ALTER", "CREATE", "DROP")):
                run(statement)
            if statement.startswith("CREATE"):
                built += 1
                locks = {mode for (mode,) in run("SELECT mode FROM pg_locks WHERE relation = %s::regclass", TABLE)}
                assert "AccessExclusiveLock" not in locks, statement
        transaction.set_rollback(True)
    assert built == 5


# Times in ids


def test_the_time_of_an_id_is_that_of_its_hook():
    now = timezone.now()
    assert abs(moment_of(new_id(now)) - now) <= timedelta(milliseconds=2)
    assert first_id(now) <= new_id(now + timedelta(milliseconds=2))
    assert new_id(now - timedelta(milliseconds=2)) < first_id(now)


@pytest.mark.parametrize("absurd", [UUID(int=2**128 - 1), UUID(int=0)])
def test_an_id_that_is_none_of_ours_has_some_time(absurd):
    assert moment_of(absurd).year in (1970, 9999)


@pytest.mark.parametrize("moment", [datetime.min, datetime.max])
def test_the_first_and_last_of_all_moments_can_be_looked_for(db, moment):
    moment = moment.replace(tzinfo=UTC)
    assert not AuditEvent.objects.filter(received(since=moment, before=moment)).exists()


def test_the_database_makes_the_same_first_ids(db):
    for moment in (at("2026-11-26T12:34:56.789"), at("1970-01-01"), at("9999-12-31")):
        assert run("SELECT audit_first_id(%s)", moment) == [(first_id(moment),)]


# The migration


def indexes(table):
    """The indexes of a table, told without its name and theirs."""
    found = run("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", table)
    return {name: definition.partition(" USING ")[2] for name, definition in found}


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "with rows"])
def test_a_log_becomes_partitioned_and_one_table_again_without_a_loss(migrating, filled):
    events = [make_event(received_at=timezone.now() - timedelta(days=days)) for days in range(0, 400, 40) if filled]
    migrate(BEFORE)
    before = indexes(TABLE)
    rows = run(f"SELECT * FROM {TABLE} ORDER BY id")
    place = run("SELECT relfilenode FROM pg_class WHERE relname = %s", TABLE)

    migrate(NOW_ON)
    assert run(f"SELECT * FROM {TABLE} ORDER BY id") == rows
    assert {home(event.id) for event in events} <= {f"{TABLE}_first"}
    assert run("SELECT relfilenode FROM pg_class WHERE relname = %s", f"{TABLE}_first") == place, "no row was moved"
    assert indexes(TABLE) == before, "later migrations find them by their names"
    assert sorted(indexes(f"{TABLE}_first").values()) == sorted(before.values())
    assert sorted(indexes(NET).values()) == sorted(before.values())
    assert run("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
    assert not run("SELECT 1 FROM pg_constraint WHERE conname = 'audit_first_partition'")

    migrate(BEFORE)
    assert run(f"SELECT * FROM {TABLE} ORDER BY id") == rows
    assert indexes(TABLE) == before


def test_the_first_partition_ends_with_the_month(migrating):
    migrate(BEFORE)
    migrate(NOW_ON)
    ((begins, ends),) = spans()
    assert begins is None
    assert ends in (boundary_after(timezone.now()), boundary_after(timezone.now() + timedelta(hours=1)))


def test_a_row_from_the_future_is_kept_in_the_net(migrating):
    event = make_event(received_at=timezone.now() + timedelta(days=400))
    migrate(BEFORE)
    migrate(NOW_ON)
    assert home(event.id) == NET


def test_what_an_interrupted_migration_left_is_taken_back(migrating):
    event = make_event()
    migrate(BEFORE)
    run(f"CREATE TABLE {NET} (LIKE {TABLE} INCLUDING DEFAULTS)")
    run(f"WITH stray AS (DELETE FROM {TABLE} RETURNING *) INSERT INTO {NET} SELECT * FROM stray")
    run(f"ALTER TABLE {TABLE} ADD CONSTRAINT audit_first_partition CHECK (id < '{UUID(int=1)}') NOT VALID")
    migrate(NOW_ON)
    assert home(event.id) == f"{TABLE}_first"


def test_what_later_migrations_add_is_in_every_partition(database):
    field = models.TextField(null=True)
    field.set_attributes_from_name("mood")
    index = models.Index(fields=["status"], name="audit_by_mood")
    with connection.schema_editor() as editor:
        editor.add_field(AuditEvent, field)
        editor.add_index(AuditEvent, index)
    try:
        tables = [known.name for known in partitions.partitions()]
        assert make_ahead(timezone.now() + timedelta(days=40)), "and in those that are made then"
        for table in (*tables, *(known.name for known in partitions.partitions()), NET):
            assert run("SELECT 1 FROM information_schema.columns WHERE table_name = %s AND column_name = 'mood'", table)
            assert "btree (status)" in indexes(table).values(), table
    finally:
        with connection.schema_editor() as editor:
            editor.remove_index(AuditEvent, index)
            editor.remove_field(AuditEvent, field)


# Made ahead


def test_whoever_migrates_has_partitions_ahead(bare):
    _keep_partitions()
    now = timezone.now()
    assert sum(begins is not None and begins > now for begins, _ in spans()) >= 2
    assert home(make_event(received_at=now + timedelta(days=60)).id) != NET


def test_partitions_follow_each_other_and_are_made_once(bare):
    now = timezone.now()
    made = make_ahead(now)
    assert [partition.name for partition in made] == [f"{TABLE}_p{partition.starts_at:%Y%m%d}" for partition in made]
    assert all(ends == begins for (_, ends), (begins, _) in zip(spans(), spans()[1:], strict=False))
    assert all(partition.ends_at == boundary_after(partition.starts_at) for partition in made)
    assert make_ahead(now) == []
    assert len(make_ahead(boundary_after(now))) == 1


@pytest.mark.parametrize(
    ("size", "moment", "boundary"),
    [
        ("month", "2026-12-31T23:59", "2027-01-01"),
        ("month", "2028-02-01", "2028-03-01"),
        ("day", "2026-12-31T23:59", "2027-01-01"),
        ("day", "2028-02-28", "2028-02-29"),
    ],
)
def test_a_partition_ends_with_its_month_or_its_day(settings, size, moment, boundary):
    settings.AUDIT_PARTITION = size
    assert boundary_after(at(moment)) == at(boundary)


def test_another_size_holds_from_the_next_boundary_on_and_back(bare, settings):
    now = timezone.now()
    make_ahead(now)
    current = spans()[0]
    settings.AUDIT_PARTITION = "day"
    make_ahead(now)
    assert spans()[0] == current, "what is in use stays as it is"
    assert spans()[-1][1] >= now + timedelta(days=14)
    assert {ends - begins for begins, ends in spans()[1:]} == {timedelta(days=1)}
    settings.AUDIT_PARTITION = "month"
    make_ahead(now)
    assert spans()[0] == current
    assert all(ends == boundary_after(begins) for begins, ends in spans()[1:])


def test_a_partition_with_rows_is_kept_when_the_size_changes(bare, settings):
    now = timezone.now()
    make_ahead(now)
    ahead = partitions.partitions()[1]
    event = make_event(received_at=ahead.starts_at + timedelta(days=2))
    settings.AUDIT_PARTITION = "day"
    make_ahead(now)
    assert ahead in partitions.partitions()
    assert home(event.id) == ahead.name


def test_who_waits_for_a_lock_gives_up_before_a_second_and_tries_again(bare, monkeypatch):
    """Where somebody reads the log for long, whoever comes then must not wait behind us."""
    monkeypatch.setattr(partitions, "TRIES", 2)
    locked, done = threading.Event(), threading.Event()

    def hold():
        with connection.cursor() as cursor:
            cursor.execute(f"BEGIN; LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
            locked.set()
            done.wait(30)
            cursor.execute("ROLLBACK")
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait(30)
    began = time.monotonic()
    with pytest.raises(OperationalError, match="lock timeout"):
        partitions.patiently(make_ahead, timezone.now())
    took = time.monotonic() - began
    done.set()
    thread.join()
    assert 2 * 0.5 <= took < 2 * 2
    assert partitions.patiently(make_ahead, timezone.now())


# The net


@pytest.fixture
def root(bare, settings):
    settings.WHITENOISE_AUTOREFRESH = True  # no static files were collected
    return browser_of(factories.make_user("root", is_staff=True, is_superuser=True))


@pytest.fixture
def fallen(bare):
    """Five events of the month after next, for which no partition was made in time."""
    starts_at = boundary_after(boundary_after(timezone.now()))
    return [make_event(received_at=starts_at + timedelta(hours=number)) for number in range(5)]


def test_what_has_no_partition_falls_into_the_net_and_is_found(fallen):
    assert {home(event.id) for event in fallen} == {NET}
    assert AuditEvent.objects.filter(received(since=fallen[3].received_at)).count() == 2
    assert str(net()).startswith("5 audit events are in the default partition")


def test_the_net_alarms_in_the_log_metrics_readiness_and_on_the_dashboard(fallen, root, monkeypatch, caplog):
    monkeypatch.setattr(partitions, "make_ahead", lambda now: [])
    with caplog.at_level(logging.ERROR):
        keep_partitions()
    assert "5 audit events are in the default partition" in caplog.text
    assert "wcsgate_audit_outside_partitions 5.0" in Client().get("/metrics").content.decode()
    assert Client().get("/readyz").json()["audit_outside_partitions"] == 5
    assert "5 audit events are in the default partition" in root.get("/admin/").content.decode()


def test_nothing_alarms_where_the_net_is_empty(bare, root, caplog):
    keep_partitions()
    assert "partition" not in "".join(record.message for record in caplog.records if record.levelno >= logging.WARNING)
    assert "wcsgate_audit_outside_partitions 0.0" in Client().get("/metrics").content.decode()
    assert "default partition" not in root.get("/admin/").content.decode()


def test_what_fell_into_the_net_is_put_in_place_in_batches(fallen):
    rows = run(f"SELECT * FROM {TABLE} ORDER BY id")
    make_ahead(timezone.now())
    assert net().being_moved
    progress = []
    assert put_in_place(LATER, batch=2, said=progress.append) == 5
    assert progress == [2, 4, 5]
    assert not net()
    assert {home(event.id) for event in fallen} == {f"{TABLE}_p{fallen[0].received_at:%Y%m%d}"}
    assert run(f"SELECT * FROM {TABLE} ORDER BY id") == rows


def test_putting_in_place_goes_on_where_it_was_interrupted(fallen):
    make_ahead(timezone.now())
    assert put_in_place(time.monotonic() - 1) == 0
    assert net().being_moved
    keep_partitions()
    assert not net()
    assert AuditEvent.objects.count() == 5


def make_twin(event):
    """Another event with the same id, as somebody writes it into the log by hand."""
    twin = AuditEvent.objects.get(pk=make_event(received_at=event.received_at, username="mallory").pk)
    AuditEvent.objects.filter(pk=twin.pk).update(id=event.pk)
    return AuditEvent.objects.get(pk=event.pk)


def test_of_two_events_with_one_id_one_is_put_aside_and_stops_nothing(fallen, caplog):
    """As where somebody has put a row into the log by hand."""
    kept = run(f"SELECT * FROM {TABLE} WHERE id = %s", fallen[2].id)
    make_ahead(timezone.now())
    forged = make_twin(fallen[2])
    keep_partitions()
    assert not net()
    assert AuditEvent.objects.count() == 5
    assert AuditEvent.objects.get(id=forged.id).username == "mallory"
    assert f"Event {forged.id} is in the audit log already" in caplog.text
    aside = BadRecord.objects.get()
    assert (aside.id, aside.record["username"]) == (forged.id, fallen[2].username)
    assert "Run verify_audit" in aside.problem
    assert try_again([aside.id]) == 0, "as long as the other one is there"
    assert BadRecord.objects.filter(id=aside.id).exists()
    AuditEvent.objects.filter(id=forged.id).delete()
    assert try_again([aside.id]) == 1
    assert run(f"SELECT * FROM {TABLE} WHERE id = %s", fallen[2].id) == kept
    assert not BadRecord.objects.exists()


def test_an_event_is_put_aside_beside_a_record_of_its_id_that_is_there_already(fallen):
    BadRecord.objects.create(id=fallen[2].id, record={"id": str(fallen[2].id)}, problem="")
    make_ahead(timezone.now())
    make_twin(fallen[2])
    keep_partitions()
    assert not net()
    assert BadRecord.objects.filter(record__id=str(fallen[2].id)).count() == 2


def test_what_cannot_be_in_the_log_stops_moving_and_is_not_lost(fallen, caplog):
    """As where its table was altered by hand."""
    make_ahead(timezone.now())
    run(f"ALTER TABLE {TABLE} ADD CONSTRAINT no_bobs CHECK (username <> %s)", fallen[2].username)
    keep_partitions()
    assert net().being_moved
    assert "cannot be in the audit log" in caplog.text
    run(f"ALTER TABLE {TABLE} DROP CONSTRAINT no_bobs")
    keep_partitions()
    assert AuditEvent.objects.count() == 5


def test_what_falls_into_the_net_while_it_is_emptied_waits_for_its_turn(fallen):
    make_ahead(timezone.now())
    run(f"DROP TABLE {TABLE}_first")
    late = make_event(received_at=at("2026-03-03"))
    assert make_ahead(timezone.now()) == []
    assert net() == Net(1, being_moved=True)
    keep_partitions()
    assert not net()
    assert home(late.id) == f"{TABLE}_p20260301"
    assert AuditEvent.objects.count() == 6


def test_what_is_from_long_before_the_first_partition_gets_one(bare):
    make_ahead(timezone.now())
    run(f"DROP TABLE {TABLE}_first")
    events = [make_event(received_at=at(text)) for text in ("2026-03-03", "2026-03-30", "2025-12-01")]
    keep_partitions()
    assert [home(event.id) for event in events] == [f"{TABLE}_p{month}01" for month in ("202603", "202603", "202512")]
    assert not net()


def test_what_has_an_absurd_id_stays_in_the_net_and_keeps_no_partition_from_being_made(fallen):
    absurd = AuditEvent.objects.get(pk=fallen[0].pk)
    absurd.pk = UUID(int=2**128 - 1)
    absurd.save(force_insert=True)
    keep_partitions()
    assert net() == Net(1, being_moved=False)
    assert home(absurd.pk) == NET
    assert keep_partitions() == 0, "and it is not moved around for ever"


# Whoever looks for a time looks into its partitions alone


def looked_into(queryset):
    """The partitions that a plan reads."""
    plan = queryset.explain()
    return {known.name for known in partitions.partitions() if known.name in plan} | ({NET} if NET in plan else set())


@pytest.fixture
def years(bare):
    """A log that has run for long: the first partition is gone, some old months are there, and those of now."""
    run(f"ALTER TABLE {TABLE} DETACH PARTITION {TABLE}_first; DROP TABLE {TABLE}_first")
    begins = boundary_after(timezone.now() - timedelta(days=120))
    months = [at("2025-03-01"), at("2025-04-01"), at("2025-05-01")]
    while begins < timezone.now() + timedelta(days=40):
        months.append(begins)
        begins = boundary_after(begins)
    for month in months:
        partitions._make(Partition(f"{TABLE}_p{month:%Y%m%d}", month, boundary_after(month)))


def test_a_time_is_looked_for_in_its_partitions_alone(years):
    events = AuditEvent.objects.filter(received(at("2025-03-02"), at("2025-04-02")))
    assert looked_into(events) == {f"{TABLE}_p20250301", f"{TABLE}_p20250401"}
    assert len(looked_into(AuditEvent.objects.all())) == len(partitions.partitions()) + 1


def test_one_event_is_looked_for_in_one_partition(years):
    assert looked_into(AuditEvent.objects.filter(pk=new_id(at("2025-03-02")))) == {f"{TABLE}_p20250301"}


def test_moving_records_looks_into_no_old_partitions(years):
    make_record()
    move_batch()
    make_record(seconds=1)
    make_record(2, action="call", call_id="C1")
    with CaptureQueriesContext(connection) as queries:
        move_batch()
    about = [
        query["sql"] for query in queries if TABLE in query["sql"] and query["sql"].startswith(("SELECT", "UPDATE"))
    ]
    assert len(about) >= 3
    for sql in about:
        plan = "\n".join(line for (line,) in run(f"EXPLAIN {sql.replace('%', '%%')}"))
        assert f"{TABLE}_p2025" not in plan, sql
    assert AuditEvent.objects.order_by("received_at").first().repeats == 1


def test_an_event_counts_repeats_for_a_day_and_then_there_is_a_new_one(database, settings):
    settings.REPEAT_WINDOW = 3600
    first_at = timezone.now() - timedelta(hours=30)
    for hours in range(30):
        received_at = first_at + timedelta(hours=hours)
        make_record(id=new_id(received_at), received_at=received_at)
        move_batch()
    assert list(AuditEvent.objects.order_by("received_at").values_list("repeats", flat=True)) == [24, 4]


def test_a_record_with_an_id_of_any_kind_can_be_moved(database):
    make_record(id=uuid4())
    assert move_batch() == 1
    assert not run("SELECT 1 FROM audit_hookrecord")
