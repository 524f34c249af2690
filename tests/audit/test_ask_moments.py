"""Moments and times in a question, as people write them."""

from datetime import datetime

import pytest
from django.utils import timezone

from apps.audit.asking.moments import moment_in, period_in

NOW = timezone.make_aware(datetime(2026, 11, 26, 21, 53))


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("2026-03-03 14:00", "2026-03-03 14:00:00"),
        ("2026-03-03 at 14:00", "2026-03-03 14:00:00"),
        ("3 March 14:00", "2026-03-03 14:00:00"),
        ("3 March", "2026-03-03 12:00:00"),
        ("3rd of march 2025", "2025-03-03 12:00:00"),
        ("3. Mar. 2026 14:00:30", "2026-03-03 14:00:30"),
        ("3 March 2026 14:00:30", "2026-03-03 14:00:30"),
        ("March 3, 2026 at 14:00", "2026-03-03 14:00:00"),
        ("March 3 14:00", "2026-03-03 14:00:00"),
        ("26 November 21:33", "2026-11-26 21:33:00"),
        ("26 November 21:54", "2025-11-26 21:54:00"),
        ("26 November", "2026-11-26 12:00:00"),
        ("27 Nov", "2025-11-27 12:00:00"),
        ("29 February", "2024-02-29 12:00:00"),
        ("1 Sept 9:05", "2026-09-01 09:05:00"),
    ],
)
def test_days_in_words_are_the_latest_that_are_not_in_the_future(typed, found):
    rest, moment = moment_in(f"who could watch lobby on {typed}?", NOW)
    assert f"{moment:%Y-%m-%d %H:%M:%S}" == found
    assert rest.split() == ["who", "could", "watch", "lobby", "on", "?"]


@pytest.mark.parametrize(
    "typed", ["31 February", "may 30 call ann", "3 marching bands", "32 May 2026", "0 May", "x3 May"]
)
def test_what_is_no_day_is_none(typed):
    assert moment_in(typed, NOW) == (typed, None)


@pytest.mark.parametrize(
    ("typed", "searched"),
    [
        ("yesterday", "after:yesterday before:today"),
        ("Today", "after:today"),
        ("last hour", "after:1h"),
        ("in the last 24 hours", "after:24h"),
        ("past 2 weeks", "after:2w"),
        ("last lobby", ""),
    ],
)
def test_times_are_read_as_the_search_has_them(typed, searched):
    assert period_in(f"refused {typed}")[1] == searched
