"""The connection of the hook path: one answer for each statement, in time, whatever happens to Postgres or the wire."""

import pickle
import random
import threading
import time
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from apps.database import connection
from apps.database.connection import (
    AWAY_FOR,
    Database,
    Statement,
    StatementFailed,
    Unavailable,
    as_int,
    int8,
    int8_array,
    text,
    timestamp,
    uuid,
)
from apps.database.hook_path import impatient
from runner.services import wait_until
from tests.hooks.processes import conninfo

ECHO = Statement("echo", "SELECT $1::text", (0,))
PID = Statement("pid", "SELECT pg_backend_pid()::bigint", ())
SLEEP = Statement("sleep", "SELECT 1::bigint FROM pg_sleep($1::float8)", (0,))
DIVIDE = Statement("divide", "SELECT 10 / $1::bigint", (1,))
BUSY = """SELECT pid FROM pg_stat_activity WHERE application_name = 'wcsgate hooks' AND state = 'active'
    AND datname = current_database() AND pid <> pg_backend_pid()"""
KEEP = Statement("keep", "INSERT INTO scratch (id, note) VALUES ($1::bigint, $2) RETURNING id", (1, 0))


def soon(seconds=2.0):
    return time.monotonic() + seconds


@pytest.fixture
def database(wire):
    database = Database(wire.conninfo)
    yield database
    database.close()


@pytest.fixture
def other(transactional_db):
    """Another connection to the same database."""
    with psycopg.connect(conninfo(), autocommit=True) as other:
        yield other


@pytest.fixture
def scratch(other):
    """A table to write to."""
    other.execute("CREATE TABLE scratch (id bigint PRIMARY KEY, note text)")
    yield lambda: [id_ for (id_,) in other.execute("SELECT id FROM scratch ORDER BY id")]
    other.execute("DROP TABLE scratch")


class Asker(threading.Thread):
    """Runs one statement in a thread of its own; has its outcome and how long it took."""

    def __init__(self, database, statement, *params, seconds=2.0):
        super().__init__()
        self._run = lambda: database.run(statement, params, soon(seconds))
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            self.outcome = self._run()
        except (Unavailable, StatementFailed) as error:
            self.outcome = error
        self.took = time.monotonic() - began

    @classmethod
    def outcomes(cls, askers):
        for asker in askers:
            asker.join(timeout=10)
            assert not asker.is_alive()
        return [asker.outcome for asker in askers]


# Values


@pytest.mark.parametrize("given", ["", "lobby", "Zoë 📞", "a\nb\\c'd\"e", "x" * 100_000])
def test_text_arrives_as_it_is(database, given):
    assert database.run(ECHO, [text(given)], soon()) == [(given.encode(),)]


@pytest.mark.parametrize(("given", "kept"), [("a\x00b", "a\ufffdb"), ("\x00", "\ufffd"), ("a\ud800b", "a?b")])
def test_what_postgres_cannot_hold_is_replaced(database, given, kept):
    assert database.run(ECHO, [text(given)], soon()) == [(kept.encode(),)]


def test_null_arrives_as_null(database):
    assert database.run(ECHO, [None], soon()) == [(None,)]
    assert as_int(None) == 0


@pytest.mark.parametrize("number", [0, 1, -1, 2**62, 2**63 - 1, -(2**63)])
def test_numbers_arrive_as_they_are(database, number):
    ((value,),) = database.run(Statement("number", "SELECT $1::bigint", (1,)), [int8(number)], soon())
    assert as_int(value) == number


@pytest.mark.parametrize("numbers", [(), (1,), (1, -2, 2**62)])
def test_lists_of_numbers_arrive_as_they_are(database, numbers):
    statement = Statement("numbers", "SELECT array_to_string($1::bigint[], ',')", (0,))
    assert database.run(statement, [int8_array(numbers)], soon()) == [(",".join(map(str, numbers)).encode(),)]


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 23, 16, 42, 7, 123456, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
    ],
)
def test_moments_and_ids_arrive_as_they_are(database, other, moment):
    statement = Statement("moment", "SELECT ($1::timestamptz AT TIME ZONE 'UTC')::text, $2::uuid::text", (1, 1))
    id_ = UUID("0192f0c1-2345-7abc-8def-0123456789ab")
    expected = other.execute("SELECT (%s AT TIME ZONE 'UTC')::text, %s::text", [moment, id_]).fetchone()
    assert database.run(statement, [timestamp(moment), uuid(id_)], soon()) == [tuple(v.encode() for v in expected)]


# One answer for each


def test_statements_are_prepared_once(database, wire):
    for number in range(5):
        assert database.run(ECHO, [b"%d" % number], soon()) == [(b"%d" % number,)]
    assert (wire.connections, wire.round_trips, wire.statements) == (1, 5, 5)


