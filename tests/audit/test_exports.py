"""Exports in the background: the same file as the direct export, whatever happens to the workers on the way."""

import csv
import gzip
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.models import TriedOut
from apps.audit.browsing.asked import Asked, BadSearch, events_of
from apps.audit.exporting import exports
from apps.audit.exporting.export import COLUMNS, FORMATS, in_chunks
from apps.audit.exporting.exports import MOST, OUTBOX_TIME, TooMany, ask, delete, fail, file_of, forget, take_turn, work
from apps.audit.exporting.models import Export, ExportPiece, State
from apps.audit.models import AuditEvent, ChangeRecord
from apps.audit.moving.mover import move_batch
from apps.audit.recording.recorder import new_id
from apps.audit.tasks import write_exports
from runner import ROOT
from runner.services import wait_until
from tests import factories
from tests.admin.conftest import make_event
from tests.audit.test_mover import make_record
from tests.factories import make_user

NOW = timezone.now().replace(microsecond=7)
LATER = NOW + timedelta(seconds=10)
"""When all that had been received at NOW is committed, or failed."""

LONG = 600.0
SMALL = 700
"""Bytes: a piece of few lines."""


@pytest.fixture
def audrey(db):
    user = make_user("audrey", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_auditevent"))
    return user


def make_events(number=30):
    """A refused attempt for every ten hours that have passed; every third by Ann, three in the same microsecond."""
    for hours in range(number):
        username = "charlie" if hours % 3 else "ann"
        moment = NOW - timedelta(hours=10 * max(1, hours - 2))
        make_event(username=username, target="=1+1", body=b'{"n": %d}' % hours, received_at=moment)


@pytest.fixture
def events(db):
    make_events()


def direct(search, user, kind):
    form = FORMATS[kind]
    return b"".join(form.lines(in_chunks(form.read(events_of(Asked(search, user, NOW)))), NOW))


def written(export):
    return b"".join(file_of(export))


def soon():
    return time.monotonic() + LONG


def step(size=SMALL):
    return take_turn(LATER, soon(), size)


def finish(export, size=SMALL):
    work(LATER, soon(), size)
    export.refresh_from_db()
    return export


# The file


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "search",
    [
        "",
        "q=user%3Aann",
        "last=24h&effect=deny",
        "q=user%3Anobody",
        "q=after%3A5d+ann",
        "from=2026-01-01T00:00:00%2B23:59",
    ],
)
@pytest.mark.parametrize("size", [1, SMALL, 4_000_000])
def test_it_is_what_the_direct_export_gives(audrey, events, kind, search, size):
    export = finish(ask(audrey, search, kind, NOW), size)
    assert (export.state, export.problem) == (State.READY, "")
    assert written(export) == direct(search, audrey, kind)
    assert export.bytes == len(written(export))
    assert export.rows == events_of(Asked(search, audrey, NOW)).count()


def test_more_than_a_chunk_is_read_chunk_by_chunk(audrey, events, monkeypatch):
    monkeypatch.setattr(exports, "CHUNK", 4)
    export = ask(audrey, "", "csv", NOW)
    with CaptureQueriesContext(connection) as queries:
        finish(export, 4_000_000)
    reads = [query["sql"] for query in queries if "LIMIT 4" in query["sql"]]
    assert len(reads) >= 8
    assert all("OFFSET" not in sql for sql in reads)
    assert written(export) == direct("", audrey, "csv")


def test_no_piece_is_much_larger_than_it_should_be(audrey, events, monkeypatch):
    monkeypatch.setattr(exports, "CHUNK", 2)
    export = finish(ask(audrey, "", "jsonl", NOW), SMALL)
    longest = max(map(len, written(export).splitlines(keepends=True)))
    pieces = [gzip.decompress(piece.data) for piece in export.parts.all()]
    assert max(map(len, pieces)) < SMALL + 2 * longest
    assert len(pieces) > 5


def test_nothing_in_it_is_calculated_by_a_spreadsheet(audrey, events):
    rows = csv.reader(written(finish(ask(audrey, "", "csv", NOW))).decode().splitlines())
    next(rows)
    assert {row[COLUMNS.index("target")] for row in rows} == {"'=1+1"}


def test_it_goes_on_from_any_byte(audrey, events):
    export = finish(ask(audrey, "", "csv", NOW))
    whole = written(export)
    assert export.pieces > 3
    for first in range(0, len(whole), 97):
        assert b"".join(file_of(export, first)) == whole[first:]


def test_what_comes_after_it_was_asked_for_is_not_in_it(audrey, events):
    export = ask(audrey, "", "csv", NOW)
    make_event(username="late", received_at=NOW + timedelta(seconds=1))
    assert b"late" not in written(finish(export))


