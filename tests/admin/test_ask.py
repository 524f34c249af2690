"""The search box: names in whatever was typed, the questions about them, and twenty answers with at most two clicks."""

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from playwright.sync_api import expect

from apps.access.models import NumberClass
from apps.access.reasons import Reason
from apps.accounts.models import Revocation, Token, User
from apps.audit.asking import ask_questions
from apps.audit.asking.ask import Named, words_of
from apps.audit.asking.ask_questions import lock_text
from apps.database.connection import Unavailable
from tests import factories
from tests.admin.conftest import browser_of, log_in, make_event, make_role, make_session

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/ask/"


def ask(browser, text):
    """Title and lines of each section."""
    response = browser.get(PAGE, {"q": text})
    assert response.status_code == 200
    return {section.title: [line.text for line in section.lines] for section in response.context["sections"]}


def titles(browser, text):
    """The titles of what was named."""
    other = (
        "Questions about everything",
        "Rules about these names, the newest",
        "What happened to these names, the newest",
    )
    return [title for title in ask(browser, text) if title not in other]


@pytest.fixture
def people():
    """Alice and Bob, some rows to name, and an app to come through."""
    factories.make_app()
    factories.make_stream("lobby")
    NumberClass.objects.create(name="premium", prefixes=["+49900"])
    return [factories.make_user(name, groups=["teachers"]) for name in ("alice", "bob")]


# What was named


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("alice", ["alice"]),
        ("alice's door?", ["alice's door", "alice", "door", "alice's door?", "alice's", "door?"]),
        (" “lobby” ", ["lobby", "“lobby”"]),
        ("", []),
        (" ?! ", ["?!"]),
        ("a\0b", ["ab"]),
    ],
)
def test_words_are_read_with_and_without_what_is_around_them(typed, words):
    assert words_of(typed) == words


def test_long_texts_are_read_so_far():
    assert max(map(len, words_of("x" * 5000))) == 300
    assert len(words_of("x y z " * 100)) < 10


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("alice", ["User alice"]),
        ("Alice", ["Names that begin so"]),
        ("al", ["Names that begin so"]),
        ("nobody", []),
        ("lobby", ["Stream lobby"]),
        ("teachers", ["Group teachers"]),
        ("premium", ["premium numbers"]),
        ("defaultApp", ["App defaultApp"]),
        ("+49 30 1234", ["Number +49 30 1234"]),
        ("why can't alice watch lobby?", ["May they?", "User alice", "Stream lobby"]),
        ("alice bob +4930", ["May they?", "User alice", "User bob", "Number +4930"]),
        ("a\0lice", ["User alice"]),
        ("", []),
    ],
)
def test_whatever_is_named_is_found(root, people, typed, found):
    assert titles(root, typed) == found


def test_a_stream_needs_no_entry_once_it_was_asked_for(root, people):
    assert titles(root, "studio") == []
    make_event(target="studio")
    assert titles(root, "studio") == ["Stream studio"]


def test_nothing_found_says_so(root):
    assert "Nothing here is called “&lt;b&gt;”" in root.get(PAGE, {"q": "<b>"}).content.decode()
    assert "Nothing here is called" not in root.get(PAGE).content.decode()


def test_rules_and_hooks_of_that_name_are_shown(root, people):
    rule = factories.make_rule("play", user=people[0])
    make_event(username="alice")
    found = ask(root, "alice")
    assert found["Rules about these names, the newest"] == [str(rule)]
    (what,) = found["What happened to these names, the newest"]
    assert "asked to play “lobby” and was refused" in what


def test_named_things_know_whether_there_are_any():
    assert Named().nothing
    assert not Named(numbers=("112",)).nothing


@pytest.mark.parametrize(
    ("typed", "title", "searches"),
    [
        ("192.0.2.7", "Address 192.0.2.7", ["ip:192.0.2.7"]),
        ("what came from 10.0.0.0/8?", "Address 10.0.0.0/8", ["ip:10.0.0.0/8"]),
        ("node-1", "Node North", ['node:"a@node-1"', 'node:"a@node-1" decision:refused']),
        ("north North", "Node North", ['node:"a@node-1"', 'node:"a@node-1" decision:refused']),
        ("who changed rule 19?", "Rule 19", ['target:"rule 19"', "rule:19"]),
        ("refused yesterday", "In the audit log", ["decision:refused after:yesterday before:today"]),
        ("refused alice last hour", "In the audit log", ['user:"alice" decision:refused after:1h']),
        ("what happened to lobby today", "In the audit log", ['stream:"lobby" after:today']),
    ],
)
def test_what_is_looked_for_in_the_log_leads_to_the_right_search(root, people, typed, title, searches):
    factories.make_node("a@node-1", name="North")
    response = root.get(PAGE, {"q": typed})
    (section,) = (section for section in response.context["sections"] if section.title == title)
    urls = [line.url for line in section.lines if "/audit/auditevent/" in line.url]
    assert [parse_qs(urlsplit(url).query)["q"][0] for url in urls] == searches
    assert not [found.title for found in response.context["sections"] if found.title.startswith("Number ")]
    assert "Nothing here is called" not in response.content.decode()
    for url in urls:
        assert not root.get(url).context["search_problems"], url


