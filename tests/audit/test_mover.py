"""From the outbox into the audit log: everything exactly once, repeats folded, and names that outlive their bearers."""

import threading
from datetime import timedelta

import pytest
from django.db import InternalError, OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.models import AccessRevision
from apps.audit.locks import AdvisoryLock
from apps.audit.models import AuditEvent, BadRecord, Batch, HookRecord
from apps.audit.moving import mover
from apps.audit.moving.enriching import Surroundings
from apps.audit.moving.folding import digest, fold
from apps.audit.moving.mover import move_batch, try_again
from apps.audit.moving.outbox import Record, Vanished, oldest, waiting_since
from apps.audit.recording.recorder import new_id
from apps.audit.tasks import move_records
from apps.connections.models import Node
from tests import factories
from tests.hooks.processes import recorded

START = timezone.now() - timedelta(hours=1)


def make_record(number=0, *, seconds=None, **fields):
    """A record; its number tells it apart from others, and when it came."""
    at = START + timedelta(seconds=number if seconds is None else seconds)
    defaults = {
        "id": new_id(at),
        "received_at": at,
        "method": "publishStream",
        "node_id": factories.NODE_ID,
        "app_key": "defaultApp",
        "session_id": factories.SESSION_ID,
        "media_session_id": f"media-{number}",
        "call_id": "",
        "status": "PENDING",
        "action": "publish",
        "target": "lobby",
        "client_address": "192.168.1.38",
        "username": "alice",
        "effect": "allow",
        "reason": "allowed-by-rule",
        "revision": 7,
        "body": b'{"name":"lobby"}',
    }
    return HookRecord.objects.create(**{**defaults, **fields})


@pytest.fixture
def database(transactional_db):
    """A database to commit to."""


@pytest.fixture
def folded(database):
    """Moves records that differ as told, half a second apart; gives the repeats of the events, oldest first."""

    def folded(*differences, seconds=0.5):
        for number, difference in enumerate(differences):
            make_record(**{"seconds": number * seconds, **difference})
        move_batch()
        assert not recorded()
        return [event.repeats for event in AuditEvent.objects.order_by("received_at", "id")]

    return folded


# Everything, once


def test_everything_is_moved_as_it_is(database):
    record = make_record(logged_rule_ids=[], body=b'{"name":"lobby","weight":1.0}')
    assert move_batch() == 1
    assert not recorded()
    event = AuditEvent.objects.values().get()
    for field in HookRecord._meta.get_fields():
        if field.name not in ("token_id", "body", "waits_since"):
            assert event[field.name] == getattr(record, field.name), field.name
    assert bytes(event["body"]) == record.body
    assert (event["last_received_at"], event["repeats"], event["rules"]) == (record.received_at, 0, [])


def test_what_the_gate_recorded_can_be_moved(wcs, school):
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("publishStream", name="lobby")
    wcs.hook("publishStream", name="elsewhere")
    wcs.hook("OnHologramEvent")
    assert move_batch() == 4
    events = AuditEvent.objects.order_by("received_at")
    assert [(event.method, event.effect, event.username) for event in events] == [
        ("connect", "allow", "alice"),
        ("publishStream", "allow", "alice"),
        ("publishStream", "deny", "alice"),
        ("OnHologramEvent", "allow", ""),
    ]


def test_the_oldest_go_first_and_no_more_than_asked_for(database):
    for number in (3, 1, 2):
        make_record(number)
    assert [move_batch(2), move_batch(2), move_batch(2)] == [2, 1, 0]
    assert AuditEvent.objects.count() == 3


def test_a_task_empties_the_outbox(database):
    for number in range(5):
        make_record(number)
    assert move_records(batch=2, said_by_a_newer_version=True) == 6, "and that the node is new"
    assert move_records() == 0


def test_a_task_ends_even_where_records_keep_coming(database):
    for number in range(5):
        make_record(number)
    assert move_records(batch=1, batches=3) == 4, "and that the node is new"
    assert len(recorded()) == 2


