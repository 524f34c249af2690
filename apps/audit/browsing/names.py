"""What the search box offers while somebody types: values to choose from, and names that stand in the audit log.

Whoever may search the log may find every name in it, so none is offered that their role hides, and each that is
offered finds something. Nobody's table is asked, of users or of streams; session ids and addresses are not completed.
"""

from datetime import timedelta

from django.db import connection
from django.db.models import Q

from apps.access.reasons import STAFF_ACTION, Reason
from apps.access.rule_rows import number_plan
from apps.audit.browsing.paging import TakesTooLong, patience
from apps.audit.browsing.query import DECISIONS, QUALIFIERS, quoted
from apps.audit.moving import changes
from apps.connections.models import App, Node
from apps.protocol.methods import ACTIONS, METHODS
from apps.protocol.numbers import prefix

MOST = 20
"""Names that are offered at once."""

STEPS = 100
"""Names that are looked at for them: what was called may begin as streams do."""

LONGEST = 300
"""Characters that are looked up; no more are completed."""

PATIENCE = timedelta(seconds=1)
"""How long Postgres may look. Who types on needs no answer any more."""

COLUMNS = {"user": "username", "stream": "target", "target": "target", "number": "number"}
"""Where the names of a qualifier stand in the log; each has an index for what begins with a text."""

APPS = 50
"""Those that are offered."""

NAMED = (*COLUMNS, "node")
"""Qualifiers whose names are completed."""

_NEXT = """SELECT {column}, number FROM audit_auditevent WHERE {column} LIKE %(begins)s{further}
    ORDER BY {column} USING ~<~, received_at DESC LIMIT 1"""
_NAMES = """WITH RECURSIVE found (name, number, step) AS (
        SELECT first.*, 1 FROM ({first}) AS first
        UNION ALL SELECT next.*, step + 1 FROM found, LATERAL ({next}) AS next WHERE step < %(steps)s
    ) SELECT name FROM found {those} LIMIT %(most)s"""


class NoNames(ValueError):
    """For what was asked there are no names. The message says what was expected."""


def completions() -> dict[str, list[str]]:
    """What each qualifier offers to choose from; none where there is no telling, or where `names` are looked up."""
    return {
        **{key: [] for key in QUALIFIERS},
        "decision": list(DECISIONS),
        "reason": [*map(str, Reason), STAFF_ACTION],
        "method": [method.name for method in METHODS],
        "action": [*ACTIONS, *changes.ACTIONS, *changes.ACTS],
        "while": ["away"],
        "after": ["1h", "24h", "7d", "30d", "today", "yesterday"],
        "before": ["now", "today", "yesterday"],
        "app": list(App.objects.order_by("key").values_list("key", flat=True)[:APPS]),
    }


def names(of: str, begins: str, *, all_nodes: bool) -> list[str]:
    """Terms of a search with the names that begin so, as they are typed: user:ann, user:"Ann Lee".

    `all_nodes` is whether whoever asks may see nodes of which nothing is in the log yet. Raises NoNames.
    """
    if of not in NAMED:
        raise NoNames(f"“of” is “{of}”. Give one of {', '.join(NAMED)}.")
    if not begins or "\0" in begins or len(begins) > LONGEST:
        return []
    found = _nodes(begins, all_nodes) if of == "node" else names_in_log(of, begins)
    return [term for name in found if (term := _typed(of, name))]


def names_in_log(of: str, begins: str) -> list[str]:
    """From each name a step through the index to the next one, however many events have it."""
    begins = (prefix(begins, number_plan()) or begins) if of == "number" else begins
    values = {"begins": f"{connection.ops.prep_for_like_query(begins)}%", "steps": STEPS, "most": MOST}
    try:
        with patience(PATIENCE), connection.cursor() as cursor:
            cursor.execute(statement(of), values)
            return [name for (name,) in cursor.fetchall()]
    except TakesTooLong:
        return []


def statement(of: str) -> str:
    """What Postgres is asked. Of each name the newest event is read; one with a number is about no stream, and neither
    is a change by staff."""
    column = COLUMNS[of]
    some = " AND number <> ''" if of == "number" else ""  # the index has no others
    some += f" AND reason <> '{STAFF_ACTION}'" if of == "stream" else ""
    first = _NEXT.format(column=column, further=some)
    following = _NEXT.format(column=column, further=f"{some} AND {column} ~>~ found.name")
    return _NAMES.format(first=first, next=following, those="WHERE number = ''" if of == "stream" else "")


def _nodes(begins: str, all_nodes: bool) -> list[str]:
    """By the name that staff gave, the id, or what lists show of that; in any letter case, as there are few nodes."""
    is_shown = Q(node_id__icontains=f"@{begins}")
    nodes = Node.objects.filter(Q(name__istartswith=begins) | Q(node_id__istartswith=begins) | is_shown)
    nodes = nodes if all_nodes else nodes.exclude(first_seen_at=None)
    rows = nodes.order_by("name", "node_id").values_list("name", "node_id")[:MOST]
    begin = begins.lower()
    called = (called for name, id_ in rows for called in (name, id_, id_.rpartition("@")[2]))
    return list(dict.fromkeys(one for one in called if one.lower().startswith(begin)))[:MOST]


def _typed(of: str, name: str) -> str:
    """The term that finds it; "" where that cannot be typed."""
    term = quoted(of, name)
    return term if any(map(str.isspace, name)) else term and f"{of}:{name}"
