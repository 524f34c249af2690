"""The form of the story of a stream: which one, and over what time."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.access.try_form import Moment
from apps.protocol.screening import screen_text

LAST = {"1h": ("last hour", 1), "24h": ("last 24 hours", 24), "7d": ("last 7 days", 168), "30d": ("last 30 days", 720)}
"""Quick choices of a time: their words, and their hours."""

LONGEST = timedelta(days=31)


class StreamForm(forms.Form):
    """A stream and a time, as they stand in an address."""

    name = forms.CharField(
        label="Name of the stream",
        max_length=600,
        strip=False,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="As clients ask for it; letter case counts. It need not be in the list of streams.",
        error_messages={"required": "Say which stream."},
    )
    last = forms.ChoiceField(
        label="Time",
        required=False,
        choices=[*((value, words) for value, (words, _) in LAST.items()), ("", "from and until, as given below")],
        widget=UnfoldAdminSelectWidget,
    )
    since = Moment(label="From", required=False)
    until = Moment(label="Until", required=False, help_text="Not included. Empty: now.")

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if screen_text(values.get("name", "")) != values.get("name", ""):
            self.add_error("name", "This may have a login or a token in it. Type the name alone.")
        if not self.errors and not values["last"]:
            self._check_times(values)
        return values

    def _check_times(self, values: dict[str, Any]) -> None:
        since, until = values["since"], values["until"] or timezone.now()
        if since is None:
            self.add_error("since", "Say from when on, or choose a time above.")
        elif since >= until:
            self.add_error("since", "“From” must be earlier than “until”.")
        elif until - since > LONGEST:
            self.add_error("since", f"At most {LONGEST.days} days can be looked at together.")

    def times(self, now: datetime) -> tuple[datetime, datetime]:
        """From when until when is asked about."""
        values = self.cleaned_data
        if values["last"]:
            return now - timedelta(hours=LAST[values["last"]][1]), now
        return values["since"], values["until"] or now

    def choices(self) -> list[tuple[str, str, bool]]:
        """The quick choices: words, address, and whether it is the one that was made."""
        name, chosen = self.cleaned_data["name"], self.cleaned_data["last"]
        return [
            (words, f"?{urlencode({'name': name, 'last': value})}", value == chosen)
            for value, (words, _) in LAST.items()
        ]
