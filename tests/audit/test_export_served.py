"""A download from the server that is used, over a connection to Postgres that ends in the middle: its file says so."""

import json
import sys
from contextlib import ExitStack, closing
from datetime import timedelta
from http.client import HTTPConnection
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from apps.audit.exporting.export import CHUNK
from apps.audit.models import AuditEvent
from apps.audit.recording.recorder import new_id
from runner import ROOT
from runner.places import free_port
from runner.services import Web
from runner.up import WEB
from tests import factories
from tests.admin.conftest import browser_of, make_event

EXPORT = "/admin/audit/auditevent/export/?format=jsonl"
BODY = json.dumps({"custom": "x" * 8_000}).encode()
"""So much that the server waits with the second chunk until somebody has read of the first."""


@pytest.fixture
def events(transactional_db):
    """More than one chunk of them."""
    now = timezone.now()
    event = make_event(body=BODY, received_at=now)
    columns = {field.attname: getattr(event, field.attname) for field in AuditEvent._meta.concrete_fields}
    moments = [now - timedelta(seconds=number) for number in range(1, CHUNK + 100)]
    AuditEvent.objects.bulk_create(
        AuditEvent(**{**columns, "id": new_id(at), "received_at": at, "last_received_at": at}) for at in moments
    )


@pytest.fixture
def download(transactional_db, environment, tmp_path):
    """Asks the server for an address, as root."""
    root = factories.make_user("root", is_staff=True, is_superuser=True)
    cookie = browser_of(root).cookies[settings.SESSION_COOKIE_NAME].value
    own = environment | {"WCSGATE_SECRET_KEY": settings.SECRET_KEY, "WCSGATE_SPOOL": str(tmp_path)}
    port = free_port()
    line = [sys.executable, "-m", *WEB, "--host", "127.0.0.1", "--port", str(port), "wcsgate.wsgi:application"]

    with ExitStack() as at_the_end:
        at_the_end.enter_context(Web("web", line, log=tmp_path / "web.log", env=own, cwd=ROOT))

        def ask(address):
            client = at_the_end.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=60)))
            client.request("GET", address, headers={"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"})
            return at_the_end.enter_context(client.getresponse())

        yield ask


def end_all_other_connections():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_what_breaks_off_says_so_and_goes_on_where_it_did(events, download):
    response = download(EXPORT)
    assert response.status == 200
    begun = response.read(1_000)
    end_all_other_connections()
    *rows, last = map(json.loads, (begun + response.read()).splitlines())
    assert last["error"] == "not-complete"
    assert last["resume"] == rows[-1]["resume"]
    assert len(rows) == CHUNK
    rest = [json.loads(row) for row in download(f"{EXPORT}&resume={quote(last['resume'])}").read().splitlines()]
    ids = [str(id_) for id_ in AuditEvent.objects.order_by("-received_at", "-id").values_list("id", flat=True)]
    assert [row["id"] for row in (*rows, *rest)] == ids


def test_a_whole_one_has_its_events_alone(events, download):
    rows = [json.loads(row) for row in download(EXPORT).read().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows) == AuditEvent.objects.count()
