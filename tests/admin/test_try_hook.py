"""Try a hook: may they, and why? Answered as for a hook, shared by its address, and without a trace."""

import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from apps.access import pages
from apps.access.reasons import Reason
from apps.access.try_form import PLAYER, SHARED, WORDS, TryForm, shareable_custom
from apps.database.connection import Unavailable
from apps.protocol.messages import HookCall
from apps.protocol.methods import METHODS, find
from tests import factories
from tests.access.test_explain import traces
from tests.admin.conftest import browser_of, make_event, make_role, make_session

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/access/try/"
ASKED = {"who": "user", "user": "alice", "method": "playStream", "target": "lobby", "app": "defaultApp"}


@pytest.fixture
def alice():
    """A user, with an app to come through."""
    factories.make_app()
    return factories.make_user("alice")


def ask(browser, **fields):
    """Ask by an address, as when it is shared."""
    return browser.get(PAGE, {**ASKED, **fields})


def reason_of(response):
    assert response.status_code == 200
    assert response.context["explanation"], response.context["form"].errors
    return response.context["explanation"].reason


def faults(response):
    assert response.context["explanation"] is None
    return {name: " ".join(errors) for name, errors in response.context["form"].errors.items()}


def role_of(*codenames):
    make_role("some", *codenames)
    return browser_of(factories.make_user("some", is_staff=True, groups=["some"]))


# Who may ask


def test_it_is_for_staff_who_may_see_rules(client, olga, audrey):
    assert olga.get(PAGE).status_code == 200
    assert audrey.get(PAGE).status_code == 403
    assert audrey.post(PAGE, ASKED).status_code == 403
    assert client.get(PAGE).status_code == 302


def test_it_is_in_the_sidebar_of_those_who_may(olga, audrey):
    assert PAGE in olga.get(reverse("admin:index")).content.decode()
    assert PAGE not in audrey.get(reverse("admin:index")).content.decode()


def test_seeing_one_list_is_enough_and_links_lead_only_where_one_may_go(alice):
    browser = role_of("view_callpermission")
    rule = factories.make_rule("play", target=("exact", "lobby"))
    text = ask(browser).content.decode()
    assert str(rule) not in text
    assert "A rule of a list that you may not see." in text
    assert reverse("admin:access_streampermission_change", args=[rule.pk]) not in text
    assert reverse("admin:accounts_user_change", args=[alice.pk]) not in text
    assert "autocomplete/?" not in text


def test_the_source_of_a_stream_is_shown_to_those_who_may_see_streams(root, alice):
    factories.make_stream("lobby", source="rtsp://cam.example/1")
    factories.make_rule("play")
    assert "It is told: name “rtsp://cam.example/1” instead of “lobby”." in ask(root).content.decode()
    text = ask(role_of("view_streampermission")).content.decode()
    assert "What that is, is shown to those who may see streams." in text
    assert "cam.example" not in text


# The form


def test_whatever_can_be_refused_can_be_asked_about():
    assert {name.removesuffix(PLAYER) for name in WORDS} == {method.name for method in METHODS if method.refusable}


def test_there_is_no_field_for_a_secret(root):
    assert set(TryForm().fields) == {*SHARED, "body"}
    response = root.get(PAGE, {**ASKED, "token": "tok-alice", "password": "secret-1", "body": '{"token": "tok-bob"}'})
    for secret in ("tok-alice", "secret-1", "tok-bob"):
        assert secret not in response.content.decode()


def test_the_only_app_is_filled_in(root):
    assert root.get(PAGE).context["form"]["app"].value() == ""
    factories.make_app("school")
    assert root.get(PAGE).context["form"]["app"].value() == "school"
    factories.make_app("other")
    assert root.get(PAGE).context["form"]["app"].value() == ""


def test_what_is_typed_in_becomes_an_address(root, alice):
    at = "2026-03-01T12:00"
    response = root.post(PAGE, {**ASKED, "at": at, "body": ""})
    assert response.status_code == 302
    assert parse_qs(urlsplit(response["Location"]).query) == {
        **{name: [value] for name, value in ASKED.items()},
        "at": [at],
    }
    assert reason_of(root.get(response["Location"])) == Reason.NO_RULE


def test_only_what_matters_is_in_the_address(root, alice):
    location = root.post(PAGE, {**ASKED, "who": "guest", "method": "connect"})["Location"]
    assert urlsplit(location).query == "who=guest&method=connect&app=defaultApp"


