"""What a hook costs, against a raw echo on the same server: `make bench`.

Every contender answers the same stream hook of 1.3 KB on granian with one worker. Web server, Postgres (durable) and
broker share one core; the client has another. Rounds are interleaved and the cheapest round of each counts, so that
what else the machine does meanwhile falls on all alike. The cost is instructions where `perf stat` counts them, else
CPU time, of the whole back end; both only mean something as ratios.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path

from bench.load import request, send
from bench.processes import Instructions, counts_instructions, cpu_ns, tree
from runner import ROOT
from runner.data import new_secrets
from runner.places import free_port, scratch_folder
from runner.servers import Broker, Postgres

PASSWORD = "bench-password"
AUTHORIZATION = "Basic " + b64encode(f"wcs:{PASSWORD}".encode()).decode()
COMMON = {
    "nodeId": "Bench47@127.0.0.1",
    "appKey": "bench",
    "sessionId": "/127.0.0.1:64604/127.0.0.1:8443",
}
CONTENDERS = {  # name: (WSGI application, settings, method, members, expected status)
    "echo": ("bench.echo:application", "wcsgate.settings", "publishStream", {"name": "lobby"}, 200),
    "fast door, allowed": ("bench.wsgi:fast_door", "wcsgate.settings", "publishStream", {"name": "lobby"}, 200),
    "fast door, refused": ("bench.wsgi:fast_door", "wcsgate.settings", "playStream", {"name": "secret"}, 403),
    "fast door, event": (
        "bench.wsgi:fast_door",
        "wcsgate.settings",
        "StreamStatusEvent",
        {"name": "lobby", "status": "PUBLISHING"},
        200,
    ),
    "shared commit": (
        "bench.shared_commit:application",
        "wcsgate.settings",
        "publishStream",
        {"name": "lobby"},
        200,
    ),
    "DRF door, allowed": ("bench.wsgi:django_alone", "wcsgate.settings", "publishStream", {"name": "lobby"}, 200),
    "ordinary view": ("bench.wsgi:django_alone", "bench.ordinary_settings", "publishStream", {"name": "lobby"}, 200),
}


class SlowPostgres(Postgres):
    """A Postgres whose every flush to disk takes so much longer, as on a disk without a cache."""

    def __init__(self, folder, *, password, flush_ms):
        super().__init__(folder, password=password, durable=True)
        self._flush_ms = flush_ms

    def prepare(self):
        super().prepare()
        if self._flush_ms:
            self.command += ["-c", f"commit_delay={int(self._flush_ms * 1000)}", "-c", "commit_siblings=0"]


BUDGET = {"fast door": 3.5, "DRF door": 11}  # design: at most so many times the echo


def main():
    arguments = _arguments()
    folder = scratch_folder("wcsgate-bench-")
    with ExitStack() as stack:
        postgres = SlowPostgres(folder / "postgres", password="bench", flush_ms=arguments.flush_ms)
        stack.enter_context(postgres)
        broker = stack.enter_context(Broker(folder / "broker", password="bench"))
        os.environ |= new_secrets() | {"WCSGATE_ENV": "demo", "DATABASE_URL": postgres.url, "BROKER_URL": broker.url}
        _prepare()
        ports = _start_servers(stack, arguments)
        others = [*tree(postgres.pid), *tree(broker.pid)]
        _pin(others, 0)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        _print(_measure(ports, postgres, broker, arguments), arguments)


def _arguments():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hooks", type=int, default=4000, help="hooks a contender and round")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--threads", type=int, default=8, help="blocking threads of the server")
    parser.add_argument("--flush-ms", type=float, default=0, help="make every flush to disk take so much longer")
    return parser.parse_args()


def _prepare():
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], cwd=ROOT, env=_environment(), check=True)
    code = """
import django; django.setup()
from apps.access.models import Rule; from apps.accounts.models import User; from apps.connections.models import App
user = User.objects.create_user("bench", password="bench-password")
app = App(key="bench", hook_user="wcs"); app.set_hook_password("bench-password"); app.save()
Rule.objects.create(effect="allow", who="everyone", actions=["connect"], target_kind="any")
Rule.objects.create(effect="allow", who="user", user=user, actions=["publish"], target_kind="exact", target="lobby")
Rule.objects.bulk_create(
    Rule(effect="allow", who="everyone", actions=["publish"], target_kind="exact", target=f"stream-{n}")
    for n in range(1000))
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=_environment(), check=True)


