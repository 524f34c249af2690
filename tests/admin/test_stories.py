"""The pages of stories: a session, a stream, a call, a person. Who sees what, and what it costs."""

import json
import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from playwright.sync_api import expect

from apps.access.reasons import STAFF_ACTION, Reason
from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.audit.moving.changes import OURSELVES, TABLES
from apps.audit.stories import events, person, stream, stream_page
from apps.audit.stories.meanwhile import CONCERNS
from apps.audit.stories.people import people
from apps.connections.models import Session
from apps.live.models import Cut, Lease
from tests import factories
from tests.admin.conftest import browser_of, make_event, make_role, make_session

ODD = 'a/b “ä” & <b>"%2F"?#\t\u202e'
ALLOWED = {"effect": "allow", "reason": Reason.ALLOWED_BY_RULE}
COMMITTED = pytest.mark.django_db(transaction=True)
"""For what is asked of a snapshot, which reads nothing else."""

NOTED = {"effect": "allow", "reason": Reason.NOT_REFUSABLE, "action": "notify"}
BY_TINA = {
    "username": "tina", "effect": "allow", "reason": STAFF_ACTION,
    "node_id": "", "app_key": "", "session_id": "",
}  # fmt: skip


def address(story, **query):
    return reverse(f"story_{story}", query={key: str(value) for key, value in query.items()})


def shown(browser, story, **query):
    response = browser.get(address(story, **query))
    assert response.status_code == 200
    return response


def text_of(response):
    """What is to be read of a page, without its tags."""
    main = response.content.decode().partition('id="main"')[2] or response.content.decode()
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


def ago(**time):
    return timezone.now() - timedelta(**time)


def with_permissions(*codenames):
    make_role("some", *codenames)
    return browser_of(factories.make_user("somebody", is_staff=True, groups=["some"]))


@pytest.fixture
def alice(db):
    factories.make_app()
    return factories.make_user("alice", first_name="Alice", last_name="Ames")


@pytest.fixture
def lesson(alice):
    """Alice's session of an hour ago: she published the lobby for ten minutes, then left; and what came in between."""
    ids = {"username": "alice", "user": alice, "session_id": "s-1"}
    opened = ago(minutes=60)
    session = make_session(
        alice, session_id="s-1", opened_at=opened, ended_at=ago(minutes=30), end_reason="DISCONNECTED"
    )
    make_event("connect", received_at=opened, action="connect", target="defaultApp", **ids, **ALLOWED)
    stream = {"media_session_id": "m-1", "target": "lobby"}
    asked = make_event(
        "publishStream", received_at=ago(minutes=58), **ids, **stream, **{**ALLOWED, "action": "publish"}
    )
    make_event("StreamStatusEvent", received_at=ago(minutes=57), status="PUBLISHING", **ids, **stream, **NOTED)
    for minute in (56, 55, 54):
        make_event(
            "StreamKeepAliveEvent", received_at=ago(minutes=minute), status="PUBLISHING", **ids, **stream,
            **{**ALLOWED, "action": "publish"},
        )  # fmt: skip
    make_event("playStream", received_at=ago(minutes=50), media_session_id="m-2", **{**ids, "target": "attic"})
    make_event("StreamStatusEvent", received_at=ago(minutes=47), status="UNPUBLISHED", **ids, **stream, **NOTED)
    make_event("ConnectionStatusEvent", received_at=ago(minutes=30), status="DISCONNECTED", target="", **ids, **NOTED)
    factories.make_lease(
        alice, "m-1", "publish", session_id="s-1", record_id=asked.pk, opened_at=asked.received_at,
        started_at=ago(minutes=57), ended_at=ago(minutes=47), end_reason="UNPUBLISHED",
    )  # fmt: skip
    return session


# A session


def test_a_session_is_told_from_its_connect_to_its_end(root, lesson):
    response = shown(root, "session", node=lesson.node_id, session="s-1")
    said = response.context["said"]
    assert "alice connected through app “defaultApp”" in said
    assert "lasted 30 min" in said
    assert "the client disconnected (DISCONNECTED)." in said
    assert [(row.text, row.outcome) for row in response.context["rows"] if row.clock] == [
        ("alice asked to connect through app “defaultApp”", "allowed"),
        ("alice asked to publish “lobby”", "allowed"),
        ("alice publishes “lobby”", "noted"),
        ("WCS asked whether alice may still publish “lobby”", "allowed"),
        ("alice asked to play “attic”", "refused"),
        ("alice no longer publishes “lobby”", "noted"),
        ("alice disconnected", "noted"),
    ]


def test_whoever_may_not_see_sessions_is_told_what_hooks_say_of_it(lesson):
    ids = {"username": "alice", "session_id": "s-1", "target": ""}
    make_event("ConnectionStatusEvent", received_at=ago(minutes=60), status="ESTABLISHED", **ids, **NOTED)
    said = shown(with_permissions("view_auditevent"), "session", node=lesson.node_id, session="s-1").context["said"]
    assert said.startswith("alice asked to connect through app “defaultApp”, at ")
    assert re.search(r"It ran for \d+ min, until .+: the client disconnected \(DISCONNECTED\)\.$", said)


def test_it_says_how_long_each_stream_ran_how_often_something_came_and_when_nothing_did(root, lesson):
    rows = {row.text: row for row in shown(root, "session", node=lesson.node_id, session="s-1").context["rows"]}
    assert "It ran for 10 min" in rows["alice asked to publish “lobby”"].ran
    assert "3 times" in rows["WCS asked whether alice may still publish “lobby”"].often
    assert rows["alice asked to play “attic”"].why == "No rule allows it."
    assert "Nothing was heard for 17 min." in rows


def test_without_leases_durations_come_from_the_hooks(root, lesson):
    Lease.objects.all().delete()
    rows = {row.text: row for row in shown(root, "session", node=lesson.node_id, session="s-1").context["rows"]}
    assert "It ran for 10 min" in rows["alice asked to publish “lobby”"].ran


def test_who_ordered_an_end_is_told(root, lesson):
    Cut.objects.create(lease=Lease.objects.get(), node_id=lesson.node_id, session_id="s-1", ordered_by="olga")
    rows = {row.text: row for row in shown(root, "session", node=lesson.node_id, session="s-1").context["rows"]}
    assert "Ordered to end by olga." in rows["alice asked to publish “lobby”"].ran


