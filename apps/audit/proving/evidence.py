"""The record as evidence: its pieces out of the database, at one moment."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import UUID

from django.db import DataError, connection, transaction
from django.db.models import Max, Min, Q, QuerySet

from apps.audit.chain import FROM_BEFORE, batch_line, entries
from apps.audit.models import AuditEvent, Batch, ChangeRecord, HookRecord, Seal
from apps.audit.moving.batches import content, count_of, from_before
from apps.audit.net import TABLE, see_whole
from apps.audit.proving.signing import Sealed, SealPiece, is_seal
from apps.audit.proving.verifying import BatchPiece, Event

_MADE_OTHERWISE = """SELECT relname FROM pg_catalog.pg_class c
    WHERE (oid = ANY (%s::regclass[]) OR oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(%s)))
        AND (relkind NOT IN ('r', 'p') OR relrowsecurity OR relhasrules
            OR EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal))
    ORDER BY relname"""


class Unreadable(Exception):
    """A row is not what it should be, so that it cannot even be read. The message says where."""


@contextmanager
def at_one_moment() -> Iterator[None]:
    """Whatever is read meanwhile is as it is now, whoever goes on writing. Raises BeingPutInPlace."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        see_whole()
        yield


def pieces() -> Iterator[BatchPiece | SealPiece]:
    """All batches, each with its events, and all seals, each after what it seals. To be read `at_one_moment`. Raises
    Unreadable.
    """
    seals: dict[int, list[SealPiece]] = {}
    for text, signature in Seal.objects.order_by("pk").values_list("line", "signature"):
        piece = SealPiece(text.encode(), bytes(signature))
        seals.setdefault(_sealed_by(piece), []).append(piece)
    last = 0
    try:
        for batch in Batch.objects.order_by("number").iterator(100):
            yield _piece(batch, _events_of(batch).order_by("id"))
            yield from seals.pop(batch.number, ())
            last = batch.number
    except DataError as error:
        raise Unreadable(f"Among the hundred batches after batch {last} is what nobody can read: {error}.") from error
    for _, of_nothing in sorted(seals.items()):
        yield from of_nothing


def _sealed_by(piece: SealPiece) -> int:
    """The batch that it says; 0 where it says nothing that can be read."""
    return Sealed.read(piece.line).batch if is_seal(piece) else 0


def _events_of(batch: Batch) -> QuerySet[AuditEvent]:
    """All that say they are of it; events from before there were batches say nothing, and are those that it lists."""
    theirs = Q(batch=batch.number)
    if FROM_BEFORE in batch.note:
        with suppress(ValueError):  # the verifier says what is wrong with its entries
            theirs |= Q(batch=None, id__in={one.id for one in entries(bytes(batch.entries))})
    return AuditEvent.objects.filter(theirs)


def _piece(batch: Batch, events: Iterable[AuditEvent]) -> BatchPiece:
    said = batch_line(batch.number, batch.moved_at, batch.note, bytes(batch.previous), bytes(batch.entries))
    found = [Event(event.id, content(event), count_of(event), bytes(event.digest)) for event in events]
    return BatchPiece(said, bytes(batch.hash), found)


def there(ids: Sequence[UUID]) -> Iterator[UUID]:
    """Those of these ids of which there is an event."""
    for start in range(0, len(ids), 1_000):
        some = ids[start : start + 1_000]
        yield from AuditEvent.objects.filter(id__in=some).values_list("id", flat=True)


def made_otherwise() -> list[str]:
    """Tables of the record that say one thing to us and may say another one to others, or drop what is written."""
    of_record = [model._meta.db_table for model in (AuditEvent, Batch, Seal, HookRecord, ChangeRecord)]
    with connection.cursor() as cursor:
        cursor.execute(_MADE_OTHERWISE, [of_record, TABLE])
        return [
            f"Table {name} has row security, a rule or a trigger, or is none: others may see another record than this."
            for (name,) in cursor.fetchall()
        ]


def outside_the_chain(taken_in: int) -> list[str]:
    """Events that say they are of a batch that is not there, or of none, but for those that batches have taken in."""
    last = Batch.objects.aggregate(Max("number"))["number__max"] or 0
    beyond = AuditEvent.objects.aggregate(highest=Max("batch"), lowest=Min("batch"))
    taking_in = Batch.objects.filter(note__contains=f'"{FROM_BEFORE}"').values("number")
    problems = [
        f"Event {event.id} says it is of batch {event.batch}, which takes in events that are of none: it was added."
        for event in AuditEvent.objects.filter(batch__in=taking_in).only("id", "batch").order_by("id")[:10]
    ]
    if (beyond["highest"] or 0) > last or (beyond["lowest"] or 1) < 1:
        problems.append("There are events of batches that are not there.")
    if last and (strays := AuditEvent.objects.filter(batch=None).count() - taken_in) > 0:
        known = from_before()
        of_none = AuditEvent.objects.filter(batch=None).order_by("-id").values_list("id", flat=True).iterator(2_000)
        first = next(id_ for id_ in of_none if id_ not in known)
        more = f" and {strays - 1} more are" if strays > 1 else " is"
        problems.append(f"Event {first}{more} of no batch: it was added.")
    return problems
