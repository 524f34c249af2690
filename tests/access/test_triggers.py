"""The revision: every change to a row that decisions depend on raises it, however the change is made."""

import re
from collections import namedtuple
from datetime import UTC, datetime
from importlib import import_module

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from apps.access.models import AccessChange, AccessRevision, NumberClass, Rule, Schedule
from apps.access.snapshot import PARTS
from apps.accounts.models import Revocation, Token, User
from apps.connections.models import App, Node, Session, SipAccount, TokenIssuer
from apps.database.connection import conninfo_of
from apps.live.models import Cut
from apps.streams.models import Stream, StreamGroup, StreamLink
from tests import factories

WATCHED = {
    table: columns
    for migration in (
        "0002_revision_triggers",
        "0004_triggers_for_more_of_the_rule",
        "0005_ways_in_triggers",
        "0006_triggers_for_sip_accounts",
        "0009_triggers_for_cuts",
    )
    for table, columns in import_module(f"apps.access.migrations.{migration}").WATCHED.items()
}

Case = namedtuple("Case", "model make change")
"""A watched table: its model, how a row of it is made from a number, and a change that decides something."""


def _make_token(number):
    user, _ = User.objects.get_or_create(username="owner")
    return Token(user=user, label=f"label {number}", token_hash=f"{number:064}")


def _make_link(number):
    return StreamLink(label=f"link {number}", stream="lobby", ends_at=datetime(2030, 1, 1, tzinfo=UTC))


def _make_sip_account(number):
    user, _ = User.objects.get_or_create(username=f"caller {number}")
    return SipAccount(user=user, login=str(number), domain="pbx.example", password="sealed")


ANYBODY = {"effect": "allow", "who": "everyone", "actions": ["play"], "target_kind": "any"}
CASES = {
    "accounts_user": Case(User, lambda number: User(username=f"user-{number}"), {"is_active": False}),
    "accounts_token": Case(Token, _make_token, {"streams": ["lobby"]}),
    "auth_group": Case(Group, lambda number: Group(name=f"group {number}"), {"name": "renamed"}),
    "streams_stream": Case(Stream, lambda number: Stream(name=f"stream-{number}"), {"name": "renamed"}),
    "connections_app": Case(App, lambda number: App(key=f"app-{number}"), {"guests": True}),
    "connections_node": Case(Node, lambda number: Node(node_id=f"node-{number}"), {"secrets": ["sealed"]}),
    "streams_streamgroup": Case(StreamGroup, lambda number: StreamGroup(name=f"group-{number}"), {"name": "renamed"}),
    "live_cut": Case(
        Cut,
        lambda number: Cut(
            lease=factories.make_lease(), node_id="node", session_id="session", key=f"key-{number}", ordered_by="staff"
        ),
        {"key": "changed"},
    ),
    "access_schedule": Case(
        Schedule,
        lambda number: Schedule(name=f"schedule {number}", time_zone="UTC", windows=["daily 08:00-18:00"]),
        {"time_zone": "Europe/Berlin"},
    ),
    "access_numberclass": Case(
        NumberClass, lambda number: NumberClass(name=f"class {number}", prefixes=["+49900"]), {"prefixes": ["+49"]}
    ),
    "connections_tokenissuer": Case(
        TokenIssuer, lambda number: TokenIssuer(issuer=f"issuer-{number}", algorithms=["HS256"]), {"active": False}
    ),
    "streams_streamlink": Case(StreamLink, _make_link, {"active": False}),
    "connections_sipaccount": Case(SipAccount, _make_sip_account, {"domain": "other.example"}),
    "access_rule": Case(Rule, lambda number: Rule(**ANYBODY, note=str(number)), {"effect": "deny"}),
}
by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)

MEMBERSHIPS = User.groups.through
STREAM_GROUPS = Stream.groups.through


