"""One number for blindness: hooks that were answered and are nowhere in the record; and no false alarm."""

import errno
import os
import random
import threading
import time
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from unittest.mock import Mock

import psycopg
import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.audit.missing import gaps, publishing
from apps.audit.missing.gaps import acknowledge, compare, missing, note_stored, per_node, sum_up
from apps.audit.missing.publishing import Publishing, take_over
from apps.audit.models import AuditEvent, BadRecord, Counted, HookRecord
from apps.audit.moving import spool_emptying
from apps.audit.moving.mover import move_batch, try_again
from apps.audit.recording import count_file, spool_folder
from apps.audit.recording.count_file import left_in
from apps.audit.recording.recorder import Recorder
from apps.audit.recording.spool import Spool, files, waiting
from apps.audit.tasks import look_for_gaps
from apps.database.connection import Unavailable
from apps.hooks import health
from runner.services import wait_until
from tests import factories
from tests.hooks.processes import conninfo

NODE = factories.NODE_ID


@pytest.fixture
def machine(start_process, school, tmp_path):
    """Starts processes of a machine: with a folder of their own, from which others of it take over."""
    factories.make_node()

    def start(name="one", **parts):
        folder = tmp_path / name
        process = start_process(spool=Spool(str(folder), 10_000_000), **parts)
        process.folder, process.publishing = folder, Publishing(conninfo(), process.counts, folder)
        wait_until(lambda: process.keeper.current(time.monotonic() + 5).nodes.by_name, "the node")
        return process

    return start


@pytest.fixture
def process(machine):
    """A process to which Alice is connected."""
    process = machine()
    assert process.reason("connect", custom={"token": "tok-alice"}) == ""
    return process


@contextmanager
def connected():
    with psycopg.connect(conninfo(), autocommit=True) as own:
        yield own


def look(*processes, now=None):
    """What the processes tell, and the workers make of it; gives how many hooks are missing."""
    with connected() as own:
        for process in processes:
            process.publishing.publish(own, now or timezone.now())
    compare(now or timezone.now())
    return missing().hooks


def taken_over(folder):
    """What others do when they find the files of processes that died; gives how many hooks are missing then."""
    with connected() as own:
        assert take_over(folder, own) > 0
    compare(timezone.now())
    return missing().hooks


def counted(node=NODE):
    """The sums of a node, less what is 0."""
    (found,) = (row for row in per_node() if row["node_name"] == node)
    return {name: number for name, number in found.items() if number and name != "node_name"}


def events(process, count, name="lobby"):
    for number in range(count):
        assert process.hook("StreamStatusEvent", name=name, n=number).status == 200


# At rest and under load


def test_at_rest_nothing_is_missing_whatever_was_answered(process):
    events(process, 5)
    assert process.reason("publishStream", name="elsewhere") == "no-rule"
    for _ in range(3):
        assert process.hook("StreamStatusEvent", name="repeated").status == 200
    assert look(process) == 0
    assert counted() == {"received": 10, "answered": 10, "pending": 10}
    move_batch()
    assert AuditEvent.objects.count() == 8
    assert look(process) == 0
    assert counted() == {"received": 10, "answered": 10, "stored": 10}


def test_what_no_caller_of_ours_sent_counts_nowhere(process, wcs):
    wcs.environ["HTTP_AUTHORIZATION"] = factories.basic(password="wrong")
    with pytest.raises(Exception, match="login"):
        process.hook("StreamStatusEvent")
    assert look(process) == 0
    assert counted() == {"received": 1, "answered": 1, "pending": 1}


def test_under_load_nothing_is_missing_at_any_moment(machine):
    processes, ending, found = [machine("one"), machine("two")], threading.Event(), []

    def send(process, seed):
        dice = random.Random(seed)
        for number in range(60):
            process.hook("StreamStatusEvent", name=f"s-{dice.randint(1, 3)}", n=number)

    def work(what):
        while not ending.is_set():
            what()
        connection.close()

    senders = [threading.Thread(target=send, args=(process, seed)) for seed, process in enumerate(processes * 2)]
    movers = threading.Thread(target=work, args=(lambda: move_batch(7),))
    movers.start()
    for thread in senders:
        thread.start()
    while any(thread.is_alive() for thread in senders):
        found.append(look(*processes))
    ending.set()
    movers.join()
    move_batch()
    assert look(*processes) == 0
    assert set(found) == {0}
    assert counted() == {"received": 240, "answered": 240, "stored": 240}