@pytest.fixture
def waits(audrey):
    """Makes a hook that came so many minutes after the export was asked for, and waits to be moved into the log."""
    ChangeRecord.objects.all().delete()
    factories.make_node()

    def make(minutes):
        at = NOW + timedelta(minutes=minutes)
        return make_record(id=new_id(at), received_at=at)

    return make


def test_it_does_not_begin_while_a_hook_may_be_on_its_way_to_the_outbox(audrey, waits, settings):
    """Such a hook was received, is in neither, and may be committed as late as this."""
    export = ask(audrey, "username=alice", "csv", NOW)
    committed = NOW + 2 * timedelta(seconds=settings.HOOK_TIME_LIMIT)
    assert work(committed, soon()) == 0
    waits(-0.005)
    assert work(LATER, soon()) == 0
    move_batch()
    assert (finish(export).state, export.rows) == (State.READY, 1)


def test_it_begins_when_all_that_was_received_before_is_in_the_log(audrey, waits):
    waits(-1)
    export = ask(audrey, "username=alice", "csv", NOW)
    waits(+1)
    assert not step()
    assert finish(export).state == State.WAITING
    move_batch(1)
    assert (finish(export).state, export.rows) == (State.READY, 1)
    assert "lack" not in export.words


def test_changes_by_staff_are_waited_for_too(audrey, waits):
    waits(+1)
    make_user("anna")
    export = ask(audrey, "", "csv", timezone.now())
    assert finish(export).state == State.WAITING


def test_what_was_begun_goes_on_whatever_comes_late(audrey, events, waits):
    export = ask(audrey, "", "csv", NOW)
    assert step()
    waits(-1)
    assert finish(export).state == State.READY


def test_where_nothing_is_moved_for_long_it_begins_and_says_what_may_lack(audrey, waits):
    first = waits(-5)
    export = ask(audrey, "username=alice", "csv", NOW)
    assert work(NOW + OUTBOX_TIME - timedelta(seconds=1), soon()) == 0
    assert work(NOW + OUTBOX_TIME, soon()) > 0
    export.refresh_from_db()
    assert (export.state, export.rows) == (State.READY, 0)
    since = timezone.localtime(first.received_at)
    assert export.words.endswith(
        f"What came from {since:%Y-%m-%d %H:%M:%S} on may lack: it waits to be moved into the log."
    )


def test_the_last_hours_are_those_before_it_was_asked_for(audrey):
    make_event(username="then", received_at=NOW - timedelta(days=3, hours=23))
    export = ask(audrey, "last=24h&q=after%3A1d", "csv", NOW - timedelta(days=3))
    assert b"then" in written(finish(export))


def test_what_a_rule_tried_out_hit_since_takes_no_place_of_what_it_had_hit(audrey, monkeypatch):
    monkeypatch.setattr("apps.audit.browsing.filters.HITS_SHOWN", 2)
    export = ask(audrey, "tried_out=7", "csv", NOW)
    for username, hours in (("then", 2), ("since", -1), ("since", -2)):
        event = make_event(username=username, received_at=NOW - timedelta(hours=hours))
        TriedOut.objects.create(
            rule_id=7, effect="deny", event_id=event.pk, received_at=event.received_at, username=username
        )
    assert b"then" in written(finish(export))


def test_a_word_that_very_much_is_about_is_exported_whole(audrey, events, monkeypatch):
    monkeypatch.setattr("apps.accounts.pages.HITS_SHOWN", 3)
    assert finish(ask(audrey, "q=charlie", "csv", NOW)).rows == 20


# Whatever happens


@transaction.atomic
def write_and_die():
    step()
    raise KeyboardInterrupt


def test_a_worker_that_dies_in_any_piece_loses_and_doubles_nothing(audrey, events):
    export = ask(audrey, "", "csv", NOW)
    died = 0
    while Export.objects.unfinished().exists():
        with pytest.raises(KeyboardInterrupt):
            write_and_die()
        died += 1
        step()
    assert died > 3
    export.refresh_from_db()
    assert written(export) == direct("", audrey, "csv")


