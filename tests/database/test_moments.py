"""Moments that somebody wrote: whatever their offset, Python and Postgres can use them."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime

import pytest
from django import forms
from django.db import connection

from apps.access.try_form import Moment
from apps.database.commands import moment
from apps.database.moments import moment_of

ODD = {
    "2026-01-01T00:00:00+15:59": datetime(2025, 12, 31, 8, 1, tzinfo=UTC),
    "2026-01-01T00:00:00-15:59": datetime(2026, 1, 1, 15, 59, tzinfo=UTC),
    "2026-01-01T00:00:00+16:00": datetime(2025, 12, 31, 8, tzinfo=UTC),
    "2026-01-01T00:00:00+23:59": datetime(2025, 12, 31, 0, 1, tzinfo=UTC),
    "2026-01-01T00:00:00-23:59": datetime(2026, 1, 1, 23, 59, tzinfo=UTC),
    "1970-01-01T00:00:00-23:59": datetime(1970, 1, 1, 23, 59, tzinfo=UTC),
    "9999-01-01T12:00:00+23:59": datetime(9998, 12, 31, 12, 1, tzinfo=UTC),
}
NONE = (
    *("", "soon", "2026-13-01T00:00", "infinity", "0001-01-01T00:00", "0001-01-01T00:00:00+23:59"),
    *("1970-01-01T00:00:00+00:01", "9999-01-01T00:00:00Z", "9998-12-31T23:59:00-00:01", "9999-12-31T23:59:59-23:59"),
)


@pytest.mark.parametrize("text", ODD)
def test_a_moment_of_any_offset_is_one_that_postgres_takes(db, text):
    found = moment_of(text)
    assert (found, found.tzinfo) == (ODD[text], UTC)
    assert moment(text) == Moment().clean(text) == found
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [found])
        assert cursor.fetchone() == (found,)


def test_without_an_offset_it_is_by_the_clocks_here(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    assert moment_of("2026-07-01T12:00") == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert moment("2026-07-01") == datetime(2026, 6, 30, 22, tzinfo=UTC)


@pytest.mark.parametrize("text", NONE)
def test_what_is_none_or_cannot_be_said_in_every_time_zone_is_none(text):
    assert moment_of(text) is None
    with pytest.raises(ArgumentTypeError, match="from 1970 on and before 9999"):
        moment(text)
    if text:
        with pytest.raises(forms.ValidationError):
            Moment().clean(text)