class Changes:
    """What was raised and logged since this was made."""

    def __init__(self):
        self.start = self.revision

    @property
    def revision(self):
        return AccessRevision.objects.get().revision

    @property
    def raised(self):
        return self.revision - self.start

    @property
    def log(self):
        rows = AccessChange.objects.filter(revision__gt=self.start).order_by("revision", "table_name", "row_id")
        return [(row.table_name, row.row_id) for row in rows]


def run(sql, params=()):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def table_of(case):
    return case.model._meta.db_table


def saved(case, number=0):
    row = case.make(number)
    row.save()
    return row


@pytest.fixture
def changes(db):
    """A function that starts counting."""
    return Changes


# Each way to change a row


@by_case
def test_saving_a_new_row_raises_it_once_and_logs_the_row(case, changes):
    row = case.make(0)
    since = changes()
    row.save()
    assert (since.raised, since.log) == (1, [(table_of(case), row.pk)])


@by_case
def test_making_many_at_once_raises_it_once_and_logs_each(case, changes):
    rows = [case.make(number) for number in range(3)]
    since = changes()
    made = case.model.objects.bulk_create(rows)
    assert (since.raised, since.log) == (1, [(table_of(case), row.pk) for row in made])


@by_case
def test_saving_a_changed_row_raises_it_once_and_logs_the_row(case, changes):
    row = saved(case)
    for name, value in case.change.items():
        setattr(row, name, value)
    since = changes()
    row.save()
    assert (since.raised, since.log) == (1, [(table_of(case), row.pk)])


@by_case
def test_saving_a_row_as_it_is_raises_nothing(case, changes):
    row = saved(case)
    since = changes()
    row.save()
    assert (since.raised, since.log) == (0, [])


@by_case
def test_updating_many_at_once_raises_it_once_and_logs_those_that_differ(case, changes):
    rows = [saved(case, number) for number in range(3)]
    if "name" in case.change:  # which is unique, so that only one can have it
        queryset = case.model.objects.filter(pk=rows[0].pk)
        differing = rows[:1]
    else:
        case.model.objects.filter(pk=rows[2].pk).update(**case.change)
        queryset = case.model.objects.filter(pk__in=[row.pk for row in rows])
        differing = rows[:2]
    since = changes()
    queryset.update(**case.change)
    assert (since.raised, since.log) == (1, [(table_of(case), row.pk) for row in differing])


@by_case
def test_bulk_update_counts_like_any_other(case, changes):
    row = saved(case)
    for name, value in case.change.items():
        setattr(row, name, value)
    since = changes()
    case.model.objects.bulk_update([row], list(case.change))
    assert (since.raised, since.log) == (1, [(table_of(case), row.pk)])


@by_case
def test_an_update_that_finds_no_row_raises_nothing(case, changes):
    saved(case)
    since = changes()
    case.model.objects.filter(pk=-1).update(**case.change)
    run(f"DELETE FROM {table_of(case)} WHERE id = -1")
    assert (since.raised, since.log) == (0, [])


@by_case
def test_raw_sql_counts_like_a_form(case, changes):
    row = saved(case)
    (name, value), table = next(iter(case.change.items())), table_of(case)
    since = changes()
    run(f"UPDATE {table} SET {name} = %s WHERE id = %s", [value, row.pk])
    assert (since.raised, since.log) == (1, [(table, row.pk)])


@by_case
def test_a_row_that_gets_another_id_is_logged_under_both(case, changes):
    row = saved(case)
    since = changes()
    run(f"UPDATE {table_of(case)} SET id = 1000001 WHERE id = %s", [row.pk])
    assert (since.raised, since.log) == (1, [(table_of(case), row.pk), (table_of(case), 1000001)])


@by_case
def test_deleting_raises_it_once_a_statement_and_logs_each_row(case, changes):
    ids = [saved(case, number).pk for number in range(3)]
    since = changes()
    run(f"DELETE FROM {table_of(case)} WHERE id = ANY(%s)", [ids])
    assert (since.raised, since.log) == (1, [(table_of(case), pk) for pk in ids])


@by_case
def test_deleting_through_the_model_logs_the_row(case, changes):
    row = saved(case)
    pk = row.pk
    since = changes()
    row.delete()
    assert (table_of(case), pk) in since.log
    assert since.raised >= 1


