"""What all pages of the staff's admin have in common."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import time
from functools import cached_property
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.forms import SimpleArrayField
from django.db.models import DateTimeField, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst
from unfold import paginator
from unfold.admin import ModelAdmin
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from apps.accounts.closed_pages import not_understood
from apps.accounts.navigation import may, may_open, may_see
from apps.database.moments import moment_of
from apps.protocol.action_words import joined

LINES_SHOWN = 20  # of everything that a page lists beside its form
HITS_SHOWN = 1_000  # of a search, in each column
COUNTED = 1_000  # rows of a list; whether there are more is all that is asked
LONGEST_SEARCH = 200  # characters; Django reads quoted words in time that grows with their square
MOST_WORDS = 20  # of a search; each is looked for by itself in every column


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a section: a text, the page behind it (if the viewer may open it) and a remark."""

    text: str
    url: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """What belongs to a row but is kept elsewhere, shown below its form: tokens and rules of a user, for example."""

    title: str
    lines: tuple[Line, ...] = ()
    empty: str = ""
    links: tuple[Line, ...] = ()


class CommaList(SimpleArrayField):
    """A list typed with commas or line ends between; a comma too many does no harm."""

    default_error_messages = {"item_invalid": "Entry %(nth)s:"}

    def to_python(self, value):
        if isinstance(value, str):
            value = [item.strip() for item in re.split(r"[,\n]", value) if item.strip()]
        return super().to_python(value)

    def prepare_value(self, value):
        return ", ".join(map(str, value)) if isinstance(value, list) else value


class DateAndTime(forms.SplitDateTimeField):
    """A date alone means its beginning."""

    def prepare_value(self, value):
        """An address may give what a new form begins with, as text."""
        return moment_of(value) if isinstance(value, str) else value

    def compress(self, data_list):
        date, moment = data_list or (None, None)
        return super().compress([date, moment or time.min] if date else data_list)


class Checkboxes(forms.MultipleChoiceField):
    """A list of known words, each a box to tick."""

    widget = UnfoldAdminCheckboxSelectMultipleWidget


class InfinitePaginator(paginator.InfinitePaginator):
    """Pages of a table too long to be counted: as many as anyone turns. unfold's templates look for this name."""

    count = 10_000


class Many(int):
    """More rows than are counted: a number that pages can be made of, and that reads as what is known."""

    def __str__(self) -> str:
        return f"more than {COUNTED}"


class BoundedPaginator(paginator.InfinitePaginator):
    """Pages of a table that is counted only so far: numbered ones, or as many as anyone turns."""

    @cached_property
    def count(self) -> int:
        counted = self.object_list.order_by()[: COUNTED + 1].count()
        return counted if counted <= COUNTED else Many(1_000_000)

    @property
    def template_name(self) -> str:
        many = isinstance(self.count, Many)
        return "admin/pages_of_many.html" if many else "unfold/helpers/pagination_default.html"


class UnknownFilter(Exception):
    """An address asks for a filter that the list does not have. The message says which, and which there are."""


class StaffChangeList(ChangeList):
    """A list as it was asked for in the address."""

    def get_filters(self, request):
        """Postgres knows no NUL, so nothing has one. The search box refuses it by itself."""
        if any("\0" in value for values in self.get_filters_params().values() for value in values):
            raise IncorrectLookupParameters("No value has a NUL in it.")
        try:
            return super().get_filters(request)
        except DisallowedModelAdminLookup:
            raise UnknownFilter(self._unknown(request)) from None

    def _unknown(self, request) -> str:
        """Which filter an address asks for that there is not, and those that there are."""
        asked = self.get_filters_params()
        unknown = [name for name in asked if not self.model_admin.lookup_allowed(name, "", request)]
        known = [name for accepted in self.list_filter for name in parameters_of(accepted)]
        there_are = f"There are {joined(sorted(known), 'and')}." if known else "It has no filters."
        return f"The address asks for the filter “{unknown[0]}”, which this list does not have. {there_are}"

    def get_results(self, request):
        """Without a second count: unfold shows the way back to all rows where the numbers differ."""
        super().get_results(request)
        self.show_admin_actions = bool(self.result_count)
        if not (self.query or self.has_active_filters):
            self.full_result_count = self.result_count


