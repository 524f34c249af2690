"""Web processes are killed while hooks come in, on two machines: no hook seems missing; and one that is, is found."""

import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from base64 import b64encode
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException

import psycopg
import pytest

from apps.audit.recording.count_file import left_in
from runner import ROOT
from runner.places import free_port, scratch_folder
from runner.servers import Postgres
from runner.services import Web, environment, wait_until
from runner.up import WEB

PASSWORD = "hook-secret"
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
ACCESS = f"""
apps:
  - {{key: defaultApp, hook_user: wcs, hook_password: {PASSWORD}}}
"""


class Load:
    """Sends events to several web processes, and what must be refused; notes which events were answered."""

    def __init__(self, ports):
        self.answered: list[int] = []
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
            _post(port, "connect", n=number, custom={"token": "wrong"})


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


WORKERS = int(WEB[WEB.index("--workers") + 1])
LOOK = """
import json
from apps.audit.missing.gaps import gaps, per_node
from apps.audit.tasks import look_for_gaps, move_records
moved = move_records()
missing = look_for_gaps()
found = [(gap.node_name, gap.process, gap.missing, str(gap.missing_since)) for gap in gaps()]
print(json.dumps([missing, per_node(), found]))
"""


def look(postgres, spool):
    """What the workers of a machine find; as they do it, in a process of its own."""
    own = environment(DATABASE_URL=postgres.url, WCSGATE_SPOOL=str(spool), WCSGATE_ENCRYPTION_KEYS=KEY)
    line = [sys.executable, "manage.py", "shell", "--no-imports", "-c", LOOK]
    done = subprocess.run(line, cwd=ROOT, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_web_processes_killed_under_load_leave_nothing_missing(folder, postgres, start_web):
    first, second = start_web("first"), start_web("second", spool="other-machine")
    with Load([port_of(first), port_of(second)]) as load:
        for web in (first, second, first):
            time.sleep(1.2)
            web.kill()
            web.start()
            web.wait_until_ready()
        time.sleep(1)
    for spool in ("spool", "other-machine"):
        wait_until(lambda spool=spool: len(left_in(folder / spool)) == WORKERS, "the files of those that were killed")
    time.sleep(2.5)
    missing, nodes, _ = look(postgres, folder / "spool")
    sums = {name: sum(node[name] for node in nodes) for name in ("answered", "stored", "pending", "bad")}
    assert missing == 0
    assert len(load.answered) > 50
    assert sums["answered"] >= len(load.answered)
    assert sums == {"answered": sums["stored"], "stored": sums["stored"], "pending": 0, "bad": 0}

    assert _post(port_of(first), "StreamStatusEvent", n=-1) == 200
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("DELETE FROM audit_hookrecord").rowcount == 1
    time.sleep(2.5)
    missing, _, ((node, process, hooks, since),) = look(postgres, folder / "spool")
    assert (missing, hooks, node) == (1, 1, "n@1")
    assert process in {path.stem for path in left_in(folder / "spool")}
    assert since.startswith("20")
