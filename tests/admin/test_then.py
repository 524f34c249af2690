"""Who could? What could they do? Asked of a moment that has gone by, under the users and rules of then."""

from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from apps.access.models import AccessRevision, Rule, Schedule
from apps.accounts.models import User
from apps.audit.asking.past import AT_ONCE, past
from apps.audit.models import AuditEvent, ChangeRecord
from apps.audit.moving.changes import move_changes
from apps.streams.models import Stream
from tests import factories
from tests.admin.conftest import make_event
from tests.admin.test_who_can import PLAY, WHAT, WHO, listed, rows_of, said, what, who

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def then():
    """A moment at which Alice, and those who teach, could play the lobby. Everything is otherwise now."""
    ChangeRecord.objects.all().delete()
    factories.make_app(guests=True)
    alice = factories.make_user("alice")
    factories.make_user("tom", groups=["teachers"])
    factories.make_user("zoe", is_active=False)
    lobby = factories.make_stream("lobby")
    factories.make_rule("play", user=alice, stream=lobby)
    factories.make_rule("play", user=User.objects.get(username="zoe"), stream=lobby)
    factories.make_rule("play", group="teachers", stream=lobby)
    moment = timezone.now()
    Rule.objects.all().delete()
    Group.objects.filter(name="teachers").update(name="pupils")
    Stream.objects.update(name="hall")
    User.objects.filter(is_staff=False).delete()
    move_changes()
    factories.make_user("dora")
    factories.make_rule("play")
    return {"at": timezone.localtime(moment).isoformat()[:26], "rules": "then"}


def test_who_could(root, then):
    response = who(root, **then)
    text = response.content.decode()
    assert response.context["question"] == "Who could play “lobby”?"
    assert listed(response) == {"alice": "can", "tom": "can"}
    assert "Allow group “teachers” to play stream “lobby”" in text
    assert f"had revision {response.context['revision']}. How numbers are dialled is as today." in text
    assert response.context["revision"] < AccessRevision.objects.get().revision
    assert listed(who(root, show="refused", **then)) == {"zoe": "cannot: the user is switched off"}
    assert response.context["guests"] == "cannot: no rule allows it"


def test_now_is_otherwise_and_todays_rules_may_be_asked_of_then(root, then):
    assert listed(who(root)).keys() == {"dora", "root"}
    response = who(root, at=then["at"])
    assert response.context["question"] == "Who can play “lobby”?"
    assert listed(response).keys() == {"dora", "root"}


ALICE = {"who": "user", "name": "alice"}


@pytest.fixture
def others(monkeypatch):
    """As many look at the past as may, until they are closed."""
    monkeypatch.setattr("apps.audit.asking.past._PATIENCE", 0.05)
    with ExitStack() as looking:
        for _ in range(AT_ONCE):
            looking.enter_context(past())
        yield looking


def test_only_so_many_look_at_the_past_at_once_and_the_others_are_told(root, then, others):
    assert who(root).status_code == 200
    before = connections()
    asked = [(WHO, PLAY), (f"{WHO}file/", PLAY), (WHAT, ALICE), (f"{WHAT}file/", ALICE)]
    pages = [as_of(root, make_event()), *(root.get(address, {**question, **then}) for address, question in asked)]
    assert [page.status_code for page in pages] == [503] * 5
    for page in pages:
        assert "answered just now: Others are looking at what was then. Ask again" in page.content.decode()
    assert connections() == before
    others.close()
    assert listed(who(root, **then)) == {"alice": "can", "tom": "can"}


def test_what_was_not_recorded_keeps_nobody_from_looking(root, then):
    for _ in range(AT_ONCE + 1):
        response = root.get(WHO, {**PLAY, "at": "2001-01-01T00:00", "rules": "then"})
        assert "was not recorded" in response.content.decode()


def connections():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return cursor.fetchone()[0]


def test_pages_go_on_in_the_past(root, then, monkeypatch):
    monkeypatch.setattr("apps.access.who_can_page.PAGE", 1)
    first = who(root, **then)
    assert list(listed(first)) == ["alice"]
    second = root.get(WHO + first.context["next_url"])
    assert list(listed(second)) == ["tom"]
    assert not second.context["next_url"]


