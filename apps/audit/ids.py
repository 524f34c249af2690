"""The time in ids of records: UUIDs of version 7 begin with it, in milliseconds. Pure; making ids is the recorder's."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MARGIN = timedelta(minutes=1)
"""The time in an id and that of its hook are never so far apart; where a time is looked for, ids may differ by it."""

_REST = 80  # bits of an id after its time
_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def first_id(moment: datetime, later: timedelta = timedelta(0)) -> UUID:
    """The lowest id that may be made so much later than a moment, or after that. Every id made before is lower."""
    return UUID(int=max(0, (moment - EPOCH + later) // timedelta(milliseconds=1)) << _REST)


def moment_of(id_: UUID) -> datetime:
    """When an id was made; at the end of all times, where it is none of ours and says something absurd."""
    milliseconds = id_.int >> _REST
    return min(_LAST, EPOCH + timedelta(milliseconds=min(milliseconds, (_LAST - EPOCH) // timedelta(milliseconds=1))))
