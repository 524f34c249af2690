"""Sealing the record once a day, and never one that is not what was sealed before.

What was signed last is known from a file beside the spool (`kept_seals`), since the database is what may have been
tampered with. Each seal that comes later has to carry on that one, whoever made it. Where there is no such file, as on
a new machine, the seals of the database are believed once, and the log says so; where there are none either, only the
record of a few days.
"""

import logging
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import DataError, connection, transaction
from django.db.models.functions import Length

from apps.audit.chain import batch_hash
from apps.audit.ids import moment_of
from apps.audit.locks import AdvisoryLock, only_one
from apps.audit.models import AuditEvent, Batch, Seal
from apps.audit.proving import kept_seals, signing
from apps.audit.proving.kept_seals import Accepted, Kept, Unkept
from apps.audit.proving.signing import Keys, Sealed, SealPiece, carrying_on, is_seal, name_of, public
from apps.audit.recording.spool_folder import configured

LATE = timedelta(days=2)
"""After which a seal is late: one is made each day on which something came. What goes back farther is a past."""

LONGEST = 2_000
"""Characters of the line of a seal are less than that."""

SOON = timedelta(minutes=10)
"""Within which what comes after a long silence is sealed."""

NEVER = "The record has never been sealed, though there is a key."

_UNLINKED = """SELECT number FROM (SELECT number, previous, lag(hash) OVER (ORDER BY number) AS before,
        lag(number) OVER (ORDER BY number) AS number_before FROM audit_batch WHERE number >= %s) AS link
    WHERE number > %s AND (number_before IS DISTINCT FROM number - 1 OR previous <> before) ORDER BY number LIMIT 1"""

logger = logging.getLogger(__name__)


class NotAsSealed(Exception):
    """The record does not carry on what was sealed: it is not for us to sign it. The message says what is wrong."""


class Seals(NamedTuple):
    """The seals that the database has, as this machine sees them."""

    kept: Kept
    good: Sequence[SealPiece]
    """Those that are kept here, or made with a key of ours."""
    carried_on: Sequence[SealPiece]
    """Those that are not kept yet, and carry on those that are; the last of them is good, and vouches for the rest."""
    next: SealPiece | None
    """One that carries on the last of these with a key that is not known here."""

    @property
    def last(self) -> SealPiece | None:
        """The one that the next seal carries on."""
        if self.carried_on:
            return self.carried_on[-1]
        return next((piece for piece in self.good if name_of(piece) == self.kept.begins_after), None)

    @property
    def strays(self) -> Iterator[SealPiece]:
        """Good ones that are neither kept nor carry on those that are."""
        chain = {*self.kept.known, *self.carried_on}
        return (piece for piece in self.good if piece not in chain)


class Sealing(NamedTuple):
    """What staff are told of it: what is wrong, "" where nothing is, when the record was sealed last, and up to which
    batch and when somebody accepted it as it was then, by what is kept on this machine.
    """

    trouble: str
    sealed_at: datetime | None
    accepted: Accepted | None = None


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
    seals = seals_of(kept_seals.read(configured()))
    if unreadable := Seal.objects.count() - len(seals.good):
        logger.critical(
            "%d seals in the database were made with none of WCSGATE_SEAL_KEYS. Run verify_audit.", unreadable
        )
    check(seals)
    _follow(seals)
    newest, last = newest_batch(), seals.last
    if newest is None:
        return None
    if last is None:
        _may_begin(seals.kept, newest, now)
    else:
        said = Sealed.read(last.line)
        if said.batch == newest.number or said.at.date() >= now.astimezone(UTC).date():
            return None
    return make_seal(newest, now, last)


def seals_of(kept: Kept) -> Seals:
    """What the database has, beside what is kept here."""
    keys, found = Keys(trusted_keys()), there()
    good = [piece for piece in found if piece in kept.known or keys.made_seal(piece)]
    ours = set(good)
    chain = _chain(kept, found, ours)
    until = max((place for place, piece in enumerate(chain, 1) if piece in ours), default=0)
    return Seals(kept, good, chain[:until], next(iter(chain[until:]), None))


def _chain(kept: Kept, found: Sequence[SealPiece], good: Container[SealPiece]) -> list[SealPiece]:
    """What carries on the seals that are kept, one after the other, by whatever key; where none are, from the first one
    on. Beside a good seal nobody else's carries on the same one.
    """
    news = [piece for piece in found if piece not in kept.known]
    taken = {Sealed.read(piece.line).previous for piece in news if piece in good}
    news = [piece for piece in news if piece in good or Sealed.read(piece.line).previous not in taken]
    if kept.exists or not news:
        return carrying_on(kept.begins_after, news)
    return carrying_on(Sealed.read(min(news, key=_how_far).line).previous, news)


