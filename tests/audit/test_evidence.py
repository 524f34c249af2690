"""The record as evidence: whatever is changed, removed, exchanged, added or cut off is found, also without us."""

import base64
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import threading
from datetime import timedelta
from io import BytesIO, StringIO
from pathlib import Path

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from apps.audit import chain
from apps.audit.exporting.feed import newest_seal
from apps.audit.keeping.retention import purge
from apps.audit.management.commands import verify_audit
from apps.audit.models import AuditEvent, Batch, Hold, Seal
from apps.audit.moving.batches import append, next_number
from apps.audit.moving.mover import move_batch
from apps.audit.proving import kept_seals
from apps.audit.proving.evidence import at_one_moment, pieces
from apps.audit.proving.evidence_file import lines, look_at_file, pieces_of
from apps.audit.proving.seals import piece_of, seal, sealing
from apps.audit.proving.signing import end, key_id, public
from apps.audit.proving.verifying import Verifier
from apps.audit.tasks import seal_record
from tests import factories
from tests.admin.conftest import make_event
from tests.audit.test_changes import changes
from tests.audit.test_mover import START, make_record

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
DOCS = Path(__file__).resolve().parents[2] / "docs" / "evidence.md"


def as_setting(key):
    return base64.urlsafe_b64encode(key.private_bytes_raw()).decode()


@pytest.fixture
def record(transactional_db, settings, tmp_path):
    """A record of some batches, with repeats, changes by staff and a seal, on a machine that keeps seals."""
    settings.SPOOL = str(tmp_path / "spool")
    settings.SEAL_KEYS = [as_setting(KEY)]
    for number in range(12):
        make_record(number, media_session_id=f"m-{number % 8}", body=b"{}" if number % 3 else b"\xff")
        if number % 4 == 3:
            move_batch()
    factories.make_user("alice")
    changes()
    assert seal_record()
    assert AuditEvent.objects.filter(repeats=1).exists()