class Unlucky(Recorder):
    """Postgres gives no answer to every third hook; one of two such is in the record all the same."""

    asked = 0

    def commit(self, *args, **more):
        self.asked += 1
        if self.asked % 3:
            return super().commit(*args, **more)
        if self.asked % 2:
            super().commit(*args, **more)
        raise Unavailable("It does not answer.")


def test_hooks_that_were_not_answered_are_neither_missing_nor_hide_what_is(machine):
    process = machine(recorder=Unlucky)
    answered = Counter()
    for number in range(30):
        try:
            answered[process.hook("publishStream", name="lobby", n=number).status] += 1
        except Unavailable:
            answered[503] += 1
    wait_until(lambda: process.emptying.since is None, "its being over")
    assert (answered[503], HookRecord.objects.count()) == (10, 25)
    assert look(process) == 0
    HookRecord.objects.filter(id=HookRecord.objects.order_by("id").first().id).delete()  # it was answered
    assert look(process) == 1
    assert counted()["failed"] == 10


# What is missing


def test_a_record_that_went_behind_our_back_is_missing_with_node_process_and_since_when(process, caplog):
    events(process, 3)
    times = [timezone.now().replace(microsecond=0) + timedelta(seconds=seconds) for seconds in (10, 20, 30)]
    assert look(process, now=times[0]) == 0
    HookRecord.objects.filter(id=HookRecord.objects.order_by("-id").first().id).delete()
    assert look(process, now=times[1]) == 1
    (gap,) = gaps.gaps()
    assert (gap.node_name, gap.process, gap.missing) == (NODE, process.counts.name, 1)
    assert (gap.missing_after, gap.missing_since) == tuple(times[:2])
    assert missing() == (1, times[1], times[1], 0)
    assert f"1 hooks that were answered are not in the record: of {NODE} in {process.counts.name}" in caplog.text
    move_batch()
    assert look(process, now=times[2]) == 1
    assert (gaps.gaps()[0].missing_since, counted()["stored"]) == (times[1], 3)


def test_one_too_many_elsewhere_hides_nothing(process, machine):
    """Sums would be the same: one record too many of one process, one too few of the other."""
    other = machine()
    events(process, 2)
    events(other, 2)
    HookRecord.objects.order_by("-id").first().delete()
    note_stored([other.counts.take(NODE, timezone.now()).id])
    assert look(process, other) == 1


def test_what_comes_back_is_not_missing_any_more(process):
    events(process, 1)
    record = HookRecord.objects.order_by("-id").first()
    HookRecord.objects.filter(id=record.id).delete()
    assert look(process) == 1
    record.save(force_insert=True)
    assert look(process) == 0
    assert missing().since is None


def test_it_is_reported_until_somebody_acknowledges_it(process):
    events(process, 3)
    HookRecord.objects.order_by("-id").first().delete()
    assert look(process) == 1
    (gap,) = gaps.gaps()
    assert acknowledge(gap.pk)
    assert not acknowledge(gap.pk)
    assert look(process) == 0
    assert counted() == {"received": 4, "answered": 4, "pending": 3, "acknowledged": 1}
    HookRecord.objects.order_by("-id").first().delete()
    assert look(process) == 1, "What was waiting when it was acknowledged is still expected."


def test_where_too_much_waits_nothing_is_acknowledged(process, monkeypatch):
    events(process, 3)
    HookRecord.objects.order_by("-id").first().delete()
    assert look(process) == 1
    monkeypatch.setattr(gaps, "MOST", 2)
    (gap,) = gaps.gaps()
    assert not acknowledge(gap.pk)
    monkeypatch.undo()
    HookRecord.objects.order_by("-id").first().delete()
    assert acknowledge(gap.pk) == 2, "As many as are missing by now, not as many as were."
    assert counted()["acknowledged"] == 2
    assert look(process) == 0


def test_many_counters_are_noted_at_once(process, machine, django_assert_num_queries):
    ids = [each.counts.take(NODE, timezone.now()).id for each in (process, machine("two")) for _ in range(3)]
    with django_assert_num_queries(1):
        note_stored(ids)
    assert list(Counted.objects.values_list("stored", flat=True)) == [3, 3]
    note_stored(ids)
    assert list(Counted.objects.values_list("stored", flat=True)) == [3, 3]


def test_comparing_asks_the_same_however_many_counters_there_are(process, machine):
    def asked(*processes):
        for each in processes:
            events(each, 1)
        with CaptureQueriesContext(connection) as queries:
            assert look(*processes) == 0
        assert Counted.objects.filter(pending__gt=0).count() == len(processes)
        move_batch()
        return len(queries)

    assert asked(process) == asked(process, machine("two"), machine("three"))