def test_two_movers_at_once_move_everything_once(database):
    records = [make_record(number).id for number in range(300)]
    moved = []
    more = threading.Event()

    def move():
        try:
            while recorded():
                moved.append(move_batch(10))
        finally:
            connections.close_all()
            more.set()

    threads = [threading.Thread(target=move) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(moved) == 300
    assert set(AuditEvent.objects.values_list("id", flat=True)) == set(records)
    assert set(AuditEvent.objects.values_list("repeats", flat=True)) == {0}


def test_a_mover_at_work_keeps_others_from_it(database):
    """And from reading the outbox in vain."""
    make_record()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock.BATCHES])
        results = []

        def move():
            results.append((oldest(10), move_batch()))
            connections.close_all()

        thread = threading.Thread(target=move)
        thread.start()
        thread.join()
        cursor.execute("SELECT pg_advisory_unlock(%s)", [AdvisoryLock.BATCHES])
    assert results == [([], 0)]
    assert len(recorded()) == 1
    assert move_batch() == 1


@pytest.mark.parametrize("table", ["audit_auditevent", "audit_hookrecord", "accounts_token", "connections_node"])
def test_a_mover_that_breaks_down_half_way_moves_nothing_and_loses_nothing(database, table):
    """At whatever table it was: Postgres itself stops there, as where its disk is full."""
    token = factories.make_token(factories.make_user())
    node = factories.make_node()
    for number in range(3):
        make_record(number, token_id=token.id)
    verb = {"audit_auditevent": "INSERT", "audit_hookrecord": "DELETE"}.get(table, "UPDATE")
    with connection.cursor() as cursor:
        cursor.execute(
            f"""CREATE FUNCTION break_down() RETURNS trigger LANGUAGE plpgsql
                    AS $$ BEGIN RAISE EXCEPTION 'broke down' USING ERRCODE = 'disk_full'; END $$;
                CREATE TRIGGER break_down AFTER {verb} ON {table} EXECUTE FUNCTION break_down()"""
        )
        try:
            with pytest.raises(OperationalError, match="broke down"):
                move_batch()
        finally:
            cursor.execute(f"DROP TRIGGER break_down ON {table}; DROP FUNCTION break_down()")
    token.refresh_from_db()
    node.refresh_from_db()
    assert (len(recorded()), AuditEvent.objects.count()) == (3, 0)
    assert (token.last_used_at, node.last_seen_at) == (None, None)
    assert move_batch() == 3
    assert AuditEvent.objects.count() == 3


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together with another"])
def test_a_record_that_comes_back_after_it_was_moved_is_not_counted_again(database, together):
    """The connection broke after it was committed, it was moved, and then the recorder wrote it again."""
    first = make_record()
    move_batch()
    repeat = make_record(seconds=1)
    move_batch()
    first.save(force_insert=True)
    repeat.save(force_insert=True)
    if together:
        make_record(seconds=2)
    assert move_batch() == 2 + together
    assert not recorded()
    event = AuditEvent.objects.get()
    assert (event.id, event.repeats) == (first.id, 1 + together)
    assert event.last_received_at == START + timedelta(seconds=1 + together)


def test_repeats_that_come_back_after_later_ones_are_not_counted_again(database):
    """Four at once, moved, and all written again: their connections broke before any was heard of."""
    records = [make_record(seconds=number) for number in range(4)]
    move_batch()
    for record in records:
        record.save(force_insert=True)
    assert move_batch() == 4
    assert AuditEvent.objects.get().repeats == 3


def test_a_record_that_comes_back_decided_anew_is_harmless_too(database):
    """Access changed before it was written again."""
    record = make_record()
    move_batch()
    record.effect, record.reason = "deny", "no-rule"
    record.save(force_insert=True)
    assert move_batch() == 1
    assert not recorded()
    assert AuditEvent.objects.values_list("effect", "repeats").get() == ("allow", 0)


