"""Sealing by several machines, and whatever odd stands beside seals: nothing is signed, or stopped, unseen."""

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from apps.audit.exporting.feed import newest_seal
from apps.audit.management.commands import export_evidence
from apps.audit.models import AuditEvent, Batch, Seal
from apps.audit.moving.batches import append, next_number
from apps.audit.moving.mover import move_batch
from apps.audit.proving import signing
from apps.audit.proving.evidence import at_one_moment
from apps.audit.proving.seals import piece_of, seal, sealing
from apps.audit.proving.signing import Sealed, SealPiece, carrying_on, is_seal, name_of
from apps.audit.recording.recorder import new_id
from tests.admin.conftest import make_event
from tests.audit.test_evidence import (  # noqa: F401 - fixtures
    KEY,
    OTHER_KEY,
    as_setting,
    cut_off,
    later,
    made_anew,
    record,
    run,
    sealed_twice,
    verify,
    written,
)
from tests.audit.test_mover import make_record


@pytest.fixture
def at(settings, tmp_path):
    """On another machine: with a folder of its own, "" being none, and other keys where they are given."""
    here = settings.SPOOL

    @contextmanager
    def on(machine, *keys):
        before = settings.SPOOL, settings.SEAL_KEYS
        settings.SPOOL = here if machine == "here" else machine and str(tmp_path / machine)
        settings.SEAL_KEYS = [as_setting(key) for key in keys] or settings.SEAL_KEYS
        yield
        settings.SPOOL, settings.SEAL_KEYS = before

    return on


def come(number):
    """One more batch."""
    make_record(number, media_session_id=f"later-{number}")
    move_batch()


def trouble():
    return sealing(timezone.now()).trouble


def accept():
    call_command("seal_audit", "--accept", stdout=StringIO())


@pytest.mark.usefixtures("sealed_twice")
def test_what_a_machine_without_seals_signs_silences_no_other(at, caplog):
    """Somebody made the record anew, and a new machine believes the seals of the database, of which there are none."""
    gone = Seal.objects.order_by("-batch").first()
    made_anew()
    assert f"The seal of batch {gone.batch}" in trouble()
    with later(0.5), at("there"):
        assert seal(timezone.now()), "it cannot know"
    come(50)
    with later(2):
        assert seal(timezone.now()) is None
        assert f"The seal of batch {gone.batch}" in trouble()
    with later(3), at("there"):
        assert seal(timezone.now())
    with later(4):
        assert seal(timezone.now()) is None
        assert f"The seal of batch {gone.batch}" in trouble()


@pytest.mark.usefixtures("sealed_twice")
def test_a_restored_backup_is_accepted_by_each_machine_for_itself(at):
    first = Seal.objects.order_by("batch").first()
    with at("there"):
        assert seal(timezone.now()) is None, "it was, today"
    cut_off(first.batch)
    come(50)
    accept()
    assert trouble() == ""
    with later(2), at("there"):
        assert "no longer in the database" in trouble()
        assert seal(timezone.now()) is None
        accept()
        assert trouble() == ""
    come(51)
    with later(3), at("there"):
        assert seal(timezone.now())
    come(52)
    with later(4):
        assert seal(timezone.now())
        assert trouble() == ""
        assert "The record is whole" in verify()


@pytest.mark.usefixtures("sealed_twice")
@pytest.mark.parametrize("machine", ["there", ""])
def test_a_past_that_nobody_vouches_for_is_not_sealed_as_the_first(at, machine, caplog):
    Seal.objects.all().delete()
    with later(3), at(machine):
        assert seal(timezone.now()) is None
        assert "never been sealed" in caplog.text
        assert "never been sealed" in trouble()
        accept()
        assert trouble() == ""
        assert seal(timezone.now()) is None, "once a day"
        assert Seal.objects.get().batch == Batch.objects.order_by("-number").first().number