def test_while_it_is_acknowledged_nobody_compares_with_what_was_there_before(process):
    events(process, 3)
    HookRecord.objects.order_by("-id").first().delete()
    assert look(process) == 1
    (gap,) = gaps.gaps()
    looked_at = missing().looked_at
    with connected() as own:
        process.publishing.publish(own, timezone.now() + timedelta(minutes=2))  # so that there is something to note

    def compare_elsewhere():
        with closing(connections["default"]):
            compare(timezone.now() + timedelta(hours=1))

    with ThreadPoolExecutor(1) as others:
        with transaction.atomic():
            assert acknowledge(gap.pk) == 1
            others.submit(compare_elsewhere).result(timeout=10)
            assert missing().looked_at == looked_at
        others.submit(compare_elsewhere).result(timeout=10)
    assert missing().hooks == 0
    assert missing().looked_at > looked_at


def test_where_too_much_waits_nothing_is_said(process, monkeypatch):
    monkeypatch.setattr(gaps, "MOST", 3)
    assert look(process) == 0
    events(process, 4)
    HookRecord.objects.order_by("-id").first().delete()
    events(process, 1)
    assert look(process) == 0
    move_batch()
    assert look(process) == 1


def test_a_record_that_is_moved_twice_is_stored_once(process):
    events(process, 1)
    records = list(HookRecord.objects.all())
    move_batch()
    HookRecord.objects.bulk_create(records)
    move_batch()
    assert look(process) == 0
    assert counted()["stored"] == 2


def test_a_record_that_cannot_be_moved_is_not_missing(process, monkeypatch):
    def broken(*_):
        raise ValueError("No such thing.")

    events(process, 2)
    monkeypatch.setattr("apps.audit.moving.mover.follow", broken)
    move_batch()
    assert look(process) == 0
    assert counted() == {"received": 3, "answered": 3, "bad": 3}
    monkeypatch.undo()
    try_again(list(BadRecord.objects.values_list("id", flat=True)[:2]))
    assert look(process) == 0
    assert counted() == {"received": 3, "answered": 3, "bad": 1, "pending": 2}
    BadRecord.objects.all().delete()
    assert look(process) == 1


# The spool


class Deaf(Recorder):
    """Postgres does not answer."""

    def commit(self, *args, **more):
        raise Unavailable("It does not answer.")


@pytest.fixture
def spooling(machine, monkeypatch):
    """A process that has answered three events from its spool, which is not emptied."""
    monkeypatch.setattr("apps.audit.moving.spool_emptying.Emptying._begin", lambda self: None)
    process = machine(recorder=Deaf)
    events(process, 3)
    return process


def test_what_waits_in_a_spool_is_not_missing(spooling):
    assert look(spooling) == 0
    with connected() as own:
        spooling.emptying._empty(own)
    assert files(spooling.folder) == []
    assert look(spooling) == 0
    assert counted() == {"received": 3, "answered": 3, "pending": 3}


def test_a_spool_that_was_deleted_is(spooling):
    assert look(spooling) == 0
    files(spooling.folder)[0].unlink()
    assert look(spooling) == 3


def test_it_is_told_for_which_nodes_there_is_something_in_the_spools(spooling, monkeypatch):
    monkeypatch.setattr(health, "spool", lambda: spooling.spool)
    for total in (3, 4):
        text = Client().get("/metrics").content.decode()
        assert f'wcsgate_hooks_spooled{{node="{NODE}"}} {total}.0' in text
        events(spooling, 1)


# Processes that were killed


def die(process):
    process.counts.stop()


@pytest.fixture
def killed(process):
    """A process that was killed while it answered two hooks: the record of one of them was written."""
    events(process, 3)
    record = HookRecord.objects.order_by("-id").first()
    record.id = process.counts.take(NODE, timezone.now()).id
    record.save(force_insert=True)
    process.counts.take(NODE, timezone.now())
    die(process)
    return process


def test_what_it_was_answering_is_neither_missing_nor_too_many(killed):
    assert taken_over(killed.folder) == 0
    assert left_in(killed.folder) == []
    move_batch()
    assert look() == 0
    assert counted() == {"received": 6, "answered": 4, "stored": 4}


def test_what_of_it_is_missing_is_still_found(killed):
    HookRecord.objects.order_by("id").first().delete()
    assert taken_over(killed.folder) == 1


