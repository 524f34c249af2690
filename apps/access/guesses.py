"""Wrong passwords, counted for a while, so that nobody can try many. Pure; in the memory of one process."""

from collections.abc import Hashable

REMEMBERED = 10_000
"""Keys that are remembered; beyond that the oldest are forgotten."""


class Guesses:
    """Allows `limit` wrong guesses a key within `seconds` of the first one."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._wrong: dict[Hashable, tuple[float, int]] = {}

    def allows(self, key: Hashable, now: float) -> bool:
        """Whether one more guess may be looked at. `now` is in seconds, of any clock that does not jump."""
        first_at, count = self._wrong.get(key, (now, 0))
        return count < self._limit or now - first_at >= self._seconds

    def was_wrong(self, key: Hashable, now: float) -> None:
        """Count a wrong guess."""
        first_at, count = self._wrong.pop(key, (now, 0))
        if now - first_at >= self._seconds:
            first_at, count = now, 0
        if len(self._wrong) >= REMEMBERED:
            self._wrong.pop(next(iter(self._wrong)), None)
        self._wrong[key] = first_at, count + 1
