"""Hooks found by what staff typed: terms as conditions on the audit log, the usual ones through an index each."""

from collections.abc import Callable
from datetime import datetime, tzinfo

from django.db.models import GenericIPAddressField, Lookup, Q, QuerySet

from apps.access.reasons import NOTED, STAFF_ACTION, Reason
from apps.access.rule_rows import number_plan
from apps.accounts.pages import find_exactly
from apps.audit.models import AuditEvent, Effect, received
from apps.audit.query import DECISIONS, FREE, QUALIFIERS, Query, Term, moment
from apps.connections.models import App, Node
from apps.protocol.methods import ACTIONS, METHODS, find
from apps.protocol.numbers import canonical, prefix

WHOLE = ("username", "target", "session_id", "call_id")
"""Columns that a word without a qualifier may stand in."""

OFFERED = 50
"""Apps and nodes that are offered while typing."""


@GenericIPAddressField.register_lookup
class InNetwork(Lookup):
    """Whether an address lies in a network; Postgres finds those of a network through the index of addresses."""

    lookup_name = "in_network"
    prepare_rhs = False

    def as_sql(self, compiler, connection):
        left, params = self.process_lhs(compiler, connection)
        return f"{left} <<= %s::inet", [*params, self.rhs]


def about_some(value: str) -> Q:
    """What a list shows for a word without a qualifier: not all, but soon, through an index for each column."""
    return Q(pk__in=find_exactly(AuditEvent.objects.all(), value, WHOLE).values("pk"))


def about_all(value: str) -> Q:
    """All that has this very text in one of the columns, however much that is: for exports."""
    return Q(*((column, value.strip()) for column in WHOLE), _connector=Q.OR)


def find_events(
    events: QuerySet, query: Query, zone: tzinfo, now: datetime, about: Callable[[str], Q] = about_some
) -> QuerySet:
    """Those of the events that fit: any of the values of one qualifier, every qualifier, and every word without one."""
    for term in query.terms:
        if term.key == FREE:
            events = events.exclude(about(term.value)) if term.negated else events.filter(about(term.value))
    for key in dict.fromkeys(term.key for term in query.terms if term.key != FREE):
        wanted, unwanted = Q(), Q()
        for term in (term for term in query.terms if term.key == key):
            condition = _CONDITIONS[key](term, zone, now)
            wanted, unwanted = (wanted, unwanted | condition) if term.negated else (wanted | condition, unwanted)
        events = events.filter(wanted).exclude(unwanted) if unwanted else events.filter(wanted)
    return events


Condition = Callable[[Term, tzinfo, datetime], Q]


def _text(column: str) -> Condition:
    def condition(term: Term, zone: tzinfo, now: datetime) -> Q:
        return Q(**{f"{column}__startswith": term.text}) if term.is_prefix else Q(**{column: term.value})

    return condition


def _number(term: Term, zone: tzinfo, now: datetime) -> Q:
    """However the number was dialled, and however it is typed here."""
    if term.is_prefix:
        return ~Q(number="") & Q(number__startswith=prefix(term.text, number_plan()) or term.text)
    return ~Q(number="") & Q(number=canonical(term.value, number_plan()) or term.value)


def _method(term: Term, zone: tzinfo, now: datetime) -> Q:
    """In any spelling: WCS builds differ."""
    if term.is_prefix:
        return Q(method__startswith=term.text)
    row = find(term.value)
    return Q(method__in=[row.name, *row.aliases, term.value]) if row else Q(method=term.value)


def _decision(term: Term, zone: tzinfo, now: datetime) -> Q:
    if term.value == "refused":
        return Q(effect=Effect.REFUSED)
    told = {"noted": Q(reason__in=NOTED), "changed": Q(reason=STAFF_ACTION)}
    return Q(effect=Effect.ALLOWED) & told.get(term.value, ~Q(reason__in=(*NOTED, STAFF_ACTION)))


def _node(term: Term, zone: tzinfo, now: datetime) -> Q:
    """By its id, or by the name that staff gave it."""
    text = {"startswith": term.text} if term.is_prefix else {"exact": term.value}
    (lookup, value), *_ = text.items()
    named = Node.objects.filter(**{f"name__{lookup}": value}).values_list("node_id", flat=True)
    return Q(**{f"node_id__{lookup}": value}) | Q(node_id__in=list(named))


def _moment(end: str) -> Condition:
    def condition(term: Term, zone: tzinfo, now: datetime) -> Q:
        return received(**{end: moment(term.value, zone, now)})

    return condition


_CONDITIONS: dict[str, Condition] = {
    "user": _text("username"),
    "stream": lambda term, zone, now: _text("target")(term, zone, now) & Q(number=""),
    "target": _text("target"),
    "number": _number,
    "method": _method,
    "action": _text("action"),
    "decision": _decision,
    "reason": _text("reason"),
    "ip": lambda term, zone, now: Q(client_address__in_network=term.value),
    "app": _text("app_key"),
    "node": _node,
    "session": _text("session_id"),
    "call": _text("call_id"),
    "media": _text("media_session_id"),
    "status": _text("status"),
    "rule": lambda term, zone, now: Q(rule_ids__contains=[term.value]) | Q(logged_rule_ids__contains=[term.value]),
    "while": lambda term, zone, now: Q(while_away=True),
    "after": _moment("since"),
    "before": _moment("before"),
}


def completions() -> dict[str, list[str]]:
    """What each qualifier offers to choose from; none where there is no telling, or too much."""
    return {
        **{key: [] for key in QUALIFIERS},
        "decision": list(DECISIONS),
        "reason": [*map(str, Reason), STAFF_ACTION],
        "method": [method.name for method in METHODS],
        "action": list(ACTIONS),
        "while": ["away"],
        "after": ["1h", "24h", "7d", "30d", "today", "yesterday"],
        "before": ["now", "today", "yesterday"],
        "app": list(App.objects.order_by("key").values_list("key", flat=True)[:OFFERED]),
        "node": list(Node.objects.exclude(name="").order_by("name").values_list("name", flat=True)[:OFFERED]),
    }
