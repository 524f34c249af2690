"""Weekly windows, compared with clocks on the walls of five zones."""

import itertools
import re
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.access.schedules import (
    Schedule,
    Window,
    in_schedule,
    missed_text,
    parse_window,
    schedule_text,
    window_text,
)

WINDOWS = st.builds(
    Window,
    st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, 1439),
    st.integers(0, 1440),
)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe", "Asia/Tokyo")
NIGHT = ("Fri 22:00-06:00", "Sat,Sun 02:00-03:00", "Sun 01:30-02:15")
CHRISTMAS = date(2026, 12, 25)


def schedule(*windows, zone="Europe/Berlin", holidays=()):
    return Schedule(zone, tuple(map(parse_window, windows)), holidays)


def local(text, zone="Europe/Berlin", fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


# Writing windows


@pytest.mark.parametrize(
    ("text", "window", "canonical"),
    [
        ("Mon-Fri 08:00-18:00", Window((0, 1, 2, 3, 4), 480, 1080), "Mon-Fri 08:00-18:00"),
        (" sat,SUN  10:00 - 14:00 ", Window((5, 6), 600, 840), "Sat,Sun 10:00-14:00"),
        ("Fri 22:00-06:00", Window((4,), 1320, 360), "Fri 22:00-06:00"),
        ("DAILY 8:00-20:00", Window(tuple(range(7)), 480, 1200), "daily 08:00-20:00"),
        ("Mon-Sun 00:00-24:00", Window(tuple(range(7)), 0, 1440), "daily 00:00-24:00"),
        ("Fri-Mon 00:00-00:00", Window((0, 4, 5, 6), 0, 0), "Mon,Fri-Sun 00:00-00:00"),
        ("Sun,Mon,Mon 09:00-10:30", Window((0, 6), 540, 630), "Mon,Sun 09:00-10:30"),
    ],
)
def test_a_window_is_read_and_printed(text, window, canonical):
    assert parse_window(text) == window
    assert window_text(window) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("", "Mon", "08:00-18:00", "Mon 8-18", "Mon 08:00", "Mon 24:00-06:00", "Mon 08:60-09:00", "Mon 08:00-24:01"),
        *("Mon 08:00-25:00", "Mon 08:00-09:60", "Montag 08:00-18:00", "Mon- 08:00-09:00", ",Mon 08:00-09:00"),
        *("Mon-Fri-Sun 08:00-09:00", "Mon 08:00-18:00 x", "Mon \u0660\u0668:00-18:00"),
    ],
)
def test_what_is_no_window_is_refused_with_what_was_expected(text):
    with pytest.raises(
        ValueError, match=f"^Expected days and times, such as “Mon-Fri 08:00-18:00”.*{re.escape(text)}”"
    ):
        parse_window(text)


@given(window=WINDOWS)
def test_what_is_printed_is_read_as_the_same(window):
    assert parse_window(window_text(window)) == window


@given(text=st.text(alphabet="MonFriSat,- 0123456789:daily"))
def test_any_text_is_a_window_or_refused(text):
    try:
        window = parse_window(text)
    except ValueError:
        return
    assert parse_window(window_text(window)) == window


# Being in one


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-11-27 07:59:59", False),
        ("2026-11-27 08:00", True),
        ("2026-11-27 17:59:59", True),
        ("2026-11-27 18:00", False),
        ("2026-11-28 12:00", False),
    ],
)
def test_the_end_does_not_belong_to_a_window(moment, inside):
    assert in_schedule(schedule("Mon-Fri 08:00-18:00"), local(moment)) is inside


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-11-27 05:00", False),
        ("2026-11-27 22:00", True),
        ("2026-11-28 05:59", True),
        ("2026-11-28 06:00", False),
        ("2026-11-28 22:00", False),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(moment, inside):
    assert in_schedule(schedule("Fri 22:00-06:00"), local(moment)) is inside


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-12-24 23:59", True),  # begun the day before
        ("2026-12-25 00:00", False),  # the holiday ends it
        ("2026-12-25 23:00", False),  # the holiday begins none
        ("2026-12-26 05:00", False),  # so that none runs on into the next day
        ("2026-12-26 22:00", True),
    ],
)
def test_on_a_holiday_no_window_begins_or_runs(moment, inside):
    assert in_schedule(schedule("daily 22:00-06:00", holidays=(CHRISTMAS,)), local(moment)) is inside


def test_a_holiday_is_that_of_the_place():
    hours = schedule("daily 00:00-24:00", zone="Asia/Tokyo", holidays=(CHRISTMAS,))
    assert in_schedule(hours, datetime(2026, 12, 24, 14, 59, tzinfo=UTC))
    assert not in_schedule(hours, datetime(2026, 12, 24, 15, 0, tzinfo=UTC))


def test_a_window_in_the_hour_that_is_left_out_does_not_open_that_night():
    hours = schedule("Sun 02:00-03:00")
    night = [datetime(2026, 3, 29, tzinfo=UTC) + timedelta(minutes=minute) for minute in range(-60, 240)]
    assert not any(in_schedule(hours, moment) for moment in night)


def test_a_window_in_the_hour_that_comes_twice_is_open_twice():
    hours = schedule("Sun 02:00-03:00")
    night = [datetime(2026, 10, 25, tzinfo=UTC) + timedelta(minutes=minute) for minute in range(-60, 240)]
    assert sum(in_schedule(hours, moment) for moment in night) == 120
    assert in_schedule(hours, local("2026-10-25 02:30", fold=0))
    assert in_schedule(hours, local("2026-10-25 02:30", fold=1))