def test_what_staff_changed_meanwhile_stands_in_between_with_who_and_what(audrey, lesson):
    def change(minutes, **fields):
        make_event(
            "", received_at=ago(minutes=minutes), node_id="", app_key="", session_id="", effect="allow",
            reason=STAFF_ACTION, **{"username": "tina", "target": "rule 7", "action": "change", **fields},
        )  # fmt: skip

    change(70, target="before")
    change(40, rules=["Allow everyone to play"], told="enforced no instead of yes")
    change(39, username=OURSELVES, target="by itself")
    change(29, target="afterwards")
    response = shown(audrey, "session", node=lesson.node_id, session="s-1")
    (row,) = [row for row in response.context["rows"] if row.outcome == "changed"]
    assert (row.text, row.why) == ("tina changed rule 7", "Allow everyone to play: enforced no instead of yes")
    assert "Nothing was heard for 17 min." in text_of(response)


def told_of(table, *rows):
    """The body of a change: one row, or what it was before and after."""
    before, after = rows if len(rows) == 2 else (None, *rows) if rows else (None, None)
    return json.dumps({"table": table, "before": before, "after": after}).encode()


def test_only_what_has_to_do_with_the_session_is_told_of_what_staff_changed(root, lesson):
    alice, mine, other = lesson.user, Group.objects.create(name="mine"), Group.objects.create(name="other")
    alice.groups.add(mine)
    lobby, attic = factories.make_stream("lobby"), factories.make_stream("cellar")
    told = {
        "rule about her": told_of("access_rule", {"who": "user", "user_id": alice.pk}),
        "rule that was about her": told_of("access_rule", {"who": "user", "user_id": alice.pk}, {"who": "guests"}),
        "rule about everyone": told_of("access_rule", {"who": "everyone"}),
        "rule about her group": told_of("access_rule", {"who": "group", "group_id": mine.pk}),
        "rule about a group she left": told_of("access_rule", {"who": "group", "group_id": 999}),
        "group she left": told_of("accounts_user_groups", {"user_id": alice.pk, "group_id": 999}),
        "her token": told_of("accounts_token", {"id": 1, "user_id": alice.pk}),
        "her account": told_of("accounts_user", {"id": alice.pk}),
        "her stream": told_of("streams_stream", {"id": lobby.pk, "name": "lobby"}),
        "groups of her stream": told_of("streams_stream_groups", {"stream_id": lobby.pk}),
        "link to her stream": told_of("streams_streamlink", {"stream": "lobby"}),
        "her app": told_of("connections_app", {"key": lesson.app_key}),
        "her node": told_of("connections_node", {"node_id": lesson.node_id}),
        "order to end her": told_of("live_cut", {"node_id": lesson.node_id, "session_id": "s-1"}),
        "all of rules": told_of("access_rule"),
        "what cannot be read": b"\xff",
    }
    untold = {
        "rule about bob": told_of("access_rule", {"who": "user", "user_id": alice.pk + 1}),
        "rule about guests": told_of("access_rule", {"who": "guests"}),
        "rule about another group": told_of("access_rule", {"who": "group", "group_id": other.pk}),
        "another token": told_of("accounts_token", {"id": alice.pk, "user_id": alice.pk + 1}),
        "another account": told_of("accounts_user", {"id": alice.pk + 1}),
        "another stream": told_of("streams_stream", {"id": attic.pk, "name": "cellar"}),
        "another app": told_of("connections_app", {"key": "other"}),
        "another node": told_of("connections_node", {"node_id": "other"}),
        "issuer, and she has a token": told_of("connections_tokenissuer", {"id": 1}),
        "order to end another": told_of("live_cut", {"node_id": "other", "session_id": "s-1"}),
        "a permission of staff": told_of("accounts_user_user_permissions", {"user_id": alice.pk}),
        "all of API keys": told_of("accounts_apikey"),
    }
    for target, body in (told | untold).items():
        make_event("", received_at=ago(minutes=40), action="change", target=target, body=body, **BY_TINA)
    rows = shown(root, "session", node=lesson.node_id, session="s-1").context["rows"]
    found = {row.text.removeprefix("tina changed ") for row in rows if row.outcome == "changed"}
    assert found == set(told)


def test_a_session_of_a_guest_has_to_do_with_rules_about_guests(root, lesson):
    Session.objects.filter(pk=lesson.pk).update(user=None, username="")
    for who in ("guests", "everyone", "user"):
        body = told_of("access_rule", {"who": who, "user_id": None})
        make_event("", received_at=ago(minutes=40), action="change", target=f"rule about {who}", body=body, **BY_TINA)
    rows = shown(root, "session", node=lesson.node_id, session="s-1").context["rows"]
    assert [row.text for row in rows if row.outcome == "changed"] == ["tina changed rule about guests"]


def test_of_every_table_that_is_watched_it_is_known_whether_it_concerns_a_session():
    assert set(CONCERNS) == set(TABLES)


def test_all_that_staff_changed_meanwhile_is_a_click_away(root, lesson):
    make_event("", received_at=ago(minutes=40), action="change", target="meanwhile", **BY_TINA)
    make_event("", received_at=ago(minutes=70), action="change", target="before", **BY_TINA)
    html = shown(root, "session", node=lesson.node_id, session="s-1").content.decode()
    found = root.get(unescape(re.search(r'href="([^"]+)"[^>]*>\s*All that staff changed meanwhile', html)[1]))
    assert [event.target for event in found.context["cl"].result_list] == ["meanwhile"]


def test_a_session_of_the_same_ids_on_another_node_is_another_one(root, lesson):
    make_event("publishStream", node_id="other", session_id="s-1", received_at=ago(minutes=40), target="elsewhere")
    assert "elsewhere" not in text_of(shown(root, "session", node=lesson.node_id, session="s-1"))
    response = shown(root, "session", node="other", session="s-1")
    assert [row.text for row in response.context["rows"]] == ["charlie asked to play “elsewhere”"]
    assert "No session that was opened under these ids is known" in response.context["said"]


def test_a_session_before_it_was_opened_again_is_told_of_its_own_time(root, lesson):
    make_event(session_id="s-1", received_at=ago(days=3), target="long ago")
    make_event(session_id="s-1", received_at=ago(minutes=90), target="before")
    assert "before" not in text_of(shown(root, "session", node=lesson.node_id, session="s-1"))
    response = shown(root, "session", node=lesson.node_id, session="s-1", at=ago(days=3).isoformat())
    assert [row.text for row in response.context["rows"]] == ["charlie asked to play “long ago”"]