@pytest.mark.parametrize("column", ["id", "digest"])
@pytest.mark.parametrize(
    "difference",
    [
        {"method": "playStream"},
        {"session_id": "another"},
        {"media_session_id": "another"},
        {"status": "FAILED"},
        {"body": b'{"name":"elsewhere"}'},
    ],
    ids=lambda difference: next(iter(difference)),
)
def test_an_event_that_takes_a_record_for_its_own_for_a_moment_makes_nothing_vanish(
    database, column, difference, caplog
):
    """As by somebody who writes to the database while a hook waits, and takes that back when it is gone."""
    other = make_record(**difference)
    move_batch()
    event = AuditEvent.objects.get()
    record = make_record(1, media_session_id="media-0")
    innocent = make_record(2, target="stage")
    kept = {"id": other.id, "digest": bytes(event.digest)}[column]
    looks_like = {"id": record.id, "digest": digest(read_again(record)), "received_at": record.received_at}
    moment = {name: looks_like[name] for name in (column, "received_at")}
    AuditEvent.objects.filter(id=other.id).update(**moment)
    assert move_batch() == 2
    AuditEvent.objects.filter(id__in=[other.id, record.id]).update(**{column: kept, "received_at": other.received_at})
    assert BadRecord.objects.get().id == record.id
    assert "is of another hook" in BadRecord.objects.get().problem
    assert f"Record {record.id} cannot be moved and is put aside: AnotherHook" in caplog.text
    assert try_again([record.id]) == 1
    move_batch()
    assert set(AuditEvent.objects.values_list("id", "repeats")) == {(one.id, 0) for one in (other, record, innocent)}


@pytest.mark.parametrize("difference", [{"effect": "deny"}, {"reason": "started-by-rest-api"}, {"username": "bob"}])
def test_another_answer_is_no_repeat_whatever_its_digest_says(database, difference):
    make_record(**difference)
    move_batch()
    record = make_record(1, media_session_id="media-0")
    AuditEvent.objects.update(digest=digest(read_again(record)))
    assert move_batch() == 1
    assert BadRecord.objects.get().id == record.id


def test_an_event_with_the_id_of_a_record_of_another_time_is_not_its_own(database):
    other = make_record()
    move_batch()
    record = make_record(1, media_session_id="media-0")
    AuditEvent.objects.filter(id=other.id).update(id=record.id)
    assert move_batch() == 1
    assert BadRecord.objects.get().id == record.id


def test_a_batch_takes_as_many_queries_for_many_tokens_and_nodes_as_for_one(database):
    user = factories.make_user()
    tokens = [factories.make_token(user, f"tok-{number}", f"device {number}").id for number in range(20)]
    for number in range(20):
        factories.make_node(f"node-{number}@192.0.2.1")
    make_record(100)
    move_batch()  # the first batch of all looks for what was there before it
    counts = []
    for used in (tokens[:1], tokens):
        for number, token_id in enumerate(used):
            make_record(token_id=token_id, node_id=f"node-{number}@192.0.2.1", media_session_id=f"{len(used)} {number}")
        with CaptureQueriesContext(connection) as queries:
            assert move_batch() == len(used)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert not Node.objects.filter(last_seen_at=None).exists()


def test_counting_repeats_reads_no_bodies_of_events(database):
    make_record()
    move_batch()
    make_record(seconds=1)
    with CaptureQueriesContext(connection) as queries:
        move_batch()
    read = [query["sql"] for query in queries if "FROM audit_auditevent" in query["sql"]]
    assert len(read) == 2
    assert not any("body" in sql.replace("sha256(body) AS body_sha256", "") for sql in read)
    assert AuditEvent.objects.get().repeats == 1


# Bad records


@pytest.fixture
def picky(database):
    """An audit log that does not take records about the target "bad", until told to."""
    constraint = "no_bad_targets"

    def run(sql):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE audit_auditevent {sql}")

    run(f"ADD CONSTRAINT {constraint} CHECK (target <> 'bad')")
    yield lambda: run(f"DROP CONSTRAINT IF EXISTS {constraint}")
    run(f"DROP CONSTRAINT IF EXISTS {constraint}")


