"""Issuers of signed tokens (JWT) for tests, and what they sign; good unless told otherwise."""

import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from apps.access.rows import IssuerRow
from apps.connections.jwks import read_key_set, secret_key
from tests.access.worlds import NOW

ISSUER, AUDIENCE = "https://login.example.org/", "wcs"
SECRET, OLD_SECRET = b"new secret of 32 characters long", b"old secret of 32 characters long"
RSA_KEY, OTHER_RSA_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC_KEY, OTHER_EC_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
SIGN_WITH = {"HS256": SECRET, "RS256": RSA_KEY, "ES256": EC_KEY}


def public(key, kid=None, **members):
    """The public key of a pair as an entry of a key set."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    entry = {**json.loads(algorithm.to_jwk(key.public_key())), **members}
    entry.pop("key_ops", None)
    return {**entry, "kid": kid} if kid else entry


def key_set(*entries):
    return json.dumps({"keys": list(entries)})


KEY_SET = key_set(public(RSA_KEY, "rsa"), public(EC_KEY, "ec"))
KEYS = (secret_key(SECRET), secret_key(OLD_SECRET), *read_key_set(KEY_SET))


def issuer(**fields):
    """One that signs in every way that is accepted."""
    defaults = {"audience": AUDIENCE, "algorithms": ("HS256", "RS256", "ES256"), "keys": KEYS}
    return IssuerRow(**{"id": 1, "issuer": ISSUER, **defaults, **fields})


def claims_of(subject="alice", *, now=NOW, **claims):
    """Good for an hour. A claim that is None is left out."""
    at = int(now.timestamp())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": at - 60, "exp": at + 3600}
    return {name: value for name, value in {**good, **claims}.items() if value is not None}


def sign(claims, algorithm="HS256", key=None, **headers):
    """A token that says this."""
    return jwt.encode(claims, key or SIGN_WITH[algorithm], algorithm, headers=headers or None)


def web_token(subject="alice", algorithm="HS256", *, now=NOW, **claims):
    """A good token, but for these claims."""
    return sign(claims_of(subject, now=now, **claims), algorithm)
