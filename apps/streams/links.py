"""The tokens of stream links: `link.<code>.<signature>`, signed under keys from the environment.

The signing key is derived from the encryption keys, so it can be rotated with them: the first one signs, any is good.
"""

import hmac
from functools import lru_cache

from django.conf import settings

from apps.accounts.hashing import LINK_PREFIX


def sign(code: str, stream: str, action: str) -> tuple[str, ...]:
    """What the token of a link may end with: one signature for each key, the newest first; none without a key.

    Whoever changes the stream or the action of a link in the database makes its token worthless.
    """
    said = "\0".join((code, stream, action)).encode()
    return tuple(hmac.new(key, said, "sha256").hexdigest() for key in _keys(tuple(settings.ENCRYPTION_KEYS)))


def token_of(code: str, stream: str, action: str) -> str:
    """The token of a link. There must be a key."""
    return f"{LINK_PREFIX}{code}.{sign(code, stream, action)[0]}"


@lru_cache(maxsize=4)
def _keys(keys: tuple[str, ...]) -> list[bytes]:
    return [hmac.digest(key.encode(), b"WCS Gate: stream links", "sha256") for key in keys]
