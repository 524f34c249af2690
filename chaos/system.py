"""The whole service with everything it needs, in a scratch folder and on free ports of the loopback interface."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import psycopg
import redis

from bench.processes import tree
from chaos import disks
from chaos.proxy import Slowable
from runner import ROOT, Problem
from runner.data import new_secrets
from runner.places import LOOPBACK, free_port
from runner.processes import Process
from runner.servers import Broker, Postgres
from runner.services import Web, environment, wait_until
from runner.up import BEAT, WEB, WORKER

PASSWORD = "hook-secret"
WEBS, WORKERS = 2, 2
THREADS = 8
SETTINGS = {"max_connections": 60, "max_wal_size": "96MB", "min_wal_size": "32MB", "log_min_duration_statement": "3s"}
DATABASE_DISK, SPOOL_DISK = 400, 8  # megabytes
READY = 60.0

PLAIN = {"web": ("wcsgate.wsgi:application", {}), "worker": ("wcsgate", {})}
TWINS = {
    "outbox": {"web": ("chaos.twin_web:application", {"CHAOS_WITHOUT": "outbox"})},
    "spool": {"web": (PLAIN["web"][0], {"WCSGATE_SPOOL": "", "WCSGATE_SPOOL_FULL": "go-on"})},
    "exactly-once": {"worker": ("chaos.twin_worker", {"CHAOS_WITHOUT": "exactly-once"})},
}
"""By the protection that is taken out: which application runs instead, and with which settings."""


class System:
    """Web, workers, beat, broker and Postgres. `processes` are those that may be killed, by what they are."""

    def __init__(self, folder, stack):
        self._folder, self._stack = folder, stack
        self.no_disks = disks.private_mounts()
        self.disk = self._disk("database", DATABASE_DISK)
        self.spool_disk = self._disk("spool", SPOOL_DISK)
        self.spool = self.spool_disk.folder / "records" if self.spool_disk else folder / "spool"
        database_at = self.disk.folder if self.disk else folder
        self.postgres = Postgres(database_at / "postgres", password="chaos", log=folder / "postgres.log")
        self.postgres.settings = SETTINGS
        self.broker = Broker(folder / "broker", password="chaos")
        self.to_postgres, self.balancer = free_port(), free_port()
        self._environment = environment(
            DATABASE_URL=self.postgres.url.replace(f":{self.postgres.port}/", f":{self.to_postgres}/"),
            BROKER_URL=self.broker.url,
            WCSGATE_DATA=str(folder / "data"),
            WCSGATE_SPOOL=str(self.spool),
            WCSGATE_HOOK_PASSWORD=PASSWORD,
            WCSGATE_LOG_LEVEL="WARNING",
            PYTHONWARNINGS="ignore:You're running the worker with superuser privileges",
            **{name: value for name, value in new_secrets().items() if name != "WCSGATE_HOOK_PASSWORD"},
        )
        self._runs = dict(PLAIN)
        self._make_application()

    def _disk(self, name, megabytes):
        if self.no_disks:
            return None
        disk = disks.SmallDisk(self._folder / name, megabytes)
        self.no_disks = disk.why_not
        return None if disk.why_not else disk

    def _make_application(self):
        ports = [free_port() for _ in range(WEBS)]
        self.proxy = self._python("proxy", "chaos.proxy", self.to_postgres, self.postgres.port, kind=Slowable)
        self._front = self._python("balancer", "chaos.proxy", self.balancer, *ports)
        size = ("--workers", 1, "--blocking-threads", THREADS, "--host", LOOPBACK)
        self.webs = [
            self._python(f"web{n}", *WEB, *size, "--port", port, PLAIN["web"][0], kind=Web)
            for n, port in enumerate(ports)
        ]
        self.workers = [self._python(f"worker{n}", *WORKER, "-n", f"worker{n}@%h") for n in range(WORKERS)]
        schedule = self._folder / "schedule"
        self.beat = self._python("beat", *BEAT, "-s", schedule, "--pidfile", "")
        self.processes = {
            "web": self.webs,
            "worker": self.workers,
            "beat": [self.beat],
            "broker": [self.broker],
            "Postgres": [self.postgres],
        }

    def _python(self, name, *words, kind=Process):
        command = [sys.executable, "-m", *map(str, words)]
        return kind(name, command, log=self._folder / f"{name}.log", env=self._environment, cwd=ROOT)

    def load(self, ledger, node):
        """The process that sends hooks; Ctrl-C ends it."""
        url = f"http://{LOOPBACK}:{self.balancer}/hooks"
        load = self._python("load", "chaos.load", url, ledger, node)
        load.stop_signal = signal.SIGINT
        load.patience = 40.0
        return load

    # Starting

    def start(self):
        for server in (self.postgres, self.broker, self.proxy, self._front):
            self._stack.enter_context(server)
        for command in (["migrate", "--noinput"], ["import_access", str(ROOT / "chaos" / "access.yaml")]):
            line = [sys.executable, "manage.py", *command]
            done = subprocess.run(line, cwd=ROOT, env=self._environment, capture_output=True, text=True)
            if done.returncode:
                raise Problem(done.stdout + done.stderr)
        for process in (*self.webs, *self.workers, self.beat):
            self._stack.callback(process.stop)
        self.heal()

    def become(self, without):
        """Take a protection out, "" being none; what must run another application for it is started anew."""
        for what, wanted in (PLAIN | TWINS.get(without, {})).items():
            if wanted != self._runs[what]:
                self._change(what, wanted)
        self.heal()

    def _change(self, what, wanted):
        (before, _), (application, own) = self._runs[what], wanted
        for process in self.processes[what]:
            process.ask_to_stop()
        for process in self.processes[what]:
            process.stop()
            process.command[process.command.index(before)] = application
            process.env = self._environment | own
        self._runs[what] = wanted

    def heal(self):
        """Have everything running; gives the names of those that had ended."""
        ended = self.restart_ended()
        for web in self.webs:
            wait_until(web.ready, f"{web.name} is not ready, see {web.log}", READY)
        return ended

    def restart_ended(self):
        """What keeps services running, as systemd or `up` do."""
        everything = [process for those in self.processes.values() for process in those]
        ended = [process for process in reversed(everything) if not process.alive]
        for process in ended:
            self.begin(process)
        return [process.name for process in ended]

    def begin(self, process):
        """Start it; a server is waited for, also where it first has to find out what it was doing."""
        process.start()
        if process in (self.postgres, self.broker):
            with suppress(Problem):
                process.wait_until_ready()

    # What can be done to it

    def kill(self, process):
        """SIGKILL to it and to all that it has started, whatever sessions these are in."""
        children = tree(process.pid)[1:] if process.alive else []
        process.kill()
        send(children, signal.SIGKILL)

    @contextmanager
    def paused(self, process):
        pids = tree(process.pid)
        send(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            send(pids, signal.SIGCONT)

    @contextmanager
    def without_connections(self):
        """Have every connection that Postgres has to give."""
        held = []
        try:
            self._take_all(held)
            with suppress(psycopg.Error):
                held[0].execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'wcsgate%'"
                )
            self._take_all(held)
            yield
        finally:
            for connection in held:
                connection.close()

    def _take_all(self, held):
        with suppress(psycopg.OperationalError):
            while len(held) < SETTINGS["max_connections"]:
                held.append(self.connect())

    def flush_broker(self):
        with redis.Redis.from_url(self.broker.url) as broker:
            broker.flushall()

    # What is in it

    def connect(self):
        """To Postgres, past the proxy."""
        return psycopg.connect(self.postgres.url, autocommit=True, connect_timeout=5, application_name="chaos")

    def waiting(self):
        """How many records are not in the audit log yet, and how many files the spool has."""
        with self.connect() as connection:
            (records,) = connection.execute("SELECT count(*) FROM audit_hookrecord").fetchone()
        return records, len(list(self.spool.glob("*.spool"))) if self.spool.is_dir() else 0


def send(pids, number):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
