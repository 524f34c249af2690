"""Why, and would it be so now? On the page of an audit event; and Allow this. Nothing changes by looking."""

import json
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from apps.access.advice import ADVICE
from apps.access.models import NumberClass, Rule
from apps.access.reasons import Reason
from apps.audit.asking import again
from apps.audit.asking import again_pages as pages
from apps.audit.dashboard import NEVER_REFUSES
from apps.audit.models import AuditEvent
from apps.connections.models import Session
from apps.database.connection import Unavailable
from apps.streams.models import StreamGroup
from tests import factories
from tests.access import signed
from tests.access.test_explain import traces
from tests.admin.conftest import browser_of, make_event, make_role, make_session

NEVER_REFUSES_AT_ALL = (*NEVER_REFUSES, Reason.PROTECTED_NUMBER, Reason.ALLOWED_BY_LINK)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def charlie():
    """Whose refusals `make_event` makes; of group “pupils”."""
    factories.make_app()
    return factories.make_user("charlie", groups=["pupils"])


def page_of(event):
    return reverse("admin:audit_auditevent_change", args=[event.pk])


def now(browser, event):
    """What the event's page says of today."""
    return browser.get(page_of(event)).context


def allow(browser, event, **query):
    return browser.get(reverse("admin:audit_auditevent_allow", args=[event.pk]), query)


def refused(user, **fields):
    return make_event(user=user, username=user.username, **fields)


def lines_of(response, title):
    return [
        each for section in response.context["sections"] if section.title.startswith(title) for each in section.lines
    ]


def lines(response, title):
    return [line.text for line in lines_of(response, title)]


# Then and now


def test_then_and_now_are_both_on_the_page(root, charlie):
    event = refused(charlie)
    rule = factories.make_rule("play", target=("exact", "lobby-1"))
    text = root.get(page_of(event)).content.decode()
    assert "charlie asked to play “lobby” on node" in text
    assert "It would be so now, too" in text
    assert "“lobby” is not “lobby-1”" in text
    assert reverse("admin:access_streampermission_change", args=[rule.pk]) in text
    factories.make_rule("play", user=charlie)
    context = now(root, event)
    assert (context["changed"], context["explanation"].reason) == (True, Reason.ALLOWED_BY_RULE)
    assert "It would be otherwise now" in root.get(page_of(event)).content.decode()
    assert "and was refused: no rule allows it." in root.get(page_of(event)).content.decode()  # as recorded


def test_an_allowed_event_is_told_of_today_too(root, charlie):
    event = refused(charlie, effect="allow", reason=Reason.ALLOWED_BY_RULE)
    context = now(root, event)
    assert (context["changed"], context["explanation"].reason, bool(context["allow_url"])) == (
        True,
        Reason.NO_RULE,
        True,
    )


def test_circumstances_are_those_of_the_hook_but_the_moment_is_now(root, charlie):
    body = {"appKey": "defaultApp", "nodeId": "n", "sessionId": "/10.1.2.3:5/n", "name": "lobby", "custom": {"seat": 5}}
    event = refused(charlie, body=json.dumps(body).encode(), session_id="/10.1.2.3:5/n")
    factories.make_rule("play", networks=["10.0.0.0/8"], custom=["seat = 5"], starts_at=timezone.now())
    assert now(root, event)["explanation"].reason == Reason.ALLOWED_BY_RULE


def test_it_says_how_it_was_found_who_asked(root, charlie):
    event = refused(charlie)
    assert now(root, event)["explanation"].found == "as it was found then"
    opened_at = event.received_at - timedelta(minutes=1)
    make_session(charlie, session_id=event.session_id, opened_at=opened_at)
    assert now(root, event)["explanation"].found == "as it was found then, in a session opened by a token"


def test_of_a_wrong_credential_it_is_told_how_it_would_be_with_a_good_one(root, charlie):
    factories.make_rule("play", user=charlie)
    context = now(root, refused(charlie, reason=Reason.EXPIRED_TOKEN))
    assert context["explanation"].reason == Reason.ALLOWED_BY_RULE
    assert context["explanation"].found == "taken as recognised"
    assert context["now_sections"][0].lines[0].text == ADVICE[Reason.EXPIRED_TOKEN].text
    assert context["now_sections"][0].links[0].url == "/admin/accounts/token/?q=charlie"
    assert context["allow_url"] == ""


