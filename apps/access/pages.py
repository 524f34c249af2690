"""Try a hook: may they, and why? Nothing is recorded or changed by asking."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters

from apps.access.advice import ADVICE
from apps.access.explain import Explanation, NoSuchUser, Said, explain_now
from apps.access.models import Rule
from apps.access.reasons import SETTLED_BY_RULES
from apps.access.try_form import CIRCUMSTANCES, PLAYER, SHARED, UNNAMED, TryForm, shareable_custom
from apps.accounts.models import User
from apps.accounts.navigation import may_open, may_see
from apps.accounts.pages import (
    HIDDEN_RULE,
    Line,
    Section,
    completion_of,
    link_to_add,
    link_to_list,
    list_of,
    may_read,
    page_of,
)
from apps.connections.models import App
from apps.database.connection import StatementFailed, Unavailable
from apps.protocol.messages import HookCall, read_media
from apps.protocol.screening import screen_text

APPS_OFFERED = 100

TOLD_OTHERS = "It is told to change something. What that is, is shown to those who may see streams."

PLACES = {
    "connections.app": "apps",
    "connections.session": "sessions",
    "connections.tokenissuer": "token issuers",
    "accounts.token": "tokens",
    "accounts.user": "users",
}
"""What the lists are called in which something can be done about a refusal."""

SHOWING_WHOSE = ("accounts.user", "connections.session")
"""Lists that say whose a session is."""

OF_USERS = ("connections.session", "accounts.token", "accounts.user")
"""Those in which a user's rows are found by their name."""


@sensitive_post_parameters("body")
def try_hook(request: HttpRequest) -> HttpResponse:
    """The page. What is typed in becomes an address that can be shared; a pasted body is answered at once, and gone."""
    if not may_open(request.user, "try_hook"):
        raise PermissionDenied
    apps = list(App.objects.order_by("key").values_list("key", flat=True)[:APPS_OFFERED])
    form = _form(request, apps)
    explanation, fault = None, ""
    if form.is_bound and form.is_valid() and _may_ask(request, form):
        if request.method == "POST" and not form.cleaned_data["body"]:
            return redirect(f"{request.path}?{form.query()}")
        explanation, fault = _explain(form)
        if explanation and request.method == "POST":
            form = TryForm(initial={name: form.cleaned_data.get(name) for name in SHARED})  # without the body
    context = {
        **admin.site.each_context(request),
        "title": "Try a hook",
        "form": form,
        "explanation": explanation,
        "sections": list(_answer(request, explanation)) if explanation else (),
        "fault": fault,
        "apps": apps if may_see(request.user, "connections.app") else (),
        "users_url": completion_of(request, "user", "accounts.user"),
        "unnamed": UNNAMED,
        "circumstances": any(form[name].value() or form[name].errors for name in CIRCUMSTANCES),
        "pasted": "body" in form.errors or form["who"].value() == "hook",
    }
    return TemplateResponse(request, "admin/access/try_hook.html", context, status=503 if fault else 200)


def try_url(user: User, call: HookCall, *, username: str, origin: str, reason: str) -> str:
    """The address of the page, filled in from a hook; "" if it cannot be refused, or the viewer may not open it."""
    row = call.method
    if row is None or not row.refusable or not may_open(user, "try_hook"):
        return ""
    name = row.name + (PLAYER if row.name == "StreamKeepAliveEvent" and call.action == "play" else "")
    values = {
        "who": "user" if username else "guest" if reason in SETTLED_BY_RULES else "",
        "user": username,
        "method": name,
        "target": "" if name in UNNAMED else screen_text(call.target),
        "app": call.app_key,
        "address": call.client_address,
        "page": screen_text(origin),
        "media": _shown_media(call),
        "node": call.node_id,
        "custom": shareable_custom(call),
    }
    return f"{reverse('try_hook')}?{urlencode({key: value for key, value in values.items() if value})}"


def _shown_media(call: HookCall) -> str:
    """Its media providers as the form takes them; "" where they cannot be read."""
    try:
        return ", ".join(read_media(call.media_providers))
    except ValueError:
        return ""


