"""The feed: everything once, in the order in which it became visible, and nothing that comes late is skipped."""

import random
import threading
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.reasons import STAFF_ACTION
from apps.audit.chain import entries
from apps.audit.exporting import feed
from apps.audit.exporting.export import row
from apps.audit.exporting.feed import BEGINNING, Cursor, UnknownCursor, end, first_since, page
from apps.audit.locks import AdvisoryLock, wait_for
from apps.audit.models import AuditEvent, Batch, ChangeRecord, HookRecord
from apps.audit.moving.batches import append, next_number
from apps.audit.moving.changes import move_changes
from apps.audit.moving.mover import move_batch
from tests import factories
from tests.audit.test_mover import make_record


@pytest.fixture
def database(transactional_db):
    """A database to commit to."""
    factories.make_node()
    ChangeRecord.objects.all().delete()


def read(after=BEGINNING, limit=1000):
    """All items after a place, and the place after them."""
    items, more = [], True
    while more:
        given, after, more, _ = page(after, limit)
        items += given
    return items, after


def ids(items):
    return [(item["kind"], item["id"]) for item in items]


def chain():
    """What the batches say there is, in their order."""
    kinds = {b"D": "event", b"E": "event", b"S": "change"}
    return [
        (kinds.get(kept.kind, "count"), kept.id)
        for batch in Batch.objects.order_by("number")
        for kept in entries(bytes(batch.entries))
    ]


def test_an_event_is_given_as_an_export_has_it_and_then_its_counts(database):
    make_record(0, media_session_id="")
    move_batch()
    first, place = read()
    event = AuditEvent.objects.get()
    assert first == [{"kind": "event", **row(event)}]
    assert (first[0]["body"], first[0]["batch"]) == ('{"name":"lobby"}', 1)
    make_record(1, media_session_id="")
    move_batch()
    second, place = read(place)
    event.refresh_from_db()
    assert second == [
        {
            "kind": "count",
            "batch": 2,
            "id": event.id,
            "repeats": 1,
            "last_received_at": event.last_received_at.isoformat(),
            "while_away": False,
        }
    ]
    assert read(place)[0] == []


def test_what_staff_change_is_in_the_same_order(database):
    make_record(0)
    move_batch()
    factories.make_user("alice")
    move_changes()
    make_record(1)
    move_batch()
    items, _ = read()
    assert [item["kind"] for item in items] == ["event", "change", "event"]
    assert (items[1]["reason"], items[1]["target"]) == (STAFF_ACTION, "user “alice”")


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_of_any_size_give_the_same(database, limit):
    for number in range(10):
        make_record(number)
    while move_batch(3):
        pass
    items, place = read(limit=limit)
    assert ids(items) == chain()
    assert place == end()


def test_whoever_stops_anywhere_goes_on_from_the_last_cursor_kept(database):
    """And gets again what was given after that, in the same order: at least once."""
    for number in range(40):
        make_record(number, media_session_id=f"m-{number % 25}")
    while move_batch(4):
        pass
    dice, kept, place, more = random.Random(5), [], BEGINNING, True
    while more:
        given = page(place, dice.randint(1, 6))
        if dice.random() < 0.4:
            continue  # killed before it could keep anything
        kept += given.items
        place, more = Cursor.read(str(given.next)), given.more
    assert ids(kept) == chain()


