"""May they? Rules in the two lists that staff think in; each rule prints as the sentence it is."""

from dataclasses import replace
from datetime import timedelta

from django.contrib import admin, messages
from django.db.models import Q
from django.forms import ModelChoiceField
from django.utils import timezone
from unfold.decorators import display

from apps.access import running_admin  # noqa: F401 - registers what runs
from apps.access.care import CareAdmin
from apps.access.forms import CallPermissionForm, StreamPermissionForm
from apps.access.models import (
    CAPS,
    CIRCUMSTANCES,
    LIMITS,
    NAMED_BY_RULES,
    CallPermission,
    NumberClass,
    Rule,
    Schedule,
    StreamPermission,
)
from apps.access.protection import warning_of
from apps.access.rule_rows import number_plan
from apps.accounts.navigation import may_see
from apps.accounts.pages import LinkFilter, StaffAdmin, link_to_add, rules_section
from apps.protocol.numbers import NumberClasses, NumberClassRow, canonical

NAMED = "['exact', 'prefix', 'glob', 'number-prefix'].includes(target_kind)"


def _label(field: ModelChoiceField) -> str:
    return field.queryset.model._meta.label_lower


def in_period() -> Q:
    now = timezone.now()
    return (Q(starts_at=None) | Q(starts_at__lte=now)) & (Q(ends_at=None) | Q(ends_at__gt=now))


class StateFilter(LinkFilter):
    title = "state"
    parameter_name = "state"

    def conditions(self):
        now = timezone.now()
        return {
            "in-force": ("In force now", in_period() & Q(enforced=True)),
            "logged": ("Only logged", in_period() & Q(enforced=False)),
            "ending": ("Ending within a week", in_period() & Q(ends_at__lte=now + timedelta(days=7))),
            "not-yet": ("Not yet", Q(starts_at__gt=now)),
            "expired": ("Expired", Q(ends_at__lte=now)),
        }


