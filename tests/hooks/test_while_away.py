"""Postgres is away: what has happened is answered when it is in the spool, and recorded when Postgres is back."""

import json
import struct
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from apps.access.models import Rule
from apps.access.snapshot import SnapshotKeeper
from apps.audit import tasks
from apps.audit.models import AuditEvent, HookRecord, Outage
from apps.audit.moving import spool_emptying
from apps.audit.moving.mover import move_batch
from apps.audit.moving.spool_emptying import take_over
from apps.audit.recording.recorder import Recorder
from apps.audit.recording.spool import MAGIC, Spool, files, pieces
from apps.audit.tasks import move_records, take_over_spools
from apps.connections.models import Session
from apps.database.connection import AWAY_FOR, Unavailable
from apps.database.hook_path import impatient
from apps.hooks import answer as flow
from apps.live.models import Lease
from apps.protocol.methods import METHODS
from runner.services import wait_until
from tests import factories
from tests.database.wire import Wire
from tests.hooks.processes import conninfo, recorded, the_record

NEVER_REFUSED = [method.name for method in METHODS if not method.refusable]


@pytest.fixture
def wire(school):
    wire = Wire(impatient(conninfo()))
    yield wire
    wire.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def start(wire, folder, start_process):
    """Starts processes whose connections go through the wire, and which share a folder for their spools."""

    def start(**parts):
        spool = Spool(str(folder), parts.pop("limit", 10_000_000))
        return start_process(
            database=wire.conninfo, keeper=SnapshotKeeper(wire.conninfo), spool=spool, **{"recorder": Recorder, **parts}
        )

    yield start
    wire.close()  # so that nobody waits for it while the processes are stopped


@pytest.fixture
def process(start, monkeypatch):
    """The process that answers."""
    process = start()
    monkeypatch.setattr(flow, "_gate", lambda: process.gate)
    return process


@pytest.fixture
def alice(wcs, process):
    """Alice is connected and publishes the lobby."""
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == ""
    assert wcs.reason("publishStream", name="lobby", mediaSessionId="M") == ""
    return wcs


@pytest.fixture
def away(alice, wire):
    """Postgres is away for Alice's process."""
    wire.stall()
    assert alice.hook("publishStream", name="lobby").status == 503
    return alice


@pytest.fixture
def back(wire, process):
    """Brings Postgres back, and waits until the spool is empty."""

    def back():
        wire.cut()
        wire.go_on()
        wait_until(lambda: process.spool.file is None, "the spool")
        time.sleep(AWAY_FOR)

    return back


def spooled(folder):
    return [piece.payload for path in files(folder) for piece in pieces(path, 0)]


def keep_alive(wcs, **members):
    return wcs.hook("StreamKeepAliveEvent", **{"name": "lobby", "published": True, "status": "PUBLISHING", **members})


# What is never refused


def test_it_is_answered_and_recorded_afterwards_as_if_nothing_had_been(away, back, folder):
    for number, method in enumerate([*NEVER_REFUSED, "aMethodOfTomorrow"]):
        body = json.dumps({**away.common, "name": "lobby", "n": number}).encode()
        began = time.monotonic()
        answer = away.raw(method, body)
        assert (answer.status, answer.body, time.monotonic() - began < 2) == (200, body, True)
    assert len(spooled(folder)) == len(NEVER_REFUSED) + 1
    assert recorded(while_away=True) == []
    back()
    records = sorted(recorded(while_away=True), key=lambda record: record.received_at)
    assert [record.method for record in records] == [*NEVER_REFUSED, "aMethodOfTomorrow"]
    assert {(record.reason, record.effect) for record in records[:-1]} == {("not-refusable", "allow")}
    assert {record.username for record in records[:-1]} == {"alice"}
    assert [json.loads(bytes(record.body))["n"] for record in records] == list(range(len(records)))
    assert files(folder) == []