def test_who_was_not_recognised_then_is_not_recognised_now(root, charlie):
    factories.make_rule("play", guests=True)
    assert now(root, make_event(username="", reason=Reason.BAD_TOKEN))["explanation"].reason == Reason.BAD_TOKEN
    event = make_event(username="", reason=Reason.UNKNOWN_APP)
    assert now(root, event)["explanation"].reason == Reason.UNKNOWN_SESSION  # the app has been added since
    event = make_event(username="", reason=Reason.UNKNOWN_APP, app_key="nowhere")
    assert now(root, event)["explanation"].reason == Reason.UNKNOWN_APP
    assert now(root, event)["now_sections"][0].links[0].url == "/admin/connections/app/add/?key=nowhere"


def test_whoever_has_the_name_of_a_deleted_user_is_somebody_else(root, charlie):
    event = refused(charlie)
    charlie.delete()
    factories.make_rule("play", user=factories.make_user("charlie"))
    gone = "User “charlie” was deleted since"
    assert gone in root.get(page_of(event)).content.decode()
    assert gone in allow(root, event).content.decode()
    assert "It would be" not in root.get(page_of(event)).content.decode()


def test_auditors_who_may_not_see_rules_are_told_what_was_only(audrey, charlie):
    factories.make_rule("play", target=("exact", "secret-name"))
    event = refused(charlie)
    text = audrey.get(page_of(event)).content.decode()
    assert "and was refused" in text
    assert "secret-name" not in text
    assert allow(audrey, event).status_code == 403


def test_what_cannot_be_refused_is_not_asked_about(root, charlie):
    for method in ("StreamStatusEvent", "hangup", "futureMethod"):
        assert "explanation" not in now(root, refused(charlie, method=method))


def test_a_database_that_is_away_leaves_the_event_to_be_read(root, charlie, monkeypatch):
    def away(*_, **__):
        raise Unavailable("The rules could not be read in time.")

    monkeypatch.setattr(pages, "explained_now", away)
    monkeypatch.setattr(pages, "asked_to_allow", away)
    event = refused(charlie)
    text = root.get(page_of(event)).content.decode()
    assert "and was refused" in text
    assert "cannot be said at the moment: The rules could not be read in time." in text
    assert allow(root, event).status_code == 503


def test_looking_leaves_no_trace(root, charlie):
    event = refused(charlie)
    before = traces()
    root.get(page_of(event))
    allow(root, event)
    allow(root, event, rule="prefix")
    assert traces() == before


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in NEVER_REFUSES_AT_ALL])
def test_every_refusal_has_advice(reason):
    assert ADVICE[reason].text.endswith(".")


# Allow this: the narrowest rule


def proposed(response):
    assert response.status_code == 200
    return str(response.context["chosen"].rule)


def added(browser, response):
    """Follow the link to the form and save it as it is."""
    url = response.context["add"].url
    form = browser.get(url).context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    values = {name: value for name, value in values.items() if value not in (None, [], False)}
    saved = browser.post(urlsplit(url).path, values)
    assert saved.status_code == 302, saved.context["errors"]
    return Rule.objects.order_by("-pk").first()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Allow user “charlie” to play “lobby”"),
        ({"target": "hall"}, "Allow user “charlie” to play stream “hall”"),
        ({"target": "rtsp://cam/1"}, "Allow user “charlie” to play stream “hall”"),
        ({"method": "publishStream", "action": "publish"}, "Allow user “charlie” to publish “lobby”"),
        (
            {"method": "call", "action": "call", "target": "sip:+49 (30) 1234@pbx"},
            "Allow user “charlie” to call “+49301234”",
        ),
        ({"method": "call", "action": "call", "target": "support"}, "Allow user “charlie” to call “support”"),
        ({"method": "hold", "action": "hold", "target": ""}, "Allow user “charlie” to hold calls"),
        (
            {"method": "connect", "action": "connect", "target": "defaultApp"},
            "Allow user “charlie” to connect through app “defaultApp”",
        ),
    ],
)
def test_the_narrowest_rule_is_proposed_and_saving_it_allows(root, charlie, fields, sentence):
    factories.make_stream("hall", source="rtsp://cam/1")
    event = refused(charlie, **fields)
    assert now(root, event)["allow_url"] == reverse("admin:audit_auditevent_allow", args=[event.pk])
    response = allow(root, event)
    assert proposed(response) == sentence
    assert str(added(root, response)) == sentence
    assert now(root, event)["explanation"].reason == Reason.ALLOWED_BY_RULE
    assert "It would be allowed now" in allow(root, event).content.decode()