def test_a_rule_is_shown_with_its_number(root, people):
    rule = factories.make_rule("play", user=people[0])
    assert ask(root, f"rule {rule.pk}")[f"Rule {rule.pk}"][2:] == [str(rule)]


def test_the_log_and_nodes_are_offered_to_who_may_see_them(audrey, people):
    make_role("some", "view_user")
    some = browser_of(factories.make_user("some", is_staff=True, groups=["some"]))
    factories.make_node("a@node-1", name="North")
    assert titles(audrey, "North") == []
    typed = "rule 19 at 192.0.2.7 yesterday"
    assert titles(audrey, typed) == ["In the audit log", "Rule 19", "Address 192.0.2.7"]
    assert titles(some, typed) == []


# For whom


def test_everybody_sees_what_they_may_see(client, audrey, people):
    make_event(username="alice")
    assert client.get(PAGE).status_code == 302
    assert titles(audrey, "alice") == []
    found = ask(audrey, "alice lobby")
    assert found["Stream lobby"] == [
        "Who published and watched “lobby”, when, and for how long?",
        "Who was refused at “lobby” lately?",
        "Who published “lobby” last?",
        "What happened to “lobby”?",
    ]
    assert "Rules about these names, the newest" not in found
    assert found["Questions about everything"] == [
        "What was refused in the last 24 hours?",
        "Who came with a wrong password lately?",
        "Who came with a wrong token lately?",
    ]


def test_who_may_see_rules_alone_learns_of_no_user(people):
    make_role("some", "view_streampermission")
    browser = browser_of(factories.make_user("some", is_staff=True, groups=["some"]))
    assert titles(browser, "alice al teachers defaultApp premium") == []


def test_each_sees_the_rules_of_their_own_lists(people):
    rules = [factories.make_rule(action, user=people[0], target=("exact", "x")) for action in ("play", "call")]
    for name, rule in zip(("view_streampermission", "view_callpermission"), rules, strict=True):
        make_role(name, name)
        browser = browser_of(factories.make_user(name, is_staff=True, groups=[name]))
        assert ask(browser, "x")["Rules about these names, the newest"] == [str(rule)]


def test_without_any_permission_it_says_so(people):
    browser = browser_of(factories.make_user("some", is_staff=True))
    text = browser.get(PAGE, {"q": "alice"}).content.decode()
    assert "You have no permission for any page that answers questions." in text


def test_the_box_is_on_every_page_of_staff_and_not_at_the_login(root, client):
    for address in ("/admin/", PAGE, "/admin/accounts/user/", "/admin/access/streampermission/add/"):
        assert root.get(address).content.decode().count('role="search"') >= 1
        assert 'id="ask"' in root.get(address).content.decode()
    assert 'id="ask"' not in root.get("/admin/accounts/user/add/?_popup=1").content.decode()
    assert 'id="ask"' not in client.get("/admin/login/").content.decode()


def test_a_question_costs_a_bounded_number_of_queries(root, people):
    text = "why can't alice and bob play lobby +4930 premium teachers defaultApp " + "word " * 50
    ask(root, text)
    for number in range(20):
        make_event(username="alice")
        factories.make_rule("play", user=people[0], target=("exact", f"s-{number}"))
    with CaptureQueriesContext(connection) as queries:
        ask(root, text)
    assert len(queries) < 60
    assert not [query["sql"] for query in queries if "COUNT(" in query["sql"]]


def test_a_database_that_is_away_leaves_one_question_out(root, people, monkeypatch):
    def away(_):
        raise Unavailable("The rules could not be read in time.")

    monkeypatch.setattr(ask_questions, "at_last_revision", away)
    assert ask(root, "premium")["premium numbers"] == ["Which numbers are premium?"]


def test_a_user_is_asked_about_through_the_app_they_came_by(root, people):
    factories.make_app("school")
    make_session(people[0], app_key="school")
    sections = root.get(PAGE, {"q": "alice bob lobby"}).context["sections"]
    urls = {line.text: line.url for line in sections[0].lines}
    assert "app=school" in urls["May alice play “lobby”, and why?"]
    assert "app=defaultApp" in urls["May bob play “lobby”, and why?"]