def test_of_a_long_session_the_rest_is_a_click_away(root, alice, monkeypatch):
    monkeypatch.setattr(events, "SHOWN", 3)
    session = make_session(alice, session_id="s-1", opened_at=ago(minutes=60))
    for number in range(5):
        make_event(session_id="s-1", received_at=ago(minutes=50 - number), target=f"{number}")
    first = shown(root, "session", node=session.node_id, session="s-1")
    assert [row.text[-2] for row in first.context["rows"]] == ["0", "1", "2"]
    rest = root.get(address("session") + first.context["goes_on"])
    assert [row.text[-2] for row in rest.context["rows"]] == ["3", "4"]
    assert not rest.context["goes_on"]


def test_a_session_that_runs_says_so(root, alice):
    session = make_session(alice, opened_at=ago(minutes=5))
    said = shown(root, "session", node=session.node_id, session=session.session_id).context["said"]
    assert "The session runs, for 5 min" in said


def plays(minute, **fields):
    return make_event("StreamStatusEvent", received_at=ago(minutes=minute), status="PLAYING", **{**fields, **NOTED})


def test_what_wcs_says_that_it_does_although_it_was_refused_says_so(root, alice):
    ids = {"session_id": "s-1", "username": "alice", "media_session_id": "m-1"}
    make_event(received_at=ago(minutes=9), **ids)
    against = plays(8, **ids)
    make_event(received_at=ago(minutes=7), **ids, **ALLOWED)
    after = plays(6, **ids)
    other = plays(5, **{**ids, "media_session_id": "m-2"})
    elsewhere = plays(8, **{**ids, "session_id": "s-2"})
    told = [row.text for row in shown(root, "session", node=factories.NODE_ID, session="s-1").context["rows"]]
    assert told == [
        "alice asked to play “lobby”",
        "alice plays “lobby”, although that had been refused",
        "alice asked to play “lobby”",
        "alice plays “lobby”",
        "alice plays “lobby”",
    ]
    for event, says in ((against, True), (after, False), (other, False), (elsewhere, False)):
        page = root.get(reverse("admin:audit_auditevent_change", args=[event.pk]))
        assert (", although that had been refused. " in page.context["story"]) == says


def test_where_nothing_is_recorded_it_says_what_to_do(root):
    text = text_of(shown(root, "session", node="n", session="s"))
    assert "No session was opened under these ids then." in text
    assert "Nothing is recorded for this time." in text


# A stream


def test_a_stream_tells_who_published_and_watched_for_how_long_and_the_most_at_once(root, lesson):
    bob = factories.make_user("bob")
    factories.make_lease(bob, "v-1", session_id="s-2", opened_at=ago(minutes=55), ended_at=ago(minutes=50))
    factories.make_lease(bob, "v-2", session_id="s-3", opened_at=ago(minutes=53))
    factories.make_lease(bob, "v-3", session_id="s-4", opened_at=ago(days=20), target="attic")
    response = shown(root, "stream", name="lobby")
    assert (
        "“lobby” was published by alice and watched by bob, 2 times. At most 2 watched at once"
        in response.context["said"]
    )
    assert [(line.who, line.what, line.lasted) for line in response.context["listed"]] == [
        ("alice", "published", "10 min"),
        ("bob", "watched", "5 min"),
        ("bob", "watches", "53 min"),
    ]
    assert [(bar.kind, bar.name) for bar in response.context["chart"].bars] == [
        ("publish", "alice"),
        ("play", "bob"),
        ("play", "bob"),
    ]


def test_what_never_began_and_what_was_ordered_to_end_says_so(root, alice):
    failed = factories.make_lease(alice, "v-1", started_at=None, ended_at=timezone.now(), end_reason="FAILED")
    cut = factories.make_lease(alice, "v-2", opened_at=ago(minutes=3))
    Cut.objects.create(lease=cut, node_id=cut.node_id, session_id=cut.session_id, ordered_by="olga")
    first, second = shown(root, "stream", name=failed.target).context["listed"]
    assert first.why == "ordered to end by olga"
    assert (second.why, second.lasted) == ("never began: it failed (FAILED)", "")


LET_IN = [
    ("alice", "was let in to publish", "", "", "WCS has not said that it began"),
    ("alice", "was let in to watch", "", "", "WCS has not said that it began"),
]


def test_what_was_let_in_and_is_not_known_to_have_begun_is_not_told_as_running(root, alice):
    factories.make_lease(alice, "camera", "publish", opened_at=ago(minutes=3), started_at=None)
    factories.make_lease(alice, "v-1", opened_at=ago(minutes=2), started_at=None)
    response = shown(root, "stream", name="lobby")
    assert response.context["said"] == (
        "Nobody published or watched “lobby” in this time. Let in, and WCS has not said that it began: 2."
    )
    assert [
        (line.who, line.what, line.until, line.lasted, line.why) for line in response.context["listed"]
    ] == LET_IN  # fmt: skip
    assert response.context["chart"] is None
    factories.make_lease(alice, "v-2", opened_at=ago(minutes=1))
    response = shown(root, "stream", name="lobby")
    assert response.context["said"].startswith(
        "“lobby” was published by nobody and watched by alice. At most 1 watched at once"
    )
    assert "as far as is known: 1. Let in, and WCS has not said that it began: 2." in response.context["said"]
    assert len(response.context["chart"].bars) == 1
    assert "1 is drawn, 2 more are in the table." in text_of(response)


def test_nor_is_it_where_hooks_alone_tell_of_it(audrey, alice):
    who = {"username": "alice", "user": alice}
    for number, (method, action) in enumerate((("publishStream", "publish"), ("playStream", "play"))):
        ids = {"session_id": f"s-{number}", "media_session_id": f"m-{number}", **who}
        make_event(method, received_at=ago(minutes=3 - number), **ids, **{**ALLOWED, "action": action})
    response = shown(audrey, "stream", name="lobby")
    assert "Nobody published or watched “lobby” in this time. Let in" in response.context["said"]
    assert [
        (line.who, line.what, line.until, line.lasted, line.why) for line in response.context["listed"]
    ] == LET_IN  # fmt: skip
    story = text_of(shown(audrey, "session", node=factories.NODE_ID, session="s-0"))
    assert "It was let in, and WCS has not said that it began." in story


def test_how_often_somebody_published_stands_between_commas(root, alice):
    for minutes in (9, 5):
        ended_at = ago(minutes=minutes - 2)
        factories.make_lease(alice, f"p-{minutes}", "publish", opened_at=ago(minutes=minutes), ended_at=ended_at)
    said = shown(root, "stream", name="lobby").context["said"]
    assert "was published by alice, 2 times, and watched by nobody." in said


