"""Rules in their two lists."""

from datetime import date, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.urls import reverse
from django.utils import timezone

from apps.access.models import Rule, Schedule
from tests import factories
from tests.admin.conftest import browser_of, make_role

STREAMS, CALLS = "access_streampermission", "access_callpermission"
RULE = {"effect": "allow", "who": "everyone", "target_kind": "any", "enforced": "on"}


def list_of(name):
    return reverse(f"admin:{name}_changelist")


def add(browser, name, **fields):
    return browser.post(reverse(f"admin:{name}_add"), {**RULE, **fields})


def run(browser, name, action, *rules):
    """Choose an action for rules, having looked at what it would change."""
    chosen = {"action": action, "_selected_action": [rule.pk for rule in rules], "_confirmed": "1"}
    return browser.post(list_of(name), chosen, follow=True)


def listed(browser, name, **query):
    return set(browser.get(list_of(name), query).context["cl"].queryset.values_list("pk", flat=True))


def test_each_list_has_its_rules_and_mixed_ones_are_in_both(olga):
    play, call = factories.make_rule("play"), factories.make_rule("call", "connect")
    mixed = factories.make_rule("publish", "call")
    assert listed(olga, STREAMS) == {play.pk, mixed.pk}
    assert listed(olga, CALLS) == {call.pk, mixed.pk}
    assert "Allow everyone with an account to publish and call anything" in olga.get(list_of(CALLS)).content.decode()


def test_a_rule_is_added(olga):
    alice = factories.make_user()
    fields = {"who": "user", "user": alice.pk, "actions": ["publish", "play"], "target_kind": "prefix", "target": "l-"}
    assert add(olga, STREAMS, **fields).status_code == 302
    assert str(Rule.objects.get()) == "Allow user “alice” to publish and play whatever begins with “l-”"


def test_each_form_offers_its_own_actions(olga):
    response = add(olga, STREAMS, actions=["call"])
    assert "Select a valid choice" in str(response.context["adminform"].form.errors["actions"])
    response = add(olga, CALLS, actions=["play"])
    assert "Select a valid choice" in str(response.context["adminform"].form.errors["actions"])
    assert add(olga, CALLS, actions=["connect", "call"]).status_code == 302


def test_a_mixed_rule_loses_nothing_in_either_form(olga):
    rule = factories.make_rule("publish", "call")
    for name in (STREAMS, CALLS):
        page = reverse(f"admin:{name}_change", args=[rule.pk])
        form = olga.get(page).context["adminform"].form
        assert {"publish", "call"} <= {value for value, _ in form.fields["actions"].choices}
        assert olga.post(page, {**RULE, "actions": form["actions"].value(), "note": name}).status_code == 302
        rule.refresh_from_db()
        assert (rule.actions, rule.note) == (["publish", "call"], name)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("actions", {}),
        ("user", {"who": "user", "actions": ["play"]}),
        ("group", {"who": "group", "actions": ["play"]}),
        ("stream", {"target_kind": "stream", "actions": ["play"]}),
        ("target", {"target_kind": "exact", "actions": ["play"]}),
        (
            "ends_at",
            {
                "actions": ["play"],
                "starts_at_0": "2030-01-02",
                "starts_at_1": "12:00",
                "ends_at_0": "2030-01-01",
                "ends_at_1": "12:00",
            },
        ),
    ],
)
def test_what_is_missing_is_said_at_its_field(olga, field, fields):
    errors = add(olga, STREAMS, **fields).context["adminform"].form.errors
    assert list(errors) == [field]
    assert errors[field][0].endswith(".")


def test_what_was_filled_in_for_another_choice_is_dropped(olga):
    alice = factories.make_user()
    assert add(olga, STREAMS, actions=["play"], user=alice.pk, target="x").status_code == 302
    rule = Rule.objects.get()
    assert (rule.user, rule.target) == (None, "")


def test_saving_a_new_form_untouched_allows_nothing(olga):
    form = olga.get(reverse(f"admin:{STREAMS}_add")).context["adminform"].form
    assert (form["who"].value(), form["user"].value(), form["target_kind"].value()) == ("user", None, "exact")


def test_rules_are_enforced_and_only_logged(olga):
    rule = factories.make_rule("play")
    run(olga, STREAMS, "only_log", rule)
    rule.refresh_from_db()
    assert not rule.enforced
    run(olga, STREAMS, "enforce", rule)
    rule.refresh_from_db()
    assert rule.enforced
    assert {entry.change_message for entry in LogEntry.objects.all()} == {"Only logged.", "Enforced."}


def test_rules_end_now_unless_they_have_not_begun(olga):
    now = timezone.now()
    running, ended = factories.make_rule("play"), factories.make_rule("play", ends_at=now - timedelta(days=1))
    waiting = factories.make_rule("play", starts_at=now + timedelta(days=1))
    response = run(olga, STREAMS, "end_now", running, ended, waiting)
    assert "Not begun yet, so not ended: 1" in response.content.decode()
    ends = {rule.pk: rule.ends_at for rule in Rule.objects.all()}
    assert now <= ends[running.pk] <= timezone.now()
    assert (ends[ended.pk], ends[waiting.pk]) == (ended.ends_at, None)