def test_a_line_is_json_as_others_write_it():
    """Sorted, without spaces, and with nothing escaped that need not be; of every character there is."""
    text = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    members = {"b": text, "a": [1, True, None, -(2**62)], "Z": {"base64": "/w=="}, "é": ""}
    plain = json.dumps(members, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    assert chain.line(**members) == plain


def looked_at(key=KEY):
    with at_one_moment():
        return Verifier([public(key)]).look_at(pieces())


def problems():
    return looked_at().problems


def purge_later():
    """Let go what is past its time three days from now."""
    with later(3):
        return purge(timezone.now(), 1e12)


def later(days):
    return time_machine.travel(timezone.now() + timedelta(days=days))


def run(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def verify(*arguments):
    said = StringIO()
    call_command("verify_audit", *arguments, stdout=said)
    return said.getvalue()


def test_a_record_that_nobody_touched_is_whole(record):
    assert problems() == []
    said = verify()
    assert "The record is whole and untouched." in said
    assert f"Sealed until batch {Batch.objects.order_by('-number').first().number}" in said


@pytest.mark.parametrize(
    "change",
    [
        "received_at = received_at + interval '1 second'",
        "username = 'mallory'",
        "effect = 'allow', reason = 'not-refusable'",
        'body = \'{"name":"other"}\'',
        "rules = ARRAY['Allow everyone']",
        "repeats = repeats + 1",
        "last_received_at = last_received_at + interval '1 second'",
        "while_away = NOT while_away",
        "duration = interval '1 hour'",
        "digest = 'another'",
        "batch = batch + 1",
        "batch = NULL",
        "batch = 4711",
        "id = audit_new_id(now())",
    ],
)
def test_a_changed_event_is_found_and_named(record, change):
    event = AuditEvent.objects.filter(batch__lt=3).order_by("id")[1]
    run(f"UPDATE audit_auditevent SET {change} WHERE id = %s", event.pk)
    with pytest.raises(CommandError, match="NOT as it was written") as found:
        verify()
    assert str(event.pk) in str(found.value)


@pytest.mark.parametrize("column", ["repeats", "last_received_at"])
def test_a_count_that_is_taken_back_is_found(record, column):
    event = AuditEvent.objects.filter(repeats=1).first()
    run("UPDATE audit_auditevent SET repeats = 0, last_received_at = received_at WHERE id = %s", event.pk)
    assert any(str(event.pk) in problem for problem in problems())


def test_what_is_missing_is_not_said_to_be_let_go(record):
    run("DELETE FROM audit_auditevent WHERE id = %s", AuditEvent.objects.order_by("id").first().pk)
    said = StringIO()
    with pytest.raises(CommandError, match="is missing, and nothing says that it was let go"):
        call_command("verify_audit", stdout=said)
    assert "Looked at" in said.getvalue()
    assert "Let go" not in said.getvalue()


def test_removed_exchanged_and_added_events_are_found(record):
    first, second, third = AuditEvent.objects.order_by("id")[:3]
    run("DELETE FROM audit_auditevent WHERE id = %s", first.pk)
    assert "missing, and nothing says that it was let go" in problems()[0]
    AuditEvent.objects.bulk_create([first])
    assert problems() == []
    run(
        """UPDATE audit_auditevent a SET body = b.body, username = b.username, target = b.target,
            media_session_id = b.media_session_id
        FROM audit_auditevent b WHERE a.id IN (%s, %s) AND b.id IN (%s, %s) AND a.id <> b.id""",
        *(second.pk, third.pk) * 2,
    )
    assert len(problems()) == 2
    AuditEvent.objects.filter(pk__in=[second.pk, third.pk]).delete()
    AuditEvent.objects.bulk_create([second, third])
    first.pk = make_record(50).id
    AuditEvent.objects.bulk_create([first])
    assert "it was added" in problems()[0]


def test_a_chain_that_was_made_anew_is_not_the_one_that_was_sealed(record):
    """As by somebody who can write to the database, and knows how all of this works."""
    AuditEvent.objects.filter(username="alice").update(username="mallory")
    kept = list(AuditEvent.objects.filter(batch__isnull=False).order_by("batch", "id"))
    numbers = sorted({event.batch for event in kept})
    Batch.objects.all().delete()
    from apps.audit.moving.batches import append

    for number in numbers:
        append(number, timezone.now(), [event for event in kept if event.batch == number])
    found = problems()
    assert [problem for problem in found if "was sealed" in problem]
    assert all("sealed" in problem for problem in found), "nothing else gives it away"


def test_an_end_that_was_cut_off_is_found_by_its_seal(record):
    last = Batch.objects.order_by("-number").first()
    AuditEvent.objects.filter(batch=last.number).delete()
    Batch.objects.filter(pk=last.pk).delete()
    assert problems() == [f"Batch {last.number} was sealed, but the record ends with batch {last.number - 1}."]


@pytest.mark.parametrize("with_its_events", [True, False])
def test_a_beginning_that_was_cut_off_is_found(record, with_its_events):
    """Seals of what comes later do not tell of it."""
    Batch.objects.filter(number=1).delete()
    if with_its_events:
        AuditEvent.objects.filter(batch=1).delete()
    with pytest.raises(CommandError, match="The record begins with batch 2"):
        verify()


def test_a_record_to_which_hooks_come_meanwhile_is_whole(record):
    """What is looked at is one moment: an event may be counted again while batches are read."""
    with at_one_moment():
        looked = pieces()
        first = next(looked)
        other = threading.Thread(
            target=lambda: (make_record(13, media_session_id="m-0"), move_batch(), connections.close_all())
        )
        other.start()
        other.join()
        assert Verifier([public(KEY)]).look_at([first, *looked]).problems == []
    assert problems() == []


def test_what_is_not_what_was_sealed_is_not_sealed_again(record, caplog):
    make_record(30)
    move_batch()
    Batch.objects.filter(number=Seal.objects.get().batch).update(hash=b"another")
    assert seal(timezone.now() + timedelta(days=1)) is None
    assert "is not what was sealed" in caplog.text


def test_a_note_that_lets_go_what_is_yet_to_come_covers_nothing(record):
    AuditEvent.objects.order_by("id")[:1].get().delete()
    append(next_number(), timezone.now(), note={"let go": "decisions", "before": "2100-01-01T00:00:00Z"})
    assert any("missing, and nothing says" in problem for problem in problems())
    assert any("had not come yet" in problem for problem in problems())


def let_decisions_go(moment=None):
    """A note that a worker let those of before an hour ago go, as it says of itself."""
    moment = moment or timezone.now()
    append(next_number(), moment, note={"let go": "decisions", "before": moment - timedelta(hours=1)})


@pytest.mark.parametrize("followed", [True, False])
def test_a_note_of_a_moment_at_which_it_cannot_have_been_moved_is_found(record, followed):
    """It would let everything go, holds included, as its batch says itself when it was moved."""
    AuditEvent.objects.filter(reason="allowed-by-rule").delete()
    with later(2):
        let_decisions_go()
        assert problems() == []
    if followed:
        make_record(30)
        move_batch()
    with later(2 if followed else 0):
        said = problems()
    assert len(said) == 1
    assert ("was moved before a batch before it noted" if followed else "says a moment at which it cannot") in said[0]


def test_a_note_of_a_moment_before_that_of_the_batch_before_it_is_found(record):
    let_decisions_go(timezone.now() - timedelta(hours=1))
    assert "says a moment at which it cannot have been moved" in problems()[0]


def test_clocks_of_workers_may_differ(record):
    for minutes in (4, 0):
        moment = timezone.now() + timedelta(minutes=minutes)
        let_decisions_go(moment)
    assert problems() == []


def test_nothing_else_is_counted_as_a_repeat_of_an_event_unseen(record):
    """As by somebody who makes two events look like each other while hooks come, and takes that back."""
    for number, media in ((30, "hidden"), (31, "other")):
        make_record(number, media_session_id=media)
        move_batch()
    hidden, other = AuditEvent.objects.filter(media_session_id__in=["hidden", "other"]).order_by("received_at")

    def look_like(one, another):
        looks = {"digest": bytes(another.digest), "media_session_id": another.media_session_id}
        AuditEvent.objects.filter(pk=one.pk).update(**looks)

    look_like(other, hidden)
    look_like(hidden, other)
    make_record(32, media_session_id="hidden")
    move_batch()
    look_like(other, other)
    look_like(hidden, hidden)
    other.refresh_from_db()
    assert other.repeats == 1, "the hook went unseen"
    assert problems()
    make_record(33, media_session_id="other")
    move_batch()
    other.refresh_from_db()
    assert other.repeats == 2, "and the last count is right again"
    assert [said for said in problems() if f"something else was counted as a repeat of event {other.pk}" in said]


@pytest.fixture
def let_go(record):
    """Of all decisions of today only one that was repeated is left, as where it is held. It is two days later."""
    held = AuditEvent.objects.filter(repeats=1).order_by("id").first()
    with later(2):
        let_decisions_go()
        AuditEvent.objects.filter(reason="allowed-by-rule").exclude(pk=held.pk).delete()
        assert problems() == []
        yield held


def test_a_count_of_what_a_hold_keeps_that_is_taken_back_is_found(let_go, tmp_path, script):
    """Though others of its day went, whose counts are still in later batches."""
    whole = written(tmp_path / "whole")
    assert look(whole.read_bytes().splitlines(keepends=True)) == []
    assert script(whole).returncode == 0
    run("UPDATE audit_auditevent SET repeats = 0, last_received_at = received_at WHERE id = %s", let_go.pk)
    with pytest.raises(CommandError, match=f"Event {let_go.pk} was counted in batch"):
        verify()
    tampered = written(tmp_path / "tampered")
    assert f"Event {let_go.pk} was counted in batch" in look(tampered.read_bytes().splitlines(keepends=True))[0]
    assert "was counted, and does not say so any more" in script(tampered).stderr


# What was signed, kept where the database does not reach


def made_anew():
    """The whole record with another content, as by somebody who can write to the database, and knows how it works."""
    AuditEvent.objects.filter(username="alice").update(username="mallory")
    kept = list(AuditEvent.objects.filter(batch__isnull=False).order_by("batch", "id"))
    batches = list(Batch.objects.order_by("number"))
    Seal.objects.all().delete()
    Batch.objects.all().delete()
    for batch in batches:
        append(batch.number, batch.moved_at, [event for event in kept if event.batch == batch.number])


def cut_off(number):
    """All that came after a batch, with its seals."""
    Seal.objects.filter(batch__gt=number).delete()
    AuditEvent.objects.filter(batch__gt=number).delete()
    Batch.objects.filter(number__gt=number).delete()


@pytest.fixture
def sealed_twice(record):
    make_record(20, media_session_id="later")
    move_batch()
    with later(1):
        assert seal(timezone.now()).batch == Batch.objects.order_by("-number").first().number
        yield record


def test_each_seal_names_the_one_before(sealed_twice):
    first, second = map(piece_of, Seal.objects.order_by("batch"))
    assert json.loads(first.line)["previous"] is None
    before = {
        "batch": json.loads(first.line)["batch"],
        "hash": hashlib.sha256(first.line + first.signature).hexdigest(),
    }
    assert json.loads(second.line)["previous"] == before
    assert "2 seals are good" in verify()
    Seal.objects.order_by("batch").first().delete()
    assert "does not carry on the seal before it" in problems()[0]


@pytest.mark.usefixtures("sealed_twice")
@pytest.mark.parametrize("tamper", ["made anew", "cut off", "end of the seals"])
def test_what_is_not_what_this_machine_has_signed_is_not_signed_again(tamper, tmp_path, caplog):
    first, second = Seal.objects.order_by("batch")
    if tamper == "made anew":
        made_anew()
    elif tamper == "cut off":
        cut_off(first.batch)
    else:
        second.delete()
    make_record(40, media_session_id="after")
    move_batch()
    with later(2):
        assert seal(timezone.now()) is None
        assert f"The seal of batch {second.batch}" in caplog.text
        with pytest.raises(CommandError, match="Nothing is signed"):
            written(tmp_path / "evidence")
        with pytest.raises(CommandError, match=f"The seal of batch {second.batch}, made on .* is no longer in"):
            verify()
        assert sealing(timezone.now()).trouble.startswith(f"The seal of batch {second.batch}, made on")


@pytest.mark.usefixtures("sealed_twice")
def test_a_batch_that_is_not_what_was_signed_is_not_signed_again(caplog):
    last = Batch.objects.order_by("-number").first()
    make_record(41, media_session_id="after")
    move_batch()
    Batch.objects.filter(pk=last.pk).update(note="{}")
    with later(2):
        assert seal(timezone.now()) is None
    assert f"Batch {last.number} is not what was sealed" in caplog.text


@pytest.mark.usefixtures("sealed_twice")
def test_a_chain_that_breaks_off_after_the_last_seal_is_not_signed(caplog):
    for number in (42, 43, 44):
        make_record(number, media_session_id=str(number))
        move_batch()
    batch = Batch.objects.order_by("-number")[1]
    Batch.objects.filter(pk=batch.pk).update(previous=bytes(32))
    with later(2):
        assert seal(timezone.now()) is None
    assert f"Batch {batch.number} does not carry on the one before" in caplog.text


@pytest.mark.usefixtures("sealed_twice")
def test_somebody_can_accept_what_is_there(caplog):
    """As after a backup was restored."""
    first = Seal.objects.order_by("batch").first()
    cut_off(first.batch)
    make_record(40, media_session_id="after")
    move_batch()
    with pytest.raises(CommandError, match="no longer in the database"):
        call_command("seal_audit")
    said = StringIO()
    call_command("seal_audit", "--accept", stdout=said)
    assert "Accepted: seals carry on from batch" in said.getvalue()
    (act,) = [change for change in changes() if change.action == "acknowledge"]
    assert "by seal_audit" in act.username
    assert "the record up to batch" in act.target
    assert "no longer in the database" in act.told
    with later(2):
        assert seal(timezone.now()) is not None
        assert seal(timezone.now()) is None, "once a day"
        assert "Somebody accepted the record up to batch" in verify()
        assert "Compared with the seals that are kept on this machine" in verify()
    cut_off(first.batch)
    with later(3):
        assert seal(timezone.now()) is None, "what was accepted is not there any more, nor what was sealed since"


@pytest.mark.usefixtures("sealed_twice")
def test_a_new_machine_begins_with_the_seals_of_the_database_and_says_so_once(settings, tmp_path, caplog):
    settings.SPOOL = str(tmp_path / "new")
    assert "cannot be vouched for" in verify()
    for _ in range(2):
        assert seal(timezone.now()) is None, "it was, today"
    assert caplog.text.count("begun with the 2 of the database") == 1
    kept = Path(settings.SPOOL) / "seals"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "until batch" in verify()
    assert not [said for said in caplog.records if said.levelname == "CRITICAL"]


@pytest.mark.usefixtures("sealed_twice")
def test_seals_of_another_machine_are_kept_here_too(settings, tmp_path, caplog):
    here = settings.SPOOL
    settings.SPOOL = str(tmp_path / "there")
    make_record(40, media_session_id="after")
    move_batch()
    with later(2):
        there = seal(timezone.now())
        settings.SPOOL = here
        assert seal(timezone.now()) is None
        assert piece_of(there) in kept_seals.read(Path(here)).seals
        assert sealing(timezone.now()).trouble == ""


@pytest.mark.usefixtures("sealed_twice")
def test_a_seal_that_is_made_while_somebody_verifies_is_none_that_is_gone(monkeypatch):
    def meanwhile():
        make_record(40, media_session_id="after")
        move_batch()
        with later(2):
            assert seal(timezone.now())
        connections.close_all()

    def looked_through():
        found = list(pieces())
        other = threading.Thread(target=meanwhile)
        other.start()
        other.join()
        return found

    monkeypatch.setattr(verify_audit, "pieces", looked_through)
    assert "2 seals are good" in verify()
    monkeypatch.undo()
    with later(2):
        assert "3 seals are good" in verify()


@pytest.mark.usefixtures("sealed_twice")
def test_a_line_that_was_torn_is_written_again(settings):
    kept = Path(settings.SPOOL) / "seals"
    kept.write_bytes(kept.read_bytes()[:-20])
    assert seal(timezone.now()) is None
    assert len(kept_seals.read(kept.parent).seals) == 2


@pytest.mark.usefixtures("sealed_twice")
def test_where_the_kept_seals_cannot_be_read_nothing_is_signed(settings, tmp_path, caplog):
    kept = Path(settings.SPOOL) / "seals"
    kept.unlink()
    kept.mkdir()
    with later(2):
        assert seal(timezone.now()) is None
        with pytest.raises(CommandError, match="cannot be read"):
            written(tmp_path / "evidence")
    assert "cannot be read" in caplog.text
    assert "cannot be read" in sealing(timezone.now()).trouble
    assert "cannot be vouched for" in verify()


BOGUS = """INSERT INTO audit_seal (id, batch, made_at, line, signature) VALUES (9223372036854775807, %s, %s,
    '{"batch":1,"hash":"00","key":"ab","made_at":"2100-01-01T00:00:00.000000Z","previous":null}', '')"""


@pytest.mark.usefixtures("sealed_twice")
@pytest.mark.parametrize("batch", [1, 4711])
def test_a_row_that_nobody_signed_stops_no_seal_and_is_told(batch, caplog):
    make_record(40, media_session_id="after")
    move_batch()
    with later(2):
        run(BOGUS, batch, timezone.now())
        made = seal(timezone.now())
        assert made is not None
        assert "1 seals in the database were made with none of WCSGATE_SEAL_KEYS" in caplog.text
        with pytest.raises(CommandError, match="which is none that is known"):
            verify()
        assert newest_seal()["line"] == made.line, "witnesses get the good one"


@pytest.mark.usefixtures("sealed_twice")
def test_whoever_looks_hears_that_nothing_was_sealed_for_days(settings):
    make_record(40, media_session_id="after")
    move_batch()
    for days, trouble in ((1, False), (3, True)):
        with later(days):
            assert bool(sealing(timezone.now()).trouble) == trouble, days
    Seal.objects.all().delete()
    settings.SPOOL = ""
    with later(3):
        assert "never been sealed" in sealing(timezone.now()).trouble
        settings.SEAL_KEYS = []
        assert sealing(timezone.now()).trouble == ""


@pytest.fixture
def upgraded(transactional_db, settings, tmp_path):
    """Events from before there were batches, one of them counted; then the first batch."""
    settings.SEAL_KEYS, settings.SPOOL = [], str(tmp_path / "spool")
    early = [make_event(batch=None, received_at=timezone.now() - timedelta(days=days)) for days in (0, 3, 400)]
    AuditEvent.objects.filter(pk=early[1].pk).update(repeats=2)
    make_record(0)
    move_batch()
    return early


def test_what_is_from_before_batches_is_taken_in(upgraded, tmp_path, script):
    assert "Taken in, being from before there were batches: 3 events" in verify()
    whole = written(tmp_path / "whole")
    assert "The record is whole" in verify(str(whole))
    assert script(whole).returncode == 0
    assert list(Batch.objects.order_by("number").values_list("note", flat=True)) == ['{"from before":3}', ""]


@pytest.mark.parametrize("tamper", ["added", "one for another", "changed", "removed"])
def test_nothing_is_done_to_what_is_from_before_unseen(upgraded, tamper):
    one = upgraded[1].pk
    if tamper == "changed":
        AuditEvent.objects.filter(pk=one).update(username="mallory")
    elif tamper != "added":
        AuditEvent.objects.filter(pk=one).delete()
    if tamper in ("added", "one for another"):
        one = make_event(batch=None, received_at=timezone.now() - timedelta(days=300)).pk
    with pytest.raises(CommandError, match="NOT as it was written") as found:
        verify()
    assert str(one) in str(found.value)


def test_what_is_from_before_is_let_go_as_all_else(transactional_db, settings):
    """Also where retention is there before the first hook, as after an upgrade."""
    settings.SEAL_KEYS, settings.KEEP_DECISIONS = [], 1
    for days in (0, 3):
        make_event(batch=None, received_at=timezone.now() - timedelta(days=days))
    purge(timezone.now(), 1e12)
    make_record(0)
    move_batch()
    assert "from before there were batches: 1 event." in verify()
    assert "Noted as let go: decisions before" in verify()


def test_what_was_never_taken_in_can_be_accepted(upgraded):
    """As by a version that noted only how many they were, or nothing at all."""
    late = make_event(batch=None, received_at=timezone.now() - timedelta(days=200))
    with pytest.raises(CommandError, match=f"Event {late.pk} is of no batch"):
        verify()
    call_command("seal_audit", "--accept", stdout=StringIO())
    assert "from before there were batches: 4 events" in verify()


def test_a_record_without_anything_in_it_is_no_whole_one(transactional_db, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(CommandError, match="There is no batch at all"):
        verify(str(tmp_path / "empty"))


def test_seals_with_another_key_prove_nothing(record, settings):
    Seal.objects.all().delete()
    settings.SPOOL, settings.SEAL_KEYS = "", [as_setting(OTHER_KEY)]
    seal(timezone.now())
    settings.SEAL_KEYS = [as_setting(KEY)]
    with pytest.raises(CommandError, match=f"made with key {key_id(public(OTHER_KEY))}, which is none that is known"):
        verify()
    assert "1 seal is good" in verify("--public-key", base64.b64encode(public(OTHER_KEY)).decode())
    made = Seal.objects.get()
    made.line = made.line.replace('"batch":', '"batch": ')
    made.save()
    assert [problem for problem in looked_at(OTHER_KEY).problems if "its key" in problem]


def test_a_record_that_was_never_sealed_is_none_after_a_day(record, settings):
    Seal.objects.all().delete()
    settings.SPOOL = ""
    assert "No seal was checked" in verify()
    with (
        time_machine.travel(timezone.now() + timedelta(days=2)),
        pytest.raises(CommandError, match="end is not sealed"),
    ):
        verify()


def test_the_record_is_sealed_once_a_day_where_there_is_something_new(record, settings):
    now = timezone.now()
    make_record(20)
    move_batch()
    assert seal(now) is None, "it was, today"
    assert seal(now + timedelta(days=1)) is not None
    assert seal(now + timedelta(days=2)) is None, "nothing came"
    settings.SEAL_KEYS = []
    make_record(21)
    move_batch()
    assert seal(now + timedelta(days=3)) is None


def test_what_retention_lets_go_is_noted_and_not_missed(record, settings):
    settings.KEEP_DECISIONS = 1
    purge_later()
    assert not AuditEvent.objects.filter(reason="allowed-by-rule").exists()
    with later(3):
        assert problems() == []
        said = verify()
    assert "Noted as let go: decisions before" in said
    assert purge_later() == 0
    assert Batch.objects.exclude(note="").count() == 1, "noted once"


def test_what_goes_without_a_note_is_missed(record, settings):
    settings.KEEP_DECISIONS = 1
    purge_later()
    AuditEvent.objects.filter(reason="staff-action").first().delete()
    with later(3):
        assert "missing" in problems()[0]


# What was let go, and what was to be kept


def test_what_the_settings_let_go_raises_no_doubt(record, settings):
    settings.KEEP_DECISIONS = 1
    purge_later()
    with later(3):
        assert "here and now" not in verify()


@pytest.mark.parametrize(("days", "said"), [(2, "is 2 here and now"), (0, "is 0 (for ever) here and now")])
def test_what_settings_of_now_would_have_kept_is_a_doubt_and_no_damage(record, settings, days, said, tmp_path):
    settings.KEEP_DECISIONS = settings.KEEP_STAFF_ACTIONS = 1
    purge_later()
    with later(3.5):
        let_decisions_go()
        settings.KEEP_DECISIONS = days
        told = verify()
        (doubt,) = [line for line in told.splitlines() if "here and now" in line]
        assert f"WCSGATE_KEEP_DECISIONS {said}: by that, batch 5 would not have let decisions before " in doubt
        assert "nor what 1 later ones did" in doubt
        assert "The record is whole and untouched." in told
        assert "here and now" not in verify(str(written(tmp_path / "file"))), "which may be that of others"


def hold(**fields):
    made = Hold.objects.create(**{"name": "Case 7", "made_by": "root", **fields})
    changes()
    return made


def lost(**fields):
    """What is said where all decisions of a day are gone that was held, and a note lets them go."""
    AuditEvent.objects.filter(reason="allowed-by-rule", **fields).delete()
    with later(2):
        let_decisions_go()
        try:
            verify()
        except CommandError as error:
            return str(error)
    return ""


def test_what_retention_lets_go_beside_a_hold_is_no_damage(record, settings):
    settings.KEEP_DECISIONS = 1
    hold(username="alice")
    make_record(20, username="bob")
    move_batch()
    purge_later()
    assert not AuditEvent.objects.filter(username="bob").exists()
    with later(3):
        assert "Let go, being past their time: 1 event." in verify()


@pytest.mark.parametrize("fields", [{}, {"starts_at": timezone.now() - timedelta(days=3)}])
def test_what_is_gone_although_a_hold_keeps_it_is_damage(record, fields):
    gone = AuditEvent.objects.filter(reason="allowed-by-rule").order_by("id").first()
    hold(**fields)
    said = lost()
    assert f"Event {gone.id} of batch 1 and " in said
    assert " more of that day are gone, though legal hold “Case 7” has kept that day since " in said


def test_a_hold_that_is_taken_back_past_the_record_is_still_one(record):
    """As by somebody who keeps the triggers from seeing it."""
    made = hold()
    run("ALTER TABLE audit_hold DISABLE TRIGGER USER")
    Hold.objects.filter(pk=made.pk).update(released_at=timezone.now())
    run("ALTER TABLE audit_hold ENABLE TRIGGER USER")
    assert "though legal hold “Case 7”" in lost()


def test_another_name_is_the_same_hold(record):
    made = hold()
    Hold.objects.filter(pk=made.pk).update(name="Case 8")
    assert "though legal hold “Case 8”" in lost()


@pytest.mark.parametrize(
    "fields",
    [
        {"username": "alice"},
        {"target": "lobby"},
        {"session_id": factories.SESSION_ID},
        {"until": timezone.now() + timedelta(days=1)},
        {"starts_at": timezone.now() - timedelta(minutes=1)},
        {"ends_at": START + timedelta(seconds=1)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_a_hold_may_not_have_kept_is_not_called_damage(record, fields):
    """Names are gone with it, the hold has ended, or covers a part of the day."""
    hold(**fields)
    assert lost() == ""


@pytest.mark.parametrize("moved", [True, False])
def test_a_hold_that_was_released_says_nothing_any_more(record, moved):
    made = hold()
    Hold.objects.filter(pk=made.pk).update(released_at=timezone.now())
    if moved:
        changes()
    assert lost() == ""


@pytest.mark.parametrize("how", ["deleted", "emptied", "made a smaller one"])
def test_a_hold_that_the_record_says_is_gone_says_nothing_either(record, how):
    made = hold()
    with later(2) if how == "made a smaller one" else later(0):
        if how == "deleted":
            made.delete()
        elif how == "emptied":
            run("TRUNCATE audit_hold")
        else:
            Hold.objects.filter(pk=made.pk).update(username="alice")
        changes()
    assert lost() == ""


@pytest.mark.parametrize(
    ("row", "after"), [(1, "{}"), (1, "[]"), (1, "7"), (1, '{"released_at": null, "starts_at": 7}'), ([], "null")]
)
def test_a_change_of_a_hold_that_cannot_be_read_stops_nothing(record, row, after):
    """Somebody has changed it, and that is said."""
    hold()
    (change,) = AuditEvent.objects.filter(target__startswith="legal hold")
    run(
        "UPDATE audit_auditevent SET body = %s WHERE id = %s",
        f'{{"table":"audit_hold","row":{row},"after":{after}}}',
        change.pk,
    )
    assert f"Event {change.pk} of batch 5 was changed." in lost()


def test_a_change_that_waits_and_cannot_be_read_is_named(record):
    hold()
    Hold.objects.update(name="Case 8")
    run("UPDATE audit_changerecord SET changed_at = 'infinity'")
    assert "A change that waits to be moved cannot be read" in lost()


def test_what_was_let_go_before_the_hold_was_made_is_not_held(record):
    """Also where another note lets it go once more."""
    make_record(seconds=-3 * 86_400)
    move_batch()
    let_decisions_go()
    AuditEvent.objects.filter(received_at__lt=timezone.now() - timedelta(days=2)).delete()
    hold(ends_at=timezone.now() - timedelta(days=1))
    assert lost(received_at__lt=timezone.now() - timedelta(days=2)) == ""


def test_what_was_moved_late_and_let_go_before_the_hold_was_made_is_not_held(record):
    """The note that lets it go was there before it."""
    let_decisions_go()
    make_record(seconds=-3 * 86_400)
    move_batch()
    hold(ends_at=timezone.now() - timedelta(days=1))
    assert lost(received_at__lt=timezone.now() - timedelta(days=2)) == ""


# Files


@pytest.fixture
def file(record, tmp_path):
    path = tmp_path / "record.txt"
    call_command("export_evidence", str(path), stdout=StringIO())
    return path


@pytest.fixture
def script(tmp_path):
    """What the docs give to those who do not have us."""
    (program,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    path = tmp_path / "check.py"
    path.write_text(program)
    return lambda file: subprocess.run([sys.executable, path, file], capture_output=True, text=True)


def test_a_file_is_checked_by_us_and_by_what_the_docs_say(file, script):
    assert "The record is whole and untouched." in verify(str(file))
    done = script(file)
    assert done.returncode == 0, done.stderr
    assert f"{Batch.objects.count()} batches are whole; 0 events were let go" in done.stdout


def test_the_docs_script_finds_what_was_changed(file, script):
    file.write_bytes(file.read_bytes().replace(b'"username":"alice"', b'"username":"mallory"', 1))
    assert "was changed" in script(file).stderr


def test_openssl_checks_the_end_as_the_docs_say(file, tmp_path):
    cutting = DOCS.read_text().partition("    { printf")[2].partition("\n\n")[0]
    environment = {**os.environ, "KEY": base64.b64encode(public(KEY)).decode(), "FILE": str(file)}
    subprocess.run(["sh", "-ec", "{ printf" + cutting], cwd=tmp_path, env=environment, check=True)
    check = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in end -sigfile signature".split()
    assert " ".join(check) in DOCS.read_text()
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 0
    with (tmp_path / "end").open("ab") as made:
        made.write(b" ")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode != 0


def look(content):
    try:
        return look_at_file(Verifier([public(KEY)]), BytesIO(b"".join(content))).problems
    except ValueError as error:
        return [str(error)]


def test_whatever_is_done_to_any_line_is_found(file):
    """Every line changed in a random place, removed, doubled, and exchanged with another one."""
    dice = random.Random(4711)
    original = file.read_bytes().splitlines(keepends=True)
    assert look(original) == []
    for number, line in enumerate(original):
        place = dice.randrange(len(line) - 1)
        changed = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        other = dice.choice([index for index in range(len(original)) if original[index] != line])
        exchanged = list(original)
        exchanged[number], exchanged[other] = exchanged[other], exchanged[number]
        for tampered in (
            [*original[:number], changed, *original[number + 1 :]],
            [*original[:number], *original[number + 1 :]],
        ):
            assert look(tampered), (number, line[:40])
        assert look(exchanged), (number, other)


def test_whatever_is_done_to_any_line_is_found_by_the_program_of_the_docs(file, script):
    """Each line removed, changed, doubled before and behind itself with another content, and exchanged with the next
    one; and something written behind its columns.
    """
    original = file.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(original):
        forged = line.replace(b'"', b'"x', 1) if b'"effect"' not in line else line.replace(b'"allow"', b'"deny"')
        before, behind, other = original[:number], original[number + 1 :], original[number - 1]
        for tampered in (
            [*before, *behind],
            [*before, forged, line, *behind],
            [*before, line, forged, *behind],
            [*before, line, line, *behind],
            [*before, line[:-1] + b"\tEVERYTHING HERE IS FORGED\n", *behind],
            [*original[: number - 1], line, other, *behind] if number else [line[:-1]],
        ):
            file.write_bytes(b"".join(tampered))
            assert script(file).returncode == 1, (number, tampered[number : number + 2])
            assert look(tampered), number


def test_a_file_that_is_cut_anywhere_is_found_also_by_the_program_of_the_docs(record, tmp_path, script):
    """Behind a seal of the day before, too, with the counts of events taken back to what they were then."""
    early, late = written(tmp_path / "early"), None
    make_record(20)
    move_batch()
    with later(1):
        assert seal(timezone.now())
        make_record(21)
        move_batch()
        late = written(tmp_path / "late")
        lines_of = late.read_bytes().splitlines(keepends=True)
        for end in range(1, len(lines_of)):
            assert "cut off" in look(lines_of[:end])[0], end
        behind_a_seal = [number for number, line in enumerate(lines_of, 1) if line.startswith(b"seal")]
        assert len(behind_a_seal) == 2
        for end in behind_a_seal:
            assert look(lines_of[:end]) == ["It does not end as it was written: it was cut off."]
            late.write_bytes(b"".join(lines_of[:end]))
            assert "the end was cut off" in script(late).stderr
        ended = early.read_bytes().splitlines(keepends=True)[-1]
        assert look([*lines_of[:-1], ended]), "the end of another file"
        assert "Something stands behind the end." in look([*lines_of, lines_of[-1]])


def written(path):
    call_command("export_evidence", str(path), stdout=StringIO())
    return path


@pytest.mark.parametrize("forge", ["seal", "nothing", "other key"])
def test_an_end_that_was_not_signed_as_one_is_found(file, forge):
    """As by somebody who cuts it off and writes another one, or passes a seal off as one."""
    lines_of = file.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines_of[:-1] if not line.startswith(b"seal")]
    said, signature = evidence_end(whole, OTHER_KEY if forge == "other key" else None)
    if forge == "seal":
        signature = KEY.sign(said)
    forged = [*whole, b"end\t%b\t%b\n" % (said, base64.b64encode(signature))]
    assert look(forged) == ["The end was not signed with a key that is known: it may be another one."]


def evidence_end(lines_of, key):
    last = [line for line in lines_of if line.startswith(b"batch")][-1].split(b"\t")
    whole = hashlib.sha256(b"".join(lines_of)).digest()
    number, hash_ = json.loads(last[1])["batch"], bytes.fromhex(last[2].decode())
    said, signature = end(key, number, hash_, timezone.now(), whole)
    return said.replace(b'"key":""', b'"key":"%b"' % key_id(public(KEY)).encode()), signature


def test_without_a_key_the_end_is_there_and_says_that_nobody_signed_it(record, settings, tmp_path, script):
    settings.SEAL_KEYS = []
    said = StringIO()
    call_command("export_evidence", str(tmp_path / "unsigned"), stdout=said)
    assert "Nothing is signed" in said.getvalue()
    assert "No seal was checked" in verify(str(tmp_path / "unsigned"))
    assert script(tmp_path / "unsigned").stdout.endswith("signed with key none\n")


def test_writing_a_file_says_that_it_verifies_nothing_and_what_does(record, tmp_path):
    run("UPDATE audit_auditevent SET username = 'mallory' WHERE id = %s", AuditEvent.objects.first().pk)
    path, said = tmp_path / "tampered", StringIO()
    call_command("export_evidence", str(path), stdout=said)
    assert f"not verified. To do that, run: verify_audit {path}" in said.getvalue()


def test_a_file_that_is_none_is_refused_with_a_sentence(tmp_path, settings):
    path = tmp_path / "other.txt"
    path.write_text("Dear Sirs,\n")
    with pytest.raises(CommandError, match="Line 1 is none of a file of evidence"):
        verify(str(path))
    with pytest.raises(CommandError, match="No such file"):
        verify(str(tmp_path / "nothing"))
    with pytest.raises(CommandError, match="32 bytes in base64"):
        verify("--public-key", "abc")


def test_lines_are_what_the_pieces_are(record):
    *before, end = pieces_of(lines(pieces(), KEY, timezone.now()))
    assert before == list(pieces())
    assert json.loads(end.line)["sha256"] == end.before.hex()