def test_only_the_chosen_time_is_told_and_what_runs_from_before(root, alice):
    factories.make_lease(alice, "over", opened_at=ago(days=3), ended_at=ago(days=2))
    factories.make_lease(alice, "last night", opened_at=ago(hours=30), ended_at=ago(hours=20))
    factories.make_lease(alice, "camera", "publish", opened_at=ago(days=40))
    factories.make_lease(alice, "later", opened_at=ago(minutes=10))

    def told(**query):
        return [line.since for line in shown(root, "stream", name="lobby", **query).context["listed"]]

    assert len(told()) == 3
    assert len(told(last="1h")) == 2
    assert len(told(last="7d")) == 4
    since, until = (f"{timezone.localtime(ago(hours=hours)):%Y-%m-%dT%H:%M}" for hours in (28, 22))
    assert len(told(last="", since=since, until=until)) == 2


def test_a_stream_that_is_found_by_its_source_runs_under_its_name(root, alice):
    factories.make_stream("door", source="rtsp://cam/1")
    factories.make_lease(alice, "camera", "publish", "door", thing="rtsp://cam/1", opened_at=ago(days=40))
    assert len(shown(root, "stream", name="door").context["listed"]) == 1


def test_without_leases_a_stream_is_told_from_the_hooks(audrey, lesson):
    seen = make_event("playHLS", received_at=ago(minutes=50), username="", media_session_id="v", **ALLOWED)
    AuditEvent.objects.filter(pk=seen.pk).update(last_received_at=ago(minutes=40))
    response = shown(audrey, "stream", name="lobby")
    assert [(line.who, line.what, line.lasted) for line in response.context["listed"]] == [
        ("alice", "published", "10 min"),
        ("a guest", "watched", "15 min"),
    ]


def test_long_ago_a_stream_is_told_from_the_hooks_for_everybody(root, alice):
    ids = {"username": "alice", "media_session_id": "m-9"}
    make_event("publishStream", received_at=ago(days=100), **ids, **{**ALLOWED, "action": "publish"})
    for minutes, status in ((0, "PUBLISHING"), (5, "UNPUBLISHED")):
        make_event("StreamStatusEvent", received_at=ago(days=100, minutes=-minutes), status=status, **ids, **NOTED)
    since, until = (f"{timezone.localtime(ago(days=days)):%Y-%m-%dT%H:%M}" for days in (101, 99))
    (line,) = shown(root, "stream", name="lobby", last="", since=since, until=until).context["listed"]
    assert (line.who, line.lasted) == ("alice", "5 min")


def test_refused_attempts_are_told_with_their_reason(root, alice):
    make_event()
    make_event(target="attic")
    make_event(received_at=ago(days=2))
    response = shown(root, "stream", name="lobby")
    text = text_of(response)
    assert "Refused attempts: 1, the newest first" in text
    assert "charlie asked to play “lobby”" in text
    assert "No rule allows it." in text


def test_of_many_it_says_how_many_are_drawn_and_listed(root, alice, monkeypatch):
    monkeypatch.setattr(stream_page, "VIEWERS_DRAWN", 2)
    monkeypatch.setattr(stream_page, "LISTED", 4)
    for number in range(6):
        factories.make_lease(alice, f"v-{number}", opened_at=ago(minutes=number))
    text = text_of(shown(root, "stream", name="lobby"))
    assert "2 are drawn, 4 more are in the table." in text
    assert "… and 2 more. A shorter time lists others; “All hooks about it” and “What of it runs now”, below," in text
    assert "There was more" not in text


def test_publishers_leave_room_for_viewers_in_the_list(root, alice, monkeypatch):
    monkeypatch.setattr(stream_page, "LISTED", 4)
    monkeypatch.setattr(stream_page, "PUBLISHERS_LISTED", 2)
    for number in range(3):
        factories.make_lease(alice, f"p-{number}", "publish")
        factories.make_lease(alice, f"v-{number}")
    listed = shown(root, "stream", name="lobby").context["listed"]
    assert [line.what for line in listed] == ["publishes", "publishes", "watches", "watches"]


def test_where_there_was_more_than_is_looked_at_it_says_so(root, alice, monkeypatch):
    monkeypatch.setattr(stream, "LOOKED_AT", 3)
    monkeypatch.setattr(stream_page, "LISTED", 2)
    for number in range(4):
        factories.make_lease(alice, f"v-{number}")
    text = text_of(shown(root, "stream", name="lobby"))
    assert "There was more than is looked at for one page" in text
    assert "… and at least 1 more." in text


def test_the_chart_says_the_same_for_those_who_cannot_see_it(root, lesson):
    html = shown(root, "stream", name="lobby").content.decode()
    assert '<title id="chart-title">Who published and watched lobby, From' in html
    assert 'role="img" aria-labelledby="chart-title"' in html
    assert "alice published, from" in html


def test_guests_are_told_apart_by_their_addresses(root, db):
    for number in (1, 2, 2):
        factories.make_lease(key=f"v-{Lease.objects.count()}", client_address=f"192.0.2.{number}")
    response = shown(root, "stream", name="lobby")
    assert "watched by 2 people, 3 times" in response.context["said"]
    assert {line.who for line in response.context["listed"]} == {"a guest from 192.0.2.1", "a guest from 192.0.2.2"}


def test_what_was_not_asked_for_again_says_so(root, alice):
    factories.make_lease(alice, opened_at=ago(minutes=20), runs_out_at=ago(minutes=15))
    (line,) = shown(root, "stream", name="lobby").context["listed"]
    assert (line.lasted, line.why) == ("5 min", "WCS did not ask for it again")


def test_nobody_is_said_not_to_have_watched_where_that_is_not_known(alice):
    make_event("playStream", received_at=ago(days=70), **ALLOWED)
    since, until = (f"{timezone.localtime(ago(days=days)):%Y-%m-%dT%H:%M}" for days in (71, 69))
    said = shown(with_permissions("view_lease"), "stream", name="lobby", last="", since=since, until=until).context[
        "said"
    ]
    assert "is known from the audit log alone" in said


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"name": ""}, "Say which stream."),
        ({"name": "rtsp://bob:secret@cam/1"}, "This may have a login or a token in it."),
        ({"name": "a", "last": "2y"}, "Select a valid choice."),
        ({"name": "a", "last": ""}, "Say from when on, or choose a time above."),
        ({"name": "a", "since": "yesterday"}, "Enter a valid date/time."),
        ({"name": "a", "since": "2026-11-02T00:00", "until": "2026-11-01T00:00"}, "must be earlier than"),
        ({"name": "a", "since": "2026-01-01T00:00", "until": "2026-11-01T00:00"}, "At most 31 days"),
    ],
)
def test_what_cannot_be_understood_is_said_at_its_field(root, query, problem):
    response = shown(root, "stream", **query)
    assert problem in str(response.context["form"].errors)
    assert "said" not in response.context


