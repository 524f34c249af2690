"""Comparing what a simulated WCS was answered with what WCS Gate has recorded."""

import json
from collections import Counter
from pathlib import Path

import psycopg

Hook = tuple[str, ...]
"""What tells hooks apart on both sides: method, node, session, media session, call."""

RECORDED = {200, 403}
"""Answers of the simulator's accepted hooks: whoever has one has a record."""

EVENTS = """SELECT lower(method), node_id, session_id, media_session_id, call_id, sum(repeats + 1)
    FROM audit_auditevent WHERE reason <> 'staff-action' GROUP BY 1, 2, 3, 4, 5"""


def answered(ledger: Path) -> Counter[Hook]:
    """How often each hook was answered, those included whose answer got lost and that were sent again."""
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert {line["status"] for line in lines} <= RECORDED, "Nobody can tell whether such hooks must be recorded."
    counted: Counter[Hook] = Counter()
    for line in lines:
        ids = (line[name] or "" for name in ("node", "session", "mediaSessionId", "callId"))
        counted[line["method"].lower(), *ids] += line["attempts"]
    return counted


def logged(conninfo: str) -> Counter[Hook]:
    """How often each hook is in the audit log, repeats included."""
    with psycopg.connect(conninfo) as connection:
        return Counter({tuple(row[:-1]): int(row[-1]) for row in connection.execute(EVENTS)})


def waiting(conninfo: str) -> int:
    """How many records the workers have not yet moved."""
    with psycopg.connect(conninfo) as connection:
        return connection.execute("SELECT count(*) FROM audit_hookrecord").fetchone()[0]


def differences(answered: Counter[Hook], logged: Counter[Hook]) -> dict[Hook, tuple[int, int]]:
    """Hooks that were answered more or less often than the audit log says, with both numbers."""
    return {
        hook: (answered[hook], logged[hook]) for hook in sorted(answered | logged) if answered[hook] != logged[hook]
    }
