"""`manage.py test` inside a test run: a small checkout with a small suite of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import workers
from tests.runner.service import copy_runner, processes_of, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")

SUITE = """
import os, time, psycopg, pytest

RUN = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()

def test_servers():
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT current_setting('fsync')").fetchone() == ("off",)
    assert os.environ["BROKER_URL"].startswith("redis://")
    assert os.environ["WCSGATE_ENV"] == "test"

def test_failure():
    raise AssertionError("in " + os.environ.get("PYTEST_XDIST_WORKER", "no worker"))

def test_long():
    open(f"running-{RUN}", "w").close()
    time.sleep(1000)
"""

SPREAD_SUITE = """
import os

def test_worker():
    open(os.environ["PYTEST_XDIST_WORKER"], "w").close()

def test_failure():
    raise AssertionError("in " + os.environ["PYTEST_XDIST_WORKER"])
"""


@pytest.fixture
def start(tmp_path: Path):
    """Start `manage.py test` with a folder for temporary files that we can look into afterwards."""
    copy_runner(tmp_path)
    (tmp_path / "tests").mkdir()
    shutil.copy(workers.__file__, tmp_path / "tests")
    (tmp_path / "test_small.py").write_text(SUITE)
    base = Path(tempfile.mkdtemp(prefix="wcsgate-small-"))
    base.chmod(0o711)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("WCSGATE_", "DJANGO_", "PYTEST_"))
    }
    for name in ("DATABASE_URL", "BROKER_URL"):
        kept.pop(name, None)
    places = {"TMPDIR": str(base), "PYTEST_DEBUG_TEMPROOT": str(tmp_path)}  # pytest keeps its own folders on purpose
    own = {"WCSGATE_NO_BOOTSTRAP": "1", "WCSGATE_BROWSER": "none", "PYTEST_XDIST_AUTO_NUM_WORKERS": "2"}
    environment = kept | own | places

    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "manage.py", "test", "-q", "-p", "no:cacheprovider", *arguments]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()
    wait_for(lambda: processes_of(base) == {}, seconds=20)
    base.rmdir()


def test_servers_are_there_and_the_exit_code_comes_through(start) -> None:
    process = start("-k", "servers or failure")
    said, _ = process.communicate(timeout=120)
    assert "1 failed, 1 passed" in said
    assert "AssertionError: in no worker" in said
    assert process.returncode == 1


def test_the_whole_suite_is_spread_over_workers(start, tmp_path: Path) -> None:
    for name in ("test_small.py", "test_more.py"):
        (tmp_path / name).write_text(SPREAD_SUITE)
    said, _ = start().communicate(timeout=120)
    assert "2 failed, 2 passed" in said
    assert "FAILED test_small.py::test_failure - AssertionError: in gw" in said
    assert len({worker.name for worker in tmp_path.glob("gw*")}) == 2


@pytest.mark.parametrize("option", workers.CHOOSING)
def test_chosen_tests_are_not_spread(monkeypatch, pytestconfig, option: str) -> None:
    monkeypatch.setattr(pytestconfig, "args_source", pytestconfig.ArgsSource.TESTPATHS)
    for name in workers.CHOOSING:
        assert hasattr(pytestconfig.option, name)
        monkeypatch.setattr(pytestconfig.option, name, False)
    assert workers.pytest_xdist_auto_num_workers(pytestconfig) == os.cpu_count() + 1
    monkeypatch.setattr(pytestconfig.option, option, "deny")
    assert workers.pytest_xdist_auto_num_workers(pytestconfig) == 0


def test_what_starts_services_stays_together_and_comes_first() -> None:
    nodeids = ["tests/access/test_a.py::test_1", "tests/runner/test_up.py::test_2", "tests/system/test_demo.py::test_3"]
    items = [SimpleNamespace(nodeid=nodeid) for nodeid in nodeids]
    workers.pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == [*nodeids[1:], nodeids[0]]
    scheduling = workers.Scheduling.__new__(workers.Scheduling)
    assert [scheduling._split_scope(nodeid) for nodeid in nodeids] == ["tests/access/test_a.py", "services", "services"]


def test_unknown_check_is_a_sentence(tmp_path: Path) -> None:
    copy_runner(tmp_path)
    command = [sys.executable, "manage.py", "lint", "spelling"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "manage.py lint knows style, format, types and fix, not spelling.\n"


@pytest.mark.parametrize("number_of_workers", ["0", "2"])
def test_interrupted_run_leaves_nothing(start, tmp_path: Path, number_of_workers: str) -> None:
    runs = {
        start("-k", "long", "-n", number_of_workers): number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    }
    for process, number in runs.items():
        wait_for((tmp_path / f"running-{process.pid}").exists)
        process.send_signal(number)
    for process, number in runs.items():
        process.communicate(timeout=60)
        assert process.returncode == (-9 if number == signal.SIGKILL else 2)