class RuleAdmin(CareAdmin):
    list_display = ("rule", "effect_label", "state", "tried", "note")
    list_filter = (StateFilter, "effect", "who", "enforced")
    list_select_related = NAMED_BY_RULES
    search_fields = ("user__username", "group__name", "target", "stream__name", "note")
    search_help_text = "Search by user, group, stream, number or note"
    ordering = ("-pk",)
    sortable_by = ()
    autocomplete_fields = ("user", "group", "stream", "stream_group", "number_class", "schedule")
    radio_fields = {"effect": admin.HORIZONTAL}
    actions = ("enforce", "only_log", "end_now", "duplicate")
    fieldsets = (
        (
            "The rule",
            {
                "fields": (
                    "effect",
                    "who",
                    "user",
                    "group",
                    "actions",
                    "target_kind",
                    "target",
                    "stream",
                    "stream_group",
                    "number_class",
                ),
                "description": "Read it as a sentence: allow or deny, who, to do what, on what. "
                "What no rule allows is refused, and a deny beats every allow.",
            },
        ),
        (
            "When",
            {
                "classes": ("collapse",),
                "fields": ("starts_at", "ends_at", "schedule"),
                "description": "Leave all empty for a rule that holds from now on, at all hours and without end.",
            },
        ),
        (
            "Under which circumstances",
            {
                "classes": ("collapse",),
                "fields": CIRCUMSTANCES,
                "description": "All that are given must hold; empty ones ask for nothing.",
            },
        ),
        (
            "How much",
            {
                "classes": ("collapse", "wcsgate-allow"),
                "fields": ("limit_per", *LIMITS, "overflow"),
                "description": "What comes on top of it is refused, unless another rule allows it.",
            },
        ),
        (
            "What is changed",
            {
                "classes": ("collapse", "wcsgate-allow"),
                "fields": ("callee", "record", *CAPS),
                "description": "Where several rules allow the same, the lowest caps count, and “never” beats “always”.",
            },
        ),
        (
            "For whoever reads it next",
            {
                "fields": ("enforced", "note"),
                "description": "Not sure yet? Switch “enforced” off: the audit log then shows what the rule would do.",
            },
        ),
    )
    conditional_fields = {
        "user": "who == 'user'",
        "group": "who == 'group'",
        "target": NAMED,
        "stream": "target_kind == 'stream'",
        "stream_group": "target_kind == 'stream-group'",
        "number_class": "target_kind == 'number-class'",
        **dict.fromkeys(LIMITS, "limit_per != ''"),
        "overflow": "limit_per != '' && at_once",
        "callee": "actions.includes('call')",
    }

    def get_form(self, request, obj=None, change=False, **kwargs):
        """Whom and what the viewer may not see cannot be chosen by its number, which would name it; what is chosen
        already stays. "Allow this" leads here from the audit log, which has names as well.
        """
        form = super().get_form(request, obj, change, **kwargs)
        for name in self.autocomplete_fields:
            field = form.base_fields.get(name)
            if field and not any(may_see(request.user, label) for label in (_label(field), "audit.auditevent")):
                field.queryset = field.queryset.filter(pk=getattr(obj, f"{name}_id", None))
        return form

    def save_model(self, request, obj, form, change):
        """Save it, and say where it can refuse nothing."""
        super().save_model(request, obj, form, change)
        if warning := warning_of(obj, NumberClass.objects.all()):
            messages.warning(request, warning)

    def get_fieldsets(self, request, obj=None):
        """Only what the actions of this list have a use for; what is not used by the rule is folded away."""
        unused, asked, kept = self.form.unused(obj), set(request.GET), []
        for title, options in self.fieldsets:
            fields = tuple(name for name in options["fields"] if name not in unused)
            used = asked & set(fields) or (obj and any(getattr(obj, name) for name in fields if name != "overflow"))
            classes = tuple(name for name in options.get("classes", ()) if name != "collapse" or not used)
            if fields:
                kept.append((title, {**options, "fields": fields, "classes": classes}))
        return kept

    @display(description="Rule")
    def rule(self, rule: Rule) -> str:
        return str(rule)

    @display(description="Effect", label={"Allow": "success", "Deny": "danger"})
    def effect_label(self, rule: Rule) -> str:
        return rule.get_effect_display()

    @display(
        description="State",
        label={"in force": "success", "not yet": "info", "expired": "default", "only logged": "warning"},
    )
    def state(self, rule: Rule) -> str:
        now = timezone.now()
        if rule.ends_at and rule.ends_at <= now:
            return "expired"
        if rule.starts_at and rule.starts_at > now:
            return "not yet"
        return "in force" if rule.enforced else "only logged"

    @admin.action(description="Enforce: let them decide", permissions=["change"])
    def enforce(self, request, queryset):
        rules = list(queryset.filter(enforced=False))
        return self.change_rules(request, rules, "Enforce them?", "Enforced.", enforced=True)

    @admin.action(description="Only log: they decide nothing", permissions=["change"])
    def only_log(self, request, queryset):
        rules = list(queryset.filter(enforced=True))
        return self.change_rules(request, rules, "Only log them?", "Only logged.", enforced=False)

    @admin.action(description="End now", permissions=["change"])
    def end_now(self, request, queryset):
        """A rule that has not begun cannot end; it can be deleted."""
        now = timezone.now()
        if waiting := queryset.filter(starts_at__gte=now).count():
            self.message_user(
                request, f"Not begun yet, so not ended: {waiting}. Delete them instead.", messages.WARNING
            )
        rules = list(queryset.filter(in_period()).exclude(starts_at__gte=now))
        return self.change_rules(request, rules, "End them now?", "Ended.", ends_at=now)

    @admin.action(description="Duplicate: copies that are only logged", permissions=["add"])
    def duplicate(self, request, queryset):
        copies = list(queryset)
        for rule in copies:
            rule.pk, rule.enforced, rule.created_at, rule._state.adding = None, False, timezone.now(), True
        for copy in Rule.objects.bulk_create(copies):
            self.log_addition(request, copy, "Copied from another rule.")
        self.message_user(
            request,
            f"Copied: {len(copies)}. The copies are only logged until you enforce them.",
            messages.SUCCESS,
        )


