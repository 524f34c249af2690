"""Who can? and What can they do?: complete, linked, paged, exported, and for those who may see it."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from apps.access import then, what_can_page, who_can_page
from apps.access.models import AccessRevision, NumberClass, Schedule
from apps.access.who_can_file import file_response
from apps.accounts.csv_lines import defused
from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.database.connection import Unavailable
from tests import factories
from tests.access.test_explain import traces
from tests.admin.conftest import browser_of, make_role

pytestmark = pytest.mark.django_db(transaction=True)

WHO, WHAT = "/admin/access/who-can/", "/admin/access/what-can/"
PLAY = {"action": "play", "target": "lobby"}
OFFICE = {"time_zone": "UTC", "windows": ["daily 00:00-24:00"]}


def role_of(*codenames):
    make_role("some", *codenames)
    return browser_of(factories.make_user("some", is_staff=True, groups=["some"]))


def who(browser, **query):
    response = browser.get(WHO, {**PLAY, **query})
    assert response.status_code == 200
    assert "question" in response.context, response.context["form"].errors
    return response


def listed(response):
    """Names and answers of the users shown."""
    return {name: verdict for name, _, verdict, _ in response.context["people"]}


def what(browser, name="alice", **query):
    response = browser.get(WHAT, {"who": "user", "name": name, **query})
    assert response.status_code == 200
    assert "question" in response.context, response.context["form"].errors
    return response


def said(response, title):
    """What is said in one of the lists: the thing and the answer."""
    return {thing: verdict for thing, verdict, _ in dict(response.context["lists"])[title]}


def rows_of(response):
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode())))


# Who may ask


@pytest.mark.parametrize("page", [WHO, WHAT, f"{WHO}file/", f"{WHAT}file/"])
def test_they_are_for_staff_who_may_see_rules(client, olga, audrey, page):
    query = {**PLAY, "who": "guest"}
    assert olga.get(page, query).status_code == 200
    assert audrey.get(page, query).status_code == 403
    assert client.get(page, query).status_code == 302


@pytest.mark.parametrize("page", [WHO, WHAT])
def test_they_are_in_the_sidebar_of_those_who_may(olga, audrey, page):
    assert page in olga.get(reverse("admin:index")).content.decode()
    assert page not in audrey.get(reverse("admin:index")).content.decode()


def test_names_of_users_are_for_those_who_may_see_users():
    browser = role_of("view_streampermission")
    factories.make_user("alice")
    rule = factories.make_rule("play")
    response = who(browser)
    text = response.content.decode()
    assert listed(response) == {}
    assert str(rule) in text
    assert reverse("admin:access_streampermission_change", args=[rule.pk]) in text
    assert "Names of users are shown to staff who may see users." in text
    assert "alice" not in text
    assert browser.get(f"{WHO}file/", PLAY).status_code == 403
    asked = browser.get(WHAT, {"who": "user", "name": "alice"})
    assert "who" in asked.context["form"].errors
    assert browser.get(f"{WHAT}file/", {"who": "user", "name": "alice"}).status_code == 400


def test_links_lead_only_where_one_may_go():
    browser = role_of("view_callpermission")
    rule = factories.make_rule("play")
    assert reverse("admin:access_streampermission_change", args=[rule.pk]) not in who(browser).content.decode()


def test_rules_are_read_by_those_who_may_see_one_of_their_lists():
    factories.make_user("alice")
    play, mixed = factories.make_rule("play"), factories.make_rule("play", "call")
    browser = role_of("view_callpermission", "view_user")
    for response in (who(browser), what(browser)):
        text = response.content.decode()
        assert str(play) not in text
        assert "A rule of a list that you may not see." in text
        assert str(mixed) in text
    for page, query in ((WHO, PLAY), (WHAT, {"who": "user", "name": "alice"})):
        text = b"".join(browser.get(f"{page}file/", query).streaming_content).decode()
        assert str(play) not in text
        assert str(mixed) in text


# Who can?


@pytest.mark.parametrize(
    ("query", "field", "fault"),
    [
        ({"target": ""}, "target", "Say which stream or number it is about."),
        ({"action": "fly"}, "action", "Select a valid choice."),
        ({"at": "soon"}, "at", "Enter a valid date/time."),
        ({"target": "rtsp://u:PW@cam/1"}, "target", "This may have a login or a token in it."),
        ({"target": "a\0b"}, "target", "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_is_said_at_its_field(root, query, field, fault):
    response = root.get(WHO, {**PLAY, **query})
    assert fault in " ".join(response.context["form"].errors[field])
    assert "question" not in response.context
    assert root.get(f"{WHO}file/", {**PLAY, **query}).status_code == 400


def test_everybody_who_can_is_listed_with_the_rules(root):
    alice = factories.make_user("alice", groups=["teachers"])
    factories.make_user("bob")
    factories.make_user("lobby")
    factories.make_user("off", is_active=False, groups=["teachers"])
    banned = factories.make_user("zoe", groups=["teachers"])
    teachers = factories.make_rule("play", "publish", group="teachers", target=("prefix", "lob"))
    factories.make_rule("play", target=("glob", "{user}"))
    ban = factories.make_rule("play", effect="deny", user=banned)
    response = who(root)
    text = response.content.decode()
    assert listed(response) == {"alice": "can", "lobby": "can"}
    assert reverse("admin:accounts_user_change", args=[alice.pk]) in text
    assert reverse("admin:access_streampermission_change", args=[teachers.pk]) in text
    refused = who(root, show="refused")
    assert listed(refused) == {"off": "cannot: the user is switched off", "zoe": "cannot: a rule denies it"}
    rules = {name: [line.text for line in lines] for name, _, _, lines in refused.context["people"]}
    assert rules == {"off": [str(teachers)], "zoe": [str(ban), str(teachers)]}


def test_circumstances_and_limits_are_shown_beside(root):
    hours = Schedule.objects.create(name="Office hours", **OFFICE)
    for name in ("alice", "bob", "charlie", "dora"):
        factories.make_user(name)
    users = {user.username: user for user in User.objects.all()}
    factories.make_rule("play", user=users["alice"], schedule=hours)
    factories.make_rule("play", user=users["bob"], networks=["10.0.0.0/8"], limit_per="user", at_once=2)
    factories.make_rule("play", user=users["charlie"])
    factories.make_rule("play", user=users["charlie"], nodes=["n-1"])
    factories.make_rule("play", user=users["dora"])
    factories.make_rule("play", user=users["dora"], effect="deny", origins=["*.example.org"])
    assert listed(who(root)) == {
        "alice": "can, but only during “Office hours”",
        "bob": "can, but only from 10.0.0.0/8, at most 2 at once for each user",
        "charlie": "can",
        "dora": "can, unless on pages of *.example.org",
    }
    sections = {section.title: section.lines for section in who(root).context["sections"]}
    remarks = [line.remark for line in sections["Allowed by these rules"]]
    assert "Only during “Office hours”." in remarks
    assert "Only from 10.0.0.0/8. At most 2 at once for each user." in remarks


def test_what_decides_nothing_just_now_is_shown_apart(root):
    factories.make_user("alice")
    tomorrow = timezone.localtime() + timedelta(days=1)
    rule = factories.make_rule("play", starts_at=tomorrow)
    factories.make_rule("play", ends_at=timezone.now() - timedelta(days=1))
    response = who(root)
    sections = {section.title: [line.text for line in section.lines] for section in response.context["sections"]}
    assert listed(response) == {}
    assert sections == {
        "Allowed by these rules": [],
        "These rules fit, but decide nothing at this moment": [str(rule)],
    }
    later = who(root, at=f"{tomorrow + timedelta(hours=1):%Y-%m-%dT%H:%M}")
    assert set(listed(later)) == {"alice", "root"}


def test_guests_are_apart(root):
    factories.make_rule("play", guests=True)
    assert who(root).context["guests"].startswith("cannot: guests are not welcome")
    factories.make_app("open", guests=True)
    response = who(root)
    assert response.context["guests"] == "can"
    assert listed(response) == {}


def test_a_number_is_said_to_be_what_it_is(root):
    NumberClass.objects.create(name="emergency", prefixes=["112"], whole=True, protected=True)
    NumberClass.objects.create(name="premium", prefixes=["+49900"])
    factories.make_rule("call", effect="deny")
    premium = who(root, action="call", target="tel:+49-900-123")
    assert premium.context["about"] == ["Read as +49900123, a number of class “premium”."]
    assert listed(premium) == {}
    emergency = who(root, action="call", target="112")
    assert emergency.context["about"][1] == "No rule can refuse this: everybody can."
    assert listed(emergency) == {"root": "can"}


def test_rules_about_a_stream_are_about_its_source(root):
    factories.make_stream("lobby", source="rtsp://cam/1")
    factories.make_rule("play", target=("exact", "lobby"))
    response = who(root, target="rtsp://cam/1")
    assert "It is the source of “lobby”" in response.context["about"][0]
    assert listed(response) == {"root": "can"}


def test_of_which_streams_it_is_the_source_is_told_to_those_who_may_see_streams():
    factories.make_stream("lobby", source="rtsp://cam/1")
    factories.make_rule("play")
    response = who(role_of("view_streampermission"), target="rtsp://cam/1")
    assert response.context["about"] == []
    assert "lobby" not in response.content.decode()


def test_links_let_in_whoever_holds_them(root):
    link = factories.make_link("lobby", "press")
    factories.make_link("door", "other")
    sections = {section.title: section.lines for section in who(root).context["sections"]}
    (line,) = sections["Whoever holds one of these links"]
    assert (line.text, line.remark) == ("press", "Whoever holds it can.")
    assert line.url == reverse("admin:streams_streamlink_change", args=[link.pk])
    assert ["link press", "can", "allowed-by-link", ""] in rows_of(root.get(f"{WHO}file/", PLAY))
    browser = role_of("view_streampermission", "view_user")
    sections = {section.title: section.lines for section in who(browser).context["sections"]}
    (line,) = sections["Whoever holds one of these links"]
    assert (line.text, line.url) == ("There are links to it: 1.", "")
    assert "press" not in str(rows_of(browser.get(f"{WHO}file/", PLAY)))


def test_pages_follow_by_name_and_cost_the_same(root, monkeypatch):
    monkeypatch.setattr(who_can_page, "PAGE", 20)
    User.objects.bulk_create(User(username=f"user-{number:03}") for number in range(100))
    factories.make_rule("play")
    who(root)
    seen, url = [], f"{WHO}?action=play&target=lobby"
    costs = set()
    while url:
        with CaptureQueriesContext(connection) as queries:
            response = root.get(url)
        costs.add(len(queries))
        assert not [query["sql"] for query in queries if "COUNT(" in query["sql"]]
        seen += listed(response)
        url = response.context["next_url"] and f"{WHO}{response.context['next_url']}"
    assert seen == sorted(User.objects.values_list("username", flat=True))
    assert max(costs) - min(costs) <= 1
    assert max(costs) < 15


def test_more_rules_than_fit_are_counted(root):
    for number in range(25):
        factories.make_rule("play", user=factories.make_user(f"user-{number}"))
    lines = who(root).context["sections"][0].lines
    assert len(lines) == 21
    assert lines[-1].text == "... and 5 more."


@pytest.mark.parametrize("page", [WHO, WHAT])
def test_a_database_that_is_away_is_a_sentence(root, monkeypatch, page):
    def away(_):
        raise Unavailable("The rules could not be read in time.")

    monkeypatch.setattr(then, "at_last_revision", away)
    for address in (page, f"{page}file/"):
        response = root.get(address, {**PLAY, "who": "guest"})
        assert response.status_code == 503
        assert "This cannot be answered just now: The rules could not be read in time." in response.content.decode()


def test_asking_leaves_no_trace_and_markup_stays_text(root):
    factories.make_user("<b>x")
    factories.make_rule("play")
    before = traces()
    assert "<script>alert" not in who(root, target="<script>alert(1)</script>").content.decode()
    assert "<b>x" not in what(root, "<b>x").content.decode()
    rows_of(root.get(f"{WHO}file/", PLAY))
    assert traces() == before
    assert not AuditEvent.objects.exists()


# The file


def test_the_file_says_what_was_asked_and_has_everybody(root):
    factories.make_user("=cmd")
    factories.make_user("zoe", is_active=False)
    factories.make_rule("play")
    rows = rows_of(root.get(f"{WHO}file/", {**PLAY, "target": "+4930"}))
    heading = dict(row for row in rows[:4])
    assert heading["Question"] == "Who can play “+4930”?"
    assert heading["Revision"] == str(AccessRevision.objects.get().revision)
    assert heading["Asked about"].startswith(f"{timezone.localtime():%Y-%m-%d}")
    assert rows[4:6] == [[], ["who", "verdict", "reason", "rules"]]
    assert [row[:3] for row in rows[6:]] == [
        [
            "guests",
            "cannot: guests are not welcome",
            "no-credentials",
        ],
        ["user =cmd", "can", "allowed-by-rule"],
        ["user root", "can", "allowed-by-rule"],
        ["user zoe", "cannot: the user is switched off", "user-inactive"],
    ]


@pytest.mark.parametrize("cell", ["=1+1", "+49", "-1", "@x", "\tx", "\rx", "\nx"])
def test_no_cell_is_a_formula(cell):
    assert defused(cell) == f"'{cell}"
    assert defused(f"a{cell}") == f"a{cell}"


def test_a_file_that_could_not_be_finished_says_so(root, monkeypatch):
    monkeypatch.setattr("apps.access.who_can_list.AT_ONCE", 1)
    factories.make_user("alice")
    factories.make_user("bob")
    factories.make_rule("play")
    response = root.get(f"{WHO}file/", PLAY)
    lines = iter(response.streaming_content)
    begun = [next(lines) for _ in range(8)]
    assert b"alice" in begun[-1]
    factories.make_rule("play", effect="deny")
    assert b"Not complete: access changed" in b"".join(lines)


def test_a_file_that_breaks_off_says_so():
    """Servers may end such an answer as they end a whole one."""

    def rows():
        yield ("guests", "can")
        raise ZeroDivisionError

    lines = []
    with pytest.raises(ZeroDivisionError):
        lines.extend(file_response("who-can", rows()).streaming_content)
    assert lines == [b"guests,can\r\n", b"Not complete: it broke off here. Export it again.\r\n"]


@pytest.mark.parametrize("page", [WHO, WHAT])
def test_a_file_that_is_read_after_access_changed_says_so(root, page):
    query = {**PLAY, "who": "user", "name": "root"}
    factories.make_rule("play")
    assert "Not complete" not in str(rows_of(root.get(f"{page}file/", query)))
    response = root.get(f"{page}file/", query)
    factories.make_rule("play", effect="deny")
    who(root)  # by now the snapshot has it
    assert rows_of(response)[-1] == ["Not complete: access changed while this was written. Export it again."]


def test_for_files_rules_are_read_so_many_people_at_a_time(root, monkeypatch):
    monkeypatch.setattr("apps.access.what_can_page.AT_ONCE", 10)
    monkeypatch.setattr("apps.access.who_can_list.AT_ONCE", 10)
    for number in range(20):
        user = factories.make_user(f"user-{number}")
        factories.make_rule("play", user=user)
        factories.make_stream(f"stream-{number}")
        factories.make_rule("play", user=root.user, target=("exact", f"stream-{number}"))
    for page in (WHO, WHAT):
        with CaptureQueriesContext(connection) as queries:
            rows_of(root.get(f"{page}file/", {**PLAY, "who": "user", "name": "root"}))
        assert 1 < len([query for query in queries if 'FROM "access_rule"' in query["sql"]]) < 9


# What can they do?


def test_everything_a_user_can_do_is_said(root):
    factories.make_app()
    NumberClass.objects.create(name="emergency", prefixes=["112"], whole=True, protected=True)
    NumberClass.objects.create(name="internal", short=3)
    NumberClass.objects.create(name="premium", prefixes=["+49900", "+49137"])
    alice = factories.make_user("alice", groups=["teachers"])
    doors = factories.make_stream("doors")
    factories.make_stream("lobby")
    own = factories.make_rule("publish", user=alice, stream=doors)
    group = factories.make_rule("play", "data", group="teachers")
    everyone = factories.make_rule("connect")
    deny = factories.make_rule("play", effect="deny", target=("exact", "lobby"))
    factories.make_rule("call", target=("number-prefix", "+49900"))
    factories.make_rule("publish", guests=True)
    factories.make_rule("publish", user=root.user)
    response = what(root)
    rules = [line.text for line in response.context["sections"][0].lines]
    assert rules[0] == str(deny)
    assert set(map(str, (own, group, everyone))) < set(rules)
    assert len(rules) == 5
    assert said(response, "Connect") == {"connect through app “defaultApp”": "can"}
    assert said(response, "Streams they can publish or play") == {
        "publish “doors”": "can",
        "play “doors”": "can",
    }
    assert said(response, "Call numbers") == {
        "call emergency numbers, such as 112": "can",
        "call internal numbers, such as 555": "cannot: no rule allows it",
        "call premium numbers, such as +499005550123": "can",
        "call premium numbers, such as +491375550123": "cannot: no rule allows it",
    }
    assert said(response, "Anything else")["send data"] == "can"
    assert said(response, "Anything else")["send delivery notices"] == "cannot: no rule allows it"


def test_who_is_switched_off_is_said_to_be(root):
    factories.make_user("alice", is_active=False)
    factories.make_stream("lobby")
    factories.make_rule("play")
    response = what(root)
    assert "This user is switched off" in response.content.decode()
    assert said(response, "Streams they can publish or play") == {}


def test_rules_say_what_holds_them_back(root):
    hours = Schedule.objects.create(name="Never", time_zone="UTC", windows=["Mon 00:00-00:01"])
    factories.make_user("alice")
    factories.make_rule("play", schedule=hours)
    factories.make_rule("publish", enforced=False)
    factories.make_rule("call", starts_at=timezone.now() + timedelta(days=1))
    factories.make_rule("hold", ends_at=datetime(2026, 3, 1, tzinfo=UTC))
    tuesday = what(root, at="2026-03-03T12:00")
    remarks = [line.remark for line in tuesday.context["sections"][0].lines]
    assert remarks == ["Not yet.", "Not at this hour. Only during “Never”.", "Only logged."]


def test_a_group_and_guests_can_be_asked_about(root):
    factories.make_app("open", guests=True)
    factories.make_stream("lobby")
    Group.objects.create(name="pupils")
    factories.make_rule("play", group="teachers")
    factories.make_rule("publish", guests=True)
    streams = "Streams they can publish or play"
    assert said(what(root, "teachers", who="group"), streams) == {"play “lobby”": "can"}
    assert said(what(root, "pupils", who="group"), streams) == {}
    assert said(what(root, "", who="guest"), streams) == {"publish “lobby”": "can"}


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ({"name": ""}, "Say which user."),
        ({"name": "nobody"}, "There is no user “nobody”."),
        ({"who": "group", "name": "nobody"}, "There is no group “nobody”."),
    ],
)
def test_somebody_unknown_is_said_at_the_field(root, query, fault):
    response = root.get(WHAT, {"who": "user", **query})
    assert fault in " ".join(response.context["form"].errors["name"])
    assert root.get(f"{WHAT}file/", {"who": "user", **query}).status_code in (400, 503)


def test_streams_are_looked_at_page_by_page(root, monkeypatch):
    monkeypatch.setattr(what_can_page, "LOOKED_AT", 4)
    monkeypatch.setattr(what_can_page, "STREAMS_SHOWN", 2)
    factories.make_user("alice")
    for number in range(10):
        factories.make_stream(f"s-{number}")
    for number in (1, 2, 3, 9):
        factories.make_rule("play", target=("exact", f"s-{number}"))
    pages, url = [], f"{WHAT}?who=user&name=alice"
    while url:
        response = root.get(url)
        pages.append([*said(response, "Streams they can publish or play")])
        url = response.context["more_url"] and f"{WHAT}{response.context['more_url']}"
    assert pages == [["play “s-1”", "play “s-2”"], ["play “s-3”"], ["play “s-9”"]]


def test_the_file_has_the_rules_and_what_they_amount_to(root):
    factories.make_app()
    factories.make_user("alice")
    factories.make_stream("lobby")
    rule = factories.make_rule("play", networks=["10.0.0.0/8"])
    rows = rows_of(root.get(f"{WHAT}file/", {"who": "user", "name": "alice"}))
    assert rows[0] == ["Question", "What can alice do?"]
    assert [str(rule), "Only from 10.0.0.0/8."] in rows
    assert ["play “lobby”", "can, but only from 10.0.0.0/8", "allowed-by-rule", str(rule)] in rows
    assert ["connect through app “defaultApp”", "cannot: no rule allows it", "no-rule", ""] in rows


def test_pages_of_users_groups_and_streams_lead_here(root, audrey):
    alice, stream = factories.make_user("alice", groups=["teachers"]), factories.make_stream("lobby")
    group = Group.objects.get(name="teachers")
    user_page = root.get(reverse("admin:accounts_user_change", args=[alice.pk])).content.decode()
    assert f"{WHAT}?who=user&amp;name=alice" in user_page
    group_page = root.get(reverse("admin:auth_group_change", args=[group.pk])).content.decode()
    assert f"{WHAT}?who=group&amp;name=teachers" in group_page
    stream_page = root.get(reverse("admin:streams_stream_change", args=[stream.pk])).content.decode()
    assert f"{WHO}?action=publish&amp;target=lobby" in stream_page
    readers = role_of("view_user")
    assert WHAT not in readers.get(reverse("admin:accounts_user_change", args=[alice.pk])).content.decode()


@pytest.mark.browser
def test_names_are_completed_and_the_answer_leads_on(desk):
    factories.make_stream("lobby")
    alice = factories.make_user("alice", groups=["teachers"])
    factories.make_rule("publish", group="teachers", target=("exact", "lobby"))
    desk.goto(WHO)
    form = desk.get_by_role("form", name="Who can?")
    form.get_by_label("Who can").select_option("data")
    expect(form.get_by_label("Name of the stream, or number")).to_be_hidden()
    form.get_by_label("Who can").select_option("publish")
    form.get_by_label("Name of the stream, or number").fill("lob")
    expect(desk.locator("#streams option")).to_have_count(1)
    form.get_by_label("Name of the stream, or number").fill("lobby")
    form.get_by_role("button", name="Who can?").click()
    expect(desk.locator("#answer")).to_contain_text("Who can publish “lobby”?")
    desk.locator("#answer").get_by_role("link", name="alice").click()
    expect(desk).to_have_url(re.compile(f"/admin/accounts/user/{alice.pk}/change/"))
    desk.get_by_role("link", name="Everything they can do, by which rules").click()
    expect(desk.locator("#answer")).to_contain_text("publish “lobby”")
    form = desk.get_by_role("form", name="What can they do?")
    form.get_by_label("What can").select_option("group")
    form.get_by_label("Name of the user or group").fill("teach")
    expect(desk.locator("#names option")).to_have_count(1)
    form.get_by_label("What can").select_option("guest")
    expect(form.get_by_label("Name of the user or group")).to_be_hidden()