def test_a_bad_record_is_put_aside_and_keeps_no_other_from_being_moved(picky, caplog):
    bad = {make_record(number, target="bad", body=b'{"text":"between us"}').id for number in (0, 5, 6)}
    good = {make_record(number).id for number in (1, 2, 3, 4, 7)}
    assert move_batch() == 8
    assert set(AuditEvent.objects.values_list("id", flat=True)) == good
    assert not recorded()
    assert set(BadRecord.objects.values_list("id", flat=True)) == bad
    assert [str(id_) in caplog.text for id_ in bad] == [True] * 3
    assert "IntegrityError 23514" in caplog.text
    assert "between us" not in caplog.text


def test_a_bad_record_is_kept_as_it_came_and_moved_when_tried_again(picky):
    before = HookRecord.objects.filter(id=make_record(target="bad", rule_ids=[3], told="a „word“").id)
    fields = before.values().get()
    del fields["waits_since"]
    move_batch()
    assert "CheckViolation" in BadRecord.objects.get().problem or "check" in BadRecord.objects.get().problem
    assert try_again([fields["id"]]) == 1
    assert before.values(*fields).get() == fields
    assert move_batch() == 1
    assert BadRecord.objects.count() == 1, "still bad"
    picky()
    assert try_again([fields["id"], new_id(START)]) == 1
    assert move_batch() == 1
    assert AuditEvent.objects.values("id", "received_at", "told", "body").get() == {
        name: fields[name] for name in ("id", "received_at", "told", "body")
    }
    assert not BadRecord.objects.exists()


def test_records_from_before_an_upgrade_can_be_tried_again(picky):
    """One lacks a column that has come since, another has one that has gone."""
    older, newer = (make_record(number, target="bad", while_away=True) for number in (0, 1))
    move_batch()
    for bad in BadRecord.objects.all():
        bad.record |= {"mood": "good"}
        if bad.id == older.id:
            del bad.record["while_away"]
        bad.save()
    assert try_again([older.id, newer.id]) == 2
    assert dict(HookRecord.objects.values_list("id", "while_away")) == {older.id: False, newer.id: True}


def test_a_record_that_is_tried_again_has_not_waited_for_workers_until_then(picky):
    record = make_record(target="bad")
    HookRecord.objects.update(waits_since=START)
    assert waiting_since()["hooks"] == START
    move_batch()
    before = timezone.now()
    try_again([record.id])
    assert waiting_since()["hooks"] >= before


def test_a_record_that_cannot_even_be_read_is_a_bad_one(database):
    """Python knows no infinite moment."""
    bad = make_record(1)
    make_record(0)
    make_record(2)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_hookrecord SET received_at = 'infinity' WHERE id = %s", [bad.id])
    assert move_batch() == 3
    assert BadRecord.objects.get().record["received_at"] == "infinity"


def test_what_is_wrong_with_the_database_is_no_records_fault(database):
    """As on a standby that has not taken over yet."""
    make_record()
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        try:
            with pytest.raises(InternalError, match="read-only"):
                move_batch()
        finally:
            cursor.execute("SET default_transaction_read_only = off")
    assert move_batch() == 1


def test_bodies_need_not_be_json(database):
    bodies = (b"", b"\x00\xff\xfe", b"{", "Zoë".encode("latin-1"), b'"\\ud800"')
    for number, body in enumerate(bodies):
        make_record(number, body=body)
    assert move_batch() == len(bodies)
    assert [bytes(event.body) for event in AuditEvent.objects.order_by("received_at")] == list(bodies)


# Repeats


def test_the_same_hook_again_is_counted_on_the_first(folded):
    assert folded({}, {}, {}, {}) == [3]
    event = AuditEvent.objects.get()
    assert event.received_at == START
    assert event.last_received_at == START + timedelta(seconds=1.5)


