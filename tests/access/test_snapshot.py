"""The snapshot: after any change, refreshing gives what loading anew would give."""

import hmac
import json
from datetime import UTC, datetime, timedelta
from random import Random

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection as django_connection

from apps.access.engine import decide
from apps.access.models import AccessChange, AccessRevision, Rule
from apps.access.rows import AppRow, NodeRow, RuleRow, TokenRow
from apps.access.snapshot import facts_for, load, refresh
from apps.accounts.hashing import hash_token
from apps.accounts.models import Token, User
from apps.connections.models import App, Node
from apps.database.connection import conninfo_of
from apps.hooks.authentication import CallerRefused, authenticate
from apps.protocol.messages import HookCall
from apps.protocol.methods import find
from apps.streams.models import Stream
from tests import factories

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def postgres(transactional_db):
    """A connection like the snapshot's own, which sees only what was committed."""
    with psycopg.connect(conninfo_of(settings.DATABASES["default"]), autocommit=True) as connection:
        yield connection


@pytest.fixture
def cast(postgres):
    """Alice and Bob with a token each, an app, a node, a stream, and a few rules."""
    factories.make_app()
    factories.make_node(secret="s3cret")
    alice, bob = factories.make_user("alice", groups=["teachers", "staff"]), factories.make_user("bob")
    factories.make_token(alice)
    factories.make_token(bob, networks=["192.168.0.0/16"], expires_at=NOW + timedelta(days=1))
    lobby = factories.make_stream("lobby")
    factories.make_rule("connect")
    factories.make_rule("publish", "play", user=alice, stream=lobby)
    factories.make_rule("play", group="teachers", target=("prefix", "lesson-"), starts_at=NOW)
    factories.make_rule("play", effect="deny", user=bob, target=("glob", "{user}-*"), enforced=False)
    return {"alice": alice, "bob": bob, "lobby": lobby}


def everything(snapshot):
    """All that a snapshot knows, in a form that can be compared; the order of a user's groups says nothing."""
    users = {
        row.id: (row.id, row.username, row.active, row.password, sorted(row.group_ids))
        for row in snapshot.users.by_id.values()
    }
    names = {
        part: {name: row.id for name, row in getattr(snapshot, part).by_name.items()}
        for part in ("users", "tokens", "apps", "nodes")
    }
    rows = {part: getattr(snapshot, part).by_id for part in ("tokens", "apps", "nodes")}
    return snapshot.revision, users, rows, names, decisions(snapshot)


def decisions(snapshot):
    """What is decided on a handful of hooks, with the rules that settled it."""
    known = {}
    for token in ("tok-alice", "tok-bob", "tok-new", None):
        for method, name in (("connect", ""), ("playHLS", "lobby"), ("playHLS", "lesson-1"), ("playHLS", "bob-cam")):
            for key in ("defaultApp", "otherApp"):
                body = {"nodeId": "n", "sessionId": "/192.168.1.38:1/n", "appKey": key, "name": name}
                custom = {"custom": {"token": token}} if token else {}
                call = HookCall.from_payload(method, find(method), json.dumps({**body, **custom}).encode())
                app = snapshot.apps.by_name.get(key)
                known[token, method, name, key] = decide(call, facts_for(call, snapshot, None, app, NOW))
    return known


def refreshed(snapshot, postgres):
    """The snapshot brought up to date by what changed, and compared with one that is loaded anew."""
    after = refresh(snapshot, postgres)
    assert after is snapshot
    assert everything(after) == everything(load(postgres))
    return after