def test_the_whole_answer_as_a_file(root, then):
    rows = rows_of(root.get(f"{WHO}file/", {**PLAY, **then}))
    assert rows[0] == ["Question", "Who could play “lobby”?"]
    assert [row[0] for row in rows[6:]] == ["guests", "user alice", "user tom", "user zoe"]
    assert rows[7][3] == "Allow user “alice” to play stream “lobby”"
    rows = rows_of(root.get(f"{WHAT}file/", {"who": "user", "name": "alice", **then}))
    assert ["play “lobby”", "can", "allowed-by-rule", "Allow user “alice” to play stream “lobby”"] in rows


def test_what_they_could_do(root, then):
    response = what(root, "alice", **then)
    assert response.context["question"] == "What could alice do?"
    assert said(response, "Streams they can publish or play") == {"play “lobby”": "can"}
    assert [line.text for line in response.context["sections"][0].lines] == [
        "Allow user “alice” to play stream “lobby”"
    ]
    group = what(root, "teachers", who="group", **then)
    assert said(group, "Streams they can publish or play") == {"play “lobby”": "can"}
    assert "was switched off: nothing was allowed" in what(root, "zoe", **then).content.decode()


@pytest.mark.parametrize(
    ("name", "kind", "fault"),
    [
        ("dora", "user", "There was no user “dora” at that moment."),
        ("pupils", "group", "There was no group “pupils” at that moment."),
    ],
)
def test_who_was_not_there_yet_is_said_so(root, then, name, kind, fault):
    response = root.get(WHAT, {"who": kind, "name": name, **then})
    assert response.context["form"].errors["name"] == [fault]
    assert root.get(f"{WHAT}file/", {"who": kind, "name": name, **then}).status_code == 400


@pytest.mark.parametrize(
    ("at", "fault"),
    [
        ("", "Say at which moment."),
        ("2100-01-01T00:00", "nobody knows what the rules will be"),
        ("2001-01-01T00:00", "was not recorded"),
    ],
)
@pytest.mark.parametrize("page", [WHO, WHAT])
def test_a_moment_that_nothing_is_known_of_is_said_at_its_field(root, then, page, at, fault):
    query = {**PLAY, "who": "guest", "at": at, "rules": "then"}
    response = root.get(page, query)
    assert fault in " ".join(response.context["form"].errors["at"])
    assert "question" not in response.context
    assert root.get(f"{page}file/", query).status_code == 400


def test_schedules_are_those_of_then_at_the_moment_of_then(root, then):
    night = Schedule.objects.create(name="night", time_zone="UTC", windows=["daily 00:00-24:00"])
    factories.make_rule("play", schedule=night, user=User.objects.get(username="dora"), effect="deny")
    at = timezone.localtime(timezone.now() + timedelta(milliseconds=1)).isoformat()[:26]
    Schedule.objects.update(windows=["Mon 00:00-00:01"], holidays=[timezone.now().date()])
    assert "dora" not in listed(who(root, at=at, rules="then"))
    assert "dora" in listed(who(root))


def test_the_past_is_for_who_may_ask(olga, audrey, then):
    assert olga.get(WHO, {**PLAY, **then}).status_code == 200
    assert audrey.get(WHO, {**PLAY, **then}).status_code == 403


# As of its revision: on a page of each event


@pytest.fixture
def event():
    """A refused attempt of Charlie, under rules that are others now."""
    ChangeRecord.objects.all().delete()
    factories.make_app()
    charlie = factories.make_user("charlie")
    rule = factories.make_rule("play", effect="deny", user=charlie, target=("exact", "lobby"))
    revision = AccessRevision.objects.get().revision
    made = make_event(
        method="playHLS",
        received_at=timezone.now(),
        user=charlie,
        reason="denied-by-rule",
        rule_ids=[rule.pk],
        revision=revision,
        body=b'{"nodeId":"-","sessionId":"-","appKey":"defaultApp","name":"lobby"}',
    )
    rule.delete()
    return made