def test_without_windows_nothing_is_open():
    assert not in_schedule(schedule(), local("2026-11-27 12:00"))


def test_an_unknown_time_zone_and_a_moment_without_one_are_refused():
    for zone in ("Europe/Atlantis", "", "../etc/passwd", "Europe"):
        with pytest.raises(ValueError, match="Expected a time zone"):
            in_schedule(schedule("daily 00:00-24:00", zone=zone), local("2026-11-27 12:00"))
    with pytest.raises(ValueError, match="must know its time zone"):
        in_schedule(schedule("daily 00:00-24:00"), datetime(2026, 11, 27))


# A year of clocks


def walls(zone, year=2026):
    """Every hour of a year in UTC, every minute of seven hours around a change of clocks, and what walls show."""
    tz = ZoneInfo(zone)
    start = datetime(year, 1, 1, tzinfo=UTC)
    hours = [start + timedelta(hours=number) for number in range(365 * 24)]
    changes = [a for a, b in itertools.pairwise(hours) if a.astimezone(tz).utcoffset() != b.astimezone(tz).utcoffset()]
    minutes = [change + timedelta(minutes=number) for change in changes for number in range(-180, 240)]
    moments = sorted({*hours, *minutes})
    return len(changes), [(moment, format(moment.astimezone(tz), "%a %H:%M %Y-%m-%d")) for moment in moments]


def open_minutes(windows):
    """The minutes of a week that windows name, as “Mon 08:00” with the number of days since the window began."""
    names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    found = set()
    for window in windows:
        length = window.ends - window.starts + (1440 if window.ends <= window.starts else 0)
        for day in window.days:
            for minute in range(window.starts, window.starts + length):
                later, clock = divmod(minute, 1440)
                found.add((f"{names[(day + later) % 7]} {clock // 60:02}:{clock % 60:02}", later))
    return found


def is_open(shown, minutes, holidays):
    name, today = shown[:9], date.fromisoformat(shown[10:])
    return today not in holidays and any(
        (name, later) in minutes and today - timedelta(days=later) not in holidays for later in (0, 1)
    )


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_of_hours_is_as_the_clocks_on_the_walls_show(zone):
    random = Random(zone)
    changes, moments = walls(zone)
    assert changes == (0 if zone == "Asia/Tokyo" else 2)
    random_windows = [
        window_text(
            Window((random.randrange(7), *random.sample(range(7), 2)), random.randrange(1440), random.randrange(1441))
        )
        for _ in range(4)
    ]
    for windows in (("Mon-Fri 08:00-18:00",), NIGHT, ("daily 23:30-02:10",), random_windows):
        days = tuple(date(2026, 1, 1) + timedelta(days=random.randrange(365)) for _ in range(20))
        change_days = tuple(moment.date() for moment, _ in moments if moment.minute)[:1]
        for holidays in ((), days + change_days):
            hours = schedule(*windows, zone=zone, holidays=holidays)
            minutes = open_minutes(hours.windows)
            wrong = [
                shown
                for moment, shown in moments
                if in_schedule(hours, moment) is not is_open(shown, minutes, holidays)
            ]
            assert wrong == []


# Saying it


def test_a_schedule_says_what_it_is():
    hours = schedule("Mon-Fri 08:00-18:00", "Sat 10:00-14:00", holidays=(date(2027, 1, 1), CHRISTMAS))
    assert schedule_text(hours) == ("Mon-Fri 08:00-18:00; Sat 10:00-14:00 Europe/Berlin, not on 2026-12-25, 2027-01-01")
    assert schedule_text(schedule()) == "no hours Europe/Berlin"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2026-11-27 19:02", "Friday 19:02 is outside Mon-Fri 08:00-18:00 Europe/Berlin"),
        ("2026-12-25 10:00", "2026-12-25 is a holiday"),
    ],
)
def test_what_was_missed_is_said(moment, text):
    assert missed_text(schedule("Mon-Fri 08:00-18:00", holidays=(CHRISTMAS,)), local(moment)) == text


def test_a_night_that_did_not_begin_is_said_to_have_been_a_holiday():
    hours = schedule("daily 22:00-06:00", holidays=(CHRISTMAS,))
    assert missed_text(hours, local("2026-12-26 05:00")) == (
        "Saturday 05:00 would be in a window that begins on 2026-12-25, which is a holiday"
    )


def test_a_schedule_is_a_value():
    assert len({schedule("Mon 08:00-09:00"), schedule("mon 8:00-9:00")}) == 1


def test_a_window_is_read_to_the_minute():
    assert parse_window("Mon,Wed 08:30-09:45") == Window((0, 2), 8 * 60 + 30, 9 * 60 + 45)
    assert window_text(Window((0, 2), 510, 585)) == "Mon,Wed 08:30-09:45"


def test_a_window_that_ends_when_it_starts_lasts_a_whole_day():
    whole_day = Schedule("UTC", (parse_window("Sat 13:00-13:00"),))
    begins = datetime(2026, 2, 28, 13, tzinfo=UTC)
    for hours, is_open in ((-1, False), (0, True), (1, True), (23, True), (24, False)):
        assert in_schedule(whole_day, begins + timedelta(hours=hours)) is is_open
