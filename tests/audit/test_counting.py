"""What a process counts: which of its numbers must be in the record, whatever becomes of hooks and processes."""

import os
import random
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection

from apps.audit.ids import (
    COUNTER_BITS,
    COUNTER_SQL,
    IS_NUMBERED_SQL,
    LAST_NUMBER,
    NUMBER_SQL,
    first_id,
    numbered_id,
    numbers_by_counter,
)
from apps.audit.recording import count_file
from apps.audit.recording.count_file import CountFile, left_in, place_of, read
from apps.audit.recording.counting import OTHERS, Counts
from apps.audit.recording.recorder import new_id
from apps.audit.recording.spool_folder import UnusableFile, taken_over
from runner import ROOT

NOW = datetime(2026, 3, 1, 14, 30, 5, 123456, tzinfo=UTC)


@pytest.fixture
def counts(tmp_path):
    counts = Counts(str(tmp_path), {"n-1", "n-2"}.__contains__)
    yield counts
    counts.stop()


def expected(found):
    """The numbers that must be in the record."""
    return set(range(1, found.given + 1)) - found.busy - found.idle


def by_node(counts):
    return {look.found.node_name: look.found for look in counts.look()}


# Ids


@pytest.mark.django_db
@pytest.mark.parametrize("counter", [0, 1, (1 << COUNTER_BITS) - 1])
@pytest.mark.parametrize("number", [0, 1, (1 << 22) - 1, 1 << 22, (1 << 33) + 5, LAST_NUMBER])
def test_postgres_reads_the_same_out_of_an_id(counter, number):
    read_by_sql = ", ".join(sql.format(id="id") for sql in (COUNTER_SQL, NUMBER_SQL, IS_NUMBERED_SQL))
    with connection.cursor() as cursor:
        for id_, is_numbered in ((numbered_id(NOW, counter, number), True), (new_id(NOW), False)):
            cursor.execute(f"SELECT {read_by_sql} FROM (SELECT %s::uuid AS id) AS _", [id_])
            found = cursor.fetchone()
            assert found[2] == is_numbered
            if is_numbered:
                assert found[:2] == (counter, number)


def test_an_id_says_when_it_was_made_and_which_number_of_which_counter_it_is():
    for _ in range(1000):
        counter, number = random.getrandbits(COUNTER_BITS), random.randint(1, LAST_NUMBER)
        id_ = numbered_id(NOW, counter, number)
        assert (id_.version, id_.variant) == (8, "specified in RFC 4122")
        assert first_id(NOW) <= id_ < first_id(NOW + timedelta(milliseconds=1))
        assert numbers_by_counter([id_]) == {counter: [number]}


def test_ids_without_a_number_count_nowhere():
    assert numbers_by_counter([new_id(NOW), UUID(int=0)]) == {}


# Hooks


def test_a_hook_that_was_answered_with_a_record_must_be_there(counts):
    counts.take("n-1", NOW).recorded()
    found = by_node(counts)["n-1"]
    assert expected(found) == {1}


def test_one_that_is_being_answered_need_not_be(counts):
    counts.take("n-1", NOW)
    found = by_node(counts)["n-1"]
    assert (expected(found), found.busy) == (set(), {1})


@pytest.mark.parametrize("end", ["failed", "unrecorded", "unused"])
def test_a_number_with_which_nothing_was_sent_is_used_again(counts, end):
    getattr(counts.take("n-1", NOW), end)()
    counts.take("n-1", NOW).recorded()
    found = by_node(counts)["n-1"]
    assert (found.given, expected(found)) == (1, {1})
    assert (found.failed, found.unrecorded) == (end == "failed", end == "unrecorded")


def test_one_that_may_be_in_the_record_is_never_used_again(counts):
    ticket = counts.take("n-1", NOW)
    ticket.sent = True
    ticket.failed()
    for _ in range(2):
        assert counts.take("n-1", NOW).id != ticket.id
    (look,) = counts.look()
    assert [number for _, number in look.uncertain] == [1]
    assert look.found.idle == {1}
    counts.is_published(look)
    (look,) = counts.look()
    assert (look.uncertain, look.found.void, look.found.idle) == ((), 1, frozenset())


def test_only_the_first_thing_that_becomes_of_a_hook_counts(counts):
    ticket = counts.take("n-1", NOW)
    ticket.recorded()
    ticket.failed()
    ticket.unrecorded()
    found = by_node(counts)["n-1"]
    assert (expected(found), found.failed, found.unrecorded) == ({1}, 0, 0)


def test_nodes_count_each_for_itself_and_those_nobody_knows_together(counts):
    for node_id in ("n-1", "n-2", "n-1", "made-up", "made-up-2", ""):
        counts.take(node_id, NOW).recorded()
    assert {name: found.given for name, found in by_node(counts).items()} == {"n-1": 2, "n-2": 1, OTHERS: 3}


def test_there_are_only_so_many_counters(monkeypatch):
    monkeypatch.setattr("apps.audit.recording.counting.COUNTERS", 3)
    counts = Counts("", lambda node_id: True)
    for number in range(10):
        counts.take(f"n-{number}", NOW).recorded()
    assert {name: found.given for name, found in by_node(counts).items()} == {"n-0": 1, "n-1": 1, OTHERS: 8}


def test_what_finds_no_room_has_an_id_without_a_number(monkeypatch):
    monkeypatch.setattr("apps.audit.recording.counting.CELLS", 2)
    counts = Counts("", lambda node_id: True)
    tickets = [counts.take("n-1", NOW) for _ in range(3)]
    assert [ticket.id.version for ticket in tickets] == [8, 8, 7]
    for ticket in tickets:
        ticket.recorded()
    assert counts.without == 1
    assert counts.take("n-1", NOW).id.version == 8


