"""`manage.py up`: the whole service on this machine, started in order, kept alive, stopped in reverse."""

import argparse
import http.client
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from runner import ROOT, Problem, bootstrap, data
from runner.places import LOOPBACK, claim_port
from runner.processes import GUARD, Process
from runner.servers import Broker, Postgres, Server
from runner.watching import Log, Watched, emit

READY_SECONDS = 90.0
LOG_LIMIT = 20 * 2**20


class Stopped(Exception):
    """Somebody asked us to stop."""


def up(arguments: list[str]) -> int:
    options = parse(arguments)
    environment = data.environment_name()
    if environment not in {"demo", "production"}:
        raise Problem(f"`manage.py up` is for the demo; WCSGATE_ENV is {environment}.")
    if environment == "production" and not (os.environ.get("DATABASE_URL") and os.environ.get("BROKER_URL")):
        raise Problem("In production, Postgres and the broker are yours: set DATABASE_URL and BROKER_URL.")
    bootstrap.ensure("up")
    folder = data.data_folder()
    with data.taken(folder):
        return Runner(folder, web_port()).run(fresh=options.fresh)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"manage.py up: {message}; try manage.py up --help.\n")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="manage.py up",
        description="Start WCS Gate with demo data: Postgres, broker, web, worker, beat. Ctrl-C stops them.",
        epilog="Environment: WCSGATE_PORT (8000), WCSGATE_DATA (.data); DATABASE_URL, BROKER_URL for servers "
        "of your own; WCSGATE_PG_BIN, WCSGATE_RUN_AS, WCSGATE_CACHE for the Postgres started here.",
        allow_abbrev=False,
    )
    parser.add_argument("--fresh", action="store_true", help="empty the data folder first")
    return parser.parse_args(arguments)


def web_port() -> int:
    text = os.environ.get("WCSGATE_PORT") or "8000"
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise Problem(f"WCSGATE_PORT is no port number: {text}.")
    return int(text)