@pytest.mark.parametrize(
    ("fields", "field", "fault"),
    [
        ({"who": ""}, "who", "Say who asks."),
        ({"user": ""}, "user", "Choose a user, or let a guest ask."),
        ({"user": "nobody"}, "user", "There is no user “nobody”."),
        ({"who": "hook"}, "body", "Paste the body of the hook"),
        ({"app": ""}, "app", "This field is required."),
        ({"method": "hangup"}, "method", "Select a valid choice."),
        ({"at": "soon"}, "at", "Enter a valid date/time."),
        ({"at": "0001-01-01T00:00"}, "at", "Choose a date from 1970 on and before 9999."),
        ({"at": "9999-01-01T00:00"}, "at", "Choose a date from 1970 on and before 9999."),
        ({"method": "playRTSP", "target": "rtsp://n/lobby?token=t"}, "target", "Type the stream's name alone"),
        ({"target": "rtsp://u:PW@cam/1?token=t"}, "target", "Paste a hook instead"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(root, alice, fields, field, fault):
    assert fault in faults(ask(root, **fields))[field]


def test_an_address_with_a_token_that_was_typed_in_gets_into_no_address(root, alice):
    typed = {**ASKED, "method": "playRTSP", "target": "rtsp://n/lobby?token=tok-alice"}
    assert "target" in faults(root.post(PAGE, typed))


# More circumstances


@pytest.mark.parametrize(
    ("conditions", "field", "fits", "other", "missed"),
    [
        ({"networks": ["10.0.0.0/8"]}, "address", "10.1.2.3", "9.9.9.9", "9.9.9.9 is in none of 10.0.0.0/8"),
        ({"networks": ["2001:db8::/32"]}, "address", "2001:db8::7", "", "the hook shows no client address"),
        ({"origins": ["*.a.example"]}, "page", "https://www.a.example", "", "the hook names no page"),
        ({"media_providers": ["HLS"]}, "media", "WebRTC, HLS", "WebRTC", "the media provider is WebRTC, not HLS"),
        ({"nodes": ["edge-1"]}, "node", "edge-1", "edge-2", "the node is “edge-2”, not “edge-1”"),
        ({"custom": ["role = teacher"]}, "custom", '{"role": "teacher"}', '{"role": "pupil"}', "role is “pupil”"),
    ],
)
def test_circumstances_can_be_asked_about_and_shared(root, alice, conditions, field, fits, other, missed):
    factories.make_rule("play", **conditions)
    address = root.post(PAGE, {**ASKED, field: fits})["Location"]
    assert parse_qs(urlsplit(address).query)[field] == [fits]
    assert reason_of(root.get(address)) == Reason.ALLOWED_BY_RULE
    response = ask(root, **{field: other})
    assert reason_of(response) == Reason.NO_RULE
    assert missed in response.content.decode().replace("&quot;", '"')


@pytest.mark.parametrize(
    ("fields", "field", "fault"),
    [
        ({"address": "10.1"}, "address", "Enter a valid IPv4 or IPv6 address."),
        ({"custom": "role"}, "custom", "Expected a JSON object"),
        ({"custom": "[1]"}, "custom", "Expected a JSON object"),
        ({"custom": '{"a": NaN}'}, "custom", "Expected a JSON object"),
        ({"custom": "[" * 1900}, "custom", "Expected a JSON object"),
        ({"custom": '{"a": ' + "[" * 40 + "]" * 40 + "}"}, "custom", "nest at most 32 deep"),
        ({"custom": '{"token": "tok-1"}'}, "custom", "Paste a hook"),
        ({"custom": '{"site": "https://u:PW@h/"}'}, "custom", "Paste a hook"),
        ({"custom": '{"ticket": "t-1"}', "app": "ticketed"}, "custom", "Paste a hook"),
    ],
)
def test_circumstances_that_cannot_be_are_said_at_their_field(root, alice, fields, field, fault):
    factories.make_app("ticketed", token_name="ticket")
    assert fault in faults(ask(root, **fields))[field]
    assert root.post(PAGE, {**ASKED, **fields}).status_code == 200  # and gets into no address


@pytest.mark.parametrize(
    ("custom", "shared"),
    [
        ({"role": "teacher"}, '{"role": "teacher"}'),
        ({"role": "teacher", "token": "tok-1", "api_key": "k"}, '{"role": "teacher"}'),
        ({"seat": "***"}, ""),
        ({"at": {"password": "pw"}}, ""),
        ({"long": "x" * 3000}, ""),
        ([1], ""),
        (None, ""),
    ],
)
def test_of_a_hook_no_secret_is_shared(custom, shared):
    body = json.dumps({"custom": custom}).encode()
    assert shareable_custom(HookCall.from_payload("playStream", find("playStream"), body)) == shared


# The answer


def test_a_refusal_shows_what_was_near(root, alice):
    rule = factories.make_rule("play", user=alice, target=("exact", "lobby-1"))
    response = ask(root)
    text = response.content.decode()
    assert reason_of(response) == Reason.NO_RULE
    assert "alice may not play “lobby”. No rule allows it." in text
    assert "“lobby” is not “lobby-1”" in text
    assert reverse("admin:access_streampermission_change", args=[rule.pk]) in text
    assert reverse("admin:accounts_user_change", args=[alice.pk]) in text
    assert "because our answer to connect said FAIL for this method." in text


def test_an_allowed_hook_shows_what_settled_it(root, alice):
    rule = factories.make_rule("play", user=alice)
    logged = factories.make_rule("play", effect="deny", enforced=False)
    response = ask(root)
    titles = {section.title: section.lines for section in response.context["sections"]}
    assert reason_of(response) == Reason.ALLOWED_BY_RULE
    assert [line.text for line in titles["Settled by"]] == [str(rule)]
    assert [line.text for line in titles["Only logged: in force, but they decide nothing"]] == [str(logged)]
    assert "alice may play “lobby”. A rule allows it." in response.content.decode()
    assert "200: WCS goes on." in response.content.decode()


def test_guests_unknown_apps_and_users_who_are_off(root, alice):
    factories.make_app("open", guests=True)
    factories.make_rule("play", guests=True)
    assert reason_of(ask(root, who="guest")) == Reason.NO_CREDENTIALS
    assert reason_of(ask(root, who="guest", app="open")) == Reason.ALLOWED_BY_RULE
    assert reason_of(ask(root, app="nowhere")) == Reason.UNKNOWN_APP
    alice.is_active = False
    alice.save()
    assert reason_of(ask(root)) == Reason.USER_INACTIVE


@pytest.mark.parametrize(
    ("fields", "page"),
    [
        ({"app": "nowhere"}, "/admin/connections/app/add/?key=nowhere"),
        ({"who": "guest"}, "/admin/connections/app/"),
        ({"user": "dora"}, "/admin/accounts/user/"),
    ],
)
def test_where_no_rule_would_help_it_says_what_does_and_where(root, alice, fields, page):
    factories.make_user("dora", is_active=False)
    response = ask(root, **fields)
    what_to_do = response.context["sections"][0]
    assert what_to_do.title == "What to do"
    assert what_to_do.lines[0].text
    assert what_to_do.links[0].url.startswith(page)
    assert root.get(what_to_do.links[0].url).status_code == 200


def test_another_moment_can_be_asked_about(root, alice):
    now = timezone.localtime()
    factories.make_rule("play", ends_at=now - timedelta(days=1))
    assert reason_of(ask(root)) == Reason.NO_RULE
    assert reason_of(ask(root, at=f"{now - timedelta(days=2):%Y-%m-%dT%H:%M}")) == Reason.ALLOWED_BY_RULE


@pytest.mark.parametrize("name", WORDS)
def test_every_method_asks_for_its_action_and_target(root, alice, name):
    method = find(name.removesuffix(PLAYER))
    explanation = ask(root, method=name, target="door").context["explanation"]
    running = {"StreamKeepAliveEvent": "publish", "StreamKeepAliveEvent.player": "play"}
    assert explanation.action == running.get(name, method.action)
    assert explanation.target == ("defaultApp" if name == "connect" else "door" if method.has_target else "")
    factories.make_rule(explanation.action)
    assert reason_of(ask(root, method=name, target="door")) == Reason.ALLOWED_BY_RULE


@pytest.mark.parametrize("method", ["hold", "unhold", "sendDtmf"])
def test_what_is_done_in_a_call_is_about_its_number(root, alice, method):
    factories.make_rule("hold", "dtmf")
    factories.make_rule("hold", "dtmf", effect="deny", target=("number-prefix", "+49900"))
    assert reason_of(ask(root, method=method, target="+49 30 1234")) == Reason.ALLOWED_BY_RULE
    assert reason_of(ask(root, method=method, target="+49 900 1234")) == Reason.DENIED_BY_RULE


def test_a_change_counts_at_once(root, alice):
    for _ in range(5):
        rule = factories.make_rule("play")
        assert reason_of(ask(root)) == Reason.ALLOWED_BY_RULE
        rule.delete()
        assert reason_of(ask(root)) == Reason.NO_RULE


def test_markup_in_a_name_stays_text(root, alice):
    assert "<script>alert" not in ask(root, target="<script>alert(1)</script>", app="'}<script>alert").content.decode()


def test_a_database_that_is_away_is_a_sentence(root, alice, monkeypatch):
    def away(*_, **__):
        raise Unavailable("The rules could not be read in time.")

    monkeypatch.setattr(pages, "explain_now", away)
    response = ask(root)
    assert response.status_code == 503
    assert "This cannot be answered just now: The rules could not be read in time." in response.content.decode()


# A pasted hook


def paste(browser, who="hook", method="connect", **members):
    members = {"nodeId": "n", "sessionId": "s", "appKey": "defaultApp", **members}
    return browser.post(PAGE, {"who": who, "user": "alice", "method": method, "body": json.dumps(members)})


def test_a_pasted_hook_is_answered_at_once_and_gone(root, alice):
    factories.make_token(alice)
    factories.make_rule("connect")
    response = paste(root, custom={"token": "tok-alice"})
    assert reason_of(response) == Reason.ALLOWED_BY_RULE
    assert "by the token in the hook" in response.content.decode()
    assert "tok-alice" not in response.content.decode()
    assert "no-store" in response["Cache-Control"]


def test_a_pasted_hook_is_looked_up_in_its_session_or_asked_as_somebody_else(root, alice):
    token = factories.make_token(alice)
    make_session(alice, node_id="n", session_id="s", token=token)
    of_session = paste(root, method="publishStream", name="lobby")
    assert "by the token that opened its session" in of_session.content.decode()
    assert reason_of(paste(root)) == Reason.NO_CREDENTIALS
    assert reason_of(paste(root, who="user")) == Reason.NO_RULE


@pytest.mark.parametrize("codename", ["view_user", "view_session"])
def test_whose_a_session_is_is_told_to_those_who_may_see_that(alice, codename):
    bob = factories.make_user("bob")
    make_session(bob, node_id="n", session_id="s", token=factories.make_token(bob))
    factories.make_rule("play")
    ruler, other = role_of("view_streampermission"), factories.make_user("other", is_staff=True)
    response = paste(ruler, method="playStream", name="lobby")
    assert list(faults(response)) == ["who"]
    assert "bob" not in response.content.decode()
    assert reason_of(paste(ruler, "guest", method="playStream", name="lobby")) == Reason.NO_CREDENTIALS
    make_role("others", "view_streampermission", codename).user_set.add(other)
    assert "bob may play “lobby”." in paste(browser_of(other), method="playStream", name="lobby").content.decode()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("{", "The body is not JSON"),
        ('{"name": 5}', "The body is not a hook"),
        ("{}", "connect needs nodeId and sessionId"),
        ("[" * 40 + "]" * 40, "nest at most 32 deep"),
        (" " * 300_000, "at most 262144 bytes"),
    ],
)
def test_a_body_that_cannot_be_read_is_said_to_be(root, alice, body, fault):
    assert fault in faults(root.post(PAGE, {"who": "hook", "method": "connect", "body": body}))["body"]


def test_a_pasted_name_is_shown_without_its_login_and_token(root, alice):
    factories.make_rule("play", user=alice, target=("exact", "door"))
    text = paste(root, who="user", method="playStream", name="rtsp://u:PW@cam/1?token=tok-1").content.decode()
    assert "alice may not play “rtsp://***@cam/1?token=***”." in text
    assert "“rtsp://***@cam/1?token=***” is not “door”" in text
    assert "u:PW" not in text
    assert "tok-1" not in text


# No trace


def test_asking_leaves_no_trace(root, alice):
    token = factories.make_token(alice)
    make_session(alice, node_id="n", session_id="s", token=token)
    before = traces()
    for name in WORDS:
        root.post(PAGE, {**ASKED, "method": name}, follow=True)
    ask(root, who="guest")
    paste(root, custom={"token": "tok-alice"})
    paste(root, custom={"login": "alice", "password": "wrong"})
    paste(root, method="publishStream", nodeId="never-seen")
    assert traces() == before


# From the audit log


def address_on(browser, event):
    """Where the event's page leads to ask again; "" if nowhere."""
    return browser.get(reverse("admin:audit_auditevent_change", args=[event.pk])).context["try_url"]


def test_an_event_leads_to_the_same_question(root, alice):
    event = make_event("PLAYSTREAM", username="alice")
    address = address_on(root, event)
    where = {"address": ["192.168.1.38"], "node": [factories.NODE_ID]}
    assert parse_qs(urlsplit(address).query) == {**{name: [value] for name, value in ASKED.items()}, **where}
    factories.make_rule("play")
    assert reason_of(root.get(address)) == Reason.ALLOWED_BY_RULE
    event_page = root.get(reverse("admin:audit_auditevent_change", args=[event.pk])).content.decode()
    assert "was refused: no rule allows it." in event_page  # as recorded


@pytest.mark.parametrize(
    ("event", "query"),
    [
        ({"method": "StreamKeepAliveEvent"}, "who=user&user=charlie&method=StreamKeepAliveEvent.player&target=lobby"),
        ({"method": "connect", "action": "connect", "target": "defaultApp"}, "who=user&user=charlie&method=connect"),
        (
            {"method": "hold", "action": "hold", "target": "+49900"},
            "who=user&user=charlie&method=hold&target=%2B49900",
        ),
        ({"username": "", "reason": Reason.NO_RULE}, "who=guest&method=playStream&target=lobby"),
        ({"username": "", "reason": Reason.BAD_TOKEN}, "method=playStream&target=lobby"),
    ],
)
def test_each_event_fills_in_what_is_known(root, event, query):
    address = address_on(root, make_event(**event, node_id="", session_id=""))
    assert address == f"{PAGE}?{query}&app=defaultApp"


def test_an_event_fills_in_its_circumstances_but_no_secret(root, alice):
    make_session(alice, origin="https://a.example")
    body = {
        "appKey": "defaultApp",
        "nodeId": factories.NODE_ID,
        "sessionId": "session-0",
        "name": "lobby",
        "mediaProvider": "HLS",
        "custom": {"role": "teacher", "token": "***", "seat": "***"},
    }
    event = make_event(session_id="session-0", body=json.dumps(body).encode())
    query = parse_qs(urlsplit(address_on(root, event)).query)
    assert query["page"] == ["https://a.example"]
    assert query["media"] == ["HLS"]
    assert query["custom"] == ['{"role": "teacher"}']


def test_where_nothing_can_be_asked_there_is_no_link(root, audrey):
    assert address_on(audrey, make_event()) == ""
    for method in ("StreamStatusEvent", "hangup", "futureMethod"):
        assert address_on(root, make_event(method)) == ""


def test_of_an_unknown_client_it_is_asked_who_it_shall_be(root, alice):
    response = root.get(address_on(root, make_event(username="", reason=Reason.BAD_TOKEN)))
    assert "it was not known there" in faults(response)["who"]


# In a real browser


@pytest.mark.browser
def test_it_completes_names_and_hides_what_does_not_matter(desk, alice):
    factories.make_user("albert")
    factories.make_rule("connect", user=alice)
    desk.goto(PAGE)
    user, target = desk.get_by_label("User name"), desk.get_by_label("Name of the stream, or number")
    user.fill("al")
    expect(desk.locator("#users option")).to_have_count(2)
    user.fill("alice")
    expect(target).to_be_visible()
    desk.get_by_label("Wants to").select_option("connect")
    expect(target).to_be_hidden()
    desk.get_by_role("button", name="May they?").click()
    expect(desk.locator("#answer")).to_contain_text("Allowed. alice may connect through app “defaultApp”.")
    expect(desk).to_have_url(f"{desk.url.partition('?')[0]}?who=user&user=alice&method=connect&app=defaultApp")
    desk.get_by_label("a guest").check()
    expect(user).to_be_hidden()
    desk.get_by_label("whoever a pasted hook shows").check()
    expect(desk.get_by_label("The hook's body as JSON")).to_be_visible()


def test_it_says_how_much_of_a_limit_is_used_up(root, alice):
    rule = factories.make_rule("play", user=alice, limit_per="user", at_once=1)
    response = ask(root)
    assert reason_of(response) == "allowed-by-rule"
    assert "0 of 1 run at once" in response.content.decode()
    factories.make_lease(alice, rules=[rule])
    response = ask(root)
    assert reason_of(response) == "limit-reached"
    assert "1 of 1 run at once" in response.content.decode()
