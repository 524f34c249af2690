"""The feed over HTTP: who may read it, by which key, and what is said where something is wrong."""

import json
import logging
import os
import re
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import READ_FROM, ApiKey, Revocation, User
from apps.audit.exporting import feed
from apps.audit.models import AuditEvent, Batch, ChangeRecord
from apps.audit.moving.batches import append
from apps.audit.moving.mover import move_batch
from apps.audit.proving.seals import make_seal
from tests import factories
from tests.admin.conftest import browser_of, make_role
from tests.audit.test_changes import acts, changes, said
from tests.audit.test_evidence import KEY, as_setting
from tests.audit.test_mover import make_record
from wcsgate import api_keys

FEED = "/api/v1/audit"
ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "feed.md"
SOURCES = (ROOT / "apps" / "audit" / "exporting" / "api.py", ROOT / "wcsgate" / "api_keys.py")


@pytest.fixture(autouse=True)
def nobody_has_guessed(monkeypatch):
    monkeypatch.setattr(api_keys, "_guesses", api_keys.Guesses(limit=api_keys.WRONG_KEYS, seconds=api_keys.SECONDS))


@pytest.fixture
def siem(transactional_db):
    """The account of a program: staff, without a password, who may see audit events and nothing else."""
    make_role("auditors", "view_auditevent")
    return factories.make_user("siem", is_staff=True, groups=["auditors"])


@pytest.fixture
def record(siem):
    """Three events, each in a batch of its own."""
    for number in range(3):
        make_record(number)
        move_batch()
    ChangeRecord.objects.all().delete()


def ask(key="", address="192.0.2.7", **parameters):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return Client().get(FEED, parameters, headers=headers, REMOTE_ADDR=address)


def refused(response):
    """The status and the code of a refusal, which is JSON with a sentence."""
    said = response.json()
    assert response["Content-Type"] == "application/json"
    assert said.keys() == {"error", "detail"}
    assert said["detail"].endswith(".")
    return response.status_code, said["error"]


def test_a_program_reads_page_by_page_until_there_is_no_more(siem, record):
    key, _ = factories.make_key(siem)
    pages, after, more = [], "", True
    while more:
        page = ask(key, after=after, limit=2).json()
        pages.append([item["id"] for item in page["items"]])
        after, more = page["next"], page["more"]
    moved = [str(id_) for id_ in AuditEvent.objects.order_by("batch").values_list("id", flat=True)]
    assert pages == [moved[:2], moved[2:]]
    assert after == "3.1"
    make_record(9)
    move_batch()
    assert len(ask(key, after=after).json()["items"]) == 1


def test_each_page_is_a_witness_of_the_chain(siem, record, settings):
    settings.SEAL_KEYS = [as_setting(KEY)]
    key, _ = factories.make_key(siem)
    hashes = {str(batch.number): bytes(batch.hash).hex() for batch in Batch.objects.all()}
    page = ask(key).json()
    assert (page["hashes"], page["seal"]) == (hashes, None)
    seal = make_seal(Batch.objects.latest("number"), timezone.now())
    page = ask(key, after=page["next"]).json()
    assert page["hashes"] == {"3": hashes["3"]}
    assert page["seal"]["line"] == seal.line
    assert set(page) == {"items", "next", "more", "hashes", "seal"}


def test_it_begins_where_it_is_told_to(siem, record):
    key, _ = factories.make_key(siem)
    long_ago = timezone.now() - timedelta(hours=1)
    assert ask(key, **{"from": "now"}).json()["next"] == "3.1"
    for since in ("1h", long_ago.isoformat(), f"{long_ago:%Y-%m-%dT%H:%M:%SZ}", f"{long_ago:%Y-%m-%dT%H:%M}"):
        assert len(ask(key, since=since).json()["items"]) == 3, since
    assert ask(key, since="now").json()["items"] == []


