"""Care for rules: what a change would do is seen before it is made, and what is wrong with rules is said."""

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.access import rules_to_look_at
from apps.access.models import AccessRevision, Rule
from apps.access.tried_out import note
from tests import factories
from tests.admin.conftest import browser_of, make_event, make_role, make_session
from tests.admin.test_rules import RULE, STREAMS, list_of

LINT = "/admin/access/rules/"


def page(name, rule=None, view="change"):
    return reverse(f"admin:{name}_{view}", args=[rule.pk]) if rule else reverse(f"admin:{name}_add")


def text_of(response):
    """The page as text, also of one that comes in pieces."""
    assert response.status_code == 200
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return " ".join(body.decode().split())


@pytest.fixture
def desk(transactional_db):
    """The desk of Root; what a preview looks at is read by another connection, so it is really committed."""
    return browser_of(factories.make_user("root", is_staff=True, is_superuser=True))


@pytest.fixture
def lobby(desk):
    """Charlie has played the lobby three times, and does so now; Bob was refused."""
    factories.make_app()
    people = {name: factories.make_user(name) for name in ("bob", "charlie")}
    people["rule"] = factories.make_rule("play", user=people["charlie"], target=("exact", "lobby"))
    session = make_session(people["charlie"])
    of_charlie = {"user_id": people["charlie"].pk, "effect": "allow", "reason": "allowed-by-rule"}
    of_charlie |= {"session_id": session.session_id, "received_at": session.opened_at}
    make_event(**of_charlie)
    make_event(**of_charlie)
    played = make_event(
        **of_charlie,
        body=b'{"nodeId": "%s", "appKey": "defaultApp", "sessionId": "%s", "name": "lobby"}'
        % (factories.NODE_ID.encode(), session.session_id.encode()),
    )
    make_event("playStream", username="bob", user_id=people["bob"].pk)
    factories.make_lease(people["charlie"], record_id=played.id, session_id=session.session_id)
    return people


def state():
    return list(Rule.objects.values()), AccessRevision.objects.get().revision, LogEntry.objects.count()


BOB_TOO = {"who": "everyone", "actions": ["play"], "target_kind": "prefix", "target": "lob"}


def test_what_a_new_rule_would_change_is_seen_and_nothing_is_saved(desk, lobby):
    before = state()
    text = text_of(desk.post(page(STREAMS), {**RULE, **BOB_TOO, "_preview": "1"}))
    assert "Allow everyone with an account to play whatever begins with “lob”" in text
    assert "<strong>1</strong> of 4 decisions would be answered otherwise." in text
    assert "Allowed instead of refused" in text
    assert "bob asked to play “lobby”: once" in text
    assert "Nothing, of the last 2,000 streams that were let in." in text
    assert state() == before


def test_what_a_changed_rule_would_end_is_seen(desk, lobby):
    before = state()
    fields = {**RULE, **BOB_TOO, "effect": "deny", "_preview": "1"}
    text = text_of(desk.post(page(STREAMS, lobby["rule"]), fields))
    assert "Until now: Allow user “charlie” to play “lobby”" in text
    assert "charlie asked to play “lobby”: 3 times" in text
    assert "Refused instead of allowed" in text
    assert "charlie, playing “lobby”" in text
    assert state() == before


@pytest.mark.parametrize("many", [False, True])
def test_what_deleting_would_change_is_seen(desk, lobby, many):
    rule, before = lobby["rule"], state()
    if many:
        fields = {"action": "delete_selected", "_selected_action": [rule.pk]}
        asked = desk.post(list_of(STREAMS), fields)
        address = list_of(STREAMS)
    else:
        fields, address = {}, page(STREAMS, rule, "delete")
        asked = desk.get(address)
    assert "What would that change?" in text_of(asked)
    assert "charlie asked to play “lobby”: 3 times" in text_of(desk.post(address, {**fields, "_preview": "1"}))
    assert state() == before


@pytest.mark.parametrize(("action", "turned"), [("only_log", True), ("end_now", False)])
def test_many_are_changed_only_after_it_was_seen_what_that_would_do(desk, lobby, action, turned):
    """A rule that ends now decided all that was asked before."""
    before, chosen = state(), {"action": action, "_selected_action": [lobby["rule"].pk]}
    text = text_of(desk.post(list_of(STREAMS), chosen))
    assert ("charlie asked to play “lobby”: 3 times" in text) is turned
    assert "charlie, playing “lobby”" in text
    assert f'name="action" value="{action}"' in text
    assert state() == before
    desk.post(list_of(STREAMS), {**chosen, "_confirmed": "1"})
    assert state() != before