def as_of(browser, event):
    return browser.get(reverse("admin:audit_auditevent_as_of", args=[event.pk]))


def test_an_event_is_the_same_again_with_its_rules_as_they_were(root, event):
    page = root.get(reverse("admin:audit_auditevent_change", args=[event.pk])).content.decode()
    assert "Decide it again as of its revision" in page
    response = as_of(root, event)
    assert response.context["verdict"] == f"As of revision {event.revision} it would be the same answer."
    assert [line.text for line in response.context["sections"][0].lines] == [
        "Deny user “charlie” to play “lobby”",
    ]


def test_a_difference_is_damage(root, event):
    AuditEvent.objects.filter(pk=event.pk).update(effect="allow", reason="allowed-by-rule")
    text = as_of(root, event).content.decode()
    assert "DIFFERENT: it was allowed (allowed-by-rule)" in text
    assert "it would be refused (denied-by-rule)" in text
    assert "is damaged" in text


def test_what_cannot_be_decided_again_says_why(root, event):
    AuditEvent.objects.filter(pk=event.pk).update(while_away=True)
    assert "because it was answered while the database was away" in as_of(root, event).content.decode()
    AuditEvent.objects.filter(pk=event.pk).update(while_away=False, received_at=timezone.now() - timedelta(days=9999))
    assert "because it is from before changes were recorded" in as_of(root, event).content.decode()


def test_as_of_is_for_who_may_see_the_event_and_rules(root, audrey, olga, event):
    assert as_of(audrey, event).status_code == 403
    assert (
        "as of its revision"
        not in audrey.get(reverse("admin:audit_auditevent_change", args=[event.pk])).content.decode()
    )
    assert root.get("/admin/audit/auditevent/nothing/as-of/").status_code == 302
    move_changes()
    change = AuditEvent.objects.filter(reason="staff-action").first()
    assert as_of(root, change).status_code == 403


# In the search box


def test_a_question_with_a_date_is_asked_of_then(root, then):
    factories.make_stream("lobby")
    response = root.get("/admin/ask/", {"q": f"who could watch lobby on {timezone.localtime():%Y-%m-%d 00:00}?"})
    section = response.context["sections"][0]
    assert section.title.startswith(f"At {timezone.localtime():%Y-%m-%d} 00:00")
    line = next(line for line in section.lines if line.text == "Who could play “lobby”?")
    assert f"at={timezone.localtime():%Y-%m-%d}T00%3A00&rules=then" in line.url


def test_a_moment_is_asked_of_to_the_second_as_the_audit_log_shows_it(root, then):
    factories.make_stream("lobby")
    moment = timezone.localtime() - timedelta(days=1)
    typed = f"{moment:%Y-%m-%d %H:%M}:30"
    section = root.get("/admin/ask/", {"q": f"who could watch lobby on {typed}?"}).context["sections"][0]
    assert section.title.startswith(f"At {typed}")
    line = next(line for line in section.lines if line.text == "Who could play “lobby”?")
    assert f"at={moment:%Y-%m-%dT%H}%3A{moment:%M}%3A30&rules=then" in line.url
    assert not [line.text for line in section.lines if line.text.startswith("Who could call")], "seconds are no number"


def test_the_day_may_be_in_words(root, then):
    factories.make_stream("lobby")
    section = root.get("/admin/ask/", {"q": "who could watch lobby on 3 March 2026 14:00"}).context["sections"][0]
    assert section.title.startswith("At 2026-03-03 14:00")
    assert [line.text for line in section.lines] == ["Who could publish “lobby”?", "Who could play “lobby”?"]
    assert "at=2026-03-03T14%3A00&rules=then" in section.lines[1].url


@pytest.mark.parametrize("date", ["2100-01-01", "2026-13-01 10:00", "2026-03-03 10:00:61", "2026-03-03x"])
def test_what_is_no_moment_gone_by_is_none(root, then, date):
    factories.make_stream("lobby")
    titles = [section.title for section in root.get("/admin/ask/", {"q": f"lobby {date}"}).context["sections"]]
    assert not [title for title in titles if title.startswith("At ")]