@pytest.mark.parametrize(
    ("parameters", "status", "error", "says"),
    [
        ({"after": "yesterday"}, 400, "bad-cursor", "for example 4711.0"),
        ({"after": "1.0\0"}, 400, "bad-cursor", "for example 4711.0"),
        ({"after": "4711.0"}, 409, "unknown-cursor", "restored from a backup"),
        ({"from": "then"}, 400, "bad-from", "use “since”"),
        ({"since": "2026-13-01T00:00:00Z"}, 400, "bad-since", "2026-11-01T00:00:00Z"),
        ({"since": "2026-11-01T00:00:00 01:00"}, 400, "bad-since", "%2B"),
        ({"since": "0001-01-01T00:00:00Z"}, 400, "bad-since", "from 1970 on and before 9999"),
        ({"since": "0001-01-01T00:00:00+14:00"}, 400, "bad-since", "from 1970 on and before 9999"),
        ({"since": "1970-01-01T00:00:00+14:00"}, 400, "bad-since", "from 1970 on and before 9999"),
        ({"since": "9999-12-31T23:59:59-14:00"}, 400, "bad-since", "from 1970 on and before 9999"),
        ({"since": "0001-01-01"}, 400, "bad-since", "2026-11-01T00:00:00Z"),
        ({"since": "now", "after": "1.0"}, 400, "two-beginnings", "not after and since"),
        ({"limit": "0"}, 400, "bad-limit", "from 1 to 1000"),
        ({"limit": "1001"}, 400, "bad-limit", "from 1 to 1000"),
        ({"limit": "²"}, 400, "bad-limit", "from 1 to 1000"),
        ({"afer": "1.0"}, 400, "unknown-parameter", "“afer” means nothing here"),
    ],
)
def test_what_cannot_be_read_is_said(siem, record, parameters, status, error, says):
    key, _ = factories.make_key(siem)
    response = ask(key, **parameters)
    assert refused(response) == (status, error)
    assert says in response.json()["detail"]


@pytest.mark.parametrize("offset", ["+15:59", "+16:30", "-23:59"])
def test_since_is_a_moment_of_any_offset(siem, record, offset):
    key, _ = factories.make_key(siem)
    assert ask(key, since=f"2026-01-01T00:00:00{offset}").status_code == 200


# Who may


def test_without_a_key_one_is_asked_for(siem):
    response = ask()
    assert refused(response) == (401, "not-authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer ")


def wrong(key):
    return "wcsgate_" + "x" * 32


def deleted(key):
    ApiKey.objects.all().delete()


def expired(key):
    ApiKey.objects.update(expires_at=timezone.now())


def logged_out(key):
    User.objects.update(revoked_before=timezone.now())


def all_revoked(key):
    Revocation.objects.create(before=timezone.now())


def switched_off(key):
    User.objects.update(is_active=False)


def from_elsewhere(key):
    ApiKey.objects.update(networks=["10.0.0.0/8"])


def no_staff_any_more(key):
    User.objects.update(is_staff=False)


def out_of_the_role(key):
    User.objects.get().groups.clear()


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        (wrong, 401, "bad-key"),
        (deleted, 401, "bad-key"),
        (expired, 401, "expired-key"),
        (logged_out, 401, "revoked-key"),
        (all_revoked, 401, "revoked-key"),
        (switched_off, 401, "user-inactive"),
        (from_elsewhere, 403, "wrong-network"),
        (no_staff_any_more, 403, "permission-denied"),
        (out_of_the_role, 403, "permission-denied"),
    ],
)
def test_a_key_that_is_not_good_opens_nothing_with_the_next_request(siem, caplog, change, status, error):
    key, _ = factories.make_key(siem)
    assert ask(key).status_code == 200
    given = change(key) or key
    response = ask(given)
    assert refused(response) == (status, error)
    assert ("WWW-Authenticate" in response) == (status == 401)
    assert given not in response.content.decode() + caplog.text + str(response.headers)


def test_a_key_works_in_its_networks(siem):
    key, _ = factories.make_key(siem, networks=["192.0.2.0/24"])
    assert ask(key, "192.0.2.200").status_code == 200
    assert ask(key, "198.51.100.1").status_code == 403


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer  ", "Basic {hash}", "Token {key}", "Bearer {hash}", "{key}", "Bearer {key}x"]
)
def test_nothing_but_the_key_itself_is_a_key(siem, header):
    key, row = factories.make_key(siem)
    given = header.format(key=key, hash=row.key_hash)
    assert refused(Client().get(FEED, headers={"Authorization": given}))[0] == 401
    assert refused(Client().get(FEED, {"key": key}))[0] == 401


