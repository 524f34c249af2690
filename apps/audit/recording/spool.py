"""The spool: a file of this process, for records that Postgres cannot take just now.

`append` gives back only when the entry is on the disk. Each entry has its length and a checksum, so that one that was
torn by a crash is recognised. Whoever is alive holds a lock on its file; a file that nobody holds is that of a process
which died, and belongs to whoever locks it first.
"""

import os
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from apps.audit.recording.spool_folder import ASIDE, UnusableFile, files_of, new_file, open_file

SUFFIX = ".spool"
MAGIC = b"WCSSPOOL"
LONGEST = 1_000_000
"""Bytes that an entry may have, more than ten times what one has. What says that it is longer is none of ours: nothing
that somebody has put there is read into memory as a whole."""

_HEAD = struct.Struct("!II")  # length and checksum of what follows
_SINCE = "%Y%m%dT%H%M%S"


class SpoolUnusable(Exception):
    """The spool has no room, no folder, or its disk does not take it."""


class Piece(NamedTuple):
    """What stands between two places of a file: an entry, or None where it cannot be read."""

    payload: bytes | None
    start: int
    end: int


class OpenFile:
    """The file that this process appends to. `size` is how far it is written, `synced` how far it is on the disk."""

    def __init__(self, folder: Path, since: datetime) -> None:
        self.path = folder / f"{since.astimezone(UTC):{_SINCE}}-{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        self.writing, self.syncing = threading.Lock(), threading.Lock()
        self.broken = False
        self._fd = new_file(self.path, lambda fd: _write(fd, MAGIC, 0))
        self.size = self.synced = len(MAGIC)

    def write(self, data: bytes) -> int:
        """Append; gives where it ends. For one thread at a time."""
        try:
            self.size = _write(self._fd, data, self.size)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self.size)
            raise
        return self.size

    def sync(self, end: int) -> None:
        """Wait until all is on the disk up to there. Whoever comes first does it for all who have written."""
        with self.syncing:
            if self.broken:
                raise SpoolUnusable("The disk of the spool has failed.")
            if self.synced >= end:
                return
            size = self.size
            try:
                os.fsync(self._fd)
            except OSError:
                self.broken = True  # a second try would seem to succeed, with nothing on the disk
                raise
            self.synced = size

    def close(self) -> None:
        """Let go of it, and so of its lock."""
        os.close(self._fd)


