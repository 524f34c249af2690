"""The time that statistics are asked about, and which rows it is put together from."""

from datetime import UTC, date, datetime, timedelta

import pytest

from apps.audit.statistics.period import BadPeriod, period_of

NOW = datetime(2026, 11, 26, 13, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)


def own(first, last):
    return period_of({"period": "own", "from": first, "until": last}, NOW)


@pytest.mark.parametrize(
    ("name", "since", "until", "places"),
    [
        ("24h", "2026-11-25 14:00", "2026-11-26 14:00", 24),
        ("7d", "2026-11-20 00:00", "2026-11-26 14:00", 158),
        ("30d", "2026-10-28 00:00", "2026-11-27 00:00", 30),
        ("365d", "2025-11-27 00:00", "2026-11-27 00:00", 365),
    ],
)
def test_periods_end_now(name, since, until, places):
    period = period_of({"period": name}, NOW)
    assert (f"{period.since:%Y-%m-%d %H:%M}", f"{period.until:%Y-%m-%d %H:%M}") == (since, until)
    assert len(period.places()) == places


def test_days_are_those_of_the_time_zone(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    period = own("2026-10-24", "2026-10-26")  # clocks are turned back on the 25th
    assert (period.since, period.until) == (
        datetime(2026, 10, 23, 22, tzinfo=UTC),
        datetime(2026, 10, 26, 23, tzinfo=UTC),
    )
    assert period.by_hour
    assert len(period.places()) == 73
    assert period.days() == [date(2026, 10, 24), date(2026, 10, 25), date(2026, 10, 26)]


def test_a_short_time_long_ago_is_told_by_day():
    assert own("2026-03-02", "2026-03-04").places() == [date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)]


def test_what_is_yet_to_come_is_left_out():
    assert own("2026-11-01", "2027-11-01").last_day == date(2026, 11, 26)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"period": "90d"}, "“90d” is no period."),
        ({"period": "own"}, "“from” is “”. Give a date like 2026-11-01."),
        ({"period": "own", "from": "2026-11-01", "until": "x"}, "“until” is “x”."),
        ({"period": "own", "from": "2026-11-02", "until": "2026-11-01"}, "must not be later"),
        ({"period": "own", "from": "2027-11-02", "until": "2027-11-03"}, "must not be later"),
        ({"period": "own", "from": "2001-01-01", "until": "2026-11-01"}, "longer than 5 years"),
    ],
)
def test_what_is_no_period_says_what_was_expected(asked, said):
    with pytest.raises(BadPeriod, match=said):
        period_of(asked, NOW)


def test_a_year_that_has_no_day_before_in_the_time_zone_is_no_period(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    with pytest.raises(BadPeriod, match="Before 1970 there is nothing"):
        own("0001-01-01", "0001-01-03")


def rows_of(period, kept_since=date.min, today=date(2026, 12, 1)):
    parts = period.parts_of_names(kept_since, today)
    return [day for span, day in parts if span == "month"], [day for span, day in parts if span == "day"]


def test_names_of_whole_months_are_read_by_month_and_the_rest_by_day():
    months, days = rows_of(own("2026-08-30", "2026-11-26"))
    assert months == [date(2026, 9, 1), date(2026, 10, 1)]
    assert [days[0], days[1], days[2], days[-1]] == [
        date(2026, 8, 30),
        date(2026, 8, 31),
        date(2026, 11, 1),
        date(2026, 11, 26),
    ]
    assert len(days) == 28


def test_of_a_month_whose_beginning_is_gone_days_are_read():
    months, days = rows_of(own("2026-08-30", "2026-11-26"), kept_since=date(2026, 9, 3))
    assert months == [date(2026, 10, 1)]
    assert days[0] == date(2026, 9, 3)


def test_this_month_is_read_as_such_until_today():
    ends_today, today = own("2026-10-30", "2026-11-26"), date(2026, 11, 26)
    months, days = rows_of(ends_today, today=today)
    assert months == [date(2026, 11, 1)]
    assert days == [date(2026, 10, 30), date(2026, 10, 31)]
    months, days = rows_of(own("2026-10-30", "2026-11-25"), today=today)
    assert months == []
    assert days[-1] == date(2026, 11, 25)


def test_every_day_of_a_year_is_read_once():
    period = period_of({"period": "365d"}, NOW)
    months, days = rows_of(period)
    read = list(days)
    for month in months:
        read += [day for day in period.days() if (day.year, day.month) == (month.year, month.month)]
    assert sorted(read) == period.days()
    assert len(months) == 11
