"""Keeping processes alive, following their logs, and printing without ever waiting for a reader."""

import os
import select
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner import Problem
from runner.processes import Process


@dataclass
class Watched:
    """One process that is to run for good, and when to start it again if it does not."""

    process: Process
    delay: float = 0.5
    due: float | None = None
    started_at: float = 0.0

    def look(self, now: float) -> str | None:
        """Start it again when it is time; say what there is to say."""
        if self.due is None and self.process.alive:
            if now - self.started_at > 60:
                self.delay = 0.5
            return None
        if self.due is None:
            how = self.process.popen.returncode if self.process.popen else "?"
            self.process.kill()
            self.due, wait, self.delay = now + self.delay, self.delay, min(self.delay * 2, 15)
            return f"{self.process.name} ended ({how}); starting it again in {wait:g} s"
        if now < self.due:
            return None
        self.due, self.started_at = None, now
        try:
            self.process.start()
        except (Problem, OSError) as error:
            return f"{self.process.name} cannot be started: {error}"
        return f"{self.process.name} started again"


class Log:
    """A log file that is being written; gives what came since it was last asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = path.stat().st_size if path.exists() else 0

    def new_lines(self) -> list[str]:
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(self.position)
            whole = file.read(2**20).rpartition(b"\n")[0]
            if whole:
                self.position += len(whole) + 1
                return whole.decode(errors="replace").split("\n")
        return []


def emit(line: str, patience: float = 0.05) -> None:
    """Print, but do not hang on a reader that has stopped reading, nor end with one that is gone."""
    text = f"{line}\n".encode()
    with suppress(OSError):
        for start in range(0, len(text), select.PIPE_BUF):
            if select.select([], [1], [], patience)[1]:
                os.write(1, text[start : start + select.PIPE_BUF])
