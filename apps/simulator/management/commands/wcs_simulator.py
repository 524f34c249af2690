"""`manage.py wcs_simulator`: play a WCS node, and report what its clients experienced."""

import contextlib
import ipaddress
import os
import socket
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError

from apps.simulator import report, run
from apps.simulator.ledger import Ledger
from apps.simulator.node import NODE_ID, SimulatedNode
from apps.simulator.rest_api import RestApi
from apps.simulator.scenario import SHIPPED, ScenarioError, load
from apps.simulator.sender import Credentials, Sender


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError("must be a whole number, at least 1")
    return int(text)


class Command(BaseCommand):
    help = "Plays a WCS node: clients connect, publish, play, call and send data; the hooks go to WCS Gate."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        port = os.environ.get("WCSGATE_PORT") or "8000"
        add = parser.add_argument
        add("scenario", nargs="?", type=Path, help="a YAML file; without one, the demo (docs/simulator.md)")
        add("--url", default=f"http://127.0.0.1:{port}/hooks", help="where the hooks go (%(default)s)")
        add("--allow-remote", action="store_true", help="let --url name a host that is not this one")
        add("--user", default="wcs", help="restUsername (%(default)s); password: WCSGATE_HOOK_PASSWORD")
        add("--password-file", type=Path, help="a file with the password, instead of WCSGATE_HOOK_PASSWORD")
        add("--secret-file", type=Path, help="sign with the secret in this file, not user and password")
        add("--basic-after-401", action="store_true", help="send user and password only once asked for")
        add("--node-id", default=NODE_ID, help="the node's id (%(default)s)")
        add("--timeout", type=float, default=15.0, help="rest_request_timeout in seconds, 0 for none (15)")
        add("--rest-api", type=int, metavar="PORT", help="also serve the WCS REST API on this loopback port")
        add("--clients", type=positive, help="this many of each client that has a count; plays load.yaml")
        add("--rounds", type=positive, help="let every client live this many times; plays load.yaml")
        add("--ledger", type=Path, help="write one JSON line for every answered hook to this file")
        add("--json", action="store_true", help="report as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        check_address(options["url"], allow_remote=options["allow_remote"])
        try:
            played = self.play(options)
        except ScenarioError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.filename or 'The simulator'}: {error.strerror or error}.") from error
        self.stdout.write(report.as_json(played) if options["json"] else report.text(played))
        if not played.as_expected:
            raise SystemExit(1)

    def play(self, options: dict[str, Any]) -> run.Played:
        scenario = load(scenario_file(options), clients=options["clients"], rounds=options["rounds"])
        check_listening(options["url"])
        sender = Sender(options["url"], credentials(options), time_limit=options["timeout"])
        with contextlib.ExitStack() as stack:
            ledger = stack.enter_context(Ledger(options["ledger"])) if options["ledger"] else None
            node = SimulatedNode(sender, node_id=options["node_id"], keep_alive=scenario.keep_alive, ledger=ledger)
            if options["rest_api"] is not None:
                api = stack.enter_context(RestApi(node, options["rest_api"]))
                self.stderr.write(f"The WCS REST API answers at {api.url}")
            return run.play(scenario, node, options["url"])


def scenario_file(options: dict[str, Any]) -> Path:
    given: Path | None = options["scenario"]
    if given:
        return given
    loaded = options["clients"] or options["rounds"]
    return SHIPPED / ("load.yaml" if loaded else "demo.yaml")


def credentials(options: dict[str, Any]) -> Credentials:
    if options["secret_file"]:
        return Credentials(secret=options["secret_file"].read_bytes().rstrip(b"\r\n"))
    file = options["password_file"]
    password = file.read_text().rstrip("\r\n") if file else os.environ.get("WCSGATE_HOOK_PASSWORD", "")
    return Credentials(options["user"], password, after_challenge=options["basic_after_401"])


def check_address(url: str, *, allow_remote: bool) -> None:
    """Refuse to send made-up clients to somebody else's backend by accident."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise CommandError(f"{url} is no URL: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CommandError(f"{url} is no URL of a hook backend; it looks like http://127.0.0.1:8000/hooks.")
    if not allow_remote and not is_loopback(parts.hostname):
        raise CommandError(f"{parts.hostname} is not this machine. If you mean it, add --allow-remote.")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_listening(url: str) -> None:
    parts = urlsplit(url)
    address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError as error:
        raise CommandError(f"Nothing answers at {url}: start `python3 manage.py up` first.") from error