def test_each_has_the_time_at_which_it_came(away, back):
    before = datetime.now(UTC)
    away.hook("StreamStatusEvent", name="lobby")
    after = datetime.now(UTC)
    time.sleep(1)
    back()
    assert before <= the_record(while_away=True).received_at <= after


def test_nothing_is_answered_to_a_caller_whose_login_is_wrong(away, folder):
    answer = away.hook("StreamStatusEvent", environ={"HTTP_AUTHORIZATION": ""})
    assert answer.status == 503
    assert spooled(folder) == []


def test_what_must_be_decided_is_refused_and_not_in_the_spool(away, folder):
    for method in ("connect", "publishStream", "playStream", "call", "playHLS", "sendMessage"):
        assert away.hook(method, name="lobby", custom={"token": "tok-alice"}).status == 503
    assert spooled(folder) == []


def test_no_secret_gets_into_the_spool(away, folder):
    secrets = {"sipPassword": "canary-1", "custom": {"token": "canary-2", "password": "canary-3"}}
    away.hook("ConnectionStatusEvent", status="ESTABLISHED", authToken="canary-4", **secrets)
    (entry,) = spooled(folder)
    assert b"ESTABLISHED" in entry
    assert b"canary" not in entry


def test_a_session_that_ended_has_ended_afterwards_and_what_ran_in_it_too(away, back):
    move_batch()
    away.hook("ConnectionStatusEvent", status="DISCONNECTED")
    back()
    assert Session.objects.get().ended_at == the_record(while_away=True).received_at
    assert Session.objects.get().end_reason == "DISCONNECTED"
    assert not Lease.objects.filter(ended_at=None).exists()
    assert away.reason("publishStream", name="lobby") == "session-ended"


def test_a_stream_that_ended_has_ended_afterwards(away, back):
    move_batch()
    away.hook("StreamStatusEvent", name="lobby", mediaSessionId="M", status="UNPUBLISHED")
    back()
    assert Lease.objects.get(key="M").ended_at == the_record(while_away=True).received_at
    assert Session.objects.get().ended_at is None


def test_the_end_of_a_session_does_not_end_the_next_one_of_that_id(away, back, another_process):
    away.hook("ConnectionStatusEvent", status="DISCONNECTED")
    assert another_process.reason("connect", custom={"token": "tok-alice"}) == ""
    back()
    assert Session.objects.get().ended_at is None
    assert away.reason("publishStream", name="lobby") == ""


def test_an_event_of_a_session_that_only_others_knew_is_put_down_to_its_user(away, back, another_process):
    assert another_process.reason("connect", sessionId="other", custom={"token": "tok-bob"}) == ""
    away.hook("StreamStatusEvent", sessionId="other", name="lobby")
    back()
    record = the_record(while_away=True)
    assert (record.username, record.user_id) == ("bob", Session.objects.get(session_id="other").user_id)


class DeafRecorder(Recorder):
    """Postgres writes the record, and goes away before it can say so."""

    def commit(self, *args, **more):
        super().commit(*args, **more)
        raise Unavailable("It does not answer.")


@pytest.mark.parametrize("moved", [False, True])
def test_what_was_written_after_all_is_there_once(wcs, school, start, folder, moved):
    assert wcs.reason("connect", custom={"token": "tok-alice"}) == ""
    process = start(recorder=DeafRecorder)
    assert process.hook("StreamStatusEvent", name="lobby").status == 200
    if moved:
        move_batch()
    wait_until(lambda: process.spool.file is None, "the spool")
    move_batch()
    event = AuditEvent.objects.get(method="StreamStatusEvent")
    assert (event.repeats, event.while_away) == (0, True)


def test_a_table_that_is_locked_is_as_good_as_away(alice, back):
    with psycopg.connect(conninfo()) as somebody:
        somebody.execute("LOCK TABLE audit_hookrecord")
        assert alice.hook("StreamStatusEvent", name="lobby").status == 200
        assert alice.hook("publishStream", name="lobby").status == 503
    back()
    assert the_record(while_away=True).method == "StreamStatusEvent"