def test_a_reader_gets_everything_once_and_nothing_late_while_four_workers_and_staff_are_at_it(database):
    """Records that are committed late, or wait, have early times; movers are anywhere at any moment."""
    dice, done, read_all, problems = random.Random(7), threading.Event(), threading.Event(), []
    read_items, place = [], BEGINNING

    def run(work):
        def guarded():
            try:
                work()
            except Exception as error:
                problems.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    def send(numbers):
        for number in numbers:
            make_record(number, seconds=dice.uniform(-3000, 0), media_session_id=f"m-{number % 50}")

    def move():
        while not done.is_set() or HookRecord.objects.exists() or ChangeRecord.objects.exists():
            move_batch(dice.randint(1, 9))
            move_changes(dice.randint(1, 5))

    def follow():
        nonlocal place
        while True:
            last = read_all.is_set()
            given = page(place, dice.randint(1, 20))
            read_items.extend(given.items)
            place = given.next
            if last and not given.more:
                return

    def change():
        for number in range(30):
            factories.make_user(f"user-{number}")

    movers, reader = [run(move) for _ in range(4)], run(follow)
    senders = [run(lambda start=start: send(range(start, 150, 3))) for start in range(3)]
    for thread in [*senders, run(change)]:
        thread.join()
    done.set()
    for thread in movers:
        thread.join()
    read_all.set()
    reader.join()
    assert problems == []
    assert ids(read_items) == chain()
    assert {kind for kind, _ in ids(read_items)} == {"event", "change", "count"}
    assert {id_ for kind, id_ in ids(read_items) if kind != "count"} == set(
        AuditEvent.objects.values_list("id", flat=True)
    )


def test_in_the_order_of_time_a_late_one_would_be_lost(database):
    """Why it is batches: the same, read by when hooks came, misses one that had waited in a spool."""
    make_record(10)
    move_batch()
    newest, place = AuditEvent.objects.latest("received_at"), read()[1]
    late = make_record(3)
    move_batch()
    by_time = AuditEvent.objects.filter(received_at__gt=newest.received_at).order_by("received_at", "id")
    by_id = AuditEvent.objects.filter(id__gt=newest.id).order_by("id")
    assert (list(by_time), list(by_id)) == ([], [])
    assert ids(read(place)[0]) == [("event", late.id)]


def test_a_batch_that_is_not_committed_is_waited_for(database):
    """It has its number, and none after it can be had before it is seen: so nobody reads past it."""
    make_record(0)
    written, commit = threading.Event(), threading.Event()

    def slow():
        with transaction.atomic():
            wait_for(AdvisoryLock.BATCHES)
            append(next_number(), timezone.now(), note={"slow": True})
            written.set()
            commit.wait()
        connections.close_all()

    mover = threading.Thread(target=slow)
    mover.start()
    written.wait()
    assert move_batch() == 0, "another one is at it"
    assert page(BEGINNING, 10).hashes == {}
    commit.set()
    mover.join()
    move_batch()
    assert list(page(BEGINNING, 10).hashes) == [1, 2]


def test_what_retention_let_go_is_passed_over(database):
    for number in range(4):
        make_record(number)
        move_batch()
    gone = AuditEvent.objects.order_by("id")[1]
    AuditEvent.objects.filter(id=gone.id).delete()
    items, place = read(limit=1)
    assert ids(items) == [entry for entry in chain() if entry[1] != gone.id]
    assert place == Cursor(4, 1)


def test_the_hashes_are_those_of_the_chain_and_the_last_one_comes_again(database):
    for number in range(3):
        make_record(number)
        move_batch()
    hashes = {batch.number: bytes(batch.hash).hex() for batch in Batch.objects.all()}
    given = page(BEGINNING, 10)
    assert (given.hashes, given.more) == (hashes, False)
    again = page(given.next, 10)
    assert (again.items, again.hashes, again.more) == ([], {3: hashes[3]}, False)


# Where to begin


def test_a_record_in_which_there_is_nothing_yet_has_a_beginning(database):
    assert page(BEGINNING, 10) == ([], BEGINNING, False, {})
    assert end() == first_since(timezone.now()) == BEGINNING


def test_it_begins_after_what_is_there(database):
    make_record(0)
    move_batch()
    place = end()
    make_record(1)
    move_batch()
    assert len(read(place)[0]) == 1


def moved(*seconds):
    """Batches that were moved so many seconds ago."""
    now = timezone.now()
    for number, ago in enumerate(seconds, start=1):
        make_record(number)
        move_batch()
        Batch.objects.filter(number=number).update(moved_at=now - timedelta(seconds=ago))
    return lambda ago: first_since(now - timedelta(seconds=ago))