def test_a_statement_that_fails_says_why_and_spoils_nothing(database, wire):
    for _ in range(2):
        with pytest.raises(StatementFailed, match="division by zero") as failed:
            database.run(DIVIDE, [int8(0)], soon())
        assert failed.value.sqlstate == "22012"
        assert database.run(DIVIDE, [int8(5)], soon()) == [(int8(2),)]
        assert database.run(ECHO, [b"on"], soon()) == [(b"on",)]
    assert wire.connections == 1


def test_a_statement_that_cannot_be_prepared_says_why_and_spoils_nothing(database, wire):
    for _ in range(2):
        with pytest.raises(StatementFailed, match="does not exist"):
            database.run(Statement("wrong", "SELECT nonsense", ()), [], soon())
        assert database.run(ECHO, [b"on"], soon()) == [(b"on",)]
    assert wire.connections == 1


def test_a_commit_that_fails_is_no_success(database, other, scratch):
    """What was asked for failed as a whole, though its statement had been run; and the next one is answered."""
    other.execute(
        """CREATE OR REPLACE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql
               AS $$ BEGIN RAISE EXCEPTION 'too late'; END $$;
           CREATE CONSTRAINT TRIGGER late AFTER INSERT ON scratch DEFERRABLE INITIALLY DEFERRED
               FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse()"""
    )
    for number in range(2):
        with pytest.raises(StatementFailed, match="too late"):
            database.run(KEEP, [int8(number), b""], soon())
    assert database.run(ECHO, [b"on"], soon()) == [(b"on",)]
    assert scratch() == []


def test_whatever_happens_everybody_gets_their_own_answer(database, wire, scratch):
    """Some statements fail, and the wire is cut again and again: no answer is lost, none is somebody else's."""
    wrong = []
    written = []

    def ask(seed):
        chance = random.Random(seed)
        for number in range(60):
            mine = seed * 1000 + number
            kind = chance.choice(["echo", "keep", "divide"])
            try:
                if kind == "echo":
                    right = database.run(ECHO, [b"%d" % mine], soon(5)) == [(b"%d" % mine,)]
                elif kind == "divide":
                    database.run(DIVIDE, [int8(0)], soon(5))
                    right = False
                else:
                    right = database.run(KEEP, [int8(mine), b""], soon(5)) == [(int8(mine),)]
                    written.append(mine)
            except StatementFailed as error:
                right = (kind, error.sqlstate) in (("divide", "22012"), ("keep", "23505"))
                if kind == "keep":
                    written.append(mine)  # the wire was cut after it had been written, and it was sent again
            except Unavailable:
                right = True
                time.sleep(AWAY_FOR)
            if not right:
                wrong.append((seed, number, kind))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        time.sleep(0.03)
        wire.cut()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert wrong == []
    assert wire.connections > 3
    assert len(written) > 50
    assert set(written) <= set(scratch())


# In time


@pytest.mark.parametrize("warm", [True, False])
def test_waiting_ends_at_the_deadline(database, warm):
    if warm:
        database.run(ECHO, [b""], soon())
    began = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        database.run(SLEEP, [b"5"], soon(0.2))
    assert 0.2 <= time.monotonic() - began < 2


@pytest.mark.parametrize("warm", [True, False], ids=["a connection there is", "a new connection"])
@pytest.mark.parametrize("size", [10, 16_000_000])
def test_a_wire_that_went_silent_is_waited_for_until_the_deadline(database, wire, warm, size):
    if warm:
        database.run(ECHO, [b""], soon())
    wire.stall()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        database.run(ECHO, [b"x" * size], soon(0.3))
    assert 0.3 <= time.monotonic() - began < 2
    wire.go_on()
    time.sleep(AWAY_FOR)
    assert database.run(ECHO, [b"again"], soon()) == [(b"again",)]


def test_nobody_waits_for_anybody_else_nor_makes_postgres_be_away_by_being_late(wire):
    database = Database(wire.conninfo, patience=0.8)
    database.run(ECHO, [b""], soon())
    patient = Asker(database, SLEEP, b"1")
    time.sleep(0.05)
    hurried = Asker(database, SLEEP, b"0.9", seconds=0.1)
    (outcome,) = Asker.outcomes([hurried])
    assert isinstance(outcome, Unavailable)
    assert hurried.took < 0.7
    assert Asker.outcomes([patient]) == [[(int8(1),)]]
    assert database.run(ECHO, [b"on"], soon()) == [(b"on",)], "one in a hurry does not make Postgres be away"


# Connections break


def test_a_connection_that_postgres_ended_is_made_anew(database, other):
    for _ in range(3):
        ((pid,),) = database.run(PID, [], soon())
        other.execute("SELECT pg_terminate_backend(%s)", [as_int(pid)])
        ((new_pid,),) = database.run(PID, [], soon())
        assert new_pid != pid
        assert database.run(ECHO, [b"x"], soon()) == [(b"x",)], "statements are prepared anew, too"


