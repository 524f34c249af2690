"""What load balancers, orchestrators, Prometheus and readers of the schema see."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from apps.access.snapshot import SnapshotKeeper
from apps.audit.models import ChangeRecord, HookRecord
from apps.audit.moving.changes import move_changes
from apps.audit.recording.recorder import new_id
from apps.audit.recording.spool import Spool, keep_aside
from apps.database import hook_path
from apps.database.connection import Database
from apps.hooks import health, middleware
from tests import factories
from tests.audit.test_mover import make_record
from tests.database.wire import Wire
from tests.hooks.processes import conninfo


@pytest.fixture(autouse=True)
def no_static_files(settings):
    """None were collected, and WhiteNoise would warn about that."""
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture
def keeper(wcs, monkeypatch):
    """A keeper of its own for /readyz, that has loaded the rules."""
    keeper = SnapshotKeeper(conninfo())
    monkeypatch.setattr(health, "snapshot_keeper", lambda: keeper)
    assert Client().get("/readyz").status_code == 200
    yield keeper
    keeper.stop()


@pytest.fixture
def database_away(monkeypatch):
    class Away:
        def cursor(self):
            raise OperationalError("could not connect")

    monkeypatch.setattr(health, "connection", Away())


@pytest.fixture
def staff(db):
    client = Client()
    user = factories.make_user("olga", is_staff=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_healthz_is_well_while_the_process_runs_even_without_a_database(database_away):
    assert Client().get("/healthz").json() == {"status": "ok"}


def test_readyz_is_ready_again_as_soon_as_a_change_is_loaded(keeper):
    factories.make_stream()
    said = Client().get("/readyz")
    assert said.status_code == 200
    assert said.json().keys() == {
        "status",
        "revision",
        "records_waiting",
        "oldest_waiting_s",
        "changes_waiting",
        "oldest_change_waiting_s",
        "spooled",
        "away_since",
        "audit_outside_partitions",
        "missing",
        "sealed",
        "seal_trouble",
        "missing_since",
        "missing_looked_at",
        "silent_processes",
    }
    assert (said.json()["spooled"], said.json()["away_since"]) == (0, None)
    assert keeper.current(0).revision == said.json()["revision"]


def test_records_wait_since_they_were_recorded_and_not_since_their_hooks_came(keeper):
    long_ago = timezone.now() - timedelta(minutes=30)
    make_record(id=new_id(long_ago), received_at=long_ago, while_away=True)
    said = Client().get("/readyz").json()
    assert (said["records_waiting"], said["oldest_waiting_s"] < 60) == (1, True)
    HookRecord.objects.update(waits_since=timezone.now() - timedelta(minutes=5))
    make_record()
    said = Client().get("/readyz").json()
    assert (said["records_waiting"], said["oldest_waiting_s"] >= 300) == (2, True)
    text = Client().get("/metrics").content.decode()
    assert re.search(r"^wcsgate_oldest_waiting_seconds 30\d\.", text, re.MULTILINE)


def test_it_is_told_that_changes_by_staff_are_not_in_the_audit_log_yet(keeper):
    move_changes()
    factories.make_stream()
    ChangeRecord.objects.update(changed_at=timezone.now() - timedelta(minutes=5))
    said = Client().get("/readyz").json()
    assert (said["changes_waiting"], said["oldest_change_waiting_s"] >= 300) == (1, True)
    text = Client().get("/metrics").content.decode()
    assert "\nwcsgate_changes_waiting 1.0" in text
    assert re.search(r"^wcsgate_oldest_change_seconds 30\d\.", text, re.MULTILINE)
    move_changes()
    said = Client().get("/readyz").json()
    assert (said["changes_waiting"], said["oldest_change_waiting_s"]) == (0, 0)


def test_readyz_is_not_ready_when_the_rules_can_no_longer_be_refreshed(keeper, settings):
    keeper.stop()
    assert Client().get("/readyz").status_code == 200
    settings.HOOK_TIME_LIMIT = 0.2
    factories.make_stream()
    said = Client().get("/readyz")
    assert (said.status_code, said.json()["error"]) == (503, "not-ready")


def test_readyz_is_not_ready_before_the_rules_are_loaded(wcs, settings, monkeypatch):
    settings.HOOK_TIME_LIMIT = 0.2
    keeper = SnapshotKeeper("host=127.0.0.1 port=1 dbname=none")
    monkeypatch.setattr(health, "snapshot_keeper", lambda: keeper)
    assert Client().get("/readyz").status_code == 503
    keeper.stop()


def test_readyz_is_not_ready_when_the_database_is_away(keeper, database_away):
    said = Client().get("/readyz")
    assert (said.status_code, said.json()["error"]) == (503, "not-ready")


SINCE = datetime(2026, 3, 1, 14, 30, 5, tzinfo=UTC)


@pytest.fixture
def spooled(tmp_path, monkeypatch):
    """Three entries wait in the spools of two processes, the first of them since SINCE; something was set aside."""
    mine, other = Spool(str(tmp_path), 10_000), Spool(str(tmp_path), 10_000)
    mine.append(b"one", SINCE)
    other.append(b"two", SINCE + timedelta(seconds=7))
    other.append(b"three", SINCE + timedelta(seconds=7))
    keep_aside(other.file.path, b"?")
    monkeypatch.setattr(health, "spool", lambda: mine)
    yield mine
    mine.close()
    other.close()


@pytest.mark.parametrize("away", [True, False])
def test_readyz_says_what_is_in_the_spools_and_since_when(keeper, spooled, away, request):
    if away:
        request.getfixturevalue("database_away")
    for _ in range(2):
        said = Client().get("/readyz")
        assert said.status_code == (503 if away else 200)
        assert (said.json()["spooled"], said.json()["away_since"]) == (3, "2026-03-01T14:30:05Z")
    spooled.append(b"four", SINCE)
    assert Client().get("/readyz").json()["spooled"] == 4
    assert spooled.remove(spooled.file.synced)
    assert Client().get("/readyz").json()["away_since"] == "2026-03-01T14:30:12Z"


def test_metrics_say_what_is_in_the_spools(spooled, database_away):
    text = Client().get("/metrics").content.decode()
    numbers = {name: float(value) for name, value in re.findall(r"^(wcsgate\w+) (\S+)$", text, re.MULTILINE)}
    assert numbers == {
        "wcsgate_database_up": 0,
        "wcsgate_spooled_entries": 3,
        "wcsgate_away_since_seconds": SINCE.timestamp(),
        "wcsgate_spool_aside_files": 1,
    }


@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/metrics"])
def test_whoever_wants_to_change_something_there_is_told_no(address):
    assert Client().post(address).status_code == 405


@pytest.mark.django_db
def test_metrics_are_numbers_for_the_networks_that_may_read_them():
    text = Client().get("/metrics").content.decode()
    numbers = dict(re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE))
    assert numbers.keys() == {
        "wcsgate_database_up",
        "wcsgate_access_revision",
        "wcsgate_records_waiting",
        "wcsgate_oldest_waiting_seconds",
        "wcsgate_changes_waiting",
        "wcsgate_oldest_change_seconds",
        "wcsgate_spooled_entries",
        "wcsgate_away_since_seconds",
        "wcsgate_spool_aside_files",
        "wcsgate_missing",
        "wcsgate_seal_trouble",
        "wcsgate_sealed_seconds",
        "wcsgate_missing_looked_for_seconds",
        "wcsgate_silent_processes",
        "wcsgate_answered_unrecorded",
        "wcsgate_audit_outside_partitions",
        "wcsgate_audit_being_moved",
    }
    assert numbers["wcsgate_database_up"] == "1.0"


@pytest.mark.parametrize("hidden", [{"REMOTE_ADDR": "192.0.2.1"}, {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}])
def test_metrics_are_not_for_others_nor_through_a_proxy_that_is_not_trusted(hidden):
    said = Client().get("/metrics", **hidden)
    assert (said.status_code, said.json()["error"]) == (403, "not-for-you")


def test_metrics_say_so_when_the_database_is_away(database_away):
    said = Client().get("/metrics")
    assert said.status_code == 200
    assert "wcsgate_database_up 0.0" in re.findall(r"^wcsgate.*", said.content.decode(), re.MULTILINE)


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/api/schema/", "/api/docs/"])
def test_the_schema_and_its_page_are_for_staff_only(address):
    client = Client()
    assert client.get(address).status_code == 403
    client.force_login(factories.make_user("alice"), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(address).status_code == 403


def test_the_schema_lists_the_hooks(staff):
    assert b"/hooks/" in staff.get("/api/schema/").content


def test_the_page_of_the_schema_asks_nobody_else_for_anything(staff):
    page = staff.get("/api/docs/")
    assert page.status_code == 200
    loaded = re.findall('(?:src|href)="([^"]+)"', page.content.decode())
    assert any("swagger-ui-bundle.js" in address for address in loaded)
    assert [address for address in loaded if not address.startswith("/static/")] == []
    assert not re.search("https?://", page.content.decode())


@pytest.fixture
def frozen(keeper, monkeypatch):
    """Postgres takes connections and says nothing any more, as where its processes are stopped."""
    wire = Wire(conninfo())
    database = Database(wire.conninfo)
    monkeypatch.setattr(hook_path, "hook_database", lambda: database)
    hook_path.expect_an_answer(2)
    wire.stall()
    yield wire
    wire.close()
    database.close()


@pytest.mark.parametrize(("address", "status"), [("/readyz", 503), ("/metrics", 200), ("/healthz", 200)])
def test_probes_are_answered_within_a_moment_while_postgres_is_frozen(frozen, address, status):
    began = time.monotonic()
    said = Client().get(address)
    assert time.monotonic() - began < 1.5
    assert said.status_code == status
    if address == "/metrics":
        assert "wcsgate_database_up 0.0" in said.content.decode()


@pytest.mark.parametrize("address", ["/admin/", "/api/audit/events/"])
def test_whoever_opens_a_page_while_postgres_is_frozen_is_told_so(frozen, monkeypatch, address):
    monkeypatch.setattr(middleware, "PATIENCE", 0.3)
    said = Client().get(address)
    assert (said.status_code, said["Retry-After"]) == (503, "5")
    assert "The database does not answer just now" in said.content.decode()
    frozen.go_on()
    time.sleep(0.5)
    assert Client().get(address).status_code != 503


def test_staff_are_told_on_a_page_that_needs_nothing_else_and_tries_again_by_itself(frozen, monkeypatch):
    monkeypatch.setattr(middleware, "PATIENCE", 0.3)
    looked, sent = Client().get("/admin/").content.decode(), Client().post("/admin/login/").content.decode()
    for html in (looked, sent):
        assert html.startswith("<!DOCTYPE html>")
        assert "<h1>The database does not answer just now</h1>" in html
        assert not re.search(r"<(link|script|img)\b", html)
    assert 'http-equiv="refresh"' in looked
    assert 'href="">Try again' in looked
    assert 'http-equiv="refresh"' not in sent  # what was sent would be lost
    assert "Go back in your browser" in sent
