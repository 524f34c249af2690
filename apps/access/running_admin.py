"""What runs: who, what, since when, by which rule; and ending it."""

from django.contrib import admin, messages
from django.db.models import Q
from django.utils import timezone
from unfold.decorators import display

from apps.access.models import Rule
from apps.access.sentences import deed
from apps.accounts.pages import (
    Line,
    LinkFilter,
    ReadOnlyAdmin,
    Section,
    StaffChangeList,
    find_exactly,
    link_to_list,
    list_of,
    note_changes,
    page_of,
)
from apps.connections.admin import AppFilter, NodeFilter, with_node_names
from apps.live.cutting import order_end
from apps.live.models import Lease
from apps.protocol.methods import CALL_ACTIONS

SEARCHED = ("username", "target", "session_id", "key")


WHEN_IT_ENDS = (
    "Its hooks are refused from now on: streams end with their next keep-alive. "
    "Where the node's REST API has an address, WCS is told to end it at once."
)


class RunningList(StaffChangeList):
    """The list, with the sentences of all its rules out of one query."""

    def get_results(self, request):
        super().get_results(request)
        self.result_list = list(self.result_list)
        rules = Rule.objects.with_names().in_bulk({id_ for lease in self.result_list for id_ in lease.rule_ids})
        for lease in self.result_list:
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
    list_display = ("who", "what", "since", "by_rule", "state", "short_node", "client_address")
    list_filter = (WhatFilter, AppFilter, NodeFilter)
    list_select_related = ("cut",)
    search_fields = SEARCHED
    search_help_text = "A whole user name, stream, number, session or call id"
    ordering = ("-opened_at", "-id")
    sortable_by = ()
    actions = ("end_it",)
    fields = (
        "who", "what", "state", "since", "started_at", "app_key", "node_id", "session_id", "key", "client_address",
    )  # fmt: skip
    empty_hint = (
        "Here is who is connected, publishes, plays or calls at this moment. Nothing runs: point WCS here, and let "
        "somebody connect. What has ended is in the audit log."
    )

    @display(description="Who")
    def who(self, lease: Lease) -> str:
        return lease.username or "guest"

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
        leases = list(queryset)
        number = order_end(leases, by=request.user.get_username(), now=timezone.now())
        note_changes(request, leases, "Ordered to end.")
        messages.success(request, f"Ordered to end: {number}. {WHEN_IT_ENDS}")

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
