"""Checks of single values that staff type in; each message says what was expected."""

import re
from datetime import datetime
from ipaddress import ip_network

from django.core.exceptions import ValidationError

from apps.database.moments import SENSIBLE
from apps.protocol.methods import ACTIONS

ORIGIN_HOST = r"[a-z0-9._-]+"
ORIGIN = r"[a-z][a-z0-9+.-]*://(" + ORIGIN_HOST + r"|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def validate_moment(value: datetime) -> None:
    """A moment that the database can keep and Python can read. Raises ValidationError."""
    if not SENSIBLE[0] <= value < SENSIBLE[1]:
        raise ValidationError("Choose a date from 1970 on and before 9999.")


def validate_network(value: str) -> None:
    """A network in CIDR form, or a single address."""
    try:
        ip_network(value)
    except ValueError:
        raise ValidationError(
            "“%(value)s” is not a network. Write it like 10.0.0.0/8, 192.168.1.7 or 2001:db8::/32, "
            "with no bits set behind the prefix.",
            params={"value": value},
        ) from None


def validate_origin(value: str) -> None:
    """A web page's origin as browsers send it, which is compared letter by letter."""
    scheme = value.partition("://")[0]
    if not re.fullmatch(ORIGIN, value) or value.endswith(DEFAULT_PORTS.get(scheme, " ")):
        raise ValidationError(
            "“%(value)s” is no origin that a browser sends. Write it like https://example.org or "
            "http://192.168.1.7:8080: in small letters, without a path, and without the port that is usual.",
            params={"value": value},
        )


def validate_action(value: str) -> None:
    """One of the actions that staff grant."""
    if value not in ACTIONS:
        raise ValidationError(
            "“%(value)s” is not an action. Use one of: %(actions)s.",
            params={"value": value, "actions": ", ".join(ACTIONS)},
        )
