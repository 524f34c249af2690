"""The spool file: what is appended is on the disk, what is torn is recognised, what nobody holds can be taken over."""

import errno
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from apps.audit.missing.spooled import spooled_by_node
from apps.audit.recording import spool as module
from apps.audit.recording import spool_folder
from apps.audit.recording.spool import Spool, SpoolUnusable, count, files, keep_aside, pieces, since_of, waiting
from apps.audit.recording.spool_folder import UnusableFile, taken_over
from runner import ROOT

SINCE = datetime(2026, 3, 1, 14, 30, 5, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def spool(folder):
    spool = Spool(str(folder), 10_000)
    yield spool
    spool.close()


def payloads(path):
    return [piece.payload for piece in pieces(path, 0)]


def test_what_is_appended_can_be_read_again_in_its_order(spool):
    for payload in (b"one", b"two", b"three"):
        spool.append(payload, SINCE)
    assert payloads(spool.file.path) == [b"one", b"two", b"three"]
    assert count(spool.file.path, 0) == (3, spool.file.size)


def test_only_its_owner_can_read_it(spool, folder):
    spool.append(b"one", SINCE)
    keep_aside(spool.file.path, b"x")
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())] == [0o700, 0o600, 0o600]


def test_its_name_says_since_when_postgres_is_away(spool, folder):
    spool.append(b"one", SINCE)
    assert [since_of(path) for path in files(folder)] == [SINCE]


def test_an_entry_is_on_the_disk_before_append_gives_back(spool, monkeypatch):
    on_disk = []
    real = os.fsync

    def fsync(fd):
        real(fd)
        on_disk.append(os.fstat(fd).st_size)

    monkeypatch.setattr(module.os, "fsync", fsync)
    for payload in (b"one", b"two"):
        spool.append(payload, SINCE)
        assert on_disk[-1] == spool.file.size == spool.file.synced


def test_those_who_wait_at_the_same_time_share_one_sync(spool, monkeypatch):
    spool.append(b"first", SINCE)
    real, synced, go_on = os.fsync, [], threading.Event()

    def slow(fd):
        synced.append(fd)
        go_on.wait(5)
        real(fd)

    monkeypatch.setattr(module.os, "fsync", slow)
    threads = [threading.Thread(target=spool.append, args=(b"%d" % number, SINCE)) for number in range(8)]
    whole = spool.file.size + sum(8 + 1 for _ in threads)
    for thread in threads:
        thread.start()
    while spool.file.size < whole and any(thread.is_alive() for thread in threads):
        threads[0].join(0.01)
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(synced) <= 3
    assert count(spool.file.path, 0)[0] == 9


def test_a_torn_last_entry_is_recognised_wherever_it_was_torn(spool):
    spool.append(b"whole", SINCE)
    whole = spool.file.size
    spool.append(b"torn", SINCE)
    path, size = spool.file.path, spool.file.size
    for end in range(whole + 1, size):
        os.truncate(path, end)
        assert [(piece.payload, piece.start) for piece in pieces(path, 0)][1:] == [(None, whole)]
        assert count(path, 0) == (1, whole)


def test_an_entry_that_was_changed_is_recognised_and_hides_no_other(spool):
    for payload in (b"one", b"two", b"three"):
        spool.append(payload, SINCE)
    path = spool.file.path
    content = path.read_bytes()
    path.write_bytes(content.replace(b"two", b"twe"))
    assert payloads(path) == [b"one", None, b"three"]


def test_it_does_not_grow_beyond_its_limit(spool):
    spool.append(b"x" * 9_900, SINCE)
    with pytest.raises(SpoolUnusable, match="as much in it as it may"):
        spool.append(b"x" * 100, SINCE)
    spool.append(b"x", SINCE)
    assert count(spool.file.path, 0)[0] == 2


def test_what_a_full_disk_took_only_in_part_is_taken_back(spool, monkeypatch):
    spool.append(b"one", SINCE)
    real = os.pwrite

    def full(fd, data, place):
        if len(data) <= 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[:5], place)

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "pwrite", full)
        with pytest.raises(SpoolUnusable, match="No space left"):
            spool.append(b"two", SINCE)
    spool.append(b"three", SINCE)
    assert payloads(spool.file.path) == [b"one", b"three"]


