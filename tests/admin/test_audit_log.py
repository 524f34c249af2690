"""The audit log: read-only, searchable, and never asked for more than a page."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import urlencode

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from apps.access.reasons import STAFF_ACTION, Reason
from apps.access.rule_rows import number_plan
from apps.audit.browsing import paging, timeline_page
from apps.audit.browsing.filters import FILTERS
from apps.audit.browsing.paging import OLDER, Place, Turn
from apps.audit.browsing.query import MAX_LENGTH, MOST_WORDS, QUALIFIERS
from apps.audit.models import AuditEvent
from apps.audit.narrative import body_text, headline, story
from apps.audit.statistics import tallies
from apps.audit.statistics.models import Recount
from apps.protocol.methods import METHODS, find
from tests import factories
from tests.admin.conftest import browser_of, make_event, make_role, make_session

LOG = "/admin/audit/auditevent/"


def found(browser, **query):
    return set(browser.get(LOG, query).context["cl"].result_list)


def page_of(event):
    return reverse("admin:audit_auditevent_change", args=[event.pk])


def test_nobody_adds_changes_or_deletes(root, audrey):
    event = make_event()
    for browser in (root, audrey):
        assert browser.get(f"{LOG}add/").status_code == 403
        assert browser.post(page_of(event), {"username": "bob"}).status_code == 403
        assert browser.post(page_of(event).replace("change", "delete"), {"post": "yes"}).status_code == 403
        browser.post(LOG, {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"})
    assert AuditEvent.objects.get().username == "charlie"


def test_the_newest_are_first(audrey):
    now = timezone.now()
    events = [make_event(received_at=now - timedelta(minutes=minutes)) for minutes in (5, 1, 9)]
    listed = list(audrey.get(LOG).context["cl"].result_list)
    assert listed == [events[1], events[0], events[2]]


@pytest.mark.parametrize(
    ("field", "query"),
    [
        ({"method": "call"}, {"method": "call"}),
        ({"username": "alice"}, {"username": "alice"}),
        ({"username": "alice"}, {"username": "al*"}),
        ({"target": "door"}, {"target": "do*"}),
        ({"target": "door"}, {"target": "door"}),
        ({"app_key": "school"}, {"app": "school"}),
        ({"node_id": "edge"}, {"node": "edge"}),
        ({"session_id": "s-7"}, {"session": "s-7"}),
        ({"call_id": "c-7"}, {"call": " c-7 "}),
        ({"client_address": "10.1.2.3"}, {"ip": "10.1.2.3"}),
        ({"client_address": "10.1.2.3"}, {"ip": "10.0.0.0/8"}),
        ({"number": "+49301234", "target": "0049301234"}, {"number": "00 49 30 1234"}),
        ({"number": "+49301234"}, {"number": "+49*", "q": "decision:refused"}),
        ({"effect": "allow"}, {"effect": "allow"}),
        ({"reason": Reason.BAD_TOKEN}, {"reason": "bad-token"}),
        ({"username": "alice"}, {"q": "alice"}),
        ({"target": "+43 1"}, {"q": ' "+43 1" '}),
        ({"username": "alice"}, {"q": "user:alice -decision:allowed"}),
        ({"session_id": "s-7"}, {"q": "s-7"}),
        ({"call_id": "c-7"}, {"q": "c-7"}),
        ({"call_id": "c-7"}, {"q": "c-7", "effect": "deny", "last": "24h"}),
    ],
)
def test_filters_and_search_find(audrey, field, query):
    event = make_event(**field)
    make_event()
    assert found(audrey, **query) == {event}


def test_a_search_says_what_it_understood(audrey):
    make_event()
    text = audrey.get(LOG, {"q": "user:charlie decision:refused"}).content.decode()
    assert "Hooks by user “charlie”, refused." in text


def test_a_search_that_cannot_be_understood_says_where_and_finds_nothing(audrey):
    make_event()
    response = audrey.get(LOG, {"q": "charlie usr:x"})
    assert list(response.context["cl"].result_list) == []
    text = response.content.decode()
    assert "“usr:” is not known." in text
    assert "At “usr”, character 9 of what you typed." in text


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"ip": "10.0.0"}, "In the filter “address”: “10.0.0” is no address and no network. Write it like"),
        ({"call": "c*"}, "In the filter “call”: Write it whole: a star does not work here."),
        ({"number": "*"}, "In the filter “number”: Say what to look for."),
        ({"target": "*"}, "In the filter “stream or number”: Say what to look for."),
        ({"session": "s*"}, "In the filter “session”: Write it whole: a star does not work here."),
    ],
)
def test_a_filter_that_cannot_be_understood_says_what_was_expected_and_finds_nothing(audrey, query, sentence):
    make_event()
    response = audrey.get(LOG, query | {"username": "charlie"})
    assert list(response.context["cl"].result_list) == []
    text = response.content.decode()
    assert sentence in text
    assert "of what you typed" not in text
    assert 'value="charlie"' in text, "what else was typed stays in the form"
    assert response.context["save_url"] == ""
    for address in (f"{LOG}export/", "/admin/audit/export/ask/?"):
        refused = audrey.get(address, query) if "ask" not in address else audrey.post(address + urlencode(query))
        assert (refused.status_code, refused.content.decode().startswith(sentence)) == (400, True)


def test_a_filter_with_nothing_but_spaces_asks_for_nothing(audrey):
    event = make_event()
    assert found(audrey, ip=" ", call=" ", number=" ") == {event}


def test_every_filter_that_is_a_qualifier_says_so_in_the_words_of_a_search(audrey):
    response = audrey.get(LOG, {"username": "stud*", "ip": "10.0.0.0/8", "number": "+49*", "call": "c"})
    assert response.context["search_said"] == (
        "Hooks by user whatever begins with “stud”, from 10.0.0.0/8, about number whatever begins with “+49”, "
        "of call “c”."
    )


def test_time_is_filtered_from_and_until(audrey):
    now = timezone.now()
    old, new = make_event(received_at=now - timedelta(days=3)), make_event()
    border = f"{timezone.localtime(now - timedelta(days=2)):%Y-%m-%dT%H:%M}"
    assert found(audrey, **{"from": border}) == {new}
    assert found(audrey, until=border) == {old}
    assert found(audrey, last="24h") == {new}
    assert found(audrey, last="7d") == {new, old}


@pytest.mark.parametrize("typed", ["yesterday", "0001-01-01T00:00", "9999-12-31T23:59", "2026-11-26T25:00"])
def test_a_time_that_is_none_finds_nothing_and_takes_no_other_filter_away(audrey, typed):
    make_event()
    for name in ("from", "until"):
        response = audrey.get(LOG, {name: typed, "username": "charlie", "q": "lobby"})
        (problem,) = response.context["search_problems"]
        assert problem.sentence == (
            f"In the filter “time”: “{typed}” is not a date and time from 1970 on and before 9999."
        )
        content = response.content.decode()
        assert problem.sentence in content
        assert response.context["cl"].result_list == []
        assert 'value="charlie"' in content
        assert "Export what this list finds" not in content
        assert audrey.get(f"{LOG}timeline/", {name: typed}).status_code == 400


def test_a_rule_tried_out_that_is_no_number_finds_nothing(audrey):
    make_event()
    response = audrey.get(LOG, {"tried_out": "x"})
    assert [problem.sentence for problem in response.context["search_problems"]] == [
        "In the filter “tried out”: “x” is not the number of a rule."
    ]
    assert response.context["cl"].result_list == []


def test_a_filter_that_there_is_not_is_said_on_a_page_of_ours_and_is_no_error_in_the_log(audrey, caplog):
    response = audrey.get(LOG, {"after": "zzz"})
    content = response.content.decode()
    assert response.status_code == 400
    assert "The address asks for the filter “after”, which this list does not have. There are app, call," in content
    assert f'href="{LOG}">The list without filters' in content
    for page in ("timeline", "export"):
        response = audrey.get(f"{LOG}{page}/", {"after": "zzz"})
        assert (response.status_code, "filter “after”" in response.content.decode()) == (400, True)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"q": "after:now before:1h"}, "Nothing can match: the time from which"),
        ({"from": "2026-11-02T00:00", "until": "2026-11-01T00:00"}, "Nothing can match"),
        ({"q": "after:2026-11-02", "until": "2026-11-01T00:00"}, "Nothing can match"),
        ({"q": "number:030123456"}, "No country is set here (WCSGATE_COUNTRY_CODE), so “030123456” is not known"),
        ({"number": "030123456"}, "No country is set here"),
    ],
)
def test_what_can_match_nothing_or_less_than_was_meant_is_said(audrey, asked, said):
    assert said in audrey.get(LOG, asked).context["search_said"]


@pytest.mark.parametrize(
    "query", ["after:1h before:now", "after:1h", "-after:now before:1h", "number:112", "number:+49*"]
)
def test_nothing_is_said_of_what_may_match(audrey, query):
    said = audrey.get(LOG, {"q": query}).context["search_said"]
    assert "Nothing can match" not in said
    assert "No country" not in said


def test_national_numbers_are_known_where_a_country_is_set(audrey, settings):
    settings.COUNTRY_CODE = "49"
    number_plan.cache_clear()
    said = audrey.get(LOG, {"q": "number:030123456"}).context["search_said"]
    number_plan.cache_clear()
    assert said == "Hooks about number “030123456”."


@pytest.mark.parametrize("offset", ["+15:59", "+16:00", "+23:59", "-23:59"])
def test_a_time_of_any_offset_is_that_time(audrey, offset):
    moment = parse_datetime(f"2026-01-01T12:00:00{offset}").astimezone(UTC)
    before, after = (make_event(received_at=moment + timedelta(minutes=minutes)) for minutes in (-1, 1))
    typed = f"2026-01-01T12:00:00{offset}"
    assert found(audrey, **{"from": typed}) == {after}
    assert found(audrey, until=typed) == {before}
    assert audrey.get(f"{LOG}timeline/", {"from": typed}).status_code == 200
    lines = b"".join(audrey.get(f"{LOG}export/", {"from": typed, "format": "jsonl"}).streaming_content).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(after.pk)]


def test_the_form_shows_the_time_of_the_address_by_the_clock_of_staff(audrey, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    text = audrey.get(LOG, {"from": "2026-11-01T12:00:00+00:00"}).content.decode()
    assert 'type="datetime-local" step="1" value="2026-11-01T13:00:00"' in text


def test_pages_are_turned_by_links(audrey):
    now = timezone.now()
    events = [make_event(username="ann", received_at=now - timedelta(seconds=number)) for number in range(120)]
    make_event(username="bob")

    def page_at(address):
        response = audrey.get(address)
        turns = {turn["label"]: turn["url"] and f"{LOG}{turn['url']}" for turn in response.context["cl"].turns()}
        return list(response.context["cl"].result_list), turns, " ".join(response.content.decode().split())

    first, turns, text = page_at(f"{LOG}?q=user%3Aann")
    assert (first, turns["Newest"], turns["Newer"]) == (events[:50], "", "")
    assert 'rel="next" aria-keyshortcuts="n"' in text
    second, turns, text = page_at(turns["Older"])
    assert second == events[50:100]
    assert 'rel="prev" aria-keyshortcuts="p"' in text
    assert page_at(turns["Newer"])[0] == events[:50]
    third, ends, _ = page_at(turns["Older"])
    assert (third, ends["Older"], ends["Oldest"]) == (events[100:], "", "")
    last, turns, text = page_at(turns["Oldest"])
    assert (last, turns["Older"], turns["Oldest"]) == (events[-50:], "", "")
    assert page_at(turns["Newest"])[0] == events[:50]
    assert 'name="p"' not in text  # forms begin with the newest again


@pytest.mark.parametrize("page", ["99999999", "2", "older.x", "newer.\0", "oldest.1"])
def test_a_page_that_is_none_is_the_newest_with_a_sentence(audrey, page):
    event = make_event(username="ann")
    make_event()
    response = audrey.get(LOG, {"p": page, "q": "user:ann"})
    assert list(response.context["cl"].result_list) == [event]
    assert "Which page this is cannot be read from its address" in response.content.decode()


def test_a_page_of_which_nothing_is_kept_says_so(audrey):
    event = make_event()
    response = audrey.get(LOG, {"p": str(Turn(OLDER, Place.of(event)))})
    text = response.content.decode()
    assert "Nothing further" in text
    assert "To the newest" in text
    assert response.context["cl"].turns()[0] == {"label": "Newest", "url": "?"}


def test_nothing_found_says_what_to_do(audrey):
    text = audrey.get(LOG, {"q": "user:nobody"}).content.decode()
    assert "user:teacher* finds all that begin so" in text


def test_what_takes_too_long_to_find_says_what_to_do(audrey, monkeypatch):
    def too_long(*_):
        raise paging.TakesTooLong

    make_event()
    monkeypatch.setattr(paging, "page_of", too_long)
    monkeypatch.setattr(timeline_page, "counts_of", too_long)
    response = audrey.get(LOG, {"q": "status:x"})
    assert "the search was ended after 5 seconds. Add a time" in response.content.decode()
    assert "would take too long. Add a time" in audrey.get(f"{LOG}timeline/").content.decode()


def test_other_conditions_are_not_taken(audrey):
    for query in ({"target__icontains": "x"}, {"body__contains": "x"}, {"method__startswith": "p"}):
        assert audrey.get(LOG, query).status_code == 400


def test_nothing_is_counted_or_made_distinct(audrey):
    make_event()
    place = str(Turn(OLDER, Place(timezone.now(), make_event().id)))
    for query in ({}, {"q": "charlie"}, {"username": "charlie", "effect": "deny"}, {"p": place}, {"p": "oldest"}):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            audrey.get(LOG, query)
        about_events = [row["sql"] for row in queries if 'FROM "audit_auditevent"' in row["sql"]]
        assert len(about_events) == 1
        assert "COUNT(" not in about_events[0]
        assert "DISTINCT" not in about_events[0]
        assert "LIKE" not in about_events[0].upper().replace("LIKELY", "")
        assert about_events[0].endswith("LIMIT 51")
        assert "OFFSET" not in about_events[0]
        of_staff = """WHEN "audit_auditevent"."reason" = 'staff-action' THEN audit_why("audit_auditevent"."body") """
        assert '"body"' not in about_events[0].replace(of_staff, ""), "bodies of hooks stay away from lists"


def test_the_list_costs_the_same_queries_wherever_it_is_opened(audrey, django_assert_num_queries):
    for number in range(3):
        make_event(username="ann", received_at=timezone.now() - timedelta(hours=number))
    place = str(Turn(OLDER, Place.of(make_event())))
    audrey.get(LOG)
    with CaptureQueriesContext(connection) as one:
        audrey.get(LOG)
    for query in ({"p": place}, {"p": "oldest"}, {"q": "ann"}, {"q": "user:ann"}):
        with django_assert_num_queries(len(one)):
            audrey.get(LOG, query)


# The timeline


def test_the_timeline_is_asked_for_by_the_list_and_counts_nothing_for_it(audrey):
    make_event()
    text = audrey.get(LOG, {"q": "user:charlie"}).content.decode()
    assert f'hx-get="{LOG}timeline/?q=user%3Acharlie" hx-trigger="load"' in text
    assert "<svg viewBox" not in text


def test_each_bar_leads_to_its_time(audrey):
    now = timezone.now()
    old = make_event(received_at=now - timedelta(days=3), effect="allow", reason="not-refusable")
    new = make_event(received_at=now - timedelta(hours=1))
    make_event(username="bob")
    response = audrey.get(f"{LOG}timeline/", {"q": "user:charlie", "last": "30d"}, headers={"HX-Request": "true"})
    bars = [bar for bar in response.context["bars"] if bar["pieces"]]
    assert [dict(bar["numbers"]) for bar in bars] == [
        {"refused": 0, "allowed": 0, "by staff": 0, "noted": 1},
        {"refused": 1, "allowed": 0, "by staff": 0, "noted": 0},
    ]
    for bar, event in zip(bars, (old, new), strict=True):
        assert list(audrey.get(bar["url"]).context["cl"].result_list) == [event]
        assert "last=" not in bar["url"]
    text = " ".join(response.content.decode().split())
    assert "All 2 of this result:" in text
    assert "0 refused, 0 allowed, 0 by staff, 1 noted" in text
    assert f'<a class="text-link" href="{LOG}?q=user%3Acharlie">Show any time</a>' in text
    assert "<html" not in text


def test_the_timeline_of_one_event_says_that_it_is_the_only_one(audrey):
    make_event()
    assert "The only one of this result:" in audrey.get(f"{LOG}timeline/").content.decode()


def test_the_timeline_says_how_far_it_looked(audrey, monkeypatch):
    monkeypatch.setattr("apps.audit.browsing.timeline.LOOKED_AT", 2)
    for number in range(3):
        make_event(received_at=timezone.now() - timedelta(minutes=number))
    text = " ".join(audrey.get(f"{LOG}timeline/").content.decode().split())
    assert "The newest 2 of this result, since" in text


def test_a_word_is_looked_for_in_each_column_by_itself(audrey):
    """Beside a condition that it stands anywhere, Postgres takes what is common for rare, and reads all of it."""
    found = {make_event(), make_event(username="ann", target="charlie"), make_event(username="ann", call_id="charlie")}
    make_event(username="ann")
    with CaptureQueriesContext(connection) as queries:
        page = audrey.get(LOG, {"q": "charlie decision:refused"})
    assert set(page.context["cl"].result_list) == found
    (sql,) = [query["sql"] for query in queries if " UNION " in query["sql"]]
    assert " OR " not in sql


@pytest.mark.parametrize(("number", "exact"), [(2, True), (3, False)])
def test_the_timeline_is_drawn_from_counts_where_much_is_found(audrey, monkeypatch, number, exact):
    """What is not much is looked at itself, to the second."""
    monkeypatch.setattr(timeline_page, "LOOKED_AT", 2)
    for days in range(number):
        event = make_event(received_at=timezone.now() - timedelta(days=days * 4))
        tallies.note([event])
    Recount.objects.create(pk=1, done=True)
    counts = audrey.get(f"{LOG}timeline/").context["counts"]
    assert (counts.total, counts.complete, counts.exact) == (number, True, exact)


def test_the_timeline_is_a_page_of_its_own_without_javascript(audrey):
    make_event()
    text = audrey.get(f"{LOG}timeline/").content.decode()
    assert "<html" in text
    assert "To the list" in text
    assert 'tabindex="-1"' not in text.partition("<svg viewBox")[2]


def test_the_timeline_is_for_those_who_may_see_the_log(db):
    make_role("helpers", "view_user")
    helper = browser_of(factories.make_user("helper", is_staff=True, groups=["helpers"]))
    assert helper.get(f"{LOG}timeline/").status_code == 403


VALUES = {"decision": "refused", "reason": "no-rule", "ip": "10.0.0.0/8", "rule": "7", "while": "away", "before": "now"}
VALUES |= {"after": "7d"}
WORDS = ["a", "-a", "+49", "-ip:10.0.0.0/8", "node:a*", *(f"{key}:{VALUES.get(key, 'a')}" for key in QUALIFIERS)]


@pytest.mark.parametrize("word", WORDS)
def test_no_search_is_long_enough_to_keep_others_waiting(audrey, word):
    """Of each kind as many as are taken, and as many as can be typed."""
    make_event()
    for text in (f"{word} " * MOST_WORDS, f"{word} " * (MAX_LENGTH // (len(word) + 1))):
        began = time.perf_counter()
        listed = audrey.get(LOG, {"q": text})
        assert audrey.get(f"{LOG}timeline/", {"q": text}).status_code == 200
        exported = audrey.get(f"{LOG}export/", {"q": text})
        if exported.streaming:
            list(exported.streaming_content)
        assert time.perf_counter() - began < 3.0  # half a second on a computer with nothing else to do
        too_long = len(text.split()) > MOST_WORDS
        assert (exported.status_code == 400, bool(listed.context["search_problems"])) == (too_long, too_long)


def test_a_search_that_cannot_be_understood_has_no_timeline(audrey):
    make_event()
    assert "timeline/" not in audrey.get(LOG, {"q": "usr:x"}).content.decode()
    assert audrey.get(f"{LOG}timeline/", {"q": "charlie usr:x"}).context["bars"] == []


def test_only_one_search_box_claims_the_slash(audrey):
    text = audrey.get(LOG).content.decode()
    assert text.count(">/</kbd>") == 1
    assert text.index(">/</kbd>") < text.index('id="searchbar"')


def test_an_event_is_told_as_a_sentence(audrey):
    event = make_event(
        node_name="edge-1", rule_ids=[7], rules=["Deny guests to play anything"], repeats=2, body=b'{"name":"<b>lobby"}'
    )
    text = audrey.get(page_of(event)).content.decode()
    assert "charlie asked to play “lobby” on node edge-1 and was refused: no rule allows it." in text
    assert "Deny guests to play anything" in text
    assert "2 times more" in text
    assert "once more" in audrey.get(page_of(make_event(repeats=1))).content.decode()
    assert "&quot;name&quot;: &quot;&lt;b&gt;lobby&quot;" in text
    assert "no-rule: No rule allows it." in text


def test_an_event_leads_on(transactional_db, root):
    alice = factories.make_user()
    session = make_session(alice, session_id="s-7")
    event = make_event(user=alice, username="alice", session_id="s-7")
    text = root.get(page_of(event)).content.decode()
    assert reverse("admin:accounts_user_change", args=[alice.pk]) in text
    assert reverse("admin:connections_session_change", args=[session.pk]) in text
    assert "session=s-7" in text


def test_history_outlives_its_subjects(audrey):
    alice = factories.make_user()
    event = make_event(user=alice, username="alice")
    alice.delete()
    assert "alice asked to play" in audrey.get(page_of(event)).content.decode()


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            AuditEvent(method="connect", action="connect", username="alice", app_key="school"),
            "alice asked to connect through app “school”",
        ),
        (AuditEvent(method="publishStream", action="publish", target="lobby"), "A guest asked to publish “lobby”"),
        (AuditEvent(method="unhold", action="hold", username="bob"), "bob asked to take a call off hold"),
        (
            AuditEvent(method="sendDtmf", action="dtmf", username="bob", target="+4930"),
            "bob asked to send tones in a call with “+4930”",
        ),
        (
            AuditEvent(method="sendMessage", action="message", username="bob", target="10007"),
            "bob asked to send messages to “10007”",
        ),
        (
            AuditEvent(method="OnCallEvent", action="receive-call", username="bob", target="+43"),
            "bob was about to receive a call from “+43”",
        ),
        (
            AuditEvent(method="StreamStatusEvent", username="bob", target="lobby", status="PLAYING"),
            "bob plays “lobby”",
        ),
        (
            AuditEvent(method="StreamStatusEvent", target="lobby", status="RESIZED"),
            "StreamStatusEvent about a guest and “lobby”, status RESIZED",
        ),
        (AuditEvent(method="ConnectionStatusEvent", status="FAILED"), "The connection of a guest failed"),
        (AuditEvent(method="CallStatusEvent", username="bob", status="RING"), "The call of bob rings"),
        (
            AuditEvent(method="StreamKeepAliveEvent", action="play", username="bob", target="lobby"),
            "WCS asked whether bob may still play “lobby”",
        ),
        (
            AuditEvent(method="StreamKeepAliveEvent", action="notify", target="lobby"),
            "WCS asked whether a guest may still go on with “lobby”",
        ),
        (AuditEvent(method="hangup", action="call", username="bob"), "bob hung up"),
        (AuditEvent(method="stopStream", action="play", target="lobby"), "A guest stopped playing “lobby”"),
        (AuditEvent(method="newHook"), "WCS sent “newHook”, which is not known here"),
    ],
)
def test_every_kind_of_hook_has_its_words(event, text):
    assert headline(event) == text


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_ends_a_sentence(reason):
    event = AuditEvent(method="playStream", action="play", username="bob", effect="deny", reason=reason)
    assert story(event, "edge-1").endswith(".")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a":1}', '{\n  "a": 1\n}'),
        (b"\xff\x00 <b>", "\\xff\\0 <b>"),
        (b"", ""),
        (b'"\\ud800"', '"\\ud800"'),
        (b"[" * 100_000, None),
        (b"1" * 5_000, "1" * 5_000),
        (json.dumps("ä" * 200_000).encode(), None),
    ],
)
def test_any_body_can_be_shown(body, text):
    shown = body_text(body)
    shown.encode()
    assert len(shown) < 101_000
    assert text is None or shown == text


# Sessions are read-only too


def test_sessions_are_told_apart_and_searched(root):
    alice = factories.make_user()
    running, ended = make_session(alice), make_session(ended_at=timezone.now())
    address = reverse("admin:connections_session_changelist")

    def listed(**query):
        return set(root.get(address, query).context["cl"].result_list)

    assert listed(state="running") == {running}
    assert listed(state="ended") == {ended}
    assert listed(q="alice") == {running}
    assert listed(q=ended.session_id) == {ended}
    assert root.get(f"{address}add/").status_code == 403
    assert root.post(f"{address}{running.pk}/delete/", {"post": "yes"}).status_code == 403


def test_neither_has_a_history(root):
    for page in (page_of(make_event()), reverse("admin:connections_session_change", args=[make_session().pk])):
        assert "/history/" not in root.get(page).content.decode()


def test_the_page_of_an_event_says_what_wcs_was_told(root):
    event = make_event(effect="allow", reason="allowed-by-rule", told="width 640 instead of <1920>")
    page = reverse("admin:audit_auditevent_change", args=[event.pk])
    assert "width 640 instead of &lt;1920&gt;" in root.get(page).content.decode()


@pytest.mark.parametrize("mistake", ["desicion:refused", "after:yesterdy", 'user:"Ann'])
def test_of_a_search_with_a_mistake_only_that_is_said(audrey, mistake):
    make_event()
    text = audrey.get(LOG, {"q": mistake}).content.decode()
    assert 'role="alert"' in text
    assert "Nothing matches" not in text
    assert "format=csv" not in text
    text = audrey.get(LOG, {"q": "user:nobody"}).content.decode()
    assert "Nothing matches" in text
    assert "format=csv" in text


def test_what_was_only_noted_or_changed_by_staff_is_filtered_as_it_is_searched_for(audrey):
    events = {
        "deny": make_event(),
        "allow": make_event(effect="allow", reason=Reason.ALLOWED_BY_RULE),
        "noted": make_event(effect="allow", reason=Reason.NOT_REFUSABLE),
        "changed": make_event(effect="allow", reason=STAFF_ACTION),
    }
    for value, event in events.items():
        assert found(audrey, effect=value) == {event}
        assert found(audrey, q=f"decision:{ {'deny': 'refused', 'allow': 'allowed'}.get(value, value) }") == {event}
    assert found(audrey, effect="perhaps") == set()


def test_what_the_form_asks_for_is_said_in_words(audrey):
    text = audrey.get(LOG, {"effect": "deny", "username": "ann", "from": "2026-11-01T10:00"}).content.decode()
    assert "Hooks refused, by user “ann”, after 2026-11-01 10:00." in text
    text = audrey.get(LOG, {"effect": "noted", "q": "user:ann"}).content.decode()
    assert "Hooks by user “ann”. Of these: noted." in text
    title = text.partition("<title>")[2].partition("</title>")[0]
    assert " ".join(title.split()).startswith("Audit log | "), title


def test_what_is_said_of_a_time_is_what_is_found(audrey, settings):
    """Of both a time and the last so many hours the later one counts; of the time zone of a bar only what it means."""
    settings.TIME_ZONE = "Europe/Berlin"
    with time_machine.travel(datetime(2026, 11, 26, 12, tzinfo=UTC), tick=False):
        said = audrey.get(LOG, {"last": "24h", "from": "2026-11-01T00:00"}).context["search_said"]
        assert said == "Hooks after 2026-11-25 13:00."
        bar = {"from": "2026-11-26T10:00:00+00:00", "until": "2026-11-26T11:00:30+01:00"}
        assert (
            audrey.get(LOG, bar).context["search_said"] == "Hooks after 2026-11-26 11:00, before 2026-11-26 11:00:30."
        )


@pytest.mark.parametrize("spelling", [method.name for method in METHODS if method.aliases])
def test_the_form_finds_a_method_in_each_spelling(audrey, spelling):
    events = {make_event(name) for name in (find(spelling).name, *find(spelling).aliases)}
    make_event("connect")
    assert found(audrey, method=spelling) == found(audrey, q=f"method:{spelling}") == events


OF_ALL = ("effect", "reason", "username", "ip", "why", "while")


@pytest.mark.parametrize("name", [name for name in FILTERS if name not in OF_ALL])
def test_a_filter_of_hooks_says_so_to_postgres(audrey, name):
    """They have an index of their own: nobody waits for thousands of changes by staff."""
    with CaptureQueriesContext(connection) as asked:
        audrey.get(LOG, {name: "x"})
    (listed,) = [query["sql"] for query in asked if "audit_auditevent" in query["sql"] and "ORDER BY" in query["sql"]]
    assert "staff-action" in listed


CHANGED = {
    "method": "", "effect": "allow", "reason": STAFF_ACTION, "action": "change", "username": "tina",
    "target": "rule 7", "rule_ids": [7], "rules": ["Allow everyone to play anything"],
    "told": "note “b” instead of “a”",
    "body": b'{"before": {"note": "a", "who": "everyone"}, "after": {"note": "<b>", "who": "everyone"}}',
}  # fmt: skip


def test_of_a_change_stand_the_rule_and_what_differs_before_all_of_it(audrey):
    event = make_event(**CHANGED)
    html = audrey.get(page_of(event)).content.decode()
    sentence, differs, all_of_it = (
        html.index(text) for text in ("Allow everyone to play anything", '<th scope="row">note</th>', "<details>")
    )
    assert sentence < differs < all_of_it
    assert "<td>&quot;a&quot;</td><td>&quot;&lt;b&gt;&quot;</td>" in html
    assert '<th scope="row">who</th>' not in html
    assert "tina: change rule 7 | View audit event" in " ".join(html.split())


def test_links_of_a_change_have_names_of_their_own(audrey):
    event = make_event(**CHANGED)
    decided = make_event(username="ann", effect="allow", reason=Reason.ALLOWED_BY_RULE, rule_ids=[7])
    other = make_event(**{**CHANGED, "target": "rule 8", "rule_ids": [8]})
    html = audrey.get(page_of(event)).content.decode().partition('aria-label="See also"')[2]
    found = re.findall(r'href="([^"]+)">([^<]+)</a>', html.partition("</section>")[0])
    links = {text: unescape(url) for url, text in found}
    listed = {text: set(audrey.get(url).context["cl"].result_list) for text, url in links.items()}
    assert listed == {
        "All that rule 7 decided": {decided},
        "All that staff did with rule 7": {event},
        "All that tina changed or did": {event, other},
    }


def test_a_row_that_was_added_has_nothing_to_compare(audrey):
    event = make_event(**{**CHANGED, "action": "add", "body": b'{"before": null, "after": {"note": "a"}}'})
    assert "There is nothing to compare: see all of it." in audrey.get(page_of(event)).content.decode()


def test_what_staff_did_says_why_they_did_it_and_how_what_they_changed_begins(audrey):
    told = "target “lobby” instead of “hall”; " + "hours Mon-Fri 08:00-18:00; " * 20
    fields = {"effect": "allow", "reason": STAFF_ACTION, "action": "change", "username": "tina", "target": "rule 7"}
    asked = make_event("", **fields, told=told, body=json.dumps({"why": "Ticket-17, asked by phone"}).encode())
    not_said = make_event("", **fields, body=b"{}")
    hook = make_event(body=b'{"why": "what clients say"}')
    for query in ("", "tina"):
        changes = audrey.get(LOG, {"q": query}).context["cl"]
        shown = changes.model_admin
        lines = {event.pk: (shown.what(event), shown.why(event)) for event in changes.result_list}
        what, why = lines[asked.pk]
        assert why == "Ticket-17, asked by phone"
        assert what.startswith("tina changed rule 7: target “lobby” instead of “hall”; hours")
        assert len(what) == 160
        assert lines[not_said.pk] == ("tina changed rule 7.", "")
        assert query or lines[hook.pk][1] == "No rule allows it."
