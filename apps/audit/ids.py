"""What ids of records say: when they were made, and where they count. Pure.

All begin with the time in milliseconds. Those of hooks go on with a number and the counter that gave it (`counting`):
UUIDs of version 8, whose form is ours. So a record says by its id alone which of a process's hooks it is, and needs no
column for it. Ids of version 7 go on with random bits, and count nowhere.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MARGIN = timedelta(minutes=1)
"""The time in an id and that of its hook are never so far apart; where a time is looked for, ids may differ by it."""

COUNTER_BITS = 40
LAST_NUMBER = (1 << 34) - 1
"""At a thousand hooks a second of one node in one process, it is reached after half a year."""

COUNTER_SQL = "('x' || right({id}::text, 10))::bit(40)::bigint"
NUMBER_SQL = """(('x' || substr({id}::text, 16, 3))::bit(12)::bigint << 22)
    | ((('x' || substr({id}::text, 20, 4))::bit(16)::bigint & 16383) << 8)
    | ('x' || substr({id}::text, 25, 2))::bit(8)::bigint"""
IS_NUMBERED_SQL = "substr({id}::text, 15, 1) = '8'"
"""The same for Postgres: `counter_of`, the number, and whether there is one."""

_REST = 80  # bits of an id after its time
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
_VERSION_8, _VARIANT = 8 << 76, 2 << 62
_LOW = 22  # bits of a number that are beside its counter; the others are between version and variant


def first_id(moment: datetime, later: timedelta = timedelta(0)) -> UUID:
    """The lowest id that may be made so much later than a moment, or after that. Every id made before is lower."""
    return UUID(int=max(0, (moment - EPOCH + later) // timedelta(milliseconds=1)) << _REST)


def moment_of(id_: UUID) -> datetime:
    """When an id was made; at the end of all times, where it is none of ours and says something absurd."""
    milliseconds = id_.int >> _REST
    return min(_LAST, EPOCH + timedelta(milliseconds=min(milliseconds, (_LAST - EPOCH) // timedelta(milliseconds=1))))


def numbered_id(now: datetime, counter: int, number: int) -> UUID:
    """The id of the record of a hook that got this number from this counter."""
    return UUID(
        int=int(now.timestamp() * 1000) << _REST
        | _VERSION_8
        | number >> _LOW << 64
        | _VARIANT
        | (number & (1 << _LOW) - 1) << COUNTER_BITS
        | counter
    )


def numbers_by_counter(ids: Iterable[UUID]) -> dict[int, list[int]]:
    """The numbers in ids that have some, by the counters that gave them."""
    found: dict[int, list[int]] = defaultdict(list)
    for id_ in ids:
        if id_.version == 8:
            number = (id_.int >> 64 & 0xFFF) << _LOW | id_.int >> COUNTER_BITS & (1 << _LOW) - 1
            found[id_.int & (1 << COUNTER_BITS) - 1].append(number)
    return found


def multirange(numbers: Iterable[int]) -> str:
    """These numbers, as Postgres writes an int8multirange."""
    return f"{{{','.join(f'[{number},{number}]' for number in sorted(numbers))}}}"
