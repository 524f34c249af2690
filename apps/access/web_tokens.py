"""Tokens that others sign (JSON Web Tokens): read, verified, and what they grant. Pure: no Django, no database.

Everything here is bounded, and nothing a token says about itself chooses how it is checked: a key of ours checks one
algorithm and no other. What a token says about time is judged anew at every hook, by `time_problem`.
"""

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from threading import Lock
from typing import Any

import jwt
import msgspec

from apps.access.compile import Rows
from apps.access.reasons import Reason
from apps.access.rows import IssuerRow
from apps.connections.jwks import HS256, VerifyingKey

MAX_LENGTH = 8192
MAX_NAME_LENGTH = 150
"""Characters of a user name, as in the database."""

MAX_KEYS_TRIED = 4
"""Keys that are tried on a token that does not name one."""

REMEMBERED = 10_000

_jws = jwt.PyJWS(algorithms=["HS256", "RS256", "ES256"])


class TokenRefused(Exception):
    """A token that proves nothing; says the reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Grant(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a verified token says. A session keeps it, so that it is judged again at every hook.

    `starts_at` is the latest of the moments before which it must not be used. `streams` and `actions` are None where
    its issuer's tokens are not limited so.
    """

    issuer: str
    subject: str
    expires_at: datetime
    starts_at: datetime | None = None
    issued_at: datetime | None = None
    groups: tuple[str, ...] = ()
    streams: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"Grant({self.issuer}, {self.subject})"


def may_be_web_token(token: str) -> bool:
    """Whether a text has the form of such a token, so that it is worth reading."""
    return token.count(".") == 2


def time_problem(grant: Grant, leeway: int, now: datetime) -> Reason | None:
    """What is wrong with a token at this moment; clocks may differ by so many seconds."""
    slack = timedelta(seconds=leeway)
    if now >= grant.expires_at + slack:
        return Reason.EXPIRED_TOKEN
    if grant.starts_at is not None and now < grant.starts_at - slack:
        return Reason.TOKEN_NOT_YET_VALID
    return None


class VerifiedTokens:
    """Tokens whose signature was found good, by a digest under a key of this process, so that none is kept itself.

    An entry counts only as long as the issuer's row is the very one it was checked against: any change of the issuer
    puts another row in its place.
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._key = os.urandom(32)
        self._known: dict[bytes, tuple[IssuerRow, Grant]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def read(self, token: str, issuers: Rows[IssuerRow]) -> tuple[IssuerRow, Grant]:
        """The issuer of a token and what it says. Raises TokenRefused, where anything but its time is not good."""
        if len(token) > MAX_LENGTH:
            raise TokenRefused(Reason.TOKEN_MALFORMED)
        digest = blake2b(token.encode(), key=self._key, digest_size=16).digest()
        known = self._known.get(digest)
        if known is not None and issuers.by_id.get(known[0].id) is known[0]:
            return known
        verified = verify(token, issuers)
        with self._lock:
            self._known.pop(digest, None)
            if len(self._known) >= self._limit:
                del self._known[next(iter(self._known))]
            self._known[digest] = verified
        return verified


def verify(token: str, issuers: Rows[IssuerRow]) -> tuple[IssuerRow, Grant]:
    """Check a token's form, issuer, signature and audience. Raises TokenRefused."""
    if len(token) > MAX_LENGTH or not may_be_web_token(token):
        raise TokenRefused(Reason.TOKEN_MALFORMED)
    header, claims = map(_object, token.split(".")[:2])
    issuer = _issuer(claims, issuers)
    _check_signature(token, header, issuer)
    _check_audience(claims.get("aud"), issuer)
    return issuer, _grant(claims, issuer)


def _issuer(claims: dict[str, Any], issuers: Rows[IssuerRow]) -> IssuerRow:
    named = claims.get("iss")
    issuer = issuers.by_name.get(named) if isinstance(named, str) else None
    if issuer is None or not issuer.active:
        raise TokenRefused(Reason.UNKNOWN_ISSUER)
    return issuer