def test_after_the_last_number_comes_another_counter(monkeypatch):
    monkeypatch.setattr("apps.audit.recording.counting.LAST_NUMBER", 2)
    counts = Counts("", lambda node_id: True)
    for _ in range(3):
        counts.take("n-1", NOW).recorded()
    assert [look.found.given for look in counts.look()] == [2, 1]


def test_threads_get_each_number_once_and_every_look_is_of_one_moment(counts):
    """A number that was answered before a look, but stands in it as not yet given, would be no harm; one that stands
    there as answered before it was would be a false alarm."""
    ids, wrong, ending = [], [], threading.Event()

    def answer(seed):
        dice = random.Random(seed)
        for _ in range(3000):
            ticket = counts.take("n-1", NOW)
            ticket.sent = dice.random() < 0.5
            if dice.random() < 0.9:
                ids.append(ticket.id)  # committed
                ticket.recorded()
            else:
                ticket.failed()

    def look():
        while not ending.is_set():
            for one in counts.look():
                committed = set(numbers_by_counter(list(ids)).get(one.found.key, ()))
                wrong.extend(expected(one.found) - committed)
                counts.is_published(one)
                published.update(number for _, number in one.uncertain)

    published = set()
    threads = [threading.Thread(target=answer, args=(seed,)) for seed in range(6)]
    watching = threading.Thread(target=look)
    watching.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ending.set()
    watching.join()
    (numbers,) = numbers_by_counter(ids).values()
    assert len(numbers) == len(set(numbers))
    assert set(wrong) <= published, "Something was taken for answered that was not."
    assert expected(by_node(counts)["n-1"]) - published == set(numbers)


# The file

DIE = """
import os, signal, sys
from datetime import UTC, datetime
import django
django.setup()
from apps.audit.recording.counting import Counts
counts = Counts(sys.argv[1], lambda node_id: True)
now = datetime.now(UTC)
for _ in range(5):
    counts.take("n-1", now).recorded()
counts.take("n-1", now).failed()
counts.take("n-2", now).unrecorded()
tickets = [counts.take("n-1", now) for _ in range(3)]
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_process_had_counted_is_there_after_it_was_killed(tmp_path):
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "wcsgate.settings"}
    done = subprocess.run([sys.executable, "-c", DIE, str(tmp_path)], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == -9, done.stderr
    (path,) = left_in(tmp_path)
    with taken_over(path) as ours:
        counters, of_another_boot = read(ours)
    assert not of_another_boot
    assert [(found.node_name, expected(found), found.failed, found.unrecorded) for found in counters] == [
        ("n-1", {1, 2, 3, 4, 5}, 1, 0),
        ("n-2", set(), 0, 1),
    ]
    assert counters[0].busy == {6, 7, 8}


def test_the_file_of_a_process_that_lives_belongs_to_it(counts, tmp_path):
    (path,) = left_in(tmp_path)
    with taken_over(path) as ours:
        assert not ours


def test_a_file_of_before_the_machine_was_started_anew_says_so(tmp_path, monkeypatch):
    counts = Counts(str(tmp_path), lambda node_id: True)
    counts.take("n-1", NOW).recorded()
    counts.stop()
    (path,) = left_in(tmp_path)
    with taken_over(path) as ours:
        assert read(ours)[1] is False
        monkeypatch.setattr(count_file, "_boot", lambda: b"another boot....")
        assert read(ours)[1] is True


def left(path, data):
    path.write_bytes(data)
    with taken_over(path) as ours:
        return read(ours)


def counts_with(tmp_path, place, word):
    """The bytes that a process would leave, but for one word."""
    counts = Counts(str(tmp_path), lambda node_id: True)
    counts.take("n-1", NOW).recorded()
    counts._words[place_of(0) + place] = word
    counts.stop()
    (path,) = left_in(tmp_path)
    return path, path.read_bytes()


@pytest.mark.parametrize("data", [b"", b"WCSCOUNT", b"WCSCOUNT" + bytes(count_file.SIZE), b"x" * count_file.SIZE])
def test_what_no_process_has_written_is_not_read(tmp_path, data):
    with pytest.raises(UnusableFile):
        left(tmp_path / "x.counts", data)


@pytest.mark.parametrize(
    ("place", "word"),
    [(0, 1 << COUNTER_BITS), (0, 1 << 63), (count_file.GIVEN, LAST_NUMBER + 1), (count_file.NAME_BYTES, 256)],
)
def test_what_no_process_counts_to_is_not_believed(tmp_path, place, word):
    path, data = counts_with(tmp_path, place, word)
    with pytest.raises(UnusableFile, match="what no process counts"):
        left(path, data)
    path, data = counts_with(tmp_path / "twin", count_file.GIVEN, LAST_NUMBER)
    assert left(path, data)[0][0].given == LAST_NUMBER


def test_a_file_of_which_nothing_was_on_the_disk_when_the_machine_went_down_says_nothing(tmp_path):
    assert left(tmp_path / "x.counts", bytes(count_file.SIZE)) == ([], True)


def test_where_the_disk_has_no_room_counts_are_in_memory(tmp_path, monkeypatch, caplog):
    """Without its blocks reserved, the first write into it would kill the process."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    counts = Counts(str(tmp_path), lambda node_id: True)
    counts.take("n-1", NOW).recorded()
    assert expected(by_node(counts)["n-1"]) == {1}
    assert "Counts are kept in memory alone" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_the_blocks_of_the_file_are_reserved(tmp_path):
    file = CountFile(tmp_path)
    (path,) = left_in(tmp_path)
    assert path.stat().st_blocks * 512 >= count_file.SIZE
    file.close()
