"""Protected numbers and the rules that would refuse calls to them: no rule can, and whoever writes one is told so."""

from collections.abc import Iterable

from django.utils import timezone

from apps.access.matching import fits
from apps.access.models import NumberClass, Rule
from apps.access.question import Question
from apps.access.rows import RuleRow
from apps.access.rule_rows import number_plan
from apps.protocol.action_words import joined
from apps.protocol.numbers import NumberClasses, NumberClassRow, canonical, host_of, prefix, spellings


def problem_of(rule: Rule, classes: Iterable[NumberClass]) -> str:
    """Why a deny is of no use at all: it is about calls to protected numbers and nothing else. Else ""."""
    if not (numbers := _protected(rule, classes)) or set(rule.actions) != {"call"}:
        return ""
    if rule.target_kind != "number-class" and not _is_one_of(numbers, rule):
        return ""
    return f"No rule can refuse calls to {joined(numbers)}: protected, as emergency numbers are. It would do nothing."


def warning_of(rule: Rule, classes: Iterable[NumberClass]) -> str:
    """What a deny does not do: the protected numbers that it is about, too. "" where it is about none."""
    numbers = _protected(rule, classes)
    return f"This does not refuse calls to {joined(numbers)}: no rule can, as they are protected." if numbers else ""


def _is_one_of(numbers: Iterable[str], rule: Rule) -> bool:
    """Whether the rule is about one of these numbers alone, and not about an address that contains it."""
    plan = number_plan()
    alone = rule.target_kind == "exact" or (rule.target_kind == "glob" and not set("*{") & set(rule.target))
    forms = {canonical(number, plan) for number in numbers}
    return alone and host_of(rule.target) == "" and canonical(rule.target, plan) in forms


def _protected(rule: Rule, classes: Iterable[NumberClass]) -> list[str]:
    """The protected numbers, as staff write them, that a deny of calls is about. Circumstances do not matter."""
    if rule.effect != Rule.Effect.DENY or "call" not in (rule.actions or ()):
        return []
    plan = number_plan()
    rows = {
        number_class.name: NumberClassRow(
            number, number_class.name, tuple(number_class.prefixes), number_class.whole, number_class.protected
        )
        for number, number_class in enumerate(classes, start=1)
    }
    about = rows.get(rule.number_class.name) if rule.number_class else None
    row = RuleRow(
        id=0,
        effect=rule.effect,
        who=rule.who,
        actions=tuple(rule.actions),
        target_kind=rule.target_kind,
        target=prefix(rule.target, plan) if rule.target_kind == "number-prefix" else rule.target,
        target_id=about.id if about else None,
    )
    found = NumberClasses(rows.values(), plan)
    written = dict.fromkeys(text for one in rows.values() if one.protected for text in one.prefixes)
    return [text for text in written if fits(row, _calling(text, found))]


def _calling(text: str, classes: NumberClasses) -> Question:
    number = canonical(text, number_plan())
    known_as = spellings(text, number_plan())
    return Question("call", known_as, timezone.now(), None, number=number, number_class=classes.of(number))