@pytest.mark.usefixtures("sealed_twice")
def test_a_machine_that_does_not_know_a_new_key_seals_nothing_beside_it(at, caplog):
    with at("there"):
        assert seal(timezone.now()) is None
    come(50)
    with later(2), at("here", OTHER_KEY, KEY):
        new = seal(timezone.now())
        assert new is not None
    come(51)
    with later(3), at("there", KEY):
        assert seal(timezone.now()) is None
        assert "which is none of WCSGATE_SEAL_KEYS here" in caplog.text
    with later(3), at("there", KEY, OTHER_KEY):
        assert seal(timezone.now())
    with at("here", KEY, OTHER_KEY):
        assert "4 seals are good" in verify()


@pytest.mark.usefixtures("sealed_twice")
def test_a_clock_that_is_a_day_behind_seals_nothing_in_turns():
    come(50)
    with later(2):
        assert seal(timezone.now())
    come(51)
    with later(1):
        assert seal(timezone.now()) is None


ODD = {
    "infinity": '{"batch":Infinity,"hash":"","key":"","made_at":"2026-01-01T00:00:00Z","previous":null}',
    "deep": "[" * 100_000,
    "no object": "[]",
    "far": '{"batch":1e400,"hash":"","key":"","made_at":"2026-01-01T00:00:00Z","previous":null}',
    "long": '{"batch":' + "9" * 5000 + ',"hash":"","key":"","made_at":"2026-01-01T00:00:00Z","previous":null}',
    "no moment": '{"batch":1,"hash":"","key":"","made_at":"0001-01-01T00:00:00+14:00","previous":null}',
    "surrogate": '{"batch":1,"hash":"00","key":"00","made_at":"2026-11-26\\ud80010:00:00+00:00","previous":null}',
    "markup": '{"batch":1,"hash":"00","key":"<b>","made_at":"2026-01-01T00:00:00.000000Z","previous":null}',
    "number": '{"batch":1,"hash":"","key":"","made_at":7,"previous":null}',
}


@pytest.mark.parametrize("line", ODD.values(), ids=list(ODD))
def test_what_is_no_seal_is_none(line):
    assert not is_seal(SealPiece(line.encode(), b""))


@pytest.mark.usefixtures("sealed_twice")
@pytest.mark.parametrize("line", ODD.values(), ids=list(ODD))
def test_a_row_that_is_no_seal_stops_nothing_and_is_told(line, caplog):
    run("INSERT INTO audit_seal (batch, made_at, line, signature) VALUES (99, 'infinity', %s, '')", line)
    come(50)
    with later(2):
        made = seal(timezone.now())
        assert made is not None
        assert "1 seals in the database" in caplog.text
        assert newest_seal()["line"] == made.line
        with pytest.raises(CommandError, match="A seal cannot be read"):
            verify()


@pytest.mark.usefixtures("sealed_twice")
def test_what_stands_beside_a_seal_is_not_believed(caplog):
    first = Seal.objects.order_by("batch").first()
    run("UPDATE audit_seal SET batch = 9000000000 WHERE id = %s", first.pk)
    run("UPDATE audit_seal SET made_at = 'infinity'")
    come(50)
    with later(2):
        assert seal(timezone.now())
        assert seal(timezone.now()) is None, "once a day"
        assert newest_seal()["line"] == Seal.objects.only("line").order_by("-pk").first().line
        assert trouble() == ""
    with later(3):
        assert "3 seals are good" in verify()


@pytest.mark.usefixtures("sealed_twice")
def test_a_moment_that_there_is_not_stops_no_seal_and_is_told(tmp_path):
    come(50)
    newest = Batch.objects.order_by("-number").first().number
    run("UPDATE audit_batch SET moved_at = 'infinity' WHERE number = %s", newest)
    with pytest.raises(CommandError, match="is what nobody can read"):
        verify()
    with pytest.raises(CommandError, match="is what nobody can read"):
        written(tmp_path / "evidence")
    with later(2):
        assert seal(timezone.now())
    with later(3):
        assert trouble() == f"Batch {newest} is not what was sealed on {Sealed.read(piece_of_last().line).made_at}."


def piece_of_last():
    return piece_of(Seal.objects.order_by("-pk").first())