@pytest.mark.parametrize("table", WATCHED)
def test_emptying_a_table_raises_it_and_says_that_all_of_it_changed(table, changes):
    if table in CASES:
        saved(CASES[table])
    run("SET CONSTRAINTS ALL IMMEDIATE")
    since = changes()
    run(f"TRUNCATE {table} CASCADE")
    assert since.raised >= 1
    assert (table, None) in since.log


@by_case
def test_copying_rows_in_counts_too(case, changes):
    row = saved(case)
    columns = ", ".join(field.column for field in case.model._meta.concrete_fields)
    run(f"CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT {columns} FROM {table_of(case)} WHERE id = {row.pk}")
    run(f"DELETE FROM {table_of(case)} WHERE id = {row.pk}")
    since = changes()
    run(f"INSERT INTO {table_of(case)} ({columns}) SELECT {columns} FROM kept")
    assert (since.raised, since.log) == (1, [(table_of(case), row.pk)])


# Which columns decide


DECIDING = {  # how each column is given another value; together with WATCHED's others these are all
    "accounts_user": {
        "username": "username = 'renamed'",
        "password": "password = 'changed'",
        "is_active": "is_active = false",
        "is_superuser": "is_superuser = true",
        "is_staff": "is_staff = true",
        "revoked_before": "revoked_before = now()",
    },
    "accounts_token": {
        "user_id": "user_id = (SELECT min(id) FROM accounts_user WHERE username = 'somebody')",
        "token_hash": "token_hash = 'changed'",
        "expires_at": "expires_at = now()",
        "networks": "networks = '{10.0.0.0/8}'",
        "origins": "origins = '{https://a.example}'",
        "streams": "streams = '{lobby}'",
        "actions": "actions = '{play}'",
        "created_at": "created_at = '2020-01-01'",
        "single_use": "single_use = true",
    },
    "connections_tokenissuer": {
        "issuer": "issuer = 'renamed'",
        "active": "active = false",
        "audience": "audience = 'wcs'",
        "algorithms": "algorithms = '{RS256}'",
        "secrets": "secrets = '{sealed}'",
        "jwks": "jwks = '{}'",
        "jwks_url": "jwks_url = 'https://login.example.org/keys'",
        "leeway": "leeway = 0",
        "user_claim": "user_claim = 'name'",
        "groups_claim": "groups_claim = 'groups'",
        "streams_claim": "streams_claim = 'streams'",
        "actions_claim": "actions_claim = 'actions'",
        "accepts_unknown": "accepts_unknown = true",
    },
    "streams_streamlink": {
        "code": "code = 'changed'",
        "stream": "stream = 'attic'",
        "action": "action = 'publish'",
        "ends_at": "ends_at = now()",
        "active": "active = false",
        "created_at": "created_at = '2020-01-01'",
        "made_by_id": "made_by_id = (SELECT min(id) FROM accounts_user)",
    },
    "auth_group": {"name": "name = 'renamed'"},
    "streams_stream": {
        "name": "name = 'renamed'",
        "owner_id": "owner_id = (SELECT min(id) FROM accounts_user)",
        "source": "source = 'rtsp://camera'",
        "max_publishers": "max_publishers = 1",
        "max_viewers": "max_viewers = 1",
    },
    "streams_streamgroup": {"name": "name = 'renamed'"},
    "access_schedule": {
        "time_zone": "time_zone = 'Europe/Berlin'",
        "windows": "windows = '{Mon 08:00-09:00}'",
        "holidays": "holidays = '{2026-12-25}'",
    },
    "access_numberclass": {
        "name": "name = 'renamed'",
        "prefixes": "prefixes = '{+1}'",
        "whole": "whole = true",
        "short": "short = 3",
        "protected": "protected = true, whole = true",
    },
    "connections_app": {
        "key": "key = 'renamed'",
        "guests": "guests = true",
        "token_name": "token_name = 'aclAuth'",
        "hook_user": "hook_user = 'changed'",
        "hook_passwords": "hook_passwords = '{sealed}'",
        "networks": "networks = '{10.0.0.0/8}'",
        "rest_started": "rest_started = true",
    },
    "connections_node": {
        "node_id": "node_id = 'renamed'",
        "secrets": "secrets = '{sealed}'",
        "networks": "networks = '{10.0.0.0/8}'",
    },
    "connections_sipaccount": {
        "user_id": "user_id = (SELECT min(id) FROM accounts_user)",
        "login": "login = 'changed'",
        "authentication_name": "authentication_name = 'changed'",
        "password": "password = 'changed'",
        "domain": "domain = 'changed.example'",
        "outbound_proxy": "outbound_proxy = 'changed.example'",
        "port": "port = 5080",
        "visible_name": "visible_name = 'changed'",
        "register": "register = false",
    },
    "live_cut": {
        "lease_id": "lease_id = (SELECT min(id) FROM live_lease)",
        "node_id": "node_id = 'changed'",
        "session_id": "session_id = 'changed'",
        "key": "key = 'changed'",
        "opening": "opening = 2",
    },
    "access_rule": {
        "effect": "effect = 'deny'",
        "who": "who = 'guests'",
        "user_id": "who = 'user', user_id = (SELECT min(id) FROM accounts_user)",
        "group_id": "who = 'group', group_id = (SELECT min(id) FROM auth_group)",
        "actions": "actions = '{publish,play}'",
        "target_kind": "target_kind = 'exact', target = 'lobby'",
        "target": "target_kind = 'prefix', target = 'lobby'",
        "stream_id": "target_kind = 'stream', stream_id = (SELECT min(id) FROM streams_stream)",
        "starts_at": "starts_at = now()",
        "ends_at": "ends_at = now()",
        "enforced": "enforced = false",
        "stream_group_id": "target_kind = 'stream-group', stream_group_id = (SELECT min(id) FROM streams_streamgroup)",
        "number_class_id": "target_kind = 'number-class', number_class_id = (SELECT min(id) FROM access_numberclass)",
        "schedule_id": "schedule_id = (SELECT min(id) FROM access_schedule)",
        "networks": "networks = '{10.0.0.0/8}'",
        "origins": "origins = '{https://a.example}'",
        "media_providers": "media_providers = '{WebRTC}'",
        "apps": "apps = '{defaultApp}'",
        "nodes": "nodes = '{node}'",
        "custom": "custom = '{role = teacher}'",
        "limit_per": "limit_per = 'user', at_once = 1",
        "at_once": "limit_per = 'rule', at_once = 1",
        "per_day": "limit_per = 'rule', per_day = 1",
        "per_month": "limit_per = 'rule', per_month = 1",
        "minutes_per_day": "limit_per = 'rule', minutes_per_day = 1",
        "minutes_per_month": "limit_per = 'rule', minutes_per_month = 1",
        "overflow": "overflow = 'end-oldest'",
        "record": "record = 'off'",
        "max_width": "max_width = 640",
        "max_height": "max_height = 480",
        "max_bitrate": "max_bitrate = 500",
        "callee": "callee = '+4930123'",
    },
}
ASKED_WHILE_RECORDING = {"used_at", "used_node_id", "used_session_id"}
"""What the snapshot reads and may be behind with: apps/audit/recording/token_uses.py asks the row itself."""