def test_loading_gives_every_row_as_it_is(cast, postgres):
    snapshot = load(postgres)
    lobby_rule = Rule.objects.get(target_kind="stream")
    token = Token.objects.get(user=cast["bob"])
    assert snapshot.revision == AccessRevision.objects.get().revision
    alice = snapshot.users.by_name["alice"]
    assert (alice.id, alice.active, alice.password) == (cast["alice"].pk, True, cast["alice"].password)
    assert sorted(alice.group_ids) == sorted(Group.objects.values_list("pk", flat=True))
    assert snapshot.tokens.by_name[hash_token("tok-bob")] == TokenRow(
        token.pk,
        cast["bob"].pk,
        hash_token("tok-bob"),
        NOW + timedelta(days=1),
        ("192.168.0.0/16",),
        issued_at=token.created_at,
    )
    assert snapshot.apps.by_name["defaultApp"] == AppRow(
        App.objects.get().pk, "defaultApp", basic=(factories.basic().encode(),)
    )
    assert snapshot.nodes.by_name[factories.NODE_ID] == NodeRow(
        Node.objects.get().pk, factories.NODE_ID, secrets=(b"s3cret",)
    )
    assert snapshot.rules._rules[lobby_rule.pk] == RuleRow(
        lobby_rule.pk, "allow", "user", ("publish", "play"), cast["alice"].pk, None, "stream", "lobby"
    )
    assert len(snapshot.rules) == 4


def test_where_nothing_changed_nothing_is_read(cast, postgres):
    snapshot = load(postgres)
    rules = snapshot.rules._rules.copy()
    assert refresh(snapshot, postgres) is snapshot
    assert all(snapshot.rules._rules[id_] is row for id_, row in rules.items())


def _swap_names(first, second):
    """Each gets the other's name, with both changes in one refresh."""
    User.objects.filter(pk=first.pk).update(username="for a moment")
    User.objects.filter(pk=second.pk).update(username=first.username)
    User.objects.filter(pk=first.pk).update(username=second.username)


