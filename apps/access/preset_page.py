"""Add from a preset: said who they are, the rules are proposed as sentences, changed, looked at, saved together."""

from collections.abc import Iterable

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from apps.access.care import PREVIEW, said
from apps.access.models import Rule
from apps.access.presets import PRESETS, Asked
from apps.access.proposals import adding, preview
from apps.access.rules_to_look_at import look_at_one
from apps.accounts.models import User
from apps.accounts.navigation import may, may_open
from apps.accounts.pages import Checkboxes, list_of
from apps.protocol.action_words import ACTION_WORDS

KINDS = ("any", "exact", "prefix", "glob", "number-prefix")
"""Kinds of target that can be chosen here; the rule's own page has them all."""


class PresetForm(forms.Form):
    """A kind of people, who they are, and what it is about."""

    preset = forms.ChoiceField(
        label="What are they?",
        choices=[(name, f"{preset.title}: {preset.says}") for name, preset in PRESETS.items()],
        widget=UnfoldAdminRadioSelectWidget(admin.VERTICAL, {"x-model": "preset"}),
    )
    who = forms.ChoiceField(
        label="Who?",
        choices=[("group", "everyone in a group"), ("user", "one user"), ("everyone", "everyone with an account")],
        initial="group",
        required=False,
        widget=UnfoldAdminSelectWidget({"x-model": "who"}),
    )
    group = forms.ModelChoiceField(
        Group.objects.order_by("name"), required=False, widget=UnfoldAdminSelectWidget(), empty_label="…"
    )
    user = forms.CharField(label="User name", required=False, widget=UnfoldAdminTextInputWidget())
    begins = forms.CharField(
        label="Names or numbers begin with",
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="Of their streams, for example lesson-; or of the numbers that they may call, for example +49.",
    )

    def clean(self):
        """Whom it is about, as fields of a rule."""
        said = super().clean()
        preset = PRESETS.get(said.get("preset"))
        if preset is None:
            return said
        said["fields"] = self._who(said)
        if preset.missing and not said.get("begins"):
            self.add_error("begins", preset.missing)
        if preset.check and said.get("begins"):
            try:
                preset.check(said["begins"])
            except ValidationError as error:
                self.add_error("begins", error)
        return said

    def _who(self, said: dict) -> dict:
        who = "guests" if said["preset"] == "guest" else said.get("who") or "group"
        if who == "group":
            if not said.get("group"):
                self.add_error("group", "Choose the group. If there is none yet, add it first.")
            return {"who": who, "group": said.get("group")}
        if who == "user":
            user = User.objects.filter(username=said.get("user")).first()
            if user is None:
                self.add_error("user", f"There is no user “{said.get('user') or ''}”.")
            return {"who": who, "user": user}
        return {"who": who}

    def proposed(self) -> list[Rule]:
        """The rules of the preset for them."""
        said = self.cleaned_data
        return list(PRESETS[said["preset"]].rules(Asked(said["fields"], said["begins"])))


class ProposedForm(forms.ModelForm):
    """A proposed rule, as far as it can be changed here."""

    take = forms.BooleanField(label="Add this rule", required=False, initial=True, widget=UnfoldBooleanWidget)
    actions = Checkboxes(label="To do what", choices=ACTION_WORDS.items())

    class Meta:
        model = Rule
        fields = ("actions", "target_kind", "target", "enforced", "note")
        widgets = {
            "target_kind": UnfoldAdminSelectWidget,
            "target": UnfoldAdminTextInputWidget,
            "enforced": UnfoldBooleanWidget,
            "note": UnfoldAdminTextInputWidget,
        }

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        kinds = self.fields["target_kind"]
        offered = {*KINDS, self.instance.target_kind}
        kinds.choices = [(kind, label) for kind, label in Rule.TargetKind.choices if kind in offered]


def add_from_preset(request: HttpRequest) -> HttpResponseBase:
    """The page. Nothing is saved before its rules were shown."""
    if not may_open(request.user, "presets"):
        raise PermissionDenied
    asked = PresetForm(request.POST or None)
    proposals: list[ProposedForm] = []
    if asked.is_bound and asked.is_valid():
        shown = bool({"save", "again", PREVIEW} & set(request.POST))
        proposals = _proposals(request, asked, shown=shown)
        if shown and all(form.is_valid() for form in proposals):
            rules = [form.instance for form in proposals if form.cleaned_data["take"]]
            if PREVIEW in request.POST:
                return preview(request, adding(rules))
            if "save" in request.POST and rules:
                return _save(request, asked, rules)
    context = {
        **admin.site.each_context(request),
        "title": "Add from a preset",
        "form": asked,
        "proposals": proposals,
        "asks_whom": [name for name in PRESETS if name != "guest"],
    }
    return TemplateResponse(request, "admin/access/presets.html", context)


def _proposals(request: HttpRequest, asked: PresetForm, *, shown: bool) -> list[ProposedForm]:
    """The rules that the viewer may add, as they were proposed or, once shown, as they were changed."""
    rules = [rule for rule in asked.proposed() if may(request.user, "add", list_of(rule))]
    return [
        ProposedForm(request.POST if shown else None, instance=rule, prefix=f"rule-{number}")
        for number, rule in enumerate(rules)
    ]


def _save(request: HttpRequest, asked: PresetForm, rules: Iterable[Rule]) -> HttpResponseBase:
    """Save them all, or none."""
    rules = list(rules)
    if not all(may(request.user, "add", list_of(rule)) for rule in rules):
        raise PermissionDenied
    title = PRESETS[asked.cleaned_data["preset"]].title
    with transaction.atomic():
        for rule in rules:
            rule.save()
        LogEntry.objects.log_actions(request.user.pk, rules, ADDITION, f"Added from the preset “{title}”.")
    added = "1 rule" if len(rules) == 1 else f"{len(rules)} rules"
    messages.success(request, f"Added: {added} from the preset “{title}”.")
    for rule in rules:
        for finding in look_at_one(rule, timezone.now()):
            messages.warning(request, said(request, finding))
    lists = [list_of(rule) for rule in rules]
    shown = lists[0] if len(set(lists)) == 1 else "access.streampermission"
    return redirect(f"admin:{shown.replace('.', '_')}_changelist")
