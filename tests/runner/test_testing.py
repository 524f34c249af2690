"""`manage.py test` inside a test run: a small checkout with a small suite of its own."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.runner.service import copy_runner, processes_of, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")

SUITE = """
import os, time, psycopg, pytest

def test_servers():
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT current_setting('fsync')").fetchone() == ("off",)
    assert os.environ["BROKER_URL"].startswith("redis://")
    assert os.environ["WCSGATE_ENV"] == "test"

def test_failure():
    assert False

def test_long():
    open(f"running-{os.getpid()}", "w").close()
    time.sleep(1000)
"""


@pytest.fixture
def start(tmp_path: Path):
    """Start `manage.py test` with a folder for temporary files that we can look into afterwards."""
    copy_runner(tmp_path)
    (tmp_path / "test_small.py").write_text(SUITE)
    base = Path(tempfile.mkdtemp(prefix="wcsgate-small-"))
    base.chmod(0o711)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("WCSGATE_", "DJANGO_", "PYTEST_"))
    }
    for name in ("DATABASE_URL", "BROKER_URL"):
        kept.pop(name, None)
    environment = kept | {"WCSGATE_NO_BOOTSTRAP": "1", "TMPDIR": str(base), "WCSGATE_BROWSER": "none"}

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "manage.py", "test", "-q", "-p", "no:cacheprovider", *arguments]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)

    yield start
    wait_for(lambda: processes_of(base) == {}, seconds=8)
    base.rmdir()


def test_servers_are_there_and_the_exit_code_comes_through(start) -> None:
    process = start("-k", "servers or failure")
    said, _ = process.communicate(timeout=60)
    assert "1 failed, 1 passed" in said
    assert process.returncode == 1


def test_unknown_check_is_a_sentence(tmp_path: Path) -> None:
    copy_runner(tmp_path)
    command = [sys.executable, "manage.py", "lint", "spelling"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "manage.py lint knows style, format, types and fix, not spelling.\n"


def test_interrupted_run_leaves_nothing(start, tmp_path: Path) -> None:
    runs = {start("-k", "long"): number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)}
    for process, number in runs.items():
        wait_for((tmp_path / f"running-{process.pid}").exists)
        process.send_signal(number)
    for process, number in runs.items():
        process.communicate(timeout=30)
        assert process.returncode == (-9 if number == signal.SIGKILL else 2)