def test_a_connection_that_was_cut_is_made_anew(database, wire):
    database.run(ECHO, [b""], soon())
    wire.cut()
    assert database.run(ECHO, [b"x"], soon()) == [(b"x",)]
    assert wire.connections == 2


def test_a_connection_that_is_cut_while_waiting_is_made_anew(database, wire):
    database.run(ECHO, [b""], soon())
    threading.Timer(0.1, wire.cut).start()
    assert database.run(SLEEP, [b"0.2"], soon()) == [(int8(1),)]


def test_statements_that_the_server_forgot_are_prepared_anew(database, other, scratch):
    """By DISCARD or DEALLOCATE; or since a migration changed what they give."""
    look = Statement("look", "SELECT * FROM scratch", ())
    assert database.run(look, [], soon()) == []
    database.run(Statement("forget", "DEALLOCATE ALL", ()), [], soon())
    assert database.run(look, [], soon()) == []
    other.execute("ALTER TABLE scratch ADD COLUMN more text; INSERT INTO scratch VALUES (1, 'a', 'b')")
    assert database.run(look, [], soon()) == [(int8(1), b"a", b"b")]


# Postgres is away


def test_where_nobody_answers_it_is_told_at_once_and_remembered_for_a_moment(database, wire, monkeypatch):
    monkeypatch.setattr(connection, "AWAY_FOR", 1)
    database.run(ECHO, [b""], soon())
    wire.close()
    began = time.monotonic()
    with pytest.raises(Unavailable, match="cannot be reached"):
        database.run(ECHO, [b""], soon())
    assert time.monotonic() - began < 1
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(Unavailable, match="a moment ago"):
            database.run(ECHO, [b""], soon())
    assert time.monotonic() - began < 0.5
    time.sleep(1)
    with pytest.raises(Unavailable, match="cannot be reached"):
        database.run(ECHO, [b""], soon())


def test_it_is_asked_again_after_that_moment(database, wire):
    wire.stall()
    with pytest.raises(Unavailable):
        database.run(ECHO, [b""], soon(0.05))
    wire.go_on()
    with pytest.raises(Unavailable, match="a moment ago"):
        database.run(ECHO, [b""], soon())
    time.sleep(AWAY_FOR)
    assert database.run(ECHO, [b"x"], soon()) == [(b"x",)]
    assert database.run(ECHO, [b"x"], soon()) == [(b"x",)]


def test_a_statement_that_fails_does_not_count_as_being_away(database):
    with pytest.raises(StatementFailed):
        database.run(DIVIDE, [int8(0)], soon())
    assert database.run(ECHO, [b"x"], soon()) == [(b"x",)]


# Locks


@pytest.fixture
def hook_path(transactional_db):
    database = Database(impatient(conninfo()))
    yield database
    database.close()


def test_a_row_that_somebody_locked_fails_what_needs_it_and_nothing_else(hook_path, scratch, other):
    update = Statement("update", "UPDATE scratch SET note = 'x' WHERE id = $1::bigint RETURNING id", (1,))
    hook_path.run(KEEP, [int8(1), b""], soon())
    hook_path.run(KEEP, [int8(2), b""], soon())
    with psycopg.connect(conninfo()) as somebody:
        somebody.execute("UPDATE scratch SET note = 'mine' WHERE id = 1")
        askers = [Asker(hook_path, update, int8(id_), seconds=5) for id_ in (2, 1, 2)]
        free, locked, free_too = Asker.outcomes(askers)
    assert (free, free_too) == ([(int8(2),)], [(int8(2),)])
    assert locked.sqlstate == "55P03"
    assert max(asker.took for asker in askers) < 2


def test_what_nobody_waits_for_any_more_does_not_pile_up(hook_path, scratch, other):
    with psycopg.connect(conninfo()) as somebody:
        somebody.execute("LOCK TABLE scratch")
        for _ in range(3):
            with pytest.raises((Unavailable, StatementFailed)):
                hook_path.run(SLEEP, [b"60"], soon(0.1))
            with pytest.raises((Unavailable, StatementFailed)):
                hook_path.run(KEEP, [int8(1), b""], soon(0.1))
            time.sleep(AWAY_FOR)
        wait_until(lambda: not other.execute(BUSY).fetchall(), "Postgres to give up", 10)


def test_an_error_can_be_handed_to_another_process():
    """As Celery does, with whatever a task raises."""
    error = pickle.loads(pickle.dumps(StatementFailed("40P01", "deadlock detected")))
    assert (error.sqlstate, error.in_trouble, str(error)) == ("40P01", True, "40P01: deadlock detected")
