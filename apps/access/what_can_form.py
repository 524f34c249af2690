"""The form of What can they do?: of whom it is asked, and when."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.access.compile import Row, Rows, Snapshot
from apps.access.rows import UserRow
from apps.access.then import WhenForm
from apps.access.what_can import member_of
from apps.accounts.navigation import may_see

SEEN_WITH = {"user": "accounts.user", "group": "auth.group", "guest": ""}
"""What a viewer must be allowed to see to ask about somebody."""


class NobodyLikeThat(LookupError):
    """Asked about a user who is not there. The message is a sentence."""


class WhatCanForm(WhenForm):
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
        return values

    @property
    def whom(self) -> str:
        """Of whom it is asked, in words."""
        name = self.cleaned_data["name"]
        return {"guest": "a guest", "group": f"a member of group “{name}”"}.get(self.cleaned_data["who"], name)

    @property
    def question(self) -> str:
        """What is asked, in words."""
        return f"What {self.can} {self.whom} do?"

    def person(self, snapshot: Snapshot) -> UserRow | None:
        """Who is asked about. Raises NobodyLikeThat."""
        who, name = self.cleaned_data["who"], self.cleaned_data["name"]
        if who == "guest":
            return None
        if who == "group":
            return member_of(self._of_name(snapshot.groups, name).id)
        return self._of_name(snapshot.users, name)

    def _of_name(self, rows: Rows[Row], name: str) -> Row:
        if (row := rows.by_name.get(name)) is None:
            raise NobodyLikeThat(
                f"There {'was' if self.is_then else 'is'} no {self.cleaned_data['who']} “{name}”"
                f"{' at that moment' if self.is_then else ''}."
            )
        return row

    def query(self, **more: str) -> str:
        """The question as an address has it."""
        values = {**self.cleaned_data, "at": self["at"].data, **more}
        return urlencode({key: value for key, value in values.items() if value})
