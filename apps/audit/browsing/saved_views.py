"""Saved views of the audit log: a search under a name, for oneself or for all who may see the log.

A view is nothing but the address of a list, so whoever is sent that address needs no view. Whoever may see the log may
save views of it; only who saved one, or a superuser, changes or deletes it.
"""

from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ERROR_FLAG, PAGE_VAR, SEARCH_VAR
from django.core.exceptions import ValidationError
from django.db.models import Case, When
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape, format_html
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from apps.accounts.navigation import may_see
from apps.accounts.pages import StaffAdmin, parameters_of
from apps.audit.browsing.filters import PeriodFilter, as_query, said_of
from apps.audit.browsing.query import parse
from apps.audit.models import AuditEvent, SavedView
from apps.protocol.action_words import joined

LOG = "audit.auditevent"
SHOWN = 30
"""Views that are offered above the list."""

PASSING = (PAGE_VAR, ERROR_FLAG)
"""What an address has that is no part of a search."""


def search_in(text: str, known: Collection[str]) -> str:
    """A search as it stands in an address, in its one form. Raises ValidationError, which says what is wrong."""
    pairs = [pair for pair in parse_qsl(text.strip().removeprefix("?")) if pair[0] not in PASSING]
    if "\0" in text or any("\0" in value for _, value in pairs):
        raise ValidationError("No value has a NUL in it.")
    if strange := sorted({name for name, _ in pairs} - {*known}):
        names = joined([f"“{name}”" for name in strange], "and")
        raise ValidationError(f"The audit log knows no {names}. Known are {joined(sorted(known), 'and')}.")
    if problems := parse(dict(pairs).get(SEARCH_VAR, "")).problems + as_query(dict(pairs), timezone.now()).problems:
        raise ValidationError(problems[0].sentence)
    if not pairs:
        raise ValidationError("Search or filter for something first: this would show the whole log.")
    return urlencode(sorted(pairs))


def known_parameters() -> set[str]:
    """What the list of the audit log can be searched and filtered by."""
    filters = admin.site.get_model_admin(AuditEvent).list_filter
    return {SEARCH_VAR, *(name for accepted in filters for name in parameters_of(accepted))}


def views_for(request: HttpRequest) -> dict[str, Any]:
    """What is said of views above the list: those to choose from, own ones first, and how to save what is shown."""
    try:
        search = search_in(request.GET.urlencode(), known_parameters())
    except ValidationError:
        search = ""
    own_first = Case(When(owner=request.user, then=0), default=1)
    views = SavedView.objects.visible_to(request.user).select_related("owner").order_by(own_first, "name", "pk")
    shown = [
        {
            "name": view.name,
            "url": _address_of(view),
            "by": "" if view.owner_id == request.user.pk else str(view.owner or "somebody who is gone"),
            "current": view.search == search,
        }
        for view in views[:SHOWN]
    ]
    return {
        "views": shown,
        "save_url": f"{reverse('admin:audit_savedview_add')}?{urlencode({'search': search})}" if search else "",
    }


def _address_of(view: SavedView) -> str:
    return f"{reverse('admin:audit_auditevent_changelist')}?{view.search}"


class SavedViewForm(forms.ModelForm):
    """A name for a search; the search is checked as the list would check it."""

    class Meta:
        model = SavedView
        fields = ("name", "search", "shared")
        widgets = {"search": UnfoldAdminTextInputWidget}

    def clean_search(self) -> str:
        return search_in(self.cleaned_data["search"], known_parameters())


@admin.register(SavedView)
class SavedViewAdmin(StaffAdmin):
    form = SavedViewForm
    actions = None
    list_display = ("name", "finds", "by", "shared_shown")
    list_select_related = ("owner",)
    ordering = ("name", "pk")
    search_fields = ("name",)
    empty_hint = "Search or filter the audit log, then choose “Save this view” above its list."

    def has_module_permission(self, request) -> bool:
        return may_see(request.user, LOG)

    def has_view_permission(self, request, obj=None) -> bool:
        return may_see(request.user, LOG)

    def has_add_permission(self, request) -> bool:
        return may_see(request.user, LOG)

    def has_change_permission(self, request, obj=None) -> bool:
        own = obj is None or request.user.is_superuser or obj.owner_id == request.user.pk
        return own and may_see(request.user, LOG)

    def has_delete_permission(self, request, obj=None) -> bool:
        return self.has_change_permission(request, obj)

    def get_queryset(self, request):
        """Own and shared ones; superusers see all, to tidy up."""
        views = super().get_queryset(request)
        return views if request.user.is_superuser else views.visible_to(request.user)

    def get_fieldsets(self, request, obj=None):
        """What it finds is said in words. How that is written in the address is folded away, where it is known."""
        search = obj.search if obj else request.GET.get("search", "")
        if not search:
            return ((None, {"fields": ("name", "search", "shared")}),)
        return (
            (None, {"fields": ("name", "shared"), "description": escape(in_words(search))}),
            ("As it is written in the address", {"fields": ("search",), "classes": ("collapse",)}),
        )

    def render_change_form(self, request, context, *args, **kwargs):
        """Whoever saves a view goes back to the list that it shows."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    def get_list_display_links(self, request, list_display):
        return ("name",)

    @display(description="Finds")
    def finds(self, view: SavedView) -> str:
        return format_html('<a href="{}">{}</a>', _address_of(view), in_words(view.search))

    @display(description="Saved by")
    def by(self, view: SavedView) -> str:
        return str(view.owner or "")

    @display(description="For", label={"all": "success", "oneself": "default"})
    def shared_shown(self, view: SavedView) -> str:
        return "all" if view.shared else "oneself"

    def save_model(self, request, obj, form, change):
        if not change:
            obj.owner = request.user
        super().save_model(request, obj, form, change)

    def response_post_save_add(self, request, obj):
        """Back to what was saved."""
        return HttpResponseRedirect(_address_of(obj))

    response_post_save_change = response_post_save_add


def in_words(search: str) -> str:
    """What a search in an address finds, or why it finds nothing. The last so many days are those before whenever it is
    opened."""
    asked = dict(parse_qsl(search.removeprefix("?")))
    if problems := parse(asked.get(SEARCH_VAR, "")).problems:
        return f"Nothing. {problems[0].sentence}"
    words, _ = PeriodFilter.LAST.get(asked.pop("last", ""), ("", 0))
    found = said_of(asked, timezone.now()) or "; ".join(f"{name}: {value}" for name, value in asked.items())
    return " ".join(filter(None, (found, words and f"In the {words}.")))
