"""The timeline: bars of equal times that hold every event once, from no more than a bounded number of them."""

import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from apps.access.reasons import NOTED, STAFF_ACTION, Reason
from apps.audit.browsing import timeline, timeline_page
from apps.audit.browsing.query import parse
from apps.audit.browsing.search import find_events, ways_to, without_word
from apps.audit.browsing.timeline import BARS, OUTCOMES, Count, bars, counts_of
from apps.audit.browsing.timeline_kept import kept_counts
from apps.audit.keeping.retention import purge
from apps.audit.models import AuditEvent
from apps.audit.moving.mover import move_batch
from apps.audit.narrative import outcome
from apps.audit.recording.recorder import new_id
from apps.audit.statistics.models import DayCount, Recount
from tests.admin.conftest import browser_of, make_event
from tests.audit.test_mover import make_record
from tests.factories import make_user

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
NEVER = [("deny", reason) for reason in (*NOTED, STAFF_ACTION)]
"""Nobody refuses what cannot be refused."""

BERLIN = ZoneInfo("Europe/Berlin")


def counts(first, last):
    moments = st.datetimes(first, last).map(lambda moment: moment.replace(tzinfo=UTC))
    return st.lists(
        st.builds(Count, moments, st.sampled_from(list(OUTCOMES)), st.integers(1, 9)), min_size=1, max_size=20
    )


SEARCHES = (
    counts(datetime(2020, 1, 1), datetime(2030, 1, 1))
    | counts(datetime(2026, 3, 28, 22), datetime(2026, 3, 30))
    | counts(datetime(2026, 10, 24, 21), datetime(2026, 10, 26))
)
"""Of all times, and of the days on which clocks change in Berlin."""


@given(SEARCHES, st.sampled_from([UTC, BERLIN, ZoneInfo("Asia/Kathmandu")]))
def test_every_count_is_in_the_bar_of_its_time(found, zone):
    drawn = bars(found, zone)
    assert len(drawn) <= BARS + 1
    assert all(bar.until == following.since for bar, following in pairwise(drawn))
    for bar in drawn:
        for answer in OUTCOMES:
            inside = [count for count in found if count.outcome == answer and bar.since <= count.moment < bar.until]
            assert bar.numbers[answer] == sum(count.number for count in inside)
    assert sum(bar.numbers.total() for bar in drawn) == sum(count.number for count in found)


@pytest.mark.parametrize(
    ("span", "width"),
    [
        (timedelta(0), timedelta(seconds=1)),
        (timedelta(minutes=1), timedelta(seconds=2)),
        (timedelta(hours=1), timedelta(minutes=2)),
        (timedelta(hours=24), timedelta(minutes=30)),
        (timedelta(days=7), timedelta(hours=3)),
        (timedelta(days=400), timedelta(days=7)),
    ],
)
def test_bars_are_as_long_as_people_count(span, width):
    first, *_ = bars([Count(NOW - span, "noted", 1), Count(NOW, "noted", 1)], UTC)
    assert first.until - first.since == width


def test_bars_of_days_begin_at_midnight_also_when_clocks_change():
    found = bars([Count(NOW - timedelta(days=day), "noted", 1) for day in (0, 50)], BERLIN)
    assert {bar.since.astimezone(BERLIN).hour for bar in found} == {0}
    assert {bar.until.astimezone(UTC) - bar.since.astimezone(UTC) for bar in found} == {
        timedelta(hours=24),
        timedelta(hours=25),
    }


@pytest.mark.parametrize(
    ("day", "hours"), [((2026, 3, 29), 23), ((2026, 3, 28), 24), ((2026, 10, 25), 25)], ids=["forward", "day", "back"]
)
def test_a_day_on_which_clocks_change_has_bars_of_equal_times(day, hours):
    begins = datetime(*day, tzinfo=BERLIN).astimezone(UTC)
    moments = [begins, begins + timedelta(hours=hours, seconds=-1)]
    drawn = bars([Count(moment, "allowed", 1) for moment in moments], BERLIN)
    assert drawn[0].since == begins
    assert [bar.numbers.total() for bar in (drawn[0], drawn[-1])] == [1, 1]
    assert {bar.until.astimezone(UTC) - bar.since.astimezone(UTC) for bar in drawn} == {timedelta(minutes=30)}


def test_nothing_has_no_bars():
    assert bars([], UTC) == []


def found(text=""):
    query = parse(text)
    return counts_of(ways_to(find_events(AuditEvent.objects.all(), without_word(query), UTC, NOW), query))


@pytest.mark.django_db
def test_events_are_counted_by_second_and_outcome():
    for effect, reason, later in (
        ("deny", "no-rule", 0), ("deny", "bad-token", 0.9), ("allow", "allowed-by-rule", 1),
        ("allow", "not-refusable", 1), ("allow", "unknown-method", 1.5),
    ):  # fmt: skip
        make_event(username="ann", effect=effect, reason=reason, received_at=NOW + timedelta(seconds=later))
    make_event(username="bob", target="ann", received_at=NOW)
    later = NOW + timedelta(seconds=1)
    expected = {Count(NOW, "refused", 2), Count(later, "allowed", 1), Count(later, "noted", 2)}
    assert (set(found("user:ann").counts), found("user:ann").complete) == (expected, True)
    assert found("ann").total == 6
    assert found("user:nobody").counts == ()


