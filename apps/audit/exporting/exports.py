"""Exports in the background: a file of any length, written piece by piece into the database.

A piece, and how far the export is with it, are one transaction, so that a worker that is killed loses and doubles no
line. No query looks through more time than it can within QUERY_TIME, and no turn takes longer than it is told to.
"""

import gzip
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.navigation import may_see
from apps.audit.browsing.asked import Asked, BadSearch, events_of, in_words
from apps.audit.browsing.paging import Place, TakesTooLong, patience
from apps.audit.exporting.export import COLUMNS, FORMATS, Format, events_after
from apps.audit.exporting.models import Export, ExportPiece, State
from apps.audit.models import AuditEvent, received
from apps.audit.moving.mover import database_is_in_trouble
from apps.audit.moving.outbox import all_moved_before
from apps.audit.net import is_whole

MOST = 5
"""Exports that one person may have: being written, or kept."""

PIECE = 4_000_000
"""Bytes of the file, before compressing, after which a piece ends."""

CHUNK = 250
ON_THEIR_WAY = 2 * timedelta(seconds=settings.HOOK_TIME_LIMIT) + timedelta(seconds=1)
"""After so long a hook is committed or has failed: it waits for its turn and for Postgres, and clocks may differ."""

OUTBOX_TIME = timedelta(minutes=10)
"""How long an export waits until all that had been received is in the log; then it says from when on some may lack."""

QUERY_TIME = timedelta(seconds=1)
SHORTEST_SPAN = timedelta(seconds=1)
LONGEST_SPAN = timedelta(days=3_650)
BEFORE_ALL = UUID(int=0)
"""After the last event of a moment: all ids are higher."""

logger = logging.getLogger(__name__)


class TooMany(Exception):
    """Somebody has as many exports as one may have. The message says what to do."""


def ask(user: User, search: str, kind: str, now: datetime) -> Export:
    """Have a search exported. Raises BadSearch, and TooMany."""
    words = in_words(Asked(search, user, now))
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)  # who asks twice at once is counted twice
        if Export.objects.filter(made_by=user).exclude(state=State.FAILED).count() >= MOST:
            raise TooMany(f"You have {MOST} exports, and may not have more at once. Delete one of them first.")
        return Export.objects.create(
            made_by=user,
            made_by_name=user.get_username(),
            made_at=now,
            asked=search,
            words=words,
            format=kind,
            columns=COLUMNS,
        )


def work(now: datetime, deadline: float, piece: int = PIECE) -> int:
    """Write pieces, of the export that waited longest first, until all is written or until `deadline`, a time of
    time.monotonic. Gives how many turns that took. Safe to run twice, and at once.
    """
    turns = 0
    while time.monotonic() < deadline and take_turn(now, deadline, piece):
        turns += 1
    return turns


def take_turn(now: datetime, deadline: float, piece: int = PIECE) -> bool:
    """Write one piece. Gives whether there was an export to write, and nothing of the log is aside."""
    export = None
    try:
        with transaction.atomic():
            export = _longest_waiting(now) if is_whole() else None
            if export:
                _write(export, now, deadline, piece)
    except BadSearch as error:  # a version that took it has asked for it
        fail(export, now, f"It was not written: {error}")
    except Exception as error:  # of this one only: the others go on
        if export is None or database_is_in_trouble(error):
            raise
        logger.error("Export %s failed: %s", export.pk, type(error).__name__)
        fail(export, now, "It could not be written. The log of the worker says what kind of error it was.")
    return export is not None


def fail(export: Export, now: datetime, problem: str) -> None:
    """Give it up, and let go what was written: a part could be taken for the whole."""
    ExportPiece.objects.filter(export=export).delete()
    Export.objects.filter(pk=export.pk).update(state=State.FAILED, finished_at=now, problem=problem, stored=0, pieces=0)


def file_of(export: Export, first: int = 0) -> Iterator[bytes]:
    """The file from a byte on, piece by piece. Raises where one is gone meanwhile, so that no part looks whole."""
    numbers = export.parts.filter(starts__lte=first).order_by("-starts").values_list("number", flat=True)
    for number in range(numbers.first() or 0, export.pieces):
        piece = export.parts.get(number=number)
        yield gzip.decompress(piece.data)[max(0, first - piece.starts) :]


def forget(now: datetime) -> int:
    """Delete what was kept long enough, and say how many exports that were."""
    return delete(Export.objects.past(now))


@transaction.atomic
def delete(exports: QuerySet) -> int:
    """Delete exports, finished or not; whoever writes a piece of one just then ends with it first."""
    found = list(exports.select_for_update().values_list("pk", flat=True))
    Export.objects.filter(pk__in=found).delete()
    return len(found)


def _longest_waiting(now: datetime) -> Export | None:
    """Nobody else works at it until this transaction ends. None that has yet to begin while something of before it was
    asked for may still be on its way to the outbox, or waits to be moved into the log, unless that takes too long."""
    waiting = Export.objects.unfinished().order_by(F("worked_at").asc(nulls_first=True), "made_at")
    waiting = waiting.filter(Q(started_at__isnull=False) | Q(made_at__lt=now - ON_THEIR_WAY))
    if moved := all_moved_before():
        waiting = waiting.filter(Q(started_at__isnull=False) | Q(made_at__lte=max(moved, now - OUTBOX_TIME)))
    return waiting.select_for_update(skip_locked=True).first()