DECIDING_NOTHING = {
    table: columns[1:] for table, columns in WATCHED.items() if table in CASES
}  # the first is the one that is logged


@pytest.fixture
def others(db):
    """Rows that a changed row may point to."""
    factories.make_user("somebody", groups=["some group"])
    factories.make_stream("some stream")
    factories.make_lease(key="some stream's")
    StreamGroup.objects.create(name="some streams")
    NumberClass.objects.create(name="some numbers", prefixes=["+49900"])
    Schedule.objects.create(name="some hours", time_zone="UTC", windows=["daily 08:00-18:00"])


@pytest.mark.parametrize("table", CASES)
def test_every_column_is_known_to_decide_or_not_to(table):
    columns = {field.column for field in CASES[table].model._meta.concrete_fields}
    assert columns == {"id", *DECIDING[table], *DECIDING_NOTHING[table]}


@pytest.mark.parametrize(
    ("table", "assignment"),
    [(table, assignment) for table, columns in DECIDING.items() for assignment in columns.values()],
)
@pytest.mark.usefixtures("others")
def test_a_column_that_decides_raises_it(table, assignment, changes):
    row = saved(CASES[table])
    since = changes()
    run(f"UPDATE {table} SET {assignment} WHERE id = %s", [row.pk])
    assert (since.raised, since.log) == (1, [(table, row.pk)])


