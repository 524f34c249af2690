"""Questions about a moment: under the users and rules of now, or under those of then.

What was then, the audit log knows, which is built upon this: so the pages are given it where their addresses are made.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget

from apps.access.compile import Snapshot
from apps.access.latest import at_last_revision
from apps.access.models import Rule
from apps.access.try_form import Moment

Answer = TypeVar("Answer")
ReadRules = Callable[[Iterable[int]], dict[int, Rule]]
"""Reads rules by their ids, with the rows whose names their sentences say."""


class NotRecorded(LookupError):
    """What was then cannot be said. The message is a sentence."""


@dataclass(frozen=True, slots=True)
class Under:
    """What a question is answered under: a snapshot, and the rules that it has, as staff wrote them."""

    snapshot: Snapshot
    rules: ReadRules
    is_then: bool = False


class AskThen(Protocol):
    """Asks under the users and rules of a moment. Raises NotRecorded, or Unavailable."""

    def __call__(self, moment: datetime, ask: Callable[[Under], Answer], /) -> Answer: ...


class WhenForm(forms.Form):
    """The moment that a question is about, and under which rules it is asked."""

    at = Moment(label="When", required=False, help_text="Empty: now.")
    rules = forms.ChoiceField(
        label="Users and rules",
        required=False,
        choices=[("", "as they are today"), ("then", "as they were at that moment")],
        widget=UnfoldAdminSelectWidget(),
        help_text="As they are today, whatever the moment: what would be so then. As they were: what was so then, "
        "from the record of what staff changed.",
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("rules") and "at" not in self.errors:
            if values.get("at") is None:
                self.add_error("at", "Say at which moment.")
            elif values["at"] > timezone.now():
                self.add_error("at", "Choose a moment that has gone by: nobody knows what the rules will be.")
        return values

    @property
    def moment(self) -> datetime:
        """The moment that is asked about."""
        return self.cleaned_data["at"] or timezone.now()

    @property
    def is_then(self) -> bool:
        """Whether it is asked under the users and rules of that moment."""
        return bool(self.cleaned_data["rules"])

    @property
    def can(self) -> str:
        """Whether they can or could, in a question."""
        return "could" if self.is_then else "can"

    def ask(self, ask: Callable[[Under], Answer], ask_then: AskThen) -> Answer:
        """What `ask` finds, of now or of then. Raises NotRecorded, or Unavailable."""
        if self.is_then:
            return ask_then(self.moment, ask)
        return at_last_revision(lambda snapshot: ask(Under(snapshot, rules_of_today)))


def rules_of_today(rule_ids: Iterable[int]) -> dict[int, Rule]:
    """Rules as they are."""
    return Rule.objects.with_names().in_bulk(list(rule_ids))
