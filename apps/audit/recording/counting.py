"""What this process has answered, so that it can be compared with what is in the record. Touches no database.

Each hook gets a number of its node's counter, which becomes a part of its record's id. A number is out until it is
known what became of it: answered with a record, or not. What is out stands in a cell, so that of a process that was
killed it is known which of its hooks it may or may not have answered. All other numbers given must be in the record.

A number with which surely nothing was sent to the database is used again; any other one never is.
"""

import logging
import os
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from apps.audit.ids import COUNTER_BITS, LAST_NUMBER, numbered_id
from apps.audit.recording.count_file import (
    CELLS,
    CELLS_AT,
    COUNTERS,
    FAILED,
    GIVEN,
    IDLE,
    MAX_NAME,
    OF_COUNTER,
    PUBLISHED,
    UNRECORDED,
    VOID,
    CountFile,
    Found,
    found_in,
    place_of,
)
from apps.audit.recording.recorder import new_id

OTHERS = ""
"""The node under which the hooks of all count that are not on the list (yet)."""

logger = logging.getLogger(__name__)


class Counter:
    """Of one node in this process: its place in the words, how many numbers it has given, and those to use again."""

    __slots__ = ("given", "index", "key", "mark", "place", "spare")

    def __init__(self, index: int, key: int, place: int) -> None:
        self.index, self.key, self.place = index, key, place
        self.mark = (index + 1) << OF_COUNTER
        self.given = 0
        self.spare: list[tuple[int, int]] = []  # cell and number


class Look(NamedTuple):
    """What a counter says, and which of its idle numbers are never used again, each with its cell."""

    found: Found
    uncertain: tuple[tuple[int, int], ...]


class Ticket:
    """The number of one hook, until it is known what became of it. `sent`: a record may have been written."""

    __slots__ = ("_cell", "_counter", "_counts", "_number", "id", "sent")

    def __init__(self, counts: "Counts", counter: Counter | None, cell: int, number: int, id_: UUID) -> None:
        self._counts, self._counter, self._cell, self._number = counts, counter, cell, number
        self.id = id_
        self.sent = False

    def recorded(self) -> None:
        """It is in the record, and now answered."""
        if self._counter is not None:
            self._counter = None
            self._counts.close(self._cell)

    def failed(self) -> None:
        """It was answered that it could not be decided."""
        self._end(FAILED)

    def unrecorded(self) -> None:
        """It is answered without a record, as the operator wants it."""
        self._end(UNRECORDED)

    def unused(self) -> None:
        """It was not for us to answer, or is tried again with another one."""
        self._end(0)

    def _end(self, word: int) -> None:
        counter, self._counter = self._counter, None
        if counter is not None:
            self._counts.give_back(counter, self._cell, self._number, word, sent=self.sent)


class Counts:
    """The counters of this process."""

    def __init__(self, folder: str, is_known: Callable[[str], bool]) -> None:
        """`is_known` says whether a node has a counter of its own: a caller who makes names up shall not get any."""
        self._is_known = is_known
        self._lock = threading.Lock()
        self._file = _file(Path(folder) if folder else None)
        self._words = self._file.words
        self._counters: dict[str, Counter] = {}
        self._begun = 0
        self._free: list[int] = []
        self._cells = CELLS_AT  # where those begin that were never in use
        self._uncertain: dict[
            int, list[tuple[int, int]]
        ] = {}  # what may be in the record, by counter: as Counter.spare
        self.without = 0
        """How many hooks got no number: more were out at a time than there is room for."""

    @property
    def name(self) -> str:
        """That of this process, of which there is no second one on any machine."""
        return self._file.name

    def take(self, node_id: str, now: datetime) -> Ticket:
        """A number for a hook that has come."""
        with self._lock:
            counter = self._counters.get(node_id) or self._counter_for(node_id)
            if counter is not None and counter.spare:
                cell, number = counter.spare.pop()
                self._words[cell] = counter.mark | number
            elif counter is not None and (self._free or self._cells < CELLS_AT + CELLS):
                cell = self._free.pop() if self._free else self._new_cell()
                number = counter.given = counter.given + 1
                self._words[cell] = counter.mark | number  # before it counts as given, should we be killed between
                self._words[counter.place + GIVEN] = number
                if number == LAST_NUMBER:
                    self._forget(counter.key)
            else:
                self.without += 1
                return Ticket(self, None, 0, 0, new_id(now))
        return Ticket(self, counter, cell, number, numbered_id(now, counter.key, number))

    def close(self, cell: int) -> None:
        """The number of a cell is answered with a record."""
        self._words[cell] = 0
        self._free.append(cell)

    def give_back(self, counter: Counter, cell: int, number: int, word: int, *, sent: bool) -> None:
        """Nothing was answered with a record under this number."""
        with self._lock:
            if word:
                self._words[counter.place + word] += 1
            self._words[cell] |= IDLE
            if sent:
                self._uncertain.setdefault(counter.index, []).append((cell, number))
            else:
                counter.spare.append((cell, number))

    def look(self) -> list[Look]:
        """What all counters say at one moment."""
        with self._lock:
            cells = self._words[CELLS_AT : self._cells].tolist()
            found = found_in(self._words, self._file.memory, cells)
            return [Look(counter, tuple(self._uncertain.get(counter.index, ()))) for counter in found]

    def is_published(self, look: Look) -> None:
        """The database knows this; so numbers that are never used again need not be kept any more."""
        place = place_of(look.found.index)
        with self._lock:
            self._words[place + PUBLISHED] = 1
            self._words[place + VOID] += len(look.uncertain)
            for cell, number in look.uncertain:
                self._uncertain[look.found.index].remove((cell, number))
                self.close(cell)

    def begin_anew(self, key: int) -> None:
        """The database holds a counter for one that has ended: from now on its node gets numbers of another one."""
        with self._lock:
            self._forget(key)

    def stop(self) -> None:
        """Let go of the file, for others to find."""
        self._file.close()

    def _forget(self, key: int) -> None:
        self._counters = {name: counter for name, counter in self._counters.items() if counter.key != key}

    def _new_cell(self) -> int:
        self._cells += 1
        return self._cells - 1

    def _counter_for(self, node_id: str) -> Counter | None:
        own = node_id and len(node_id.encode()) <= MAX_NAME and self._begun < COUNTERS - 1 and self._is_known(node_id)
        name = node_id if own else OTHERS
        counter = self._counters.get(name)
        if counter is None and self._begun < COUNTERS:
            key = int.from_bytes(os.urandom(COUNTER_BITS // 8)) or 1
            counter = Counter(self._begun, key, self._file.add(self._begun, key, name))
            self._counters[name] = counter
            self._begun += 1
        return counter


def _file(folder: Path | None) -> CountFile:
    try:
        return CountFile(folder)
    except OSError as error:
        logger.error("Counts are kept in memory alone, and end with this process: %s", error.strerror or error)
        return CountFile(None)