# Keep-alives


def test_a_running_stream_is_kept_and_the_record_says_why(away, back):
    assert keep_alive(away).status == 200
    back()
    record = the_record(while_away=True)
    assert (record.reason, record.effect, record.username) == ("kept-while-away", "allow", "alice")
    assert record.rule_ids == [Rule.objects.get(user__username="alice").id]


@pytest.mark.parametrize("grace", [0, 0.5])
def test_but_not_for_longer_than_the_grace(away, settings, grace, folder):
    settings.KEEP_ALIVE_GRACE = grace
    if grace:
        settings.KEEP_ALIVE_GRACE = 600
        assert keep_alive(away).status == 200
        settings.KEEP_ALIVE_GRACE = grace
        time.sleep(grace)
    before = len(spooled(folder))
    assert keep_alive(away).status == 503
    assert len(spooled(folder)) == before


def test_nor_where_what_is_known_refuses_it(away, school, folder):
    assert keep_alive(away, name="elsewhere").status == 503
    assert keep_alive(away, published=False).status == 503
    assert keep_alive(away, custom={"token": "wrong"}).status == 503
    assert spooled(folder) == []


def test_nor_with_an_unused_token_for_single_use(alice, school, wire, folder):
    """Whether another session uses it at this moment is known to Postgres alone."""
    factories.make_token(school["alice"], "ticket", label="ticket", single_use=True)
    assert alice.reason("publishStream", name="lobby") == "", "This process knows the token from now on."
    wire.stall()
    assert alice.hook("publishStream", name="lobby").status == 503
    assert keep_alive(alice, custom={"token": "tok-alice"}).status == 200
    assert keep_alive(alice, custom={"token": "ticket"}).status == 503
    assert len(spooled(folder)) == 1


def test_nor_for_a_user_who_was_switched_off_before(alice, school, wire, process, folder):
    school["alice"].is_active = False
    school["alice"].save()
    assert alice.reason("publishStream", name="lobby") == "user-inactive"
    wire.stall()
    assert keep_alive(alice).status == 503
    assert spooled(folder) == []


def test_nor_for_a_session_that_this_process_does_not_know(away, another_process):
    assert another_process.reason("connect", sessionId="other", custom={"token": "tok-alice"}) == ""
    assert keep_alive(away, sessionId="other").status == 503


def test_nor_for_a_session_that_ended_meanwhile(away):
    assert keep_alive(away).status == 200
    away.hook("ConnectionStatusEvent", status="DISCONNECTED")
    assert keep_alive(away).status == 503


def test_when_postgres_is_back_it_is_decided_again(away, back, school):
    assert keep_alive(away).status == 200
    Rule.objects.filter(user=school["alice"]).delete()
    back()
    assert json.loads(keep_alive(away).body)["error"] == "no-rule"


def test_the_grace_begins_anew_only_after_postgres_was_really_back(away, process, back):
    since = process.emptying.since
    assert keep_alive(away).status == 200
    assert process.emptying.since == since
    back()
    wait_until(lambda: process.emptying.since is None, "its being over")


def test_an_outage_is_over_when_postgres_is_back_not_when_the_last_hook_was_spooled(away, process, back):
    assert keep_alive(away).status == 200
    time.sleep(1)
    began = datetime.now(UTC)
    back()
    wait_until(lambda: process.emptying.since is None, "its being over")
    ended = {outage.until for outage in Outage.objects.all()}
    assert ended
    assert all(began <= until <= datetime.now(UTC) for until in ended)


# Room


