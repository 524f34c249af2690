"""Comparisons with what a client says of itself in `custom`, as staff write them. Pure.

    role = teacher
    role in teacher, tutor
    device.kind begins with cam-
    age >= 18

Whatever stands in `custom` is the client's own word: good for telling devices apart, no proof of who somebody is.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

MAX_LENGTH = 200
EXPECTED = "Write it like: role = teacher, role in teacher|tutor, device.kind begins with cam-, age >= 18."
_FORM = re.compile(r"\s*([\w-]+(?:\.[\w-]+)*)\s*(?:(>=|<=|=|>|<)|\s(in|begins\s+with)\s)\s*(\S.*?)\s*", re.IGNORECASE)


class Comparison(msgspec.Struct, frozen=True, gc=False):
    """The member of `custom` (dots lead into objects), how it is compared, and with what."""

    name: str
    operator: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {'|'.join(self.values)}"


def parse_comparison(text: str) -> Comparison:
    """A comparison as staff write it. Raises ValueError with a sentence."""
    match = _FORM.fullmatch(text)
    if match is None or len(text) > MAX_LENGTH:
        raise ValueError(f"“{text[:MAX_LENGTH]}” is no comparison. {EXPECTED}")
    name, sign, word, value = match.groups()
    operator = sign or " ".join(word.lower().split())
    values = tuple(part.strip() for part in value.split("|")) if operator == "in" else (value,)
    if not all(values):
        raise ValueError(f"“{text}” has an empty value between two bars. {EXPECTED}")
    if operator in _ORDERS and _number(value) is None:
        raise ValueError(f"“{value}” is no number, so nothing is greater or less. {EXPECTED}")
    return Comparison(name, operator, values)


def holds(comparison: Comparison, custom: Mapping[str, Any]) -> bool:
    """Whether it holds for these members. What is not there, or is neither text, number nor flag, fits nothing.

    Raises ValueError for one that could not be read.
    """
    if comparison.operator not in _OPERATORS:
        raise ValueError(f"A condition cannot be read: {comparison.values[0]}")
    said = _said(comparison.name, custom)
    if said is None:
        return False
    first = comparison.values[0]
    match comparison.operator:
        case "=" | "in":
            return any(_equal(said, value) for value in comparison.values)
        case "begins with":
            return said.startswith(first)
    number, bound = _number(said), _number(first)
    return number is not None and bound is not None and _ORDERS[comparison.operator](number, bound)


def not_holding(comparisons: Iterable[Comparison], custom: Mapping[str, Any]) -> list[Comparison]:
    """Those that do not hold. Raises ValueError where one could not be read."""
    return [comparison for comparison in comparisons if not holds(comparison, custom)]


def unreadable(problem: str) -> Comparison:
    """Stands for a condition that cannot be read: comparing raises, so that a deny counts and an allow does not."""
    return Comparison("", "", (problem,))


def said_text(comparison: Comparison, custom: Mapping[str, Any]) -> str | None:
    """What the client said there, as text; None where it said nothing that can be compared."""
    return _said(comparison.name, custom)


_ORDERS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    ">": lambda said, bound: said > bound,
    "<": lambda said, bound: said < bound,
    ">=": lambda said, bound: said >= bound,
    "<=": lambda said, bound: said <= bound,
}


_OPERATORS = {"=", "in", "begins with", *_ORDERS}


def _said(name: str, custom: Mapping[str, Any]) -> str | None:
    value: Any = custom
    for step in name.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float | Decimal) else None


def _equal(said: str, value: str) -> bool:
    if said == value:
        return True
    number = _number(said)
    return number is not None and number == _number(value)


def _number(text: str) -> Decimal | None:
    """A finite number; its length is bounded, as comparing huge exponents would take for ever."""
    if len(text) > 40:
        return None
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 400 else None
