"""What a hook costs in instructions: `python -m bench.instructions`, where valgrind is installed.

Counts what the worker of the web server and all processes of Postgres execute outside the kernel, for hooks that come
one after the other; the same on every machine of a kind, and on every run to about a hundredth. The time means
nothing meanwhile: valgrind is slow.
"""

import argparse
import os
import re
import subprocess
from contextlib import ExitStack

from bench.contenders import CONTENDERS, connect, environment, message_for, prepare, server, wait_for
from bench.load import send
from bench.processes import tree
from runner import ROOT
from runner.data import new_secrets
from runner.places import free_port, make_folder, scratch_folder, server_account
from runner.processes import Process, running_as
from runner.servers import Broker, Postgres

COMPARED = ("echo", "floor", "fast door, allowed", "DRF door, allowed")
WARM_UP = 60
"""Hooks before it counts: everything that is made at first use is there then."""


class CountedPostgres(Postgres):
    """Postgres, in valgrind from its second start on: making the tables in it would take minutes."""

    counts: list[str] | None = None
    patience = 60.0

    def prepare(self):
        super().prepare()
        self.command = [*(self.counts or ()), *self.command]


def main():
    arguments = _arguments()
    folder = scratch_folder("wcsgate-count-")
    with ExitStack() as stack:
        postgres = CountedPostgres(folder / "postgres", password="bench", durable=True)
        broker = stack.enter_context(Broker(folder / "broker", password="bench"))
        os.environ |= new_secrets() | {"WCSGATE_ENV": "demo", "DATABASE_URL": postgres.url, "BROKER_URL": broker.url}
        with postgres:
            prepare()
        make_folder(folder / "counts", server_account())
        (folder / "counts").chmod(0o777)
        postgres.counts = _counting(folder / "counts")
        postgres.start()
        stack.callback(postgres.stop)
        postgres.wait_until_ready(120)
        _print({name: _count(name, folder, postgres, arguments.hooks) for name in arguments.only or COMPARED})


def _arguments():
    parser = argparse.ArgumentParser(prog="bench.instructions", description=__doc__)
    parser.add_argument("--hooks", type=int, default=300)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, metavar="NAME")
    return parser.parse_args()


def _counting(folder):
    """What stands before the command of a process that shall be counted."""
    return [
        *("valgrind", "--quiet", "--tool=callgrind", "--trace-children=yes", "--instr-atstart=no"),
        f"--callgrind-out-file={folder}/%p",
    ]


def _count(name, folder, postgres, hooks):
    """Instructions a hook: of the web server's worker, and of Postgres."""
    application, settings, method, members, expected = CONTENDERS[name]
    port = free_port()
    web = Process(
        "web",
        [*_counting(folder / "counts"), *server(application, port, threads=1)],
        log=folder / "web.log",
        env=environment(DJANGO_SETTINGS_MODULE=settings, WCSGATE_HOOK_TIME_LIMIT="10"),
        cwd=ROOT,
    )
    web.patience = 60.0
    with web:
        wait_for(port)
        connect(application, port)
        message = message_for(method, members)
        send(port, message, WARM_UP, 1)
        counted = {"web": tree(web.pid), "postgres": tree(postgres.pid)}
        _tell(counted, "--instr=on", postgres.account)
        _, statuses = send(port, message, hooks, 1)
        assert set(statuses) == {expected}, statuses
        _tell(counted, "--instr=off", postgres.account)
        _tell(counted, "--dump", postgres.account)
        return {who: sum(_executed(folder / "counts", pid) for pid in pids) / hooks for who, pids in counted.items()}


def _tell(counted, what, account):
    """Switch counting on or off, or have the counts written. Each account can only speak to its own processes."""
    for who, pids in counted.items():
        subprocess.run(
            ["callgrind_control", what, *map(str, pids)],
            check=True,
            capture_output=True,
            **running_as(account if who == "postgres" else None),
        )


def _executed(folder, pid):
    """What was counted for a process, in the file it wrote last."""
    files = sorted(folder.glob(f"{pid}.*"), key=lambda path: int(path.suffix[1:]))
    return int(re.search(r"^totals: (\d+)", files[-1].read_text(), re.MULTILINE)[1]) if files else 0


def _print(results):
    totals = {name: sum(counts.values()) for name, counts in results.items()}
    print(f"{'':20}{'web':>10}{'Postgres':>10}{'together':>10}{'echo = 1':>10}{'floor = 1':>10}")
    for name, counts in results.items():
        ratios = [f"{totals[name] / totals[to]:>10.2f}" if to in totals else "" for to in ("echo", "floor")]
        print(f"{name:20}{counts['web']:>10,.0f}{counts['postgres']:>10,.0f}{totals[name]:>10,.0f}{''.join(ratios)}")


if __name__ == "__main__":
    main()