def test_how_many_decisions_and_since_when_can_be_chosen(desk, lobby):
    chosen = {**RULE, **BOB_TOO, "_preview": "1", "most": "1000", "since": "7"}
    text = text_of(desk.post(page(STREAMS), chosen))
    assert '<option value="1000" selected>' in text
    assert '<option value="7" selected>' in text
    assert text_of(desk.post(page(STREAMS), {**chosen, "most": "-1", "since": "x"})).count(" selected>") == 2


def test_it_is_told_how_far_it_has_come_while_decisions_are_looked_at(desk, lobby, monkeypatch):
    monkeypatch.setattr("apps.audit.asking.preview.AT_A_TIME", 3)
    response = desk.post(page(STREAMS), {**RULE, **BOB_TOO, "_preview": "1"})
    told = [piece.decode() for piece in response.streaming_content]
    found = [
        next(number for number, piece in enumerate(told) if words in piece)
        for words in ("Nothing is changed yet", "3 decisions looked at", "4 decisions looked at", "of 4 decisions")
    ]
    assert found == [0, 1, 2, 3]


def test_what_is_wrong_in_the_form_is_said_there_and_nothing_is_saved(desk, lobby):
    before = state()
    response = desk.post(page(STREAMS), {**RULE, "actions": ["play"], "target_kind": "exact", "_preview": "1"})
    assert list(response.context["adminform"].form.errors) == ["target"]
    assert state() == before


def test_who_may_not_change_rules_is_shown_no_preview(db):
    make_role("readers", "view_streampermission")
    reader = browser_of(factories.make_user("reader", is_staff=True, groups=["readers"]))
    rule = factories.make_rule("play")
    for button in ("_preview", "_sentence"):
        for address in (page(STREAMS), page(STREAMS, rule), page(STREAMS, rule, "delete")):
            assert reader.post(address, {**RULE, **BOB_TOO, button: "1"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [rule.pk], "_preview": "1"}
    assert reader.post(list_of(STREAMS), chosen).status_code == 403
    assert "What would it change?" not in text_of(reader.get(page(STREAMS, rule)))


@pytest.mark.parametrize("view", ["change", "delete"])
def test_who_may_not_see_the_audit_log_is_told_in_a_preview_how_many_and_not_who(lobby, view):
    make_role("rulers", "view_streampermission", "change_streampermission", "delete_streampermission")
    ruler = browser_of(factories.make_user("ruler", is_staff=True, groups=["rulers"]))
    deny = {**RULE, **BOB_TOO, "effect": "deny", "_preview": "1"}
    found = text_of(ruler.post(page(STREAMS, lobby["rule"], view), deny)).partition("of 4 decisions")[2]
    assert "Refused instead of allowed" in found
    assert "3 decisions" in found
    assert "1 stream " in found
    assert found.count("Who and what is told to those who may see the audit log.") == 2
    for told in ("charlie", "lobby", "3 times"):
        assert told not in found


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Deny everyone with an account to do nothing"),
        ({"effect": "allow", "who": "user", "actions": ["play"]}, "Allow user “…” to play “…”"),
        ({**RULE, **BOB_TOO}, "Allow everyone with an account to play whatever begins with “lob”"),
    ],
)
def test_a_rule_reads_as_a_sentence_while_it_is_written(olga, fields, sentence):
    response = olga.post(page(STREAMS), {"target_kind": "exact", **fields, "_sentence": "1"})
    assert response.content.decode().removesuffix(" (only logged)") == sentence
    assert not Rule.objects.exists()


