"""Filters of the audit log: fields of one form. None asks the log itself what there is to choose."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, tzinfo

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest
from django.utils import timezone

from apps.access.models import TriedOut
from apps.access.reasons import REASON_TEXTS, STAFF_ACTION
from apps.access.rule_rows import number_plan
from apps.accounts.pages import HITS_SHOWN, ColumnFilter
from apps.audit.browsing.query import Problem, Query, Term, parse, problem_of, said, window, written
from apps.audit.browsing.search import find_events
from apps.audit.models import Effect, received
from apps.connections import admin as connections
from apps.database.moments import moment_of
from apps.protocol.methods import METHODS
from apps.protocol.numbers import canonical

SHORT = 6
"""Digits of numbers that have no country, such as 112, extensions and short codes."""


def asked_at(request: HttpRequest) -> datetime:
    """The moment from which “the last hour” counts."""
    return getattr(request, "at", None) or timezone.now()


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
            found = moment_of(typed) if typed else None
            shown = timezone.localtime(found).replace(tzinfo=None) if found else None
            yield {"name": name, "label": label, "value": shown.isoformat(timespec="seconds") if shown else ""}

    @property
    def problem(self) -> str:
        return self.problem_with(self.used_parameters)

    @classmethod
    def problem_with(cls, asked: Mapping[str, str]) -> str:
        """What was expected, as a sentence; "" where it can be understood."""
        try:
            cls.times(asked, timezone.now())
        except IncorrectLookupParameters as error:
            return f"In the filter “{cls.title}”: {error}"
        return ""

    def queryset(self, request, queryset):
        if self.problem:
            return queryset.none()
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
    moment = moment_of(typed)
    if moment is None:
        raise IncorrectLookupParameters(f"“{typed}” is not a date and time from 1970 on and before 9999.")
    return moment


class QualifierFilter(admin.SimpleListFilter):
    """The same as a qualifier of the search. What cannot be understood finds nothing."""

    template = "admin/filter_field.html"
    hint = ""
    qualifier = ""
    """Where it is called otherwise than the filter in an address."""

    def lookups(self, request, model_admin):
        """None: a text to type."""
        return ()

    def has_output(self) -> bool:
        return True

    @classmethod
    def term_of(cls, asked: Mapping[str, str]) -> Term | None:
        """What an address asks for by it; None for nothing."""
        typed = asked.get(cls.parameter_name, "").strip()
        return Term(cls.qualifier or cls.parameter_name, cls.in_search(typed)) if typed else None

    @classmethod
    def in_search(cls, typed: str) -> str:
        """The value as the search has it."""
        return typed

    @classmethod
    def problem_with(cls, term: Term | None) -> str:
        """What was expected, as a sentence; "" where it can be understood."""
        found = term and problem_of(term.key, term.value)
        return f"In the filter “{cls.title}”: {found}" if found else ""

    @property
    def problem(self) -> str:
        return self.problem_with(self.term_of(self.used_parameters))

    def queryset(self, request, queryset):
        term = self.term_of(self.used_parameters)
        if term is None:
            return queryset
        if self.problem:
            return queryset.none()
        return find_events(queryset, Query((term,)), timezone.get_current_timezone(), asked_at(request))


class DecisionFilter(QualifierFilter):
    title, parameter_name, qualifier = "decision", "effect", "decision"
    DECISIONS = {Effect.ALLOWED: "allowed", Effect.REFUSED: "refused", "noted": "noted", "changed": "changed"}

    def lookups(self, request, model_admin):
        return self.DECISIONS.items()

    @classmethod
    def in_search(cls, typed: str) -> str:
        return cls.DECISIONS.get(typed, typed)


class ReasonFilter(QualifierFilter):
    title, parameter_name = "reason", "reason"

    def lookups(self, request, model_admin):
        return [
            *((str(reason), text) for reason, text in REASON_TEXTS.items()),
            (STAFF_ACTION, "Staff changed access, or did something with the record."),
        ]


class MethodFilter(QualifierFilter):
    title, parameter_name = "method", "method"

    def lookups(self, request, model_admin):
        return [(name, name) for method in METHODS for name in (method.name, *method.aliases)]


class UserFilter(QualifierFilter):
    title, parameter_name, qualifier, hint = "user", "username", "user", "Whole user name, or stud*"


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


class WhileAwayFilter(QualifierFilter):
    """Hooks that were answered while the database was away."""

    title, parameter_name = "database", "while"

    def lookups(self, request, model_admin):
        return [("away", "was away")]


class AppFilter(QualifierFilter):
    title, parameter_name, lookups = "app", "app", connections.AppFilter.lookups


class NodeFilter(QualifierFilter):
    title, parameter_name, lookups = "node", "node", connections.NodeFilter.lookups


class TriedOutFilter(ColumnFilter):
    """Hooks that a rule would have decided otherwise, had it not only been logged. Asked for by links alone."""

    title, parameter_name = "tried out", "tried_out"

    @property
    def problem(self) -> str:
        return self.problem_with(self.used_parameters)

    @classmethod
    def problem_with(cls, asked: Mapping[str, str]) -> str:
        """What was expected, as a sentence; "" where it can be understood."""
        typed = asked.get(cls.parameter_name, "")
        if not typed or (typed.isascii() and typed.isdigit() and len(typed) < 19):
            return ""
        return f"In the filter “{cls.title}”: “{typed}” is not the number of a rule."

    def queryset(self, request, queryset):
        if not self.value():
            return queryset
        if self.problem:
            return queryset.none()
        asked = asked_at(request)
        hits = TriedOut.objects.filter(rule_id=self.value(), received_at__lte=asked).order_by("-received_at")
        return queryset.filter(pk__in=hits.values("event_id")[:HITS_SHOWN])


FILTERS = {kind.parameter_name: kind for kind in QualifierFilter.__subclasses__()}
"""Those that ask for the same as a qualifier, by what addresses call them."""


def as_query(asked: Mapping[str, str], now: datetime) -> Query:
    """What the fields of the form ask for, in the words of a search, and what cannot be understood."""
    terms, problems = [], []
    for name, kind in FILTERS.items():
        if term := kind.term_of(asked):
            if sentence := kind.problem_with(term):
                problems.append(Problem(asked[name].strip(), None, sentence))
            else:
                terms.append(term)
    for other in (PeriodFilter, TriedOutFilter):
        if sentence := other.problem_with(asked):
            problems.append(Problem("", None, sentence))
    if not PeriodFilter.problem_with(asked):
        times = zip(("after", "before"), PeriodFilter.times(asked, now), strict=True)
        terms += [Term(key, written(timezone.localtime(moment))) for key, moment in times if moment is not None]
    return Query(tuple(terms), tuple(problems))


def said_of(asked: Mapping[str, str], now: datetime) -> str:
    """What was understood of the search box and of the fields of the form, in sentences."""
    zone = timezone.get_current_timezone()
    queries = parse(asked.get(SEARCH_VAR, "")), as_query(asked, now)
    found, filtered = (said(query, zone, now) for query in queries)
    tried = asked.get(TriedOutFilter.parameter_name, "")
    only = f"Only what rule {tried} would have decided otherwise." if tried else ""
    if found and filtered:
        filtered = f"Of these: {filtered.removeprefix('Hooks ')}"
    return " ".join(filter(None, (found, filtered, only, *_warnings(queries, zone, now))))


def _warnings(queries: tuple[Query, ...], zone: tzinfo, now: datetime) -> Iterator[str]:
    """Why nothing can be found, or less than was meant, though all of it is understood."""
    begins, ends = zip(*(window(query, zone, now) for query in queries), strict=True)
    since = max((moment for moment in begins if moment), default=None)
    before = min((moment for moment in ends if moment), default=None)
    if since and before and since >= before:
        yield "Nothing can match: the time from which it looks does not come before the time until which it does."
    numbers = [term.text for query in queries for term in query.terms if term.key == "number"]
    if national := next((number for number in numbers if is_national(number)), ""):
        yield (
            f"No country is set here (WCSGATE_COUNTRY_CODE), so “{national}” is not known to be the same as a number "
            "that begins with +: look for that as well."
        )


def is_national(number: str) -> bool:
    """Whether it lacks a country, and none is set that it would be of. Short numbers are the same everywhere."""
    plan = number_plan()
    found = canonical(number, plan)
    return not plan.country and len(found) > SHORT and not found.startswith("+")