def test_nobody_watched_is_an_answer(root):
    assert "Nobody published or watched “attic” in this time." in text_of(shown(root, "stream", name="attic"))
    assert "Who published a stream and who watched it" in text_of(shown(root, "stream"))


# A call


@pytest.fixture
def call(alice):
    """Alice calls from one session, and bob is called in another, under the same call id."""
    bob = factories.make_user("bob")
    ids = {"call_id": "c-1", "received_at": ago(minutes=9)}
    own = {**ids, "username": "alice", "session_id": "s-1"}
    make_event(
        "call",
        action="call",
        **{**own, **ALLOWED, "target": "030 1234", "number": "+49301234"},
        told="callee +4999 instead of 030 1234",
    )
    factories.make_lease(alice, "c-1", "call", "030 1234", session_id="s-1")
    make_event(
        "OnCallEvent",
        action="receive-call",
        **{**ids, **ALLOWED},
        username="bob",
        user=bob,
        session_id="s-2",
        target="10007",
    )
    for minute, status in ((8, "ESTABLISHED"), (3, "FINISH")):
        make_event(
            "CallStatusEvent",
            **{**own, **NOTED, "received_at": ago(minutes=minute), "target": "030 1234"},
            status=status,
        )
    make_event("hold", action="hold", **{**own, **ALLOWED, "received_at": ago(minutes=6), "target": "030 1234"})
    make_event("sendDtmf", action="dtmf", **{**own, "received_at": ago(minutes=5), "target": "030 1234"})
    make_event("call", action="call", **{**own, **ALLOWED, "call_id": "c-2", "target": "another"})
    make_event("call", action="call", **{**own, **ALLOWED, "target": "elsewhere"}, node_id="other")


def test_a_call_tells_who_called_whom_what_was_dialled_and_how_it_ended(audrey, call):
    response = shown(audrey, "call", node=factories.NODE_ID, call="c-1")
    said = response.context["said"]
    assert "alice asked to call “030 1234”, that is +49301234," in said
    assert "WCS was told: callee +4999 instead of 030 1234." in said
    assert "It ran for 5 min" in said
    assert "FINISH" in said
    assert "bob was about to receive it, a call from “10007”" in said
    assert [row.outcome for row in response.context["rows"]] == [
        "allowed", "allowed", "noted", "allowed", "refused", "noted",
    ]  # fmt: skip
    text = text_of(response)
    assert "alice asked to hold a call with “030 1234”" in text
    assert "another" not in text
    assert "elsewhere" not in text
    assert "Both sides" in text


def test_a_call_leads_to_its_sessions_and_people(root, call):
    html = shown(root, "call", node=factories.NODE_ID, call="c-1").content.decode()
    for session in ("s-1", "s-2"):
        assert f"session={session}" in html
    for name in ("alice", "bob"):
        assert escape(address("user", name=name)) in html


def test_the_tab_of_a_call_says_which_it_is(audrey, call):
    asked = AuditEvent.objects.filter(action="call").first()
    title = shown(audrey, "call", node=asked.node_id, call=asked.call_id).context["title"]
    assert title == f"Call: {asked.username} calls “{asked.target}”"
    assert shown(audrey, "call", node=asked.node_id, call="none").context["title"] == "Call"


def test_a_refused_call_says_so(audrey, alice):
    make_event("call", action="call", call_id="c-1", target="0900 1", username="alice")
    assert (
        "alice was not allowed to call “0900 1”"
        in shown(audrey, "call", node=factories.NODE_ID, call="c-1").context["said"]
    )


def test_a_call_of_which_nothing_is_known(audrey):
    response = shown(audrey, "call", node="n", call="c")
    assert "That it began was not heard" in response.context["said"]
    assert "Nothing is recorded for this time." in text_of(response)


@pytest.mark.parametrize(("call", "leads"), [("c-1", True), ("c 1", True), ('c"1', False), ("c-1*", False)])
def test_a_call_leads_to_its_hooks_where_its_id_can_be_searched_for(audrey, call, leads):
    html = shown(audrey, "call", node="n", call=call).content.decode()
    assert ("All hooks of this call" in html) is leads


# A person


def answers(response):
    return [(answer.can, answer.sentence) for answer in response.context["answers"]]


@COMMITTED
def test_the_card_says_what_works_right_now_and_if_not_why_and_what_to_do(root, alice):
    factories.make_rule("connect")
    factories.make_rule("publish", user=alice, target=("exact", "alice-cam"))
    factories.make_stream("alice-cam", owner=alice)
    who = {"username": "alice", "user": alice}
    make_event("connect", action="connect", body=b'{"appKey":"defaultApp"}', **{**who, "target": "defaultApp"})
    make_event("call", action="call", body=b'{"callee":"0900 1"}', **{**who, "target": "0900 1"})
    make_event("playStream", body=b'{"name":"lobby"}', **who)
    response = shown(root, "user", name="alice")
    assert answers(response) == [
        (True, "alice can connect through app “defaultApp”."),
        (True, "alice can publish “alice-cam”."),
        (False, "alice cannot play “lobby”."),
        (False, "alice cannot play “alice-cam”."),
        (False, "alice cannot call “0900 1”."),
    ]
    text = text_of(response)
    assert "No. alice cannot play “lobby”. No rule allows it. What to do: Add a rule that allows it." in text.replace(
        " .", "."
    )
    assert "Allow user “alice” to publish “alice-cam”" in text
    assert "Alice Ames" in text


@COMMITTED
def test_what_they_tried_is_asked_under_its_own_circumstances(root, alice):
    factories.make_rule("play", user=alice, networks=["10.0.0.0/8"])
    who = {"username": "alice", "user": alice}
    for address_, target in (("10.1.2.3", "inside"), ("192.0.2.1", "outside")):
        session = f"/{address_}:1/n:8443"
        body = f'{{"name":"{target}","sessionId":"{session}","appKey":"defaultApp"}}'.encode()
        make_event(session_id=session, body=body, **{**who, "target": target})
    assert answers(shown(root, "user", name="alice"))[1:] == [
        (False, "alice cannot play “outside”."),
        (True, "alice can play “inside”."),
    ]