def test_twin_without_what_was_out_it_would_be_wrong(killed, monkeypatch):
    real = count_file.found_in
    without = {"busy": frozenset(), "idle": frozenset()}
    monkeypatch.setattr(count_file, "found_in", lambda *args: (found._replace(**without) for found in real(*args)))
    assert taken_over(killed.folder) == 1


def test_twin_without_taking_over_nobody_would_know_of_what_it_answered(killed):
    assert look() == 0
    HookRecord.objects.all().delete()
    assert look() == 0, "Nobody has told that anything was answered."
    assert taken_over(killed.folder) == 4


def test_it_is_not_taken_over_while_its_spool_is_there(spooling):
    die(spooling)
    with connected() as own:
        assert take_over(spooling.folder, own) == 0
        spooling.spool.close()
        publishing_later = spooling.emptying
        publishing_later._spool = Spool(str(spooling.folder), 1)
        publishing_later._empty(own)
    assert taken_over(spooling.folder) == 0
    assert counted() == {"received": 3, "answered": 3, "pending": 3}


def bad_files(folder):
    """What others may have put there; each of them alone once kept every process from telling anything."""
    good = next(path for path in left_in(folder)).read_bytes()
    (folder / "0-folder.counts").mkdir()
    os.mkfifo(folder / "0-fifo.counts")
    (folder / "0-link.counts").symlink_to(folder / "elsewhere")
    (folder / "0-short.counts").write_bytes(good[:1000])
    (folder / "0-long.counts").touch()
    os.truncate(folder / "0-long.counts", 1 << 40)
    (folder / "0-garbage.counts").write_bytes(good[:32] + b"\xff" * (len(good) - 32))
    name = (4 + 7) * 8  # words before the first counter's name
    (folder / "0-nul.counts").write_bytes(good[:name] + b"\0" + good[name + 1 :])
    return sorted(folder.glob("0-*.counts"))


def test_a_bad_file_is_moved_aside_and_keeps_nobody_from_what_good_ones_say(killed, caplog):
    bad = bad_files(killed.folder)
    assert len(bad) == 7
    assert taken_over(killed.folder) == 0
    assert left_in(killed.folder) == []
    assert {path.name for path in killed.folder.glob("*.aside")} == {f"{path.name}.aside" for path in bad}
    assert len([record for record in caplog.records if "cannot be used and is moved aside" in record.message]) == 7
    assert counted() == {"received": 6, "answered": 4, "pending": 5}


def test_what_fails_for_the_moment_stays_for_the_next_time(killed, monkeypatch, caplog):
    with monkeypatch.context() as patch, connected() as own:
        patch.setattr(spool_folder.os, "open", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
        assert take_over(killed.folder, own) == 0
    assert "cannot be taken over just now: Too many open files" in caplog.text
    assert taken_over(killed.folder) == 0
    assert left_in(killed.folder) == []


def test_a_process_tells_of_itself_before_it_looks_for_what_others_left(process, monkeypatch):
    told = []
    monkeypatch.setattr(publishing, "PAUSE", 0.01)
    monkeypatch.setattr(
        publishing, "take_over", lambda *_: told.append(Counted.objects.filter(answered=2).exists()) or stopped.set()
    )
    stopped = threading.Event()
    events(process, 1)
    process.publishing.start()
    assert stopped.wait(5)
    process.publishing.stop()
    assert told[0] is True


def test_a_bad_spool_is_moved_aside_and_those_of_others_are_replayed(spooling):
    die(spooling)
    spooling.spool.close()
    (spooling.folder / "0.spool").mkdir()
    os.mkfifo(spooling.folder / "1.spool")
    with connected() as own:
        assert spool_emptying.take_over(spooling.folder, own) == 3
    assert files(spooling.folder) == []
    assert {path.name for path in spooling.folder.glob("*.aside")} == {"0.spool.aside", "1.spool.aside"}


def test_the_spool_of_another_user_stays_where_it_is_and_is_counted(spooling, monkeypatch, caplog):
    """Its process may live, and empty it."""
    others = spooling.folder / "0.spool"
    others.write_bytes(b"WCSSPOOL")
    real = os.open

    def denied(path, *args):
        if str(path) == str(others):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *args)

    die(spooling)
    spooling.spool.close()
    monkeypatch.setattr(spool_folder.os, "open", denied)
    with connected() as own:
        assert spool_emptying.take_over(spooling.folder, own) == 3
    assert files(spooling.folder) == [others]
    assert "0.spool cannot be replayed by this user: Permission denied" in caplog.text
    assert (waiting(spooling.folder).entries, waiting(spooling.folder).aside) == (0, 1)


