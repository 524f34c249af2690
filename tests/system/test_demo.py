"""The whole service as it is first met: `manage.py up`, the simulator's morning at the demo school, and Ctrl-C."""

import http.cookiejar
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import ROOT, data
from runner.places import free_port, scratch_folder
from runner.services import environment, wait_until
from tests.runner.service import processes_of
from tests.system.ledger import answered, differences, logged, waiting

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")


class Demo:
    """A running `manage.py up` with a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = environment(WCSGATE_DATA=str(folder / "data"), WCSGATE_PORT=str(self.port))
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    @property
    def values(self) -> dict[str, str]:
        """What `up` made for this demo: addresses and passwords."""
        return data.read_values(self.folder / "data")

    def manage(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """A command in another terminal."""
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, input=text, capture_output=True, text=True, timeout=60
        )

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    folder = scratch_folder("wcsgate-demo-")
    demo = Demo(folder)
    try:
        ended_or_ready = lambda: "WCS Gate is ready" in demo.text or demo.popen.poll() is not None  # noqa: E731
        wait_until(ended_or_ready, "manage.py up", 180)
        assert "WCS Gate is ready" in demo.text, demo.text
        yield demo
    finally:
        demo.popen.kill()
        demo.popen.wait()
        wait_until(lambda: not processes_of(folder), "the guard", 10)
        shutil.rmtree(folder)


def test_the_demo_is_loaded_and_says_how_to_log_in(demo: Demo) -> None:
    assert "The demo was loaded" in demo.text
    assert f"user admin, password {demo.values['WCSGATE_ADMIN_PASSWORD']}" in demo.text


def test_a_morning_at_the_school_goes_as_expected_and_is_in_the_audit_log(demo: Demo) -> None:
    ledger = demo.folder / "ledger"
    morning = demo.manage("wcs_simulator", "--json", "--ledger", str(ledger))
    assert morning.returncode == 0, morning.stdout + morning.stderr
    report = json.loads(morning.stdout)
    assert report["asExpected"] is True
    assert report["hooks"]["failed"] == 0
    database = demo.values["DATABASE_URL"]
    wait_until(lambda: waiting(database) == 0, "the worker")
    hooks = answered(ledger)
    assert hooks.total() == report["hooks"]["sent"] + report["hooks"]["repeats"] > 100
    assert differences(hooks, logged(database)) == {}


def test_the_admin_lets_the_admin_in(demo: Demo) -> None:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with opener.open(demo.url("/admin/"), timeout=10) as answer:
        page = answer.read().decode()
        assert answer.url == demo.url("/admin/login/?next=/admin/")
    token = re.search('name="csrfmiddlewaretoken" value="(.+?)"', page)[1]
    form = {
        "username": "admin",
        "password": demo.values["WCSGATE_ADMIN_PASSWORD"],
        "csrfmiddlewaretoken": token,
        "next": "/admin/",
    }
    with opener.open(demo.url("/admin/login/"), urllib.parse.urlencode(form).encode(), timeout=10) as answer:
        assert answer.url == demo.url("/admin/")
        assert "Log out" in answer.read().decode()


def test_explain_answers(demo: Demo) -> None:
    body = json.dumps({"appKey": "defaultApp", "nodeId": "N", "sessionId": "S", "name": "staff-room"})
    for user, allowed in (("teacher1", True), ("student1", False)):
        asked = demo.manage("explain", "publishStream", "-", "--as", user, "--json", text=body)
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout)["allowed"] is allowed


def test_ctrl_c_leaves_no_process(demo: Demo) -> None:
    demo.popen.send_signal(signal.SIGINT)
    assert demo.popen.wait(30) == 0
    assert processes_of(demo.folder) == {}
    assert "Traceback" not in demo.text
