"""What Who can? and What can they do? say of somebody, in words, with the rules behind it."""

from collections.abc import Iterable

from django.http import HttpRequest

from apps.access.models import Rule
from apps.access.reasons import REASON_TEXTS, Reason
from apps.access.sentences import circumstances, limits
from apps.access.then import ReadRules, rules_of_today
from apps.access.who_can import Answer, Verdict
from apps.accounts.pages import HIDDEN_RULE, Line, list_of, may_read, page_of

RULES_SAID = 5
"""Rules that are named for one person."""


class Words:
    """Answers in words. Rules are read once for all of them."""

    def __init__(self, request: HttpRequest, read: ReadRules = rules_of_today) -> None:
        self._request, self._read = request, read
        self._rules: dict[int, Rule] = {}

    def read(self, answers: Iterable[Answer]) -> None:
        """Read the rules of these answers in one query."""
        self.read_rules(rule_id for answer in answers for ids in _ids(answer) for rule_id in ids)

    def read_rules(self, rule_ids: Iterable[int]) -> None:
        """Read these rules in one query."""
        wanted = set(rule_ids) - set(self._rules)
        if wanted:
            self._rules |= self._read(wanted)

    def rules(self, rule_ids: Iterable[int]) -> list[Rule]:
        """Those of the rules that are still there."""
        return [self._rules[rule_id] for rule_id in rule_ids if rule_id in self._rules]

    def verdict(self, answer: Answer) -> str:
        """For example: can, but only from 10.0.0.0/8."""
        if answer.verdict is Verdict.CANNOT:
            return f"cannot: {_why(answer.reason)}"
        parts = [self._only(answer), self._unless(answer)]
        return ", ".join(["can", *filter(None, parts)])

    def lines(self, answer: Answer) -> list[Line]:
        """The rules that settle it, then those that could have, but for these."""
        settled = [self.line(rule) for rule in self.rules(_first(answer.rule_ids))]
        unless = [
            self.line(rule, "Refuses under these circumstances.") for rule in self.rules(_first(answer.unless_ids))
        ]
        overruled = [self.line(rule, "Fits, but does not help.") for rule in self.rules(_first(answer.overruled_ids))]
        return [*settled, *unless, *overruled]

    def line(self, rule: Rule, remark: str = "") -> Line:
        """A rule as its sentence, with a link for whom it leads anywhere; for those who may not read it, none."""
        if not may_read(self._request.user, rule):
            return Line(HIDDEN_RULE, "", remark)
        return Line(str(rule), page_of(self._request, list_of(rule), rule.pk), remark)

    def remark(self, rule: Rule) -> str:
        """Under which circumstances alone a rule holds and how much it allows; "" if always and all."""
        only = f"Only {circumstances(rule)}." if circumstances(rule) else ""
        many = limits(rule)
        return " ".join(filter(None, (only, f"{many[:1].upper()}{many[1:]}." if many else "")))

    def _only(self, answer: Answer) -> str:
        """What the most that somebody is allowed depends on: nothing, if one of the rules asks for nothing."""
        said = {", ".join(filter(None, (circumstances(rule), limits(rule)))) for rule in self.rules(answer.rule_ids)}
        return "" if not said or "" in said else f"but only {' or '.join(sorted(said))}"

    def _unless(self, answer: Answer) -> str:
        said = {circumstances(rule) for rule in self.rules(answer.unless_ids)} - {""}
        return f"unless {' or '.join(sorted(said))}" if said else ""


def _why(reason: Reason) -> str:
    """A reason within a sentence."""
    if reason is Reason.NO_CREDENTIALS:
        return "guests are not welcome"
    text = REASON_TEXTS[reason]
    return f"{text[:1].lower()}{text[1:-1]}"


def _first(rule_ids: tuple[int, ...]) -> tuple[int, ...]:
    return rule_ids[:RULES_SAID]


def _ids(answer: Answer) -> tuple[tuple[int, ...], ...]:
    return answer.rule_ids, answer.unless_ids, answer.overruled_ids