# Locked out


def test_whether_somebody_is_locked_out(people):
    alice, now = people[0], timezone.now()
    assert lock_text(alice, now).startswith("In a way, yes: there is neither a password nor a token that works.")
    token = factories.make_token(alice, expires_at=now)
    assert lock_text(alice, now).startswith("In a way, yes")
    Token.objects.filter(pk=token.pk).update(expires_at=None)
    assert lock_text(alice, now).startswith("No: switched on")
    make_event("connect", username="alice", reason=Reason.BAD_PASSWORD, received_at=now - timedelta(minutes=6))
    assert lock_text(alice, now).startswith("No: switched on")
    make_event("connect", username="alice", reason=Reason.BAD_PASSWORD, received_at=now - timedelta(minutes=4))
    assert lock_text(alice, now).startswith("Perhaps: wrong passwords came")
    alice.is_active = False
    assert lock_text(alice, now).startswith("Yes: switched off.")


def test_who_called_a_number_is_found_however_it_was_dialled(root, people):
    make_event("call", action="call", target="0049 900 123", number="+49900123", username="dialler")
    sections = root.get(PAGE, {"q": "+49900123"}).context["sections"]
    (line,) = [line for section in sections for line in section.lines if line.text == "Who called +49900123 last?"]
    assert "dialler" in root.get(line.url).content.decode()


def test_tokens_that_were_revoked_or_used_up_do_not_work(people):
    alice, now = people[0], timezone.now()
    token = factories.make_token(alice)
    assert list(Token.objects.working(now)) == [token]
    for change in ({"used_at": now}, {"expires_at": now}, {"created_at": now - timedelta(days=2)}):
        before = {name: getattr(token, name) for name in change}
        User.objects.filter(pk=alice.pk).update(revoked_before=now - timedelta(days=1))
        Token.objects.filter(pk=token.pk).update(**change)
        assert not Token.objects.working(now).exists(), change
        Token.objects.filter(pk=token.pk).update(**before)
    assert list(Token.objects.working(now)) == [token]
    Revocation.objects.update_or_create(pk=1, defaults={"before": now + timedelta(minutes=1)})
    assert not Token.objects.working(now).exists()
    Revocation.objects.update(before=None)
    assert list(Token.objects.working(now)) == [token]


@pytest.mark.parametrize(("failures", "minutes", "locked"), [(10, 14, True), (9, 1, False), (10, 16, False)])
def test_whether_staff_are_locked_out_of_the_admin(people, failures, minutes, locked):
    factories.make_token(people[0])
    attempt = AccessAttempt.objects.create(
        username="alice", ip_address="10.0.0.1", failures_since_start=failures, get_data="", post_data=""
    )
    now = timezone.now()
    AccessAttempt.objects.filter(pk=attempt.pk).update(attempt_time=now - timedelta(minutes=minutes))
    assert lock_text(people[0], now).startswith("From the admin, yes") is locked


def test_the_locks_are_those_of_the_settings():
    assert (settings.AXES_FAILURE_LIMIT, settings.AXES_COOLOFF_TIME) == (10, 0.25)


# Twenty questions


@dataclass(frozen=True)
class Question:
    """What staff type, which links they click, and what they then read."""

    typed: str
    clicks: tuple[str, ...]
    read: str


QUESTIONS = (
    Question(
        "Why can't charlie watch lobby?",
        ("May charlie play “lobby”, and why?",),
        "charlie may not play “lobby”. No rule allows it.",
    ),
    Question(
        "Why can't bob publish lobby?",
        ("May bob publish “lobby”, and why?",),
        "bob may not publish “lobby”. No rule allows it.",
    ),
    Question("Who can watch lobby?", ("Who can play “lobby”?",), "Allow user “bob” to play “lobby”"),
    Question(
        "Who may publish lobby?", ("Who can publish “lobby”?",), "Allow group “teachers” to publish stream “lobby”"
    ),
    Question("May guests watch lobby?", ("Who can play “lobby”?",), "A guest cannot"),
    Question(
        "Who can call premium numbers?",
        ("Who can call premium numbers, such as",),
        "Deny everyone with an account to call premium numbers",
    ),
    Question(
        "May alice call +49900123?",
        ("May alice call +49900123, and why?",),
        "alice may not call “+49900123”. A rule denies it.",
    ),
    Question("Who can call +49900123?", ("Who can call +49900123",), "a number of class “premium”"),
    Question("What can alice do?", ("What can alice do, and by which rules?",), "publish “lobby”"),
    Question("What can teachers do?", ("What can members of teachers do?",), "publish “lobby”"),
    Question("Is dora locked out?", (), "Yes: switched off."),
    Question("Do the tokens of bob work?", ("Do the tokens of bob work?",), "works"),
    Question("Where is bob connected?", ("Where is bob connected now?",), "running"),
    Question("Which rules are about bob?", ("Rules about bob, tokens and groups",), "Allow user “bob” to play “lobby”"),
    Question(
        "Which rules are about lobby?",
        ("Rules about stream “lobby”, its owner and groups", "lobby"),
        "Allow group “teachers” to publish stream “lobby”",
    ),
    Question("What did charlie try last?", ("What did charlie try last?",), "charlie asked to play “lobby”"),
    Question("Why was charlie refused last?", ("Why was charlie refused last?",), "no rule allows it"),
    Question("Who published lobby last?", ("Who published “lobby” last?",), "alice asked to publish “lobby”"),
    Question(
        "Which rules end this week?",
        ("Which stream permissions end this week?",),
        "Allow user “bob” to play “party”",
    ),
    Question("Which rules are only tried out?", ("Which call permissions are only tried out?",), "(only logged)"),
)


