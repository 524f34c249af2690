"""What staff see instead of a page that is closed to them, or that there is not: why, who can open it, where to go.

Whoever is not logged in as staff gets Django's bare pages, which say nothing about what is here.
"""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views import defaults

from apps.accounts.navigation import ADDING, OWN_PAGES, may, may_see
from apps.protocol.action_words import joined

VERBS = {"add": "add", "delete": "delete"}
"""What pages of a model are for; all others show something."""

SUPERUSERS = "This page is for superusers."
NOBODY = "Nobody does that here, whatever their role is: not everything can be added, changed or deleted by hand."
MORE = "Your role opens this page, but does not allow what you asked for on it."


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403, with the permission that is missing."""
    if not _is_staff_at_the_admin(request):
        return defaults.permission_denied(request, exception)
    context = {
        **admin.site.each_context(request),
        "title": "You may not do this",
        "sentence": why_closed(request),
        "asks_superuser": not request.user.is_superuser,
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


def why_closed(request: HttpRequest) -> str:
    """Which permission would open the page that was asked for."""
    if request.user.is_superuser:
        return NOBODY
    verb, labels = _needed(request)
    allows = may_see if verb == "view" else lambda user, label: may(user, verb, label)
    if any(allows(request.user, label) for label in labels):
        return MORE
    names = [f"“Can {verb} {_named(label)}”" for label in labels]
    if not names:
        return SUPERUSERS
    one = "the permission" if len(names) == 1 else "one of the permissions"
    return f"For this your role needs {one} {joined(names, 'or')}."


def _needed(request: HttpRequest) -> tuple[str, tuple[str, ...]]:
    """What has to be allowed with one of these models; no models where no permission is enough."""
    name = request.resolver_match.view_name.removesuffix("_file") if request.resolver_match else ""
    if name in ADDING:
        return "add", ADDING[name]
    if name in OWN_PAGES:
        return "view", OWN_PAGES[name]
    for model in admin.site._registry:
        opts = model._meta
        page = name.removeprefix(f"admin:{opts.app_label}_{opts.model_name}_")
        if page != name:
            shows = "view" if request.method in ("GET", "HEAD") else "change"
            return VERBS.get(page, shows), (opts.label_lower,)
    return "view", ()


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
