"""What access was at any revision is what it was: whatever was changed since, however, and moved or not."""

import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from msgspec import structs

from apps.access.models import AccessRevision, NumberClass, Rule, Schedule
from apps.access.snapshot import PARTS, load
from apps.access.then import NotRecorded
from apps.accounts.models import Revocation, Token, User
from apps.audit.asking.past import past
from apps.audit.locks import AdvisoryLock, wait_for
from apps.audit.models import AuditEvent, ChangeRecord
from apps.audit.moving.batches import append, next_number
from apps.audit.moving.changes import move_changes
from apps.connections.models import App, Node, SipAccount, TokenIssuer
from apps.database.connection import conninfo_of
from apps.live.models import Cut
from apps.streams.models import Stream, StreamGroup, StreamLink
from tests import factories

SECRETS = {
    "users": ["password"],
    "tokens": ["hash"],
    "issuers": ["keys"],
    "links": ["code", "signatures"],
    "apps": ["basic"],
    "nodes": ["secrets"],
    "sip_accounts": ["password"],
}
ADDRESSES = {"streams": ["source"], "sip_accounts": ["outbound_proxy"]}


@pytest.fixture
def began(transactional_db):
    """A database to commit to, in which nothing has been changed yet, and since when."""
    ChangeRecord.objects.all().delete()
    return timezone.now()


def known():
    with psycopg.connect(conninfo_of(settings.DATABASES["default"]), autocommit=True) as database:
        return load(database)


def plain(snapshot, *, secrets=False):
    """All rows of a snapshot by part and id, to be compared."""
    return {
        name: {row.id: row if secrets else without_secrets(name, row) for row in rows_of(snapshot, name)}
        for name in PARTS
    }


def rows_of(snapshot, name):
    if name == "rules":
        return [rule for key in list(snapshot.rules._buckets) for rule in snapshot.rules._buckets[key]]
    return list(getattr(snapshot, name).by_id.values())


def without_secrets(name, row):
    shown = dict.fromkeys(SECRETS.get(name, ()))
    shown |= {"group_ids": tuple(sorted(row.group_ids))} if name in ("users", "streams") else {}
    shown |= {member: re.sub("u:.@", "***@", getattr(row, member)) for member in ADDRESSES.get(name, ())}
    return structs.replace(row, **shown)


def revision():
    return AccessRevision.objects.get().revision


