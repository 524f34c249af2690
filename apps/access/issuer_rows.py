"""Issuers and links out of Postgres: the queries, and the rows they make. Secrets are opened on the way."""

import logging
from typing import Any

from apps.access.rows import IssuerRow, LinkRow
from apps.connections.jwks import BadKeySet, VerifyingKey, read_key_set, secret_key
from apps.connections.sealing import CannotUnseal, unseal
from apps.streams.links import sign

logger = logging.getLogger(__name__)

ISSUERS = """
    SELECT id, issuer, audience, algorithms, secrets, jwks, leeway, user_claim, groups_claim, streams_claim,
    actions_claim, accepts_unknown, active
    FROM connections_tokenissuer {where}"""

LINKS = """
    SELECT id, code, stream, action, ends_at, active, created_at, made_by_id
    FROM streams_streamlink {where}"""


def open_secret(sealed: str) -> bytes:
    """The secret, or b"" where it cannot be read: that matches nothing, yet counts as configured."""
    try:
        return unseal(sealed).encode()
    except CannotUnseal as error:
        logger.error("%s Hooks that need this secret are refused.", error)
        return b""


def issuer_row(row: Any) -> IssuerRow:
    """An issuer, with its keys ready to check signatures with."""
    id_, issuer, audience, algorithms, secrets, jwks, *others = row
    shared = [secret_key(secret) for sealed in secrets if (secret := open_secret(sealed))]
    return IssuerRow(id_, issuer, audience, tuple(algorithms), (*shared, *_public_keys(issuer, jwks)), *others)


def _public_keys(issuer: str, jwks: str) -> tuple[VerifyingKey, ...]:
    """The keys of a set, or none where it cannot be read: then nobody comes in by them."""
    try:
        return read_key_set(jwks) if jwks else ()
    except BadKeySet as error:
        logger.error("The keys of issuer %s cannot be used: %s", issuer, error)
        return ()


def link_row(row: Any) -> LinkRow:
    """A link, with the signatures that its token may have."""
    _id, code, stream, action, *_others = row
    return LinkRow(*row, signatures=sign(code, stream, action))
