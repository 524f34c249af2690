"""While some of the audit log is put in place, and so is not found, nobody says or writes what would be untrue."""

import threading
import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections, transaction
from django.utils import timezone

from apps.access.then import NotRecorded
from apps.audit.asking.past import past
from apps.audit.exporting import exports
from apps.audit.exporting.export import in_chunks
from apps.audit.exporting.feed import BEGINNING, page
from apps.audit.exporting.models import State
from apps.audit.keeping.partitions import make_ahead, put_in_place
from apps.audit.models import AuditEvent, BadRecord, Batch, ChangeRecord, HookRecord
from apps.audit.moving.changes import move_changes
from apps.audit.moving.mover import move_batch
from apps.audit.net import ASIDE, IS_ASIDE, TABLE, BeingPutInPlace, Net, is_whole, net
from apps.audit.recording.recorder import new_id
from apps.audit.tasks import move_records
from tests import factories
from tests.admin.conftest import browser_of
from tests.audit.test_mover import make_record
from tests.audit.test_partitions import at, lay_out, run

LATER = time.monotonic() + 100_000
LONG_AGO = at("2026-03-03")


@pytest.fixture
def aside(transactional_db):
    """An event that was moved while it had no partition, and waits to be put in place; gives its id."""
    factories.make_node()
    make_ahead(timezone.now())
    move_changes()
    run(f"DROP TABLE {TABLE}_first")
    Batch.objects.all().delete()
    record = make_record(id=new_id(LONG_AGO), received_at=LONG_AGO)
    assert move_batch() == 1
    make_ahead(timezone.now())
    assert net() == Net(0, being_moved=True)
    yield record.id
    AuditEvent.objects.all().delete()
    lay_out()
    make_ahead(timezone.now())


@pytest.fixture
def root(aside, settings):
    settings.WHITENOISE_AUTOREFRESH = True  # no static files were collected
    return factories.make_user("root", is_staff=True, is_superuser=True)


def said_by(command, *arguments):
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


# Saying


def test_the_feed_waits_and_skips_nothing(aside):
    with pytest.raises(BeingPutInPlace, match="not found until then"):
        page(BEGINNING, 10)
    put_in_place(LATER)
    assert [item["id"] for item in page(BEGINNING, 10).items] == [aside]


def test_readers_of_the_feed_are_told_when_to_ask_again(root):
    response = browser_of(root).get("/api/v1/audit")
    assert (response.status_code, response.json()["error"]) == (503, "being-put-in-place")
    assert response["Retry-After"] == "10"
    put_in_place(LATER)
    assert browser_of(root).get("/api/v1/audit").status_code == 200


def test_an_export_in_the_background_waits(root):
    move_changes()
    export = exports.ask(root, "", "csv", timezone.now())
    soon = timezone.now() + timedelta(seconds=10)
    assert exports.work(soon, LATER) == 0
    export.refresh_from_db()
    assert export.state == State.WAITING
    put_in_place(LATER)
    ChangeRecord.objects.all().delete()
    exports.work(soon, LATER)
    export.refresh_from_db()
    assert (export.state, export.rows) == (State.READY, 1)


def test_a_download_says_so_at_once(root):
    response = browser_of(root).get("/admin/audit/auditevent/export/?format=csv")
    assert (response.status_code, response["Retry-After"]) == (503, "60")
    assert "Some audit events are being put in place" in response.content.decode()


def test_a_download_that_has_begun_breaks_off_and_does_not_look_whole(aside):
    put_in_place(LATER)
    taken = in_chunks(AuditEvent.objects.all(), chunk=1)
    assert next(taken).id == aside
    run(f"CREATE TABLE {ASIDE} (LIKE {TABLE})")
    with pytest.raises(BeingPutInPlace):
        next(taken)


def test_nothing_is_taken_for_missing_by_whoever_verifies(aside):
    with pytest.raises(CommandError, match="Come back in a few minutes"):
        said_by("verify_audit")
    put_in_place(LATER)
    assert "The record is whole and untouched" in said_by("verify_audit")


def test_no_file_of_evidence_is_written_without_them(aside, tmp_path):
    file = tmp_path / "evidence"
    with pytest.raises(CommandError, match="Come back in a few minutes"):
        said_by("export_evidence", str(file))
    assert not file.exists()


def test_nothing_is_accepted_as_all_there_is(aside):
    with pytest.raises(CommandError, match="Come back in a few minutes"):
        said_by("seal_audit", "--accept")


def test_what_was_is_not_said_without_what_was_changed(aside):
    with pytest.raises(NotRecorded, match="Come back in a few minutes"), past():
        raise AssertionError("It is known.")
    put_in_place(LATER)
    with past():
        assert is_whole_now()


def is_whole_now():
    with transaction.atomic():
        return is_whole()


# Writing


def test_a_record_that_comes_back_meanwhile_is_the_event_that_it_was(aside):
    make_record(id=aside, received_at=LONG_AGO)
    assert move_batch() == 0
    assert HookRecord.objects.exists()
    put_in_place(LATER)
    assert move_batch() == 1
    assert list(AuditEvent.objects.values_list("id", "batch", "repeats")) == [(aside, 1, 0)]
    assert "The record is whole and untouched" in said_by("verify_audit")


def test_changes_wait_too(aside):
    factories.make_user("alice")
    assert move_changes() == 0
    assert ChangeRecord.objects.exists()


def test_workers_put_in_place_what_keeps_them_from_moving(aside):
    make_record(1)
    move_records()
    assert not net().being_moved
    assert not HookRecord.objects.exists()
    assert AuditEvent.objects.filter(id=aside).exists()


def test_of_two_with_one_id_neither_is_thrown_away(aside, caplog):
    """And nothing stands still until somebody has looked."""
    run(f"INSERT INTO {TABLE} SELECT * FROM {ASIDE}")
    make_record(1)
    move_records()
    assert (net().being_moved, HookRecord.objects.exists()) == (False, False)
    (told,) = [one for one in caplog.records if f"{aside} is in the audit log already" in one.getMessage()]
    assert told.levelname == "CRITICAL"
    assert AuditEvent.objects.filter(id=aside).exists()
    assert BadRecord.objects.get().id == aside


# Seeing that it is whole


def elsewhere(do):
    """What is done by another connection, in a thread of its own; gives what it raised."""
    raised = []

    def run_there():
        try:
            do()
        except Exception as error:
            raised.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run_there)
    thread.start()
    thread.join()
    return raised


def test_what_is_whole_stays_whole_until_the_transaction_ends(aside, monkeypatch):
    put_in_place(LATER)
    late = at("2026-02-03")
    make_record(2, id=new_id(late), received_at=late)
    move_batch()
    with transaction.atomic():
        assert is_whole()
        (error,) = elsewhere(lambda: make_ahead(timezone.now()))
        assert isinstance(error, OperationalError), "it waits for its lock, and gives up"
    assert elsewhere(lambda: make_ahead(timezone.now())) == []
    assert net().being_moved


def test_who_reads_as_of_a_moment_is_told_of_that_moment(aside):
    with transaction.atomic():
        run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        assert not AuditEvent.objects.exists()
        assert elsewhere(lambda: put_in_place(LATER)) == []
        assert not AuditEvent.objects.exists()
        assert run(f"SELECT {IS_ASIDE}") == [(True,)]
    assert run(f"SELECT {IS_ASIDE}") == [(False,)]
