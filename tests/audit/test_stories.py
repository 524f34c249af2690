"""Stories on a real log: each query through an index, and what is found of a person and of a stream."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.reasons import Reason
from apps.audit.models import AuditEvent, NameTime
from apps.audit.stories import person, stream, stream_page
from apps.audit.stories.call import call_story
from apps.audit.stories.events import entry_of, events_of
from apps.audit.stories.person import attempts, refusals, usual
from apps.audit.stories.session import session_story
from apps.audit.stories.stream import stream_story
from apps.audit.stories.timeline import Phase
from tests import factories
from tests.admin.conftest import make_event, make_session

ALLOWED = {"effect": "allow", "reason": Reason.ALLOWED_BY_RULE}
NOTED = {"effect": "allow", "reason": Reason.NOT_REFUSABLE, "action": "notify"}


@pytest.fixture
def now(db):
    return timezone.now()


def plans(ask):
    """The plans of all queries of the log and of what runs, with indexes preferred as on a large table."""
    with CaptureQueriesContext(connection) as log:
        ask()
    queries = [row["sql"] for row in log if re.search(r'FROM "(audit_auditevent|live_lease)"', row["sql"])]
    assert queries
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for sql in queries:
            cursor.execute(f"EXPLAIN {sql}")
            yield "\n".join(line for (line,) in cursor.fetchall())


def fill(now):
    """Enough of everything for an index to be worth it."""
    alice = factories.make_user("alice")
    for number in range(300):
        name, at = f"{number:03}", now - timedelta(minutes=number)
        answer = {"effect": "allow" if number % 2 else "deny", "reason": f"reason-{number % 30}"}
        make_event(session_id=name, call_id=name, target=name, username=name, received_at=at, **answer)
        factories.make_lease(alice, name, target=name, session_id=name, username=name, opened_at=at)
    make_session(alice, session_id="007", opened_at=now - timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_auditevent, live_lease")


@pytest.mark.parametrize(
    ("ask", "columns"),
    [
        (
            lambda now: session_story(
                factories.NODE_ID, "007", at=None, after=None, now=now, with_log=True, with_leases=True
            ),
            ["session_id", "reason", "record_id"],
        ),
        (
            lambda now: call_story(factories.NODE_ID, "007", at=now, after=None, now=now, with_leases=True),
            ["call_id", "call_id", "record_id"],
        ),
        (
            lambda now: stream_story(
                "007", now - timedelta(days=1), now, now, with_log=True, with_leases=True
            ),
            ["target", *["target", "target", "counted|target"] * 2],
        ),
        (
            lambda now: stream_story("007", now - timedelta(days=1), now, now, with_log=True, with_leases=False),
            ["target", "target"],
        ),
        (lambda now: (attempts("007", now), refusals("007", now)), ["username", "username"]),
    ],
    ids=["session", "call", "stream", "stream by hooks", "person"],
)  # fmt: skip
def test_every_query_goes_through_an_index(now, ask, columns):
    fill(now)
    found = list(plans(lambda: ask(now)))
    assert len(found) == len(columns)
    for plan, column in zip(found, columns, strict=True):
        assert re.search(rf"Index Cond: \(.*\b({column})\b", plan), plan


def test_partitions_of_other_times_are_not_looked_into(now):
    make_event(session_id="s", received_at=now - timedelta(hours=1))
    events = events_of(now - timedelta(days=1), now).filter(session_id="s")
    assert "p20270101" not in events.explain()


def test_a_failure_that_tells_that_an_id_is_in_use_ends_nothing(now):
    failed = {"status": "FAILED", "received_at": now - timedelta(minutes=1), "media_session_id": "m-1", **NOTED}
    in_use = make_event("StreamStatusEvent", body=b'{"info":"MediaSessionId is already in use"}', **failed)
    other = make_event("StreamStatusEvent", body=b'{"info":"Failed by internal error"}', **failed)
    found = {event.pk: entry_of(event).phase for event in events_of(now - timedelta(hours=1), now)}
    assert found == {in_use.pk: Phase.MEANWHILE, other.pk: Phase.ENDED}


@pytest.mark.parametrize(
    ("method", "fields", "phase"),
    [
        ("connect", ALLOWED, Phase.ASKED),
        ("PLAYSTREAM", ALLOWED, Phase.ASKED),
        ("playStream", {}, Phase.MEANWHILE),  # refused
        ("hold", ALLOWED, Phase.MEANWHILE),
        ("CallStatusEvent", {**NOTED, "status": "ESTABLISHED"}, Phase.STARTED),
        ("CallStatusEvent", {**NOTED, "status": "RING"}, Phase.MEANWHILE),
        ("CallStatusEvent", {**NOTED, "status": "BUSY"}, Phase.ENDED),
        ("ConnectionStatusEvent", {**NOTED, "status": "ESTABLISHED"}, Phase.STARTED),
        ("ConnectionStatusEvent", {**NOTED, "status": "DISCONNECTED"}, Phase.ENDED),
        ("newMethod", {"effect": "allow", "reason": Reason.UNKNOWN_METHOD}, Phase.MEANWHILE),
    ],
)
def test_what_an_event_is_to_what_runs(now, method, fields, phase):
    make_event(method, **fields)
    (event,) = events_of(now - timedelta(hours=1), now)
    assert entry_of(event).phase is phase


def test_end_and_beginning_that_came_in_the_wrong_order_are_told_right(now):
    ids = {"session_id": "s", "media_session_id": "m-1", "username": "alice"}
    at = now - timedelta(minutes=2)
    make_event("StreamStatusEvent", received_at=at, status="STOPPED", **ids, **NOTED)
    make_event("StreamStatusEvent", received_at=at + timedelta(milliseconds=5), status="PLAYING", **ids, **NOTED)
    make_event("playStream", received_at=at + timedelta(milliseconds=9), **ids, **ALLOWED)
    story = session_story(
        factories.NODE_ID, "s", at=None, after=None, now=now, with_log=True, with_leases=False
    )  # fmt: skip
    assert [entry.status for entry in story.told.entries] == ["", "PLAYING", "STOPPED"]
    (run,) = story.told.runs.values()
    assert run.why == "STOPPED"


def test_what_somebody_usually_does_is_the_last_attempt_at_a_few_things_of_each_kind(now):
    alice = factories.make_user("alice")
    who = {"username": "alice", "user": alice}
    for number in range(5):
        make_event(target=f"s-{number}", received_at=now - timedelta(minutes=number), body=b"{}", **who)
        make_event(target=f"s-{number}", received_at=now - timedelta(hours=1), **who)
    make_event("sendMessage", **{**who, "action": "message"})
    make_event("call", **{**who, "action": "call", "target": "1"})
    tried = attempts("alice", now)
    found = usual(alice, tried)
    assert [(event.action, event.target) for event in found] == [
        ("play", "s-0"), ("play", "s-1"), ("play", "s-2"), ("call", "1"),
    ]  # fmt: skip
    assert found[0].received_at == now
    assert usual(alice, []) == []


def test_where_they_take_too_long_to_find_no_refusals_are_told_but_those_read_anyway(now, monkeypatch):
    make_event(username="alice", received_at=now)
    slow = AuditEvent.objects.extra(where=["pg_sleep(0.05) IS NOT NULL"])
    monkeypatch.setattr(person, "PATIENCE", timedelta(milliseconds=10))
    assert len(refusals("alice", now)) == 1
    monkeypatch.setattr(person, "_of", lambda username, since: slow)
    assert refusals("alice", now) == []


# More than is looked at


def watch(now, number, **fields):
    """So many viewers, each with a user of their own."""
    for each in range(number):
        who = {"key": f"v-{each}", "session_id": f"s-{each}", "username": f"v{each}"}
        factories.make_lease(None, **{**who, "opened_at": now - timedelta(minutes=5), **fields})


def told_of_lobby(now, days=1, *, with_leases=True, until=None):
    return stream_story("lobby", now - timedelta(days=days), until or now, now, with_log=True, with_leases=with_leases)


@pytest.fixture
def alice(now):
    """She publishes, and did so before anybody watched."""
    alice = factories.make_user("alice")
    factories.make_lease(alice, "camera", "publish", opened_at=now - timedelta(hours=2))
    return alice


def test_who_published_is_told_however_many_watch(now, alice, monkeypatch):
    monkeypatch.setattr(stream, "LOOKED_AT", 3)
    watch(now, 3)
    story = told_of_lobby(now)
    assert (story.watched.at_least, story.watched.peak[0]) == (False, 3)
    watch(now, 2, key="later", started_at=now - timedelta(minutes=1))
    story = told_of_lobby(now)
    assert [part.who for part in story.published.parts] == ["alice"]
    assert (story.published.at_least, story.watched.at_least) == (False, True)
    assert (story.watched.people, story.watched.running, story.watched.peak[0]) == (3, 3, 3)
    said = stream_page._said(story, "lobby")
    assert "published by alice and watched by at least 3 people, at least 3 times. At least 3 watched at once" in said
    assert "Not ended, as far as is known: at least 4." in said


@pytest.mark.parametrize("began", [timedelta(minutes=9), timedelta(hours=30), timedelta(days=3)])
def test_whenever_viewers_began_that_there_are_more_is_said(now, alice, monkeypatch, began):
    monkeypatch.setattr(stream, "LOOKED_AT", 3)
    watch(now, 4, opened_at=now - began)
    assert told_of_lobby(now).watched.at_least


def test_the_most_at_once_is_known_of_days_that_were_measured(now, alice, monkeypatch):
    monkeypatch.setattr(stream, "LOOKED_AT", 3)
    today = now.astimezone(timezone.get_default_timezone()).date()
    for days, peak in ((0, 5), (1, 9), (2, 70), (3, 800)):
        columns = {"span": "day", "about": "target", "action": "play", "name": "lobby", "times": 1, "seconds": 1}
        NameTime.objects.create(**columns, starts_on=today - timedelta(days=days), peak=peak)
    watch(now, 3)
    assert told_of_lobby(now, days=2).watched.peak[0] == 3, "All of it was looked at."
    watch(now, 1, key="more")
    story = told_of_lobby(now, days=2)
    assert story.watched.peak == (9, today - timedelta(days=1)), "Of the first day a part alone is asked about."
    assert f"At least 9 watched at once, on {today - timedelta(days=1)}." in stream_page._said(story, "lobby")
    assert told_of_lobby(now, days=3, until=now - timedelta(minutes=1)).watched.peak[0] == 70, "nor is today whole"


def publish(at, **fields):
    ids = {"username": "alice", "media_session_id": "camera", "session_id": "hers", "target": "lobby"}
    allowed = {"effect": "allow", "reason": "allowed-by-rule", "action": "publish"}
    make_event("publishStream", received_at=at, **ids, **allowed)
    for minutes, status in ((1, "PUBLISHING"), (4, "UNPUBLISHED")):
        make_event("StreamStatusEvent", received_at=at + timedelta(minutes=minutes), status=status, **ids, **NOTED)


def test_from_hooks_who_published_is_told_however_many_watched_later(now, monkeypatch):
    monkeypatch.setattr(stream, "EVENTS_READ", 8)
    publish(now - timedelta(hours=3))
    for number in range(5):
        ids = {"username": f"v{number}", "media_session_id": f"v-{number}", "session_id": f"s-{number}"}
        make_event(received_at=now - timedelta(minutes=number + 1), **ids, **ALLOWED)
    story = told_of_lobby(now, with_leases=False)
    assert (story.watched.at_least, len(story.watched.parts)) == (False, 5)
    monkeypatch.setattr(stream, "EVENTS_READ", 3)
    story = told_of_lobby(now, with_leases=False)
    assert (story.watched.at_least, len(story.watched.parts)) == (True, 4)
    (part,) = story.published.parts
    assert (part.who, part.run.lasted(now), story.published.at_least) == ("alice", timedelta(minutes=3), False)
    monkeypatch.setattr(stream, "PUBLISHED_READ", 1)
    publish(now - timedelta(hours=2))
    assert told_of_lobby(now, with_leases=False).published.at_least


def test_where_it_takes_too_long_nobody_is_said_to_have_published(now, monkeypatch):
    monkeypatch.setattr(stream, "PATIENCE", timedelta(milliseconds=1))
    slow = AuditEvent.objects.extra(where=["pg_sleep(0.01) IS NOT NULL"])
    publish(now)
    assert stream._publications(slow) == ([], True)
    watch(now, 1)
    story = stream.StreamStory(stream.Did(at_least=True), told_of_lobby(now).watched)
    assert "published by somebody, of whom nothing can be read here" in stream_page._said(story, "lobby")


def test_publications_have_an_index_of_their_own(now):
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'lease_published'")
        assert "(target, opened_at DESC) WHERE (action = 'publish'::text)" in cursor.fetchone()[0]
