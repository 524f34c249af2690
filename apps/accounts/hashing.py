"""What is kept of a token, and how those of links begin. Pure."""

import hashlib

LINK_PREFIX = "link."
"""With what the token of a stream link begins."""


def hash_token(token: str) -> str:
    """A token's SHA-256 in hex. Tokens are random, so neither salt nor slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()