@COMMITTED
def test_what_is_asked_whatever_the_circumstances_names_them(root, alice):
    factories.make_stream("alice-cam", owner=alice)
    factories.make_rule("publish", user=alice, networks=["10.0.0.0/8"])
    assert (True, "alice can publish “alice-cam” but only from 10.0.0.0/8.") in answers(
        shown(root, "user", name="alice")
    )


@COMMITTED
def test_the_card_counts_limits_as_a_hook_would(root, alice):
    rule = factories.make_rule("play", user=alice, limit_per="user", at_once=1, per_day=5)
    factories.make_lease(alice, "m-1", rules=[rule])
    make_event(username="alice", user=alice, media_session_id="m-1", body=b'{"name":"lobby","mediaSessionId":"m-1"}')
    response = shown(root, "user", name="alice")
    (answer,) = [answer for answer in response.context["answers"] if "play" in answer.sentence]
    assert (answer.can, answer.why[:24]) == (False, "A rule would allow it, b")
    assert "1 of 1 run at once, 1 of 5 today" in answer.remark
    (limit,) = response.context["limits"]
    assert (limit.text, limit.remark) == (str(rule), "Used up: 1 of 1 run at once, 1 of 5 today.")


@COMMITTED
def test_of_somebody_switched_off_nothing_works_and_it_says_so(root, alice):
    factories.make_rule("connect")
    type(alice).objects.filter(pk=alice.pk).update(is_active=False)
    response = shown(root, "user", name="alice")
    assert "Locked out? Yes: switched off." in text_of(response)
    assert [(answer.can, answer.why) for answer in response.context["answers"]] == [
        (False, "The user is switched off.")
    ]


@COMMITTED
def test_refusals_come_first_each_once_with_what_to_do(root, alice):
    who = {"username": "alice", "user": alice}
    make_event(received_at=ago(minutes=1), **{**who, **ALLOWED})
    for minute in (2, 3):
        make_event(received_at=ago(minutes=minute), **who)
    make_event("connect", received_at=ago(minutes=4), reason=Reason.EXPIRED_TOKEN, **{**who, "action": "connect"})
    make_event("StreamKeepAliveEvent", received_at=ago(minutes=1), **{**who, **ALLOWED})
    make_event("StreamStatusEvent", received_at=ago(minutes=1), **{**who, **NOTED})
    make_event("", received_at=ago(minutes=1), **{**who, **ALLOWED, "reason": STAFF_ACTION})
    attempts = shown(root, "user", name="alice").context["attempts"]
    assert [(one.outcome, one.why) for one in attempts] == [
        ("refused", "No rule allows it."),
        ("refused", "The token or link has expired."),
        ("allowed", ""),
    ]
    assert "the last of 2 times" in attempts[0].clock
    assert attempts[1].what_to_do == "Let the token expire later, or issue a new one."


@COMMITTED
def test_a_refusal_is_there_however_much_went_well_since(root, alice, monkeypatch):
    monkeypatch.setattr(person, "READ", 35)
    who = {"username": "alice", "user": alice}
    make_event(received_at=ago(seconds=90), **who)
    make_event(received_at=ago(days=2), **{**who, "target": "long ago"})
    for number in range(40):
        target = f"lesson-{number}" if number < 25 else "lesson"
        make_event(received_at=ago(seconds=40 - number), **{**who, **ALLOWED, "target": target})
    attempts = shown(root, "user", name="alice").context["attempts"]
    assert len(attempts) == 20
    assert [one.text for one in attempts if one.outcome == "refused"] == [attempts[0].text]
    assert attempts[0].text == "alice asked to play “lobby”"
    assert "the last of 15 times" in attempts[1].clock
    assert "“lesson-24”" in attempts[2].text, "These are 20 different things."


@COMMITTED
def test_where_more_runs_than_is_shown_the_card_says_so_and_leads_to_all(root, alice):
    for number in range(20):
        make_session(alice, opened_at=ago(minutes=12))
        factories.make_lease(alice, key=f"m-{number}", opened_at=ago(minutes=12))
    response = shown(root, "user", name="alice")
    assert "ore than 20" not in text_of(response)
    make_session(alice, opened_at=ago(minutes=12))
    factories.make_lease(alice, key="m-20", opened_at=ago(minutes=12))
    for _ in range(21):
        make_session(alice, opened_at=ago(minutes=2), ended_at=timezone.now())
    response = shown(root, "user", name="alice")
    text = text_of(response)
    assert len(response.context["running"]) == 20
    assert "More than 20 run; these are the newest. All that runs of theirs" in text
    assert "Sessions now: more than 20, the newest first" in text
    links = re.findall(
        r'href="([^"]+)">(All that runs of theirs|All their sessions that run)<', response.content.decode()
    )
    for url, _ in links:
        assert len(root.get(unescape(url)).context["cl"].result_list) == 21
    assert len(links) == 2


@COMMITTED
def test_the_card_has_what_runs_tokens_and_sessions(root, alice):
    factories.make_token(alice, label="laptop", expires_at=ago(days=1))
    make_session(alice, opened_at=ago(minutes=12))
    factories.make_lease(alice, key="m-1", opened_at=ago(minutes=12))
    factories.make_lease(alice, key="m-2", target="attic", ended_at=timezone.now())
    text = text_of(shown(root, "user", name="alice"))
    assert "play “lobby”" in text
    assert "It runs, for 12 min by now." in text
    assert "attic" not in text
    assert "laptop expired on" in text
    assert "Sessions now" in text
    assert "for 12 min by now" in text


def test_the_beginning_of_a_name_asks_whom_it_means(root, alice):
    factories.make_user("alina")
    factories.make_user("bob")
    make_event(username="Alfred")  # known from signed tokens alone
    make_event(username="bob")
    response = shown(root, "user", name="al")
    assert [line.text for line in response.context["others"]] == ["Alfred", "alice", "alina"]
    assert "Attempts" not in text_of(response)
    assert response.context["others"][1].url == address("user", name="alice")
    assert "others" not in shown(root, "user", name="alice").context
    assert "others" not in shown(root, "user", name="Alfred").context  # nor where somebody of this name is known


