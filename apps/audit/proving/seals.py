"""Sealing the record once a day, and never one that is not what was sealed before.

What was signed last is known from a file beside the spool (`kept_seals`), since the database is what may have been
tampered with. Where there is none, as on a new machine, the database is believed once, and the log says so.
"""

import logging
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import connection, transaction

from apps.audit.chain import batch_hash
from apps.audit.ids import EPOCH
from apps.audit.locks import AdvisoryLock, only_one
from apps.audit.models import Batch, Seal
from apps.audit.proving import kept_seals, signing
from apps.audit.proving.kept_seals import Kept, Unkept
from apps.audit.proving.signing import Keys, Sealed, SealPiece, public
from apps.audit.recording.spool_folder import configured

LATE = timedelta(days=2)
"""After which a seal is late: one is made each day on which something came."""

NEVER = "The record has never been sealed, though there is a key."

_UNLINKED = """SELECT number FROM (SELECT number, previous, lag(hash) OVER (ORDER BY number) AS before,
        lag(number) OVER (ORDER BY number) AS number_before FROM audit_batch WHERE number >= %s) AS link
    WHERE number > %s AND (number_before IS DISTINCT FROM number - 1 OR previous <> before) ORDER BY number LIMIT 1"""

logger = logging.getLogger(__name__)


class NotAsSealed(Exception):
    """The record does not carry on what was sealed: it is not for us to sign it. The message says what is wrong."""


class Sealing(NamedTuple):
    """What staff are told of it: what is wrong, "" where nothing is, and when the record was sealed last."""

    trouble: str
    sealed_at: datetime | None


def seal(now: datetime) -> Seal | None:
    """Seal what is there, once a day; None where that is done, where there is nothing new, or no key to do it with, and
    where it is not what was sealed before.
    """
    if not settings.SEAL_KEYS:
        return None
    try:
        with transaction.atomic():
            made = _seal(now) if only_one(AdvisoryLock.SEALS) else None
        if made is not None:
            _keep([piece_of(made)])
    except (NotAsSealed, Unkept) as error:
        logger.critical("%s Nothing is sealed until somebody has looked: run verify_audit, then seal_audit.", error)
        return None
    return made


def _seal(now: datetime) -> Seal | None:
    kept, good = _followed()
    newest = Batch.objects.order_by("-number").first()
    check(kept, good)
    if newest is None:
        return None
    last = good[-1] if good else None
    if last is None and not kept.exists:
        logger.warning("As far as is known here the record was never sealed: it is from batch %d on", newest.number)
    if last is not None:
        said = Sealed.read(last.line)
        if said.batch == newest.number or datetime.fromisoformat(said.made_at).date() == now.astimezone(UTC).date():
            return None
    return make_seal(newest, now, last)


def _followed() -> tuple[Kept, Sequence[SealPiece]]:
    """What is kept, and the good seals of the database, of which those that are news are kept from now on."""
    kept = kept_seals.read(configured())
    good = good_seals(kept)
    last = Sealed.read(kept.last.line).batch if kept.last else 0
    if news := [piece for piece in good if piece not in kept.known and Sealed.read(piece.line).batch >= last]:
        if not kept.exists and configured() is not None:
            logger.warning("No seals are kept on this machine: begun with the %d of the database", len(news))
        _keep(news)
        kept = kept_seals.read(configured())
    return kept, good


def _keep(pieces: Sequence[SealPiece]) -> None:
    if (folder := configured()) is not None:
        kept_seals.keep(folder, pieces)


def good_seals(kept: Kept) -> Sequence[SealPiece]:
    """The seals of the database, in the order of their batches, that are kept or made with a key of ours. Others are
    none, whoever wrote them there: they are skipped, and the log says so.
    """
    keys = Keys(trusted_keys())
    found = [piece_of(made) for made in Seal.objects.order_by("batch", "pk")]
    good = [piece for piece in found if piece in kept.known or keys.made_seal(piece)]
    if strange := len(found) - len(good):
        logger.critical("%d seals in the database were made with none of WCSGATE_SEAL_KEYS. Run verify_audit.", strange)
    return good


def check(kept: Kept, good: Sequence[SealPiece]) -> None:
    """Raise NotAsSealed unless the chain carries on from the last seal that is kept, else from the last good one."""
    last = kept.last or (None if kept.accepted or not good else good[-1])
    if problem := _problem(kept, last) or _unlinked(kept, last):
        raise NotAsSealed(problem)


def _problem(kept: Kept, last: SealPiece | None) -> str:
    """What of the last seal is no longer so, or of what was accepted; "" where all is as it was."""
    if last is None:
        return _not_accepted(kept)
    said = Sealed.read(last.line)
    if not Seal.objects.filter(batch=said.batch, line=last.line.decode(), signature=last.signature).exists():
        return _gone(said)
    if not _has(said.batch, said.hash):
        return f"Batch {said.batch} is not what was sealed on {said.made_at}."
    return ""


