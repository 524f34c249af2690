"""The seals that this machine has seen, in a file beside the spool: whoever can write to the database, and to nothing
else, cannot make us forget what was signed.

The file is only ever appended to. A line is a seal, as in a file of evidence, or says that somebody accepted the chain
as it was then; what stands before that is history.
"""

import fcntl
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from apps.audit.chain import line
from apps.audit.proving.signing import Name, Sealed, SealPiece, as_json, name_of
from apps.audit.recording.spool_folder import UnusableFile, open_file, sync

NAME = "seals"


class Unkept(Exception):
    """What is kept cannot be read or written. The message says which file, and why."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Somebody has looked at a record that was not as it was sealed, and wants it carried on from there."""

    batch: int
    hash: str
    at: str
    carries_on: Name | None
    """The last seal that the database had then."""

    @property
    def moment(self) -> datetime:
        """When that was."""
        return datetime.fromisoformat(self.at)


@dataclass(slots=True)
class Kept:
    """What the file says. `seals` are those since somebody accepted something, `known` are all that were ever seen."""

    exists: bool = False
    accepted: Accepted | None = None
    seals: list[SealPiece] = field(default_factory=list)
    known: set[SealPiece] = field(default_factory=set)

    @property
    def begins_after(self) -> Name | None:
        """Which seal the next one has to carry on."""
        if self.seals:
            return name_of(self.seals[-1])
        return self.accepted.carries_on if self.accepted else None

    @property
    def last(self) -> SealPiece | None:
        """The one that goes the farthest."""
        return self.seals[-1] if self.seals else None


def read(folder: Path | None) -> Kept:
    """What is kept in this folder; nothing where there is no file, or no folder. Raises Unkept."""
    if folder is None:
        return Kept()
    path = folder / NAME
    try:
        fd = open_file(path)
    except FileNotFoundError:
        return Kept()
    except (UnusableFile, OSError) as error:
        raise Unkept(f"{path} cannot be read: {error}") from error
    with os.fdopen(fd, "rb") as file:
        return _read(file.read())


@lru_cache(maxsize=1)
def _read(content: bytes) -> Kept:
    """Read once, as long as nothing is added: nobody changes what it gives."""
    kept = Kept(exists=True)
    for text in content.splitlines():
        kind, *columns = text.split(b"\t")
        try:
            if kind == b"seal":
                piece = SealPiece(columns[0], b64decode(columns[1], validate=True))
                Sealed.read(piece.line)
                if piece not in kept.known:
                    kept.known.add(piece)
                    kept.seals.append(piece)
            elif kind == b"accepted":
                kept.accepted, kept.seals = _accepted(columns[0]), []
        except (ValueError, IndexError, KeyError, TypeError):
            continue  # torn, as the disk was full or the machine crashed: it is written again
    return kept


def _accepted(text: bytes) -> Accepted:
    said = json.loads(text)
    name = said["carries_on"]
    return Accepted(said["batch"], said["hash"], said["accepted_at"], name and (name["batch"], name["hash"]))


def keep(folder: Path, pieces: Iterable[SealPiece]) -> None:
    """Append these seals, and wait until they are on the disk. Raises Unkept."""
    _append(folder, [b"seal\t%b\t%b" % (piece.line, b64encode(piece.signature)) for piece in pieces])


def accept(folder: Path, batch: int, hash_: bytes, last: SealPiece | None, now: datetime) -> None:
    """Append that the chain is accepted up to this batch, whatever was sealed before, and that the next seal carries on
    that one. Raises Unkept.
    """
    said = line(accepted_at=now, batch=batch, hash=hash_.hex(), carries_on=as_json(name_of(last)))
    _append(folder, [b"accepted\t%b\t" % said])


def _append(folder: Path, lines: Iterable[bytes]) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder / NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "ab") as file:
            fcntl.flock(fd, fcntl.LOCK_EX)
            file.write(b"".join(b"\n%b\n" % line for line in lines))  # whatever was torn before ends there
            file.flush()
            os.fsync(fd)
        sync(folder)
    except OSError as error:
        raise Unkept(f"{folder / NAME} cannot be written: {error.strerror}") from error
