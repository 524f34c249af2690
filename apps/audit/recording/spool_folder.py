"""The folder of the spool, in which processes leave files for others: whose they are, and what is no file of ours.

Somebody may put anything there, or make it unreadable. So every file stands for itself: what cannot be used is moved
aside and said, and nobody waits for it, nor leaves the others of the folder alone because of it.
"""

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

ASIDE = ".aside"
_UNUSABLE = {errno.EISDIR, errno.ELOOP, errno.ENXIO}
"""What opening says of what never becomes usable by itself; anything else, such as too many open files, passes."""

logger = logging.getLogger(__name__)


class UnusableFile(Exception):
    """What lies there is nothing that a process of ours has written, or nothing that we may read."""


class OthersFile(UnusableFile):
    """It belongs to another user, a process of whom may still write into it."""


def open_file(path: Path | str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file, without waiting for anything and without following a link.

    Raises FileNotFoundError, and UnusableFile where there is something else.
    """
    try:
        fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
    except PermissionError as error:
        raise OthersFile(error.strerror) from error
    except OSError as error:
        if error.errno in _UNUSABLE:
            raise UnusableFile(error.strerror) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnusableFile("It is no regular file.")
    return fd


def new_file(path: Path, fill: Callable[[int], object]) -> int:
    """A descriptor of a file of this process. Others find it only when it is locked, and has in it what `fill` writes.

    Raises OSError where the folder cannot be written, or has no room.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unlocked = path.with_name(f"{path.name}.new")
    fd = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fill(fd)
        unlocked.rename(path)
        sync(path.parent)
    except OSError:
        os.close(fd)
        unlocked.unlink(missing_ok=True)
        raise
    return fd


def configured() -> Path | None:
    """The folder that the settings name; None where they name none."""
    return Path(settings.SPOOL) if settings.SPOOL else None


def files_of(folder: Path | None, suffix: str) -> list[Path]:
    """The files of a kind that all processes have in this folder, sorted by name."""
    return sorted(folder.glob(f"*{suffix}")) if folder is not None and folder.is_dir() else []


@contextmanager
def taken_over(path: Path) -> Iterator[int | None]:
    """A descriptor of this file if it is ours now: nobody holds it, and it was not removed under our hands. Else None.

    Raises UnusableFile.
    """
    try:
        fd = open_file(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd if _lock(fd) and _is_still(path, fd) else None
    finally:
        os.close(fd)


def move_aside(path: Path, why: Exception) -> None:
    """Put what nobody can use but a person out of the way of others."""
    logger.error(
        "%s cannot be used and is moved aside, for you to look at: %s", loggable(path), str(why).partition("\n")[0]
    )
    try:
        path.rename(path.with_name(f"{path.name}{ASIDE}"))
    except OSError as error:
        logger.error("%s cannot even be moved aside: %s", loggable(path), error.strerror)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync(folder: Path) -> None:
    """Wait until the names of its files are on the disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_still(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def loggable(path: Path) -> str:
    """Its name as every log can have it: a name of a file need not be text."""
    return str(path).encode("utf-8", "backslashreplace").decode()