def test_whom_the_beginning_of_a_name_means_is_told_as_far_as_one_may_see_them(audrey, alice):
    make_event(username="alf")
    assert [line.text for line in shown(audrey, "user", name="al").context["others"]] == ["alf"]
    of_users = with_permissions("view_user")
    assert [line.text for line in shown(of_users, "user", name="AL").context["others"]] == ["alice"]


def test_names_that_begin_so_are_found_through_the_index_of_names(alice):
    User.objects.bulk_create(User(username=f"user-{number}") for number in range(500))
    with CaptureQueriesContext(connection) as asked:
        assert people("al", users=True, log=False) == ["alice"]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_user")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {asked[0]['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "~>=~" in plan, plan  # a range of the index, and not all of it


@COMMITTED
def test_a_card_of_nobody_says_so(root):
    text = text_of(shown(root, "user", name="nobody"))
    assert "There is no user of that name." in text
    assert "They tried nothing in the last 30 days" in text
    assert "What somebody can do right now" in text_of(shown(root, "user"))


@COMMITTED
def test_a_deleted_user_of_the_same_name_is_somebody_else(root, alice):
    factories.make_rule("play", user=alice)
    make_event(username="alice", user=None, target="then")
    assert not [answer for answer in shown(root, "user", name="alice").context["answers"] if "then" in answer.sentence]


# Ending what runs


@COMMITTED
def test_ending_from_the_card_asks_first_and_leads_back(root, alice):
    lease = factories.make_lease(alice)
    card = shown(root, "user", name="alice")
    assert "End it: play “lobby”" in card.content.decode()
    back = address("user", name="alice")
    posted = {"action": "end_it", "_selected_action": lease.pk, "next": back}
    asked = root.post(reverse("admin:live_lease_changelist"), posted)
    assert "This would end now." in text_of(asked)
    assert "alice: play “lobby”" in text_of(asked)
    assert not Cut.objects.exists()
    done = root.post(reverse("admin:live_lease_changelist"), {**posted, "confirmed": "yes"})
    assert (done.status_code, done["Location"]) == (302, back)
    assert Cut.objects.get().ordered_by == "root"
    assert "End it: play" not in shown(root, "user", name="alice").content.decode()


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_ending_leads_to_no_other_site(root, alice, elsewhere):
    posted = {"action": "end_it", "_selected_action": factories.make_lease(alice).pk, "next": elsewhere}
    assert elsewhere not in root.post(reverse("admin:live_lease_changelist"), posted).content.decode()
    done = root.post(reverse("admin:live_lease_changelist"), {**posted, "confirmed": "yes"})
    assert urlsplit(done["Location"]).path == reverse("admin:live_lease_changelist")


def test_who_may_not_end_has_no_button(alice):
    factories.make_lease(alice)
    somebody = with_permissions("view_user", "view_lease")
    text = shown(somebody, "user", name="alice").content.decode()
    assert "play “lobby”" in text
    assert "End it" not in text


# Names that may be anything


def test_names_may_be_anything(root, alice):
    session = make_session(alice, session_id=ODD, node_id=ODD)
    event = make_event(
        "call", action="call", node_id=ODD, session_id=ODD, call_id=ODD, target=ODD, username="alice", **ALLOWED
    )  # fmt: skip
    factories.make_lease(alice, target=ODD, node_id=ODD, session_id=ODD)
    html = root.get(reverse("admin:audit_auditevent_change", args=[event.pk])).content.decode()
    for name in ("session", "call"):
        url = re.search(rf'href="([^"]*/stories/{name}/[^"]*)"', html)[1].replace("&amp;", "&")
        assert parse_qs(urlsplit(url).query)[name] == [ODD]
        assert len(root.get(url).context["rows"]) == 1
    assert len(shown(root, "stream", name=ODD).context["listed"]) == 1
    assert shown(root, "session", node=ODD, session=ODD).context["said"].startswith("alice connected")
    assert session.session_id == ODD


@pytest.mark.parametrize("name", ["session", "stream", "call", "user"])
@pytest.mark.parametrize("value", ["\0", "a\0b", "x" * 5000, "%", "'", "\\", "\ufffd"])
def test_no_page_trips_over_what_stands_in_its_address(root, name, value):
    names = dict.fromkeys(("node", "session", "call", "name", "at", "after", "since", "until"), value)
    assert root.get(reverse(f"story_{name}"), names).status_code == 200


@pytest.mark.parametrize(
    "at",
    [
        *("2026-13-45T99:99", "now", "0001-01-01T00:00:00", "9999-12-31T23:59:59", "2026-11-26"),
        *("2026-11-26T00:00:00+23:59", "2026-11-26T00:00:00-16:00", "0001-01-01T00:00:00+23:59"),
    ],
)
def test_a_moment_that_is_none_is_none(root, at):
    for name in ("session", "call"):
        assert shown(root, name, node="n", session="s", call="c", at=at, after=at)


# Who may see what


@pytest.mark.parametrize("name", ["session", "stream", "call", "user"])
def test_who_may_see_nothing_of_it_gets_no_page(name, db):
    somebody = with_permissions("view_node")
    assert somebody.get(address(name, name="lobby")).status_code == 403
    assert browser_of(factories.make_user("client")).get(address(name)).status_code == 302


def test_who_may_not_see_the_log_is_told_nothing_of_it(lesson):
    somebody = with_permissions("view_session", "view_lease", "view_user")
    make_event(username="alice")
    session = shown(somebody, "session", node=lesson.node_id, session="s-1")
    assert "alice connected through app" in session.context["said"]
    assert session.context["rows"] == []
    stream = text_of(shown(somebody, "stream", name="lobby"))
    assert "alice published" in stream
    assert "Refused" not in stream
    card = shown(somebody, "user", name="alice")
    assert card.context["attempts"] == []
    assert "answers" not in card.context
    for response in (session, card):
        assert "shown to those who may see the audit log" in text_of(response)
    assert somebody.get(address("call", node="n", call="c")).status_code == 403


def test_who_may_see_the_log_alone_is_told_nothing_else(audrey, lesson):
    factories.make_token(lesson.user, label="laptop")
    factories.make_lease(lesson.user, "m-5", target="attic")
    make_session(lesson.user, client_address="192.0.2.7")
    session = shown(audrey, "session", node=lesson.node_id, session="s-1")
    assert session.context["title"] == "Session"
    assert re.fullmatch("alice asked to connect through app “defaultApp”, at [-0-9: ]+[.]", session.context["said"])
    assert len(session.context["rows"]) == 8
    card = text_of(shown(audrey, "user", name="alice"))
    for hidden in ("laptop", "192.0.2.7", "Running", "Right now", "Alice Ames", "Locked out"):
        assert hidden not in card
    assert "alice asked to play “attic”" in card


