"""How many records are moved at once: as many as take a moment, which is more where there is much to do, and few after
a start or a failure. So a worker that is killed over and over, or hardly gets any time, still gets on.
"""

import time
from collections.abc import Callable

FEWEST, MOST = 100, 2_000
AIM = 1.0
"""Seconds that one transaction may take, roughly."""


class Pace:
    """That of one process, which knows no more than how its last attempt went. Nothing of it is kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = FEWEST
        self._clock = clock

    def move(self, move: Callable[[int], int], most: int = MOST) -> tuple[int, bool]:
        """Have some moved, and no more than `most`; gives how many were, and whether there may be more."""
        size, began = min(self.size, most), self._clock()
        self.size = FEWEST  # unless this ends well
        moved = move(size)
        self.size = self._next(size, self._clock() - began, full=moved == size)
        return moved, moved == size

    @staticmethod
    def _next(size: int, took: float, *, full: bool) -> int:
        if took > AIM:
            return max(FEWEST, size // 2)
        return min(MOST, size * 2) if full and took < AIM / 2 else size
