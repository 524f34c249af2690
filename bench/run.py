"""What a hook costs, against a raw echo on the same server: `make bench`.

Every contender answers the same 1.5 KB hook on granian with one worker. Web server, Postgres (durable) and broker
share one core; the client has another. Rounds are interleaved and the cheapest round of each counts, so that what else
the machine does meanwhile falls on all alike. The cost is CPU time of the whole back end, and instructions where
`perf stat` counts them; both only mean something as ratios.
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
    "DRF door, allowed": ("bench.wsgi:django_alone", "wcsgate.settings", "publishStream", {"name": "lobby"}, 200),
    "ordinary view": ("bench.wsgi:django_alone", "bench.ordinary_settings", "publishStream", {"name": "lobby"}, 200),
}

BUDGET = {"fast door": 3.5, "DRF door": 11}  # design: at most so many times the echo


def main():
    arguments = _arguments()
    folder = scratch_folder("wcsgate-bench-")
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(folder / "postgres", password="bench", durable=True))
        broker = stack.enter_context(Broker(folder / "broker", password="bench"))
        os.environ |= new_secrets() | {"WCSGATE_ENV": "demo", "DATABASE_URL": postgres.url, "BROKER_URL": broker.url}
        if arguments.flush_ms:
            _slow_flushes(postgres, arguments.flush_ms)
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
    body = {**COMMON, "mediaSessionId": "56141d10-fddc-11e6-ac3a-4d67d5b3360d", **members}
    body |= {"published": True, "hasVideo": True, "hasAudio": True, "record": False, "width": 0, "height": 0}
    body |= {"mediaProvider": "WebRTC", "custom": {}, "sdp": "v=0\r\no=- 1988962254 1988962254 IN IP4 0.0.0.0\r\n" * 20}
    return request(f"/hooks/{method}", json.dumps(body).encode(), AUTHORIZATION)


def _send_one(port, method, members):
    message = request(f"/hooks/{method}", json.dumps({**COMMON, **members}).encode(), AUTHORIZATION)
    _, statuses = send(port, message, 1, 1)
    assert set(statuses) == {200}, statuses


def _slow_flushes(postgres, milliseconds):
    """Every commit waits before it flushes, as on a disk that takes that much longer."""
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET commit_delay = {int(milliseconds * 1000)}")
        connection.execute("ALTER SYSTEM SET commit_siblings = 0")
        connection.execute("SELECT pg_reload_conf()")


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
