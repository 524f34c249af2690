"""Moments that somebody wrote, as Python and Postgres can both use them."""

from datetime import UTC, datetime

from django.utils import timezone
from django.utils.dateparse import parse_datetime

SENSIBLE = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
"""Between what moments may lie. Postgres also knows infinity, which Python does not."""


def moment_of(text: str) -> datetime | None:
    """The moment that a text is, by the clocks here unless it has an offset; None where it is none, or no SENSIBLE one.

    In UTC, since Postgres takes no offset of 16 hours or more.
    """
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found and timezone.is_naive(found):
        found = timezone.make_aware(found)
    return found.astimezone(UTC) if found and SENSIBLE[0] <= found < SENSIBLE[1] else None