def test_a_proxy_that_is_not_known_hides_where_a_key_comes_from(siem):
    key, _ = factories.make_key(siem, networks=["192.0.2.7"])
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": "192.0.2.7"}
    response = Client().get(FEED, headers=headers, REMOTE_ADDR="198.51.100.1")
    assert refused(response) == (403, "wrong-network")


def test_only_so_many_wrong_keys_are_looked_at_from_one_address(siem, caplog):
    key, _ = factories.make_key(siem)
    with caplog.at_level(logging.WARNING):
        for _ in range(api_keys.WRONG_KEYS):
            assert refused(ask("wrong-one")) == (401, "bad-key")
    assert "A wrong key of the API came from 192.0.2.7" in caplog.text
    assert "wrong-one" not in caplog.text
    with CaptureQueriesContext(connection) as asked:
        response = ask(key)
    assert refused(response) == (429, "throttled")
    assert response["Retry-After"] == str(api_keys.SECONDS)
    assert len(asked) == 0
    assert ask(key, "192.0.2.8").status_code == 200


def test_a_key_that_has_expired_is_no_guess(siem):
    key, _ = factories.make_key(siem, expires_at=timezone.now())
    for _ in range(api_keys.WRONG_KEYS + 1):
        assert refused(ask(key)) == (401, "expired-key")


def test_staff_read_it_in_a_browser(transactional_db):
    make_role("auditors", "view_auditevent")
    audrey = browser_of(factories.make_user("audrey", is_staff=True, groups=["auditors"]))
    root = browser_of(factories.make_user("root", is_staff=True, is_superuser=True))
    alice = browser_of(factories.make_user("alice", groups=["auditors"]))
    carl = browser_of(factories.make_user("carl", is_staff=True))
    for browser in (audrey, root):
        response = browser.get(FEED, headers={"Accept": "text/html,application/xml;q=0.9,*/*;q=0.8"})
        assert response.status_code == 200
        assert response["Cache-Control"] == "no-store"
    for browser in (alice, carl):
        assert refused(browser.get(FEED)) == (403, "permission-denied")


@pytest.mark.parametrize("verb", ["post", "put", "patch", "delete"])
def test_it_is_only_for_reading(siem, verb):
    key, _ = factories.make_key(siem)
    response = getattr(Client(), verb)(FEED, headers={"Authorization": f"Bearer {key}"})
    assert refused(response) == (405, "method-not-allowed")


def test_while_the_database_is_away_that_is_said(siem, monkeypatch):
    key, _ = factories.make_key(siem)

    def away(*_):
        raise OperationalError("connection to server at 10.0.0.5 failed")

    monkeypatch.setattr(feed, "page", away)
    response = ask(key)
    assert refused(response) == (503, "database-away")
    assert response["Retry-After"] == "10"
    assert "10.0.0.5" not in response.content.decode()


# What is kept of keys


def test_when_a_key_was_last_used_is_written_every_ten_seconds_at_most(siem):
    key, row = factories.make_key(siem)
    ask(key)
    row.refresh_from_db()
    first = row.last_used_at
    assert timezone.now() - first < timedelta(minutes=1)
    ask(key)
    row.refresh_from_db()
    assert row.last_used_at == first
    ApiKey.objects.update(last_used_at=first - timedelta(seconds=11))
    ask(key)
    row.refresh_from_db()
    assert row.last_used_at > first


def test_what_staff_do_with_keys_is_recorded_and_neither_key_nor_hash_nor_use(siem):
    ChangeRecord.objects.all().delete()
    key, row = factories.make_key(siem, networks=["10.0.0.0/8"])
    ApiKey.objects.update(last_used_at=timezone.now())
    ApiKey.objects.update(networks=[])
    ApiKey.objects.all().delete()
    events = changes()
    assert [(event.action, event.target) for event in events] == [
        (action, "API key “siem”, “SIEM”") for action in ("add", "change", "delete")
    ]
    assert events[1].told == "networks nothing instead of “10.0.0.0/8”"
    kept = str([(event.told, bytes(event.body)) for event in events])
    assert key not in kept
    assert row.key_hash not in kept


