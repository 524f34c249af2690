"""Through what: WCS apps and nodes, and the sessions of connected clients. Links and issuers are in modules beside."""

import shlex
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Coalesce, NullIf
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from apps.accounts.pages import (
    ColumnFilter,
    Line,
    LinkFilter,
    ReadOnlyAdmin,
    Section,
    StaffAdmin,
    find_exactly,
    link_to_list,
    page_of,
    person_links,
)
from apps.connections import issuer_admin, link_admin  # noqa: F401 - each registers its pages
from apps.connections.forms import AppForm, NodeForm, SipAccountForm
from apps.connections.models import App, Node, Session, SipAccount


def connect_commands(request: HttpRequest, app: App) -> list[tuple[str, str]]:
    """What to type into the command line of WCS, so that it asks us about an app. No secret is in it."""
    hooks, key = request.build_absolute_uri("/hooks"), shlex.quote(app.key)
    login = f"-u {shlex.quote(app.hook_user)} -p PASSWORD " if app.hook_passwords else ""
    return [
        (
            "If WCS has this app already (“defaultApp” always exists), point it here:",
            f"update app -l {hooks} {login}{key}",
        ),
        ("Otherwise add it:", f"add app {login}{key} {key} {hooks}"),
        ("Then let it send every hook:", f"add app-rest-method -a {key}"),
    ]


def with_node_names(rows: QuerySet) -> QuerySet:
    """Rows with a `node_id`, each with the `node_name` that staff call it by today."""
    names = Node.objects.filter(node_id=OuterRef("node_id")).values("name")
    node = Coalesce(NullIf(Subquery(names), Value("")), F("node_id"), output_field=TextField())
    return rows.annotate(node_name=node)


def story_url(session: Session) -> str:
    """The address of the story of a session."""
    ids = {"node": session.node_id, "session": session.session_id, "at": session.opened_at.isoformat()}
    return f"{reverse('story_session')}?{urlencode(ids)}"