def test_copies_are_only_logged(olga):
    alice = factories.make_user()
    rule = factories.make_rule("play", user=alice, target=("exact", "lobby"), note="why")
    run(olga, STREAMS, "duplicate", rule)
    copy = Rule.objects.exclude(pk=rule.pk).get()
    assert (copy.user, copy.target, copy.note, copy.enforced) == (alice, "lobby", "why", False)


def test_who_may_only_view_gets_no_actions(db):
    make_role("readers", "view_streampermission")
    reader = browser_of(factories.make_user("reader", is_staff=True, groups=["readers"]))
    rule = factories.make_rule("play")
    for action in ("enforce", "only_log", "end_now", "duplicate", "delete_selected"):
        run(reader, STREAMS, action, rule)
    assert Rule.objects.get().enforced
    assert Rule.objects.get().ends_at is None


def test_states_are_told_apart(olga):
    now = timezone.now()
    day = timedelta(days=1)
    rules = {
        "in-force": factories.make_rule("play", starts_at=now - day, ends_at=now + day),
        "logged": factories.make_rule("play", enforced=False),
        "not-yet": factories.make_rule("play", starts_at=now + day),
        "expired": factories.make_rule("play", ends_at=now - day),
    }
    for state, rule in rules.items():
        assert listed(olga, STREAMS, state=state) == {rule.pk}


def test_links_fill_in_the_form(olga):
    alice = factories.make_user()
    page = reverse(f"admin:{STREAMS}_add") + f"?who=user&user={alice.pk}"
    assert (
        page.replace("&", "&amp;") in olga.get(reverse("admin:accounts_user_change", args=[alice.pk])).content.decode()
    )
    form = olga.get(page).context["adminform"].form
    assert (form["who"].value(), int(form["user"].value())) == ("user", alice.pk)


@pytest.mark.parametrize(
    ("list_name", "fields", "words"),
    [
        (STREAMS, {"target_kind": "glob", "target": "{group}-*", "actions": ["play"]}, "{group} would never match"),
        (
            STREAMS,
            {"target_kind": "glob", "target": "{user}-*", "actions": ["play"], "who": "guests"},
            "Guests have no",
        ),
        (
            CALLS,
            {"target_kind": "prefix", "target": "00", "actions": ["imdn", "data"]},
            "To send delivery notices or send data",
        ),
    ],
)
def test_a_rule_that_can_never_match_is_refused(olga, list_name, fields, words):
    errors = add(olga, list_name, **fields).context["adminform"].form.errors
    assert list(errors) == ["target"]
    assert words in errors["target"][0]
    assert not Rule.objects.exists()


def test_a_rule_that_matches_some_of_its_actions_says_which_not(olga):
    fields = {"target_kind": "prefix", "target": "00", "actions": ["call", "data"]}
    text = olga.post(reverse(f"admin:{CALLS}_add"), {**RULE, **fields}, follow=True).content.decode()
    assert "To send data is never about such a target, so there it matches nothing." in text
    assert Rule.objects.exists()


def test_a_rule_that_is_there_already_is_pointed_at(olga):
    first = factories.make_rule("publish", "play")
    factories.make_rule("play")
    fields = {"actions": ["play", "publish"]}
    text = olga.post(reverse(f"admin:{STREAMS}_add"), {**RULE, **fields}, follow=True).content.decode()
    assert "Another rule says the same." in text
    assert f'href="{reverse(f"admin:{STREAMS}_change", args=[first.pk])}">{first}</a>' in text
    assert Rule.objects.count() == 3


@pytest.mark.parametrize(
    ("actions", "target", "text"),
    [
        (["message"], ("exact", "10007"), "send messages to “10007”"),
        (["message", "call"], ("exact", "10007"), "send messages to “10007” and call “10007”"),
        (["message", "connect"], None, "connect and send messages to anything"),
        (["answer", "dtmf"], None, "answer calls and send tones"),
    ],
)
def test_sentences_read_right(db, actions, target, text):
    assert str(factories.make_rule(*actions, target=target)) == f"Allow everyone with an account to {text}"


def fields_of(browser, name, rule=None, **initial):
    address = reverse(f"admin:{name}_change", args=[rule.pk]) if rule else reverse(f"admin:{name}_add")
    return set(browser.get(address, initial).context["adminform"].form.fields)


STREAM_THINGS = {"stream", "stream_group", "media_providers", "record", "max_width", "max_height", "max_bitrate"}
NUMBER_THINGS = {"number_class", "callee"}


def test_each_form_asks_only_for_what_its_actions_can_use(olga):
    streams, calls = fields_of(olga, STREAMS), fields_of(olga, CALLS)
    assert streams - calls == STREAM_THINGS
    assert calls - streams == NUMBER_THINGS
    for name, others in ((STREAMS, {"number-prefix", "number-class"}), (CALLS, {"stream", "stream-group"})):
        assert add(olga, name, actions=["publish", "call"], target_kind=others.pop(), target="1").status_code == 200
    assert not Rule.objects.exists()


