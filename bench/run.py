"""What a hook costs, against a raw echo on the same server: `make bench`.

Every contender answers the same stream hook of 1.3 KB on granian with one worker. Web server, Postgres (durable) and
broker share one core; the client has another. Rounds are interleaved and the cheapest round of each counts, so that
what else the machine does meanwhile falls on all alike. The cost is instructions where `perf stat` counts them, else
CPU time, of the whole back end; both only mean something as ratios.
"""

import argparse
import os
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from bench.contenders import CONTENDERS, connect, environment, message_for, prepare, server
from bench.load import send
from bench.processes import Instructions, counts_instructions, cpu_ns, tree
from runner import ROOT
from runner.data import new_secrets
from runner.places import free_port, scratch_folder
from runner.servers import Broker, Postgres


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
        database = postgres.tcp_url if arguments.tcp else postgres.url
        os.environ |= new_secrets() | {"WCSGATE_ENV": "demo", "DATABASE_URL": database, "BROKER_URL": broker.url}
        prepare()
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
    parser.add_argument("--only", nargs="*", metavar="NAME", help="leave out all others, but for the echo")
    parser.add_argument("--tcp", action="store_true", help="reach Postgres by TCP, not by its socket")
    parser.add_argument("--flush-ms", type=float, default=0, help="make every flush to disk take so much longer")
    return parser.parse_args()


def _start_servers(stack, arguments):
    """One server for each pair of application and settings; gives the port and process of each contender."""
    started = {}
    contenders = {name: row for name, row in CONTENDERS.items() if name in ("echo", *(arguments.only or CONTENDERS))}
    for application, settings, *_ in contenders.values():
        if (application, settings) not in started:
            port = free_port()
            command = server(application, port, arguments.threads)
            process = stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, env=environment(DJANGO_SETTINGS_MODULE=settings))
            )
            stack.callback(process.terminate)
            started[application, settings] = port, process
    time.sleep(5)
    for (application, _), (port, process) in started.items():
        _pin(tree(process.pid), 0)
        connect(application, port)
    return {name: started[row[0], row[1]] for name, row in contenders.items()}


def _measure(ports, postgres, broker, arguments):
    results = {name: [] for name in ports}
    count_instructions = counts_instructions()
    for _ in range(arguments.rounds):
        for name, (port, process) in ports.items():
            _, _, method, members, expected = CONTENDERS[name]
            message = message_for(method, members)
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


def _pin(pids, core):
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            try:
                os.sched_setaffinity(int(task.name), {core})
            except OSError:
                continue


if __name__ == "__main__":
    main()