@pytest.mark.parametrize(("going_on", "status"), [("refuse", 503), ("go-on", 200)])
def test_where_the_spool_is_full_the_operator_has_chosen(wcs, school, start, wire, settings, going_on, status, caplog):
    settings.SPOOL_FULL = going_on
    process = start(limit=1_500)
    process.hook("connect", custom={"token": "tok-alice"})
    wire.stall()

    def event(number):
        try:
            return process.hook("StreamStatusEvent", name=f"lobby-{number}").status
        except Unavailable:
            return 503

    statuses = [event(number) for number in range(8)]
    kept = len(spooled(process.spool.folder))
    assert 0 < kept < 8
    assert statuses == [200] * kept + [status] * (8 - kept)
    (counted,) = (look.found for look in process.counts.look())
    assert counted.unrecorded == (8 - kept if going_on == "go-on" else 0)
    assert "The spool has as much in it as it may." in caplog.text
    wire.cut()
    wire.go_on()
    wait_until(lambda: process.spool.file is None, "the spool")
    assert len(recorded(while_away=True)) == kept


# Replaying what processes that died have left


@pytest.fixture
def left(alice, wire, process, folder):
    """The spool of a process that died, with seven events in it; gives the file."""
    wire.close()
    for number in range(7):
        assert alice.hook("StreamStatusEvent", name=f"lobby-{number}").status == 200
    process.emptying.stop()
    (path,) = files(folder)
    return path


def taken_over(folder):
    with psycopg.connect(conninfo(), autocommit=True) as connection:
        return take_over(folder, connection)


def targets():
    return sorted(record.target for record in recorded(while_away=True))


ALL = [f"lobby-{number}" for number in range(7)]


def test_another_process_replays_it(left, folder, start, wire, start_process):
    process = start_process(spool=Spool(str(folder), 1_000))
    process.emptying.look()
    wait_until(lambda: not files(folder), "the spool")
    assert targets() == ALL


def test_a_worker_replays_it(left, folder, settings):
    settings.SPOOL = str(folder)
    assert take_over_spools() == 7
    assert take_over_spools() == 0
    assert targets() == ALL


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", range(8))
def test_whoever_replays_may_be_killed_after_any_batch(left, folder, monkeypatch, after):
    """Records of before are moved and folded meanwhile, and still come only once."""
    monkeypatch.setattr(spool_emptying, "BATCH", 1)
    written, write = [], spool_emptying._write

    def killed(path, batch, connection):
        if len(written) == after:
            raise Killed
        written.append(write(path, batch, connection))
        return written[-1]

    with monkeypatch.context() as patch:
        patch.setattr(spool_emptying, "_write", killed)
        if after < 7:
            with pytest.raises(Killed):
                taken_over(folder)
    move_batch()
    AuditEvent.objects.filter(while_away=True).delete()  # as if nobody could tell by the ids any more
    assert taken_over(folder) == 7 - len(written)
    assert targets() == ALL[len(written) :]
    assert files(folder) == []


def test_a_torn_last_entry_is_kept_aside(left, folder, caplog):
    whole = left.read_bytes()
    left.write_bytes(whole[:-3])
    assert taken_over(folder) == 6
    assert targets() == ALL[:6]
    (aside,) = folder.glob("*.aside")
    assert b"lobby-6" in aside.read_bytes()
    assert "kept aside" in caplog.text


def test_a_record_that_cannot_be_written_is_kept_aside_and_holds_up_no_other(left, folder, caplog):
    with psycopg.connect(conninfo(), autocommit=True) as somebody:
        somebody.execute("ALTER TABLE audit_hookrecord ADD CONSTRAINT odd CHECK (target <> 'lobby-3')")
        try:
            assert taken_over(folder) == 6
        finally:
            somebody.execute("ALTER TABLE audit_hookrecord DROP CONSTRAINT odd")
    assert targets() == [target for target in ALL if target != "lobby-3"]
    (aside,) = folder.glob("*.aside")
    assert b"lobby-3" in aside.read_bytes()