def test_of_a_key_only_a_hash_is_kept(siem):
    key, row = factories.make_key(siem)
    assert key.startswith("wcsgate_")
    assert len(key) == len("wcsgate_") + 32
    assert key not in str(ApiKey.objects.values())
    assert len(row.key_hash) == 64


# Who read


def test_that_it_was_read_is_recorded_once_a_day_for_each_key(siem, record):
    first, row = factories.make_key(siem)
    for _ in range(3):
        assert ask(first, limit=1).status_code == 200
    second, _ = factories.make_key(siem, "copy")
    ask(second, address="192.0.2.8")
    told = [(act.username, act.user_id, act.client_address, act.action, act.target, act.told) for act in acts()]
    about = ("siem", siem.pk), ("read", "the audit log", "By the feed, with the API key “{}”")
    assert told == [
        (*about[0], "192.0.2.7", *about[1][:2], about[1][2].format("SIEM")),
        (*about[0], "192.0.2.8", *about[1][:2], about[1][2].format("copy")),
    ]
    assert said(acts()[0])["request"] == f"GET {FEED}"
    ApiKey.objects.filter(pk=row.pk).update(read_on=timezone.localdate() - timedelta(days=1))
    ask(first)
    assert len(acts()) == 3, "on the next day again"
    assert not changes(target__startswith="API key", action="change"), "which is no change of the key"


def test_of_several_requests_at_once_one_notes_it(siem):
    _, row = factories.make_key(siem)
    today = timezone.localdate()
    stale = ApiKey.objects.get(pk=row.pk)
    with transaction.atomic():
        assert [one.begins_to_read(today, "192.0.2.7") for one in (row, stale)] == [True, False]


def test_a_key_that_comes_from_elsewhere_is_noted_also_where_it_has_read_today(siem, record):
    """Its owner did, and whoever has stolen it does."""
    key, row = factories.make_key(siem)
    for address in ("192.0.2.7", "203.0.113.9", "192.0.2.7", "203.0.113.9"):
        ask(key, address=address)
    assert [act.client_address for act in acts()] == ["192.0.2.7", "203.0.113.9"]
    ApiKey.objects.filter(pk=row.pk).update(read_from=[f"10.0.0.{number}" for number in range(READ_FROM)])
    ask(key)
    assert len(acts()) == 2, "nobody makes the log grow with addresses"


def test_what_was_not_given_was_not_read(siem, record):
    key, _ = factories.make_key(siem)
    ask(key, after="x")
    ask(key, after="99.0")
    ask("wcsgate_wrong")
    siem.groups.clear()
    ask(key)
    assert acts() == []


def test_that_staff_read_it_in_a_browser_is_recorded_once_a_day(siem, record):
    browser = browser_of(siem)
    for _ in range(3):
        assert browser.get(FEED).status_code == 200
    assert [act.told for act in acts()] == ["By the feed, in a browser"]
    session = browser.session
    session["feed_read_on"] = "2020-01-01"
    session.save()
    browser.get(FEED)
    assert len(acts()) == 2


# What it costs, and the schema


def test_a_request_asks_the_same_number_of_questions_whatever_is_on_the_page(siem, record):
    key, _ = factories.make_key(siem)
    ask(key)
    with CaptureQueriesContext(connection) as little:
        assert len(ask(key, limit=1).json()["items"]) == 1
    for number in range(10, 60):
        make_record(number)
        move_batch()
    with CaptureQueriesContext(connection) as much:
        assert len(ask(key).json()["items"]) == 53
    assert len(much) == len(little) <= 12


