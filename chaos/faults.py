"""What is done to the service, one after the other. Each fault is a context: what it does ends with it."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

VICTIMS = ("web", "worker", "beat", "broker", "Postgres")
AMID = ("web", "worker")
"""What may also be killed in the middle of a fault that lasts."""


@contextmanager
def kill(system, dice, victim):
    """SIGKILL, and a start after a moment."""
    process = dice.choice(system.processes[victim])
    system.kill(process)
    try:
        yield f"kill {victim}"
    finally:
        system.begin(process)


@contextmanager
def pause(system, dice):
    with system.paused(system.postgres):
        yield "pause Postgres (SIGSTOP)"


@contextmanager
def slow(system, dice):
    system.proxy.slow_down()
    try:
        yield "Postgres 2 s late"
    finally:
        system.proxy.speed_up()


@contextmanager
def connections(system, dice):
    with system.without_connections():
        yield "no connection left"


@contextmanager
def disk(system, dice):
    with system.disk.full():
        yield "disk of Postgres full"
    system.restart_ended()  # it ends itself where it cannot write its log


@contextmanager
def broker(system, dice):
    system.flush_broker()
    yield "broker flushed"


@contextmanager
def spool(system, dice):
    """The spool takes nothing, while it is needed."""
    with unwritable(system), kill(system, dice, "Postgres"):
        yield "kill Postgres, spool unwritable"


@contextmanager
def unwritable(system):
    if system.spool_disk:
        with system.spool_disk.full():
            yield
        return
    system.spool.mkdir(mode=0o700, exist_ok=True)
    system.spool.chmod(0o500)
    try:
        yield
    finally:
        system.spool.chmod(0o700)


@dataclass(frozen=True)
class Fault:
    """One that can be made, and for how many seconds it lasts; a long one may be joined by a second one."""

    make: Callable
    held: tuple[float, float] = (1.5, 3.5)

    @property
    def is_long(self):
        return self.held[0] > 1

    def hold(self, dice):
        return dice.uniform(*self.held)


KILLS = {victim: Fault(partial(kill, victim=victim), (0.3, 1.5)) for victim in VICTIMS}
FAULTS = {
    "kill": list(KILLS.values()),
    "pause": [Fault(pause)],
    "slow": [Fault(slow, (3.0, 5.0))],
    "connections": [Fault(connections)],
    "disk": [Fault(disk)],
    "broker": [Fault(broker, (0.1, 0.3))],
    "spool": [Fault(spool)],
}
"""By kind, as they are named on the command line."""


def impossible(system):
    """Kinds of faults that cannot be made on this machine, with why."""
    if not system.no_disks:
        return {}
    kinds = ("disk", "spool") if os.geteuid() == 0 else ("disk",)  # nothing is unwritable to root but a full disk
    return dict.fromkeys(kinds, system.no_disks)