def _write(export: Export, now: datetime, deadline: float, size: int) -> None:
    if problem := _why_not(export):
        fail(export, now, problem)
        return
    form = FORMATS[export.format]
    events = form.read(_events_of(export)).order_by("-received_at", "-id")
    if export.started_at is None:
        _start(export, events, now)
    piece = _gather(export, form, events, deadline, size)
    _keep(export, piece)
    export.rows += piece.rows
    export.worked_at = Now()  # of this transaction: who has just had a turn is the last in line
    if piece.last:
        export.state, export.finished_at = State.READY, now
    if export.stored > settings.EXPORT_LIMIT:
        fail(export, now, _too_large(export))
    elif piece.last and not export.is_whole:
        fail(export, now, "A part of what was written is gone. Ask for it again.")
    else:
        export.save()


def _why_not(export: Export) -> str:
    """What must hold at every piece: much may have changed since the last one."""
    if not may_see(export.made_by or AnonymousUser(), "audit.auditevent"):
        return "Whoever asked for it may not see the audit log any longer."
    if export.columns != list(COLUMNS):
        return "WCS Gate was upgraded meanwhile, and exports have other columns now. Ask for it again."
    return ""


def _events_of(export: Export) -> QuerySet:
    """What had been received when it was asked for."""
    return events_of(Asked(export.asked, export.made_by, export.made_at)).filter(received(before=export.made_at))


def _start(export: Export, events: QuerySet, now: datetime) -> None:
    """Find out from when to when it goes, which says how far it is; roughly, where that takes too long."""
    whole_log = AuditEvent.objects.order_by("received_at").values_list("received_at", flat=True).first()
    export.state, export.started_at = State.RUNNING, now
    if (moved := all_moved_before()) and moved < export.made_at:
        since = timezone.localtime(moved)
        export.words += f" What came from {since:%Y-%m-%d %H:%M:%S} on may lack: it waits to be moved into the log."
    export.newest_at = _end(events.order_by("-received_at", "-id"), export.made_at)
    export.oldest_at = _end(events.order_by("received_at", "id"), whole_log or export.made_at)


def _end(events: QuerySet, otherwise: datetime) -> datetime:
    try:
        with patience(QUERY_TIME):
            return events.values_list("received_at", flat=True).first() or otherwise
    except TakesTooLong:
        return otherwise


@dataclass(slots=True)
class _Piece:
    lines: list[bytes] = field(default_factory=list)
    bytes: int = 0
    rows: int = 0
    last: bool = False

    def add(self, line: bytes) -> None:
        self.lines.append(line)
        self.bytes += len(line)


def _gather(export: Export, form: Format, events: QuerySet, deadline: float, size: int) -> _Piece:
    """The next lines, and the export's place after them."""
    piece = _Piece()
    if not export.pieces and form.head:
        piece.add(form.head)
    while not piece.last and piece.bytes < size:
        for event in _next_events(export, events, piece):
            piece.add(form.line(event, export.made_at))
            piece.rows += 1
        if time.monotonic() >= deadline:
            break
    return piece


def _next_events(export: Export, events: QuerySet, piece: _Piece) -> list[AuditEvent]:
    """At most a chunk, from no more time than a span of it: what is found seldom must not be looked for too long."""
    place = Place(export.place_at, export.place_id) if export.place_at else None
    since = (export.place_at or export.newest_at) - export.span
    to_the_end = since < export.oldest_at
    here = events_after(events, place)
    try:
        with patience(QUERY_TIME):
            found = list((here if to_the_end else here.filter(received(since=since)))[:CHUNK])
    except TakesTooLong:
        export.span = max(export.span / 4, SHORTEST_SPAN)
        return []
    if len(found) == CHUNK:
        export.place_at, export.place_id = found[-1].received_at, found[-1].id
    elif to_the_end:
        piece.last = True
    else:
        export.place_at, export.place_id = since, BEFORE_ALL
        export.span = min(export.span * 2, LONGEST_SPAN)
    return found


def _keep(export: Export, piece: _Piece) -> None:
    """Each piece is a file of gzip by itself, and so are all of them one after the other."""
    if not piece.lines:
        return
    data = gzip.compress(b"".join(piece.lines), compresslevel=6, mtime=0)
    ExportPiece.objects.create(export=export, number=export.pieces, starts=export.bytes, data=data)
    export.pieces += 1
    export.bytes += piece.bytes
    export.stored += len(data)


def _too_large(export: Export) -> str:
    return (
        f"It takes more than the {settings.EXPORT_LIMIT // 1_000_000} MB that an export may take. Ask for less: it got "
        f"back to {export.place_at or export.newest_at:%Y-%m-%d %H:%M}, UTC."
    )
