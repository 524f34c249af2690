"""What staff see instead of a page that is closed to them, or that there is not: why, who can open it, where to go.

Whoever is not logged in as staff gets Django's bare pages, which say nothing about what is here.
"""

from copy import copy

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views import defaults

from apps.accounts.models import User
from apps.accounts.navigation import ADDING, OWN_LISTS, OWN_PAGES, may, may_see
from apps.protocol.action_words import joined

CHANGING = {"admin:auth_user_password_change": ("accounts.user",)}
"""Pages under other names on which one of these models is changed."""

BESIDES = {
    "admin:accounts_user_add": "“Can change user”",
    "who_can_file": "“Can view user”",
    "missing_hooks": "“Can acknowledge missing hooks”",
    "admin:audit_auditevent_allow": "“Can view stream permission” or “Can view call permission”",
    "admin:audit_auditevent_as_of": "“Can view stream permission” or “Can view call permission”",
}
"""What is needed as well, where one permission is not enough."""

SENT = ("missing_hooks",)
"""Pages where that is so only of what is sent there, not of looking."""

NEVER = ""
"""The verb of what not even superusers may."""

SUPERUSERS = "This page is for superusers."
NOBODY = "Nobody does that here, whatever their role is: not everything can be added, changed or deleted by hand."
MORE = "Your role opens this page, but does not allow what you asked for on it."


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403, with the permission that is missing."""
    if not _is_staff_at_the_admin(request):
        return defaults.permission_denied(request, exception)
    sentence = why_closed(request)
    context = {
        **admin.site.each_context(request),
        "title": "You may not do this",
        "sentence": sentence,
        "asks_superuser": sentence != NOBODY,
    }
    return render(request, "admin/closed.html", context, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404; the same for what was never there and what is there no longer."""
    if not _is_staff_at_the_admin(request):
        return defaults.page_not_found(request, exception)
    context = {
        **admin.site.each_context(request),
        "title": "There is no such page",
        "sentence": "Its address may be mistyped, or what it showed may have been deleted since.",
    }
    return render(request, "admin/closed.html", context, status=404)


def not_understood(request: HttpRequest, sentence: str) -> HttpResponse:
    """400, for the address of a list that asks for what it does not have; with the way to the list without it."""
    context = {
        **admin.site.each_context(request),
        "title": "This address cannot be understood",
        "sentence": sentence,
        "list_url": request.path,
    }
    return render(request, "admin/closed.html", context, status=400)


def why_closed(request: HttpRequest) -> str:
    """Which permission would open the page that was asked for."""
    verb, labels = _needed(request)
    if request.user.is_superuser or verb == NEVER:
        return NOBODY
    allows = may_see if verb == "view" else lambda user, label: may(user, verb, label)
    besides = BESIDES.get(_page(request), "") if _page(request) not in SENT or not _looks(request) else ""
    if any(allows(request.user, label) for label in labels):
        return f"For this your role needs {besides}, too." if besides else MORE
    names = [f"“Can {verb} {_named(label)}”" for label in labels]
    if not names:
        return SUPERUSERS
    one = "the permission" if len(names) == 1 else "one of the permissions"
    return f"For this your role needs {one} {joined(names, 'or')}{besides and f', and {besides}'}."


def _page(request: HttpRequest) -> str:
    return request.resolver_match.view_name if request.resolver_match else ""


def _looks(request: HttpRequest) -> bool:
    return request.method in ("GET", "HEAD")


def _needed(request: HttpRequest) -> tuple[str, tuple[str, ...]]:
    """What has to be allowed with one of these models; no models where no permission is enough."""
    name = _page(request)
    page = name.removesuffix("_file")
    if page in ADDING:
        return "add", ADDING[page]
    if page in OWN_PAGES:
        return "view", OWN_PAGES[page]
    if name in CHANGING:
        return "change", CHANGING[name]
    for model, its in admin.site._registry.items():
        opts = model._meta
        page = name.removeprefix(f"admin:{opts.app_label}_{opts.model_name}_")
        if page != name:
            return _needed_of(request, its, page)
    return "view", ()


def _needed_of(request: HttpRequest, its: admin.ModelAdmin, page: str) -> tuple[str, tuple[str, ...]]:
    """The same of a page of a model. All that neither add, change nor delete show something, whatever is sent there."""
    label = its.model._meta.label_lower
    verb = page if page in ("add", "delete") or (page == "change" and not _looks(request)) else "view"
    everything = copy(request)
    everything.user = User(is_superuser=True)
    if not getattr(its, f"has_{verb}_permission")(everything):
        return NEVER, ()
    return ("view", OWN_LISTS[label]) if label in OWN_LISTS else (verb, (label,))


def _named(label: str) -> str:
    """A model as permissions name it where they are given."""
    models = {model._meta.label_lower: model._meta.verbose_name_raw for model in admin.site._registry}
    return models[label]


def _is_staff_at_the_admin(request: HttpRequest) -> bool:
    return (
        request.path.startswith(reverse("admin:index"))
        and hasattr(request, "user")
        and admin.site.has_permission(request)
    )
