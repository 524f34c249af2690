"""load_demo: the school that the documentation and the simulator talk about."""

from importlib import import_module
from itertools import chain

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command

from apps.access.files import export_access
from apps.access.management.commands.load_demo import AUDITORS_MAY, STAFF_MAY
from apps.access.models import AccessRevision, Rule
from apps.accounts.hashing import hash_token
from apps.accounts.models import Token, User
from apps.connections.models import App
from apps.connections.sealing import unseal
from apps.streams.models import Stream

pytestmark = pytest.mark.django_db

PEOPLE = {
    "teachers": ["teacher1", "teacher2"],
    "students": ["student1", "student2", "student3", "student4", "student5"],
    "agents": ["agent1", "agent2"],
    "cameras": ["camera1"],
}


@pytest.fixture(autouse=True)
def shipped_classes():
    """The demo is about numbers of a class that is there from the start."""
    import_module("apps.access.migrations.0007_shipped_number_classes").add_shipped_classes(apps, None)


@pytest.fixture
def passwords(monkeypatch):
    monkeypatch.setenv("WCSGATE_ADMIN_PASSWORD", "admin-password")
    monkeypatch.setenv("WCSGATE_HOOK_PASSWORD", "hook-password")


def load(capsys):
    call_command("load_demo")
    return capsys.readouterr().out


def test_the_people_and_their_ways_in(passwords, capsys):
    assert load(capsys).startswith("The demo was loaded: ")
    for group, usernames in PEOPLE.items():
        members = User.objects.filter(groups__name=group, is_active=True)
        assert sorted(members.values_list("username", flat=True)) == usernames
    for name in [*chain.from_iterable(PEOPLE.values()), "former1"]:
        assert Token.objects.get(token_hash=hash_token(f"demo-{name}")).user.username == name
    assert not User.objects.get(username="former1").is_active
    assert User.objects.get(username="student5").check_password("demo-password-5")


def test_what_else_there_is(passwords, capsys):
    load(capsys)
    app = App.objects.get()
    assert (app.key, app.guests, app.hook_user) == ("defaultApp", True, "wcs")
    assert unseal(app.hook_passwords[0]) == "hook-password"
    assert sorted(Stream.objects.values_list("name", flat=True)) == [
        "camera1-door",
        "lesson-history",
        "lesson-math",
        "lobby",
        "staff-room",
    ]
    assert Rule.objects.filter(effect="deny").count() == 4
    assert Rule.objects.get(effect="deny", target_kind="number-class").number_class.name == "premium"
    assert Rule.objects.get(target="support").callee == "+4930123457"
    assert str(User.objects.get(username="agent1").sip_account) == "10001@sip.example.com"
    assert Rule.objects.get(enforced=False).user.username == "student3"
    assert Rule.objects.get(ends_at__isnull=False).effect == "allow"


def test_the_staff(passwords, capsys):
    load(capsys)
    admin, staff, auditor = (User.objects.get(username=name) for name in ("admin", "staff1", "auditor1"))
    assert admin.is_superuser
    assert admin.check_password("admin-password")
    for user, may in ((staff, STAFF_MAY), (auditor, AUDITORS_MAY)):
        assert (user.is_staff, user.is_superuser, user.has_usable_password()) == (True, False, False)
        assert user.get_all_permissions() == {f"{app}.{codename}" for app in may for codename in may[app]}
    assert staff.has_perms(["audit.view_auditevent", "connections.view_session"])  # or nobody could say why not
    auditors_may = Permission.objects.filter(group__name="Auditors").values_list("codename", flat=True)
    assert set(auditors_may) == {"view_auditevent", "view_hold", "view_badrecord"}


def test_loading_it_again_does_nothing_and_says_so(passwords, capsys):
    load(capsys)
    before, revision = export_access(), AccessRevision.objects.get().revision
    assert load(capsys) == "There are users already, so the demo was not loaded.\n"
    assert (export_access(), AccessRevision.objects.get().revision) == (before, revision)


def test_never_in_production(passwords, settings):
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="never loaded in production"):
        call_command("load_demo")
    assert not User.objects.exists()


@pytest.mark.parametrize("missing", ["WCSGATE_ADMIN_PASSWORD", "WCSGATE_HOOK_PASSWORD"])
def test_a_password_that_is_missing(passwords, monkeypatch, missing):
    monkeypatch.delenv(missing)
    with pytest.raises(CommandError, match=f"{missing} is not set"):
        call_command("load_demo")
    assert not User.objects.exists()