WORKER = """
import sys, time
from datetime import timedelta
import django
django.setup()
from django.utils import timezone
from apps.audit.exporting.exports import work
print("begins", flush=True)
work(timezone.now() + timedelta(seconds=10), time.monotonic() + 600, int(sys.argv[1]))
"""


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_process_loses_and_doubles_nothing(audrey, environment):
    make_events(400)
    export = ask(audrey, "", "jsonl", NOW)
    for _ in range(2):
        export.refresh_from_db()
        before = export.pieces
        worker = [sys.executable, "-c", WORKER, str(SMALL)]
        with subprocess.Popen(worker, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "begins\n"
            while export.pieces <= before:
                export.refresh_from_db()
            process.kill()
    export.refresh_from_db()
    assert export.state == State.RUNNING, "it was killed before it was done"
    wait_until(lambda: finish(export).state == State.READY, "the file, once the killed worker let go of it")
    assert written(export) == direct("", audrey, "jsonl")


@pytest.fixture
def elsewhere(transactional_db):
    """Somebody who does something at the same time, over a connection of their own."""

    def closing_after(deed, *arguments):
        with closing(connections["default"]):
            return deed(*arguments)

    with ThreadPoolExecutor(1) as others:
        yield lambda *deed: others.submit(closing_after, *deed)


def waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone()[0]


def test_two_workers_at_once_do_not_write_the_same_export(elsewhere, audrey, events):
    ask(audrey, "", "csv", NOW)
    with transaction.atomic():
        assert step()
        assert not elsewhere(step).result(timeout=30), "there is nothing for it to do"
    assert elsewhere(step).result(timeout=30)


def test_deleting_waits_for_the_piece_that_is_being_written(elsewhere, audrey, events):
    ask(audrey, "", "csv", NOW)
    with transaction.atomic():
        step()
        deleted = elsewhere(delete, Export.objects.all())
        wait_until(waits_for_a_lock, "deleting")
    assert deleted.result(timeout=30) == 1
    assert not ExportPiece.objects.exists()


def test_who_asks_twice_at_once_is_counted_twice(elsewhere, audrey):
    for _ in range(MOST - 1):
        ask(audrey, "", "csv", NOW)
    with transaction.atomic():
        ask(audrey, "", "csv", NOW)
        again = elsewhere(ask, audrey, "", "csv", NOW)
        wait_until(waits_for_a_lock, "asking")
    with pytest.raises(TooMany):
        again.result(timeout=30)


def test_everybody_gets_a_turn(audrey, events):
    first, second = (ask(audrey, "", "csv", NOW + timedelta(seconds=number)) for number in range(2))
    with transaction.atomic():
        step()
    Export.objects.filter(pk=first.pk).update(worked_at=NOW)
    step()
    for export in (first, second):
        export.refresh_from_db()
        assert (export.state, export.pieces) == (State.RUNNING, 1)


def test_what_is_found_seldom_is_looked_for_bit_by_bit(audrey):
    """As if Postgres could not look through more than a part of the time at once."""
    for days in (0, 900):
        make_event(username="ann", received_at=NOW - timedelta(days=days, hours=1))
    export = ask(audrey, "q=user%3Aann", "csv", NOW)
    percents = []
    while Export.objects.unfinished().exists():
        take_turn(LATER, time.monotonic())
        export.refresh_from_db()
        percents.append(export.percent)
    assert len(percents) > 5
    assert export.rows == 2


def test_a_query_that_takes_too_long_is_asked_again_about_less(audrey, events, monkeypatch):
    monkeypatch.setattr(exports, "QUERY_TIME", timedelta(milliseconds=1))
    slow = AuditEvent.objects.extra(where=["pg_sleep(0.01) IS NOT NULL"])
    monkeypatch.setattr(exports, "_events_of", lambda export: slow)
    export = ask(audrey, "", "csv", NOW)
    take_turn(LATER, time.monotonic())
    export.refresh_from_db()
    assert (export.state, export.rows) == (State.RUNNING, 0)
    assert export.span == timedelta(hours=6)
    monkeypatch.undo()
    assert written(finish(export)) == direct("", audrey, "csv")


def test_how_far_it_is_only_grows_and_ends_at_a_hundred(audrey, events):
    export = ask(audrey, "", "csv", NOW)
    seen = [export.percent]
    while step(1):
        export.refresh_from_db()
        seen.append(export.percent)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 100)
    assert len({*seen}) > 4


def test_a_turn_is_short(audrey, events):
    ask(audrey, "", "csv", NOW)
    assert work(LATER, time.monotonic() - 1) == 0
    assert work(LATER, time.monotonic() + 0.000_1, 1) <= 1


def test_the_workers_write_it(audrey, events):
    export = ask(audrey, "", "csv", NOW - timedelta(minutes=1))
    assert write_exports(something_unknown=1) >= 1
    export.refresh_from_db()
    assert export.state == State.READY


# What ends it


def test_whoever_may_not_see_the_log_any_longer_gets_nothing_more(audrey, events):
    export = ask(audrey, "", "csv", NOW)
    step()
    audrey.user_permissions.clear()
    assert "may not see the audit log any longer" in finish(export).problem
    assert (export.state, ExportPiece.objects.count()) == (State.FAILED, 0)


