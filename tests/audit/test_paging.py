"""Pages of the audit log: every event once and in order, however one turns them, and never counted or skipped over."""

import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.audit.browsing import paging
from apps.audit.browsing.paging import (
    NEWER,
    OLDER,
    OLDEST,
    BadPage,
    Place,
    TakesTooLong,
    Turn,
    page_of,
    patience,
    read_turn,
)
from apps.audit.browsing.query import parse
from apps.audit.browsing.search import find_events, ways_to, without_word
from apps.audit.models import AuditEvent
from tests.admin.conftest import make_event

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SIZE = 3


def ways(text=""):
    query = parse(text)
    return ways_to(find_events(AuditEvent.objects.all(), without_word(query), UTC, NOW), query)


def in_order(text=""):
    """What a search finds, in the order of the log, by a way of its own."""
    found = {event.pk: event for way in ways(text) for event in way}
    return sorted(found.values(), key=lambda event: (event.received_at, event.id), reverse=True)


def walk(first, onward, text="", meanwhile=lambda: None):
    """All pages from this one on, as one list."""
    turn, pages = first, []
    while turn is not None:
        page = page_of(ways(text), turn, SIZE)
        pages.append(list(page.events))
        turn = getattr(page, onward)
        meanwhile()
    return pages


def flat(pages, onward):
    return [event for page in (pages if onward == "older" else pages[::-1]) for event in page]