class StaffAdmin(ModelAdmin):
    """Our defaults. `empty_hint` is what an empty list says: what the rows are for, and what to do next; `nothing_hint`
    is what to do where nothing is found.
    """

    change_form_after_template = "admin/sections.html"
    change_form_before_template = "admin/notice.html"
    empty_hint = nothing_hint = ""
    formfield_overrides = {
        ArrayField: {"form_class": CommaList, "widget": UnfoldAdminTextInputWidget},
        DateTimeField: {"form_class": DateAndTime},
    }
    list_filter_sheet = False
    list_per_page = 50
    paginator = BoundedPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    def get_changelist(self, request, **kwargs):
        return StaffChangeList

    def lookup_allowed(self, lookup, value, request):
        """The filters are all there is: other conditions could read hashes bit by bit, or a whole long table."""
        return any(lookup in parameters_of(accepted) for accepted in self.get_list_filter(request))

    def get_search_results(self, request, queryset, search_term):
        """Also what completes names in forms, where nobody has looked at the term before. Nothing fits what is longer
        than any search is; a list says so.
        """
        if len(search_term) > LONGEST_SEARCH or len(search_term.split()) > MOST_WORDS:
            if SEARCH_VAR in request.GET:
                messages.error(request, f"Search for at most {LONGEST_SEARCH} characters and {MOST_WORDS} words.")
            return queryset.none(), False
        return super().get_search_results(request, queryset.none() if "\0" in search_term else queryset, search_term)

    def formfield_for_dbfield(self, db_field, request, **kwargs):
        """Entries of a list are checked by the form: what the model says of them would lose its sentence on the way."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(field, CommaList):
            field.base_field.validators.extend(db_field.base_field.validators)
        return field

    def sections(self, request: HttpRequest, obj) -> Iterable[Section]:
        """What to show below the form of a row."""
        return ()

    def notice(self, request: HttpRequest, obj) -> str:
        """A warning to show above the form of a row."""
        return ""

    def stories(self, request: HttpRequest, obj) -> Iterable[Line]:
        """Links to show above the form of a row: to what is mostly looked for when somebody opens it."""
        return ()

    def changelist_view(self, request, extra_context=None):
        """The tab of the browser says what is listed, and not what to do with it."""
        title = capfirst(self.opts.verbose_name_plural)
        try:
            return super().changelist_view(request, {"title": title, **(extra_context or {})})
        except UnknownFilter as error:
            return not_understood(request, str(error))

    def render_change_form(self, request, context, add=False, change=False, form_url="", obj=None):
        context["asks_why"] = add or self.has_change_permission(request, obj)
        if obj:
            context["stories"] = tuple(self.stories(request, obj))
            context["sections"] = self.sections(request, obj)
            context["notice"] = self.notice(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)


class LinkFilter(admin.SimpleListFilter):
    """A list filter of few choices. `conditions` gives for each value its label and what it asks for."""

    def lookups(self, request, model_admin):
        return [(value, label) for value, (label, _) in self.conditions().items()]

    def queryset(self, request, queryset):
        chosen = self.conditions().get(self.value())
        return queryset.filter(chosen[1]) if chosen else queryset

    def conditions(self) -> dict[str, tuple[str, Q]]:
        raise NotImplementedError


class ColumnFilter(admin.SimpleListFilter):
    """A list filter by one column. Its choices come from elsewhere: the filtered table may be too long to ask."""

    column = ""

    def lookups(self, request, model_admin):
        return ()

    def has_output(self) -> bool:
        return bool(self.lookup_choices or self.value())

    def queryset(self, request, queryset):
        return queryset.filter(**{self.column: self.value().strip()}) if self.value() else queryset


class ReadOnlyAdmin(StaffAdmin):
    """Pages to look at: nothing is added, changed or deleted."""

    actions = None
    paginator = InfinitePaginator

    def render_change_form(self, request, context, add=False, change=False, form_url="", obj=None):
        """Without the way to a history that is always empty."""
        context["show_history"] = False
        return super().render_change_form(request, context, add, change, form_url, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj=None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj=None) -> bool:
        return False


def note_changes(request: HttpRequest, rows, message: str) -> None:
    """Write an action on many rows into their history."""
    if rows:
        LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, message)


def find_exactly(rows, term: str, columns: tuple[str, ...]):
    """The newest rows that have this very term in one of the columns.

    Each column is asked by itself, through its index: conditions joined by OR, or a LIKE, would read the whole table.
    """
    first, *others = (rows.filter(**{column: term.strip()}).values("pk")[:HITS_SHOWN] for column in columns)
    return rows.filter(pk__in=first.union(*others, all=True))


def page_of(request: HttpRequest, label: str, pk) -> str:
    """The address of a row's page; empty if the viewer may not open it."""
    return reverse(f"admin:{_slug(label)}_change", args=[pk]) if may_see(request.user, label) else ""