def _check_signature(token: str, header: dict[str, Any], issuer: IssuerRow) -> None:
    if "crit" in header or "b64" in header:  # it asks for something to be understood that is not understood here
        raise TokenRefused(Reason.TOKEN_MALFORMED)
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in issuer.algorithms:
        raise TokenRefused(Reason.BAD_SIGNATURE)
    if not any(_is_signed(token, key) for key in _keys(issuer, algorithm, kid)):
        raise TokenRefused(Reason.BAD_SIGNATURE)


def _keys(issuer: IssuerRow, algorithm: str, kid: Any) -> Iterable[VerifyingKey]:
    """The keys to try: that one which the token names, or a few where it names none. Shared secrets have no names."""
    keys = [key for key in issuer.keys if key.algorithm == algorithm]
    if kid is not None and algorithm != HS256:
        keys = [key for key in keys if key.kid == kid]
    return keys[:MAX_KEYS_TRIED]


def _is_signed(token: str, key: VerifyingKey) -> bool:
    try:
        _jws.decode_complete(token, key=key.key, algorithms=[key.algorithm])
    except jwt.PyJWTError:
        return False
    return True


def _check_audience(audience: Any, issuer: IssuerRow) -> None:
    """A token for others is not for us (RFC 7519, 4.1.3); nor is one that names nobody where we expect our name."""
    audiences = audience if isinstance(audience, list) else [] if audience is None else [audience]
    if (issuer.audience not in audiences) if issuer.audience else bool(audiences):
        raise TokenRefused(Reason.WRONG_AUDIENCE)


def _grant(claims: dict[str, Any], issuer: IssuerRow) -> Grant:
    expires_at, issued_at = _moment(claims.get("exp")), _moment(claims.get("iat"))
    if expires_at is None:
        raise TokenRefused(Reason.TOKEN_MALFORMED)
    moments = [moment for moment in (_moment(claims.get("nbf")), issued_at) if moment is not None]
    return Grant(
        issuer=issuer.issuer,
        subject=_subject(_claim(claims, issuer.user_claim)),
        expires_at=expires_at,
        starts_at=max(moments, default=None),
        issued_at=issued_at,
        groups=_texts(_claim(claims, issuer.groups_claim)) if issuer.groups_claim else (),
        streams=_texts(_claim(claims, issuer.streams_claim)) if issuer.streams_claim else None,
        actions=_texts(_claim(claims, issuer.actions_claim)) if issuer.actions_claim else None,
    )


def _claim(claims: dict[str, Any], path: str) -> Any:
    """The claim of this name, else what the dotted path leads to; None where there is nothing."""
    if path in claims:  # names may have dots in them: https://example.org/groups
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _subject(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_LENGTH or not value.isprintable():
        raise TokenRefused(Reason.TOKEN_MALFORMED)
    return value


def _texts(value: Any) -> tuple[str, ...]:
    """A list of texts, or one text with spaces between (as `scope` is written). Nothing at all is an empty list."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(value.split())
    if not isinstance(value, list) or not all(isinstance(item, str) and item.isprintable() for item in value):
        raise TokenRefused(Reason.TOKEN_MALFORMED)
    return tuple(value)


def _moment(value: Any) -> datetime | None:
    """A moment as tokens have it, in seconds since 1970; None where there is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(Reason.TOKEN_MALFORMED)
    try:
        moment = datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        raise TokenRefused(Reason.TOKEN_MALFORMED) from None
    if not 1970 <= moment.year < 9999:
        raise TokenRefused(Reason.TOKEN_MALFORMED)
    return moment


def _object(segment: str) -> dict[str, Any]:
    """A JSON object as a token carries it, in which nothing stands twice. Raises TokenRefused."""
    try:
        found = json.loads(
            jwt.utils.base64url_decode(segment), object_pairs_hook=_each_once, parse_constant=_no_such_number
        )
    except (ValueError, RecursionError):
        raise TokenRefused(Reason.TOKEN_MALFORMED) from None
    if not isinstance(found, dict):
        raise TokenRefused(Reason.TOKEN_MALFORMED)
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of what stands twice, one reader may see the one and another the other."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A member stands twice.")
    return found


def _no_such_number(text: str) -> Any:
    raise ValueError(f"{text} is no number.")
