"""Denies of calls that fit protected numbers: told what they do not do, or not saved."""

from importlib import import_module

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.urls import reverse

from apps.access.file_problems import AccessFileError
from apps.access.files import import_access
from apps.access.models import NumberClass, Rule
from apps.access.protection import problem_of, warning_of
from apps.protocol.numbers import DEFAULT_CLASSES
from tests import factories
from tests.admin.conftest import browser_of

pytestmark = pytest.mark.django_db

EMERGENCY = NumberClass(name="emergency", prefixes=["110", "112"], whole=True, protected=True)
CLASSES = [EMERGENCY, NumberClass(name="premium", prefixes=["0900"]), NumberClass(name="short", short=5)]
ADD = reverse("admin:access_callpermission_add")


def rule(kind="any", target="", actions=("call",), effect="deny", number_class=None):
    named = next((one for one in CLASSES if one.name == number_class), None)
    return Rule(
        effect=effect, who="everyone", actions=list(actions), target_kind=kind, target=target, number_class=named
    )


@pytest.mark.parametrize(
    ("deny", "numbers"),
    [
        (rule(), "110 and 112"),
        (rule("prefix", "11"), "110 and 112"),
        (rule("glob", "1*2"), "112"),
        (rule("number-prefix", "112"), "112"),
        (rule("exact", "112", actions=("call", "message")), "112"),
        (rule("number-class", number_class="emergency", actions=("call", "message")), "110 and 112"),
    ],
)
def test_a_deny_that_is_about_protected_numbers_too_says_so(deny, numbers):
    assert warning_of(deny, CLASSES) == f"This does not refuse calls to {numbers}: no rule can, as they are protected."
    assert problem_of(deny, CLASSES) == ""


@pytest.mark.parametrize(
    ("deny", "numbers"),
    [
        (rule("exact", "112"), "112"),
        (rule("exact", "tel:1 1-2"), None),  # nobody dials it so: as a text it fits nothing that is protected
        (rule("glob", "112"), "112"),
        (rule("number-class", number_class="emergency"), "110 and 112"),
    ],
)
def test_a_deny_that_is_about_nothing_else_is_of_no_use(deny, numbers):
    said = f"No rule can refuse calls to {numbers}: protected, as emergency numbers are. It would do nothing."
    assert problem_of(deny, CLASSES) == (said if numbers else "")


@pytest.mark.parametrize(
    "other",
    [
        rule(effect="allow"),
        rule(actions=("message", "transfer")),
        rule("number-class", number_class="premium"),
        rule("number-class", number_class="short"),
        rule("prefix", "0900"),
        rule("exact", "sip:112@elsewhere"),
        rule("glob", "{user}"),
    ],
)
def test_other_rules_are_not_talked_about(other):
    assert (problem_of(other, CLASSES), warning_of(other, CLASSES)) == ("", "")


def test_a_number_that_must_not_hide_digits_is_refused_at_its_field():
    deny = rule(effect="allow")
    deny.callee = "100;x=0900"
    with pytest.raises(ValidationError) as raised:
        deny.clean()
    assert raised.value.message_dict.keys() == {"callee"}


# Where staff meet it


@pytest.fixture
def emergency(db):
    return NumberClass.objects.create(name="emergency", prefixes=["112"], whole=True, protected=True)


@pytest.fixture
def staff(db):
    return browser_of(factories.make_user("root", is_staff=True, is_superuser=True))


FORM = {"effect": "deny", "who": "everyone", "actions": ["call"], "overflow": "refuse", "enforced": "on"}


def test_the_form_refuses_what_would_do_nothing(staff, emergency):
    values = {**FORM, "target_kind": "number-class", "number_class": emergency.pk}
    errors = staff.post(ADD, values).context["adminform"].form.errors
    assert errors == {
        "number_class": ["No rule can refuse calls to 112: protected, as emergency numbers are. It would do nothing."]
    }
    errors = staff.post(ADD, {**FORM, "target_kind": "exact", "target": "112"}).context["adminform"].form.errors
    assert errors.keys() == {"target"}
    assert not Rule.objects.exists()


def test_the_form_saves_the_rest_and_says_what_it_does_not_do(staff, emergency):
    response = staff.post(ADD, {**FORM, "target_kind": "any"}, follow=True)
    assert Rule.objects.count() == 1
    assert "This does not refuse calls to 112: no rule can" in response.content.decode()


CLASS = "number_classes:\n  - {name: emergency, prefixes: ['112'], whole: true, protected: true}\n"


@pytest.mark.parametrize("target", ["{exact: '112'}", "{number_class: emergency}"])
def test_a_file_with_a_rule_that_would_do_nothing_is_refused(target):
    content = f"{CLASS}rules:\n  - {{effect: deny, who: everyone, actions: [call], target: {target}}}\n"
    with pytest.raises(AccessFileError, match=r"rules\[0\].target: No rule can refuse calls to 112"):
        import_access(content)
    assert not NumberClass.objects.exists()


def test_a_file_with_a_rule_that_does_less_than_it_says_is_told_so_once():
    content = f"{CLASS}rules:\n  - {{effect: deny, who: everyone, actions: [call], target: any}}\n"
    told = [line for line in import_access(content).lines if line.startswith("!")]
    assert [line.partition(". ")[2] for line in told] == [
        "This does not refuse calls to 112: no rule can, as they are protected."
    ]
    assert not [line for line in import_access(content).lines if line.startswith("!")]


# The shipped classes


migration = import_module("apps.access.migrations.0007_shipped_number_classes")


def test_the_shipped_classes_are_made_once_and_leave_what_staff_have_alone():
    own = NumberClass.objects.create(name="premium", prefixes=["0900"])
    for _ in range(2):
        migration.add_shipped_classes(apps, None)
    assert set(NumberClass.objects.values_list("name", flat=True)) == {row.name for row in DEFAULT_CLASSES}
    own.refresh_from_db()
    assert own.prefixes == ["0900"]
    emergency = NumberClass.objects.get(name="emergency")
    assert (emergency.protected, emergency.whole, "112" in emergency.prefixes) == (True, True, True)
    for row in NumberClass.objects.all():
        row.full_clean()


@pytest.mark.parametrize(("number", "name"), [("112", "emergency"), ("+1 900 555", "premium"), ("premium", "premium")])
def test_the_list_tells_which_class_a_number_is_in(staff, number, name):
    migration.add_shipped_classes(apps, None)
    listed = staff.get(reverse("admin:access_numberclass_changelist"), {"q": number}).context["cl"].result_list
    assert [row.name for row in listed] == [name]


def test_the_page_of_a_class_shows_the_rules_about_it(staff, emergency):
    deny = Rule.objects.create(
        effect="deny", who="everyone", actions=["message"], target_kind="number-class", number_class=emergency
    )
    text = staff.get(reverse("admin:access_numberclass_change", args=[emergency.pk])).content.decode()
    assert str(deny) in text
    assert "No rule can refuse calls to these numbers" in text