def test_it_makes_no_difference_whether_they_are_moved_together(folded):
    assert folded({}, {}) == [1]
    assert folded({"seconds": 2}) == [2]
    assert folded({"seconds": 3}, {"seconds": 4}) == [4]
    assert AuditEvent.objects.get().last_received_at == START + timedelta(seconds=4)


def test_another_spelling_of_the_method_is_a_repeat(folded):
    assert folded({"method": "sendDtmf"}, {"method": "SENDDTMF"}) == [1]


@pytest.mark.parametrize(
    "difference",
    [
        {"effect": "deny"},
        {"reason": "started-by-rest-api"},
        {"status": "FAILED"},
        {"method": "playStream"},
        {"media_session_id": "another"},
        {"call_id": "another"},
        {"session_id": "another"},
        {"node_id": "another"},
        {"app_key": "another"},
        {"body": b'{"name":"lobby" }'},
        {"username": "bob"},
        {"user_id": 5},
        {"rule_ids": [5]},
        {"logged_rule_ids": [5]},
    ],
    ids=lambda difference: next(iter(difference)),
)
def test_what_differs_is_no_repeat(folded, difference):
    assert folded({}, difference, {}, difference) == [1, 1]


def test_two_people_at_the_same_address_are_two_events(wcs, school):
    """Their bodies are the same once their tokens are left out."""
    factories.make_rule("play")
    for token in ("tok-alice", "tok-bob", "tok-alice"):
        wcs.hook("playHLS", name="lobby", sessionId="test-HLS", token=token)
    move_batch()
    assert {(event.username, event.repeats) for event in AuditEvent.objects.all()} == {("alice", 1), ("bob", 0)}


def test_what_comes_later_than_the_window_is_an_event_of_its_own(folded, settings):
    settings.REPEAT_WINDOW = 10
    assert folded({}, {"seconds": 10}, {"seconds": 20.5}, {"seconds": 21}) == [1, 1]


def test_what_is_moved_late_is_counted_where_it_belongs(folded, settings):
    """A record that could not be moved for a while says when it came, by an event of its own."""
    settings.REPEAT_WINDOW = 10
    assert folded({"seconds": 100}, {"seconds": 109}) == [1]
    assert folded({"seconds": 50}) == [0, 1]
    assert folded({"seconds": 95}) == [0, 2]


def test_what_keeps_coming_keeps_being_a_repeat(folded, settings):
    settings.REPEAT_WINDOW = 10
    assert folded(*[{}] * 8, seconds=9) == [7]


# What it adds


def test_the_sentences_of_the_rules_are_copied_and_outlive_them(wcs, school):
    rule = school["alice"].rules.get()
    noted = factories.make_rule("publish", effect="deny", enforced=False)
    sentences = [str(rule), str(noted)]
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("publishStream", name="lobby")
    move_batch()
    event = AuditEvent.objects.get(method="publishStream")
    assert event.rules == sentences
    rule.delete()
    noted.delete()
    event.refresh_from_db()
    assert event.rules == sentences


def test_a_rule_that_went_before_the_move_is_named_by_its_number(database):
    make_record(rule_ids=[4711])
    move_batch()
    assert AuditEvent.objects.get().rules == ["Rule 4711, removed meanwhile"]


def test_a_rule_that_was_edited_before_the_move_is_not_told_as_what_it_was_then(wcs, school):
    rule = school["alice"].rules.get()
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("publishStream", name="lobby")
    rule.effect = "deny"
    rule.save()
    wcs.hook("publishStream", name="lobby", mediaSessionId="later")
    move_batch()
    before, after = AuditEvent.objects.filter(method="publishStream").order_by("id")
    assert (before.effect, before.rules) == ("allow", [f"{rule}, changed meanwhile"])
    assert (after.effect, after.rules) == ("deny", [str(rule)])


def test_the_name_of_the_user_outlives_the_user(wcs, school):
    wcs.hook("connect", custom={"token": "tok-alice"})
    move_batch()
    before = AuditEvent.objects.values().get()
    assert AuditEvent.objects.get().user == school["alice"]
    with CaptureQueriesContext(connection) as queries:
        school["alice"].delete()
    assert AuditEvent.objects.values().get() == before
    assert not [query for query in queries if "audit_auditevent" in query["sql"]], "nobody reads all events for it"