def sparse(folder, name, size, beginning=b"WCSSPOOL"):
    """A file of zeros, of which the disk has only what it begins with."""
    path = folder / name
    path.write_bytes(beginning)
    os.truncate(path, size)
    return path


@pytest.mark.parametrize(
    "head", [b"", b"\xf0\x00\x00\x00\x00\x00\x00\x01"], ids=["zeros", "an entry of four gigabytes"]
)
def test_a_huge_spool_of_nothing_takes_no_memory_and_hides_nothing(process, head):
    events(process, 2)
    HookRecord.objects.order_by("-id").first().delete()
    path = sparse(process.folder, "0.spool", 10_000_000_000, b"WCSSPOOL" + head)
    assert look(process) == 0, "Nothing is told while something waits."
    tracemalloc.start()
    with connected() as own:
        assert spool_emptying.take_over(process.folder, own) == 0
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()
    assert files(process.folder) == []
    (aside,) = process.folder.glob("*.aside")
    assert (aside.name, aside.stat().st_size) == ("0.spool.aside", 10_000_000_000)
    assert waiting(process.folder).aside == 1
    assert look(process) == 1
    assert not path.exists()


def test_what_stands_before_a_long_torn_piece_is_replayed(spooling):
    die(spooling)
    spooling.spool.close()
    (path,) = files(spooling.folder)
    os.truncate(path, 10_000_000_000)
    with connected() as own:
        assert spool_emptying.take_over(spooling.folder, own) == 3
    assert files(spooling.folder) == []
    assert HookRecord.objects.count() == 3


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()], ids=type)
def test_a_spool_that_cannot_be_read_just_now_stays_and_others_are_replayed(spooling, monkeypatch, caplog, error):
    die(spooling)
    spooling.spool.close()
    bad, real = sparse(spooling.folder, "0.spool", 8), spool_emptying.pieces

    def pieces(path, *args):
        if path == bad:
            raise error
        return real(path, *args)

    with monkeypatch.context() as patch, connected() as own:
        patch.setattr(spool_emptying, "pieces", pieces)
        assert spool_emptying.take_over(spooling.folder, own) == 3
    assert files(spooling.folder) == [bad]
    assert "0.spool cannot be replayed just now" in caplog.text


@pytest.mark.parametrize("name", ["\udcff.spool", "x" * 240 + ".spool"], ids=["no text", "long"])
def test_a_spool_with_an_odd_name_keeps_nobody_from_the_others(spooling, name, caplog):
    die(spooling)
    spooling.spool.close()
    (spooling.folder / name).write_bytes(b"WCSSPOOL")
    with connected() as own:
        assert spool_emptying.take_over(spooling.folder, own) == 3
    assert files(spooling.folder) == []
    assert caplog.text.encode(), "whatever is logged is text"


def test_a_process_that_cannot_tell_for_a_spool_that_stays_is_silent(process):
    events(process, 1)
    stays = sparse(process.folder, "0.spool", 8)
    assert look(process, now=timezone.now() - gaps.STALE - timedelta(seconds=5)) == 0
    assert missing().silent == 1, "Also where it never told anything."
    stays.unlink()
    assert look(process, now=timezone.now() - gaps.STALE - timedelta(seconds=5)) == 0
    stays = sparse(process.folder, "0.spool", 8)
    events(process, 1)
    assert look(process) == 0
    assert missing().silent == 1
    stays.unlink()
    assert look(process) == 0
    assert missing().silent == 0


def test_of_a_machine_that_went_down_counts_what_it_had_told(process, monkeypatch):
    events(process, 2)
    assert look(process) == 0
    events(process, 2)
    die(process)
    monkeypatch.setattr(count_file, "_boot", lambda: b"another boot....")
    HookRecord.objects.order_by("-id").first().delete()
    assert taken_over(process.folder) == 0
    HookRecord.objects.order_by("id").first().delete()
    assert look() == 1
    assert Counted.objects.get(node_name=NODE).ended


def test_two_machines_count_each_in_its_folder_and_come_together(machine):
    first, second = machine("one"), machine("two")
    events(first, 2)
    events(second, 3)
    die(first)
    assert look(second) == 0
    assert taken_over(first.folder) == 0
    assert left_in(second.folder) != []
    assert counted() == {"received": 5, "answered": 5, "pending": 5}


# Keeping the table small


