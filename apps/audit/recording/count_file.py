"""The file in which a process keeps its counts: memory that the kernel keeps when the process is killed.

It lies in the folder of the spool, and belongs to whoever holds its lock, as spools do. Nothing is synced: of a machine
that went down, what its processes had told the database counts, and the file says by the machine's boot that it is of
before. Its blocks are reserved when it is made: to write into memory for which the disk has no room kills a process.
"""

import mmap
import os
import socket
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from apps.audit.ids import COUNTER_BITS, LAST_NUMBER
from apps.audit.recording.spool_folder import UnusableFile, files_of, new_file

SUFFIX = ".counts"
COUNTERS, CELLS = 256, 32_768
"""For how many nodes one process counts each on its own, and how many numbers it may have out."""

GIVEN, VOID, FAILED, UNRECORDED, PUBLISHED, NAME_BYTES = range(1, 7)
"""Words of a counter after its key: see `Counter` of `counting`, and its name, which follows."""

IDLE = 1 << 35
"""In a cell: its number is with nobody."""
NUMBER = IDLE - 1
OF_COUNTER = 36
"""By how many bits a cell's counter stands higher; one more than its index, so that no cell in use is 0."""

MAX_NAME = 255
_WORD = 8
_HEAD = 4  # words: magic, boot
_COUNTER = 40
CELLS_AT = _HEAD + COUNTERS * _COUNTER
SIZE = (CELLS_AT + CELLS) * _WORD
_MAGIC = b"WCSCOUNT"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Found(NamedTuple):
    """What a counter's words and cells say. `busy` are numbers of hooks that are being answered, `idle` all others
    that were given and with which nothing was answered."""

    index: int
    key: int
    node_name: str
    given: int
    void: int
    failed: int
    unrecorded: int
    published: bool
    busy: frozenset[int]
    idle: frozenset[int]


class CountFile:
    """The words of this process: in a file of the folder, or where there is none in memory that ends with it."""

    def __init__(self, folder: Path | None) -> None:
        """Raises OSError where the folder cannot be written, or has no room."""
        self.name = f"{socket.gethostname()[:60].replace('/', '_')}-{os.getpid()}-{os.urandom(4).hex()}"
        self._fd = -1
        if folder is not None:
            self._fd = new_file(folder / f"{self.name}{SUFFIX}", lambda fd: os.posix_fallocate(fd, 0, SIZE))
        self.memory = mmap.mmap(self._fd, SIZE)
        self.memory[: len(_MAGIC)] = _MAGIC
        self.memory[8:24] = _boot()
        self.words = memoryview(self.memory).cast("Q")

    def add(self, index: int, key: int, node_name: str) -> int:
        """Begin a counter; gives the place of its first word."""
        place, name = place_of(index), node_name.encode()
        start = (place + NAME_BYTES + 1) * _WORD
        self.memory[start : start + len(name)] = name
        self.words[place + NAME_BYTES] = len(name)
        self.words[place] = key
        return place

    def close(self) -> None:
        """Let go of the file, for others to find."""
        self.words.release()
        self.memory.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def place_of(index: int) -> int:
    """The first word of a counter."""
    return _HEAD + index * _COUNTER


def _boot() -> bytes:
    """What is another one after each boot of this machine."""
    try:
        return bytes.fromhex(_BOOT.read_text().replace("-", ""))[:16].ljust(16)
    except (OSError, ValueError):
        return bytes(16)


def found_in(words: memoryview, memory: bytes | mmap.mmap, cells: list[int]) -> Iterator[Found]:
    """Every counter, with what its cells say."""
    busy, idle = defaultdict(set), defaultdict(set)
    for cell in filter(None, cells):
        (idle if cell & IDLE else busy)[(cell >> OF_COUNTER) - 1].add(cell & NUMBER)
    for index in range(COUNTERS):
        place = place_of(index)
        key, given, void, failed, unrecorded, published, length = words[place : place + 7].tolist()
        if not key:
            return
        start = (place + NAME_BYTES + 1) * _WORD
        name = bytes(memory[start : start + length]).decode(errors="replace")
        out = (frozenset(number for number in kind[index] if number <= given) for kind in (busy, idle))
        yield Found(index, key, name, given, void, failed, unrecorded, bool(published), *out)


def read(fd: int) -> tuple[list[Found], bool]:
    """What a process that died has left, and whether that was before the machine was started anew: then what the file
    says of numbers may be of different moments. Raises UnusableFile for what no process of ours has written."""
    if os.fstat(fd).st_size != SIZE:
        raise UnusableFile("It is not as long as counts are.")
    data = os.pread(fd, SIZE, 0)
    if not any(data):
        return [], True  # the machine went down before anything of it was on the disk
    words = memoryview(data).cast("Q")
    if not data.startswith(_MAGIC) or not all(_may_be_ours(words, place_of(index)) for index in range(COUNTERS)):
        raise UnusableFile("It has in it what no process counts.")
    return list(found_in(words, data, words[CELLS_AT:].tolist())), data[8:24] != _boot()


def _may_be_ours(words: memoryview, place: int) -> bool:
    """Whether a counter has a key, a number and a name that a process may give it."""
    key, given, name_length = words[place], words[place + GIVEN], words[place + NAME_BYTES]
    return key < 1 << COUNTER_BITS and given <= LAST_NUMBER and name_length <= MAX_NAME


def left_in(folder: Path | None) -> list[Path]:
    """The files of all processes that use this folder."""
    return files_of(folder, SUFFIX)
