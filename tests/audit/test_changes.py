"""What staff change is in the record: whoever changes it and however, with who, from where and why; never a secret."""

import json
import subprocess
import sys
from hashlib import sha256
from ipaddress import ip_address
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.forms import model_to_dict
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apps.access.models import AccessRevision, Rule
from apps.access.reasons import STAFF_ACTION
from apps.accounts.models import Revocation, Token, User
from apps.audit.chain import STAFF_ACTION as OF_STAFF
from apps.audit.chain import entries
from apps.audit.models import AuditEvent, BadRecord, Batch, ChangeRecord, HookRecord
from apps.audit.moving.batches import content
from apps.audit.moving.changes import ACTS, OURSELVES, TABLES, move_changes
from apps.audit.moving.mover import move_batch, try_again
from apps.audit.narrative import outcome, story
from apps.audit.tasks import move_records
from apps.connections.models import Node
from apps.database.acting import acting
from apps.live.cutting import order_end
from runner import ROOT
from tests import factories
from tests.audit.test_mover import make_record
from tests.secret_sources import SOURCES

SET_UP = "import django; django.setup(); from django.core.management import call_command"
CREATE = "('createsuperuser', interactive=False)"


@pytest.fixture
def database(transactional_db):
    """A database to commit to, in which nothing has been changed yet."""
    ChangeRecord.objects.all().delete()


def changes(**conditions):
    """The events that changes become, oldest first."""
    while move_changes():
        pass
    return list(AuditEvent.objects.filter(reason=STAFF_ACTION, **conditions).order_by("id"))


def acts(**conditions):
    """Those of what staff did that changes no row."""
    return changes(action__in=ACTS, **conditions)


def said(event):
    return json.loads(bytes(event.body))


