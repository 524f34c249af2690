"""What a hook costs, against a raw echo on the same server: `make bench`.

Every contender answers the same stream hook of 1.3 KB on granian with one worker. Web server, Postgres (durable) and
broker share one core; the client has another. Rounds are interleaved and the cheapest round of each counts, so that
what else the machine does meanwhile falls on all alike. The cost is instructions where `perf stat` counts them, else
CPU time, of the whole back end; both only mean something as ratios.
"""

import argparse
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

from bench.contenders import CONTENDERS, connect, environment, message_for, prepare, server, wait_for
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


BUDGET = {  # docs/adr/0009-what-a-hook-may-cost.md: at most so many times the echo, and the floor
    "fast door": {"echo": 18, "floor": 2.5},
    "DRF door": {"echo": 32, "floor": 5},
}
ECHOES = 10
"""The echo is sent so many times as many hooks as the others: it is too fast to be measured in fewer."""


def main():
    arguments = _arguments()
    folder = scratch_folder("wcsgate-bench-")
    with ExitStack() as stack:
        postgres = SlowPostgres(folder / "postgres", password="bench", flush_ms=arguments.flush_ms)
        stack.enter_context(postgres)
        broker = stack.enter_context(Broker(folder / "broker", password="bench"))
        os.environ |= new_secrets() | {"WCSGATE_ENV": "demo", "DATABASE_URL": postgres.url, "BROKER_URL": broker.url}
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
    parser.add_argument("--only", nargs="*", metavar="NAME", help="leave out all others, but for echo and floor")
    parser.add_argument("--flush-ms", type=float, default=0, help="make every flush to disk take so much longer")
    return parser.parse_args()


def _start_servers(stack, arguments):
    """One server for each pair of application and settings; gives the port and process of each contender."""
    started = {}
    contenders = {
        name: row for name, row in CONTENDERS.items() if name in ("echo", "floor", *(arguments.only or CONTENDERS))
    }
    for application, settings, *_ in contenders.values():
        if (application, settings) not in started:
            port = free_port()
            command = server(application, port, arguments.threads)
            process = stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, env=environment(DJANGO_SETTINGS_MODULE=settings))
            )
            stack.callback(process.terminate)
            started[application, settings] = port, process
    for (application, _), (port, process) in started.items():
        wait_for(port)
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
            pids = _processes(name, process, postgres, broker)
            _pin(pids, 0)
            hooks = arguments.hooks * (ECHOES if name == "echo" else 1)
            before = cpu_ns(pids)
            if count_instructions:
                with Instructions(pids) as instructions:
                    seconds, statuses = send(port, message, hooks, arguments.connections)
                counted = instructions.total / hooks
            else:
                seconds, statuses = send(port, message, hooks, arguments.connections)
                counted = None
            assert set(statuses) == {expected}, (name, statuses)
            after = cpu_ns(_processes(name, process, postgres, broker))
            if not before.keys() <= after.keys():
                continue  # what a process has used that ended meanwhile is not known
            cost = sum(used - before.get(pid, 0) for pid, used in after.items()) / hooks
            results[name].append((cost, counted, hooks / seconds))
    return results


def _processes(name, process, postgres, broker):
    """The whole back end of a contender, as it is now: threads may still open connections, each a process."""
    return tree(process.pid) + (tree(postgres.pid) + tree(broker.pid) if name != "echo" else [])


def _print(results, arguments):
    counted = all(row[1] for rows in results.values() for row in rows)
    costs = {name: min(row[1] if counted else row[0] for row in rows) for name, rows in results.items()}
    print(f"{'':20}{'hooks/s':>9}{'echo = 1':>10}{'floor = 1':>11}  budget")
    for name, rows in results.items():
        ratios = {to: costs[name] / costs[to] for to in ("echo", "floor")}
        budget = BUDGET.get(name.partition(",")[0], {})
        verdict = ", ".join(
            f"{most} of the {to} {'held' if ratios[to] <= most else 'MISSED'}" for to, most in budget.items()
        )
        rate = max(row[2] for row in rows)
        print(f"{name:20}{rate:>9.0f}{ratios['echo']:>10.2f}{ratios['floor']:>11.2f}  {verdict}")
    kind = "instructions" if counted else "CPU time (perf counts no instructions here)"
    print(f"{kind} of the whole back end; the best of {arguments.rounds} rounds of {arguments.hooks} hooks")


def _pin(pids, core):
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            try:
                os.sched_setaffinity(int(task.name), {core})
            except OSError:
                continue


if __name__ == "__main__":
    main()