def test_after_a_sync_that_failed_its_file_is_not_trusted_any_more(spool, folder, monkeypatch):
    spool.append(b"one", SINCE)
    with monkeypatch.context() as patch:

        def fail(fd):
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(module.os, "fsync", fail)
        with pytest.raises(SpoolUnusable, match="Input/output error"):
            spool.append(b"two", SINCE)
    spool.append(b"three", SINCE)
    assert len(files(folder)) == 2
    assert payloads(spool.file.path) == [b"three"]


@pytest.mark.parametrize("folder", ["", "/dev/null/spool"])
def test_without_a_folder_nothing_can_be_kept(folder):
    with pytest.raises(SpoolUnusable):
        Spool(folder, 10_000).append(b"one", SINCE)


def test_a_file_is_removed_only_with_its_last_entry(spool, folder):
    spool.append(b"one", SINCE)
    replayed = spool.file.synced
    spool.append(b"two", SINCE)
    assert not spool.remove(replayed)
    assert spool.remove(spool.file.synced)
    assert (files(folder), spool.file) == ([], None)


HOLD = """
import sys
from datetime import UTC, datetime
from apps.audit.recording.spool import Spool
spool = Spool(sys.argv[1], 10_000)
spool.append(b"one", datetime.now(UTC))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_file_of_another_process_can_be_taken_over_once_that_has_died(folder):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "held\n"
        (path,) = files(folder)
        with taken_over(path) as ours:
            assert not ours
        other.kill()
    with taken_over(path) as ours, taken_over(path) as twice:
        assert ours is not None
        assert twice is None
        path.unlink()
    with taken_over(path) as gone:
        assert not gone


def test_nobody_takes_over_what_was_removed_while_they_waited(spool, folder, monkeypatch):
    spool.append(b"one", SINCE)
    path = spool.file.path
    real = spool_folder._lock

    def late(fd):
        spool.remove(spool.file.synced)
        return real(fd)

    monkeypatch.setattr(spool_folder, "_lock", late)
    with taken_over(path) as ours:
        assert not ours


def odd_things(folder, suffix):
    """What does not belong there: to open it would fail, follow elsewhere or wait for ever."""
    folder.mkdir(exist_ok=True)
    (folder / f"a{suffix}").mkdir()
    os.mkfifo(folder / f"b{suffix}")
    (folder / "elsewhere").write_bytes(b"x")
    (folder / f"c{suffix}").symlink_to(folder / "elsewhere")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / f"d{suffix}"))
    return [folder / f"{name}{suffix}" for name in "abcd"]


def test_only_regular_files_are_taken_over_and_nobody_waits_for_another(folder):
    for path in odd_things(folder, ".spool"):
        with pytest.raises(UnusableFile), taken_over(path):
            raise AssertionError


def test_what_is_no_file_is_not_waited_for_when_counting(folder, spool):
    odd_things(folder, ".spool")
    spool.append(b"one", SINCE)
    assert (waiting(folder).entries, waiting(folder).aside) == (1, 4)
    assert spooled_by_node(folder) == {}


FILL = """
import resource, sys
from datetime import UTC, datetime
from apps.audit.recording.spool import Spool, SpoolUnusable
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
spool = Spool(sys.argv[1], 10_000)
kept = 0
try:
    while True:
        spool.append(b"0123456789", datetime.now(UTC))
        kept += 1
except SpoolUnusable as error:
    print(kept, error)
"""


def test_what_the_system_itself_will_not_write_is_refused_and_leaves_whole_entries(folder):
    done = subprocess.run([sys.executable, "-c", FILL, str(folder)], cwd=ROOT, capture_output=True, text=True)
    kept, _, error = done.stdout.partition(" ")
    assert error.startswith("The spool cannot be written"), done.stderr
    assert int(kept) > 1
    assert payloads(*files(folder)) == [b"0123456789"] * int(kept)