@pytest.mark.parametrize("table", CASES)
def test_columns_that_decide_nothing_raise_nothing(table, changes):
    row = saved(CASES[table])
    fields = [field for field in row._meta.concrete_fields if field.column in DECIDING_NOTHING[table]]
    since = changes()
    for field in fields:
        kind = field.get_internal_type()
        values = {"BooleanField": True, "DateTimeField": timezone.now(), "PositiveIntegerField": 3}
        value = values.get(kind, "changed")
        assert getattr(row, field.name) != value
        type(row).objects.filter(pk=row.pk).update(**{field.name: value})
    assert (since.raised, since.log) == (0, [])


def test_what_decides_is_found_in_every_column_the_snapshot_reads():
    for part in PARTS.values():
        for table in part.tables:
            if table in CASES:
                words = set(re.findall(r"\w+", part.query)) - {"id"}
                columns = {field.column for field in CASES[table].model._meta.concrete_fields}
                assert words & columns <= set(DECIDING[table]) | {"id"} | ASKED_WHILE_RECORDING


def test_the_one_row_that_revokes_everything_counts_however_it_is_changed(changes):
    since = changes()
    Revocation.objects.create(before=None)
    Revocation.objects.update(before=timezone.now())
    Revocation.objects.update(before=None)
    Revocation.objects.all().delete()
    assert (since.raised, since.log) == (4, [("accounts_revocation", 1)] * 4)


def test_what_hooks_write_themselves_raises_nothing(changes):
    node = factories.make_node()
    token = factories.make_token(factories.make_user())
    since = changes()
    Node.objects.filter(pk=node.pk).update(last_seen_at=timezone.now(), first_seen_at=timezone.now())
    Token.objects.filter(pk=token.pk).update(last_used_at=timezone.now())
    Token.objects.filter(pk=token.pk).update(used_at=timezone.now(), used_node_id="n", used_session_id="s")
    User.objects.update(last_login=timezone.now())
    Session.objects.create(node_id="n", session_id="s", app_key="a", entered_by="guest")
    Session.objects.update(ended_at=timezone.now())
    assert (since.raised, since.log) == (0, [])


# Groups


def test_coming_into_a_group_and_leaving_it_is_logged_with_the_user(changes):
    alice, group = factories.make_user("alice"), Group.objects.create(name="teachers")
    for change in (
        lambda: alice.groups.add(group),
        lambda: alice.groups.remove(group),
        lambda: group.user_set.set([alice]),
        lambda: alice.groups.clear(),
        lambda: MEMBERSHIPS.objects.bulk_create([MEMBERSHIPS(user=alice, group=group)]),
        lambda: run("DELETE FROM accounts_user_groups"),
    ):
        since = changes()
        change()
        assert (since.raised, since.log) == (1, [("accounts_user_groups", alice.pk)])


def test_a_membership_that_moves_is_logged_with_both_users(changes):
    alice, bob = factories.make_user("alice", groups=["teachers"]), factories.make_user("bob")
    since = changes()
    MEMBERSHIPS.objects.update(user=bob)
    assert (since.raised, since.log) == (1, [("accounts_user_groups", alice.pk), ("accounts_user_groups", bob.pk)])


