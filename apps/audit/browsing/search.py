"""Hooks found by what staff typed: terms as conditions on the audit log, the usual ones through an index each."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, tzinfo
from functools import reduce
from ipaddress import ip_network
from operator import or_
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Case, F, Func, GenericIPAddressField, Lookup, Q, QuerySet, TextField, Value, When
from django.db.models.lookups import IContains

from apps.access.reasons import NOTED, STAFF_ACTION
from apps.access.rule_rows import number_plan
from apps.audit.browsing.query import FREE, Query, Term, moment
from apps.audit.models import Effect, received
from apps.connections.models import Node
from apps.protocol.methods import ACTIONS, find
from apps.protocol.numbers import canonical, prefix

WHOLE = ("username", "target", "session_id", "call_id")
"""Columns that a word without a qualifier may stand in."""

FEW = 20
"""Addresses of a network that are looked for one by one."""

SELDOM = 1_000
"""Events of a rule that are looked for one by one."""

_NEXT = """SELECT client_address FROM audit_auditevent WHERE client_address {than} AND client_address <= %(last)s::inet
    ORDER BY client_address LIMIT 1"""
_ADDRESSES = f"""WITH RECURSIVE found (address) AS (
        ({_NEXT.format(than=">= %(first)s::inet")})
        UNION ALL SELECT ({_NEXT.format(than="> found.address")}) FROM found WHERE address IS NOT NULL
    ) SELECT host(address) FROM found WHERE address IS NOT NULL LIMIT %(most)s"""  # noqa: S608 - templates of our own
_OF_RULE = " UNION ALL ".join(
    f"(SELECT id FROM audit_auditevent WHERE {column} <> '{{}}' AND {column} @> %(rule)s::bigint[] LIMIT %(most)s)"  # noqa: S608
    for column in ("rule_ids", "logged_rule_ids")
)


@GenericIPAddressField.register_lookup
class InNetwork(Lookup):
    """Whether an address lies in a network; Postgres finds those of a network through the index of addresses."""

    lookup_name = "in_network"
    prepare_rhs = False

    def as_sql(self, compiler, connection):
        left, params = self.process_lhs(compiler, connection)
        return f"{left} <<= %s::inet", [*params, self.rhs]


def find_events(events: QuerySet, query: Query, zone: tzinfo, now: datetime) -> QuerySet:
    """Those of the events that fit: any of the values of one qualifier, every qualifier, and every word without one."""
    return events.filter(*_conditions(query, zone, now))


def _conditions(query: Query, zone: tzinfo, now: datetime) -> Iterator[Q]:
    """What must hold together, for one call of filter(): each call copies what stands there already."""
    terms = {(term.key, term.value, term.negated): term for term in query.terms}.values()  # none is looked up twice
    for term in terms:
        if term.key == FREE:
            yield ~_about(term) if term.negated else _about(term)
    for key in dict.fromkeys(term.key for term in terms if term.key != FREE):
        wanted, unwanted, among = Q(), Q(), HOOKS if key in OF_HOOKS else Q()
        for term in (term for term in terms if term.key == key):
            condition = _CONDITIONS[key](term, zone, now) & among
            wanted, unwanted = (wanted, unwanted | condition) if term.negated else (wanted | condition, unwanted)
        yield wanted
        if unwanted:
            yield ~unwanted


def without_word(query: Query) -> Query:
    """The same, but for a word that may stand in several columns: that one is looked for by `ways_to`."""
    word = _word(query)
    return replace(query, terms=tuple(term for term in query.terms if term is not word))


def ways_to(events: QuerySet, query: Query) -> list[QuerySet]:
    """Of the events that fit `without_word`, those that fit it all: for each column that the word may stand in, those
    where it does, through one index. What stands in two of them is found twice.

    Postgres would take a word that stood both anywhere and in one of them for a rare one, and read all that have it.
    """
    word = _word(query)
    return [events.filter(**condition) for condition in _somewhere(word)] if word else [events]


def _word(query: Query) -> Term | None:
    return next((term for term in query.terms if term.key == FREE and not term.negated), None)


def _somewhere(term: Term) -> list[dict[str, str]]:
    return [{column: term.value.strip()} for column in WHOLE]


def _about(term: Term) -> Q:
    return reduce(or_, (Q(**condition) for condition in _somewhere(term)))


Condition = Callable[[Term, tzinfo, datetime], Q]

HOOKS = ~Q(reason=STAFF_ACTION)
"""What no change by staff is; they have an index of their own, so that nobody waits for thousands of changes."""

OF_HOOKS = {"stream", "number", "method", "app", "node", "session", "call", "media", "status", "rule"}
"""Qualifiers of what hooks alone have: no change by staff fits them, and none is looked at."""


def about(target: str) -> Q:
    """Events about a stream, a number, or what staff changed; that is told in words, so there is a space in it."""
    return Q(target=target) if " " in target else Q(target=target) & HOOKS


def _text(column: str) -> Condition:
    def condition(term: Term, zone: tzinfo, now: datetime) -> Q:
        return Q(**{f"{column}__startswith": term.text}) if term.is_prefix else Q(**{column: term.value})

    return condition


def _target(term: Term, zone: tzinfo, now: datetime) -> Q:
    return Q(target__startswith=term.text) if term.is_prefix else about(term.value)


def _number(term: Term, zone: tzinfo, now: datetime) -> Q:
    """However the number was dialled, and however it is typed here."""
    if term.is_prefix:
        return ~Q(number="") & Q(number__startswith=prefix(term.text, number_plan()) or term.text)
    return ~Q(number="") & Q(number=canonical(term.value, number_plan()) or term.value)


def _address(term: Term, zone: tzinfo, now: datetime) -> Q:
    """One address alone comes in order from its index.

    Postgres takes any network for one that is often met, and would go through all of the log for one that is not. So it
    is told the addresses where there are few, and asked for nothing where there are none.
    """
    network = ip_network(term.value, strict=False)
    if network.num_addresses == 1:
        return Q(client_address=str(network.network_address))
    found = _addresses_in(str(network[0]), str(network[-1]))
    return Q(client_address__in=found) if len(found) <= FEW else Q(client_address__in_network=term.value)


def _addresses_in(first: str, last: str) -> list[str]:
    """Those of these that the log has, one more than FEW at most: from each a step through the index to the next."""
    with connection.cursor() as cursor:
        cursor.execute(_ADDRESSES, {"first": first, "last": last, "most": FEW + 1})
        return [address for (address,) in cursor.fetchall()]


def _rule(term: Term, zone: tzinfo, now: datetime) -> Q:
    """Postgres takes any rule for one that often decides, and would go through all of the log for one that does not. So
    it is told the events where there are few.
    """
    found = _events_of_rule(int(term.value))
    if len(found) <= SELDOM:
        return Q(id__in=found)
    return Q(rule_ids__contains=[term.value]) | Q(logged_rule_ids__contains=[term.value])


def _events_of_rule(rule: int) -> list[UUID]:
    """The ids of those that it decided or would have, and its changes; some of them where there are more than SELDOM.
    Reading all of the log for these would be taken for cheap as well.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('enable_seqscan'), set_config('enable_seqscan', 'off', true)")
        before, _ = cursor.fetchone()
        cursor.execute(_OF_RULE, {"rule": [rule], "most": SELDOM + 1})
        found = [id_ for (id_,) in cursor.fetchall()]
        cursor.execute("SELECT set_config('enable_seqscan', %s, true)", [before])  # for what comes in here
    return found