def _not_accepted(kept: Kept) -> str:
    accepted = kept.accepted
    if accepted is None or _has(accepted.batch, accepted.hash):
        return ""
    return f"Batch {accepted.batch} is not what was accepted on {accepted.at}."


def _gone(said: Sealed) -> str:
    return f"The seal of batch {said.batch}, made on {said.made_at}, is no longer in the database."


def _has(number: int, hash_: str) -> bool:
    """Whether the chain has this batch, and it is what its hash says."""
    batch = Batch.objects.filter(number=number).first()
    if batch is None or bytes(batch.hash).hex() != hash_:
        return False
    parts = batch.number, batch.moved_at, batch.note, bytes(batch.previous), bytes(batch.entries)
    return batch_hash(*parts).hex() == hash_


def _unlinked(kept: Kept, last: SealPiece | None) -> str:
    """Where the chain breaks off after that; its entries are not looked at, as there may be very many."""
    since = Sealed.read(last.line).batch if last else kept.accepted.batch if kept.accepted else 0
    with connection.cursor() as cursor:
        cursor.execute(_UNLINKED, [since, max(since, 1)])
        found = cursor.fetchone()
    return f"Batch {found[0]} does not carry on the one before." if found else ""


def make_seal(batch: Batch, now: datetime, before: SealPiece | None = None) -> Seal:
    """Seal the chain up to a batch, with the first key; the log has it, too, as a witness outside the database."""
    made = signing.seal(private_keys()[0], batch.number, bytes(batch.hash), now, before)
    logger.info("The record is sealed: %s %s", made.line.decode(), b64encode(made.signature).decode())
    return Seal.objects.create(batch=batch.number, made_at=now, line=made.line.decode(), signature=made.signature)


def piece_of(made: Seal) -> SealPiece:
    """A seal as others see it."""
    return SealPiece(made.line.encode(), bytes(made.signature))


def newest() -> SealPiece | None:
    """The last seal, for witnesses: the last good one, by our keys or else by what is kept on this machine; where there
    is neither, whatever the database says.
    """
    keys = Keys(trusted_keys())
    found = map(piece_of, Seal.objects.order_by("-batch", "-pk").iterator(10))
    if keys:
        return next(filter(keys.made_seal, found), None)
    with suppress(Unkept):
        if (kept := kept_seals.read(configured())).last is not None:
            return kept.last
    return next(found, None)


def sealing(now: datetime) -> Sealing:
    """What staff are told; cheap, and without a key, by what is kept on this machine, where something is."""
    try:
        kept = kept_seals.read(configured())
    except Unkept:
        return Sealing("The seals that are kept on this machine cannot be read.", None)
    sealed_at = _sealed_at(kept)
    trouble = _problem(kept, kept.last)
    return Sealing(trouble or _late(sealed_at, now), sealed_at)


def _late(sealed_at: datetime | None, now: datetime) -> str:
    """That something waits to be sealed for too long, whoever should do it; "" where nothing does."""
    if sealed_at is None and not settings.SEAL_KEYS:
        return ""
    since = sealed_at or EPOCH
    if not Batch.objects.filter(moved_at__gt=since, moved_at__lt=now - LATE).exists():
        return ""
    return f"The record has not been sealed since {since:%Y-%m-%d %H:%M} UTC." if sealed_at else NEVER


def _sealed_at(kept: Kept) -> datetime | None:
    if kept.last is not None:
        return datetime.fromisoformat(Sealed.read(kept.last.line).made_at)
    return Seal.objects.order_by("-batch", "-pk").values_list("made_at", flat=True).first()


def gone(kept: Kept) -> list[str]:
    """Each kept seal that the database no longer has, in a sentence; and what was accepted, where that is not so."""
    there = {piece_of(made) for made in Seal.objects.all()}
    seals = [_gone(Sealed.read(piece.line)) for piece in kept.seals if piece not in there]
    return [*filter(None, [_not_accepted(kept)]), *seals]


def private_keys() -> list[Ed25519PrivateKey]:
    """The keys of WCSGATE_SEAL_KEYS. Raises ValueError where one is none."""
    return [Ed25519PrivateKey.from_private_bytes(urlsafe_b64decode(key)) for key in settings.SEAL_KEYS]


def trusted_keys(more: Sequence[str] = ()) -> list[bytes]:
    """The public keys that seals may be made with: those of the settings, and these in base64. Raises ValueError."""
    return [*map(public, private_keys()), *(b64decode(key, validate=True) for key in more)]