def test_for_a_guest_it_is_a_rule_for_guests(root):
    factories.make_app(guests=True)
    event = make_event(username="")
    assert proposed(allow(root, event)) == "Allow guests to play “lobby”"
    added(root, allow(root, event))
    assert now(root, event)["explanation"].reason == Reason.ALLOWED_BY_RULE


def test_for_who_is_known_from_a_signed_token_alone_rules_are_about_their_groups(root):
    factories.make_app()
    factories.make_issuer(accepts_unknown=True)
    factories.make_rule("connect", group="crew")
    event = make_event(username="zoe", session_id="s-9")
    granted = {"issuer": signed.ISSUER, "subject": "zoe", "expires_at": "2100-01-01T00:00:00Z", "groups": ["crew"]}
    opened_at = event.received_at - timedelta(minutes=1)
    session = make_session(session_id="s-9", granted=json.dumps(granted), opened_at=opened_at)
    Session.objects.filter(pk=session.pk).update(entered_by="jwt", username="zoe")
    response = allow(root, event)
    assert proposed(response) == "Allow group “crew” to play “lobby”"
    assert lines(response, "Or another rule") == []


def test_wider_rules_are_offered_with_the_same_look(root, charlie):
    group = StreamGroup.objects.create(name="lessons")
    factories.make_stream("lesson-7").groups.add(group)
    event = refused(charlie, target="lesson-7")
    response = allow(root, event)
    assert proposed(response) == "Allow user “charlie” to play stream “lesson-7”"
    others = lines_of(response, "Or another rule")
    assert [line.text for line in others] == [
        "Allow group “pupils” to play stream “lesson-7”",
        "Allow user “charlie” to play streams of group “lessons”",
        "Allow user “charlie” to play whatever begins with “lesson-”",
    ]
    for line in others:
        wider = root.get(line.url)
        assert proposed(wider) == line.text
        assert lines(wider, "Or another rule")[0] == "Allow user “charlie” to play stream “lesson-7”"
        assert str(added(root, wider)) == line.text
        Rule.objects.all().delete()


def test_wider_rules_about_numbers(root, charlie):
    NumberClass.objects.all().delete()
    NumberClass.objects.create(name="national", prefixes=["+49"])
    event = refused(charlie, method="call", action="call", target="+49 30 123456")
    assert lines(allow(root, event), "Or another rule") == [
        "Allow group “pupils” to call “+4930123456”",
        "Allow user “charlie” to call numbers that begin with “+493012”",
        "Allow user “charlie” to call national numbers",
    ]


# What else it would open


def test_it_shows_what_else_would_have_been_allowed_and_for_whom(root, charlie):
    dora = factories.make_user("dora", groups=["pupils"])
    event = refused(charlie, target="lesson-7")
    for _ in range(2):
        refused(charlie, target="lesson-8")
    refused(dora, target="lesson-7", repeats=2)
    refused(dora, target="lesson-8")
    refused(charlie, target="lesson-9", method="publishStream", action="publish")
    refused(charlie, target="lesson-9", reason=Reason.EXPIRED_TOKEN)
    make_event(username="nobody", target="lesson-7")
    what = "What else it would have allowed"
    response = allow(root, event)
    assert lines(response, what) == []
    assert "Nothing else, of the last 7 refusals since" in response.content.decode()
    assert lines(allow(root, event, rule="prefix"), what) == ["charlie asked to play “lesson-8”"]
    group = allow(root, event, rule=f"group-{charlie.groups.get().pk}")
    assert lines(group, what) == ["dora asked to play “lesson-7”"]
    remarks = [line.remark for line in lines_of(group, what)]
    assert remarks == ["3 times"]