@pytest.mark.parametrize("gone", ["inactive", "deleted"])
def test_nothing_is_written_for_somebody_who_is_gone(audrey, events, gone):
    export = ask(audrey, "", "csv", NOW)
    audrey.is_active = False
    audrey.save() if gone == "inactive" else audrey.delete()
    assert "may not see the audit log any longer" in finish(export).problem
    assert export.made_by_name == "audrey"


def test_one_that_takes_too_much_is_given_up(audrey, events, settings):
    settings.EXPORT_LIMIT = 500
    export = finish(ask(audrey, "", "csv", NOW))
    assert "Ask for less" in export.problem
    assert (export.state, ExportPiece.objects.count()) == (State.FAILED, 0)


def test_one_with_other_columns_than_today_is_given_up(audrey, events):
    export = ask(audrey, "", "csv", NOW)
    step()
    Export.objects.update(columns=["id"])
    assert "Ask for it again" in finish(export).problem


def test_one_that_lost_a_piece_is_not_ready(audrey, events):
    """As after a backup was restored without the pieces."""
    export = ask(audrey, "", "csv", NOW)
    step()
    ExportPiece.objects.all().delete()
    assert "A part of what was written is gone" in finish(export).problem


def test_a_bad_one_keeps_no_other_from_being_written(audrey, events, caplog):
    bad, good = (ask(audrey, "", "csv", NOW + timedelta(seconds=number)) for number in range(2))
    Export.objects.filter(pk=bad.pk).update(format="unknown")
    assert finish(bad).state == State.FAILED
    assert "could not be written" in bad.problem
    assert f"Export {bad.pk} failed: KeyError" in caplog.text
    good.refresh_from_db()
    assert good.state == State.READY


def test_one_whose_search_is_not_taken_any_longer_says_so(audrey, events, caplog):
    """As it was asked for before an upgrade."""
    export = ask(audrey, "", "csv", NOW)
    Export.objects.filter(pk=export.pk).update(asked="q=" + "a+" * 1000)
    assert finish(export).state == State.FAILED
    assert "A search has at most 40 words; this is one more." in export.problem
    assert caplog.text == ""


def test_a_download_of_what_was_deleted_meanwhile_breaks_off(audrey, events):
    export = finish(ask(audrey, "", "csv", NOW))
    parts = file_of(export)
    next(parts)
    fail(export, NOW, "")
    with pytest.raises(ExportPiece.DoesNotExist):
        next(parts)


def test_a_person_has_a_few_at_once(audrey, events):
    for _ in range(MOST):
        last = ask(audrey, "", "csv", NOW)
    with pytest.raises(TooMany, match="Delete one of them first"):
        ask(audrey, "", "csv", NOW)
    fail(last, NOW, "")
    assert ask(audrey, "", "csv", NOW)


@pytest.mark.parametrize(
    "search", ["q=usr%3Ax", "from=yesterday-ish", "tried_out=x", "q=a" + "+" * 2000, "q=" + "a+" * 41]
)
def test_a_search_that_cannot_be_understood_is_not_exported(audrey, search):
    with pytest.raises(BadSearch):
        ask(audrey, search, "csv", NOW)
    assert not Export.objects.exists()


def test_it_says_in_words_what_was_asked(audrey):
    asked = ask(audrey, "q=user%3Aann+after%3A2026-11-01&effect=deny&last=24h", "csv", NOW)
    since = f"{NOW - timedelta(days=1):%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    assert asked.words == f"Hooks by user “ann”, after 2026-11-01 00:00. Of these: refused, after {since}."
    assert ask(audrey, "until=2026-11-01", "csv", NOW).words == "Hooks before 2026-11-01 00:00."
    assert ask(audrey, "", "csv", NOW).words == "Everything."


def test_what_was_kept_long_enough_is_gone_with_its_pieces(audrey, events, settings):
    settings.KEEP_EXPORTS = 7
    old, fresh, waiting = (ask(audrey, "", "csv", NOW) for _ in range(3))
    finish(fresh)
    Export.objects.filter(pk=waiting.pk).update(state=State.WAITING, finished_at=None, made_at=NOW - timedelta(days=8))
    Export.objects.filter(pk=old.pk).update(finished_at=NOW - timedelta(days=7))
    with CaptureQueriesContext(connection) as queries:
        assert forget(NOW) == 2
    assert [export.pk for export in Export.objects.all()] == [fresh.pk]
    assert set(ExportPiece.objects.values_list("export_id", flat=True)) == {fresh.pk}
    assert not any("SELECT" in query["sql"] and '"data"' in query["sql"] for query in queries), "no file is read for it"