def _start_servers(stack, arguments):
    """One server for each pair of application and settings; gives the port and process of each contender."""
    started = {}
    for application, settings, *_ in CONTENDERS.values():
        if (application, settings) not in started:
            port = free_port()
            command = [
                *(str(Path(sys.executable).with_name("granian")), "--interface", "wsgi", "--host", "127.0.0.1"),
                *("--port", str(port), "--workers", "1", "--blocking-threads", str(arguments.threads)),
                *("--no-access-log", "--log-level", "warning", application),
            ]
            process = stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, env=_environment(DJANGO_SETTINGS_MODULE=settings))
            )
            stack.callback(process.terminate)
            started[application, settings] = port, process
    time.sleep(5)
    for (application, _), (port, process) in started.items():
        _pin(tree(process.pid), 0)
        if "echo" not in application and "django" not in application:
            _send_one(port, "connect", {"custom": {"login": "bench", "password": PASSWORD}})
    return {name: started[row[0], row[1]] for name, row in CONTENDERS.items()}


def _measure(ports, postgres, broker, arguments):
    results = {name: [] for name in CONTENDERS}
    count_instructions = counts_instructions()
    for _ in range(arguments.rounds):
        for name, (_, _, method, members, expected) in CONTENDERS.items():
            port, process = ports[name]
            message = _message(method, members)
            send(port, message, 200, arguments.connections)  # warm up
            pids = tree(process.pid) + (tree(postgres.pid) + tree(broker.pid) if name != "echo" else [])
            _pin(pids, 0)
            before = cpu_ns(pids)
            if count_instructions:
                with Instructions(pids) as instructions:
                    seconds, statuses = send(port, message, arguments.hooks, arguments.connections)
                counted = instructions.total / arguments.hooks
            else:
                seconds, statuses = send(port, message, arguments.hooks, arguments.connections)
                counted = None
            assert set(statuses) == {expected}, (name, statuses)
            cost = (cpu_ns(pids) - before) / arguments.hooks
            results[name].append((cost, counted, arguments.hooks / seconds))
    return results


def _print(results, arguments):
    best = {
        name: (min(cost for cost, _, _ in rows), min(row[1] or 0 for row in rows), max(row[2] for row in rows))
        for name, rows in results.items()
    }
    echo = best["echo"]
    kind = "instructions" if echo[1] else "CPU time"
    print(f"{'':20}{'hooks/s':>9}{'instructions a hook':>21}{f'{kind}, echo = 1':>24}{'budget':>8}")
    for name, (cost, counted, rate) in best.items():
        ratio = counted / echo[1] if echo[1] else cost / echo[0]
        budget = BUDGET.get(name.partition(",")[0])
        verdict = "" if budget is None else f"{budget} {'held' if ratio <= budget else 'MISSED'}"
        instructions = f"{counted:,.0f}" if counted else "not counted here"
        print(f"{name:20}{rate:>9.0f}{instructions:>21}{ratio:>24.2f}  {verdict}")
    print(f"{arguments.rounds} rounds of {arguments.hooks} hooks over {arguments.connections} connections, best round")


def _message(method, members):
    """A stream hook as WCS sends it under our policy, which asks it to leave the SDP out."""
    body = {**COMMON, "mediaSessionId": "56141d10-fddc-11e6-ac3a-4d67d5b3360d", **members}
    body |= {"published": True, "hasVideo": True, "hasAudio": True, "record": False, "width": 0, "height": 0}
    body |= {"bitrate": 0, "minBitrate": 0, "maxBitrate": 0, "quality": 0, "gop": 0, "fps": 0, "audioBitrate": 0}
    body |= {"mediaProvider": "WebRTC", "custom": {}, "createDate": 1664260776957, "timeShift": -1, "history": False}
    body |= {"audioState": {"muted": False}, "videoState": {"muted": False}, "codecImpl": "", "transport": "UDP"}
    body |= {"constraints": {"audio": True, "video": {"width": 1280, "height": 720, "frameRate": 30}}}
    devices = [{"id": f"{number:064x}", "label": f"Microphone {number}", "type": "mic"} for number in range(5)]
    body |= {"localMediaInfo": {"devices": {"audio": devices}}}
    return request(f"/hooks/{method}", json.dumps(body).encode(), AUTHORIZATION)


def _send_one(port, method, members):
    message = request(f"/hooks/{method}", json.dumps({**COMMON, **members}).encode(), AUTHORIZATION)
    _, statuses = send(port, message, 1, 1)
    assert set(statuses) == {200}, statuses


def _pin(pids, core):
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            try:
                os.sched_setaffinity(int(task.name), {core})
            except OSError:
                continue


def _environment(**more):
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "wcsgate.settings", "PYTHONPATH": str(ROOT), **more}


if __name__ == "__main__":
    main()
