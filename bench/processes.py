"""What processes cost: CPU time of a tree of processes, or instructions where the machine counts them."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

CPUCLOCK_SCHED = 2
"""Of linux/posix-timers: with the complement of a process id above it, the clock of that process."""


def tree(pid):
    """A process and all that descend from it."""
    children = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        children += [int(child) for child in path.read_text().split()]
    return [pid] + [found for child in children for found in tree(child)]


def cpu_ns(pids):
    """Nanoseconds of CPU that each of these processes has used, threads that have ended included.

    Asked of the processes' own clocks: what /proc says of each thread is lost when the thread ends.
    """
    used = {}
    for pid in pids:
        with suppress(OSError):  # it has ended
            used[pid] = time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)
    return used


def memory():
    """Bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def most_memory():
    """The most bytes that this process ever had in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def counts_instructions():
    """Whether `perf stat` can count instructions here."""
    try:
        run = subprocess.run(
            ["perf", "stat", "-x,", "-e", "instructions", "true"], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return run.returncode == 0 and "not supported" not in run.stderr and "not counted" not in run.stderr


class Instructions:
    """Counts the instructions of processes while it is open; `total` is set when it closes."""

    def __init__(self, pids):
        self._pids = pids
        self.total = 0

    def __enter__(self):
        self._perf = subprocess.Popen(
            ["perf", "stat", "-x,", "-e", "instructions", "-p", ",".join(map(str, self._pids))],
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_):
        self._perf.send_signal(2)
        self.total = int(self._perf.communicate()[1].split(",")[0])
