"""Checks of what staff type into rules, schedules and number classes; each message says what was expected."""

import re
from collections.abc import Callable
from typing import Any
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError

from apps.access.comparisons import parse_comparison
from apps.access.rule_rows import number_plan
from apps.access.schedules import parse_window
from apps.accounts.validators import ORIGIN_HOST, validate_origin
from apps.protocol.numbers import prefix


def _said_by(parse: Callable[[str], Any]) -> Callable[[str], None]:
    def validate(value: str) -> None:
        try:
            parse(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None

    return validate


def validate_window(value: str) -> None:
    """Hours of the week, as Mon-Fri 08:00-18:00."""
    _said_by(parse_window)(value)


def validate_comparison(value: str) -> None:
    """A comparison with a member of custom, as role = teacher."""
    _said_by(parse_comparison)(value)


def validate_time_zone(value: str) -> None:
    """A time zone by its name."""
    if value not in available_timezones():
        raise ValidationError(
            "“%(value)s” is no time zone. Write it like Europe/Berlin or America/New_York.", params={"value": value}
        )


def validate_origin_or_domain(value: str) -> None:
    """The origin of a page, or all hosts below a domain."""
    if not (value.startswith("*.") and re.fullmatch(ORIGIN_HOST, value[2:])):
        validate_origin(value)


def validate_number_prefix(value: str) -> None:
    """A number, or how numbers begin."""
    if value.startswith("{country}"):
        value = value.removeprefix("{country}") or "0"
    if not prefix(value, number_plan()):
        raise ValidationError(
            "“%(value)s” is no number. Write digits, with a + in front if it begins with a country's code: +49900.",
            params={"value": value},
        )
