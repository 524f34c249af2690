"""The form of What can they do?: of whom it is asked, and when."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.models import Group
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.access.compile import Snapshot
from apps.access.rows import UserRow
from apps.access.try_form import Moment
from apps.access.what_can import member_of
from apps.accounts.navigation import may_see
from apps.accounts.validators import validate_moment

SEEN_WITH = {"user": "accounts.user", "group": "auth.group", "guest": ""}
"""What a viewer must be allowed to see to ask about somebody."""


class NobodyLikeThat(LookupError):
    """Asked about a user who is not there. The message is a sentence."""


class WhatCanForm(forms.Form):
    """One question, as it stands in an address."""

    who = forms.ChoiceField(
        label="What can",
        choices=[("user", "a user"), ("group", "a member of a group"), ("guest", "a guest")],
        widget=UnfoldAdminSelectWidget({"x-model": "who"}),
    )
    name = forms.CharField(
        label="Name of the user or group",
        required=False,
        max_length=150,
        widget=UnfoldAdminTextInputWidget(
            {"list": "names", "autocomplete": "off", "x-on:focus": "look", "x-on:input.debounce.250ms": "look"}
        ),
        help_text="Letter case counts.",
    )
    at = Moment(
        label="When",
        required=False,
        validators=[validate_moment],
        help_text="Empty: now. Users and rules are those of today, whatever the moment.",
    )

    def __init__(self, viewer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = self.fields["who"].choices
        self.fields["who"].choices = [
            choice for choice in choices if not SEEN_WITH[choice[0]] or may_see(viewer, SEEN_WITH[choice[0]])
        ]

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        who, name = values.get("who"), values.get("name")
        if who == "guest":
            values["name"] = ""
        elif who and not name and "name" not in self.errors:
            self.add_error("name", f"Say which {who}.")
        elif who == "group":
            values["group"] = Group.objects.filter(name=name).first()
            if values["group"] is None:
                self.add_error("name", f"There is no group “{name}”.")
        return values

    @property
    def moment(self) -> datetime:
        """The moment that is asked about."""
        return self.cleaned_data["at"] or timezone.now()

    @property
    def whom(self) -> str:
        """Of whom it is asked, in words."""
        name = self.cleaned_data["name"]
        return {"guest": "a guest", "group": f"a member of group “{name}”"}.get(self.cleaned_data["who"], name)

    @property
    def question(self) -> str:
        """What is asked, in words."""
        return f"What can {self.whom} do?"

    def person(self, snapshot: Snapshot) -> UserRow | None:
        """Who is asked about. Raises NobodyLikeThat."""
        who, name = self.cleaned_data["who"], self.cleaned_data["name"]
        if who == "guest":
            return None
        if who == "group":
            return member_of(self.cleaned_data["group"].pk)
        if (user := snapshot.users.by_name.get(name)) is None:
            raise NobodyLikeThat(f"There is no user “{name}”.")
        return user

    def query(self, **more: str) -> str:
        """The question as an address has it."""
        values = {**self.cleaned_data, "at": self["at"].data, **more}
        return urlencode({key: value for key, value in values.items() if value and key != "group"})