def there() -> list[SealPiece]:
    """All seals of the database that can be read, in the order in which they were written there."""
    rows = Seal.objects.annotate(size=Length("line")).filter(size__lt=LONGEST).order_by("pk")
    pieces = (SealPiece(text.encode(), bytes(signature)) for text, signature in rows.values_list("line", "signature"))
    return [piece for piece in pieces if is_seal(piece)]


def newest_batch() -> Batch | None:
    """Its number and hash: whatever else stands beside them keeps nobody from looking."""
    return Batch.objects.order_by("-number").only("number", "hash").first()


def check(seals: Seals) -> None:
    """Raise NotAsSealed unless all seals carry on what is kept, and the chain carries on the last of them."""
    problem = _problem(seals.kept) or _stray(seals.strays) or _with_another_key(seals)
    last = seals.last
    if not problem and seals.carried_on and last is not None:
        problem = _not_as_sealed(last)
    if problem := problem or _unlinked(seals.kept, last):
        raise NotAsSealed(problem)


def _problem(kept: Kept) -> str:
    """What of the last kept seal is no longer so, or of what was accepted; "" where all is as it was."""
    if kept.last is None:
        return _not_accepted(kept)
    if not Seal.objects.filter(line=kept.last.line.decode(), signature=kept.last.signature).exists():
        return _gone(Sealed.read(kept.last.line))
    return _not_as_sealed(kept.last)


def _not_accepted(kept: Kept) -> str:
    accepted = kept.accepted
    if accepted is None or _has(accepted.batch, accepted.hash):
        return ""
    return f"Batch {accepted.batch} is not what was accepted on {accepted.at}."


def _gone(said: Sealed) -> str:
    return f"The seal of batch {said.batch}, made on {said.made_at}, is no longer in the database."


def _not_as_sealed(piece: SealPiece) -> str:
    said = Sealed.read(piece.line)
    return "" if _has(said.batch, said.hash) else f"Batch {said.batch} is not what was sealed on {said.made_at}."


def _has(number: int, hash_: str) -> bool:
    """Whether the chain has this batch, and it is what its hash says."""
    try:
        batch = Batch.objects.filter(number=number).first()
    except DataError:  # it says a moment that there is not
        return False
    if batch is None or bytes(batch.hash).hex() != hash_:
        return False
    parts = batch.number, batch.moved_at, batch.note, bytes(batch.previous), bytes(batch.entries)
    return batch_hash(*parts).hex() == hash_


def _stray(strays: Iterable[SealPiece]) -> str:
    for piece in strays:
        said = Sealed.read(piece.line)
        return f"The seal of batch {said.batch}, made on {said.made_at}, does not carry on the one before it."
    return ""


def _with_another_key(seals: Seals) -> str:
    """Another machine may have a key that we do not know: to seal beside it would break the seals for ever."""
    if seals.next is None or seals.last is None:
        return ""
    said = Sealed.read(seals.next.line)
    return (
        f"The last seal is carried on by one of batch {said.batch} with key {said.key}, which is none of "
        "WCSGATE_SEAL_KEYS here. Give a new key to all machines, behind the old one, before one seals with it."
    )


def _unlinked(kept: Kept, last: SealPiece | None) -> str:
    """Where the chain breaks off after that; its entries are not looked at, as there may be very many."""
    since = Sealed.read(last.line).batch if last else kept.accepted.batch if kept.accepted else 0
    with connection.cursor() as cursor:
        cursor.execute(_UNLINKED, [since, max(since, 1)])
        found = cursor.fetchone()
    return f"Batch {found[0]} does not carry on the one before." if found else ""


def _follow(seals: Seals) -> None:
    """Keep the seals that are news."""
    if seals.carried_on:
        if not seals.kept.exists and configured() is not None:
            logger.warning(
                "No seals are kept on this machine: begun with the %d of the database", len(seals.carried_on)
            )
        _keep(seals.carried_on)


def _keep(pieces: Sequence[SealPiece]) -> None:
    if (folder := configured()) is not None:
        kept_seals.keep(folder, pieces)


