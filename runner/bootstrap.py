"""Makes `.venv` from the locked requirements and goes on inside it.

Needs nothing but a bare Python 3.11 or newer. Safe to interrupt and to run twice at once: one installs, under
a file lock that says `installing` until all is in place; whoever finds that word unguarded starts afresh.
"""

import errno
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NoReturn

from runner import ROOT, Problem

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STATE = VENV / "wcsgate.json"
LOCK = ROOT / ".venv.lock"
PIP = "-m pip install --quiet --no-input --disable-pip-version-check --require-hashes".split()
RUNS_SERVERS = {"up", "test", "bench", "chaos"}
NEEDS_TOOLS = {"test", "lint", "bench"}


def ensure(command: str) -> None:
    """Return inside an environment that has what `command` needs; if this is not it, go on there instead."""
    if os.environ.get("WCSGATE_NO_BOOTSTRAP") == "1":
        return
    locks = needed_locks(command)
    if not complete(locks):
        try:
            install(locks)
        except OSError as error:
            raise Problem(trouble(error)) from error
        enter()
    if not inside():
        enter()


def needed_locks(command: str) -> list[Path]:
    names = ["requirements.txt"]
    given = os.environ.get("DATABASE_URL") and os.environ.get("BROKER_URL")
    production = os.environ.get("WCSGATE_ENV") == "production"
    if command in RUNS_SERVERS and not (command == "up" and (given or production)):
        names.append("requirements-embedded.txt")
    if command in NEEDS_TOOLS:
        names.append("requirements-dev.txt")
    return [ROOT / name for name in names]


def inside() -> bool:
    return Path(sys.prefix).resolve() == VENV.resolve()


def enter() -> NoReturn:
    os.execv(PYTHON, [str(PYTHON), *sys.orig_argv[1:]])  # noqa: S606


def complete(locks: list[Path]) -> bool:
    """Whether .venv holds exactly these locks, for the Python it was made with."""
    state = read_state()
    return usable() and all(state.get(lock.name) == digest(lock) for lock in locks)


def usable() -> bool:
    """Whether .venv has a Python, and (told from inside) still the one it was made with."""
    try:
        made = (VENV / "pyvenv.cfg").read_text()
    except OSError:
        return False
    this = f"version = {sys.version_info[0]}.{sys.version_info[1]}."
    return PYTHON.exists() and (not inside() or this in made)


def install(locks: list[Path]) -> None:
    with only_one() as lock:
        if complete(locks):
            return
        began = time.monotonic()
        say("Installing the locked requirements into .venv (first time about 20 seconds) ...")
        renew = interrupted(lock) or not usable()
        old = {} if renew else read_state()
        write(lock, "installing")
        STATE.unlink(missing_ok=True)
        if renew:
            make_venv(lock)
        run(lock, str(PYTHON), *PIP, *(word for path in locks for word in ("-r", str(path))))
        STATE.write_text(json.dumps(old | {path.name: digest(path) for path in locks}))
        write(lock, "")
        say(f"... done in {time.monotonic() - began:.0f} seconds.")


def make_venv(lock: IO[str]) -> None:
    if find_spec("ensurepip") is None or find_spec("venv") is None:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise Problem(f"This Python cannot make virtual environments; on Debian and Ubuntu: apt install {package}")
    run(lock, getattr(sys, "_base_executable", sys.executable), "-m", "venv", "--clear", str(VENV))


def run(lock: IO[str], *command: str) -> None:
    """Run one step; it holds the lock as well, so that it is never alone if we are killed."""
    environment = os.environ | {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    done = subprocess.run(
        command,
        env=environment,
        pass_fds=[lock.fileno()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines or ["no reason given"]
        raise Problem(f"The requirements could not be installed ({errors[-1].strip()}); run the command again.")


@contextmanager
def only_one() -> Iterator[IO[str]]:
    with LOCK.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another command is installing the requirements; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def interrupted(lock: IO[str]) -> bool:
    lock.seek(0)
    return lock.read() != ""


def write(lock: IO[str], text: str) -> None:
    lock.truncate(0)
    lock.write(text)
    lock.flush()


def read_state() -> dict[str, str]:
    try:
        return dict(json.loads(STATE.read_text()))
    except (OSError, ValueError):
        return {}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trouble(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"There is no space left for the environment in {VENV}."
    return f"The environment in {VENV} could not be made: {error.strerror} ({error.filename})."


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
