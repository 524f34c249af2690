"""What is signed of a record: seals, each of which names the one before, and the end of a file. Pure.

docs/evidence.md tells others how to check it without us.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
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

UNREADABLE = (ValueError, LookupError, TypeError, ArithmeticError, RecursionError, AttributeError)
"""What comes of reading JSON that somebody else may have written, whatever is odd about it."""

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
HEX = re.compile(r"[0-9a-f]{1,64}")
"""How moments and hashes are written in a seal. Whatever else stands there, nobody is shown."""

HIGHEST = 2**63 - 1
"""Number of a batch."""


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

    @property
    def at(self) -> datetime:
        """When it was made, in UTC."""
        return datetime.fromisoformat(self.made_at).astimezone(UTC)

    @classmethod
    def read(cls, text: bytes) -> "Sealed":
        """What this line says. Raises ValueError."""
        return _sealed(text)


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
            return cls(_number(said["batch"]), *members)
        except UNREADABLE as error:
            raise ValueError("It is no end.") from error


@lru_cache(maxsize=10_000)
def _sealed(text: bytes) -> Sealed:
    """Read once: the same seals are looked at again and again, and a decade has 3,650."""
    try:
        said = json.loads(text)
        before = said["previous"]
        previous = (_number(before["batch"]), _hex(before["hash"])) if before is not None else None
        if not MOMENT.fullmatch(said["made_at"]):
            raise ValueError("It is no moment.")
        seal = Sealed(_number(said["batch"]), _hex(said["hash"]), _hex(said["key"]), said["made_at"], previous)
        seal.at  # noqa: B018 - raises where there is no such day
    except UNREADABLE as error:
        raise ValueError("It is no seal.") from error
    return seal


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
    previous = as_json(name_of(before))
    said = line(batch=batch, hash=hash_.hex(), key=key_id(public(key)), made_at=made_at, previous=previous)
    return SealPiece(said, key.sign(said))


def end(
    key: Ed25519PrivateKey | None, batch: int, hash_: bytes, made_at: datetime, before: bytes
) -> tuple[bytes, bytes]:
    """The line of an end, and its signature; without a key both say that there is none."""
    of_key = key_id(public(key)) if key else ""
    said = line(batch=batch, hash=hash_.hex(), key=of_key, made_at=made_at, sha256=before.hex())
    return said, key.sign(END + said) if key else b""


def is_seal(piece: SealPiece) -> bool:
    """Whether its line can be read, whoever signed it."""
    try:
        Sealed.read(piece.line)
    except ValueError:
        return False
    return True


def name_of(piece: SealPiece | None) -> Name | None:
    """By what the next seal names this one."""
    return piece and (Sealed.read(piece.line).batch, sha256(piece.line + piece.signature).hexdigest())


def as_json(name: Name | None) -> dict[str, object] | None:
    """The name of a seal as it stands in a line."""
    return name and {"batch": name[0], "hash": name[1]}


def carrying_on(before: Name | None, pieces: Iterable[SealPiece]) -> list[SealPiece]:
    """Those of these seals that carry on that one, one after the other; of two that carry on the same one, neither."""
    after: dict[Name | None, list[SealPiece]] = defaultdict(list)
    for piece in pieces:
        after[Sealed.read(piece.line).previous].append(piece)
    chain: list[SealPiece] = []
    while len(found := after.pop(before, [])) == 1:
        chain += found
        before = name_of(found[0])
    return chain


def public(key: Ed25519PrivateKey) -> bytes:
    """What others need to check seals."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _hex(said: str) -> str:
    """Raises ValueError."""
    if not HEX.fullmatch(said):
        raise ValueError("It is no hash.")
    return said


def _number(said: object) -> int:
    """Of a batch. Raises ValueError."""
    if not isinstance(said, int) or not 0 < said <= HIGHEST:
        raise ValueError(f"{said!r} is no number of a batch.")
    return said


def key_id(public_key: bytes) -> str:
    """By what seals name the key they were made with."""
    return sha256(public_key).hexdigest()[:16]