@pytest.mark.usefixtures("sealed_twice")
@pytest.mark.parametrize("moment", ["2100-01-01", "infinity", "2001-01-01"])
def test_that_nothing_is_sealed_is_told_whatever_moments_batches_say(moment):
    come(50)
    run("UPDATE audit_batch SET moved_at = %s WHERE number = (SELECT max(number) FROM audit_batch)", moment)
    with later(4):
        assert "has not been sealed since" in trouble()


@pytest.mark.usefixtures("sealed_twice")
def test_what_comes_after_a_long_silence_is_late_only_after_a_while():
    with later(30):
        come(50)
        assert trouble() == ""
    with later(31):
        assert "has not been sealed since" in trouble()


@pytest.mark.usefixtures("sealed_twice")
def test_an_export_of_evidence_during_which_a_seal_is_made_is_signed(tmp_path, monkeypatch):
    come(50)

    def in_between():
        with later(2):
            assert seal(timezone.now())
        connections.close_all()

    @contextmanager
    def with_a_seal_in_between():
        with at_one_moment():
            other = threading.Thread(target=in_between)
            other.start()
            other.join()
            yield

    monkeypatch.setattr(export_evidence, "at_one_moment", with_a_seal_in_between)
    assert written(tmp_path / "evidence").exists()


@pytest.mark.usefixtures("sealed_twice")
def test_events_that_say_they_are_of_a_batch_from_before_are_looked_at():
    number = next_number()
    append(number, timezone.now(), [], note={"from before": 0})
    planted = make_event(batch=number, received_at=timezone.now() - timedelta(days=100))
    with pytest.raises(CommandError, match=f"Event {planted.pk} is in batch {number} and does not belong there"):
        verify()


def honest(number, key=KEY):
    """So many seals, one a day, each carrying on the one before; by Postgres alone, as making them takes too long."""
    before, rows = None, []
    for day in range(number):
        at = timezone.now() - timedelta(days=number - day)
        before = signing.seal(key, day + 1, bytes(32), at, before)
        rows.append(Seal(batch=day + 1, made_at=at, line=before.line.decode(), signature=before.signature))
    Seal.objects.bulk_create(rows)


def test_years_of_seals_cost_no_more_than_reading_them(transactional_db, settings):
    """Where none are kept, too: whoever asks /readyz must keep no hook waiting."""
    settings.SPOOL, settings.SEAL_KEYS = "", []
    honest(3_650)
    sealing(timezone.now())
    started = time.process_time()
    assert sealing(timezone.now()).sealed_at
    assert time.process_time() - started < 0.5  # each with each would be 13 million comparisons


def test_rows_that_are_no_seals_are_told(transactional_db, settings):
    settings.SPOOL, settings.SEAL_KEYS = "", []
    honest(2)
    Seal.objects.create(batch=1, made_at=timezone.now(), line="[", signature=b"")
    Seal.objects.create(batch=1, made_at=timezone.now(), line="{" * 1_000_000, signature=b"")
    assert trouble() == "Among the seals of the database there are 2 rows that are none."


@pytest.mark.usefixtures("sealed_twice")
def test_a_machine_whose_worker_has_moved_away_believes_what_carries_on_its_own(at):
    come(50)
    with later(2), at("there"):
        assert seal(timezone.now())
    with later(4):
        assert trouble() == "", "there it was sealed"
    come(51)
    with later(4.5):
        assert trouble().startswith("The record has not been sealed since")


@pytest.mark.usefixtures("sealed_twice")
def test_seals_of_a_key_that_was_taken_away_are_vouched_for_by_later_ones(at):
    come(50)
    with later(2), at("here", OTHER_KEY, KEY):
        assert seal(timezone.now())
    come(51)
    for machine in ("there", ""):
        with later(3), at(machine, OTHER_KEY):
            assert trouble() == ""
            made = seal(timezone.now())
            assert bool(made) is (machine == "there"), "once a day"
            assert trouble() == ""


@pytest.mark.usefixtures("sealed_twice")
def test_where_no_seals_are_kept_nothing_is_accepted_that_would_not_help(at):
    Seal.objects.order_by("pk").first().delete()
    fork = signing.seal(KEY, 1, bytes(32), timezone.now(), None)
    Seal.objects.create(batch=1, made_at=timezone.now(), line=fork.line.decode(), signature=fork.signature)
    with at(""):
        assert "does not carry on the one before it" in trouble()
        with pytest.raises(CommandError, match="see which of them verify_audit names"):
            accept()