def _may_begin(kept: Kept, newest: Batch, now: datetime) -> None:
    """Raise NotAsSealed where the first seal would be one of a past that nobody here can vouch for."""
    if kept.accepted is not None:
        return
    oldest = AuditEvent.objects.order_by("id").values_list("id", flat=True).first()
    if oldest is not None and moment_of(oldest) < now - LATE:
        raise NotAsSealed(f"{NEVER} It goes back to {moment_of(oldest):%Y-%m-%d}.")
    if not kept.exists:
        logger.warning("As far as is known here the record was never sealed: it is from batch %d on", newest.number)


def accept(newest: Batch, now: datetime) -> None:
    """Carry on from this batch, and from the seals that the database has, whatever was sealed before: what is kept on
    this machine says so from now on, and, where there is a key, it is sealed. Raises Unkept, and NotAsSealed where
    nothing is kept here and that would change nothing.
    """
    folder = configured()
    seals = seals_of(kept_seals.read(folder))
    last = max(seals.good, key=_how_far, default=None)
    if folder is None and (last is not None or not settings.SEAL_KEYS):
        raise NotAsSealed(
            "This machine keeps no seals (WCSGATE_SPOOL), so there is nothing that it could carry on from but those of "
            "the database: see which of them verify_audit names, and remove them."
            if last
            else "This machine has neither a folder to keep seals in (WCSGATE_SPOOL) nor a key (WCSGATE_SEAL_KEYS)."
        )
    if folder is not None:
        kept_seals.keep(folder, there())
        kept_seals.accept(folder, newest.number, bytes(newest.hash), last, now)
    if settings.SEAL_KEYS:
        make_seal(newest, now, last)


def _how_far(piece: SealPiece) -> tuple[int, datetime]:
    said = Sealed.read(piece.line)
    return said.batch, said.at


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
    found = sorted(there(), key=_how_far, reverse=True)
    if keys := Keys(trusted_keys()):
        return next(filter(keys.made_seal, found), None)
    try:
        last = kept_seals.read(configured()).last
    except Unkept:
        last = None
    return last or next(iter(found), None)


def sealing(now: datetime) -> Sealing:
    """What staff are told; cheap, and without a key, by what is kept on this machine, where something is."""
    try:
        kept = kept_seals.read(configured())
    except Unkept:
        return Sealing("The seals that are kept on this machine cannot be read.", None)
    found = there()
    news = [piece for piece in found if piece not in kept.known]
    keys = Keys(trusted_keys())
    ours = {piece for piece in news if keys.made_seal(piece)}
    chain = _chain(kept, found, ours)
    believed = [piece for piece in chain if piece in ours] if keys else chain
    last, carrying = believed[-1] if believed else kept.last, set(chain)
    trouble = _problem(kept) or _stray(piece for piece in news if piece not in carrying) or _unreadable(len(found))
    return Sealing(trouble or _late(last, now), Sealed.read(last.line).at if last else None, kept.accepted)


def _unreadable(readable: int) -> str:
    others = Seal.objects.count() - readable
    return f"Among the seals of the database there are {others} rows that are none." if others else ""


def _late(last: SealPiece | None, now: datetime) -> str:
    """That something waits to be sealed for too long, whoever should do it; "" where nothing does. It waits where it
    did not come just now: what moment a batch says that is not sealed, somebody may have written there.
    """
    said = Sealed.read(last.line) if last else None
    if (said is None and not settings.SEAL_KEYS) or (said is not None and said.at > now - LATE):
        return ""
    unsealed = Batch.objects.filter(number__gt=said.batch if said else 0)
    if not unsealed.exclude(moved_at__gt=now - SOON, moved_at__lt=now + SOON).exists():
        return ""
    return f"The record has not been sealed since {said.at:%Y-%m-%d %H:%M} UTC." if said else NEVER


def gone(kept: Kept) -> list[str]:
    """Each kept seal that the database no longer has, in a sentence; and what was accepted, where that is not so."""
    found = set(there())
    seals = [_gone(Sealed.read(piece.line)) for piece in kept.seals if piece not in found]
    return [*filter(None, [_not_accepted(kept)]), *seals]


def private_keys() -> list[Ed25519PrivateKey]:
    """The keys of WCSGATE_SEAL_KEYS. Raises ValueError where one is none."""
    return [Ed25519PrivateKey.from_private_bytes(urlsafe_b64decode(key)) for key in settings.SEAL_KEYS]


def trusted_keys(more: Sequence[str] = ()) -> list[bytes]:
    """The public keys that seals may be made with: those of the settings, and these in base64. Raises ValueError."""
    return [*map(public, private_keys()), *(b64decode(key, validate=True) for key in more)]