def _method(term: Term, zone: tzinfo, now: datetime) -> Q:
    """In any spelling: WCS builds differ."""
    if term.is_prefix:
        return Q(method__startswith=term.text)
    row = find(term.value)
    return Q(method__in=[row.name, *row.aliases, term.value]) if row else Q(method=term.value)


WHY = Func(F("body"), function="audit_why", output_field=TextField())
"""The reason that staff gave, of what they did."""

GIVEN = Case(When(reason=STAFF_ACTION, then=WHY), default=Value(""), output_field=TextField())
"""The same of any event, without a look into the bodies of hooks."""


def _why(term: Term, zone: tzinfo, now: datetime) -> Q:
    """What staff did for a reason that has this text in it: theirs alone are read, as they are found by `reason`."""
    return Q(reason=STAFF_ACTION) & Q(IContains(WHY, term.text.strip()))


OUTCOME = Case(
    When(effect=Effect.REFUSED, then=Value("refused")),
    When(reason__in=NOTED, then=Value("noted")),
    When(reason=STAFF_ACTION, then=Value("changed")),
    default=Value("allowed"),
)
"""Which one of DECISIONS it was, of what has an effect and a reason."""


def decided(decision: str) -> Q:
    """What was decided so: one of DECISIONS."""
    if decision == "refused":
        return Q(effect=Effect.REFUSED)
    told = {"noted": Q(reason__in=NOTED), "changed": Q(reason=STAFF_ACTION)}
    return Q(effect=Effect.ALLOWED) & told.get(decision, ~Q(reason__in=(*NOTED, STAFF_ACTION)))


def _node(term: Term, zone: tzinfo, now: datetime) -> Q:
    """By its id, by what lists show of that (behind the @), or by the name that staff gave it."""
    if term.is_prefix:
        named = Node.objects.filter(Q(name__startswith=term.text) | Q(node_id__contains=f"@{term.text}"))
        return Q(node_id__startswith=term.text) | Q(node_id__in=list(named.values_list("node_id", flat=True)))
    known = Node.objects.filter(Q(name=term.value) | Q(node_id=term.value) | Q(node_id__endswith=f"@{term.value}"))
    known = known.values_list("node_id", flat=True)
    first, *others = known or [term.value]
    return Q(node_id__in=[first, *others]) if others else Q(node_id=first)  # one alone comes in order from its index


def _moment(end: str) -> Condition:
    def condition(term: Term, zone: tzinfo, now: datetime) -> Q:
        return received(**{end: moment(term.value, zone, now)})

    return condition


_CONDITIONS: dict[str, Condition] = {
    "user": _text("username"),
    "stream": lambda term, zone, now: _text("target")(term, zone, now) & Q(number=""),
    "target": _target,
    "number": _number,
    "method": _method,
    "action": lambda term, zone, now: Q(action=term.value) & (HOOKS if term.value in ACTIONS else Q()),
    "decision": lambda term, zone, now: decided(term.value),
    "reason": _text("reason"),
    "why": _why,
    "ip": _address,
    "app": _text("app_key"),
    "node": _node,
    "session": _text("session_id"),
    "call": _text("call_id"),
    "media": _text("media_session_id"),
    "status": _text("status"),
    "rule": _rule,
    "while": lambda term, zone, now: Q(while_away=True),
    "after": _moment("since"),
    "before": _moment("before"),
}