def test_what_ended_with_nothing_missing_goes_into_the_sums_of_its_node(process, machine):
    other = machine()
    events(process, 2)
    events(other, 2)
    for one in (process, other):
        die(one)
    taken_over(process.folder)
    move_batch()
    compare(timezone.now())
    before = counted()
    sum_up(timezone.now())
    assert Counted.objects.filter(counter=None).count() == 0
    sum_up(timezone.now() + timedelta(hours=2))
    sum_up(timezone.now() + timedelta(hours=2))
    assert (Counted.objects.get(node_name=NODE).counter, counted()) == (None, before)


def test_what_is_missing_stays_as_it_is(process):
    events(process, 2)
    HookRecord.objects.order_by("-id").first().delete()
    die(process)
    assert taken_over(process.folder) == 1
    move_batch()
    compare(timezone.now())
    sum_up(timezone.now() + timedelta(days=3))
    assert missing().hooks == 1


def test_whoever_was_silent_for_so_long_that_its_counter_was_summed_up_gets_another_one(process):
    events(process, 2)
    move_batch()
    assert look(process) == 0
    compare(timezone.now())
    sum_up(timezone.now() + timedelta(days=2))
    events(process, 1)
    look(process)
    events(process, 2)
    assert look(process) == 0
    assert counted()["answered"] == 5
    move_batch()
    assert look(process) == 0


def test_whoever_lives_tells_so_each_minute(process):
    now = timezone.now()
    look(process, now=now)
    look(process, now=now + timedelta(seconds=59))
    assert Counted.objects.get(node_name=NODE).published_at == now
    look(process, now=now + timedelta(seconds=60))
    assert Counted.objects.get(node_name=NODE).published_at == now + timedelta(seconds=60)


# Where it shows


def test_a_process_that_does_not_tell_is_not_hidden_by_one_that_does(machine):
    silent, telling = machine("one"), machine("two")
    for process in (silent, telling):
        assert process.reason("connect", custom={"token": "tok-alice"}) == ""
    look(silent, telling, now=timezone.now() - gaps.STALE - timedelta(seconds=5))
    assert missing().silent == 2
    look(telling)
    assert missing().silent == 1
    assert Client().get("/readyz").json()["silent_processes"] == 1
    assert "\nwcsgate_silent_processes 1.0" in Client().get("/metrics").content.decode()
    die(silent)
    assert taken_over(silent.folder) == 0
    assert missing().silent == 0


def test_a_process_that_never_told_but_whose_hooks_are_in_the_record_is_silent(process):
    move_batch()
    Counted.objects.update(began_at=timezone.now() - gaps.STALE)
    assert missing().silent == 1
    Counted.objects.update(began_at=timezone.now() - gaps.SILENT_FOR)
    assert missing().silent == 0
    look(process)
    assert missing().silent == 0


@pytest.fixture
def gap(process):
    """One hook is missing."""
    events(process, 2)
    HookRecord.objects.order_by("-id").first().delete()
    assert look(process) == 1


@pytest.mark.usefixtures("gap")
@pytest.mark.parametrize(("limit", "status"), [(0, 200), (1, 503), (2, 200)])
def test_readyz_says_how_many_and_is_not_well_from_a_limit_on(settings, limit, status):
    settings.MISSING_LIMIT = limit
    said = Client().get("/readyz")
    assert (said.status_code, said.json()["missing"]) == (status, 1)
    assert said.json().get("error") == ("hooks-missing" if status == 503 else None)


@pytest.mark.usefixtures("gap")
def test_metrics_have_every_count_by_node():
    text = Client().get("/metrics").content.decode()
    assert "\nwcsgate_missing 1.0" in text
    for name, number in {
        "received_total": 3,
        "answered_total": 3,
        "undecided_total": 0,
        "stored_total": 0,
        "pending": 2,
        "bad": 0,
        "missing": 1,
    }.items():
        assert f'\nwcsgate_hooks_{name}{{node="{NODE}"}} {number}.0' in text


def test_the_workers_do_all_of_it(killed, settings):
    settings.SPOOL = str(killed.folder)
    HookRecord.objects.order_by("id").first().delete()
    assert look_for_gaps() == 1
    assert left_in(killed.folder) == []


def test_the_thread_of_a_process_tells_by_itself(process, monkeypatch):
    monkeypatch.setattr(publishing, "PAUSE", 0.01)
    events(process, 1)
    process.publishing.start()
    wait_until(lambda: Counted.objects.filter(answered=2).exists(), "what it tells")
    process.publishing.stop()