def link_to_list(request: HttpRequest, label: str, text: str, **query: str) -> tuple[Line, ...]:
    """A link to a filtered list; nothing if the viewer may not open it."""
    if not may_see(request.user, label):
        return ()
    return (Line(text, f"{reverse(f'admin:{_slug(label)}_changelist')}?{urlencode(query)}"),)


def link_to_add(request: HttpRequest, label: str, text: str, **initial) -> tuple[Line, ...]:
    """A link to a form with some fields filled in; nothing if the viewer may not add."""
    if not may(request.user, "add", label):
        return ()
    return (Line(text, f"{reverse(f'admin:{_slug(label)}_add')}?{urlencode(initial)}"),)


def link_to_page(request: HttpRequest, page: str, text: str, **query) -> tuple[Line, ...]:
    """A link to a page that is no list; nothing if the viewer may not open it."""
    return (Line(text, f"{reverse(page)}?{urlencode(query)}"),) if may_open(request.user, page) else ()


def person_url(username: str) -> str:
    """The address of somebody's help-desk card."""
    return f"{reverse('story_user')}?{urlencode({'name': username})}"


def person_links(request: HttpRequest, username: str) -> tuple[Line, ...]:
    """The help-desk card of whoever has this name; nothing for a guest."""
    return link_to_page(request, "story_user", f"Help desk: {username}", name=username) if username else ()


def completion_of(request: HttpRequest, field: str, label: str) -> str:
    """Where the admin's own completion finds what a rule may name; "" if the viewer may not see that."""
    if not may_see(request.user, label):
        return ""
    query = {"app_label": "access", "model_name": "rule", "field_name": field}
    return f"{reverse('admin:autocomplete')}?{urlencode(query)}"


def rules_section(request: HttpRequest, title: str, rules, **initial) -> Section:
    """The rules about a user, a group or a stream, as sentences. `initial` fills in the form for a new one."""
    rules = rules.with_names().order_by("-pk")[:LINES_SHOWN]
    return Section(
        title,
        tuple(Line(str(rule), page_of(request, list_of(rule), rule.pk)) for rule in rules),
        "None. Rules for everyone or for a group may still apply.",
        link_to_add(request, "access.streampermission", "Add a stream permission", **initial)
        + link_to_add(request, "access.callpermission", "Add a call permission", **initial),
    )


def list_of(rule) -> str:
    """The list in which staff look for a rule."""
    streams = {"publish", "play"} & set(rule.actions)
    return "access.streampermission" if streams else "access.callpermission"


HIDDEN_RULE = "A rule of a list that you may not see."


def may_read(user, rule) -> bool:
    """Whether a rule is in a list that the user may see; what decided is in the audit log, too."""
    streams = {"publish", "play"} & set(rule.actions)
    lists = ["access.streampermission"] * bool(streams) + ["access.callpermission"] * (streams != set(rule.actions))
    return any(may_see(user, label) for label in (*lists, "audit.auditevent"))


def parameters_of(accepted) -> tuple[str, ...]:
    """What an entry of `list_filter` reads of an address."""
    if isinstance(accepted, str):
        return (f"{accepted}__exact", f"{accepted}__id__exact", f"{accepted}__isnull")
    return getattr(accepted, "parameters", None) or (accepted.parameter_name,)


def _slug(label: str) -> str:
    return label.replace(".", "_")
