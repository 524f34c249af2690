"""A change to rules that is proposed and not made: what it says, and what deciding would look at."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.module_loading import import_string

from apps.access.compile import ChangedRules, RuleIndex
from apps.access.models import Rule
from apps.access.rows import RuleRow
from apps.access.rule_rows import row_of


@dataclass(frozen=True)
class Proposal:
    """Rules that would go, and rules that would come or take the place of those with their ids.

    `said` are lines about it, each with a remark. `confirm` is what the button says that makes the change, posting
    again what was posted; "" where there is none, as the form with the change is still open elsewhere.
    """

    title: str
    said: tuple[tuple[str, str], ...]
    gone: tuple[int, ...] = ()
    rows: tuple[RuleRow, ...] = ()
    confirm: str = ""

    def applied_to(self, rules: RuleIndex) -> ChangedRules:
        """The rules as they would be. Those given stay as they are."""
        return ChangedRules(rules, self.gone, self.rows)


def saving(rule: Rule, before: str) -> Proposal:
    """A rule as a form would save it; `before` is its sentence until now, "" for a new one."""
    remark = f"Until now: {before}" if before and before != str(rule) else ""
    return Proposal("What would this rule change?", ((str(rule), remark),), rows=(row_of(rule),))


def adding(rules: Iterable[Rule]) -> Proposal:
    """New rules. Not being saved, they are told apart by numbers that no rule has."""
    rules = list(rules)
    for number, rule in enumerate(rules, start=1):
        rule.pk = -number
    return Proposal("What would these rules change?", _sentences(rules), rows=tuple(map(row_of, rules)))


def changing(rules: Iterable[Rule], title: str, confirm: str, **values) -> Proposal:
    """Rules with these values; the objects themselves take them on."""
    rules = list(rules)
    for rule in rules:
        for name, value in values.items():
            setattr(rule, name, value)
    return Proposal(title, _sentences(rules), rows=tuple(map(row_of, rules)), confirm=confirm)


def deleting(rules: Iterable[Rule]) -> Proposal:
    """Rules that are not there any more."""
    rules = list(rules)
    return Proposal("What would deleting change?", _sentences(rules), gone=tuple(rule.pk for rule in rules))


def _sentences(rules: list[Rule]) -> tuple[tuple[str, str], ...]:
    return tuple((str(rule), "") for rule in rules)


def preview(request: HttpRequest, proposal: Proposal) -> HttpResponseBase:
    """The page that shows what a proposal would change. It looks into the record, so it belongs to the audit log."""
    return import_string(settings.RULE_PREVIEW)(request, proposal)