@pytest.mark.usefixtures("sealed_twice")
def test_what_says_it_is_of_a_batch_that_takes_in_what_is_of_none_is_told():
    """Though as many more are of none: a count would not show it."""
    number = next_number()
    taken = [make_event(batch=None, received_at=timezone.now()) for _ in range(2)]
    append(number, timezone.now(), taken, note={"from before": 2})
    assert "The record is whole" in verify()
    AuditEvent.objects.filter(pk__in=[event.pk for event in taken]).update(batch=number)
    for _ in range(2):
        make_event(batch=None, received_at=timezone.now())
    with pytest.raises(CommandError, match=f"Event {min(event.pk for event in taken)} says it is of batch {number}"):
        verify()


@pytest.mark.usefixtures("sealed_twice")
def test_what_is_taken_in_behind_other_batches_is_late_like_all_else():
    event = make_event(batch=None, received_at=timezone.now() - timedelta(days=100))
    append(next_number(), timezone.now(), [event], note={"from before": 1})
    assert f"Came more than a day late: 1 event, the first of which is {event.pk}." in verify()


@pytest.mark.usefixtures("sealed_twice")
def test_a_batch_with_half_an_entry_is_named():
    number = next_number()
    append(number, timezone.now(), [], note={"from before": 0})
    Batch.objects.filter(number=number).update(entries=b"x")
    with pytest.raises(CommandError, match=f"What comes after batch {number - 1} is no batch that can be read"):
        verify()


POLICY = """ALTER TABLE audit_auditevent ENABLE ROW LEVEL SECURITY;
    ALTER TABLE audit_auditevent FORCE ROW LEVEL SECURITY;
    CREATE POLICY hidden ON audit_auditevent
        USING (effect <> 'deny' OR current_setting('transaction_isolation') = 'repeatable read') WITH CHECK (true)"""
NOTHING = """CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER nothing BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION nothing()"""
UNDO = """ALTER TABLE audit_auditevent DISABLE ROW LEVEL SECURITY;
    ALTER TABLE audit_auditevent NO FORCE ROW LEVEL SECURITY;
    DROP POLICY IF EXISTS hidden ON audit_auditevent; DROP FUNCTION IF EXISTS nothing CASCADE"""


@pytest.mark.usefixtures("sealed_twice")
@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("audit_auditevent", POLICY),
        *((table, NOTHING.format(table=table)) for table in ("audit_seal", "audit_batch", "audit_auditevent_default")),
    ],
)
def test_a_table_that_shows_others_something_else_is_told(table, what):
    run(what)
    try:
        with pytest.raises(CommandError, match=f"Table {table} has row security, a rule or a trigger"):
            verify()
    finally:
        run(UNDO)
    assert "The record is whole" in verify()


@pytest.mark.usefixtures("sealed_twice")
def test_what_came_into_the_record_long_after_it_was_is_told():
    assert "more than a day late" not in verify()
    received_at = timezone.now() - timedelta(days=200)
    for number in (60, 61):
        made_up = make_record(number, received_at=received_at, id=new_id(received_at), media_session_id=f"{number}")
    move_batch()
    first = min(made_up.pk, AuditEvent.objects.order_by("id").first().pk)
    assert f"Came more than a day late: 2 events, the first of which is {first}." in verify()


def test_of_two_seals_that_carry_on_the_same_one_neither_does():
    def one(batch, before):
        return signing.seal(KEY, batch, bytes(32), timezone.now(), before)

    first = one(1, None)
    second, fork = one(2, first), one(3, first)
    third = one(4, second)
    assert carrying_on(None, [third, first, second]) == [first, second, third]
    assert carrying_on(name_of(first), [third, second]) == [second, third]
    assert carrying_on(None, [third, first, second, fork]) == [first]
    assert carrying_on(name_of(fork), [first, second, third]) == []