def test_sources_and_streams_of_the_list_are_for_those_who_may_see_them(alice):
    factories.make_stream("alice-cam", owner=alice, source="rtsp://cam/1")
    somebody = with_permissions("view_user", "view_streampermission", "view_auditevent")
    assert "alice-cam" not in text_of(shown(somebody, "user", name="alice"))
    assert "Stream “alice-cam” in the list" not in text_of(shown(somebody, "stream", name="alice-cam"))


# Ways there


@COMMITTED
def test_stories_are_a_click_away_from_what_they_are_about(root, lesson):
    event = make_event(username="alice", session_id="s-1", user=lesson.user)
    lease = factories.make_lease(lesson.user, "c-7", "call", "0900", session_id="s-1")
    stream = factories.make_stream("lobby")
    pages = {
        reverse("admin:audit_auditevent_change", args=[event.pk]): ("session", "stream", "user"),
        reverse("admin:live_lease_change", args=[lease.pk]): ("session", "call", "user"),
        reverse("admin:live_lease_changelist"): ("user",),
        reverse("admin:connections_session_change", args=[lesson.pk]): ("session", "user"),
        reverse("admin:connections_session_changelist"): ("session",),
        reverse("admin:accounts_user_change", args=[lesson.user_id]): ("user",),
        reverse("admin:accounts_user_changelist"): ("user",),
        reverse("admin:streams_stream_change", args=[stream.pk]): ("stream",),
        reverse("ask", query={"q": "alice lobby"}): ("stream", "user"),
    }
    for url, names in pages.items():
        html = root.get(url).content.decode()
        for name in names:
            link = re.search(rf'href="({reverse(f"story_{name}")}\?[^"]*)"', html)
            assert link, (url, name)
            assert root.get(link[1].replace("&amp;", "&")).status_code == 200


# What it costs


def _queries(browser, url):
    browser.get(url)
    with CaptureQueriesContext(connection) as log:
        assert browser.get(url).status_code == 200
    return log


def _much(user, number):
    for _ in range(number):
        key = f"m-{Lease.objects.count()}"
        event = make_event(
            "publishStream",
            media_session_id=key,
            session_id="s-1",
            username="alice",
            user=user,
            **{**ALLOWED, "action": "publish"},
        )
        make_event("call", action="call", call_id="c-1", session_id=key, username="alice", user=user, target=key)
        make_event(session_id="s-1", username="alice", user=user, target="lobby")
        factories.make_lease(user, key, "publish", session_id="s-1", record_id=event.pk)
        factories.make_token(user, key, label=key)
        make_session(user)
        factories.make_rule("play", user=user, target=("exact", key), limit_per="user", at_once=3)


@COMMITTED
@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("session", {"node": factories.NODE_ID, "session": "s-1"}),
        ("stream", {"name": "lobby"}),
        ("call", {"node": factories.NODE_ID, "call": "c-1"}),
        ("user", {"name": "alice"}),
    ],
)
def test_a_story_costs_the_same_queries_however_long(root, alice, name, query):
    _much(alice, 4)
    few = _queries(root, address(name, **query))
    _much(alice, 25)
    many = _queries(root, address(name, **query))
    assert len(many) == len(few), "\n".join(row["sql"][:200] for row in many)
    assert len(many) <= 40
    for row in many:
        if '"audit_auditevent"' in row["sql"] and "COUNT(" not in row["sql"]:
            assert "LIMIT" in row["sql"] or '"id" IN (' in row["sql"], row["sql"]
            assert '"received_at" >=' in row["sql"], row["sql"]


def test_sessions_of_the_same_user_do_not_change_what_a_story_is_of(root, alice):
    first, second = (make_session(alice, session_id=f"s-{number}") for number in (1, 2))
    make_event(session_id="s-1", target="one")
    make_event(session_id="s-2", target="two")
    Session.objects.update(opened_at=ago(minutes=20))
    assert "two" not in text_of(shown(root, "session", node=first.node_id, session="s-1"))
    assert (
        "one" not in text_of(shown(root, "session", node=second.node_id, session="s-2")).partition("What happened")[2]
    )


# In a browser


@pytest.mark.browser
@COMMITTED
def test_a_refusal_is_explained_on_the_phone_and_what_runs_is_ended(desk, lesson):
    make_event(username="alice", user=lesson.user, body=b'{"name":"lobby","appKey":"defaultApp"}')
    factories.make_lease(lesson.user, "m-7", "publish", "attic", session_id="s-1")
    desk.goto("/admin/accounts/user/")
    desk.get_by_role("link", name="Help desk: alice").click()
    answer = desk.get_by_role("region", name="Right now")
    expect(answer).to_contain_text("No. alice cannot play “lobby”. No rule allows it.")
    expect(desk.get_by_role("region", name="The last 20 attempts, refusals first")).to_contain_text("Refused.")
    desk.get_by_role("button", name="End it: publish “attic”").press("Enter")
    expect(desk.get_by_text("This would end now.")).to_be_visible()
    desk.get_by_role("link", name="Leave it running").click()
    assert not Cut.objects.exists()
    desk.get_by_role("button", name="End it: publish “attic”").click()
    desk.get_by_role("button", name="End it", exact=True).click()
    expect(desk.get_by_text("Ordered to end: 1.")).to_be_visible()
    expect(desk.get_by_role("heading", name="Help desk: alice")).to_be_visible()
    assert Cut.objects.get().ordered_by == "root"


@pytest.mark.browser
@COMMITTED
def test_the_story_of_a_stream_leads_by_keyboard_from_a_bar_to_its_session_and_fits_a_phone(desk, lesson):
    desk.set_viewport_size({"width": 375, "height": 740})
    for url in (
        address("stream", name="lobby"),
        address("session", node=lesson.node_id, session="s-1"),
        address("user", name="alice"),
        address("user"),
    ):
        desk.goto(url)
        assert desk.evaluate("document.documentElement.scrollWidth") <= 375, url
    desk.goto(address("stream", name="lobby"))
    chart = desk.get_by_role("region", name="Chart; the table below says the same")
    chart.focus()
    desk.keyboard.press("Tab")
    desk.keyboard.press("Enter")
    expect(desk.get_by_role("heading", name="What happened, in order")).to_be_visible()
    expect(desk.locator(".wcsgate-timeline > li")).to_have_count(8)
