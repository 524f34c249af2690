"""The record as evidence: whatever is changed, removed, exchanged, added or cut off is found, also without us."""

import base64
import json
import os
import random
import re
import subprocess
import sys
import threading
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from apps.audit import chain
from apps.audit.keeping.retention import purge
from apps.audit.models import AuditEvent, Batch, Seal
from apps.audit.moving.batches import append, next_number
from apps.audit.moving.mover import move_batch
from apps.audit.proving.evidence import at_one_moment, lines, pieces, public, seal
from apps.audit.proving.verifying import Verifier, pieces_of
from apps.audit.tasks import seal_record
from tests import factories
from tests.admin.conftest import make_event
from tests.audit.test_changes import changes
from tests.audit.test_mover import make_record

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
DOCS = Path(__file__).resolve().parents[2] / "docs" / "evidence.md"


def as_setting(key):
    return base64.urlsafe_b64encode(key.private_bytes_raw()).decode()


@pytest.fixture
def record(transactional_db, settings):
    """A record of some batches, with repeats, changes by staff and a seal."""
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
    with time_machine.travel(timezone.now() + timedelta(days=3)):
        return purge(timezone.now(), 1e12)


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


def test_no_event_is_added_to_those_from_before(transactional_db, settings):
    settings.SEAL_KEYS = []
    make_event(batch=None)
    make_record(0)
    move_batch()
    assert "Not covered: 1 events" in verify()
    make_event(batch=None, received_at=timezone.now() - timedelta(days=400))
    with pytest.raises(CommandError, match="2 events are of no batch, and only 1 were there"):
        verify()


def test_what_is_from_before_is_noted_also_where_the_first_batch_lets_something_go(transactional_db, settings):
    """As after an upgrade, where retention is there before the first hook."""
    settings.SEAL_KEYS, settings.KEEP_DECISIONS = [], 1
    for days in (0, 3):
        make_event(batch=None, received_at=timezone.now() - timedelta(days=days))
    purge(timezone.now(), 1e12)
    make_record(0)
    move_batch()
    assert "Not covered: 1 events" in verify()
    assert "Noted as let go: decisions before" in verify()


def test_a_record_without_anything_in_it_is_no_whole_one(transactional_db, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(CommandError, match="There is no batch at all"):
        verify(str(tmp_path / "empty"))


def test_a_file_whose_end_was_cut_off_behind_its_seal_is_none(file):
    lines_of = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(line for line in lines_of if not line.startswith(b"seal")))
    with pytest.raises(CommandError, match="Its end is not sealed"):
        verify(str(file))


def test_seals_with_another_key_prove_nothing(record, settings):
    Seal.objects.all().delete()
    settings.SEAL_KEYS = [as_setting(OTHER_KEY)]
    seal(timezone.now())
    found = looked_at()
    assert (found.seals, len(found.untrusted_keys)) == (0, 1)
    settings.SEAL_KEYS = [as_setting(KEY)]
    assert "No seal was checked" in verify()
    with (
        time_machine.travel(timezone.now() + timedelta(days=2)),
        pytest.raises(CommandError, match="end is not sealed"),
    ):
        verify()
    assert "1 seal is good" in verify("--public-key", base64.b64encode(public(OTHER_KEY)).decode())
    made = Seal.objects.get()
    made.line = made.line.replace('"batch":', '"batch": ')
    made.save()
    assert [problem for problem in looked_at(OTHER_KEY).problems if "its key" in problem]


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
    assert problems() == []
    said = verify()
    assert "Noted as let go: decisions before" in said
    assert purge_later() == 0
    assert Batch.objects.exclude(note="").count() == 1, "noted once"


def test_what_goes_without_a_note_is_missed(record, settings):
    settings.KEEP_DECISIONS = 1
    purge_later()
    AuditEvent.objects.filter(reason="staff-action").first().delete()
    assert "missing" in problems()[0]


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
    assert done.stdout.startswith(f"{Batch.objects.count()} batches are whole; 0 events were let go")


def test_the_docs_script_finds_what_was_changed(file, script):
    file.write_bytes(file.read_bytes().replace(b'"username":"alice"', b'"username":"mallory"', 1))
    assert "was changed" in script(file).stderr


def test_openssl_checks_a_seal_as_the_docs_say(file, tmp_path):
    cutting = DOCS.read_text().partition("    { printf")[2].partition("\n\n")[0]
    environment = {**os.environ, "KEY": base64.b64encode(public(KEY)).decode(), "FILE": str(file)}
    subprocess.run(["sh", "-ec", "{ printf" + cutting], cwd=tmp_path, env=environment, check=True)
    check = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in seal -sigfile signature".split()
    assert " ".join(check) in DOCS.read_text()
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 0
    with (tmp_path / "seal").open("ab") as made:
        made.write(b" ")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode != 0


def look(content):
    try:
        return Verifier([public(KEY)]).look_at(pieces_of(content)).problems
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
            assert look(tampered) or is_only_the_last_seal(original, number), (number, line[:40])
        if {line[:5], original[other][:5]} != {b"event"} or batch_of(original, number) != batch_of(original, other):
            assert look(exchanged), (number, other)


def is_only_the_last_seal(lines, number):
    """A file without its seal is a file that nobody can call cut off: that it has none is said."""
    return lines[number].startswith(b"seal")


def batch_of(lines, number):
    return next(line for line in reversed(lines[: number + 1]) if line.startswith(b"batch"))


def test_a_file_that_is_cut_anywhere_before_its_seal_has_no_seal_of_its_end(file):
    original = file.read_bytes()
    for end in random.Random(1).sample(range(1, len(original) - 1), 50):
        found = Verifier([public(KEY)])
        try:
            looked = found.look_at(pieces_of(original[:end].splitlines(keepends=True)))
        except ValueError:
            continue
        assert looked.problems or looked.sealed_until < looked.last_batch


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
    assert list(pieces_of(lines(pieces()))) == list(pieces())