def test_what_it_says_would_open_is_what_opens(root, charlie):
    events = [refused(charlie, target=f"lesson-{number}") for number in range(5)] + [refused(charlie, target="hall")]
    factories.make_rule("play", effect="deny", target=("exact", "lesson-3"))
    response = allow(root, events[0], rule="prefix")
    said = set(lines(response, "What else"))
    added(root, response)
    opened = [event for event in events[1:] if now(root, event)["explanation"].allowed]
    assert said == {f"charlie asked to play “{event.target}”" for event in opened}
    assert len(said) == 3


def test_only_the_latest_refusals_are_looked_at(root, charlie, monkeypatch):
    monkeypatch.setattr(again, "LATEST", 3)
    event = refused(charlie, received_at=timezone.now() - timedelta(hours=1))
    for number in range(5):
        refused(charlie, target=f"lobby-{number}", received_at=timezone.now() - timedelta(minutes=number))
    refused(charlie, target="lobby-old", received_at=timezone.now() - timedelta(days=100))
    looked_at = [each.target for each in again.latest_refusals(timezone.now())]
    assert looked_at == ["lobby-0", "lobby-1", "lobby-2"]
    assert "of the last 3 refusals" in allow(root, event).content.decode()


def test_the_number_of_queries_does_not_grow_with_refusals(root, charlie):
    event = refused(charlie)

    def queries():
        allow(root, event)
        with CaptureQueriesContext(connection) as captured:
            allow(root, event)
        return len(captured)

    few = queries()
    AuditEvent.objects.bulk_create(
        [AuditEvent(**{**event_values(event), "target": f"lobby-{number}"}) for number in range(200)]
    )
    assert queries() == few


def event_values(event):
    values = {field.attname: getattr(event, field.attname) for field in AuditEvent._meta.fields}
    return {**values, "id": uuid4()}


# Where an allow would not help


def test_a_deny_is_named_and_no_allow_proposed(root, charlie):
    deny = factories.make_rule("play", effect="deny", target=("prefix", "lob"))
    event = refused(charlie, reason=Reason.DENIED_BY_RULE, rule_ids=[deny.pk])
    assert now(root, event)["allow_url"] == ""
    response = allow(root, event)
    assert response.context["chosen"] is None
    text = response.content.decode()
    assert "An allow would not help, as a deny beats every allow" in text
    assert reverse("admin:access_streampermission_change", args=[deny.pk]) in text
    deny.delete()
    assert proposed(allow(root, event)) == "Allow user “charlie” to play “lobby”"


@pytest.mark.parametrize("reason", [Reason.EXPIRED_TOKEN, Reason.BAD_PASSWORD, Reason.UNKNOWN_APP])
def test_what_was_refused_for_another_reason_gets_no_rule_but_advice(root, charlie, reason):
    event = refused(charlie, reason=reason)
    assert now(root, event)["allow_url"] == ""
    response = allow(root, event)
    assert response.context["chosen"] is None
    assert "It was not refused by rules, so no rule would help." in response.content.decode()
    assert lines(response, "What to do") == [ADVICE[reason].text]


def test_a_user_who_is_off_is_to_be_switched_on(root, charlie):
    event = refused(charlie, reason=Reason.USER_INACTIVE)
    assert proposed(allow(root, event)) == "Allow user “charlie” to play “lobby”"  # on again by now
    charlie.is_active = False
    charlie.save()
    response = allow(root, event)
    assert "It would be refused now for another reason than rules." in response.content.decode()
    assert lines(response, "What to do") == ["Switch the user on again."]
    assert lines_of(response, "Who asks")[0].url == reverse("admin:accounts_user_change", args=[charlie.pk])


