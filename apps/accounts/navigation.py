"""The sidebar: what a member of staff may open, and nothing else. Settings name `sidebar`; so no models here."""

from django.http import HttpRequest
from django.urls import reverse

SECTIONS = {
    "May they?": (
        ("Stream permissions", "videocam", "access.streampermission"),
        ("Call permissions", "call", "access.callpermission"),
    ),
    "What happened": (
        ("Audit log", "history", "audit.auditevent"),
        ("Sessions", "sensors", "connections.session"),
    ),
    "Who and what": (
        ("Users", "person", "accounts.user"),
        ("Groups", "group", "auth.group"),
        ("Tokens", "key", "accounts.token"),
        ("Streams", "live_tv", "streams.stream"),
    ),
    "WCS": (
        ("Apps", "apps", "connections.app"),
        ("Nodes", "dns", "connections.node"),
    ),
}
"""Title, icon and model of each page."""


def may(user, verb: str, label: str) -> bool:
    """Whether a user has one of Django's model permissions, for example may(user, "add", "accounts.token")."""
    app, model = label.split(".")
    return user.has_perm(f"{app}.{verb}_{model}")


def may_see(user, label: str) -> bool:
    """Whether the admin shows a user the list and the pages of a model."""
    return may(user, "view", label) or may(user, "change", label)


def sidebar(request: HttpRequest) -> list[dict]:
    """The navigation of unfold, for this request."""
    return [{"title": "", "items": [_item("Overview", "home", "admin:index")]}] + [
        {"title": title, "items": items} for title, pages in SECTIONS.items() if (items := _items(request.user, pages))
    ]


def _items(user, pages: tuple) -> list[dict]:
    return [
        _item(title, icon, f"admin:{label.replace('.', '_')}_changelist")
        for title, icon, label in pages
        if may_see(user, label)
    ]


def _item(title: str, icon: str, page: str) -> dict:
    return {"title": title, "icon": icon, "link": reverse(page)}
