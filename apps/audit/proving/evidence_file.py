"""A file of evidence: a line for each batch, event and seal, and one that ends it (docs/evidence.md). Pure."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.audit.chain import BEFORE_THE_FIRST
from apps.audit.proving.signing import SealPiece, end
from apps.audit.proving.verifying import BatchPiece, EndPiece, Event, Found, Piece, Verifier

if TYPE_CHECKING:
    from hashlib import _Hash


def lines(pieces: Iterable[BatchPiece | SealPiece], key: Ed25519PrivateKey | None, now: datetime) -> Iterator[bytes]:
    """The lines of a file with all of these; its end is signed with the key. Columns are separated by tabs."""
    number, last, before = 0, BEFORE_THE_FIRST, sha256()
    for piece in pieces:
        if isinstance(piece, BatchPiece):
            number, last = json.loads(piece.line)["batch"], piece.hash
        for line in _lines_of(piece):
            before.update(line)
            yield line
    said, signature = end(key, number, last, now, before.digest())
    yield b"end\t%b\t%b\n" % (said, b64encode(signature))


def _lines_of(piece: BatchPiece | SealPiece) -> Iterator[bytes]:
    if isinstance(piece, SealPiece):
        yield b"seal\t%b\t%b\n" % (piece.line, b64encode(piece.signature))
        return
    yield b"batch\t%b\t%b\n" % (piece.line, piece.hash.hex().encode())
    for event in piece.events:
        yield b"event\t%b\t%b\n" % (event.content, event.counted)


def pieces_of(lines: Iterable[bytes], before: "_Hash | None" = None) -> Iterator[Piece]:
    """The pieces of a file, or of the rest of one of which `before` has hashed what was before. Raises ValueError, with
    the number of the line, where it is none of a file of evidence.
    """
    batch: tuple[bytes, bytes] | None = None
    events: list[Event] = []
    hashed = sha256() if before is None else before
    for number, line in enumerate(lines, start=1):
        try:
            kind, said, beside = _columns(line)
            if kind == b"event" and batch is not None:
                events.append(_event(said, beside))
            else:
                if batch is not None:
                    yield BatchPiece(*batch, events)
                    batch, events = None, []
                if kind == b"batch":
                    batch = said, _hash(beside)
                else:
                    yield _signed(kind, said, beside, hashed.digest())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"Line {number} is none of a file of evidence.") from None
        hashed.update(line)
    if batch is not None:
        yield BatchPiece(*batch, events)


def look_at_file(verifier: Verifier, lines: BinaryIO) -> Found:
    """Whether a file is whole and untouched. Raises ValueError, with the number of the line, where it is none."""
    found = verifier.look_at(pieces_of(lines), has_end=True)
    if verifier.gone_but_counted:
        lines.seek(0)
        verifier.are_there(ids_of(lines))
    return found


def ids_of(lines: Iterable[bytes]) -> Iterator[UUID]:
    """The ids of the events of a file that was looked through before."""
    for line in lines:
        if line.startswith(b"event\t"):
            yield UUID(json.loads(line.split(b"\t")[1])["id"])


def _columns(line: bytes) -> tuple[bytes, bytes, bytes]:
    """The three of a line that is whole. Raises ValueError where there are more or less."""
    if not line.endswith(b"\n"):
        raise ValueError("It does not end.")
    kind, said, beside = line[:-1].split(b"\t")
    return kind, said, beside


def _event(content: bytes, count: bytes) -> Event:
    said = json.loads(content)
    return Event(UUID(said["id"]), content, count, bytes.fromhex(said["digest"]))


def _hash(text: bytes) -> bytes:
    found = bytes.fromhex(text.decode())
    if found.hex().encode() != text:
        raise ValueError("It is not written as hashes are.")
    return found


def _signed(kind: bytes, said: bytes, beside: bytes, before: bytes) -> Piece:
    signature = b64decode(beside, validate=True)
    if b64encode(signature) != beside:
        raise ValueError("It is not written as signatures are.")
    if kind == b"seal":
        return SealPiece(said, signature)
    if kind == b"end":
        return EndPiece(said, signature, before)
    raise ValueError("It is no line of ours.")
