"""Postgres is stopped, paused and killed while hooks come in, and so is web: what was answered is recorded, once."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections import Counter
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psycopg
import pytest

from runner import ROOT
from runner.places import free_port, scratch_folder
from runner.servers import Postgres
from runner.up import WEB
from tests.system.services import Web, environment, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")

PASSWORD = "hook-secret"
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
ACCESS = f"""
apps:
  - {{key: defaultApp, hook_user: wcs, hook_password: {PASSWORD}}}
"""
EVENTS = """SELECT convert_from(body, 'UTF8')::json->>'n', while_away FROM audit_hookrecord
    WHERE method = 'StreamStatusEvent'"""


class Load:
    """Sends events, and what must be refused, to several web processes; notes what was answered."""

    def __init__(self, ports):
        self.answered: list[int] = []
        self.wrongly_allowed = 0
        self.refused = 0
        self._numbers = itertools.count()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._send_to, args=(port,)) for port in ports * 2]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _send_to(self, port):
        while not self._ending.wait(0.01):
            number = next(self._numbers)
            if _post(port, "StreamStatusEvent", n=number) == 200:
                self.answered.append(number)
            status = _post(port, "connect", n=number, custom={"token": "wrong"})
            self.wrongly_allowed += status == 200
            self.refused += status == 503


def _post(port, method, **members):
    connection = HTTPConnection("127.0.0.1", port, timeout=15)
    login = b64encode(f"wcs:{PASSWORD}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {login}"}
    body = json.dumps({"nodeId": "n@1", "appKey": "defaultApp", "sessionId": "/192.0.2.1:1/192.0.2.2:2", **members})
    try:
        connection.request("POST", f"/hooks/{method}", body, headers)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


@pytest.fixture
def folder():
    folder = scratch_folder("wcsgate-outages-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def postgres(folder, stack):
    server = stack.enter_context(Postgres(folder / "postgres", password="outages"))
    stack.callback(server.remove)
    return server


@pytest.fixture
def start_web(folder, postgres, stack):
    """Starts web processes on a database that has an app and nothing else."""
    own = environment(DATABASE_URL=postgres.url, WCSGATE_ENCRYPTION_KEYS=KEY)
    (folder / "access.yaml").write_text(ACCESS)
    for command in (["migrate", "--noinput"], ["import_access", str(folder / "access.yaml")]):
        done = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env=own, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(name, spool="spool"):
        port, on_it = str(free_port()), own | {"WCSGATE_SPOOL": str(folder / spool)}
        line = [sys.executable, "-m", *WEB, "--host", "127.0.0.1", "--port", port, "wcsgate.wsgi:application"]
        return stack.enter_context(Web(name, line, log=folder / f"{name}.log", env=on_it, cwd=ROOT))

    return start


def port_of(web):
    return int(web.command[web.command.index("--port") + 1])


def signal_all(server, number):
    """Signal the server and its children; they are in sessions of their own."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    for pid in [server.pid, *map(int, children)]:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def recorded(postgres):
    with psycopg.connect(postgres.url) as connection:
        return [(int(number), away) for number, away in connection.execute(EVENTS)]


def test_what_was_answered_is_there_once_whatever_is_stopped_and_killed(folder, postgres, start_web):
    first, second = start_web("first"), start_web("second")
    spool = folder / "spool"
    with Load([port_of(first), port_of(second)]) as load:
        time.sleep(1)
        signal_all(postgres, signal.SIGSTOP)
        time.sleep(2)
        signal_all(postgres, signal.SIGCONT)
        time.sleep(2)
        postgres.kill()
        wait_until(lambda: len(list(spool.glob("*.spool"))) > 2, "spools of both", 20)
        first.kill()
        time.sleep(1)
        postgres.start()
        postgres.wait_until_ready()
        first.start()  # which takes over what it left
        time.sleep(2)
        second.kill()
        second.start()
        second.wait_until_ready()
    wait_until(lambda: not list(spool.glob("*.spool")), "the spool")
    found = recorded(postgres)
    counted = Counter(number for number, _ in found)
    assert {number for number in load.answered if counted[number] != 1} == set()
    assert max(counted.values()) == 1
    assert sum(away for _, away in found) > 50, "Too few came while Postgres was away to show anything."
    assert load.refused > 10
    assert load.wrongly_allowed == 0
