"""Comparing the ledger of a fault run with what the database says."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from chaos.load import NUMBER

ANSWERS = {200: "allow", 403: "deny"}
"""Answers that must be in the record, and what they are called there."""

_BODY = "convert_from({}, 'UTF8')::json->>%(number)s"
_EVENTS = f"""
    SELECT {_BODY.format("body")}, effect, reason, 1 + repeats FROM audit_auditevent WHERE node_id = %(node)s
    UNION ALL
    SELECT {_BODY.format("body")}, effect, id::text, 1 FROM audit_hookrecord WHERE node_id = %(node)s
    UNION ALL
    SELECT {_BODY.format("(record->>'body')::bytea")}, record->>'effect', id::text, 1 FROM audit_badrecord
        WHERE record->>'node_id' = %(node)s"""
"""What still waits has its id for a reason: it may be a repeat, and is not counted as one yet."""

_COUNTS = """SELECT (SELECT count(*) FROM audit_auditevent WHERE node_id = %(node)s AND while_away),
    (SELECT count(*) FROM audit_badrecord WHERE record->>'node_id' = %(node)s)"""


@dataclass
class Hook:
    """All sendings of one number."""

    sendings: int = 0
    statuses: Counter = field(default_factory=Counter)
    forbidden: bool = False

    @property
    def answers(self):
        """How often the record must have it, by effect."""
        return Counter({effect: self.statuses[status] for status, effect in ANSWERS.items() if self.statuses[status]})


def read_ledger(path):
    hooks = defaultdict(Hook)
    with path.open() as lines:
        for line in map(json.loads, lines):
            hook = hooks[line["number"]]
            hook.sendings += line["attempts"]
            hook.statuses[line["status"]] += 1
            hook.forbidden |= line["forbidden"]
    return hooks


def read_record(connection, node):
    """By number: the events that there are of it, each with effect, reason and how often it came."""
    events = defaultdict(list)
    for number, *event in connection.execute(_EVENTS, {"number": NUMBER, "node": node}):
        events[int(number)].append(event)
    return events


def read_counts(connection, node):
    """How many events were answered while Postgres was away, and how many records could not be moved."""
    return connection.execute(_COUNTS, {"node": node}).fetchone()


@dataclass
class Comparison:
    """What is wrong, as numbers of hooks, and what there was."""

    missing: list[int]
    doubled: list[int]
    wrongly_allowed: list[int]
    sent: int
    sendings: int
    statuses: Counter

    @property
    def wrong(self):
        return bool(self.missing or self.doubled or self.wrongly_allowed)


def compare(hooks, events):
    return Comparison(
        missing=[number for number, hook in hooks.items() if hook.answers - _counts(events.get(number, ()))],
        doubled=[number for number, found in events.items() if is_doubled(hooks.get(number), found)],
        wrongly_allowed=[
            number
            for number, hook in hooks.items()
            if hook.forbidden and (hook.statuses[200] or _counts(events.get(number, ()))["allow"])
        ],
        sent=len(hooks),
        sendings=sum(hook.sendings for hook in hooks.values()),
        statuses=sum((hook.statuses for hook in hooks.values()), Counter()),
    )


def is_doubled(hook, events):
    """Whether it is there more often than it was sent, or twice with the same answer instead of once with its count."""
    kinds = {(effect, reason) for effect, reason, _ in events}
    return hook is None or len(kinds) < len(events) or _counts(events).total() > hook.sendings


def _counts(events):
    counts = Counter()
    for effect, _, count in events:
        counts[effect] += count
    return counts
