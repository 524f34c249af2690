"""The list of who can: complete, in order, page by page, and what the engine says of each user."""

from random import Random

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.models import NumberClass, Rule
from apps.access.snapshot import load
from apps.access.who_can import Verdict, asked_of_anybody
from apps.access.who_can_list import RulesChanged, UserList, Which
from apps.access.who_can_people import allowed_people
from apps.accounts.models import User
from apps.database.connection import conninfo_of
from apps.streams.models import StreamGroup
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("alice", "Bob", "a*b", "x", "x.y", "zoë", "lobby", "10")
TARGETS = (
    ("play", "lobby"),
    ("play", "alice-cam"),
    ("publish", "rtsp://cam/1"),
    ("call", "112"),
    ("call", "+49900123"),
)


@pytest.fixture
def postgres():
    with psycopg.connect(conninfo_of(settings.DATABASES["default"]), autocommit=True) as opened:
        yield opened


def asked(postgres, action="play", target="lobby"):
    return asked_of_anybody(action, target, timezone.now(), load(postgres))


def names(question, which=Which.CAN, size=3):
    """Of all pages, one after the other."""
    found, after, users = [], "", UserList(question, which)
    while True:
        page = users.page(after, size)
        assert len(page.people) <= size
        found += [listed.user.username for listed in page.people]
        if not page.after:
            return found
        after = page.after


def make_world(dice):
    """Users in groups, and rules of every kind about them."""
    groups = ["g1", "g2", "g3"]
    users = [
        factories.make_user(name, groups=dice.sample(groups, dice.randint(0, 2)), is_active=dice.random() < 0.8)
        for name in NAMES
    ]
    doors = StreamGroup.objects.create(name="doors")
    stream = factories.make_stream("lobby", source="rtsp://cam/1")
    stream.groups.add(doors)
    classes = [
        NumberClass.objects.create(name="emergency", prefixes=["112"], whole=True, protected=True),
        NumberClass.objects.create(name="premium", prefixes=["+49900"]),
    ]
    targets = [
        {"target": ("any", "")},
        {"stream": stream},
        {"target": ("stream-group", ""), "stream_group": doors},
        {"target": ("number-class", ""), "number_class": dice.choice(classes)},
        *(
            {"target": (kind, text)}
            for kind, text in (("exact", "lobby"), ("prefix", "+49"), ("number-prefix", "0049"))
        ),
        *({"target": ("glob", text)} for text in ("{user}-*", "{user}", "*{user}*", "lob*")),
    ]
    for _ in range(dice.randint(1, 8)):
        who = dice.choice([{}, {"group": dice.choice(groups)}, {"user": dice.choice(users)}, {"guests": True}])
        actions = dice.sample(["play", "publish", "call"], dice.randint(1, 3))
        effect = "deny" if dice.random() < 0.3 else "allow"
        networks = ["10.0.0.0/8"] if dice.random() < 0.2 else []
        factories.make_rule(
            *actions, effect=effect, networks=networks, enforced=dice.random() < 0.9, **who, **dice.choice(targets)
        )


@pytest.mark.parametrize("seed", range(25))
def test_the_list_is_that_of_asking_about_every_user(postgres, seed):
    make_world(Random(seed))
    known = load(postgres)
    in_order = list(User.objects.order_by("username").values_list("username", flat=True))
    for action, target in TARGETS:
        question = asked_of_anybody(action, target, timezone.now(), known)
        answers = {name: question.about(known.users.by_name[name]) for name in in_order}
        can = [name for name, answer in answers.items() if answer.verdict is not Verdict.CANNOT]
        assert names(question) == can
        everyone = allowed_people(question).everyone
        refused = [name for name in in_order if name not in can and (everyone or answers[name].overruled_ids)]
        assert names(question, Which.REFUSED) == refused
        assert [listed.user.username for page in UserList(question, Which.CAN).pages() for listed in page.people] == can


def test_one_page_is_one_bounded_query(postgres):
    User.objects.bulk_create(User(username=f"user-{number:04}") for number in range(300))
    factories.make_rule("play")
    question = asked(postgres)
    with CaptureQueriesContext(connection) as queries:
        page = UserList(question, Which.CAN).page("user-0100", 50)
    assert [page.people[0].user.username, page.people[-1].user.username] == ["user-0101", "user-0150"]
    assert page.after == "user-0150"
    assert len(queries) == 1
    assert queries[0]["sql"].endswith("ORDER BY u.username LIMIT 51")


def test_where_nobody_can_no_query_is_made(postgres, django_assert_num_queries):
    factories.make_user()
    factories.make_rule("publish")
    with django_assert_num_queries(0):
        assert names(asked(postgres)) == []
    factories.make_rule("play")
    factories.make_rule("play", effect="deny")
    question = asked(postgres)
    with django_assert_num_queries(0):
        assert names(question) == []
    assert names(question, Which.REFUSED) == ["alice"]


def test_whom_postgres_finds_is_left_out_if_the_engine_says_otherwise(postgres):
    factories.make_user("alice", groups=["teachers"])
    bob = factories.make_user("bob")
    factories.make_rule("play", group="teachers")
    question = asked(postgres)
    bob.groups.set(Group.objects.all())
    factories.make_user("charlie", groups=["teachers"])
    assert names(question) == ["alice"]
    assert names(asked(postgres)) == ["alice", "bob", "charlie"]


def test_a_long_list_ends_where_access_changes(postgres, monkeypatch):
    factories.make_user("alice")
    factories.make_user("bob")
    factories.make_rule("play")
    monkeypatch.setattr("apps.access.who_can_list.AT_ONCE", 1)
    question = asked(postgres)
    pages = UserList(question, Which.CAN).pages()
    assert [listed.user.username for listed in next(pages).people] == ["alice"]
    Rule.objects.all().delete()
    with pytest.raises(RulesChanged):
        next(pages)