def test_no_sentence_and_no_form_names_a_user_by_their_number_to_whom_may_not_see_users(db):
    alice, bob = factories.make_user("alice"), factories.make_user("bob")
    rule = factories.make_rule("play", user=alice)
    make_role("rulers", "view_streampermission", "add_streampermission", "change_streampermission")
    ruler = browser_of(factories.make_user("ruler", is_staff=True, groups=["rulers"]))
    assert "user “…”" in text_of(ruler.post(page(STREAMS), {**RULE, "who": "user", "user": bob.pk, "_sentence": "1"}))
    about_bob = {**RULE, "who": "user", "user": bob.pk, "actions": ["play"]}
    for address in (page(STREAMS), page(STREAMS, rule)):
        assert "bob" not in text_of(ruler.post(address, {**about_bob, "_sentence": "1"}))
        for button in ("_preview", "_save"):
            response = ruler.post(address, {**about_bob, button: "1"})
            assert list(response.context["adminform"].form.errors) == ["user"]
            assert "bob" not in text_of(response)
    assert "bob" not in text_of(ruler.get(page(STREAMS), {"user": bob.pk}))
    kept = ruler.post(page(STREAMS, rule), {**about_bob, "user": alice.pk, "note": "kept"})
    assert kept.status_code == 302
    assert Rule.objects.get().note == "kept"


# Rules to look at


def test_where_nothing_is_wrong_all_is_well(olga):
    assert "There are no rules yet" in text_of(olga.get(LINT))
    factories.make_rule("play", user=factories.make_user(), target=("exact", "lobby"))
    assert "All is well." in text_of(olga.get(LINT))


def test_what_is_wrong_is_said_with_the_rule_and_what_to_do(olga):
    alice = factories.make_user()
    rule = factories.make_rule("play", user=alice, target=("exact", "lobby"))
    deny = factories.make_rule("play", user=alice, effect="deny", target=("prefix", "l"))
    text = text_of(olga.get(LINT))
    assert f'<a class="text-link" href="{page(STREAMS, rule)}">{rule}</a>' in text
    assert "a deny catches all that it is about" in text
    assert "make the deny narrower" in text
    assert f'<a class="text-link" href="{page(STREAMS, deny)}">{deny}</a>' in text
    notice = text_of(olga.get(page(STREAMS, rule)))
    assert "a deny catches all that it is about" in notice
    assert f'href="{page(STREAMS, deny)}"' in notice
    assert "a deny catches" not in text_of(olga.get(page(STREAMS, deny)))


def test_what_is_wrong_is_said_when_a_rule_is_saved(olga):
    fields = {"who": "everyone", "actions": ["play"], "target_kind": "exact", "target": "cam-*"}
    text = text_of(olga.post(page(STREAMS), {**RULE, **fields}, follow=True))
    assert "Here * stands for itself, and for nothing else." in text


def test_rules_to_look_at_come_in_pages(olga, monkeypatch):
    monkeypatch.setattr("apps.access.lint_page.SHOWN", 2)
    rules = [factories.make_rule("play", target=("exact", f"cam-{number}-*")) for number in range(3)]
    first = text_of(olga.get(LINT))
    assert f'href="?after={rules[1].pk}"' in first
    assert str(rules[2]) not in first
    second = text_of(olga.get(f"{LINT}?after={rules[1].pk}"))
    assert str(rules[2]) in second
    assert str(rules[1]) not in second
    assert "Look at the next rules" not in second


@pytest.mark.parametrize("after", ["-1", "x", "9" * 30, "٣"])
def test_a_strange_address_begins_at_the_first_rule(olga, after):
    factories.make_rule("play", target=("exact", "cam-*"))
    assert "cam-*" in text_of(olga.get(LINT, {"after": after}))


def test_many_rules_are_looked_at_with_few_queries(olga):
    def counted():
        with CaptureQueriesContext(connection) as queries:
            olga.get(LINT)
        return len(queries)

    def more(number):
        group, user = f"empty-{number}", factories.make_user(f"user-{number}", groups=[f"class-{number}"])
        factories.make_rule("play", group=group, target=("exact", "lobby"))
        factories.make_rule("play", user=user, stream=factories.make_stream(f"stream-{number}"))
        factories.make_rule("play", user=user, target=("exact", f"cam-{number}-*"))

    more(0)
    few = counted()
    for number in range(1, 6):
        more(number)
    assert counted() == few


