"""What is signed of a record: seals, each of which names the one before, and the end of a file. Pure.

docs/evidence.md tells others how to check it without us.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apps.audit.chain import line

END = b"end\t"
"""Stands before the line of an end where that is signed, so that nothing signed as a seal is one."""

Name = tuple[int, str]
"""By what a seal names the one before it: its batch, and the SHA-256 of its line and signature."""


class SealPiece(NamedTuple):
    """A seal as it is there: its line, and the signature of that."""

    line: bytes
    signature: bytes


class Sealed(NamedTuple):
    """What a seal says: up to which batch the chain is sealed, and which seal came before."""

    batch: int
    hash: str
    key: str
    made_at: str
    previous: Name | None

    @classmethod
    def read(cls, text: bytes) -> Self:
        """What this line says. Raises ValueError."""
        try:
            said = json.loads(text)
            before = said["previous"]
            previous = (int(before["batch"]), str(before["hash"])) if before is not None else None
            return cls(int(said["batch"]), str(said["hash"]), str(said["key"]), str(said["made_at"]), previous)
        except (KeyError, TypeError) as error:
            raise ValueError("It is no seal.") from error


class End(NamedTuple):
    """What the end of a file says: until which batch it goes, and the SHA-256 of all that is before."""

    batch: int
    hash: str
    key: str
    made_at: str
    before: str

    @classmethod
    def read(cls, text: bytes) -> Self:
        """What this line says. Raises ValueError."""
        try:
            said = json.loads(text)
            members = (str(said[name]) for name in ("hash", "key", "made_at", "sha256"))
            return cls(int(said["batch"]), *members)
        except (KeyError, TypeError) as error:
            raise ValueError("It is no end.") from error


class Keys:
    """Public keys, by what seals name them."""

    def __init__(self, public_keys: Iterable[bytes]) -> None:
        self._keys = {key_id(key): Ed25519PublicKey.from_public_bytes(key) for key in public_keys}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def made(self, signature: bytes, said: bytes, key: str) -> bool:
        """Whether this key is one of these, and made that signature."""
        try:
            self._keys[key].verify(signature, said)
        except (KeyError, InvalidSignature):
            return False
        return True

    def made_seal(self, piece: SealPiece) -> bool:
        """Whether one of these made that seal."""
        try:
            return self.made(piece.signature, piece.line, Sealed.read(piece.line).key)
        except ValueError:
            return False


def seal(key: Ed25519PrivateKey, batch: int, hash_: bytes, made_at: datetime, before: SealPiece | None) -> SealPiece:
    """A new seal, which carries on the one before."""
    name = name_of(before)
    previous = {"batch": name[0], "hash": name[1]} if name else None
    said = line(batch=batch, hash=hash_.hex(), key=key_id(public(key)), made_at=made_at, previous=previous)
    return SealPiece(said, key.sign(said))


def end(
    key: Ed25519PrivateKey | None, batch: int, hash_: bytes, made_at: datetime, before: bytes
) -> tuple[bytes, bytes]:
    """The line of an end, and its signature; without a key both say that there is none."""
    of_key = key_id(public(key)) if key else ""
    said = line(batch=batch, hash=hash_.hex(), key=of_key, made_at=made_at, sha256=before.hex())
    return said, key.sign(END + said) if key else b""


def name_of(piece: SealPiece | None) -> Name | None:
    """By what the next seal names this one."""
    return piece and (Sealed.read(piece.line).batch, sha256(piece.line + piece.signature).hexdigest())


def public(key: Ed25519PrivateKey) -> bytes:
    """What others need to check seals."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(public_key: bytes) -> str:
    """By what seals name the key they were made with."""
    return sha256(public_key).hexdigest()[:16]