CHANGES = {
    "a user comes": lambda cast: factories.make_user("new", groups=["teachers"]),
    "a user goes": lambda cast: cast["alice"].delete(),
    "a user is switched off": lambda cast: User.objects.filter(pk=cast["alice"].pk).update(is_active=False),
    "a user is renamed": lambda cast: User.objects.filter(pk=cast["bob"].pk).update(username="robert"),
    "two users swap names": lambda cast: _swap_names(cast["alice"], cast["bob"]),
    "a name is given away": lambda cast: (cast["bob"].delete(), factories.make_user("bob")),
    "a password changes": lambda cast: User.objects.filter(pk=cast["bob"].pk).update(password="changed"),
    "a user joins a group": lambda cast: cast["bob"].groups.set(Group.objects.all()),
    "a user leaves all groups": lambda cast: cast["alice"].groups.clear(),
    "a group goes": lambda cast: Group.objects.get(name="teachers").delete(),
    "a group is renamed": lambda cast: Group.objects.filter(name="staff").update(name="crew"),
    "a token comes": lambda cast: factories.make_token(cast["bob"], "tok-new", label="phone"),
    "a token is revoked": lambda cast: Token.objects.filter(user=cast["alice"]).delete(),
    "a token is moved": lambda cast: Token.objects.filter(user=cast["bob"]).update(user=cast["alice"], label="b"),
    "a token expires": lambda cast: Token.objects.update(expires_at=NOW),
    "a token gets another hash": lambda cast: Token.objects.filter(user=cast["bob"]).update(
        token_hash=hash_token("tok-new")
    ),
    "an app comes": lambda cast: factories.make_app("otherApp", guests=True),
    "an app goes": lambda cast: App.objects.all().delete(),
    "an app is renamed": lambda cast: App.objects.update(key="otherApp"),
    "guests become welcome": lambda cast: App.objects.update(guests=True),
    "an app's password is rotated": lambda cast: factories.make_app("otherApp", hook_password="new"),
    "a node comes": lambda cast: factories.make_node("other", secret="new"),
    "a node's secrets go": lambda cast: Node.objects.update(secrets=[]),
    "a rule comes": lambda cast: factories.make_rule("play", effect="deny", target=("exact", "lobby")),
    "a rule goes": lambda cast: Rule.objects.filter(target_kind="prefix").delete(),
    "a rule changes its mind": lambda cast: Rule.objects.filter(user=cast["alice"]).update(effect="deny"),
    "a rule is about somebody else": lambda cast: Rule.objects.filter(who="user").update(user=cast["bob"]),
    "a rule is enforced": lambda cast: Rule.objects.update(enforced=True),
    "a rule's period ends": lambda cast: Rule.objects.filter(who="everyone").update(ends_at=NOW),
    "a rule loses its stream": lambda cast: Rule.objects.filter(target_kind="stream").update(
        target_kind="exact", target="lesson-1", stream=None
    ),
    "a stream is renamed": lambda cast: Stream.objects.update(name="lesson-1"),
    "a stream goes, and its rule with it": lambda cast: cast["lobby"].delete(),
    "a stream's rule changes with it": lambda cast: (
        Stream.objects.update(name="bob-cam"),
        Rule.objects.filter(target_kind="stream").update(effect="deny"),
    ),
    "all rules go by hand": lambda cast: django_connection.cursor().execute("DELETE FROM access_rule"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_after_a_change_refreshing_gives_what_loading_gives(change, cast, postgres):
    snapshot = load(postgres)
    before = everything(snapshot)
    change(cast)
    assert everything(refreshed(snapshot, postgres)) != before


def test_a_renamed_stream_takes_its_rules_along(cast, postgres):
    snapshot = load(postgres)
    assert snapshot.rules._rules[Rule.objects.get(target_kind="stream").pk].target == "lobby"
    Stream.objects.update(name="attic")
    refreshed(snapshot, postgres)
    assert snapshot.rules._rules[Rule.objects.get(target_kind="stream").pk].target == "attic"


def test_a_change_that_is_not_committed_is_not_seen(cast, postgres):
    snapshot = load(postgres)
    before = everything(snapshot)
    with psycopg.connect(conninfo_of(settings.DATABASES["default"])) as other:
        other.execute("UPDATE accounts_user SET is_active = false")
        assert everything(refresh(snapshot, postgres)) == before
        other.commit()
    assert everything(refreshed(snapshot, postgres)) != before


def _anything(random, cast):
    """One change of many, by chance."""
    name = f"n{random.randrange(4)}"
    users, rules = list(User.objects.all()), list(Rule.objects.all())
    match random.randrange(10):
        case 0 if not User.objects.filter(username=name).exists():
            factories.make_user(name, groups=random.sample(["teachers", "staff", "crew"], random.randrange(3)))
        case 1 if len(users) > 1:
            random.choice(users).delete()
        case 2:
            User.objects.filter(pk=random.choice(users).pk).update(is_active=random.random() < 0.5)
        case 3:
            random.choice(users).groups.set(random.sample(list(Group.objects.all()), 1))
        case 4:
            user = random.choice(users)
            Token.objects.update_or_create(
                label="laptop", user=user, defaults={"token_hash": hash_token(f"tok-{user}"), "streams": [name]}
            )
        case 5 if not Stream.objects.filter(name=name).exists():
            factories.make_stream(name)
        case 6 if Stream.objects.exists() and not Stream.objects.filter(name=name).exists():
            Stream.objects.filter(pk=random.choice(Stream.objects.all()).pk).update(name=name)
        case 7 if Stream.objects.exists():
            random.choice(Stream.objects.all()).delete()
        case 8 if Stream.objects.exists():
            factories.make_rule("play", user=random.choice(users), stream=random.choice(Stream.objects.all()))
        case 9 if rules:
            Rule.objects.filter(pk=random.choice(rules).pk).update(effect=random.choice(["allow", "deny"]))


@pytest.mark.parametrize("seed", range(3))
def test_after_many_changes_refreshing_now_and_then_gives_what_loading_gives(seed, cast, postgres):
    random = Random(seed)
    snapshot = load(postgres)
    for _ in range(12):
        for _ in range(random.randrange(5)):
            _anything(random, cast)
        refreshed(snapshot, postgres)


# Where the change log does not tell everything


def loaded_anew(snapshot, postgres):
    after = refresh(snapshot, postgres)
    assert after is not snapshot
    assert everything(after) == everything(load(postgres))
    return after


def test_an_emptied_table_is_loaded_anew(cast, postgres):
    snapshot = load(postgres)
    with django_connection.cursor() as cursor:
        cursor.execute("TRUNCATE access_rule CASCADE")
    assert len(loaded_anew(snapshot, postgres).rules) == 0


def test_where_the_change_log_was_cleared_all_is_loaded_anew(cast, postgres):
    snapshot = load(postgres)
    User.objects.update(is_active=False)
    AccessChange.objects.all().delete()
    loaded_anew(snapshot, postgres)


def test_where_the_change_log_begins_too_late_all_is_loaded_anew(cast, postgres):
    snapshot = load(postgres)
    User.objects.update(is_active=False)
    AccessChange.objects.all().delete()
    factories.make_rule("publish")
    loaded_anew(snapshot, postgres)


def test_where_the_revision_was_lost_all_is_loaded_anew(cast, postgres):
    snapshot = load(postgres)
    AccessRevision.objects.all().delete()
    User.objects.update(is_active=False)
    assert loaded_anew(snapshot, postgres).revision == AccessRevision.objects.get().revision


def test_where_the_database_is_an_older_one_all_is_loaded_anew(cast, postgres):
    snapshot = load(postgres)
    AccessRevision.objects.update(revision=snapshot.revision - 3)
    assert loaded_anew(snapshot, postgres).revision == snapshot.revision - 3


# Secrets that cannot be read


CALLER = {"REMOTE_ADDR": "127.0.0.1"}


@pytest.mark.parametrize("authorization", ["", "Basic", "Basic ", "Basic d2NzOg==", "WCS", "WCS 0", factories.basic()])
def test_a_login_that_cannot_be_read_counts_as_set_but_nothing_matches_it(authorization, cast, postgres, caplog):
    App.objects.update(hook_passwords=["sealed under a key that is gone"])
    snapshot = load(postgres)
    app = snapshot.apps.by_name["defaultApp"]
    assert app.basic == (b"",)
    with pytest.raises(CallerRefused):
        authenticate(app, None, snapshot, {**CALLER, "HTTP_AUTHORIZATION": authorization}, b"{}")
    assert "cannot be read with the keys" in caplog.text


def test_a_signing_secret_that_cannot_be_read_counts_as_set_but_nothing_matches_it(cast, postgres):
    Node.objects.update(secrets=["sealed under a key that is gone"])
    App.objects.update(hook_user="", hook_passwords=[])
    snapshot = load(postgres)
    app, node = snapshot.apps.by_name["defaultApp"], snapshot.nodes.by_name[factories.NODE_ID]
    assert node.secrets == (b"",)
    with_empty_key = "WCS 40f5e3e20ffff6d1b5c5a0d5f3c9f6a5"
    for authorization in ("", "WCS ", with_empty_key, _signed_with_nothing(b"{}")):
        with pytest.raises(CallerRefused):
            authenticate(app, node, snapshot, {**CALLER, "HTTP_AUTHORIZATION": authorization}, b"{}")


def _signed_with_nothing(body):
    return "WCS " + hmac.new(b"", body, "md5").hexdigest()


def test_the_secret_beside_one_that_cannot_be_read_still_works(cast, postgres):
    app = App.objects.get()
    App.objects.update(hook_passwords=[*app.hook_passwords, "gone"])
    snapshot = load(postgres)
    known = snapshot.apps.by_name["defaultApp"]
    assert known.basic == (factories.basic().encode(), b"")
    authenticate(known, None, snapshot, {**CALLER, "HTTP_AUTHORIZATION": factories.basic()}, b"{}")