def test_a_user_who_went_before_the_move_is_no_obstacle(database):
    make_record(user_id=4711, token_id=4711)
    assert move_batch() == 1
    assert AuditEvent.objects.get().username == "alice"


def test_tokens_say_when_they_were_last_used(database):
    alice, bob, charlie = (factories.make_token(factories.make_user(name)) for name in ("alice", "bob", "charlie"))
    for number, token in enumerate([alice, bob, alice, bob]):
        make_record(number, token_id=token.id)
    move_batch()
    for token, last_used in ((alice, 2), (bob, 3), (charlie, None)):
        token.refresh_from_db()
        assert token.last_used_at == (None if last_used is None else START + timedelta(seconds=last_used))


def test_a_token_that_was_refused_was_not_used(wcs, school):
    token = school["alice"].tokens.get()
    token.expires_at = timezone.now() - timedelta(days=1)
    token.save()
    assert wcs.reason("connect", custom={"token": "tok-alice"})
    assert recorded()[0].token_id == token.id
    move_batch()
    token.refresh_from_db()
    assert token.last_used_at is None


def test_what_is_used_all_the_time_is_noted_every_ten_seconds(database):
    token = factories.make_token(factories.make_user())
    node = factories.make_node()
    noted = []
    for second in (0, 4, 9, 11, 20, 22):
        make_record(second, token_id=token.id)
        move_batch()
        token.refresh_from_db()
        node.refresh_from_db()
        assert token.last_used_at == node.last_seen_at
        noted.append((token.last_used_at - START).total_seconds())
    assert noted == [0, 0, 0, 11, 11, 22]


def test_nodes_appear_with_their_first_hook(database):
    make_record(0, node_id="first@192.0.2.1")
    make_record(60, node_id="first@192.0.2.1")
    make_record(30, node_id="second@192.0.2.2")
    make_record(35, node_id="second@192.0.2.2")
    make_record(40, node_id="")
    move_batch(1)
    assert list(Node.objects.values_list("node_id", flat=True)) == ["first@192.0.2.1"]
    move_batch()
    times = {node.node_id: (node.first_seen_at, node.last_seen_at) for node in Node.objects.all()}
    assert times == {
        "first@192.0.2.1": (START, START + timedelta(seconds=60)),
        "second@192.0.2.2": (START + timedelta(seconds=30), START + timedelta(seconds=35)),
    }


def test_a_node_that_staff_entered_is_seen_too(database):
    node = factories.make_node("first@192.0.2.1", name="edge-1")
    make_record(5, node_id="first@192.0.2.1")
    move_batch()
    node.refresh_from_db()
    assert (node.name, node.first_seen_at) == ("edge-1", START + timedelta(seconds=5))
    assert node.last_seen_at == START + timedelta(seconds=5)


def test_what_is_moved_late_does_not_set_the_clock_back(database):
    seen_at = timezone.now()
    node = factories.make_node("first@192.0.2.1", first_seen_at=START - timedelta(days=1), last_seen_at=seen_at)
    make_record(node_id="first@192.0.2.1")
    token = factories.make_token(factories.make_user(), last_used_at=seen_at)
    make_record(1, token_id=token.id)
    move_batch()
    node.refresh_from_db()
    token.refresh_from_db()
    assert (node.first_seen_at, node.last_seen_at) == (START - timedelta(days=1), seen_at)
    assert token.last_used_at == seen_at


def test_noting_all_that_changes_nobodys_access(database):
    token = factories.make_token(factories.make_user())
    factories.make_node()
    revision = AccessRevision.objects.get().revision
    for number in range(3):
        make_record(number, token_id=token.id)
    move_batch()
    assert AccessRevision.objects.get().revision == revision


# What deciding had no time to add