def test_a_group_that_goes_takes_its_memberships_and_rules_along_and_all_is_logged(changes):
    alice = factories.make_user("alice", groups=["teachers"])
    rule = factories.make_rule("play", group="teachers")
    group = Group.objects.get()
    pk, since = group.pk, changes()
    group.delete()
    assert sorted(since.log) == [("access_rule", rule.pk), ("accounts_user_groups", alice.pk), ("auth_group", pk)]


def test_a_user_that_goes_takes_tokens_and_rules_along_and_all_is_logged(changes):
    alice = factories.make_user("alice", groups=["teachers"])
    token, rule = factories.make_token(alice), factories.make_rule("play", user=alice)
    pk, since = alice.pk, changes()
    alice.delete()
    assert sorted(since.log) == [
        ("access_rule", rule.pk),
        ("accounts_token", token.pk),
        ("accounts_user", pk),
        ("accounts_user_groups", pk),
    ]


# The counter itself


def test_a_change_that_is_rolled_back_raises_nothing(changes):
    since = changes()
    with transaction.atomic():
        factories.make_user("alice")
        assert since.raised == 1
        transaction.set_rollback(True)
    assert (since.raised, since.log) == (0, [])


def test_should_the_revision_be_lost_it_goes_on_with_a_higher_number(changes):
    factories.make_stream("a")
    since = changes()
    AccessRevision.objects.all().delete()
    factories.make_stream("b")
    after_loss = since.revision
    factories.make_stream("c")
    assert after_loss > since.start + 1
    assert since.revision == after_loss + 1


def test_there_is_one_revision_and_no_other(changes):
    with pytest.raises(IntegrityError, match="access_revision_single"), transaction.atomic():
        AccessRevision.objects.create(id=2, revision=1)


def test_every_change_is_told_to_who_listens_with_its_revision(transactional_db):
    with psycopg.connect(conninfo_of(settings.DATABASES["default"]), autocommit=True) as listener:
        listener.execute("LISTEN wcsgate_access")
        since = Changes()
        factories.make_stream("a")
        factories.make_stream("b")
        told = [notice.payload for notice in listener.notifies(timeout=5, stop_after=2)]
    assert told == [str(since.start + 1), str(since.start + 2)]


def test_two_who_change_something_at_once_raise_it_one_after_the_other(transactional_db):
    """The second waits for the first, so that no revision is ever seen to hold less than a later one."""
    since = Changes()
    with psycopg.connect(conninfo_of(settings.DATABASES["default"])) as other:
        other.execute("INSERT INTO auth_group (name) VALUES ('a')")
        run("SET lock_timeout = '100ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            Group.objects.create(name="b")
        run("RESET lock_timeout")
        other.rollback()
    Group.objects.create(name="c")
    assert since.raised == 1


# Nothing is forgotten


def test_every_table_that_a_snapshot_reads_is_watched():
    read = {table for part in PARTS.values() for table in re.findall(r"(?:FROM|JOIN) (\w+)", part.query)}
    named = {table for part in PARTS.values() for table in part.tables}
    hours_of_rules, what_cuts_are_about = "access_schedule", "live_lease"  # the latter stays as it was when it was cut
    assert read == named | {hours_of_rules, what_cuts_are_about}
    read -= {what_cuts_are_about}
    assert read <= set(WATCHED)
    assert set(WATCHED) == read | {"auth_group", "streams_streamgroup"}


def test_every_watched_table_has_its_triggers_and_they_are_on(db):
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT tgrelid::regclass::text, array_agg(tgname::text ORDER BY tgname) FROM pg_trigger
               WHERE tgname LIKE 'access\\_%' AND tgenabled IN ('O', 'A') GROUP BY tgrelid"""
        )
        found = dict(cursor.fetchall())
    names = ["access_deleted", "access_emptied", "access_inserted", "access_updated"]
    assert found == dict.fromkeys(WATCHED, names)


def test_every_watched_table_is_tried_here():
    others = (MEMBERSHIPS, STREAM_GROUPS, Revocation)
    assert set(WATCHED) == {*CASES, *(model._meta.db_table for model in others)}