def run(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_a_change_says_who_what_from_where_why_and_by_which_request(database):
    rule = factories.make_rule("play")
    changes()
    with acting(username="tina", user_id=7, address="192.0.2.1", why="asked by phone", request="POST /admin/"):
        Rule.objects.filter(pk=rule.pk).update(enforced=False, note="Try out")
    event = changes()[-1]
    assert (event.username, event.user_id, event.client_address, event.action) == ("tina", 7, "192.0.2.1", "change")
    assert (event.target, event.rule_ids) == (f"rule {rule.pk}", [rule.pk])
    assert event.told == "enforced no instead of yes; note “Try out” instead of nothing"
    assert event.rules == [str(Rule.objects.get())]
    assert event.revision == AccessRevision.objects.get().revision
    assert story(event, "") == f"tina changed rule {rule.pk}: {event.rules[0]}: {event.told}"
    assert outcome(event) == "changed"
    body = said(event)
    assert (body["before"]["enforced"], body["after"]["enforced"]) == (True, False)
    assert (body["why"], body["request"]) == ("asked by phone", "POST /admin/")


def test_raw_sql_bulk_edits_and_emptied_tables_are_recorded_as_well(database):
    for name in ("alice", "bob"):
        factories.make_user(name)
    User.objects.update(is_active=False)
    run("UPDATE accounts_user SET is_active = true WHERE username = 'bob'")
    User.objects.all().delete()
    run("TRUNCATE access_schedule CASCADE")
    events = changes()
    told = [(event.action, event.target) for event in events if "user" in event.target]
    assert told[:2] == [("add", "user “alice”"), ("add", "user “bob”")]
    assert sorted(told[2:4]) == [("change", "user “alice”"), ("change", "user “bob”")]
    assert told[4] == ("change", "user “bob”")
    assert sorted(told[5:]) == [("delete", "user “alice”"), ("delete", "user “bob”")]
    assert ("empty", "all of schedule") in [(event.action, event.target) for event in events]


def test_what_is_linked_is_called_by_its_name_also_when_it_went_with_it(database):
    user, group = factories.make_user("alice"), Group.objects.create(name="teachers")
    user.groups.add(group)
    factories.make_rule("play", user=user)
    Token.objects.filter(pk=factories.make_token(user, label="laptop").pk).update(label="phone")
    assert [event.target for event in changes(action="add", target__startswith="member")] == [
        "membership “alice”, “teachers”"
    ]
    assert changes(action="change")[0].target == "token “alice”, “phone”"
    user.delete()
    gone = [(event.target, event.rules) for event in changes(action="delete")]
    assert ("membership “alice”, “teachers”", []) in gone
    assert ["Allow user “alice” to play anything"] in [rules for _, rules in gone]


def test_an_order_to_end_says_whose_and_what(database):
    lease = factories.make_lease(factories.make_user("alice"), action="publish", target="lobby")
    order_end([lease], by="tina", now=timezone.now())
    event = changes(action="add", target__startswith="order")[0]
    assert event.target == "order to end “alice: publish lobby”"


def test_who_changes_something_past_us_is_named_by_what_they_came_in_with(database):
    run("SET application_name = 'psql'")
    try:
        factories.make_user("alice")
    finally:
        run("RESET application_name")
    factories.make_user("bob")
    with acting(command="import_access", system_user="root"):
        factories.make_user("charlie")
    run("SET application_name = 'psql'")
    try:
        with acting(username="somebody else"):
            factories.make_user("dora")
    finally:
        run("RESET application_name")
    assert [event.username for event in changes()] == [
        f"database user {connection.settings_dict['USER']} by psql",
        OURSELVES,
        "root by import_access",
        "somebody else by psql",
    ]


@pytest.mark.parametrize(
    ("called", "program"),
    [(["-m", "django", "createsuperuser", "--noinput"], "django"), (["-c", f"{SET_UP}; call_command{CREATE}"], "-c")],
)
def test_whoever_makes_a_superuser_past_us_is_not_taken_for_us(database, environment, called, program):
    told = {"WCSGATE_ENV": "demo", "DJANGO_SETTINGS_MODULE": "wcsgate.settings", "DJANGO_SUPERUSER_PASSWORD": "x"}
    more = {"DJANGO_SUPERUSER_USERNAME": "eve", "DJANGO_SUPERUSER_EMAIL": "eve@example.org"}
    subprocess.run([sys.executable, *called], cwd=ROOT, env=environment | told | more, check=True, capture_output=True)
    (event,) = changes(target="user “eve”")
    assert event.username == f"database user {connection.settings_dict['USER']} by wcsgate unknown {program}"
    assert event.client_address is not None


@pytest.mark.parametrize(
    "told", ["[]", "7", '"root"', '{"username": ["a"], "address": "203.0.113.9:4711", "user_id": "x"}']
)
def test_whatever_is_told_of_who_acts_no_change_is_lost(database, told):
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('wcsgate.actor', %s, false)", [told])
        try:
            factories.make_user("alice")
        finally:
            cursor.execute("SELECT set_config('wcsgate.actor', '', false)")
    (event,) = changes()
    assert (event.target, event.client_address, event.user_id) == ("user “alice”", None, None)


def test_what_cannot_be_put_into_words_is_recorded_without(database, monkeypatch, caplog):
    factories.make_user("alice")
    monkeypatch.setattr("apps.audit.moving.changes._said", lambda *_: 1 / 0)
    (event,) = changes()
    assert event.target.startswith("accounts_user ")
    assert said(event)["after"]["username"] == "alice"
    assert "recorded without" in caplog.text


groups_of_eight = st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0x0102, 0x5EFE, 0x2001]), min_size=8, max_size=8)
low = st.integers(0, (1 << 32) - 1).map(lambda number: f"::{ip_address(number)}")
odd_addresses = st.one_of(
    st.ip_addresses().map(str),
    groups_of_eight.map(lambda groups: ":".join(f"{group:X}" for group in groups)),
    low,
    low.map(lambda address: f"::ffff{address}"),
    low.map(lambda address: f"64:ff9b{address}"),
    st.sampled_from(["::", "::1", "::1.2.3.4", "::0.1.0.0", "::ffff:0:1.2.3.4", "fe80::1%eth0", "1.2.3", "010.0.0.1"]),
)
odd_texts = st.text(max_size=8).map(lambda text: text.replace("\0", "").encode("utf-8", "replace").decode())


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(addresses=st.lists(odd_addresses, min_size=20, max_size=20), told=odd_texts, number=st.integers(-(2**64), 2**64))
@example(addresses=["::1.2.3.4"], told="", number=7)
def test_what_is_hashed_is_what_is_kept(database, addresses, told, number):
    Batch.objects.all().delete()
    AuditEvent.objects.all().delete()
    for address in addresses:
        with acting(username=f"tina {told}", address=address, why=told, user_id=number):
            Group.objects.create(name=f"group {uuid4()} {told}")
    found = {event.id: event for event in changes()}
    hashed = [entry for batch in Batch.objects.all() for entry in entries(bytes(batch.entries))]
    assert len(found) == len(hashed) >= len(addresses)
    assert [entry for entry in hashed if entry.digest != sha256(content(found[entry.id])).digest()] == []


# Whatever somebody puts into the outbox, all else is moved