def test_what_a_rule_says_already_is_asked_for_in_either_form(olga):
    stream = factories.make_stream()
    call, play = factories.make_rule("call", stream=stream, record="on"), factories.make_rule("play", callee="+49")
    assert {"stream", "record"} <= fields_of(olga, CALLS, call)
    assert "callee" in fields_of(olga, STREAMS, play)
    page = reverse(f"admin:{CALLS}_change", args=[call.pk])
    fields = {**RULE, "actions": ["call"], "target_kind": "stream", "stream": stream.pk, "record": "on", "note": "x"}
    assert olga.post(page, fields).status_code == 302
    call.refresh_from_db()
    assert (call.stream, call.record, call.note) == (stream, "on", "x")


def test_what_is_not_used_is_folded_away(olga):
    def folded(rule=None, **initial):
        address = reverse(f"admin:{STREAMS}_change", args=[rule.pk]) if rule else reverse(f"admin:{STREAMS}_add")
        fieldsets = list(olga.get(address, initial).context["adminform"])
        return {fieldset.name for fieldset in fieldsets if fieldset.is_collapsible}

    assert folded() == {"When", "Under which circumstances", "How much", "What is changed"}
    rule = factories.make_rule("play", apps=["shop"], limit_per="user", at_once=1)
    assert folded(rule) == {"When", "What is changed"}
    assert "What is changed" not in folded(record="on")


def test_what_there_is_can_be_ticked_and_anything_else_typed(olga):
    factories.make_app("shop")
    factories.make_node("edge-1")
    text = olga.get(reverse(f"admin:{STREAMS}_add")).content.decode()
    for name, value in (("apps", "shop"), ("nodes", "edge-1"), ("media_providers", "WebRTC")):
        assert f'name="{name}_ticked" value="{value}"' in text
    fields = {
        "actions": ["play"],
        "apps_ticked": ["shop"],
        "apps_typed": "later, shop",
        "media_providers_ticked": ["HLS"],
    }
    assert add(olga, STREAMS, **fields).status_code == 302
    rule = Rule.objects.get()
    assert (rule.apps, rule.nodes, rule.media_providers) == (["shop", "later"], [], ["HLS"])
    form = olga.get(reverse(f"admin:{STREAMS}_change", args=[rule.pk])).context["adminform"].form
    assert form["apps"].field.widget.decompress(rule.apps) == [["shop"], "later"]


def test_an_address_may_fill_in_what_is_ticked_or_typed(olga):
    factories.make_app("shop")
    form = olga.get(reverse(f"admin:{STREAMS}_add"), {"apps": "shop, later"}).context["adminform"].form
    assert form["apps"].field.widget.decompress(form["apps"].initial) == [["shop"], "later"]


def test_where_there_are_many_apps_their_keys_are_typed(olga):
    for number in range(21):
        factories.make_app(f"app-{number}", hook_password="")
    text = olga.get(reverse(f"admin:{STREAMS}_add")).content.decode()
    assert 'name="apps_ticked"' not in text
    assert add(olga, STREAMS, actions=["play"], apps_typed="app-7\n app-8").status_code == 302
    assert Rule.objects.get().apps == ["app-7", "app-8"]


def test_a_wrong_entry_of_a_list_is_said_at_its_field(olga):
    errors = add(olga, STREAMS, actions=["play"], apps_typed="x" * 256).context["adminform"].form.errors
    assert list(errors) == ["apps"]
    errors = add(olga, STREAMS, actions=["play"], networks="10.0.0.0/8, nonsense").context["adminform"].form.errors
    assert "Entry 2" in errors["networks"][0]


def test_a_schedule_with_holidays_can_be_opened_and_saved_again(olga):
    role = Group.objects.get(name="operators")
    role.permissions.add(*Permission.objects.filter(codename__in=["view_schedule", "change_schedule"]))
    schedule = Schedule.objects.create(
        name="office", time_zone="UTC", windows=["Mon-Fri 08:00-18:00"], holidays=[date(2026, 12, 25)]
    )
    page = reverse("admin:access_schedule_change", args=[schedule.pk])
    assert 'value="2026-12-25"' in olga.get(page).content.decode()
    saved = olga.post(
        page,
        {
            "name": "office", "time_zone": "UTC", "windows": "Mon-Fri 08:00-18:00",
            "holidays": "2026-12-25, 2026-12-26", "note": "",
        },
    )  # fmt: skip
    assert saved.status_code == 302
    schedule.refresh_from_db()
    assert schedule.holidays == [date(2026, 12, 25), date(2026, 12, 26)]


def test_the_history_of_a_rule_leads_to_what_the_audit_log_has_of_it(root):
    rule = factories.make_rule("play")
    text = root.get(reverse("admin:access_streampermission_history", args=[rule.pk])).content.decode()
    assert f"/admin/audit/auditevent/?q=rule:{rule.pk}" in text