def test_what_cannot_be_recorded_is_kept_aside_once_however_it_is_tried(left, folder, caplog):
    """In a batch with what Postgres refuses, which is tried again half by half."""
    left.write_bytes(left.read_bytes().replace(b"lobby-5", b"lobby+5"))
    data, bad = left.read_bytes(), list(pieces(left, 0))[3:6]
    with psycopg.connect(conninfo(), autocommit=True) as somebody:
        somebody.execute("ALTER TABLE audit_hookrecord ADD CONSTRAINT odd CHECK (target NOT IN ('lobby-3', 'lobby-4'))")
        try:
            assert taken_over(folder) == 4
        finally:
            somebody.execute("ALTER TABLE audit_hookrecord DROP CONSTRAINT odd")
    (aside,) = folder.glob("*.aside")
    assert sorted(aside.read_bytes()) == sorted(data[bad[0].start : bad[-1].end])
    (said,) = [record.message for record in caplog.records if "kept aside" in record.message]
    assert said.startswith("3 entries of the spool file")
    assert said.endswith("cannot be recorded and are kept aside: 23514, no whole entry")


def test_where_there_is_no_time_for_all_of_it_the_next_one_goes_on(left, folder, monkeypatch):
    monkeypatch.setattr(spool_emptying, "BATCH", 2)
    with psycopg.connect(conninfo(), autocommit=True) as connection:
        for entries in (2, 2, 2):
            assert take_over(folder, connection, deadline=time.monotonic()) == entries
            assert files(folder) == [left]
        assert take_over(folder, connection, deadline=time.monotonic()) == 1
    assert files(folder) == []
    assert targets() == ALL


def test_a_file_that_says_nothing_keeps_the_worker_from_nothing_else(left, folder, settings, monkeypatch, caplog):
    """100,000 entries of one byte each, as somebody may have put them there."""
    settings.SPOOL, number = str(folder), 100_000
    entry = struct.pack("!II", 1, 7) + b"x"
    (folder / "20261126T200000-1-deadbeef.spool").write_bytes(MAGIC + entry * number)
    monkeypatch.setattr(tasks, "AT_ONCE", 0.1)
    assert HookRecord.objects.exists()
    waiting, longest = [], 0.0
    while files(folder):
        began = time.monotonic()
        take_over_spools()
        longest = max(longest, time.monotonic() - began)
        move_records()
        waiting.append(HookRecord.objects.exists())
    assert len(waiting) > 1
    assert not any(waiting)
    assert longest < 2.0
    assert AuditEvent.objects.filter(while_away=True).count() == len(ALL)
    (aside,) = folder.glob("*.aside")
    assert aside.read_bytes() == entry * number
    assert caplog.text.count("kept aside") == number // spool_emptying.BATCH


def test_where_postgres_cannot_write_everything_stays(left, folder):
    with psycopg.connect(conninfo(), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            take_over(folder, connection)
    assert files(folder) == [left]
    assert not list(folder.glob("*.aside"))
    assert taken_over(folder) == 7


def test_two_who_replay_at_once_do_it_once(left, folder, start_process):
    others = [start_process(spool=Spool(str(folder), 1_000)) for _ in range(2)]
    for process in others:
        process.emptying.look()
    wait_until(lambda: not files(folder), "the spool")
    assert targets() == ALL


def test_it_is_noted_since_when_postgres_was_away(left, folder):
    taken_over(folder)
    outage = Outage.objects.get()
    assert outage.entries == 7
    assert timedelta(0) <= outage.until - outage.since < timedelta(seconds=30)


# The tests would notice


class Forgetful(Spool):
    """A spool as it must not be: it answers first and writes later."""

    def append(self, payload, since):
        pass


def test_a_spool_that_writes_later_would_be_noticed(wcs, school, wire, start_process, folder):
    process = start_process(
        database=wire.conninfo, keeper=SnapshotKeeper(wire.conninfo), spool=Forgetful(str(folder), 1_000)
    )
    process.hook("connect", custom={"token": "tok-alice"})
    wire.close()
    assert process.hook("StreamStatusEvent", name="lobby").status == 200
    process.emptying.stop()
    assert taken_over(folder) == 0
    assert not HookRecord.objects.filter(method="StreamStatusEvent").exists()