@given(
    moments=st.lists(st.integers(0, 6), max_size=25),
    late=st.lists(st.integers(0, 8), max_size=6),
    onward=st.sampled_from(["older", "newer"]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_pages_give_every_event_once_and_in_order_while_others_come(moments, late, onward):
    """Many of the same microsecond; each page turned, another one comes, anywhere in time."""
    AuditEvent.objects.all().delete()
    for moment in moments:
        make_event(received_at=NOW + timedelta(microseconds=moment))
    before, coming = in_order(), list(late)

    def meanwhile():
        if coming:
            make_event(received_at=NOW + timedelta(microseconds=coming.pop()))

    walked = flat(walk(Turn() if onward == "older" else Turn(OLDEST), onward, meanwhile=meanwhile), onward)
    known = {event.pk for event in before}
    assert [event for event in walked if event.pk in known] == before
    assert walked == [event for event in in_order() if event in walked]


@pytest.mark.parametrize("text", ["", "user:ann", "ann", "ann lobby", "-ann", "decision:refused", "user:a*"])
def test_pages_turn_forward_and_back_over_what_a_search_finds(text):
    """A word may stand in several columns, of one event, too."""
    choice = random.Random(text).choice
    for number in range(30):
        make_event(
            username=choice(["ann", "bob"]), target=choice(["ann", "lobby", "x"]), call_id=choice(["ann", "", ""]),
            effect=choice(["allow", "deny"]), received_at=NOW + timedelta(seconds=number // 3),
        )  # fmt: skip
    expected = in_order(text)
    forward = walk(Turn(), "older", text)
    assert len(expected) > SIZE
    assert flat(forward, "older") == expected
    assert all(len(page) == SIZE for page in forward[:-1])
    assert flat(walk(Turn(OLDEST), "newer", text), "newer") == expected
    middle = page_of(ways(text), Turn(OLDER, Place.of(expected[2])), SIZE)
    assert list(page_of(ways(text), middle.newer, SIZE).events) == expected[:3]


def test_a_word_finds_everything_however_much_there_is(monkeypatch):
    for number in range(40):
        make_event(username="ann", received_at=NOW + timedelta(seconds=number))
    monkeypatch.setattr("apps.accounts.pages.HITS_SHOWN", 5)
    assert flat(walk(Turn(), "older", "ann"), "older") == in_order()
    assert find_events(AuditEvent.objects.all(), parse("-ann"), UTC, NOW).count() == 0


def test_the_ends_lead_no_further():
    events = [make_event(received_at=NOW - timedelta(seconds=number)) for number in range(7)]
    newest, oldest = page_of(ways(), Turn(), SIZE), page_of(ways(), Turn(OLDEST), SIZE)
    assert (newest.newer, oldest.older) == (None, None)
    assert list(oldest.events) == events[-SIZE:]
    assert page_of(ways(), Turn(NEWER, Place.of(events[0])), SIZE).events == ()
    assert page_of(ways(), Turn(OLDER, Place.of(events[3])), SIZE).older is None


@pytest.mark.parametrize("number", range(3))
def test_a_page_is_read_from_its_address(number):
    place = Place.of(make_event(received_at=NOW + timedelta(microseconds=number)))
    for turn in (Turn(), Turn(OLDEST), Turn(OLDER, place), Turn(NEWER, place)):
        assert read_turn(str(turn)) == turn


@pytest.mark.parametrize(
    "text",
    [
        "2", "older", "older.", "newer.x_y", "oldest.2026-11-26T12:00:00.000000Z_x", "first",
        "older.2026-11-26T12:00:00.000000Z_", "older.\0",
        "older.0000-00-00T00:00:00.000000Z_00000000-0000-7000-8000-000000000000",
    ],
)  # fmt: skip
def test_what_is_no_page_is_a_sentence(text):
    with pytest.raises(BadPage, match="Turn the pages below the list"):
        read_turn(text)


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_places_at_the_ends_of_time_find_what_is_beside_them(year):
    event = make_event()
    for to in (OLDER, NEWER):
        turn = read_turn(f"{to}.{year}-01-01T00:00:00.000000Z_00000000-0000-7000-8000-000000000000")
        found = page_of(ways(), turn, SIZE).events
        assert found == ((event,) if (to == OLDER) == (year == "9999") else ())


@pytest.mark.parametrize("text", ["", "ann", "user:ann decision:refused"])
def test_a_page_is_one_query_without_counting_or_skipping(text):
    for number in range(9):
        make_event(username="ann", received_at=NOW + timedelta(seconds=number))
    turn = page_of(ways(text), Turn(), SIZE).older
    for asked in (Turn(), turn, Turn(OLDEST)):
        with CaptureQueriesContext(connection) as queries:
            page_of(ways(text), asked, SIZE)
        assert len(queries) == 1, queries.captured_queries
        sql = queries[0]["sql"]
        assert f"LIMIT {SIZE + 1}" in sql
        assert "OFFSET" not in sql
        assert "COUNT(" not in sql.upper()


PLANS = {
    "": "ROW(received_at, id)",
    "user:n007": "username",
    "target:n007": "target",
    "number:+1007": "number",
    "ip:172.16.1.7": "client_address",
    "session:n007": "session_id",
    "call:n007": "call_id",
    "node:n007": "node_id",
    "method:n007": "method",
    "reason:bad-token": "reason",
    "decision:refused": "ROW(received_at, id)",
}


@pytest.mark.parametrize("text", PLANS)
@pytest.mark.parametrize("to", [OLDER, NEWER])
def test_a_page_is_a_range_of_an_index_and_nothing_is_sorted_whole(text, to):
    """The place itself is part of the range, so that the thousandth page costs what the first one does."""
    for number in range(300):
        name = f"n{number % 10:03}"
        make_event(
            username=name, target=name, number=f"+1{name[1:]}", call_id=name, session_id=name, node_id=name,
            method=name, client_address=f"172.16.1.{number % 10}", reason="no-rule" if number % 30 else "bad-token",
            received_at=NOW + timedelta(seconds=number),
        )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_auditevent")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    place = Place(NOW + timedelta(seconds=150), make_event(received_at=NOW).id)
    (way,) = ways(text)
    beyond, order = (
        (paging.older_than, paging.NEWEST_FIRST) if to == OLDER else (paging.newer_than, paging.OLDEST_FIRST)
    )
    plan = paging.first_of([beyond(place, way)], order, SIZE).explain()
    assert not re.search(r"^\s*(->  )?Sort  ", plan, re.MULTILINE), plan
    condition = re.search(r" on audit_auditevent_first .*\n\s*Index Cond: (.*)", plan)  # the others are empty
    assert "received_at" in condition[1], plan
    assert PLANS[text] in condition[1], plan


def test_what_takes_too_long_is_stopped():
    with pytest.raises(TakesTooLong), patience(timedelta(milliseconds=20)), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(2)")
    with patience(timedelta(milliseconds=20)):
        pass
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.1)")


def test_another_limit_of_the_transaction_holds_again_afterwards():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '7s'")
        with patience(timedelta(seconds=1)):
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("1s",)
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("7s",)
