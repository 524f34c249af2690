"""The form of Who can?: to do what, on what, when."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.access.sentences import deed
from apps.access.then import WhenForm
from apps.protocol.action_words import ACTION_WORDS
from apps.protocol.methods import ACTIONS, ACTIONS_WITH_TARGET
from apps.protocol.screening import screen_text

WITHOUT_TARGET = [action for action in ACTIONS if action not in ACTIONS_WITH_TARGET]
"""Actions that are about no name or number."""


class WhoCanForm(WhenForm):
    """One question, as it stands in an address."""

    action = forms.ChoiceField(
        label="Who can",
        choices=list(ACTION_WORDS.items()),
        initial="play",
        widget=UnfoldAdminSelectWidget({"x-model": "action"}),
    )
    target = forms.CharField(
        label="Name of the stream, or number",
        required=False,
        max_length=1000,
        widget=UnfoldAdminTextInputWidget(
            {"list": "streams", "autocomplete": "off", "x-on:focus": "look", "x-on:input.debounce.250ms": "look"}
        ),
        help_text="A stream by its name, or a number however it is written; to connect, the app key. "
        "Letter case counts. It need not be in the list of streams.",
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if values.get("action") in WITHOUT_TARGET:
            values["target"] = ""
        elif not values.get("target") and "target" not in self.errors:
            self.add_error("target", "Say which stream or number it is about.")
        elif screen_text(values.get("target", "")) != values.get("target", ""):
            self.add_error("target", "This may have a login or a token in it. Type the name alone.")
        return values

    @property
    def question(self) -> str:
        """What is asked, in words."""
        return f"Who {self.can} {deed(self.cleaned_data['action'], self.cleaned_data['target'])}?"

    def query(self, **more: str) -> str:
        """The question as an address has it."""
        asked = {**self.cleaned_data, "at": self["at"].data, **more}
        return urlencode({name: value for name, value in asked.items() if value})
