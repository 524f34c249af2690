"""An embedded Postgres and an embedded broker, for trying out, development and tests. Never for production.

    with Broker(folder, password="...") as broker:      # a free port unless one is given
        broker.url
        broker.kill(); broker.start(); broker.wait_until_ready()

Start them from the main thread (see processes.py). As root, Postgres runs as another account, which cannot
look into pytest's `tmp_path`: use `scratch_folder`, or call `remove()` at the end.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from runner import Problem
from runner.places import (
    LOOPBACK,
    broker_binary,
    free_port,
    make_folder,
    postgres_binaries,
    postgres_version,
    remove_folder,
    server_account,
    settle,
)
from runner.processes import Process


class Server(Process):
    """What both have: a folder of its own, a password, a port on the loopback interface."""

    pid_file: str

    def __init__(
        self, folder: Path, *, password: str, port: int = 0, log: Path | None = None, durable: bool = True
    ) -> None:
        super().__init__(type(self).__name__.lower(), log=log or folder.with_name(f"{folder.name}.log"))
        self.folder = folder
        self.password = password
        self.port = port or free_port()
        self.durable = durable

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def home(self) -> Path:
        """Where the folder really is."""
        return self.folder.resolve()

    def end_leftover(self) -> None:
        """End what a runner that was killed may have left running in this folder."""
        end_leftover(self.home / self.pid_file, str(self.home), self.stop_signal)

    def remove(self) -> None:
        """Stop it and delete its folder, wherever that is."""
        self.stop()
        remove_folder(self.folder)


class Postgres(Server):
    """A cluster with one database and one role (no superuser), both called wcsgate."""

    pid_file = "postmaster.pid"
    stop_signal = signal.SIGINT  # "fast": ends sessions, loses nothing
    settings: Mapping[str, object] = MappingProxyType({})
    """Of its own, beside or instead of those of `options`."""

    @property
    def url(self) -> str:
        return f"postgres://wcsgate:{self.password}@{LOOPBACK}:{self.port}/wcsgate"

    def prepare(self) -> None:
        self.account = server_account()
        binaries = postgres_binaries(self.account)
        settle(self.folder, self.account)
        self.end_leftover()
        if not (self.home / "PG_VERSION").exists():
            self.create(binaries)
        own = options(self.port, self.durable) | dict(self.settings)
        words = [word for name, value in own.items() for word in ("-c", f"{name}={value}")]
        self.command = [str(binaries / "postgres"), "-D", str(self.home), *words]

    def ready(self) -> bool:
        """The last line of postmaster.pid says so, and its first that it is about this process."""
        try:
            lines = (self.home / self.pid_file).read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def create(self, binaries: Path) -> None:
        """Make the cluster beside its place, and move it there when it is complete."""
        cluster = self.home
        new = cluster.with_name(f"{cluster.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        make_folder(new, self.account)
        utf8 = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        locale = utf8 if postgres_version(binaries) >= 17 else ["--locale=C.UTF-8"]
        sync = [] if self.durable else ["--no-sync"]
        initdb = [f"{binaries}/initdb", "-U", "postgres", "-E", "UTF8", "--auth=reject", *locale, *sync]
        self.step([*initdb, "-D", str(new)])
        (new / "pg_hba.conf").write_text(f"host all wcsgate {LOOPBACK}/32 scram-sha-256\n")
        single = [f"{binaries}/postgres", "--single", "-c", "exit_on_error=on", "-D", str(new), "postgres"]
        self.step(single, SQL.format(password=self.password.replace("'", "''")))
        if cluster.is_dir():
            cluster.rmdir()
        new.rename(cluster)

    def step(self, command: list[str], text: str | None = None) -> None:
        step = Process("making the cluster", command, log=self.log.with_suffix(".made.log"))
        step.account = self.account
        if step.run(text):
            raise Problem(f"The database could not be made; the reason is at the end of {step.log}.")


SQL = """\
CREATE ROLE wcsgate LOGIN CREATEDB PASSWORD '{password}'
CREATE DATABASE wcsgate OWNER wcsgate
"""


def options(port: int, durable: bool) -> dict[str, object]:
    safe = "on" if durable else "off"
    return {
        "listen_addresses": LOOPBACK,
        "port": port,
        "unix_socket_directories": "",
        "shared_buffers": "128MB",
        "max_wal_size": "512MB",
        "jit": "off",
        "log_checkpoints": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "synchronous_commit": "on",
        "fsync": safe,
        "full_page_writes": safe,
    }


class Broker(Server):
    """Valkey (or Redis), its password in a file that only we can read."""

    pid_file = "broker.pid"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def prepare(self) -> None:
        make_folder(self.folder)
        self.end_leftover()
        config = self.home / "broker.conf"
        config.unlink(missing_ok=True)
        with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(
                f"bind {LOOPBACK}\nport {self.port}\nrequirepass {self.password}\n"
                f'dir "{self.home}"\npidfile "{self.home}/{self.pid_file}"\nset-proc-title no\n'
                f"appendonly {'yes' if self.durable else 'no'}\nappendfsync everysec\n"
                'save ""\nmaxmemory-policy noeviction\nloglevel warning\n'
            )
        self.command = [str(broker_binary()), str(config)]

    def ready(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    return (answers.readline(), answers.readline()) == (b"+OK\r\n", b"+PONG\r\n")
        except OSError:
            return False


def end_leftover(pid_file: Path, mentioned: str, number: int) -> None:
    """End the process of the pid file, if its command line names our folder.

    The file stays, even out of date: by it Postgres sees that sessions of an earlier one still live in the folder, and
    does not start beside them. Only where another program has that number by now would Postgres take that for itself.
    """
    try:
        pid = int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    for signal_number, seconds in ((number, 10.0), (signal.SIGKILL, 5.0)):
        give_up = time.monotonic() + seconds
        while mentioned in command_line(pid) and time.monotonic() < give_up:
            with suppress(ProcessLookupError):
                os.kill(pid, signal_number)
            time.sleep(0.2)
    if is_another(pid, mentioned):
        pid_file.unlink(missing_ok=True)


def is_another(pid: int, mentioned: str) -> bool:
    """Whether a process has this number, and is not the one whose command line mentions that."""
    with suppress(OSError):
        os.kill(pid, 0)
        return mentioned not in command_line(pid)
    return False


def command_line(pid: int) -> str:
    """Of any process; empty when it has ended."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True).stdout