def _form(request: HttpRequest, apps: list[str]) -> TryForm:
    only_app = apps[0] if len(apps) == 1 else ""
    if request.method == "POST":
        return TryForm(request.POST)
    shared = {name: request.GET[name] for name in SHARED if name in request.GET}
    return TryForm({"app": only_app, **shared}) if "method" in shared else TryForm(initial={"app": only_app, **shared})


def _may_ask(request: HttpRequest, form: TryForm) -> bool:
    """Whose a session or a token is, is for those who may see that elsewhere. Others are told so at the field."""
    if form.cleaned_data["who"] != "hook" or any(may_see(request.user, label) for label in SHOWING_WHOSE):
        return True
    form.add_error(
        "who", "Who is in a session is told to those who may see users or sessions. Choose a user or a guest."
    )
    return False


def _explain(form: TryForm) -> tuple[Explanation | None, str]:
    """The answer, or what went wrong. Faults of the form are put at their fields."""
    values = form.cleaned_data
    who, user = values["who"], values["user"]
    try:
        return explain_now(
            values["call"],
            now=values["at"] or timezone.now(),
            as_user=user if who == "user" else "",
            as_guest=who == "guest",
        ), ""
    except NoSuchUser as error:
        form.add_error("user", str(error))
        return None, ""
    except (Unavailable, StatementFailed) as error:
        return None, f"This cannot be answered just now: {error}"


def _answer(request: HttpRequest, explanation: Explanation) -> Iterator[Section]:
    if not explanation.allowed:
        yield from what_to_do(request, explanation.reason, username=explanation.user, app_key=explanation.app)
    yield from sections_of(request, explanation)


def sections_of(request: HttpRequest, explanation: Explanation) -> Iterator[Section]:
    """An explanation, part by part, with links to what the viewer may open."""
    groups = {
        "Settled by": explanation.rules,
        "Only logged: in force, but they decide nothing": explanation.only_logged,
        "Nearly: rules that would allow it, but for one thing or two": explanation.near,
    }
    for title, rules in groups.items():
        if rules:
            yield Section(title, tuple(_lines(request, rules)))
    if explanation.near_cut:
        yield Section("Not all was looked at", (Line(explanation.near_cut),))
    user = User.objects.filter(username=explanation.user).first()
    url = page_of(request, "accounts.user", user.pk) if user else ""
    yield Section("Who asks", (Line(explanation.who, url, explanation.found),))
    yield Section("What WCS does with this answer", (Line(explanation.what_wcs_does), *_told(request, explanation)))


def _told(request: HttpRequest, explanation: Explanation) -> Iterator[Line]:
    """What WCS is told to change: with the source of a stream, so for those who may see streams."""
    if explanation.told:
        shown = may_see(request.user, "streams.stream")
        yield Line(f"It is told: {explanation.told}." if shown else TOLD_OTHERS)


def what_to_do(request: HttpRequest, reason: str, *, username: str, app_key: str) -> Iterator[Section]:
    """What to do about a refusal, with the page where it is done; nothing where rules alone settle it."""
    advice = ADVICE.get(reason)
    if advice is None or not advice.label:
        return
    row: App | User | None = None
    links: tuple[Line, ...] = ()
    if advice.label == "connections.app":
        row = App.objects.filter(key=app_key).first()
        links = link_to_add(request, advice.label, "Add the app", key=app_key)
    elif advice.label == "accounts.user":
        row = User.objects.filter(username=username).first()
    if row is not None:
        url = page_of(request, advice.label, row.pk)
        links = (Line(f"To the page of {row}", url),) if url else ()
    search = {"q": username} if username and advice.label in OF_USERS else {}
    links = links or link_to_list(request, advice.label, f"To the {PLACES[advice.label]}", **search)
    yield Section("What to do", (Line(advice.text),), links=links)


def _lines(request: HttpRequest, said: Iterable[Said]) -> Iterator[Line]:
    rules = Rule.objects.in_bulk([rule.id for rule in said])
    for each in said:
        rule = rules.get(each.id)
        if rule and not may_read(request.user, rule):
            yield Line(HIDDEN_RULE)
            continue
        yield Line(each.sentence, page_of(request, list_of(rule), rule.pk) if rule else "", each.missed or each.used)
