"""Presets: the usual rules of a kind of people, proposed as sentences and saved together."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group

from apps.access.models import NumberClass, Rule
from apps.access.presets import PRESETS
from apps.access.rules_to_look_at import look_at
from tests import factories
from tests.admin.conftest import browser_of, make_role
from tests.admin.test_care import text_of
from tests.audit.test_preview import NOW

PRESETS_PAGE = "/admin/access/presets/"


@pytest.fixture
def group(db):
    factories.make_app(guests=True)
    factories.make_user("ada", groups=["class"])
    return Group.objects.get(name="class")


def asked(preset, group, **fields):
    begins = "+49" if preset == "agent" else "lesson-"
    return {"preset": preset, "who": "group", "group": group.pk, "begins": begins, **fields}


def proposed(browser, fields):
    """The rules as they are proposed, and what a browser would post of them."""
    response = browser.post(PRESETS_PAGE, {**fields, "propose": "1"})
    forms = response.context["proposals"]
    posted = {
        form[name].html_name: value
        for form in forms
        for name in form.fields
        if (value := form[name].value()) is not None
    }
    return [str(form.instance) for form in forms], {**fields, **posted}


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_proposed_is_what_is_saved(olga, group, preset):
    sentences, posted = proposed(olga, asked(preset, group))
    assert len(sentences) >= 2
    assert not Rule.objects.exists()
    assert olga.post(PRESETS_PAGE, {**posted, "save": "1"}).status_code == 302
    assert [str(rule) for rule in Rule.objects.order_by("pk")] == sentences
    assert {entry.change_message for entry in LogEntry.objects.all()} == {
        f"Added from the preset “{PRESETS[preset].title}”."
    }
    assert not look_at(NOW()).findings


def test_a_teacher_publishes_and_watches_lessons(olga, group):
    assert proposed(olga, asked("teacher", group))[0] == [
        "Allow group “class” to connect",
        "Allow group “class” to publish and play whatever begins with “lesson-”",
        "Allow group “class” to send data and send bug reports and logs",
    ]


def test_a_camera_publishes_under_its_own_name_alone(olga, group):
    sentences, _ = proposed(olga, asked("camera", group, begins=""))
    assert "Allow group “class” to publish whatever matches “{user}”" in sentences
    assert "Allow group “class” to publish whatever matches “{user}-*”" in sentences
    assert "Deny group “class” to play anything" in sentences


def test_agents_call_no_premium_numbers_where_there_is_such_a_class(olga, group):
    NumberClass.objects.filter(name="premium").delete()
    sentences, _ = proposed(olga, asked("agent", group, begins="+49"))
    assert "at most 1 at once for each user" in sentences[1]
    assert "numbers that begin with “+49”" in sentences[1]
    assert len(sentences) == 3
    NumberClass.objects.create(name="premium", prefixes=["+49900"])
    sentences, posted = proposed(olga, asked("agent", group))
    assert sentences[-1] == "Deny group “class” to call premium numbers and transfer calls to premium numbers"
    assert olga.post(PRESETS_PAGE, {**posted, "save": "1"}).status_code == 302


def test_guests_are_nobody_in_particular(olga, group):
    sentences, _ = proposed(olga, {"preset": "guest", "begins": "lobby"})
    assert sentences == ["Allow guests to connect", "Allow guests to play whatever begins with “lobby”"]


def test_a_proposal_can_be_changed_and_left_out(olga, group):
    _, posted = proposed(olga, asked("teacher", group))
    posted |= {"rule-1-target": "math-", "rule-1-actions": ["play"], "rule-1-note": "Only to watch."}
    del posted["rule-0-take"], posted["rule-2-take"], posted["rule-1-enforced"]
    again = olga.post(PRESETS_PAGE, {**posted, "again": "1"})
    assert "Allow group “class” to play whatever begins with “math-”, (only logged)".replace(",", "") in text_of(again)
    assert not Rule.objects.exists()
    olga.post(PRESETS_PAGE, {**posted, "save": "1"})
    rule = Rule.objects.get()
    assert str(rule) == "Allow group “class” to play whatever begins with “math-” (only logged)"
    assert rule.note == "Only to watch."


def test_one_wrong_rule_and_none_is_saved(olga, group):
    _, posted = proposed(olga, asked("teacher", group))
    response = olga.post(PRESETS_PAGE, {**posted, "rule-1-target": "", "save": "1"})
    assert list(response.context["proposals"][1].errors) == ["target"]
    assert not Rule.objects.exists()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"preset": "pilot"}, "preset"),
        ({"group": ""}, "group"),
        ({"who": "user", "user": "nobody"}, "user"),
        ({"begins": ""}, "begins"),
        ({"preset": "agent", "begins": "lesson-"}, "begins"),
    ],
)
def test_what_is_missing_is_said_at_its_field(olga, group, fields, field):
    response = olga.post(PRESETS_PAGE, {**asked("viewer", group), **fields, "save": "1"})
    assert list(response.context["form"].errors) == [field]
    assert not Rule.objects.exists()


def test_one_user_may_be_meant(olga, group):
    sentences, _ = proposed(olga, asked("viewer", group, who="user", user="ada"))
    assert sentences[0] == "Allow user “ada” to connect"


def test_each_adds_only_to_the_lists_they_may_add_to(group):
    make_role("stream staff", "add_streampermission", "view_streampermission")
    browser = browser_of(factories.make_user("sam", is_staff=True, groups=["stream staff"]))
    sentences, posted = proposed(browser, asked("teacher", group))
    assert sentences == ["Allow group “class” to publish and play whatever begins with “lesson-”"]
    assert browser.post(PRESETS_PAGE, {**posted, "rule-0-actions": ["connect"], "save": "1"}).status_code == 403
    assert not Rule.objects.exists()
    assert browser.post(PRESETS_PAGE, {**posted, "save": "1"}).status_code == 302
    make_role("readers", "view_streampermission")
    reader = browser_of(factories.make_user("reader", is_staff=True, groups=["readers"]))
    assert reader.get(PRESETS_PAGE).status_code == 403
    assert PRESETS_PAGE not in text_of(reader.get("/admin/"))


def test_what_the_rules_would_change_is_seen_before(transactional_db):
    root = browser_of(factories.make_user("root", is_staff=True, is_superuser=True))
    factories.make_app()
    factories.make_user("ada", groups=["class"])
    _, posted = proposed(root, asked("teacher", Group.objects.get()))
    text = text_of(root.post(PRESETS_PAGE, {**posted, "_preview": "1"}))
    assert "What would these rules change?" in text
    assert re.search(r"Allow group “class” to connect.*No decision was recorded", text)
    assert not Rule.objects.exists()
