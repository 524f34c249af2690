"""Child processes that never outlive us: each has its own session and log, and two ways to learn of our end.

On Linux the kernel signals a child when we die (so start them from the main thread: the signal is tied to the
thread that forks); everywhere guard.py ends whole process groups, grandchildren included.
"""

import atexit
import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from runner import Problem

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


Account = pwd.struct_passwd
"""Who a server runs as when we are root and it must not be."""


def running_as(account: Account | None) -> dict[str, Any]:
    """Options for subprocess."""
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}


class Guard:
    """Our end of guard.py: started with the first child, started again should somebody kill it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.popen: subprocess.Popen[bytes] | None = None
        self.lines: dict[str, str] = {}
        self.keeps_open: list[int] = []  # file locks that must outlive us until the guard is done

    def watch(self) -> int:
        """See that the guard runs; return the descriptor that it reads from."""
        if self.popen is None or self.popen.poll() is not None:
            self.popen = subprocess.Popen(
                [sys.executable, "-I", str(Path(__file__).with_name("guard.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                pass_fds=self.keeps_open,
                bufsize=0,
            )
            atexit.register(self.close)
            self.tell(*self.lines.values())
        return self.popen.stdin.fileno()  # type: ignore[union-attr]

    def tell(self, *lines: str) -> None:
        descriptor = self.watch()
        for line in lines:
            with suppress(BrokenPipeError):
                os.write(descriptor, f"{line}\n".encode())

    def remember(self, pid: int, number: int) -> None:
        """The child has told the guard itself, before it became what it is; this is for the next guard."""
        self.lines[str(pid)] = f"started {pid} {int(number)}"

    def forget(self, pid: int) -> None:
        self.lines.pop(str(pid), None)
        self.tell(f"ended {pid}")

    def remove_folder(self, path: Path) -> None:
        self.lines[str(path)] = f"folder {path}"
        self.tell(f"folder {path}")

    def close(self) -> None:
        """At our own end: let it end what is left, and wait for that."""
        atexit.unregister(self.close)
        if self.popen is not None and self.popen.stdin and self.owner == os.getpid():
            self.popen.stdin.close()
            self.popen.wait()
            self.popen = None


GUARD = Guard()


def before_exec(parent: int, guard: int, number: int) -> None:
    """In the new child, before it becomes its program: be known, and be signalled when the parent dies."""
    with suppress(OSError):
        os.write(guard, b"started %d %d\n" % (os.getpid(), number))
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


class Process:
    """A program that we start, stop, kill and may start again.

    Subclasses say what must be done before each start, and when it is ready.
    """

    stop_signal = signal.SIGTERM
    patience = 10.0
    account: Account | None = None

    def __init__(
        self,
        name: str,
        command: Sequence[str] = (),
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = env
        self.cwd = cwd
        self.popen: subprocess.Popen[bytes] | None = None
        self.asked = False

    def __enter__(self) -> Self:
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def prepare(self) -> None:
        """What must be in place before every start."""

    def ready(self) -> bool:
        """Whether it serves; asked again and again after the start."""
        return True

    def start(self, text: str | None = None) -> None:
        """Start it, with `text` (or nothing) as its standard input."""
        self.kill()
        self.prepare()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
                start_new_session=True,
                preexec_fn=partial(before_exec, os.getpid(), GUARD.watch(), self.stop_signal),
                cwd="/" if self.account else self.cwd,
                **running_as(self.account),
            )
        self.asked = False
        GUARD.remember(self.popen.pid, self.stop_signal)
        if text is not None and self.popen.stdin:
            with suppress(BrokenPipeError), self.popen.stdin as stdin:
                stdin.write(text.encode())

    @property
    def pid(self) -> int | None:
        return self.popen.pid if self.popen else None

    @property
    def alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def wait_until_ready(self, seconds: float = 30.0, tick: Callable[[float], object] = time.sleep) -> None:
        give_up = time.monotonic() + seconds
        while not self.ready():
            if not self.alive or time.monotonic() > give_up:
                how = "is not ready" if self.alive else "ended"
                self.stop()
                raise Problem(f"{self.name} {how} after its start; the reason is at the end of {self.log}.")
            tick(0.05)

    def run(self, text: str | None = None, tick: Callable[[float], object] = time.sleep) -> int:
        """Start it, wait for its end, return its exit code."""
        self.start(text)
        try:
            while self.alive:
                tick(0.02)
            return self.popen.returncode if self.popen else 1
        finally:
            self.stop()

    def ask_to_stop(self) -> None:
        """Politely, and once: to some, a second request means hurry."""
        if self.popen is not None and not self.asked:
            self.asked = True
            self.popen.send_signal(self.stop_signal)

    def stop(self) -> None:
        """Ask politely, wait, then kill what is left of its process group."""
        self.ask_to_stop()
        if self.popen is not None:
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(self.patience)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole process group, at once."""
        if self.popen is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        GUARD.forget(self.popen.pid)
        self.popen = None