class SecretAdmin(StaffAdmin):
    """Pages with secrets that go in and never come out."""

    def get_fieldsets(self, request, obj=None):
        """Nothing to keep or remove where nothing is set."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj and getattr(obj, self.form.stored_in):
            return fieldsets
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name != "secrets_set"]})
            for title, options in fieldsets
        ]


@admin.register(App)
class AppAdmin(SecretAdmin):
    form = AppForm
    change_form_outer_after_template = "admin/connect_wcs.html"
    list_display = ("key", "hooks_from", "special", "note")
    list_filter = ("guests", "rest_started")
    search_fields = ("key", "note")
    ordering = ("key",)
    fieldsets = (
        (None, {"fields": ("key", "note")}),
        (
            "Clients",
            {"fields": ("guests", "token_name", "rest_started")},
        ),
        (
            "How its hooks are known to be genuine",
            {
                "fields": ("hook_user", "new_secret", "secrets_set", "networks"),
                "description": "Set a user name and password here and in WCS, or name the network WCS is in, or both.",
            },
        ),
    )
    empty_hint = (
        "Add the app whose hooks shall be answered, by its app key. “defaultApp” is what clients use by default."
    )

    @display(description="Hooks accepted with", label={"this computer only": "warning"})
    def hooks_from(self, app: App) -> str:
        parts = ["password"] if app.hook_passwords else []
        return " + ".join(parts + app.networks) or "this computer only"

    @display(description="Special", label=True)
    def special(self, app: App) -> list[str]:
        return ["guests welcome"] * app.guests + ["never refuses"] * app.rest_started

    def notice(self, request, obj):
        if obj.rest_started:
            return "Nothing under this app key is ever refused, because it is marked as started by the REST API."
        if not obj.hook_passwords and not obj.networks:
            return (
                "Hooks of this app are accepted from this computer only: neither a hook password nor a network is set. "
                "If WCS runs elsewhere, set one below, or a signing secret or network for its node."
            )
        return ""

    def render_change_form(self, request, context, add=False, change=False, form_url="", obj=None):
        if obj:
            context["commands"] = connect_commands(request, obj)
            context["with_login"] = bool(obj.hook_passwords)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def response_post_save_add(self, request, obj):
        """On to its page, which says how to point WCS here."""
        return HttpResponseRedirect(reverse("admin:connections_app_change", args=[obj.pk]))

    def sections(self, request, obj):
        yield Section(
            "What happened",
            links=link_to_list(request, "audit.auditevent", "Hooks of this app", app=obj.key)
            + link_to_list(request, "connections.session", "Clients connected now", state="running", app=obj.key),
        )


@admin.register(Node)
class NodeAdmin(SecretAdmin):
    form = NodeForm
    list_display = ("__str__", "node_id", "hooks_signed", "last_seen_at")
    search_fields = ("name", "node_id")
    ordering = ("name", "node_id")
    readonly_fields = ("first_seen_at", "last_seen_at")
    fieldsets = (
        (None, {"fields": ("node_id", "name", "first_seen_at", "last_seen_at")}),
        (
            "How its hooks are known to be genuine",
            {
                "fields": ("new_secret", "secrets_set", "networks"),
                "description": "The signing secret is rest_hook_secret_key in flashphoner.properties of the node, "
                "with rest_hook_send_hash=true.",
            },
        ),
        (
            "How it is told to end something",
            {
                "fields": ("api_url", "api_user", "new_api_password"),
                "description": "Optional. Without it, what is ordered to end ends with its next keep-alive.",
            },
        ),
    )
    empty_hint = "A WCS server appears here by itself with its first hook. Add an app, and point WCS here, to see it."

    @display(description="Signed", label={"signed": "success", "not signed": "default"})
    def hooks_signed(self, node: Node) -> str:
        return "signed" if node.secrets else "not signed"

    def get_readonly_fields(self, request, obj=None):
        return ("node_id", *self.readonly_fields) if obj else self.readonly_fields

    def sections(self, request, obj):
        yield Section(
            "What happened",
            links=link_to_list(request, "audit.auditevent", "Hooks of this node", node=obj.node_id)
            + link_to_list(request, "connections.session", "Clients connected now", state="running", node=obj.node_id),
        )


@admin.register(SipAccount)
class SipAccountAdmin(StaffAdmin):
    form = SipAccountForm
    list_display = ("user", "address", "visible_name", "register", "note")
    list_select_related = ("user",)
    search_fields = ("user__username", "login", "domain", "note")
    search_help_text = "Search by user, login, domain or note"
    ordering = ("user__username",)
    autocomplete_fields = ("user",)
    fieldsets = (
        (None, {"fields": ("user", "login", "authentication_name", "new_password", "domain", "note")}),
        ("Calls", {"fields": ("visible_name", "register", "outbound_proxy", "port")}),
    )
    empty_hint = (
        "A SIP account is given to its user at every connect, instead of whatever the page sends. "
        "Neither the page nor the browser ever has its password."
    )

    @display(description="Address")
    def address(self, account: SipAccount) -> str:
        return str(account)

    def get_readonly_fields(self, request, obj=None):
        return ("user",) if obj else ()

    def sections(self, request, obj):
        yield Section(
            "See also",
            (Line(f"User {obj.user}", page_of(request, "accounts.user", obj.user_id)),),
            links=link_to_list(
                request,
                "connections.session",
                "Is the user connected? Changes count from the next connect on",
                q=obj.user.username,
            ),
        )


class RunningFilter(LinkFilter):
    title = "state"
    parameter_name = "state"

    def conditions(self):
        return {"running": ("Running", Q(ended_at=None)), "ended": ("Ended", Q(ended_at__isnull=False))}


class AppFilter(ColumnFilter):
    title = "app"
    parameter_name = "app"
    column = "app_key"

    def lookups(self, request, model_admin):
        return [(key, key) for key in App.objects.order_by("key").values_list("key", flat=True)[:100]]


class NodeFilter(ColumnFilter):
    title = "node"
    parameter_name = "node"
    column = "node_id"

    def lookups(self, request, model_admin):
        return [(node.node_id, str(node)) for node in Node.objects.order_by("name", "node_id")[:100]]


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    list_display = ("client", "story", "state", "app_key", "short_node", "client_address", "opened_at", "ended_at")
    list_filter = (RunningFilter, AppFilter, NodeFilter)
    search_fields = ("username", "session_id")
    search_help_text = "A whole user name or session id"
    ordering = ("-opened_at",)
    sortable_by = ()
    fields = (
        "client", "state", "user", "entered_by", "token", "granted", "app_key", "node_id", "session_id",
        "client_address", "origin", "opened_at", "ended_at", "end_reason",
    )  # fmt: skip
    empty_hint = "A session is opened when a client connects and is let in. Point WCS here, and let somebody connect."

    @display(description="Story")
    def story(self, session: Session) -> str:
        label = f"Story of the session of {self.client(session)}"
        return format_html('<a href="{}" aria-label="{}">Story</a>', story_url(session), label)

    @display(description="Client")
    def client(self, session: Session) -> str:
        return session.username or "guest"

    @display(description="Node")
    def short_node(self, session: Session) -> str:
        return session.node_name.rpartition("@")[2]

    @display(description="State", label={"running": "success", "ended": "default"})
    def state(self, session: Session) -> str:
        return "ended" if session.ended_at else "running"

    def get_queryset(self, request):
        return with_node_names(super().get_queryset(request))

    def get_search_results(self, request, queryset, search_term):
        return (find_exactly(queryset, search_term, ("username", "session_id")) if search_term else queryset), False

    def stories(self, request, obj):
        yield Line("Its story: what happened in it, and how it ended", story_url(obj))
        yield from person_links(request, obj.username)

    def sections(self, request, obj):
        yield Section(
            "What happened",
            links=link_to_list(
                request, "audit.auditevent", "Hooks of this session", node=obj.node_id, session=obj.session_id
            ),
        )