def test_each_sees_the_rules_of_their_own_lists(db):
    factories.make_rule("play", target=("exact", "cam-*"))
    factories.make_rule("call", target=("exact", "00*"))
    make_role("readers", "view_callpermission")
    text = text_of(browser_of(factories.make_user("reader", is_staff=True, groups=["readers"])).get(LINT))
    assert "00*" in text
    assert "cam-*" not in text
    make_role("others", "view_user")
    other = browser_of(factories.make_user("other", is_staff=True, groups=["others"]))
    assert other.get(LINT).status_code == 403


# Rules that are tried out


@pytest.fixture
def tried(olga):
    """A deny that is only logged, and would have refused Bob twice and Charlie once."""
    rule = factories.make_rule("play", effect="deny", enforced=False)
    for name in ("bob", "charlie", "bob"):
        fields = {"username": name, "effect": "allow", "reason": "allowed-by-rule", "logged_rule_ids": [rule.pk]}
        note([make_event(**fields)])
    make_event(username="alice")
    return rule


def test_what_a_rule_would_have_done_is_shown_in_the_list_and_on_its_page(olga, tried):
    assert "would have refused 3 times since 20" in text_of(olga.get(list_of(STREAMS)))
    text = text_of(olga.get(page(STREAMS, tried)))
    assert "It would have refused 3 times." in text
    assert "bob: 2" in text
    assert "charlie: 1" in text
    assert "Enforce it" in text
    Rule.objects.update(enforced=True)
    text = text_of(olga.get(page(STREAMS, tried)))
    assert "Tried out" not in text
    assert "Enforce it" not in text


def test_when_and_for_whom_is_told_to_those_who_may_see_the_audit_log(olga, tried):
    make_role("rulers", "view_streampermission", "change_streampermission")
    ruler = browser_of(factories.make_user("ruler", is_staff=True, groups=["rulers"]))
    text = text_of(ruler.get(page(STREAMS, tried)))
    assert "It would have refused 3 times." in text
    assert "When and for whom is told to those who may see the audit log." in text
    for told in ("bob", "charlie", "From 20"):
        assert told not in text


def test_the_hooks_behind_it_are_listed_in_the_audit_log(olga, tried):
    log = reverse("admin:audit_auditevent_changelist")
    assert f'href="{log}?tried_out={tried.pk}"' in text_of(olga.get(page(STREAMS, tried)))
    shown = olga.get(log, {"tried_out": tried.pk}).context["cl"].queryset
    assert {event.username for event in shown} == {"bob", "charlie"}
    shown = olga.get(log, {"tried_out": tried.pk, "username": "bob"}).context["cl"].queryset
    assert [event.username for event in shown] == ["bob", "bob"]
    unknown = olga.get(log, {"tried_out": "x"}).context
    assert list(unknown["cl"].result_list) == []
    assert "“x” is not the number of a rule" in unknown["search_problems"][0].sentence


def test_a_rule_is_enforced_from_its_page_after_a_look(desk, lobby):
    Rule.objects.update(enforced=False)
    rule = lobby["rule"]
    chosen = {"action": "enforce", "_selected_action": [rule.pk], "who": "user"}  # and whatever the form has
    text = text_of(desk.post(list_of(STREAMS), chosen))
    assert "Enforce them?" in text
    assert "charlie asked to play “lobby”: 3 times" in text
    assert not Rule.objects.get().enforced
    desk.post(list_of(STREAMS), {**chosen, "_confirmed": "1"})
    assert Rule.objects.get().enforced


def test_lists_ask_once_for_what_all_their_rules_would_have_done(olga):
    def counted():
        with CaptureQueriesContext(connection) as queries:
            olga.get(list_of(STREAMS))
        return len(queries)

    factories.make_rule("play", enforced=False)
    few = counted()
    for _ in range(5):
        factories.make_rule("play", enforced=False)
    assert counted() == few


def test_of_more_denies_than_are_held_against_rules_the_oldest_are(desk, monkeypatch):
    monkeypatch.setattr(rules_to_look_at, "MOST_DENIES", 1)
    oldest = factories.make_rule("play", effect="deny", target=("exact", "lobby"))
    allow = factories.make_rule("play", target=("exact", "lobby"))
    factories.make_rule("play", effect="deny", target=("exact", "attic"))
    oldest.note = "edited, so its row is the last of the table"
    oldest.save()
    found = rules_to_look_at.look_at_one(allow, timezone.now())
    assert [finding.kind for finding in found] == ["shadowed"]
