"""What was let go, compared with what was to be kept, as far as that can be said afterwards.

Settings are those of here and now, and may have been others: what they would have kept is a doubt, and no damage. What
is gone is known by its class and day alone; so holds of a user, a stream or a session say nothing about it, nor does
one that has ended since. What a hold of a time alone has covered from before it was let go until now is there, or lost.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

from django.conf import settings
from django.db import DataError
from django.db.models import Q

from apps.access.reasons import STAFF_ACTION
from apps.audit.ids import MARGIN
from apps.audit.keeping.retention import CLASSES, past
from apps.audit.models import AuditEvent, ChangeRecord
from apps.audit.moving.changes import TABLES, told_with
from apps.audit.proving.evidence import Unreadable
from apps.audit.proving.signing import UNREADABLE
from apps.audit.proving.verifying import CLOCKS, Found, Gone, LetGo

HOLDS = "audit_hold"


class Held(NamedTuple):
    """What a hold covers, as the record says it, and since when that is so."""

    since: datetime
    name: str
    narrowed: tuple[str, ...]
    starts_at: datetime | None
    ends_at: datetime | None
    until: datetime | None

    @classmethod
    def read(cls, row: dict[str, Any], since: datetime) -> Self | None:
        """What this row says; None where it was released. Raises one of UNREADABLE."""
        if row["released_at"] is not None:
            return None
        texts = (row[name] for name in ("starts_at", "ends_at", "until"))
        moments = (datetime.fromisoformat(text).astimezone(UTC) if text else None for text in texts)
        narrowed = tuple(row[name] for name in ("username", "target", "session_id") if row[name])
        return cls(since, row["name"], narrowed, *moments)

    def covers(self, gone: Gone) -> bool:
        """Whether it keeps all of that day, whatever an id may differ from the time of its hook."""
        return (
            not self.narrowed
            and (self.starts_at is None or self.starts_at <= gone.day - MARGIN)
            and (self.ends_at is None or gone.day + timedelta(days=1) + MARGIN <= self.ends_at)
        )


def doubts(notes: Sequence[LetGo]) -> Iterator[str]:
    """For each class, that some of these notes let go what the settings of here and now would have kept."""
    for of in CLASSES:
        doubtful = [
            note
            for note in notes
            if note.of == of.words and ((kept := past(of.setting, note.moved_at)) is None or note.before > kept)
        ]
        if doubtful:
            days = getattr(settings, of.setting) or "0 (for ever)"
            more = f", nor what {len(doubtful) - 1} later ones did" if len(doubtful) > 1 else ""
            yield (
                f"WCSGATE_{of.setting} is {days} here and now: by that, batch {doubtful[0].batch} would not have let "
                f"{of.words} before {doubtful[0].before:%Y-%m-%d} go{more}. If it was not set otherwise then, somebody "
                "else noted this."
            )


def gone_though_held(found: Found, now: datetime) -> Iterator[str]:
    """What is gone although a hold keeps it, as the record says of holds. Raises Unreadable."""
    holds = [held for held in _in_force().values() if held.until is None or held.until > now]
    for gone in found.gone if holds else ():
        first = next(note for note in found.notes if note.covers(gone))
        for held in holds:
            if held.covers(gone) and held.since + CLOCKS < first.moved_at:
                yield (
                    f"{gone} gone, though legal hold “{held.name}” has kept that day since {held.since:%Y-%m-%d %H:%M} "
                    f"UTC, and batch {first.batch} was the first to let it go, after that."
                )
                break


def _in_force() -> dict[int, Held]:
    """Holds that were made and not released, by their rows; each since it has covered what it covers."""
    known: dict[int, Held] = {}
    for changed_at, row, after in _changes():
        try:
            held = Held.read(after, changed_at) if after is not None else None
        except UNREADABLE:  # as somebody has changed it, which the chain says
            continue
        before = known.get(row)
        if row is None:
            known.clear()
        elif held is None:
            known.pop(row, None)
        elif before is not None and before[2:] == held[2:]:
            known[row] = before._replace(name=held.name)
        else:
            known[row] = held
    return known


def _changes() -> Iterator[tuple[datetime, int | None, dict[str, Any] | None]]:
    """When which hold became what; those that still wait to be moved last."""
    subjects = [f"{begins}{name}" for begins in ("", "all of ") for name in (HOLDS, TABLES[HOLDS].noun)]
    about = Q(*(("target__startswith", subject) for subject in subjects), _connector=Q.OR)
    for event in AuditEvent.objects.filter(about, reason=STAFF_ACTION).order_by("received_at", "id"):
        said = told_with(event)
        if said.get("table") == HOLDS and isinstance(said.get("row"), int | None):
            yield event.received_at, said.get("row"), said.get("after")
    waiting = ChangeRecord.objects.filter(table_name=HOLDS).order_by("changed_at", "id")
    try:
        yield from waiting.values_list("changed_at", "row_id", "after")
    except DataError as error:
        raise Unreadable(f"A change that waits to be moved cannot be read: {error}.") from error
