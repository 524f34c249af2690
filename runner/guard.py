"""Ends what its parent started when the parent itself is gone (`kill -9`) and cannot.

A process and a session of its own. Standard input brings one line for each child (`started PID SIGNAL`,
`ended PID`) and for each folder to remove (`folder PATH`); its end means that the parent has ended.
The parent ends its children itself when it can: then nothing is left to do here.
"""

import os
import select
import shutil
import signal
import time
from contextlib import suppress

PATIENCE = 2.0


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    children, folders = listen(os.getppid())
    end(children)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def listen(parent: int) -> tuple[dict[int, int], list[str]]:
    children: dict[int, int] = {}
    folders: list[str] = []
    rest = b""
    while os.getppid() == parent:
        if not select.select([0], [], [], 0.5)[0]:
            continue
        if not (chunk := os.read(0, 65536)):
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            match line.decode().split(" ", 1):
                case ["started", numbers]:
                    pid, number = numbers.split()
                    children[int(pid)] = int(number)
                case ["ended", pid]:
                    children.pop(int(pid), None)
                case ["folder", path]:
                    folders.append(path)
    return children, folders


def end(children: dict[int, int]) -> None:
    """Ask each child politely, last started first; whatever is left of their process groups is killed."""
    for pid, number in reversed(children.items()):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up and any(map(group_exists, children)):
        time.sleep(0.05)
    for pid in children:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def group_exists(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
