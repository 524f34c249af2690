"""Exports: everything once, in order, in bounded pieces, harmless to spreadsheets, and noted."""

import csv
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import DataError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.audit.browsing.paging import Place
from apps.audit.exporting.export import COLUMNS, CSV, FORMATS, JSON_LINES, BadPlace, Resume, in_chunks
from apps.audit.models import AuditEvent
from tests.admin.conftest import make_event

pytestmark = pytest.mark.django_db
NOW = timezone.now().replace(microsecond=5)


@pytest.fixture
def events():
    """Seven, three of which came in the same microsecond; the newest first."""
    for number in range(7):
        make_event(status=str(number), received_at=NOW - timedelta(seconds=max(0, number - 2)))
    return list(AuditEvent.objects.order_by("-received_at", "-id"))


def taken(after=None, chunk=2):
    return list(in_chunks(AuditEvent.objects.all(), after, chunk))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_every_event_comes_once_and_in_order(events, chunk):
    assert taken(chunk=chunk) == events


@pytest.mark.parametrize("number", range(7))
def test_an_export_goes_on_after_any_row(events, number):
    assert taken(Place.of(events[number])) == events[number + 1 :]


def test_where_it_goes_on_and_when_it_was_asked_for_are_in_every_row(events):
    asked_at = NOW + timedelta(hours=1)
    rows = [json.loads(line) for line in FORMATS[JSON_LINES].lines(taken(), asked_at)]
    assert [Resume.read(row["resume"]) for row in rows] == [(Place.of(event), asked_at) for event in events]


def test_a_place_that_cannot_be_read_is_a_sentence():
    good, moment = f"2026-01-01T00:00:00.0Z_{uuid4()}", "2026-01-01T00:00:00.0Z"
    assert Resume.read(f"{good}@{moment}").asked_at == datetime(2026, 1, 1, tzinfo=UTC)
    no_moment = (good, f"{good}@", f"{good}@now", f"{good}@9999{moment[4:]}")
    for text in ("7", "2026-01-01_x", "_", f"now_{uuid4()}@{moment}", *no_moment):
        with pytest.raises(BadPlace, match="all that stands under “resume”"):
            Resume.read(text)


def test_a_chunk_is_a_query_and_none_looks_at_more_rows_than_it_gives(events):
    with CaptureQueriesContext(connection) as queries:
        taken(chunk=3)
    looked = [query["sql"] for query in queries if '"audit_auditevent"' in query["sql"]]
    assert len(looked) == 3
    assert all("OFFSET" not in sql and "LIMIT 3" in sql for sql in looked)


@pytest.mark.parametrize("begin", ["=1+1", "+49", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_nothing_is_calculated_by_a_spreadsheet(begin):
    make_event(username=begin, target=f'{begin}, "quoted"')
    _, row = csv.reader(b"".join(FORMATS[CSV].lines(taken(), NOW)).decode().splitlines(keepends=True))
    assert row[COLUMNS.index("username")] == f"'{begin}"
    assert row[COLUMNS.index("target")] == f'\'{begin}, "quoted"'


def test_json_lines_have_everything_and_the_body(events):
    make_event(body=b'{"name": "l\xc3\xa4rm"}', rule_ids=[3], rules=["Allow"], received_at=NOW + timedelta(1))
    first = json.loads(next(FORMATS[JSON_LINES].lines(taken(), NOW)))
    assert first.keys() == {*COLUMNS, "body", "resume"}
    assert (first["body"], first["rule_ids"], first["rules"]) == ('{"name": "lärm"}', [3], ["Allow"])
    assert sum(1 for _ in FORMATS[JSON_LINES].lines(taken(), NOW)) == 8


class Broken(Exception):
    """What happens to somebody in the middle."""


def broken(events):
    yield from events
    raise Broken


@pytest.mark.parametrize("kind", [CSV, JSON_LINES])
@pytest.mark.parametrize("number", [0, 3])
def test_what_breaks_off_says_so_in_a_last_line_and_how_it_goes_on(events, kind, number):
    lines, before = [], str(Resume(Place.of(events[0]), NOW))
    with pytest.raises(Broken):
        lines.extend(FORMATS[kind].lines(broken(events[:number]), NOW, before))
    *rows, last = lines
    assert last.startswith(b'{"error": "not-complete"' if kind == JSON_LINES else b'"Not complete: it broke off here.')
    assert (str(Resume(Place.of(events[number - 1]), NOW)) if number else before).encode() in last
    assert len(rows) == number + (kind == CSV)
    if kind == CSV:
        assert {len(row) for row in csv.reader(b"".join(lines).decode().splitlines())} == {len(COLUMNS) + 1}


def test_what_is_wrong_from_the_beginning_is_said_before_anything_is_sent(events):
    """Such a query fails in Postgres alone."""
    with pytest.raises(DataError):
        in_chunks(AuditEvent.objects.extra(where=["1 / (repeats - repeats) = 1"]))
