"""What is kept of a token. Pure."""

import hashlib


def hash_token(token: str) -> str:
    """A token's SHA-256 in hex. Tokens are random, so neither salt nor slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()