def test_the_schema_says_what_a_page_is(root_browser):
    schema = yaml.safe_load(root_browser.get("/api/schema/").content)
    told = schema["paths"][FEED]["get"]
    assert {parameter["name"] for parameter in told["parameters"]} == {"after", "from", "since", "limit"}
    assert set(told["responses"]) == {"200", "400", "401", "403", "409", "429", "503"}
    assert {"apiKey": []} in told["security"]
    assert schema["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"


@pytest.fixture
def root_browser(transactional_db):
    return browser_of(factories.make_user("root", is_staff=True, is_superuser=True))


def conforms(value, schema):
    """Whether a value is as a schema of ours says: all of the members it names, and no others."""
    if "oneOf" in schema:
        return any(conforms(value, one) for one in schema["oneOf"])
    if value is None:
        return schema.get("nullable", False)
    if "enum" in schema:
        return value in schema["enum"]
    match schema["type"]:
        case "object" if "additionalProperties" in schema:
            return all(conforms(member, schema["additionalProperties"]) for member in value.values())
        case "object":
            members = schema["properties"]
            return set(value) == set(members) == set(schema["required"]) and all(
                conforms(value[name], members[name]) for name in members
            )
        case "array":
            return all(conforms(item, schema["items"]) for item in value)
    kinds = {"string": str, "integer": int, "boolean": bool, "number": int | float}
    return isinstance(value, kinds[schema["type"]])


def test_pages_are_as_the_schema_says(root_browser, siem, record, settings):
    settings.SEAL_KEYS = [as_setting(KEY)]
    make_record(5, media_session_id="media-1")
    move_batch()
    factories.make_user("bob")
    changes()
    make_seal(Batch.objects.latest("number"), timezone.now())
    schema = yaml.safe_load(root_browser.get("/api/schema/").content)
    said = schema["paths"][FEED]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    page = root_browser.get(FEED).json()
    assert {item["kind"] for item in page["items"]} == {"event", "change", "count"}
    assert conforms(page, said)
    assert not conforms({**page, "next": 1}, said)


# What the docs say


@pytest.fixture
def programs(tmp_path):
    """Those of the docs: the reader, and what compares what it kept with a file of evidence."""
    paths = tmp_path / "reader.py", tmp_path / "witness.py"
    for path, program in zip(paths, re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL), strict=True):
        path.write_text(program)
    return paths


@pytest.fixture
def copy(tmp_path, programs, live_server, siem):
    """A copy of the record in a folder, brought up to date by each call."""
    key, _ = factories.make_key(siem)
    environment = {**os.environ, "FEED": f"{live_server.url}{FEED}", "FEED_KEY": key}
    folder = tmp_path / "copy"
    folder.mkdir()

    def bring_up():
        subprocess.run([sys.executable, programs[0], folder], env=environment, check=True)
        return [json.loads(line)["id"] for line in (folder / "items").read_text().splitlines()]

    bring_up.folder = folder
    return bring_up


def compare(programs, copy, file):
    call_command("export_evidence", str(file), stdout=StringIO())
    return subprocess.run([sys.executable, programs[1], copy.folder, file], capture_output=True, text=True)


def test_the_reader_of_the_docs_keeps_up_and_its_copy_is_a_witness(copy, programs, record, tmp_path):
    assert len(copy()) == 3
    make_record(9)
    move_batch()
    assert len(copy()) == len(copy()) == 4
    moved = list(AuditEvent.objects.order_by("batch").values_list("id", flat=True))
    assert copy() == [str(id_) for id_ in moved]
    done = compare(programs, copy, tmp_path / "record.txt")
    assert (done.returncode, done.stdout) == (0, "4 batches are those that were read\n"), done.stderr


def test_a_record_that_was_made_anew_is_not_the_one_that_was_read(copy, programs, record, tmp_path):
    copy()
    events = {event.batch: event for event in AuditEvent.objects.order_by("batch")}
    Batch.objects.all().delete()
    for number, event in events.items():
        event.username = "mallory"
        event.save()
        append(number, timezone.now(), [event])
    done = compare(programs, copy, tmp_path / "record.txt")
    assert "batch 1 of the file is not the one that was read" in done.stderr
    copy()
    done = compare(programs, copy, tmp_path / "later.txt")
    assert "batch 3 has become another while it was read" in done.stderr


def test_every_error_is_explained():
    explained = DOCS.read_text()
    raised = re.findall(r'"([a-z]+-[a-z-]+)"\)', "".join(path.read_text() for path in SOURCES))
    assert len(set(raised)) >= 9
    assert [code for code in raised if f"`{code}`" not in explained] == []