def run(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


@dataclass
class Staff:
    """Changes something at random, in one of the ways in which that is done."""

    dice: Random
    names: count = field(default_factory=count)

    def do(self):
        with suppress(IntegrityError), transaction.atomic():  # as when a form is refused
            for _ in range(self.dice.choice((1, 1, 1, 3))):
                self.dice.choice((self.add, self.add, self.change, self.bulk, self.sql, self.remove))()

    def name(self):
        return f"n-{next(self.names)}"

    def one(self, model):
        ids = list(model.objects.order_by("pk").values_list("pk", flat=True))
        return model.objects.get(pk=self.dice.choice(ids)) if ids else None

    def add(self):
        user, stream, name = self.one(User), self.one(Stream), self.name()
        group, streams = self.one(Group), self.one(StreamGroup)
        self.dice.choice(
            (
                lambda: factories.make_user(name, groups=[group.name] if group else [], password="pw"),
                lambda: user and factories.make_token(user, token=name, label=name, networks=["10.0.0.0/8"]),
                lambda: Group.objects.create(name=name),
                lambda: user and group and user.groups.add(group),
                lambda: factories.make_stream(name, source=f"rtsp://u:p@cam/{name}", max_viewers=5),
                lambda: StreamGroup.objects.create(name=name),
                lambda: stream and streams and stream.groups.add(streams),
                lambda: factories.make_link(stream=name),
                lambda: factories.make_app(name),
                lambda: factories.make_node(name, secret="s" * 20),
                lambda: factories.make_issuer(name),
                lambda: user and factories.make_sip_account(user, outbound_proxy="sip:u:p@proxy"),
                lambda: NumberClass.objects.create(name=name, prefixes=[f"+49{next(self.names)}"]),
                lambda: Schedule.objects.create(name=name, time_zone="UTC", windows=["daily 08:00-18:00"]),
                lambda: Revocation.objects.update_or_create(
                    id=1, defaults={"before": datetime(2020, 1, 1, tzinfo=UTC)}
                ),
                self.add_rule,
                self.add_rule,
                lambda: user and self.add_cut(user, name),
            )
        )()

    def add_rule(self):
        about = self.dice.choice(
            (
                {"stream": self.one(Stream)},
                {"target": ("prefix", "n-")},
                {"limit_per": "user", "at_once": 2},
                {"networks": ["10.0.0.0/8"], "custom": ["seat = 5"]},
                {"schedule": self.one(Schedule)},
                {"record": "on"},
            )
        )
        factories.make_rule("play", user=self.one(User), **about)

    def add_cut(self, user, key):
        lease = factories.make_lease(user, key=key)
        Cut.objects.create(lease=lease, node_id=lease.node_id, session_id=lease.session_id, key=key, ordered_by="tina")

    def change(self):
        if user := self.one(User):
            user.is_active, user.password = self.dice.random() < 0.5, self.name()
            user.save()
        if stream := self.one(Stream):
            stream.name, stream.source = self.name(), self.dice.choice(("", "rtsp://u:q@cam/1", stream.source))
            stream.save()
        if rule := self.one(Rule):
            rule.actions, rule.effect = ["play", "publish"], self.dice.choice(("allow", "deny"))
            rule.save()

    def bulk(self):
        model, values = self.dice.choice(
            (
                (User, {"revoked_before": datetime(2021, 1, 1, tzinfo=UTC)}),
                (Rule, {"enforced": self.dice.random() < 0.5}),
                (Token, {"expires_at": datetime(2040, 1, 1, tzinfo=UTC)}),
                (Stream, {"max_publishers": self.dice.randrange(9)}),
                (Schedule, {"time_zone": self.dice.choice(("UTC", "Europe/Berlin"))}),
                (TokenIssuer, {"leeway": self.dice.randrange(9)}),
            )
        )
        model.objects.update(**values)

    def sql(self):
        run(
            self.dice.choice(
                (
                    "UPDATE streams_streamlink SET active = NOT active",
                    "UPDATE connections_node SET networks = ARRAY['10.1.0.0/16'], name = 'edge'",
                    "UPDATE accounts_user SET username = username || 'x', last_login = now()",
                    "UPDATE access_rule SET note = 'a note'",
                    "UPDATE accounts_token SET token_hash = token_hash || 'x', last_used_at = now()",
                    "UPDATE connections_sipaccount SET port = port + 1",
                    "UPDATE access_rule SET id = id + 100000 WHERE id = (SELECT min(id) FROM access_rule)",
                    "DELETE FROM access_rule WHERE id = (SELECT max(id) FROM access_rule)",
                )
            )
        )

    def remove(self):
        models = (User, Group, Stream, StreamGroup, Token, App, Node, SipAccount, Rule, NumberClass, StreamLink, Cut)
        for model in self.dice.sample(models, 2):
            if row := self.one(model):
                row.delete()


@pytest.mark.parametrize("seed", range(6))
def test_every_revision_is_what_it_was(began, seed):
    dice, then = Random(seed), {}
    staff = Staff(dice)
    then[revision()] = plain(known())
    for _ in range(60):
        staff.do()
        then[revision()] = plain(known())
        if dice.random() < 0.1:
            move_changes(limit=20)
    assert len(then) > 15
    with past(began) as was:
        for number in sorted(then, reverse=True):
            assert plain(was.at(number)) == then[number]
        for number in dice.sample(sorted(then), len(then)):
            assert plain(was.at(number)) == then[number]
        assert was.broken() == []
    for number in dice.sample(sorted(then), 3):
        with past(began) as was:
            assert plain(was.at(number)) == then[number]
    assert plain(known()) == then[revision()]


def test_as_long_as_a_row_is_there_its_secrets_are_todays_and_then_it_has_none(began):
    user = factories.make_user("alice", password="pw")
    stays, goes = factories.make_token(user), factories.make_token(user, token="other", label="other")
    stream = factories.make_stream(source="rtsp://u:p@cam/1")
    before, at, gone, streams = plain(known(), secrets=True), revision(), goes.pk, stream.pk
    Token.objects.filter(pk=stays.pk).update(label="phone", expires_at=timezone.now())
    Stream.objects.update(max_viewers=7)
    goes.delete()
    with past(began) as was:
        found = plain(was.at(at), secrets=True)
    assert found["tokens"][stays.pk] == before["tokens"][stays.pk]
    assert found["tokens"][gone].hash == ""
    assert found["streams"][streams].source == "rtsp://u:p@cam/1"
    stream.delete()
    with past(began) as was:
        assert was.at(at).streams.by_id[streams].source == "rtsp://***@cam/1"


def test_a_moment_has_the_last_revision_before_it(began):
    factories.make_app()
    first, between = revision(), timezone.now()
    factories.make_rule("play")
    move_changes()
    Rule.objects.update(note="which changes nothing of access")
    assert revision_at(between) == first
    assert revision_at(timezone.now()) == revision()
    assert revision_at(began) == first - 1


def revision_at(moment):
    with past(moment) as was:
        return was.revision_at(moment)


def test_rules_are_said_as_they_were(began):
    alice, lobby = factories.make_user("alice"), factories.make_stream("lobby")
    rule = factories.make_rule("play", user=alice, stream=lobby)
    at = revision()
    lobby.name = "hall"
    lobby.save()
    alice.delete()
    with past(began) as was:
        was.at(at)
        assert str(was.rules([rule.pk])[rule.pk]) == "Allow user “alice” to play stream “lobby”"


def test_what_was_before_changes_were_recorded_is_not_guessed(began):
    with (
        pytest.raises(NotRecorded, match=r"^What was before \d{4}-.* was not recorded, or is past its time"),
        past(datetime(2000, 1, 1, tzinfo=UTC)),
    ):
        pass
    with past(began) as was, pytest.raises(NotRecorded, match=r"^What was at revision 1 was not recorded\.$"):
        was.at(1)


def test_what_was_let_go_is_not_guessed_either(began):
    factories.make_rule("play")
    with transaction.atomic():
        wait_for(AdvisoryLock.BATCHES)
        note = {"let go": "changes by staff", "before": timezone.now() - timedelta(seconds=1)}
        append(next_number(), timezone.now(), note=note)
    with pytest.raises(NotRecorded, match="let go"), past(began - timedelta(seconds=2)):
        pass
    with past(timezone.now()) as was:
        assert was.at(revision()).revision == revision()


def test_an_emptied_table_is_not_guessed(began):
    Schedule.objects.create(name="office", time_zone="UTC", windows=["daily 08:00-18:00"])
    run("TRUNCATE access_schedule CASCADE")
    with pytest.raises(NotRecorded, match="was emptied at"), past(began):
        pass
    with past(timezone.now()) as was:
        assert was.broken() == []


def tamper(event, old, new):
    AuditEvent.objects.filter(pk=event.pk).update(body=bytes(event.body).replace(old, new))


def test_a_change_that_says_something_else_than_it_did_is_found(began):
    Group.objects.create(name="teachers")
    Group.objects.update(name="pupils")
    move_changes()
    first, second = AuditEvent.objects.order_by("received_at")
    tamper(second, b'"before": {"id": %d, "name": "teachers"}' % Group.objects.get().pk, b'"before": null')
    assert broken(began) == [
        f"Change {first.pk} says that group {Group.objects.get().pk} became something else than "
        f"change {second.pk} says it was before."
    ]


def test_what_was_changed_without_a_record_is_found(began):
    factories.make_rule("play")
    move_changes()
    run("ALTER TABLE access_rule DISABLE TRIGGER audit_updated")
    try:
        Rule.objects.update(effect="deny")
    finally:
        run("ALTER TABLE access_rule ENABLE TRIGGER audit_updated")
    assert broken(began)[0].endswith("became something else than it is now.")


def broken(since):
    with past(since) as was:
        return was.broken()


def test_a_change_that_cannot_be_read_is_no_reason_to_guess(began):
    Group.objects.create(name="teachers")
    move_changes()
    tamper(AuditEvent.objects.get(), b"{", b"")
    with pytest.raises(NotRecorded, match="verify_audit"):
        broken(began)


def test_looking_at_the_past_changes_nothing(began):
    factories.make_rule("play")
    now, traces = plain(known()), [ChangeRecord.objects.count(), revision()]
    with past(began) as was:
        assert plain(was.at(revision() - 1))["rules"] == {}
    assert (plain(known()), [ChangeRecord.objects.count(), revision()]) == (now, traces)
    assert Rule.objects.count() == 1


def test_statements_are_as_many_however_much_was_changed(began, monkeypatch):
    def statements():
        """Of a look at what was at first, and of a step from there. Not those of a snapshot that is kept fresh."""
        run, here = [], threading.get_ident()

        def counted(*args, **more):
            if threading.get_ident() == here:
                run.append(0)
            return execute(*args, **more)

        with monkeypatch.context() as patch:
            patch.setattr(psycopg.Connection, "execute", counted)
            with past(began) as was:
                was.at(first)
                looked = len(run)
                was.at(first + 1)
        return looked, len(run) - looked

    execute, first = psycopg.Connection.execute, revision()
    Rule.objects.bulk_create(
        Rule(effect="allow", who="everyone", actions=["play"], target_kind="any") for _ in range(500)
    )
    few = statements()
    for number in range(4):
        Rule.objects.update(target_kind="exact", target=f"s-{number}")
    assert ChangeRecord.objects.count() == 2_500
    assert statements() == few
