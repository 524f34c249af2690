"""Filters of the audit log: fields of one form. None asks the log itself what there is to choose."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from apps.access.models import TriedOut
from apps.access.reasons import REASON_TEXTS, STAFF_ACTION
from apps.accounts.pages import HITS_SHOWN, ColumnFilter
from apps.audit.browsing.asked import asked_at
from apps.audit.browsing.query import Problem, Query, Term, problem_of
from apps.audit.browsing.search import HOOKS, decided, find_events
from apps.audit.models import Effect, received
from apps.connections import admin as connections
from apps.protocol.methods import METHODS

LAST_YEAR = 9999
"""It is not over in every time zone before there is no other year."""


class Field(ColumnFilter):
    """A text to match exactly or, with choices, a list to choose from."""

    template = "admin/filter_field.html"
    hint = ""

    def has_output(self) -> bool:
        return True


class HookField(Field):
    """What no change by staff has."""

    def queryset(self, request, queryset):
        return super().queryset(request, queryset).filter(HOOKS) if self.value() else queryset


class PeriodFilter(admin.ListFilter):
    """From, until (not included), or the last so many hours or days."""

    title = "time"
    template = "admin/filter_period.html"
    LAST = {
        "1h": ("last hour", 1),
        "24h": ("last 24 hours", 24),
        "7d": ("last 7 days", 168),
        "30d": ("last 30 days", 720),
    }
    lookup_choices = tuple((value, label) for value, (label, _) in LAST.items())
    parameters = ("last", "from", "until")

    def __init__(self, request, params, model, model_admin):
        super().__init__(request, params, model, model_admin)
        for name in self.parameters:
            if value := params.pop(name, [""])[-1]:
                self.used_parameters[name] = value

    def has_output(self) -> bool:
        return True

    def expected_parameters(self):
        return list(self.parameters)

    def choices(self, changelist):
        return [{"value": value, "label": label} for value, label in self.lookup_choices]

    def fields(self):
        """What the form shows: the clock where staff are, whatever the address says."""
        for name, label in (("from", "From"), ("until", "Until, not included")):
            typed = self.used_parameters.get(name)
            shown = timezone.localtime(_moment(typed)).replace(tzinfo=None) if typed else None
            yield {"name": name, "label": label, "value": shown.isoformat(timespec="seconds") if shown else ""}

    def queryset(self, request, queryset):
        since, before = self.times(self.used_parameters, asked_at(request))
        return queryset.filter(received(since, before)) if since or before else queryset

    @classmethod
    def times(cls, asked: Mapping[str, str], now: datetime) -> tuple[datetime | None, datetime | None]:
        """From when, and until when, is asked for; None for any time. Raises IncorrectLookupParameters."""
        last, begins, ends = (asked.get(name) for name in cls.parameters)
        since = [now - timedelta(hours=cls.LAST[last][1])] if last in cls.LAST else []
        since += [_moment(begins)] if begins else []
        return max(since, default=None), _moment(ends) if ends else None


def _moment(typed: str) -> datetime:
    try:
        moment = parse_datetime(typed)
    except ValueError:
        moment = None
    if moment is None or not 1970 <= moment.year < LAST_YEAR:
        raise IncorrectLookupParameters(f"“{typed}” is not a date and time.")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


class DecisionFilter(Field):
    title, parameter_name = "decision", "effect"
    DECISIONS = {Effect.ALLOWED: "allowed", Effect.REFUSED: "refused", "noted": "noted", "changed": "changed"}

    def lookups(self, request, model_admin):
        return self.DECISIONS.items()

    def queryset(self, request, queryset):
        return queryset.filter(self.condition(self.value())) if self.value() else queryset

    @classmethod
    def condition(cls, value: str) -> Q:
        """What was decided so; nothing for what is none of the choices."""
        return decided(cls.DECISIONS[value]) if value in cls.DECISIONS else Q(effect=value)


class ReasonFilter(Field):
    title, parameter_name, column = "reason", "reason", "reason"

    def lookups(self, request, model_admin):
        return [
            *((str(reason), text) for reason, text in REASON_TEXTS.items()),
            (STAFF_ACTION, "Staff changed access, or did something with the record."),
        ]


class MethodFilter(HookField):
    title, parameter_name, column = "method", "method", "method"

    def lookups(self, request, model_admin):
        return [(name, name) for method in METHODS for name in (method.name, *method.aliases)]


class QualifierFilter(Field):
    """The same as a qualifier of the search. What cannot be understood finds nothing."""

    @property
    def typed(self) -> str:
        return (self.value() or "").strip()

    @property
    def problem(self) -> str:
        return self.problem_with(self.typed)

    @classmethod
    def problem_with(cls, typed: str) -> str:
        """What was expected, as a sentence; "" where it can be understood."""
        found = typed and problem_of(QUALIFIED[cls.parameter_name], typed)
        return f"In the filter “{cls.title}”: {found}" if found else ""

    def queryset(self, request, queryset):
        if not self.typed:
            return queryset
        if self.problem:
            return queryset.none()
        query = Query((Term(QUALIFIED[self.parameter_name], self.typed),))
        return find_events(queryset, query, timezone.get_current_timezone(), asked_at(request))


class UserFilter(QualifierFilter):
    title, parameter_name, hint = "user", "username", "Whole user name, or stud*"


class TargetFilter(QualifierFilter):
    title, parameter_name, hint = "stream or number", "target", "Whole name or number, or lob*"


class AddressFilter(QualifierFilter):
    title, parameter_name, hint = "address", "ip", "192.168.1.7 or 10.0.0.0/8"


class NumberFilter(QualifierFilter):
    title, parameter_name, hint = "number", "number", "However it was dialled, or +49*"


class SessionFilter(QualifierFilter):
    title, parameter_name, hint = "session", "session", "Session id"


class CallFilter(QualifierFilter):
    title, parameter_name, hint = "call", "call", "Call id"


class WhyFilter(QualifierFilter):
    title, parameter_name, hint = "reason given by staff", "why", "Ticket, or any part of what they typed"


class TriedOutFilter(ColumnFilter):
    """Hooks that a rule would have decided otherwise, had it not only been logged. Asked for by links alone."""

    title, parameter_name = "tried out", "tried_out"

    def queryset(self, request, queryset):
        if not self.value():
            return queryset
        if not (self.value().isascii() and self.value().isdigit() and len(self.value()) < 19):
            raise IncorrectLookupParameters(f"“{self.value()}” is not the number of a rule.")
        asked = asked_at(request)
        hits = TriedOut.objects.filter(rule_id=self.value(), received_at__lte=asked).order_by("-received_at")
        return queryset.filter(pk__in=hits.values("event_id")[:HITS_SHOWN])


class WhileAwayFilter(Field):
    """Hooks that were answered while the database was away."""

    title, parameter_name = "database", "while"

    def lookups(self, request, model_admin):
        return [("away", "was away")]

    def queryset(self, request, queryset):
        return queryset.filter(while_away=True) if self.value() == "away" else queryset


class AppFilter(HookField, connections.AppFilter):
    pass


class NodeFilter(HookField, connections.NodeFilter):
    pass


QUALIFIED = {
    "effect": "decision",
    "username": "user",
    "last": "after",
    "from": "after",
    "until": "before",
    **{
        name: name
        for name in ("reason", "method", "target", "ip", "number", "session", "call", "app", "node", "why", "while")
    },
}
"""The qualifier of a search that asks for the same as each field of the form."""


def as_query(asked: Mapping[str, str]) -> Query:
    """What the fields of the form ask for, in the words of a search, and what cannot be understood; only to be said."""
    values = {name: asked[name].strip() for name in QUALIFIED if asked.get(name, "").strip()}
    sentences = {
        name: sentence
        for kind in QualifierFilter.__subclasses__()
        if (sentence := kind.problem_with(values.get(name := kind.parameter_name, "")))
    }
    return Query(
        tuple(
            Term(QUALIFIED[name], DecisionFilter.DECISIONS.get(value, value) if name == "effect" else value)
            for name, value in values.items()
            if name not in sentences
        ),
        tuple(Problem(values[name], None, sentence) for name, sentence in sentences.items()),
    )