@pytest.mark.parametrize("number", [2**63, -1, 10**40, True, 1.5])
def test_a_number_that_no_user_has_is_left_out(database, number):
    with acting(username="x", user_id=number):
        factories.make_user("alice")
    (event,) = changes()
    assert (event.username, event.user_id) == ("x", None)
    assert not BadRecord.objects.exists()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_changerecord SET changed_at = 'infinity' WHERE id = %s",
        "UPDATE audit_changerecord SET changed_at = '4000-01-01 BC' WHERE id = %s",
        "UPDATE audit_changerecord SET before = ('{\"id\":' || repeat('9', 5000) || '}')::jsonb WHERE id = %s",
        "UPDATE audit_changerecord SET table_name = 'no_such_table', row_id = -1, actor = '[]' WHERE id = %s",
    ],
)
def test_one_that_cannot_be_moved_is_put_aside_and_all_others_are_moved(database, caplog, sql):
    for name in ("alice", "bob", "charlie"):
        factories.make_user(name)
    odd = ChangeRecord.objects.order_by("id")[1].pk
    with connection.cursor() as cursor:
        cursor.execute(sql, [odd])
    assert {event.target for event in changes()} == {"user “alice”", "user “charlie”"}
    assert list(BadRecord.objects.values_list("id", flat=True)) == [odd]
    assert not ChangeRecord.objects.exists()
    assert f"Change {odd} cannot be moved and is put aside" in caplog.text


def test_one_that_is_in_the_log_already_is_put_aside_with_what_was_put_aside_before(database):
    BadRecord.objects.all().delete()
    for name in ("alice", "bob"):
        factories.make_user(name)
    first = ChangeRecord.objects.order_by("id").first()
    changes()
    for _ in range(2):
        first.save(force_insert=True)
        factories.make_user(f"later-{BadRecord.objects.count()}")
        changes()
    assert [event.target for event in changes()] == [
        f"user “{name}”" for name in ("alice", "bob", "later-0", "later-1")
    ]
    assert [bad.record["id"] for bad in BadRecord.objects.all()] == [str(first.pk)] * 2


def test_what_was_put_aside_is_as_it_was_when_it_is_tried_again(database):
    with acting(username="tina"):
        factories.make_user("alice")
    record = ChangeRecord.objects.get()
    moment = record.changed_at
    run("UPDATE audit_changerecord SET changed_at = 'infinity'")
    changes()
    bad = BadRecord.objects.get()
    BadRecord.objects.update(record={**bad.record, "changed_at": moment.isoformat()})
    assert try_again([bad.pk]) == 1
    again = ChangeRecord.objects.get()
    names = [field.attname for field in ChangeRecord._meta.fields]
    assert [getattr(again, name) for name in names] == [getattr(record, name) for name in names]
    (event,) = changes()
    assert (event.username, event.target) == ("tina", "user “alice”")


def test_a_command_and_a_request_say_who_they_are(database, tmp_path, root_browser):
    file = tmp_path / "access.yaml"
    file.write_text("groups: [teachers]")
    call_command("import_access", str(file))
    add = reverse("admin:streams_streamgroup_add")
    root_browser.post(add, {"name": "rooms", "note": "", "_why": "new house"}, REMOTE_ADDR="192.0.2.7")
    by_command, by_request = changes(target__contains="group")
    assert by_command.username.endswith(" by import_access")
    assert (by_request.username, by_request.client_address) == ("root", "192.0.2.7")
    assert (said(by_request)["why"], said(by_request)["request"]) == ("new house", f"POST {add}")


@pytest.fixture
def root_browser(database):
    User.objects.create_superuser("root")
    browser = Client()
    browser.force_login(User.objects.get(username="root"))
    return browser


def test_who_acts_within_what_another_does_is_not_taken_for_them_afterwards(database):
    with acting(username="tina"):
        with acting(username="olga"):
            factories.make_user("alice")
        factories.make_user("bob")
    factories.make_user("charlie")
    assert [event.username for event in changes()] == ["olga", "tina", OURSELVES]


def test_who_acted_is_forgotten_after_the_request(root_browser):
    root_browser.post(reverse("admin:streams_streamgroup_add"), {"name": "rooms", "note": ""})
    factories.make_user("bob")
    assert [event.username for event in changes()][-2:] == ["root", OURSELVES]


def test_secrets_stay_out_and_that_they_changed_is_said(database):
    user = factories.make_user("alice", password="correct horse")
    token = factories.make_token(user, "tok-alice")
    app = factories.make_app(hook_password="hook-secret")
    node = factories.make_node(secret="sig-secret")
    factories.make_sip_account(user, "sip-secret")
    factories.make_stream("cam", source="rtsp://admin:cam-secret@10.0.0.5/live?key=cam-key")
    user.set_password("another horse")
    user.save()
    kept = json.dumps([row["after"] for row in ChangeRecord.objects.values()], default=str)
    hashes = [user.password, token.token_hash, *app.hook_passwords, *node.secrets]
    for secret in ("horse", "tok-alice", "hook-secret", "sig-secret", "sip-secret", "cam-secret", "cam-key", *hashes):
        assert secret not in kept
    assert "rtsp://***@10.0.0.5/live?***" in kept
    events = {event.target: event for event in changes()}
    assert events["user “alice”"].told == "password set anew"
    assert (
        "login passwords set anew" in events["app “defaultApp”"].told or "set anew" in events["app “defaultApp”"].told
    )