@admin.register(StreamPermission)
class StreamPermissionAdmin(RuleAdmin):
    form = StreamPermissionForm
    empty_hint = (
        "Until a rule allows it, nobody may publish or play anything. Add the first one, for example: "
        "allow everyone with an account to play whatever begins with “lobby”."
    )

    def get_queryset(self, request):
        return super().get_queryset(request).for_streams()

    def get_changeform_initial_data(self, request):
        """Nobody and nothing in particular is chosen, so that saving without looking allows nothing."""
        return {
            "effect": Rule.Effect.ALLOW,
            "who": Rule.Who.USER,
            "target_kind": Rule.TargetKind.EXACT,
            **super().get_changeform_initial_data(request),
        }


@admin.register(CallPermission)
class CallPermissionAdmin(RuleAdmin):
    form = CallPermissionForm
    empty_hint = (
        "Until a rule allows it, nobody may connect, call, message or send data. Add the first one, for example: "
        "allow everyone with an account to connect."
    )

    def get_queryset(self, request):
        return super().get_queryset(request).for_calls()

    def get_changeform_initial_data(self, request):
        """Nobody in particular is chosen, so that saving without looking allows nothing."""
        return {
            "effect": Rule.Effect.ALLOW,
            "who": Rule.Who.USER,
            "target_kind": Rule.TargetKind.ANY,
            **super().get_changeform_initial_data(request),
        }


@admin.register(Schedule)
class ScheduleAdmin(StaffAdmin):
    list_display = ("name", "hours", "time_zone", "note")
    search_fields = ("name", "note")
    ordering = ("name",)
    empty_hint = (
        "A schedule is hours of the week that rules hold in, for example “Office hours”: Mon-Fri 08:00-18:00. "
        "Say it once here, and choose it in as many rules as you like."
    )

    @display(description="Hours")
    def hours(self, schedule: Schedule) -> str:
        return ", ".join(schedule.windows)


@admin.register(NumberClass)
class NumberClassAdmin(StaffAdmin):
    list_before_template = "admin/access/number_plan.html"
    list_display = ("name", "numbers", "whole", "protected", "note")
    search_fields = ("name", "note")
    search_help_text = "Search by name, or type a number to see which class it is in"
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "note")}),
        (
            "Which numbers",
            {
                "fields": ("prefixes", "whole", "short"),
                "description": "A number is in one class: that of the whole number, else that of the longest "
                "beginning, else the short ones.",
            },
        ),
        ("Emergency", {"fields": ("protected",)}),
    )
    empty_hint = (
        "A number class is a set of numbers that call permissions are about, for example “premium”: "
        "whatever begins with +49900."
    )

    @display(description="Numbers")
    def numbers(self, number_class: NumberClass) -> str:
        short = [f"all of at most {number_class.short} digits"] if number_class.short else []
        return ", ".join([*number_class.prefixes, *short])

    def changelist_view(self, request, extra_context=None):
        """With the country whose numbers are dialled without its code."""
        return super().changelist_view(request, {**(extra_context or {}), "country": number_plan().country})

    def get_search_results(self, request, queryset, search_term):
        """By name and note; of a number, the class that it is in."""
        number = canonical(search_term, number_plan())
        if not number:
            return super().get_search_results(request, queryset, search_term)
        rows = NumberClass.objects.values_list("id", "name", "prefixes", "whole", "protected", "short")
        found = NumberClasses((NumberClassRow(*row) for row in rows), number_plan()).of(number)
        return queryset.filter(pk=found.id if found else None), False

    def notice(self, request, obj):
        if not obj.protected:
            return ""
        return "No rule can refuse calls to these numbers, whoever calls. Rules that deny them change nothing."

    def sections(self, request, obj):
        about = {"target_kind": "number-class", "number_class": obj.pk}
        rules = rules_section(request, "Rules about this class", obj.rules, **about)
        yield replace(
            rules,
            empty="None. Rules about anything, or about how numbers begin, may still apply.",
            links=link_to_add(request, "access.callpermission", "Add a call permission", **about),
        )
