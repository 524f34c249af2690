"""The record as evidence: its pieces out of the database, as lines of a file, and the seals under it."""

import json
import logging
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, Min

from apps.audit.chain import batch_line, line
from apps.audit.models import AuditEvent, Batch, Seal
from apps.audit.moving.batches import content, count_of
from apps.audit.proving.verifying import BatchPiece, Event, Piece, SealPiece, key_id

logger = logging.getLogger(__name__)


@contextmanager
def at_one_moment() -> Iterator[None]:
    """Whatever is read meanwhile is as it is now, whoever goes on writing."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def pieces() -> Iterator[Piece]:
    """All batches, each with its events, and all seals, each after what it seals. To be read `at_one_moment`."""
    seals: dict[int, list[SealPiece]] = {}
    for made in Seal.objects.order_by("pk"):
        seals.setdefault(made.batch, []).append(SealPiece(made.line.encode(), bytes(made.signature)))
    for batch in Batch.objects.order_by("number").iterator(100):
        yield _piece(batch, AuditEvent.objects.filter(batch=batch.number).order_by("id"))
        yield from seals.pop(batch.number, ())
    for _, of_nothing in sorted(seals.items()):
        yield from of_nothing


def _piece(batch: Batch, events: Iterable[AuditEvent]) -> BatchPiece:
    said = batch_line(batch.number, batch.moved_at, batch.note, bytes(batch.previous), bytes(batch.entries))
    return BatchPiece(said, bytes(batch.hash), [Event(event.id, content(event), count_of(event)) for event in events])


def lines(found: Iterator[Piece]) -> Iterator[bytes]:
    """A file of evidence: a line for each batch, event and seal; columns are separated by tabs (docs/evidence.md)."""
    for piece in found:
        if isinstance(piece, SealPiece):
            yield b"seal\t%b\t%b\n" % (piece.line, b64encode(piece.signature))
            continue
        yield b"batch\t%b\t%b\n" % (piece.line, piece.hash.hex().encode())
        for event in piece.events:
            yield b"event\t%b\t%b\n" % (event.content, event.count)


def outside_the_chain() -> list[str]:
    """Events that say they are of no batch, or of one that is not there, where they cannot be from before batches."""
    first = Batch.objects.order_by("number").values_list("moved_at", flat=True).first()
    last = Batch.objects.aggregate(Max("number"))["number__max"] or 0
    beyond = AuditEvent.objects.aggregate(highest=Max("batch"), lowest=Min("batch"))
    problems = []
    if (beyond["highest"] or 0) > last or (beyond["lowest"] or 1) < 1:
        problems.append("There are events of batches that are not there.")
    if first is not None and (stray := AuditEvent.objects.filter(batch=None, received_at__gt=first).first()):
        problems.append(f"Event {stray.pk} is of no batch, and later than the first one: it was added.")
    return problems


def from_before() -> int:
    """How many events are from before there were batches."""
    return AuditEvent.objects.filter(batch=None).count()


def seal(now: datetime) -> Seal | None:
    """Seal what is there, once a day; None where that is done, where there is nothing new, or no key to do it with."""
    newest, last = Batch.objects.order_by("-number").first(), Seal.objects.order_by("-pk").first()
    if newest is None or not settings.SEAL_KEYS:
        return None
    if last is not None and (last.batch == newest.number or last.made_at.date() == now.astimezone(UTC).date()):
        return None
    if last is not None and not _is_as_sealed(last):
        logger.critical(
            "Batch %s is not what was sealed on %s: nothing is sealed. Run verify_audit.", last.batch, last.made_at
        )
        return None
    return make_seal(newest, now)


def _is_as_sealed(last: Seal) -> bool:
    """Whether the chain still has what the last seal says; else it is not for us to sign what came in its place."""
    hash_ = Batch.objects.filter(number=last.batch).values_list("hash", flat=True).first()
    return hash_ is not None and json.loads(last.line).get("hash") == bytes(hash_).hex()


def make_seal(batch: Batch, now: datetime) -> Seal:
    """Seal the chain up to a batch, with the first key; the log has it, too, as a witness outside the database."""
    key = private_keys()[0]
    said = line(batch=batch.number, hash=bytes(batch.hash).hex(), key=key_id(public(key)), made_at=now)
    made = Seal.objects.create(batch=batch.number, made_at=now, line=said.decode(), signature=key.sign(said))
    logger.info("The record is sealed: %s %s", made.line, b64encode(made.signature).decode())
    return made


def private_keys() -> list[Ed25519PrivateKey]:
    """The keys of WCSGATE_SEAL_KEYS. Raises ValueError where one is none."""
    return [Ed25519PrivateKey.from_private_bytes(urlsafe_b64decode(key)) for key in settings.SEAL_KEYS]


def public(key: Ed25519PrivateKey) -> bytes:
    """What others need to check seals."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def trusted_keys(more: Sequence[str] = ()) -> list[bytes]:
    """The public keys that seals may be made with: those of the settings, and these in base64. Raises ValueError."""
    return [*map(public, private_keys()), *(b64decode(key, validate=True) for key in more)]
