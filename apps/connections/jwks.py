"""Keys that others sign tokens with: JSON Web Key Sets, read and checked. Pure: no Django, no database."""

import json
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

HS256, RS256, ES256 = ALGORITHMS = ("HS256", "RS256", "ES256")
MAX_SET_LENGTH = 65_536
MAX_KEYS = 50
MIN_SECRET_LENGTH = 32
"""Bytes of a shared secret: as many as HS256 gives (RFC 7518, 3.2)."""

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192

_OF_KIND = {"RSA": RS256, "EC": ES256}


class BadKeySet(ValueError):
    """A text that is no set of keys to check signatures with. The message is a sentence."""


class VerifyingKey(msgspec.Struct, frozen=True, gc=False):
    """A key that checks signatures of one algorithm and of no other. `kid` is its name, "" where it has none."""

    algorithm: str
    kid: str
    key: Any

    def __repr__(self) -> str:
        return f"VerifyingKey({self.algorithm}, {self.kid!r})"


def secret_key(secret: bytes) -> VerifyingKey:
    """A shared secret as a key. It has no name."""
    return VerifyingKey(HS256, "", secret)


def read_key_set(text: str) -> tuple[VerifyingKey, ...]:
    """The keys of a set with which RS256 and ES256 can be checked; others in it are passed over.

    Raises BadKeySet where the text is no set, holds a key that ought to be secret, or no key that can be used.
    """
    if len(text) > MAX_SET_LENGTH:
        raise BadKeySet(f"A set of keys may have at most {MAX_SET_LENGTH} characters.")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadKeySet('This is not JSON. A set of keys looks like {"keys": [{"kty": "RSA", …}]}.') from None
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadKeySet('A set of keys is an object with a list “keys”, like {"keys": [{"kty": "RSA", …}]}.')
    if len(entries) > MAX_KEYS:
        raise BadKeySet(f"A set may have at most {MAX_KEYS} keys.")
    if any("d" in entry or "k" in entry for entry in entries):
        raise BadKeySet(
            "This holds a private or shared key. Only public keys belong here; give nobody the private one."
        )
    keys = tuple(key for key in map(_key, entries) if key is not None)
    if not keys:
        raise BadKeySet(
            f"No key in it can check {RS256} or {ES256}: RSA of {MIN_RSA_BITS} bits or more, or EC on P-256."
        )
    return keys


def _key(entry: dict[str, Any]) -> VerifyingKey | None:
    """One key of a set; None for one that is for something else, or that is too weak."""
    algorithm, kid = _OF_KIND.get(str(entry.get("kty")), ""), entry.get("kid", "")
    usable = entry.get("use", "sig") == "sig" and entry.get("alg", algorithm) == algorithm and isinstance(kid, str)
    if not algorithm or not usable:
        return None
    try:
        key = jwt.PyJWK(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return VerifyingKey(algorithm, kid, key) if _is_strong(key) else None


def _is_strong(key: Any) -> bool:
    if isinstance(key, RSAPublicKey):
        return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
    return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
