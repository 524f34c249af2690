"""The sidebar: what a member of staff may open, and nothing else. Settings name `sidebar`; so no models here."""

from django.http import HttpRequest
from django.urls import reverse

SECTIONS = {
    "May they?": (
        ("Stream permissions", "videocam", "access.streampermission"),
        ("Call permissions", "call", "access.callpermission"),
        ("Schedules", "schedule", "access.schedule"),
        ("Number classes", "dialpad", "access.numberclass"),
        ("Add from a preset", "playlist_add", "presets"),
        ("Rules to look at", "rule", "rules_to_look_at"),
        ("Try a hook", "quiz", "try_hook"),
        ("Who can?", "groups", "who_can"),
        ("What can they do?", "badge", "what_can"),
    ),
    "What happened": (
        ("Help desk", "support_agent", "story_user"),
        ("Running", "play_circle", "live.lease"),
        ("Audit log", "history", "audit.auditevent"),
        ("Exports", "download", "audit.export"),
        ("Statistics", "monitoring", "statistics"),
        ("Sessions", "sensors", "connections.session"),
        ("Story of a stream", "timeline", "story_stream"),
        ("Legal holds", "gavel", "audit.hold"),
        ("Records not moved", "running_with_errors", "audit.badrecord"),
        ("Missing hooks", "playlist_remove", "missing_hooks"),
    ),
    "Who and what": (
        ("Users", "person", "accounts.user"),
        ("Groups", "group", "auth.group"),
        ("Tokens", "key", "accounts.token"),
        ("API keys", "api", "accounts.apikey"),
        ("Stream links", "link", "streams.streamlink"),
        ("SIP accounts", "settings_phone", "connections.sipaccount"),
        ("Streams", "live_tv", "streams.stream"),
        ("Stream groups", "video_library", "streams.streamgroup"),
    ),
    "WCS": (
        ("Apps", "apps", "connections.app"),
        ("Nodes", "dns", "connections.node"),
        ("Token issuers", "verified_user", "connections.tokenissuer"),
        ("Revocation", "block", "accounts.revocation"),
        ("Import and export", "swap_vert", "access_file"),
    ),
}
"""Title, icon, and model or name of each page."""

RULES = ("access.streampermission", "access.callpermission")
OWN_PAGES = {
    **dict.fromkeys(("try_hook", "who_can", "what_can", "rules_to_look_at"), RULES),
    "story_user": ("accounts.user", "audit.auditevent"),
    "story_session": ("connections.session", "audit.auditevent"),
    "story_stream": ("live.lease", "audit.auditevent"),
    "story_call": ("audit.auditevent",),
    "missing_hooks": ("audit.auditevent",),
    "presets": (),
    "access_file": (),
    "statistics": ("audit.auditevent",),
}
"""Pages that are no list, each open to superusers and to whoever may see one of these models."""

OWN_LISTS = {"audit.export": ("audit.auditevent",), "audit.savedview": ("audit.auditevent",)}
"""Lists without permissions of their own, all pages of which are open to whoever may see one of these models."""


def may(user, verb: str, label: str) -> bool:
    """Whether a user has one of Django's model permissions, for example may(user, "add", "accounts.token")."""
    app, model = label.split(".")
    return user.has_perm(f"{app}.{verb}_{model}")


def may_see(user, label: str) -> bool:
    """Whether the admin shows a user the list and the pages of a model."""
    return may(user, "view", label) or may(user, "change", label)


ADDING = {"presets": RULES}
"""Pages on which something is added, each open to whoever may add to one of these models."""


def may_open(user, page: str) -> bool:
    """Whether a user may open a page of the sidebar."""
    if page in ADDING:
        return any(may(user, "add", label) for label in ADDING[page])
    return user.is_superuser or any(may_see(user, label) for label in (OWN_PAGES | OWN_LISTS).get(page, (page,)))


def sidebar(request: HttpRequest) -> list[dict]:
    """The navigation of unfold, for this request."""
    return [{"title": "", "items": [_item("Overview", "home", "admin:index")]}] + [
        {"title": title, "items": items} for title, pages in SECTIONS.items() if (items := _items(request.user, pages))
    ]


def _items(user, pages: tuple) -> list[dict]:
    return [
        _item(title, icon, page if page in OWN_PAGES else f"admin:{page.replace('.', '_')}_changelist")
        for title, icon, page in pages
        if may_open(user, page)
    ]


def _item(title: str, icon: str, page: str) -> dict:
    return {"title": title, "icon": icon, "link": reverse(page)}