@pytest.fixture
def support(desk):
    """The desk of somebody whom all of this is asked."""
    factories.make_app()
    lobby = factories.make_stream("lobby")
    premium = NumberClass.objects.create(name="premium", prefixes=["+49900"])
    alice = factories.make_user("alice", groups=["teachers"])
    bob = factories.make_user("bob")
    factories.make_user("charlie")
    factories.make_user("dora", is_active=False)
    factories.make_token(bob)
    factories.make_rule("publish", group="teachers", stream=lobby)
    factories.make_rule("play", user=bob, target=("exact", "lobby"))
    factories.make_rule("play", user=bob, target=("exact", "party"), ends_at=timezone.now() + timedelta(days=2))
    factories.make_rule("call", target=("any", ""))
    factories.make_rule("call", effect="deny", target=("number-class", ""), number_class=premium)
    factories.make_rule("message", enforced=False)
    make_session(bob)
    make_event()
    make_event("publishStream", username="alice", action="publish", effect="allow", user=alice)
    return desk


def type_in(window, text):
    """Ask with the keyboard alone."""
    box = window.get_by_label("Ask: a person, a stream, a number, or several names")
    expect(box).to_be_visible()
    window.wait_for_load_state("load")
    window.keyboard.press("/")
    expect(box).to_be_focused()
    box.fill(text)
    box.press("Enter")
    window.wait_for_url(re.compile(r"/admin/ask/\?q="))


@pytest.mark.browser
def test_twenty_questions_are_answered_with_at_most_two_clicks(support):
    for question in QUESTIONS:
        assert len(question.clicks) <= 2
        type_in(support, question.typed)
        for link in question.clicks:
            support.locator("#content").get_by_role("link", name=re.compile(f"^{re.escape(link)}")).first.click()
        expect(support.locator("#content").get_by_text(question.read).first, question.typed).to_be_visible()


@pytest.mark.browser
def test_whoever_asks_by_keys_goes_on_from_the_answers(support):
    type_in(support, "alice")
    expect(support.locator("#answers")).to_be_focused()
    support.keyboard.press("Tab")
    expect(support.locator("#answers a").first).to_be_focused()
    support.goto(PAGE)
    expect(support.locator("#answers")).not_to_be_focused()  # nothing was asked


def test_the_questions_are_those_that_are_written_down():
    text = (Path(settings.BASE_DIR) / "docs" / "questions.md").read_text(encoding="utf-8")
    written = re.findall(r"^\d+\. \*([^*]+)\*: (.+)$", text, re.MULTILINE)
    assert [typed for typed, _ in written] == [question.typed for question in QUESTIONS]
    for (_, way), question in zip(written, QUESTIONS, strict=True):
        assert way.count("click") == len(question.clicks)


@pytest.mark.browser
def test_the_box_does_not_steal_what_is_typed_elsewhere(support):
    support.goto("/admin/access/try/")
    field = support.get_by_label("Name of the stream, or number")
    field.press("/")
    expect(field).to_be_focused()
    expect(field).to_have_value("/")


@pytest.mark.browser
def test_staff_of_fewer_permissions_use_the_box_too(window):
    make_role("auditors", "view_auditevent")
    factories.make_user("audrey", password="correct horse battery", is_staff=True, groups=["auditors"])
    make_event()
    log_in(window, "audrey")
    type_in(window, "lobby")
    window.get_by_role("link", name="Who was refused at “lobby” lately?").click()
    expect(window.get_by_text("charlie asked to play “lobby”").first).to_be_visible()