def test_a_secret_that_is_removed_and_a_login_within_an_address_are_told_too(database):
    app, stream = factories.make_app(), factories.make_stream("cam", source="rtsp://admin:one@10.0.0.5/live")
    changes()
    type(app).objects.update(hook_passwords=[])
    type(stream).objects.update(source="rtsp://admin:two@10.0.0.5/live")
    assert [event.told for event in changes()][-2:] == ["hook passwords removed", "source set anew"]


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("rtsp://admin:p@ssW0rd1@10.0.0.9/live", "rtsp://***@10.0.0.9/live"),
        ("rtsp://admin:a/bSecret2@10.0.0.9/live", "rtsp://***@10.0.0.9/live"),
        ("rtsp://10.0.0.9/live?Secret3", "rtsp://10.0.0.9/live?***"),
        ("rtsp://10.0.0.9/live;pw=Secret4", "rtsp://10.0.0.9/live;***"),
        ("admin:Secret5@10.0.0.9/live", "***@10.0.0.9/live"),
        ("sip:admin:Secret6@10.0.0.9", "sip:***@10.0.0.9"),
        ("admin:Sec?Secret7@10.0.0.9/live", "***@10.0.0.9/live"),
        ("sip:admin:Sec?Secret8@10.0.0.9", "sip:***@10.0.0.9"),
        ("sip:10.0.0.9:5060?x=Secret9@h", "sip:10.0.0.9:5060?***"),
        ("rtsp://10.0.0.9:554/cam1?k=Secret9@h", "rtsp://10.0.0.9:554/cam1?***"),
        ("rtsp://10.0.0.9/live", "rtsp://10.0.0.9/live"),
        ("rtsp://[fe80::1]:554/live/1", "rtsp://[fe80::1]:554/live/1"),
    ],
)
def test_nothing_of_a_login_in_an_address_is_kept(database, address, kept):
    factories.make_stream("cam", source=address)
    assert said(changes()[0])["after"]["source"] == kept


@pytest.mark.parametrize("source", SOURCES)
def test_wherever_it_stands_in_a_source_no_secret_is_in_the_record(database, source):
    factories.make_stream("cam", source=source)
    kept = json.dumps(list(ChangeRecord.objects.values()), default=str)
    (event,) = changes()
    assert "Secret" not in kept + json.dumps(model_to_dict(event), default=str) + bytes(event.body).decode()
    assert "fe80::1" in event.told or "10.0.0.9" in event.told


def test_what_hooks_and_workers_write_all_the_time_is_no_change(wcs, school):
    ChangeRecord.objects.all().delete()
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("publishStream", name="lobby")
    move_batch()
    assert [change.table_name for change in ChangeRecord.objects.all()] == ["connections_node"], "seen the first time"
    assert changes()[0].username == OURSELVES
    wcs.hook("publishStream", name="lobby")
    Node.objects.update(last_seen_at=None)
    Token.objects.update(last_used_at=None)
    move_batch()
    assert not ChangeRecord.objects.exists()


def test_a_change_that_is_rolled_back_is_none(database):
    run("BEGIN; INSERT INTO accounts_revocation (id) VALUES (1); ROLLBACK")
    assert not Revocation.objects.exists()
    assert not ChangeRecord.objects.exists()


def test_changes_are_in_the_same_chain_as_hooks(database):
    make_record()
    factories.make_user("alice")
    assert move_records() == 3, "the node was seen for the first time"
    kinds = [kept.kind for batch in Batch.objects.order_by("number") for kept in entries(bytes(batch.entries))]
    assert kinds == [b"D", OF_STAFF, OF_STAFF]
    assert b"alice" in content(changes()[0])
    assert (HookRecord.objects.count(), ChangeRecord.objects.count()) == (0, 0)


def test_whatever_decides_is_watched(database):
    """Whoever adds a table that raises the revision is told that it must be recorded, too."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT event_object_table FROM information_schema.triggers WHERE trigger_name ~ '^access'"
        )
        decide = {table for (table,) in cursor}
        cursor.execute(
            "SELECT DISTINCT event_object_table FROM information_schema.triggers WHERE trigger_name ~ '^audit'"
        )
        recorded = {table for (table,) in cursor}
    assert decide <= recorded == set(TABLES)


def test_every_watched_table_can_be_spoken_of(database):
    """With a row that has nothing in it, as if it had been changed in every column."""
    for table in TABLES:
        run(
            f"""INSERT INTO audit_changerecord
            SELECT audit_new_id(now()), now(), '{table}', 1, NULL,
                (SELECT jsonb_object_agg(column_name, NULL) || '{{"id": 1}}' FROM information_schema.columns
                    WHERE table_name = '{table}'), '{{}}', 1, '{{}}'"""
        )
    assert len(changes()) == len(TABLES)