class Spool:
    """Entries that wait, in a file that is made with the first one and removed with the last one."""

    def __init__(self, folder: str, limit: int) -> None:
        """`limit` is how many bytes the file may have."""
        self.folder = Path(folder) if folder else None
        self._limit = limit
        self._lock = threading.Lock()
        self._file: OpenFile | None = None

    @property
    def file(self) -> OpenFile | None:
        """The file, while there is one."""
        return self._file

    def append(self, payload: bytes, since: datetime) -> None:
        """Keep an entry; it is on the disk when this returns. `since` is when Postgres went away.

        Raises SpoolUnusable.
        """
        try:
            with self._lock:
                file = self._open(since)
                data = _HEAD.pack(len(payload), crc32(payload)) + payload
                if file.size + len(data) > self._limit:
                    raise SpoolUnusable("The spool has as much in it as it may.")
                end = file.write(data)
            file.sync(end)
        except OSError as error:
            raise SpoolUnusable(f"The spool cannot be written: {error.strerror or error}.") from None

    def _open(self, since: datetime) -> OpenFile:
        if self.folder is None:
            raise SpoolUnusable("There is no folder for the spool.")
        if self._file is not None and self._file.broken:
            self._file.close()  # what is in it is found as that of a process which died
            self._file = None
        if self._file is None:
            self._file = OpenFile(self.folder, since)
        return self._file

    def remove(self, until: int) -> bool:
        """Remove the file if nothing is in it beyond there."""
        with self._lock:
            file = self._file
            if file is None:
                return True
            with file.syncing:
                if file.size > until:
                    return False
                file.path.unlink(missing_ok=True)
                file.close()
                self._file = None
                return True

    def close(self) -> None:
        """Let go of the file, for others to find."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


def pieces(path: Path, start: int, until: int | None = None) -> Iterator[Piece]:
    """What is in a file from a place on; beyond an entry whose length cannot be right, nothing can be told apart."""
    with open(path, "rb", opener=open_file) as file:
        end = os.fstat(file.fileno()).st_size if until is None else until
        place = max(start, len(MAGIC))
        while place < end:
            file.seek(place)
            head = file.read(_HEAD.size)
            length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
            following = place + _HEAD.size + length
            if not 0 < length <= LONGEST or following > end:
                yield Piece(None, place, end)
                return
            payload = file.read(length)
            yield Piece(payload if crc32(payload) == checksum else None, place, following)
            place = following


def count(path: Path, start: int) -> tuple[int, int]:
    """How many whole entries there seem to be from a place on, by their lengths alone, and where they end."""
    counted, place = 0, max(start, len(MAGIC))
    with open(path, "rb", opener=open_file) as file:
        end = os.fstat(file.fileno()).st_size
        while place + _HEAD.size <= end:
            file.seek(place)
            length, _ = _HEAD.unpack(file.read(_HEAD.size))
            if not 0 < length <= LONGEST or place + _HEAD.size + length > end:
                break
            counted, place = counted + 1, place + _HEAD.size + length
    return counted, place


def files(folder: Path | None) -> list[Path]:
    """The files of all processes that use this folder, the oldest first."""
    return files_of(folder, SUFFIX)


class Waiting(NamedTuple):
    """What the files of a folder hold: entries that are not in the outbox yet, since when Postgres is away by their
    names, and how many files hold what only a person can use."""

    entries: int
    since: datetime | None
    aside: int


_counted: dict[Path, tuple[int, int]] = {}


def waiting(folder: Path | None) -> Waiting:
    """What waits in this folder, of all processes. Each entry is counted once, so that asking often costs little."""
    found = {path: _count_on(path) for path in files(folder)}
    counted = {path: entries for path, entries in found.items() if entries is not None}
    _counted.clear()
    _counted.update(counted)
    since = min(filter(None, map(since_of, counted)), default=None)
    unusable = sum(os.path.lexists(path) for path in found.keys() - counted)
    aside = len(list(folder.glob(f"*{ASIDE}"))) + unusable if folder is not None else 0
    return Waiting(sum(entries for entries, _ in counted.values()), since, aside)


def _count_on(path: Path) -> tuple[int, int] | None:
    before, place = _counted.get(path, (0, 0))
    try:
        more, place = count(path, place)
    except (FileNotFoundError, UnusableFile):
        return None
    return before + more, place


def since_of(path: Path) -> datetime | None:
    """Since when Postgres was away when a file was begun; its name says so."""
    try:
        return datetime.strptime(path.name.partition("-")[0], _SINCE).replace(tzinfo=UTC)
    except ValueError:
        return None


def keep_pieces_aside(path: Path, pieces: Iterable[Piece]) -> None:
    """Keep what nobody can use but a person: beside the file that it was in, written at once; or where some is too long
    to be copied, with all of that file under another name."""
    kept = []
    with open(path, "rb", opener=open_file) as file:
        for piece in pieces:
            length = piece.end - piece.start
            if length > _HEAD.size + LONGEST:
                with suppress(FileExistsError):
                    path.with_name(f"{path.name}{ASIDE}").hardlink_to(path)
                continue
            file.seek(piece.start)
            kept.append(file.read(length))
    if kept:
        keep_aside(path, b"".join(kept))


def keep_aside(path: Path, data: bytes) -> None:
    """Keep these bytes beside the file that they were in."""
    fd = os.open(path.with_suffix(ASIDE), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _write(fd: int, data: bytes, place: int) -> int:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, place)
        place, view = place + written, view[written:]
    return place
