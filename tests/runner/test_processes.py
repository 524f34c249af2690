"""Children, grandchildren and the guard, with real kills."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import ROOT
from runner.processes import Process
from tests.runner.service import processes_of, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")

# A program that does not listen to polite requests, with a child of its own.
STUBBORN = ["sh", "-c", "trap '' TERM; sleep 1000 & echo started; wait; sleep 1000"]

OWNER = f"""
import sys, time
from pathlib import Path
from runner.processes import GUARD, Process
folder = Path({{folder!r}})
Process("stubborn", {STUBBORN!r}, log=folder / "log").start()
GUARD.remove_folder(folder / "scratch")
GUARD.popen.kill()
GUARD.popen.wait()
GUARD.watch()
print("started", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def stubborn(tmp_path: Path) -> Iterator[Process]:
    process = Process("stubborn", STUBBORN, log=tmp_path / "log", env=os.environ | {"FOLDER": str(tmp_path)})
    process.patience = 0.3
    process.start()
    wait_for(lambda: "started" in process.log.read_text())
    yield process
    process.kill()


def test_stop_ends_grandchildren_too(stubborn: Process, tmp_path: Path) -> None:
    assert len(processes_of(tmp_path)) == 2
    stubborn.stop()
    assert not stubborn.alive
    wait_for(lambda: processes_of(tmp_path) == {})


def test_it_starts_again(stubborn: Process, tmp_path: Path) -> None:
    first = stubborn.pid
    stubborn.start()
    assert stubborn.alive
    assert stubborn.pid != first
    wait_for(lambda: first not in processes_of(tmp_path))


def test_run_gives_input_and_returns_the_code(tmp_path: Path) -> None:
    process = Process("reader", ["sh", "-c", "cat; exit 3"], log=tmp_path / "log")
    assert process.run("a line\n") == 3
    assert process.log.read_text() == "a line\n"


def test_killed_owner_leaves_nothing(tmp_path: Path) -> None:
    """Even if somebody killed the guard before: the next one knows what the first knew."""
    (tmp_path / "scratch").mkdir()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(folder=str(tmp_path))],
        cwd=ROOT,
        env=os.environ | {"FOLDER": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    with owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"started\n"
        wait_for(lambda: "started" in (tmp_path / "log").read_text())
        assert len(processes_of(tmp_path)) == 4  # the owner, the guard, the stubborn one and its child
        owner.send_signal(signal.SIGKILL)
    wait_for(lambda: processes_of(tmp_path) == {}, seconds=8)
    assert not (tmp_path / "scratch").exists()