@pytest.mark.parametrize(("ago", "batch"), [(1000, 1), (300, 1), (299, 2), (200, 2), (150, 3), (100, 3)])
def test_it_begins_with_the_first_batch_of_a_moment(database, ago, batch):
    assert moved(300, 200, 100)(ago) == Cursor(batch, 0)


def test_it_begins_with_the_end_where_nothing_was_moved_since(database):
    assert moved(300, 200)(50) == end() == Cursor(2, 1)


def test_clocks_of_workers_that_differ_by_seconds_hide_nothing(database):
    assert moved(300, 90, 93, 91)(92) == Cursor(2, 0), "batch 3 says that it is from before, batch 2 is before it"


@pytest.mark.parametrize("place", ["3.0", "2.2", "0.1", "99.0"])
def test_a_place_that_the_record_does_not_have_is_none(database, place):
    """It was restored from a backup, perhaps: waiting for it to grow would skip what is there by then."""
    for number in range(2):
        make_record(number)
        move_batch()
    with pytest.raises(UnknownCursor):
        page(Cursor.read(place), 10)


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "-1.0", "1.-1", "1.0 ", "a.b", "1.0.0", "²3.0", "9" * 19 + ".0"])
def test_what_is_no_cursor_is_said_to_be_none(text):
    with pytest.raises(feed.BadCursor, match="for example"):
        Cursor.read(text)


# What a page costs


def test_a_page_asks_the_same_number_of_questions_whatever_is_on_it(database):
    make_record(0)
    move_batch()
    with CaptureQueriesContext(connection) as little:
        assert len(page(BEGINNING, 1000).items) == 1
    for number in range(1, 300):
        make_record(number, media_session_id=f"m-{number % 200}")
        if number < 100:
            move_batch()
    move_batch()
    with CaptureQueriesContext(connection) as much:
        assert len(page(BEGINNING, 1000).items) == 300
    assert len(little) == len(much) == 8
    assert "COUNT(" not in str(much.captured_queries)


def test_a_page_goes_through_so_many_batches_and_says_that_there_is_more(database, monkeypatch):
    monkeypatch.setattr(feed, "BATCHES", 3)
    for number in range(1, 6):
        append(number, timezone.now(), note={"note": number})
    make_record(0)
    move_batch()
    first = page(BEGINNING, 1000)
    assert (first.items, first.next, first.more) == ([], Cursor(3, 0), True)
    second = page(first.next, 1000)
    assert (second.items, second.next, second.more) == ([], Cursor(5, 0), True)
    third = page(second.next, 1000)
    assert (len(third.items), third.next, third.more) == (1, Cursor(6, 1), False)


def test_only_as_many_batches_are_read_as_the_page_has_room_for(database):
    for number in range(10):
        make_record(number)
        move_batch()
    assert list(page(BEGINNING, 3).hashes) == [1, 2, 3]


def test_a_page_ends_where_bodies_become_too_much_but_always_gets_on(database, monkeypatch):
    monkeypatch.setattr(feed, "BODIES", 100)
    for number, size in enumerate([60, 60, 500, 10, 10]):
        make_record(number, body=b"x" * size)
    move_batch()
    sizes, place, more = [], BEGINNING, True
    while more:
        given, place, more, _ = page(place, 1000)
        sizes.append([len(item["body"]) for item in given])
    assert sizes == [[60], [60], [500], [10, 10]]


def test_it_looks_up_batches_and_events_by_their_indexes(database):
    for number in range(30):
        make_record(number)
        move_batch()
    with CaptureQueriesContext(connection) as asked:
        page(Cursor(20, 1), 5)
        first_since(timezone.now() - timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            for query in asked.captured_queries:
                if not query["sql"].startswith("SELECT"):
                    continue
                cursor.execute(f"EXPLAIN {query['sql']}")
                plan = "\n".join(line for (line,) in cursor)
                assert "Seq Scan" not in plan, plan
        finally:
            cursor.execute("RESET enable_seqscan")
