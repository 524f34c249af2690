"""Days of a made-up past into their tables, each by whichever process is free. Without Django, so that they start fast.

Events get the hash of their line here, which is most of the work; that batches are a chain is the matter of `filling`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg.sql import SQL, Identifier

from apps.audit.chain import count_entry, count_line, entry, event_line, kind_of
from apps.audit.filling.made_up import Day, Made

BATCH = 500
"""Events of a batch, as the mover takes them when there is much to do."""

_LEASES = (
    *(
        "record_id",
        "node_id",
        "app_key",
        "session_id",
        "key",
        "action",
        "target",
        "thing",
        "who",
        "username",
        "user_id",
    ),
    *("client_address", "rule_ids", "opened_at", "started_at", "ended_at", "end_reason"),
)
_SESSIONS = (
    *("node_id", "session_id", "opening", "app_key", "user_id", "username", "entered_by", "client_address", "origin"),
    *("hiding", "opened_at", "ended_at", "end_reason"),
)


@dataclass(frozen=True, slots=True)
class Log:
    """Where events are written to, what is hashed of them, and what they may link to."""

    conninfo: str
    columns: Sequence[str]
    content: Sequence[str]
    leases_since: date
    """Leases are forgotten when they are old; so there are none of earlier days."""

    seed: int = 1
    users: Mapping[str, int] = field(default_factory=dict)
    streams: Mapping[str, int] = field(default_factory=dict)


class MadeBatch(NamedTuple):
    """A batch but for its hash: that is known when the one before it is."""

    number: int
    moved_at: datetime
    entries: bytes


def write_day(log: Log, table: str, day: date, count: int, first_batch: int) -> list[MadeBatch]:
    """Make up a day and write all of it; gives its batches, which are numbered from that one on."""
    made = Day(log.seed, day, count).made()
    leases = made.leases if day >= log.leases_since else []
    for row in [*made.events, *made.leases]:
        row["user_id"] = log.users.get(row["username"])
        if "reason" in row:
            row["stream_id"] = None if row["number"] else log.streams.get(row["target"])
    batches = []
    for number, start in enumerate(range(0, count, BATCH), start=first_batch):
        some = made.events[start : start + BATCH]
        for event in some:
            event["batch"] = number
        moved_at = some[-1]["received_at"] + timedelta(seconds=1)
        batches.append(MadeBatch(number, moved_at, b"".join(_entries(log, some))))
    with psycopg.connect(log.conninfo) as connection:
        _copy(connection, table, log.columns, made.events)
        _copy(connection, "live_lease", _LEASES, leases)
        _copy(connection, "connections_session", _SESSIONS, map(_session, _connected(made.leases)))
    return batches


def _entries(log: Log, events: Iterable[Made]) -> Iterable[bytes]:
    """First those of what came, then those of what was counted, as the mover has it."""
    counts = []
    for event in events:
        kind = kind_of(event["reason"])
        yield entry(kind, event["id"], event_line({name: event[name] for name in log.content}))
        counted = count_line(
            *(event[name] for name in ("id", "received_at", "last_received_at", "repeats", "while_away"))
        )
        if counted:
            counts.append(count_entry(kind, event["id"], event["digest"], counted))
    yield from counts


def _connected(leases: Iterable[Made]) -> Iterable[Made]:
    return (lease for lease in leases if lease["action"] == "connect")


def _session(lease: Made) -> Made:
    origin = "https://www.example.com"
    return {
        **lease,
        "opening": 1,
        "entered_by": "token" if lease["username"] else "guest",
        "origin": origin,
        "hiding": 0,
    }


def _copy(connection: psycopg.Connection, table: str, columns: Sequence[str], rows: Iterable[Made]) -> None:
    into = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table), SQL(", ").join(map(Identifier, columns)))
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        for row in rows:
            copy.write_row([row[name] for name in columns])
