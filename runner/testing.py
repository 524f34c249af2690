"""`manage.py test`: pytest with a Postgres, a broker and secrets of its own, all gone afterwards."""

import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

from runner import ROOT, bootstrap
from runner.bootstrap import say
from runner.data import new_secrets
from runner.places import scratch_folder
from runner.processes import GUARD
from runner.servers import Broker, Postgres, Server

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OURS = {"WCSGATE_BROWSER", "WCSGATE_CACHE", "WCSGATE_NO_BOOTSTRAP", "WCSGATE_PG_BIN", "WCSGATE_RUN_AS"}
SPREAD = "-p tests.workers -n auto --maxprocesses 4 --no-loadscope-reorder".split()
INSTALL = "apt-get install -y --no-install-recommends chromium"


def test(arguments: list[str]) -> int:
    """Run pytest with the arguments given, the whole suite on all cores; return its exit code."""
    bootstrap.ensure("test")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    os.chdir(ROOT)
    forget_settings()
    browser_for_tests()
    folder = scratch_folder("wcsgate-test-")
    GUARD.remove_folder(folder)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name, server in servers(folder).items():
            if not os.environ.get(name):
                os.environ[name] = stack.enter_context(server).url
        (folder / "static").mkdir()
        own = {"ENV": "test", "DATA": str(folder / "data"), "STATIC_ROOT": str(folder / "static")}
        os.environ |= new_secrets() | {f"WCSGATE_{name}": value for name, value in own.items()}
        import pytest

        return int(pytest.main([*SPREAD, *arguments]))


def servers(folder: Path) -> dict[str, Server]:
    """Fast rather than durable: nothing of a test run outlives it."""
    return {
        "DATABASE_URL": Postgres(folder / "postgres", password="tests", durable=False),  # noqa: S106
        "BROKER_URL": Broker(folder / "broker", password="tests"),  # noqa: S106
    }


def forget_settings() -> None:
    """A developer's settings are not the tests' settings."""
    for name in [name for name in os.environ if name.startswith("WCSGATE_") and name not in OURS]:
        del os.environ[name]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def browser_for_tests() -> None:
    """Tell the tests where Chromium is (WCSGATE_BROWSER), empty if nowhere, and whether to insist on it."""
    browser = os.environ.get("WCSGATE_BROWSER") or find_browser() or installed_browser() or ""
    os.environ["WCSGATE_BROWSER"] = browser
    insist = os.environ.get("CI", "").lower() in {"1", "true"}
    os.environ["WCSGATE_BROWSER_REQUIRED"] = "1" if insist else ""
    if not browser:
        verb = "fail" if insist else "are skipped"
        say(f"There is no Chromium here: browser tests {verb}. To get them: {INSTALL}")


def find_browser() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def installed_browser() -> str | None:
    """As root on Debian or Ubuntu, install it."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    say("Installing Chromium for the browser tests (apt-get) ...")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in ("apt-get update", INSTALL):
        subprocess.run(command.split(), env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    return find_browser()
