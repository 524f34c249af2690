"""Batches: every event is in one, they are numbered without a gap, and each carries on the hash of the one before."""

import json
import threading
from base64 import b64encode
from datetime import UTC
from hashlib import sha256

import pytest
from django.db import connection, connections
from hypothesis import given, reject
from hypothesis import strategies as st

from apps.audit.chain import BEFORE_THE_FIRST, DECISION, EVENT, batch_hash, entries, entry, line
from apps.audit.models import AuditEvent, Batch, HookRecord
from apps.audit.moving.batches import content, count_of
from apps.audit.moving.mover import move_batch
from tests.audit.test_mover import make_record


@pytest.fixture
def database(transactional_db):
    """A database to commit to."""


def links():
    """The batches in their order, each checked to carry on the one before."""
    previous, batches = BEFORE_THE_FIRST, list(Batch.objects.order_by("number"))
    for number, batch in enumerate(batches, start=1):
        assert batch.number == number
        assert bytes(batch.hash) == batch_hash(number, batch.moved_at, batch.note, previous, bytes(batch.entries))
        previous = bytes(batch.hash)
    return batches


def test_every_event_is_in_a_batch_that_has_its_hash(database):
    for number in range(5):
        make_record(number, reason="not-refusable" if number == 3 else "no-rule", body=b'{"n":1.0}' * number)
    assert [move_batch(2), move_batch(2), move_batch(2)] == [2, 2, 1]
    for batch in links():
        events = AuditEvent.objects.filter(batch=batch.number).order_by("received_at")
        assert [(kept.id, kept.digest) for kept in entries(bytes(batch.entries))] == [
            (event.id, sha256(content(event)).digest()) for event in events
        ]
    kinds = [kept.kind for batch in links() for kept in entries(bytes(batch.entries))]
    assert kinds == [DECISION, DECISION, DECISION, EVENT, DECISION]


def test_a_count_that_changes_is_an_entry_of_the_batch_that_changed_it(database):
    make_record(0, media_session_id="")
    move_batch()
    make_record(1, media_session_id="")
    make_record(2, media_session_id="", body=b'{"name":"other"}')
    make_record(3, media_session_id="", body=b'{"name":"other"}')
    move_batch()
    repeated, other = AuditEvent.objects.order_by("received_at")
    first, second = links()
    assert [kept.kind for kept in entries(bytes(first.entries))] == [DECISION]
    assert {(kept.kind, kept.id, kept.digest) for kept in entries(bytes(second.entries))} == {
        (DECISION, other.id, sha256(content(other)).digest()),
        (b"d", other.id, bytes(other.digest) + sha256(count_of(other)).digest()[:16]),
        (b"d", repeated.id, bytes(repeated.digest) + sha256(count_of(repeated)).digest()[:16]),
    }


def test_a_hook_that_came_back_after_it_was_moved_makes_no_batch(database):
    record = make_record()
    move_batch()
    record.save(force_insert=True)
    assert move_batch() == 1
    assert len(links()) == 1


def test_many_movers_at_once_make_one_chain(database):
    made = {make_record(number).id for number in range(200)}

    def work():
        while HookRecord.objects.exists():
            move_batch(10)
        connections.close_all()

    movers = [threading.Thread(target=work) for _ in range(4)]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join()
    kept = [kept.id for batch in links() for kept in entries(bytes(batch.entries))]
    assert sorted(kept) == sorted(made)


def test_what_is_read_in_the_order_of_batches_never_gets_something_new_before_it(database):
    """A reader that has seen up to a batch misses nothing: a batch is seen only when all before it are."""
    for number in range(60):
        make_record(number)
    seen: list[list[int]] = []
    done = threading.Event()

    def read():
        while not done.is_set():
            seen.append(list(Batch.objects.order_by("number").values_list("number", flat=True)))
        connections.close_all()

    reader = threading.Thread(target=read)
    reader.start()
    while move_batch(3):
        pass
    done.set()
    reader.join()
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seen)


def test_no_number_is_given_without_the_lock(database):
    make_record()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [0x5743_5347])
        try:
            other = threading.Thread(target=lambda: (move_batch(), connections.close_all()))
            other.start()
            other.join()
            assert not Batch.objects.exists()
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [0x5743_5347])


# The line that is hashed


@given(
    st.dictionaries(
        st.text(), st.text() | st.integers(-(2**63), 2**63 - 1) | st.none() | st.binary() | st.lists(st.text())
    )
)
def test_a_line_is_one_line_and_tells_different_contents_apart(members):
    assert b"\n" not in line(**members)
    assert b"\t" not in line(**members)
    changed = {**members, "a": "something else" if members.get("a") != "something else" else 1}
    assert line(**changed) != line(**members)


def test_bytes_that_are_no_text_are_told_from_text():
    assert line(body=b"\xff") != line(body=b"/w==")
    assert line(body=b"\xff") == b'{"body":{"base64":"/w=="}}'


@given(st.lists(st.tuples(st.sampled_from([DECISION, EVENT, b"d"]), st.uuids(), st.binary())))
def test_entries_come_back_as_they_were_kept(made):
    kept = b"".join(entry(*one) for one in made)
    assert [(one.kind, one.id, one.digest) for one in entries(kept)] == [
        (kind, id_, sha256(content).digest()) for kind, id_, content in made
    ]
    if made:
        with pytest.raises(ValueError, match="whole"):
            list(entries(kept[:-1]))


MEMBERS = st.dictionaries(
    st.text(min_size=1, alphabet="abcdefghijklmnopqrstuvwxyz_"),
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text() | st.integers()),
)


@given(MEMBERS, st.datetimes(timezones=st.timezones()), st.uuids(), st.binary() | st.text().map(str.encode))
def test_a_line_is_what_any_json_library_writes(members, moment, id_, body):
    """So that others can check the chain without us (docs/evidence.md), and what was hashed before stays right."""
    try:
        at = f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    except OverflowError:
        reject()
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = {"base64": b64encode(body).decode()}
    plain = {**members, "at": at.zfill(27), "ID": str(id_), "body": text}
    written = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    assert line(**{**members, "at": moment, "ID": id_, "body": body}) == written
