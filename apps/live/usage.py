"""How much of a limit is used up, for whoever asks why: counted as for a hook, but without locks or traces."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from django.db import connection
from django.utils import timezone

from apps.live.counted import day_began, month_began


class Used(msgspec.Struct, frozen=True):
    """What leases under one key come to: how many run, how many began, and for how many minutes they ran."""

    at_once: int = 0
    per_day: int = 0
    per_month: int = 0
    minutes_per_day: float = 0
    minutes_per_month: float = 0


def used(key: str, now: datetime) -> Used:
    """What is used up under a key."""
    return used_of([key], now)[key]


def used_of(keys: Iterable[str], now: datetime) -> dict[str, Used]:
    """What is used up under each of these keys, asked in one query."""
    zone = timezone.get_default_timezone()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT key, u.* FROM unnest(%s::text[]) AS key, live_used(key, %s, %s, %s) u",
            [list(keys), now, day_began(now, zone), month_began(now, zone)],
        )
        return {key: Used(*counted) for key, *counted in cursor.fetchall()}
