"""`make chaos`: hooks come in while everything is killed, stopped and filled up; then ledger and record are compared.

What was answered must be in the record, once, and nobody may have been allowed what is forbidden. With a protection
taken out (`--without`) that must fail, or else it would show nothing.
"""

import argparse
import os
import random
import shutil
import signal
import time
from contextlib import ExitStack

from chaos.faults import AMID, FAULTS, KILLS, impossible
from chaos.record import compare, read_counts, read_ledger, read_record
from chaos.report import Result, text
from chaos.system import TWINS, System
from runner import Problem
from runner.places import scratch_folder
from runner.processes import GUARD

SHOWN_BY = {"outbox": "web", "spool": "Postgres", "exactly-once": "worker"}
"""Whose death shows that a protection is missing."""

DEFAULT, MOST = 600.0, 3600.0
TWIN_SECONDS = 4.0
PAUSE = (0.7, 1.7)
CALM = 2.0
"""Seconds before the first fault, and after everything is healed, in which hooks come in undisturbed."""

AFTERWARDS = 30.0
"""Seconds within which spool and outbox must be empty, once no more hooks come in."""


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    os.umask(0o077)
    folder = scratch_folder("wcsgate-chaos-")
    with ExitStack() as stack:
        if not options.keep:
            GUARD.remove_folder(folder)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        system = System(folder, stack)
        system.start()
        system.become(options.without)
        print(f"The service runs. Now there are {options.seconds:g} seconds of faults.", flush=True)
        faults = _faults(options, impossible(system))
        results = [fault_run(system, folder, options.seconds, options.seed, faults, without=options.without)]
        print(text(results[0]), flush=True)
        if options.twins:
            results += [_twin(system, folder, name, options.seed) for name in TWINS]
    unnoticed = [result.without for result in results[1:] if not result.lost_or_doubled]
    for name in unnoticed:
        print(f"Without {name}, nothing was lost or doubled: the run would not notice its loss.")
    return int(results[0].wrong or bool(unnoticed))


def _options(arguments):
    parser = argparse.ArgumentParser(prog="manage.py chaos", description=__doc__.partition("\n\n")[2])
    parser.add_argument("--seconds", type=_seconds, default=DEFAULT, help=f"how long: {DEFAULT:g}, and up to {MOST:g}")
    parser.add_argument("--seed", type=int, help="of the dice that choose the faults")
    parser.add_argument("--fault", choices=[*FAULTS, "all"], default="all", help="one kind of fault only")
    parser.add_argument("--without", choices=TWINS, default="", help="take a protection out: this must fail")
    parser.add_argument("--twins", action="store_true", help="afterwards, see that each protection is missed when out")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs and the ledger")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**6)
    return options


def _seconds(given):
    if not 1 <= float(given) <= MOST:
        raise argparse.ArgumentTypeError(f"must be from 1 to {MOST:g}")
    return float(given)


def _faults(options, why_not):
    """What is done, in turns: all that this machine can do, or what was asked for; to a twin, what shows it."""
    if options.without and options.fault == "all":
        return [KILLS[SHOWN_BY[options.without]]]
    kinds = list(FAULTS) if options.fault == "all" else [options.fault]
    for kind in why_not.keys() & set(kinds):
        print(f"There will be no fault “{kind}”: {why_not[kind]}.", flush=True)
    possible = [fault for kind in kinds if kind not in why_not for fault in FAULTS[kind]]
    if not possible:
        raise Problem("So there is nothing to do.")
    return possible


def fault_run(system, folder, seconds, seed, faults, *, without=""):
    """Load and faults for so long, then calm; gives what came of it."""
    dice = random.Random(seed)
    node = f"chaos-{without or 'all'}-{os.getpid()}@127.0.0.1"
    ledger = folder / f"ledger-{without or 'all'}"
    result = Result(seconds, seed, without)
    with system.load(ledger, node) as load:
        time.sleep(CALM)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for fault in dice.sample(faults, len(faults)):
                if time.monotonic() < until:
                    _one(system, dice, fault, result)
        result.ended += system.heal()
        time.sleep(CALM)
        if not load.alive:
            raise Problem(f"The load ended early: {load.log.read_text()}")
        load.stop()
    result.empty_after = _wait_until_empty(system)
    result.waiting = system.waiting()
    with system.connect() as connection:
        result.compared = compare(read_ledger(ledger), read_record(connection, node))
        result.while_away, result.not_moved = read_counts(connection, node)
    result.aside = len(list(system.spool.glob("*.aside"))) if system.spool.is_dir() else 0
    return result


def _one(system, dice, fault, result):
    """One fault from beginning to end; half of those that last are joined by a second one."""
    seconds = fault.hold(dice)
    with fault.make(system, dice) as what:
        result.faults[what] += 1
        time.sleep(seconds / 2)
        if fault.is_long and dice.random() < 0.5:
            with KILLS[dice.choice(AMID)].make(system, dice) as second:
                result.faults[f"{second}, amid another fault"] += 1
        time.sleep(seconds / 2)
    time.sleep(dice.uniform(*PAUSE))
    result.ended += system.heal()  # on a slow machine it takes its time, and the next fault waits


def _wait_until_empty(system):
    """Seconds from now until nothing is in spool and outbox; None where something stays."""
    since = time.monotonic()
    while time.monotonic() < since + AFTERWARDS:
        if system.waiting() == (0, 0):
            return time.monotonic() - since
        time.sleep(0.2)
    return None


def _twin(system, folder, name, seed):
    system.become(name)
    result = fault_run(system, folder, TWIN_SECONDS, seed, [KILLS[SHOWN_BY[name]]], without=name)
    print(text(result), flush=True)
    return result


def _interrupt(*_):
    raise KeyboardInterrupt