@pytest.mark.parametrize("target", ["rtsp://***@cam/1", "x" * 300])
def test_a_name_that_no_rule_can_have_is_said_to_be_such(root, charlie, target):
    text = allow(root, refused(charlie, target=target)).content.decode()
    assert "its name was not kept whole or is too long for a rule" in text


def test_whoever_may_not_add_rules_is_told_to_ask(charlie):
    make_role("looking", "view_auditevent", "view_streampermission")
    browser = browser_of(factories.make_user("some", is_staff=True, groups=["looking"]))
    event = refused(charlie)
    assert now(browser, event)["allow_url"] == ""
    response = allow(browser, event)
    assert response.context["add"] is None
    assert "You may look at rules but not add them" in response.content.decode()


def test_an_event_that_is_not_there(root):
    assert allow(root, AuditEvent(id=uuid4())).status_code == 302


# In a real browser


@pytest.mark.browser
def test_from_a_refusal_to_allow_this_to_allowed(desk, charlie):
    event = refused(charlie, target="lesson-7")
    refused(charlie, target="lesson-8")
    desk.goto("/admin/audit/auditevent/?effect=deny")
    desk.get_by_role("link", name="charlie asked to play “lesson-7”").click()
    expect(desk.get_by_role("heading", name="It would be so now, too")).to_be_visible()
    desk.get_by_role("link", name="Allow this").press("Enter")
    expect(desk.locator("#proposal")).to_have_text("Allow user “charlie” to play “lesson-7”")
    expect(desk.get_by_text("Nothing else, of the last 2 refusals")).to_be_visible()
    desk.get_by_role("link", name="Allow user “charlie” to play whatever begins with “lesson-”").click()
    expect(desk.get_by_role("link", name="charlie asked to play “lesson-8”")).to_be_visible()
    desk.get_by_role("link", name="Allow user “charlie” to play “lesson-7”").click()
    desk.get_by_role("link", name="Go on to the form").press("Enter")
    expect(desk.get_by_label("play", exact=True)).to_be_checked()
    expect(desk.get_by_label("Name, number or pattern")).to_have_value("lesson-7")
    desk.get_by_role("button", name="Save", exact=True).click()
    expect(desk.get_by_text("was added successfully")).to_be_visible()
    assert str(Rule.objects.get()) == "Allow user “charlie” to play “lesson-7”"
    desk.goto(page_of(event))
    expect(desk.get_by_role("heading", name="It would be otherwise now")).to_be_visible()
    desk.get_by_role("link", name="Try it with other values").click()
    expect(desk.locator("#answer")).to_contain_text("Allowed. charlie may play “lesson-7”.")
    expect(desk).to_have_url(re.compile("target=lesson-7"))


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_and_headings_name_their_parts(desk, charlie, scheme):
    factories.make_rule("play", group="teachers", target=("exact", "lobby"))
    event = refused(charlie)
    desk.emulate_media(color_scheme=scheme)
    desk.set_viewport_size({"width": 375, "height": 740})
    for address in (page_of(event), f"{page_of(event).removesuffix('change/')}allow/"):
        desk.goto(address)
        expect(
            desk.get_by_role("heading", name=re.compile("^It would be so now|^This rule would allow it"))
        ).to_be_visible()
        assert desk.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.browser
def test_more_circumstances_open_by_keyboard(desk, charlie):
    factories.make_rule("play", networks=["10.0.0.0/8"])
    desk.goto("/admin/access/try/")
    desk.get_by_label("User name").fill("charlie")
    desk.get_by_label("Wants to").select_option("playStream")
    desk.get_by_label("Name of the stream, or number").fill("lobby")
    address = desk.get_by_label("From client address")
    expect(address).to_be_hidden()
    desk.get_by_text("More circumstances").press("Enter")
    expect(address).to_be_visible()
    desk.keyboard.press("Tab")
    expect(address).to_be_focused()
    address.fill("9.9.9.9")
    desk.get_by_role("button", name="May they?").click()
    expect(desk.locator("#answer")).to_contain_text("9.9.9.9 is in none of 10.0.0.0/8")
    expect(address).to_be_visible()
    assert parse_qs(urlsplit(desk.url).query)["address"] == ["9.9.9.9"]
