"""What runs: who, what, since when, by which rule; and ending it."""

from django.contrib import admin, messages
from django.db.models import Q
from django.http import HttpRequest
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.decorators import display

from apps.access.models import Rule
from apps.access.sentences import deed
from apps.accounts.navigation import may_open
from apps.accounts.pages import (
    LINES_SHOWN,
    Line,
    LinkFilter,
    ReadOnlyAdmin,
    Section,
    StaffChangeList,
    find_exactly,
    link_to_list,
    link_to_page,
    list_of,
    note_changes,
    page_of,
    person_links,
    person_url,
)
from apps.connections.admin import AppFilter, NodeFilter, with_node_names
from apps.live.cutting import order_end
from apps.live.models import Lease
from apps.protocol.methods import CALL_ACTIONS, STREAM_ACTIONS

SEARCHED = ("username", "target", "session_id", "key")


WHEN_IT_ENDS = (
    "Its hooks are refused from now on: streams end with their next keep-alive. "
    "Where the node's REST API has an address, WCS is told to end it at once."
)


def _page_to_go_back_to(request: HttpRequest) -> str:
    """Where whoever orders an end came from, if that is one of our pages; else ""."""
    url = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return url if ours else ""


class RunningList(StaffChangeList):
    """The list, with the sentences of all its rules out of one query."""

    def get_results(self, request):
        super().get_results(request)
        self.result_list = list(self.result_list)
        rules = Rule.objects.with_names().in_bulk({id_ for lease in self.result_list for id_ in lease.rule_ids})
        shows_people = may_open(request.user, "story_user")
        for lease in self.result_list:
            lease.card_url = person_url(lease.username) if shows_people and lease.username else ""
            lease.sentences = [str(rules.get(id_, f"rule {id_}, removed meanwhile")) for id_ in lease.rule_ids]


class WhatFilter(LinkFilter):
    title = "what"
    parameter_name = "what"

    def conditions(self):
        return {
            "session": ("Connected clients", Q(action="connect")),
            "publish": ("Publishing", Q(action="publish")),
            "play": ("Playing", Q(action="play")),
            "call": ("Calls", Q(action__in=CALL_ACTIONS)),
        }


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    list_display = ("what", "person", "since", "by_rule", "state", "short_node", "client_address")
    list_filter = (WhatFilter, AppFilter, NodeFilter)
    list_select_related = ("cut",)
    search_fields = SEARCHED
    search_help_text = "A whole user name, stream, number, session or call id"
    ordering = ("-opened_at", "-id")
    sortable_by = ()
    actions = ("end_it",)
    fields = (
        "person", "what", "state", "since", "started_at", "app_key", "node_id", "session_id", "key", "client_address",
    )  # fmt: skip
    empty_hint = (
        "Here is who is connected, publishes, plays or calls at this moment. Nothing runs: point WCS here, and let "
        "somebody connect. What has ended is in the audit log."
    )

    @display(description="Who")
    def person(self, lease: Lease) -> str:
        name, url = lease.username or "guest", getattr(lease, "card_url", "")
        return format_html('<a href="{}" aria-label="Help desk: {}">{}</a>', url, name, name) if url else name

    @display(description="What")
    def what(self, lease: Lease) -> str:
        return "connected" if lease.action == "connect" else deed(lease.action, lease.target)

    @display(description="Since")
    def since(self, lease: Lease) -> str:
        return f"{timezone.localtime(lease.opened_at):%Y-%m-%d %H:%M:%S}"

    @display(description="By rule")
    def by_rule(self, lease: Lease) -> str:
        return "; ".join(lease.sentences) or "no rule"

    @display(description="State", label={"running": "success", "allowed": "info", "being ended": "warning"})
    def state(self, lease: Lease) -> str:
        if hasattr(lease, "cut"):
            return "being ended"
        return "running" if lease.started_at or lease.action == "connect" else "allowed"

    @display(description="Node")
    def short_node(self, lease: Lease) -> str:
        return lease.node_name.rpartition("@")[2]

    @admin.action(description="End it", permissions=["end"])
    def end_it(self, request, queryset):
        """Asks first: what is ordered to end cannot be taken back."""
        leases = list(queryset)
        next_url = _page_to_go_back_to(request)
        if request.POST.get("confirmed") != "yes":
            return self._asked_first(request, leases, next_url)
        number = order_end(leases, by=request.user.get_username(), now=timezone.now())
        note_changes(request, leases, "Ordered to end.")
        messages.success(request, f"Ordered to end: {number}. {WHEN_IT_ENDS}")
        return redirect(next_url) if next_url else None

    def _asked_first(self, request, leases, next_url):
        lines = [
            Line(f"{lease.username or 'A guest'}: {self.what(lease)}", "", f"Since {self.since(lease)}.")
            for lease in leases[:LINES_SHOWN]
        ]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "End it?",
            "number": len(leases),
            "leases": leases,
            "sections": [Section("What would end", tuple(lines))],
            "more": len(leases) - len(lines),
            "when": WHEN_IT_ENDS,
            "has_sessions": any(lease.action == "connect" for lease in leases),
            "next": next_url,
        }
        return TemplateResponse(request, "admin/access/end_it.html", context)

    def has_end_permission(self, request) -> bool:
        """Ending what runs has a permission of its own: whoever may look need not."""
        return request.user.has_perm("live.end_lease")

    def get_changelist(self, request, **kwargs):
        return RunningList

    def get_queryset(self, request):
        """What runs; what has ended is history, and in the audit log."""
        return with_node_names(super().get_queryset(request).running())

    def get_search_results(self, request, queryset, search_term):
        return (find_exactly(queryset, search_term, SEARCHED) if search_term else queryset), False

    def stories(self, request, obj):
        at, ids = obj.opened_at.isoformat(), {"node": obj.node_id, "session": obj.session_id}
        if obj.session_id:
            yield from link_to_page(request, "story_session", "Story of the session", **ids, at=at)
        if obj.action in CALL_ACTIONS and obj.key:
            yield from link_to_page(request, "story_call", "Story of the call", node=obj.node_id, call=obj.key, at=at)
        if obj.action in STREAM_ACTIONS:
            yield from link_to_page(request, "story_stream", f"Story of stream “{obj.target}”", name=obj.target)
        yield from person_links(request, obj.username)

    def sections(self, request, obj):
        rules = Rule.objects.filter(pk__in=obj.rule_ids).with_names().order_by("pk")
        yield Section(
            "Rules that let it in",
            tuple(Line(str(rule), page_of(request, list_of(rule), rule.pk)) for rule in rules),
            "No rule did, or they were removed.",
        )
        yield Section(
            "What happened",
            links=link_to_list(
                request, "audit.auditevent", "Hooks of this session", node=obj.node_id, session=obj.session_id
            ),
        )