class Runner:
    """Everything `up` runs, from the first start to the last stop."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.logs: dict[str, Log] = {}
        self.running: list[Watched] = []
        self.asked_to_stop = False
        self.remember()

    def run(self, *, fresh: bool) -> int:
        os.umask(0o077)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.ask_to_stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(signal.SIGHUP, self.ask_to_stop)
        try:
            self.start(fresh=fresh)
            self.greet()
            while True:
                self.tick(0.2)
                self.keep_running()
        except Stopped:
            return 0
        finally:
            self.stop()

    def ask_to_stop(self, *_: object) -> None:
        self.asked_to_stop = True

    # What is known from last time

    def remember(self) -> None:
        """The values of the demo, and the servers that the environment leaves to us, as last time."""
        self.values = data.read_values(self.folder) if data.environment_name() == "demo" else {}
        self.servers: dict[str, Server] = {}
        for name, kind, folder, port in EMBEDDED:
            if not os.environ.get(name):
                url = urlsplit(self.values.get(name, ""))
                self.servers[name] = kind(
                    self.folder / folder,
                    password=url.password or secrets.token_urlsafe(24),
                    port=url.port or port,
                    log=self.log(folder),
                )

    def settle_values(self) -> None:
        """Make the secrets of the demo at its first start; move a port that somebody else took."""
        if data.environment_name() != "demo":
            return
        if "DATABASE_URL" in self.servers and "DATABASE_URL" not in self.values and self.has_database():
            raise Problem(f"{self.folder} has a database but no demo.env with its password; use --fresh.")
        for name, value in data.new_secrets().items():
            if not os.environ.get(name):
                self.values.setdefault(name, value)
        for name, server in self.servers.items():
            server.end_leftover()
            server.port = claim_port(server.port)
            self.values[name] = server.url
        self.values["WCSGATE_PORT"] = str(self.port)  # for the commands in other terminals
        data.write_values(self.folder, self.values)

    def has_database(self) -> bool:
        return (self.folder / "postgres").exists()

    def empty(self) -> None:
        for server in self.servers.values():
            server.end_leftover()
        data.empty(self.folder)
        self.logs.clear()
        self.remember()

    # Starting, in order

    def start(self, *, fresh: bool) -> None:
        if claim_port(self.port) != self.port:
            raise Problem(f"Port {self.port} is in use; stop what uses it, or set WCSGATE_PORT to another.")
        if fresh:
            self.empty()
        self.settle_values()
        for server in self.servers.values():
            self.begin(server)
            server.wait_until_ready(60, self.tick)
        environment = self.environment()
        self.once(environment, "migrate", "--noinput", "--skip-checks")  # they come below
        self.once(environment, "collectstatic", "--noinput", "--verbosity", "0")
        if data.environment_name() == "demo":
            self.once(environment, "load_demo")
        self.once(environment, "check", "--database", "default")
        web, *others = self.application(environment)
        for process in (web, *others):
            self.begin(process)
        self.wait_for(web)

    def environment(self) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if value}
        own = {
            "WCSGATE_ENV": data.environment_name(),
            "WCSGATE_DATA": str(self.folder),
            "WCSGATE_PORT": str(self.port),
            "WCSGATE_STATIC_ROOT": given.get("WCSGATE_STATIC_ROOT") or str(self.folder / "static"),
            "WCSGATE_SPOOL": given.get("WCSGATE_SPOOL") or str(self.folder / "spool"),
        }
        return {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": ROOT_IS_FINE} | self.values | given | own

    def once(self, environment: Mapping[str, str], *command: str) -> None:
        self.say("setup", f"manage.py {command[0]} ...")
        line = [sys.executable, str(ROOT / "manage.py"), *command]
        step = Process(command[0], line, log=self.log("setup"), env=environment)
        if step.run(tick=self.tick):
            self.show_logs()
            raise Problem(f"manage.py {command[0]} failed; the reason is above and at the end of {step.log}.")

    def application(self, environment: Mapping[str, str]) -> list[Process]:
        web = [*WEB, "--host", LOOPBACK, "--port", str(self.port), "wcsgate.wsgi:application"]
        beat = [*BEAT, "-s", str(self.folder / "beat-schedule"), "--pidfile", ""]
        python = [sys.executable, "-m"]
        return [
            Process(name, [*python, *command], log=self.log(name), env=environment, cwd=ROOT)
            for name, command in (("web", web), ("worker", WORKER), ("beat", beat))
        ]

    def begin(self, process: Process) -> None:
        self.running.append(Watched(process, started_at=time.monotonic()))
        process.start()

    def wait_for(self, web: Process) -> None:
        give_up = time.monotonic() + READY_SECONDS
        while (answer := self.readiness()) != "200":
            self.tick(0.2)
            if not web.alive or time.monotonic() > give_up:
                self.show_logs()
                raise Problem(f"The web process does not serve (/readyz: {answer}); see {self.folder}/logs/web.log.")

    def readiness(self) -> str:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return str(connection.getresponse().status)
        except (OSError, http.client.HTTPException):
            return "no answer"
        finally:
            connection.close()

    # Running

    def keep_running(self) -> None:
        GUARD.watch()
        for watched in self.running:
            if remark := watched.look(time.monotonic()):
                self.say("up", remark)

    def tick(self, seconds: float) -> None:
        """Every wait goes through here."""
        time.sleep(seconds)
        self.show_logs()
        if self.asked_to_stop:
            raise Stopped

    def stop(self) -> None:
        """The application at once, then the servers that it needs, one by one."""
        for watched in self.running:
            if not isinstance(watched.process, Server):
                watched.process.ask_to_stop()
        for watched in reversed(self.running):
            watched.process.stop()
            self.show_logs()

    # Saying

    def log(self, name: str) -> Path:
        path = self.folder / "logs" / f"{name}.log"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if name not in self.logs:
            if path.exists() and path.stat().st_size > LOG_LIMIT:
                path.replace(path.with_suffix(".log.old"))
            self.logs[name] = Log(path)
        return path

    def show_logs(self) -> None:
        for name, log in self.logs.items():
            for line in log.new_lines():
                self.say(name, line)

    def say(self, who: str, line: str) -> None:
        emit(f"{who:<8} | {line}")

    def greet(self) -> None:
        """Say where everything is; the admin's password at the first start only."""
        site = f"http://{LOOPBACK}:{self.port}"
        lines = [
            "",
            f"  Admin    {site}/admin/{self.hint('user admin', 'WCSGATE_ADMIN_PASSWORD', show=True)}",
            f"  Hooks    {site}/hooks{self.hint('user wcs', 'WCSGATE_HOOK_PASSWORD')}",
            "  Try it   python3 manage.py wcs_simulator    (in another terminal)",
            f"  Logs     {self.folder / 'logs'}",
            "  Stop     Ctrl-C",
            "",
            f"WCS Gate is ready: {site}/",
        ]
        for line in lines:
            emit(line, patience=10)
        (self.folder / "greeted").touch()

    def hint(self, user: str, name: str, *, show: bool = False) -> str:
        """How to log in, for the passwords that are ours."""
        if name not in self.values or os.environ.get(name):
            return ""
        if show and not (self.folder / "greeted").exists():
            return f"    {user}, password {self.values[name]}"
        return f"    {user}, password: {name} in {self.folder / 'demo.env'}"


EMBEDDED = (
    ("DATABASE_URL", Postgres, "postgres", 54329),
    ("BROKER_URL", Broker, "broker", 63799),
)
# A worker of granian that is told to stop while it still starts, or while somebody sends half a request, does not: it
# is killed after this second. Any hook has been answered by then.
WEB = (
    "granian --interface wsgi --http 1 --no-ws --workers 2 --blocking-threads 16 --log-level warning "
    "--respawn-failed-workers --respawn-interval 1 --workers-kill-timeout 1"
).split()
WORKER = "celery -q -A wcsgate worker -c 1 --loglevel warning --without-gossip --without-mingle".split()
BEAT = "celery -q -A wcsgate beat --loglevel warning".split()
ROOT_IS_FINE = "ignore:You're running the worker with superuser privileges"  # in a demo
