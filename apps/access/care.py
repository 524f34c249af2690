"""Care for rules, as their pages take it: nothing needs to be changed before it was seen what would change, and what is
wrong with a rule is said on its page and when it is saved.
"""

from collections.abc import Iterator

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.decorators import display

from apps.access.lint import Finding
from apps.access.models import Rule
from apps.access.proposals import changing, deleting, preview, saving
from apps.access.rules_to_look_at import look_at_one
from apps.access.tried_out import Tally, for_whom, tallies
from apps.accounts.navigation import may_see
from apps.accounts.pages import LINES_SHOWN, Line, Section, StaffAdmin, link_to_list, list_of, note_changes, page_of

PREVIEW, SENTENCE, CONFIRMED = "_preview", "_sentence", "_confirmed"
"""Names of buttons, as they are posted."""


class CareAdmin(StaffAdmin):
    """Pages of rules, of which everything can be looked at before it is done."""

    change_form_before_template = "admin/access/rule_form_before.html"
    change_form_after_template = "admin/access/rule_form_after.html"
    delete_confirmation_template = "admin/access/rule_delete.html"
    delete_selected_confirmation_template = "admin/access/rules_delete.html"

    def changeform_view(self, request, object_id=None, form_url="", extra_context=None):
        """The form; of what is typed into it also what it says so far, and what it would change."""
        asked = {PREVIEW, SENTENCE} & set(request.POST)
        if not asked:
            return super().changeform_view(request, object_id, form_url, extra_context)
        before, form = self._typed(request, object_id)
        if SENTENCE in asked:
            return HttpResponse(str(form.instance), content_type="text/plain; charset=utf-8")
        if form.is_valid():
            return preview(request, saving(form.instance, before))
        with transaction.atomic():  # what is wrong is said as if it had been saved
            response = super().changeform_view(request, object_id, form_url, extra_context)
            transaction.set_rollback(True)
            return response

    def delete_view(self, request, object_id, extra_context=None):
        """The question whether to delete it; also what that would change."""
        if PREVIEW not in request.POST:
            return super().delete_view(request, object_id, extra_context)
        return self._preview_deleting(request, [object_id])

    def changelist_view(self, request, extra_context=None):
        """The list; also what deleting those chosen would change."""
        if PREVIEW not in request.POST or request.POST.get("action") != "delete_selected":
            return super().changelist_view(request, extra_context)
        return self._preview_deleting(request, request.POST.getlist(ACTION_CHECKBOX_NAME))

    def _preview_deleting(self, request: HttpRequest, ids: list[str]) -> HttpResponseBase:
        if not self.has_delete_permission(request):
            raise PermissionDenied
        return preview(request, deleting(self.get_queryset(request).with_names().filter(pk__in=ids)))

    def _typed(self, request: HttpRequest, object_id: str | None) -> tuple[str, ModelForm]:
        """The sentence until now, "" for a new rule; and the form as it is filled in, looked through."""
        rule = self.get_object(request, unquote(object_id)) if object_id else None
        may = self.has_change_permission(request, rule) if rule else self.has_add_permission(request)
        if not may or (object_id and rule is None):
            raise PermissionDenied
        before = str(rule) if rule else ""
        form = self.get_form(request, rule, change=rule is not None)(request.POST, instance=rule)
        form.full_clean()
        form.instance.actions = form.instance.actions or []
        return before, form

    def response_add(self, request, obj, post_url_continue=None):
        """Where to go on; and what is wrong with what was saved."""
        self._say(request, obj)
        return super().response_add(request, obj, post_url_continue)

    def response_change(self, request, obj):
        """As after adding."""
        if "_continue" not in request.POST:  # else its page says it
            self._say(request, obj)
        return super().response_change(request, obj)

    def _say(self, request: HttpRequest, rule: Rule) -> None:
        for finding in look_at_one(rule, timezone.now()):
            messages.warning(request, said(request, finding))

    def notice(self, request: HttpRequest, obj: Rule) -> str:
        """What is wrong with it."""
        return format_html_join(" ", "{}", ((said(request, finding),) for finding in look_at_one(obj, timezone.now())))

    def sections(self, request: HttpRequest, obj: Rule) -> Iterator[Section]:
        """What it would have decided, as long as it is only logged."""
        if not obj.enforced:
            tally = tallies([obj]).get(obj.pk)
            yield Section(
                "Tried out",
                tuple(_tried_out(request, tally)) if tally else (),
                "So far it would have decided nothing otherwise. A hook counts as soon as it is in the audit log.",
            )

    def get_changelist_instance(self, request):
        """The list, with what the rules on this page would have decided otherwise."""
        changelist = super().get_changelist_instance(request)
        found = tallies(changelist.result_list)
        for rule in changelist.result_list:
            rule.tally = found.get(rule.pk)
        return changelist

    @display(description="Tried out")
    def tried(self, rule: Rule) -> str:
        """What it would have decided otherwise."""
        tally = rule.tally
        return f"{tally} since {timezone.localtime(tally.first_at):%Y-%m-%d}" if tally else ""

    def change_rules(self, request: HttpRequest, rules, title: str, done: str, **values) -> HttpResponseBase | None:
        """Give many rules these values, once it was seen what that would change and was confirmed."""
        if CONFIRMED not in request.POST and rules:
            return preview(request, changing(rules, title, confirm=title.removesuffix("?"), **values))
        Rule.objects.filter(pk__in=[rule.pk for rule in rules]).update(**values)
        note_changes(request, rules, done)
        self.message_user(request, f"{done[:-1]}: {len(rules)}.", messages.SUCCESS)
        return None


def _tried_out(request: HttpRequest, tally: Tally) -> Iterator[Line]:
    """How often; and when and for whom, for those who may read that in the audit log."""
    if not may_see(request.user, "audit.auditevent"):
        yield Line(f"It {tally}.", "", "When and for whom is told to those who may see the audit log.")
        return
    first, last = (f"{timezone.localtime(at):%Y-%m-%d %H:%M}" for at in (tally.first_at, tally.last_at))
    rule = str(tally.rule.pk)
    yield Line(f"It {tally}.", _log(request, tried_out=rule), f"From {first} to {last}.")
    for name, count in for_whom(tally.rule)[:LINES_SHOWN]:
        yield Line(
            f"{name or 'Guests'}: {count}", _log(request, tried_out=rule, **({"username": name} if name else {}))
        )


def _log(request: HttpRequest, **query: str) -> str:
    """The address of these entries of the audit log."""
    return next((line.url for line in link_to_list(request, "audit.auditevent", "", **query)), "")


def said(request: HttpRequest, finding: Finding) -> str:
    """A finding as a sentence or two, with a link to the other rule it is about."""
    other = Rule.objects.filter(pk=finding.other_id).with_names().first() if finding.other_id else None
    text = format_html("{} {}", finding.problem, finding.advice)
    if other is None:
        return text
    url = page_of(request, list_of(other), other.pk)
    return format_html('{} <a class="underline" href="{}">{}</a>', text, url, other) if url else text
