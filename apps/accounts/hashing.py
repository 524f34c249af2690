"""What is kept of a token or key, and how those of links and of the API begin. Pure."""

import hashlib

LINK_PREFIX = "link."
"""With what the token of a stream link begins."""

KEY_PREFIX = "wcsgate_"
"""With what a key of the API begins, so that it is known for one wherever it turns up."""


def hash_token(token: str) -> str:
    """A token's SHA-256 in hex. Tokens are random, so neither salt nor slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()