def test_an_event_says_what_its_stream_and_its_node_are_and_what_staff_call_it(database):
    stream = factories.make_stream("lobby")
    Node.objects.create(node_id=factories.NODE_ID, name="edge-1")
    make_record(0)
    make_record(1, method="StreamStatusEvent", action="notify", status="PLAYING", reason="not-refusable")
    make_record(2, action="call", target="lobby")
    make_record(3, node_id="another", target="elsewhere")
    move_batch()
    events = AuditEvent.objects.order_by("received_at").values_list("stream_id", "node_name")
    assert [*events] == [(stream.id, "edge-1"), (stream.id, "edge-1"), (None, "edge-1"), (None, "")]


def test_an_end_that_finds_its_start_says_how_long_it_was(wcs, school):
    wcs.hook("connect", custom={"token": "tok-alice"})
    stream = {"mediaSessionId": "m", "name": "lobby"}
    wcs.hook("publishStream", **stream)
    wcs.hook("StreamStatusEvent", status="PUBLISHING", published=True, **stream)
    wcs.hook("StreamStatusEvent", status="UNPUBLISHED", published=True, **stream)
    wcs.hook("StreamStatusEvent", status="UNPUBLISHED", published=True, **{**stream, "mediaSessionId": "unknown"})
    move_batch()
    began, ended, unknown = AuditEvent.objects.filter(method="StreamStatusEvent").order_by("received_at")
    assert ended.duration == ended.received_at - began.received_at
    assert (began.duration, unknown.duration) == (None, None)


def test_that_it_was_away_is_noted_once(database):
    """Else the same count would stand in two batches, and the record seem to have been changed."""
    first = make_record(0, media_session_id="")
    second = make_record(1, media_session_id="")
    move_batch()
    for record in (first, second):
        record.while_away = True
        record.save(force_insert=True)
        move_batch()
    event = AuditEvent.objects.get()
    assert (event.repeats, event.while_away) == (1, True)
    assert Batch.objects.count() == 2


# Without rows of models


HARD = "quote \" apostrophe ' backslash \\ brace { } comma , NULL null \n tab \t Zoë 😀"


def test_texts_come_out_as_they_went_in(database):
    """Whatever would mean something in SQL, in an array of Postgres, or in JSON."""
    Node.objects.create(node_id=HARD, name=HARD)
    rule = factories.make_rule("publish", note=HARD, target=("exact", HARD))
    about = {"rule_ids": [rule.id], "logged_rule_ids": [-1], "revision": AccessRevision.objects.get().revision}
    record = make_record(node_id=HARD, username=HARD, told=HARD, target=HARD, **about)
    assert move_batch() == 1
    event = AuditEvent.objects.get()
    assert (event.node_id, event.node_name, event.username, event.told, event.target) == (HARD,) * 5
    assert event.rules == [str(rule), "Rule -1, removed meanwhile"]
    assert (event.id, event.digest, event.batch) == (record.id, digest(read_again(record)), 1)


def read_again(record):
    """A record that was moved, as it was read then."""
    return Record(**{name: getattr(record, name) for name in Record.__struct_fields__})


@pytest.mark.parametrize("lasted", [timedelta(days=40, hours=5, microseconds=1), timedelta(0), timedelta(seconds=-1.5)])
def test_a_duration_is_kept_to_the_microsecond(database, lasted, monkeypatch):
    record = make_record()
    monkeypatch.setattr(Surroundings, "_durations", {None: lasted})
    move_batch()
    assert AuditEvent.objects.get(id=record.id).duration == lasted


def test_what_somebody_else_takes_meanwhile_is_not_moved_too(database, monkeypatch):
    """Another worker may just have put it aside."""
    taken, other = make_record(0), make_record(1)

    def fold_while_it_is_taken(records):
        HookRecord.objects.filter(id=taken.id).delete()
        return fold(records)

    monkeypatch.setattr(mover, "fold", fold_while_it_is_taken)
    with pytest.raises(Vanished), transaction.atomic():
        mover._move_together([taken.id, other.id])
    assert not AuditEvent.objects.exists()
    assert not Batch.objects.exists()