@pytest.mark.django_db
def test_the_chart_and_the_list_call_an_answer_the_same():
    answers = [*((effect, reason) for effect in ("allow", "deny") for reason in (*Reason, STAFF_ACTION))]
    events = [make_event(effect=effect, reason=reason) for effect, reason in answers if (effect, reason) not in NEVER]
    counted = Counter()
    for count in found().counts:
        counted[count.outcome] += count.number
    assert counted == Counter(map(outcome, events))


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["", "user:charlie", "charlie"])
def test_no_more_than_the_newest_are_looked_at(monkeypatch, text):
    monkeypatch.setattr(timeline, "LOOKED_AT", 3)
    for number in range(5):
        make_event(received_at=NOW + timedelta(seconds=number))
    with CaptureQueriesContext(connection) as queries:
        counted = found(text)
    assert {count.moment for count in counted.counts} == {NOW + timedelta(seconds=number) for number in (2, 3, 4)}
    assert not counted.complete
    (sql,) = (query["sql"] for query in queries if "audit_auditevent" in query["sql"])
    assert sql.count("LIMIT 3") == sql.upper().count("LIMIT") > 0


# Where counts are kept that tell of the search


@override_settings(KEEP_EVENTS=5, KEEP_DECISIONS=0)
def test_what_retention_let_go_is_not_drawn_though_counts_are_kept_longer(transactional_db):
    now = timezone.now()
    for number, days in enumerate((40, 20, 20, 20, 3)):
        at = now - timedelta(days=days, minutes=number)
        noted = {"method": "StreamStatusEvent", "reason": "not-refusable"} if days < 40 else {}
        make_record(number, received_at=at, id=new_id(at), **noted)
    move_batch()
    Recount.objects.create(pk=1, done=True)
    purge(now, time.monotonic() + 30)
    assert AuditEvent.objects.exclude(reason=STAFF_ACTION).count() == 2
    counts = kept_counts(QueryDict(), parse("-decision:changed"), now)
    assert sorted((count.outcome, count.number) for count in counts.counts) == [("allowed", 1), ("noted", 1)]


@pytest.fixture
def kept(transactional_db, monkeypatch):
    """A year with a hook every week, and three refused ones now; gives the totals of the chart of a list."""
    monkeypatch.setattr(timeline, "LOOKED_AT", 3)
    now = timezone.now()
    for number in range(52):
        at = now - timedelta(weeks=number)
        make_record(received_at=at, id=new_id(at), node_id="n@1" if number % 2 else "n@2", media_session_id=f"{number}")
    for number in range(3):
        make_record(received_at=now, id=new_id(now), effect="deny", reason="no-rule", media_session_id=f"r{number}")
    move_batch()
    Recount.objects.create(pk=1, done=True)

    def totals(**asked):
        counts = kept_counts(QueryDict(urlencode(asked)), parse(asked.get("q", "")), now)
        if counts is None:
            return None
        assert not counts.exact
        found = Counter()
        for count in counts.counts:
            found[count.outcome] += count.number
        return dict(found)

    return totals


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"allowed": 52, "refused": 3}),
        ({"q": "decision:refused"}, {"refused": 3}),
        ({"effect": "deny"}, {"refused": 3}),
        ({"effect": "allow", "node": "n@1"}, {"allowed": 26}),
        ({"effect": "noted"}, {}),
        ({"node": "n@1"}, {"allowed": 26}),
        ({"q": "node:n@2 after:100d"}, {"allowed": 8}),
        ({"last": "30d"}, {"allowed": 5, "refused": 3}),
        ({"last": "24h"}, None),
        ({"q": "user:alice"}, None),
        ({"username": "alice"}, None),
        ({"q": "-after:100d"}, None),
    ],
)
def test_counts_that_are_kept_tell_of_all_of_a_long_time(kept, asked, expected):
    assert kept(**asked) == expected


@pytest.mark.parametrize("asked", [{}, {"q": "after:2019-01-01"}, {"from": "2019-01-01T00:00"}])
def test_years_of_which_the_log_has_nothing_left_are_not_drawn(kept, asked):
    gone = {"effect": "allow", "reason": "allowed-by-rule", "action": "play", "app_key": "a", "node_id": "n@1"}
    DayCount.objects.create(day=date(2020, 1, 1), events=5, hooks=5, **gone)
    assert kept(**asked) == {"allowed": 52, "refused": 3}
    AuditEvent.objects.all().delete()
    assert kept(**asked) is None


@pytest.mark.parametrize(("looked_at", "exact"), [(55, True), (54, False)])
def test_hours_and_days_are_drawn_only_where_there_is_more_than_is_looked_at(kept, monkeypatch, looked_at, exact):
    """Else each event is drawn at its second, and not at its day."""
    monkeypatch.setattr(timeline_page, "LOOKED_AT", looked_at)
    root = make_user("root", is_staff=True, is_superuser=True)
    assert browser_of(root).get("/admin/audit/auditevent/timeline/").context["counts"].exact is exact


def test_what_is_not_counted_yet_is_not_told_from_counts(kept):
    Recount.objects.update(done=False, counted_back_to=timezone.now().date())
    assert kept() is None
