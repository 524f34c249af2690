"""Users, groups and tokens: what staff may do, and how nobody raises themselves."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.urls import reverse

from apps.accounts.hashing import hash_token
from apps.accounts.models import Token, User
from tests import factories
from tests.admin.conftest import PASSWORD, make_role

NO_MEMBERS = {
    "User_groups-TOTAL_FORMS": 0,
    "User_groups-INITIAL_FORMS": 0,
    "User_groups-MIN_NUM_FORMS": 0,
    "User_groups-MAX_NUM_FORMS": 1000,
}


def user_page(user, what="change"):
    return reverse("admin:accounts_user_change", args=[user.pk]).replace("change", what)


def issue(browser, user, label="laptop", **fields):
    return browser.post(reverse("admin:accounts_token_add"), {"user": user.pk, "label": label, **fields})


def run(browser, list_name, action, rows):
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return browser.post(reverse(f"admin:{list_name}_changelist"), data, follow=True)


# Users


def test_a_user_is_added_with_a_password(olga):
    data = {"username": "alice", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    response = olga.post(reverse("admin:accounts_user_add"), data)
    alice = User.objects.get(username="alice")
    assert response.url == user_page(alice)
    assert alice.check_password(PASSWORD)
    assert not alice.is_staff


def test_a_device_is_added_without_a_password(olga):
    olga.post(reverse("admin:accounts_user_add"), {"username": "camera", "usable_password": "false"})
    assert not User.objects.get(username="camera").has_usable_password()


def test_a_password_is_changed(olga):
    alice = factories.make_user()
    data = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true", "set-password": "1"}
    assert olga.get(user_page(alice, "password")).status_code == 200
    assert olga.post(user_page(alice, "password"), data).status_code == 302
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


def test_no_page_shows_a_password_hash(root):
    alice = factories.make_user(password=PASSWORD)
    assert alice.password not in root.get(user_page(alice)).content.decode()


def test_staff_change_their_own_password(olga):
    data = {"old_password": PASSWORD, "new_password1": "another horse", "new_password2": "another horse"}
    assert olga.post(reverse("admin:password_change"), data).status_code == 302
    olga.user.refresh_from_db()
    assert olga.user.check_password("another horse")


def test_people_are_deactivated_and_the_history_says_so(olga):
    alice, bob = factories.make_user(), factories.make_user("bob")
    run(olga, "accounts_user", "deactivate", [alice, bob])
    assert not User.objects.filter(username__in=["alice", "bob"], is_active=True).exists()
    assert LogEntry.objects.filter(change_message="Deactivated.").count() == 2
    run(olga, "accounts_user", "activate", [alice])
    alice.refresh_from_db()
    assert alice.is_active


def test_nobody_deactivates_themselves(root):
    response = run(root, "accounts_user", "deactivate", [root.user])
    assert "Nobody switches themselves" in response.content.decode()
    root.user.refresh_from_db()
    assert root.user.is_active


def test_a_superuser_cannot_lock_themselves_out(root):
    root.post(user_page(root.user), {"username": "root"})  # with every box unticked
    root.user.refresh_from_db()
    assert root.user.is_active
    assert root.user.is_staff
    assert root.user.is_superuser


def test_staff_are_not_deleted(root, olga):
    assert root.post(user_page(olga.user, "delete"), {"post": "yes"}).status_code == 403
    run(root, "accounts_user", "delete_selected", [olga.user])
    data = {"action": "delete_selected", "_selected_action": [olga.user.pk], "post": "yes"}
    root.post(reverse("admin:accounts_user_changelist"), data)
    assert User.objects.filter(username="olga").exists()


def test_people_are_deleted(olga):
    alice = factories.make_user()
    assert olga.post(user_page(alice, "delete"), {"post": "yes"}).status_code == 302
    assert not User.objects.filter(username="alice").exists()


# Nobody raises themselves


@pytest.mark.parametrize("name", ["olga", "root", "other"])
def test_only_superusers_change_staff(olga, root, name):
    factories.make_user("other", is_staff=True)
    staff = User.objects.get(username=name)
    before = staff.password, staff.username, staff.is_superuser
    rights = {"is_active": "on", "is_staff": "on", "is_superuser": "on"}
    assert olga.post(user_page(staff), {"username": "mallory", **rights}).status_code == 403
    data = {"password1": "x-horse-battery", "password2": "x-horse-battery"}
    assert olga.post(user_page(staff, "password"), data).status_code == 403
    assert olga.get(user_page(staff)).status_code == 200
    staff.refresh_from_db()
    assert (staff.password, staff.username, staff.is_superuser) == before


def test_only_superusers_make_staff(olga, root):
    alice = factories.make_user()
    rights = {"username": "alice", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    view_users = Permission.objects.get(codename="view_user").pk
    assert olga.post(user_page(alice), {**rights, "user_permissions": [view_users]}).status_code == 302
    alice.refresh_from_db()
    assert not alice.is_staff
    assert not alice.is_superuser
    assert not alice.user_permissions.exists()
    root.post(user_page(alice), rights)
    alice.refresh_from_db()
    assert alice.is_superuser


def test_nobody_is_added_as_staff(olga):
    data = {"username": "mallory", "usable_password": "false", "is_staff": "on", "is_superuser": "on"}
    olga.post(reverse("admin:accounts_user_add"), data)
    mallory = User.objects.get(username="mallory")
    assert not mallory.is_staff
    assert not mallory.is_superuser


def test_only_superusers_hand_out_roles(olga, root):
    role, teachers = make_role("bosses", "view_user"), Group.objects.create(name="teachers")
    alice = factories.make_user()
    data = {"username": "alice", "is_active": "on", "groups": [teachers.pk, role.pk]}
    response = olga.post(user_page(alice), data)
    assert "Select a valid choice" in str(response.context["adminform"].form.errors["groups"])
    assert not alice.groups.exists()
    root.post(user_page(alice), data)
    assert alice.groups.count() == 2


def test_roles_that_the_form_does_not_offer_are_kept(olga):
    role, teachers = make_role("bosses", "view_user", "add_user"), Group.objects.create(name="teachers")
    alice = factories.make_user(groups=["bosses"])
    olga.post(user_page(alice), {"username": "alice", "is_active": "on", "groups": [teachers.pk]})
    assert set(alice.groups.all()) == {role, teachers}


def test_actions_leave_staff_alone(olga, root):
    response = run(olga, "accounts_user", "deactivate", [root.user, olga.user])
    assert "only superusers switch staff" in response.content.decode()
    assert User.objects.filter(is_active=True, username__in=["root", "olga"]).count() == 2


# Groups


def test_a_group_gets_members_and_shows_them(olga):
    teachers, alice = Group.objects.create(name="teachers"), factories.make_user()
    page = reverse("admin:auth_group_change", args=[teachers.pk])
    member = {"User_groups-TOTAL_FORMS": 1, "User_groups-0-user": alice.pk, "User_groups-0-group": teachers.pk}
    assert olga.post(page, {"name": "teachers", **NO_MEMBERS, **member}).status_code == 302
    assert list(teachers.user_set.all()) == [alice]
    assert "alice" in olga.get(page).content.decode()


def test_only_superusers_touch_roles(olga, root):
    role = make_role("bosses", "view_user")
    page = reverse("admin:auth_group_change", args=[role.pk])
    member = {"User_groups-TOTAL_FORMS": 1, "User_groups-0-user": olga.user.pk, "User_groups-0-group": role.pk}
    every = list(Permission.objects.values_list("pk", flat=True))
    assert olga.post(page, {"name": "bosses", "permissions": every, **NO_MEMBERS, **member}).status_code == 403
    assert olga.post(page.replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert olga.user not in role.user_set.all()
    chosen = Permission.objects.get(codename="view_auditevent").pk
    assert root.post(page, {"name": "bosses", "permissions": [chosen], **NO_MEMBERS}).status_code == 302
    assert [permission.codename for permission in role.permissions.all()] == ["view_auditevent"]


def test_a_group_made_by_others_carries_no_permissions(olga):
    every = list(Permission.objects.values_list("pk", flat=True))
    olga.post(reverse("admin:auth_group_add"), {"name": "teachers", "permissions": every, **NO_MEMBERS})
    assert not Group.objects.get(name="teachers").permissions.exists()


def member(number, group, user, **fields):
    prefix = f"User_groups-{number}"
    return {f"{prefix}-{name}": value for name, value in {"user": user.pk, "group": group.pk, **fields}.items()}


@pytest.mark.parametrize("name", ["root", "olga"])
def test_only_superusers_put_staff_into_groups(olga, root, name):
    teachers, staff = Group.objects.create(name="teachers"), User.objects.get(username=name)
    page = reverse("admin:auth_group_change", args=[teachers.pk])
    data = {"name": "teachers", **NO_MEMBERS, **member(0, teachers, staff), "User_groups-TOTAL_FORMS": 1}
    response = olga.post(page, data)
    assert "Only a superuser puts staff into groups." in response.content.decode()
    response = olga.post(reverse("admin:auth_group_add"), {**data, "name": "others", "User_groups-0-group": ""})
    assert "Only a superuser puts staff into groups." in response.content.decode()
    assert not staff.groups.exclude(name="operators").exists()
    assert root.post(page, data).status_code == 302
    assert staff in teachers.user_set.all()


def test_staff_who_are_in_a_group_stay_when_others_save_it(olga, root):
    alice = factories.make_user(groups=["teachers"])
    teachers = Group.objects.get(name="teachers")
    root.user.groups.add(teachers)
    page = reverse("admin:auth_group_change", args=[teachers.pk])
    formset = olga.get(page).context["inline_admin_formsets"][0].formset
    assert [form.fields["DELETE"].disabled for form in formset.initial_forms] == [False, True]
    assert not any(
        form.fields["DELETE"].disabled
        for form in root.get(page).context["inline_admin_formsets"][0].formset.initial_forms
    )
    rows = {
        row.user: member(number, teachers, row.user, id=row.pk) for number, row in enumerate(formset.get_queryset())
    }
    data = {"name": "teachers", **NO_MEMBERS, **rows[alice], **rows[root.user]}
    data |= {"User_groups-TOTAL_FORMS": 2, "User_groups-INITIAL_FORMS": 2}
    leave = {
        user: {next(key for key in row if key.endswith("-id"))[:-2] + "DELETE": "on"} for user, row in rows.items()
    }
    olga.post(page, {**data, **leave[root.user]})
    assert set(teachers.user_set.all()) == {alice, root.user}
    assert olga.post(page, {**data, **leave[alice]}).status_code == 302
    assert set(teachers.user_set.all()) == {root.user}
    data |= {**member(0, teachers, root.user, id=root.user.groups.through.objects.get(group=teachers).pk)}
    data |= {"User_groups-TOTAL_FORMS": 1, "User_groups-INITIAL_FORMS": 1, "User_groups-0-DELETE": "on"}
    assert root.post(page, data).status_code == 302
    assert not teachers.user_set.exists()


def test_a_group_with_staff_in_it_is_deleted_by_superusers_only(olga, root):
    teachers, others = Group.objects.create(name="teachers"), Group.objects.create(name="others")
    root.user.groups.add(teachers)
    page = reverse("admin:auth_group_delete", args=[teachers.pk])
    assert olga.post(page, {"post": "yes"}).status_code == 403
    data = {"action": "delete_selected", "_selected_action": [teachers.pk], "post": "yes"}
    olga.post(reverse("admin:auth_group_changelist"), data)
    assert Group.objects.filter(name="teachers").exists()
    assert olga.post(page.replace(str(teachers.pk), str(others.pk)), {"post": "yes"}).status_code == 302
    assert root.post(page, {"post": "yes"}).status_code == 302
    assert not Group.objects.filter(name__in=["teachers", "others"]).exists()


# Tokens


def test_a_token_is_shown_once(olga):
    alice = factories.make_user()
    response = issue(olga, alice)
    assert "no-store" in response["Cache-Control"]
    [token] = re.findall(r'id="token"[^>]*>([^<]+)<', response.content.decode())
    row = Token.objects.get()
    assert row.token_hash == hash_token(token)
    assert row.user == alice
    assert "messages" not in response.cookies
    for name, args in (
        ("accounts_token_change", [row.pk]),
        ("accounts_token_history", [row.pk]),
        ("accounts_token_changelist", []),
        ("accounts_user_change", [alice.pk]),
    ):
        text = olga.get(reverse(f"admin:{name}", args=args)).content.decode()
        assert token not in text
        assert row.token_hash not in text
    assert token not in str([*LogEntry.objects.values()])
    assert token not in str([cookie.value for cookie in olga.cookies.values()])
    assert token not in str(dict(olga.session))


def test_sending_the_form_again_issues_no_second_token(olga):
    alice = factories.make_user()
    issue(olga, alice)
    errors = issue(olga, alice).context["adminform"].form.errors
    assert "This user has one with this label already" in str(errors["label"])
    assert Token.objects.count() == 1


def test_limits_of_a_token_are_typed_with_commas(olga):
    limits = {
        "networks": "10.0.0.0/8, 2001:db8::/32,",
        "origins": "https://example.org",
        "streams": "lobby, door",
        "actions": ["publish", "play"],
        "expires_at_0": "2030-01-01",
        "expires_at_1": "12:00",
    }
    issue(olga, factories.make_user(), **limits)
    token = Token.objects.get()
    assert token.networks == ["10.0.0.0/8", "2001:db8::/32"]
    assert token.streams == ["lobby", "door"]
    assert token.actions == ["publish", "play"]
    assert token.expires_at.year == 2030


def test_a_wrong_network_is_explained_at_its_field(olga):
    response = issue(olga, factories.make_user(), networks="10.0.0.1/8")
    assert "is not a network" in str(response.context["adminform"].form.errors["networks"])
    assert not Token.objects.exists()


def test_a_token_stays_with_its_user_and_keeps_its_hash(olga):
    alice, bob = factories.make_user(), factories.make_user("bob")
    token = factories.make_token(alice)
    page = reverse("admin:accounts_token_change", args=[token.pk])
    data = {"user": bob.pk, "label": "phone", "token_hash": "0" * 64, "last_used_at_0": "2030-01-01"}
    assert olga.post(page, data).status_code == 302
    changed = Token.objects.get()
    assert (changed.user, changed.label, changed.token_hash) == (alice, "phone", token.token_hash)
    assert changed.last_used_at is None


def test_tokens_are_revoked(olga):
    token = factories.make_token(factories.make_user())
    response = run(olga, "accounts_token", "delete_selected", [token])
    assert "laptop of alice" in response.content.decode()
    data = {"action": "delete_selected", "_selected_action": [token.pk], "post": "yes"}
    olga.post(reverse("admin:accounts_token_changelist"), data)
    assert not Token.objects.exists()


def test_only_superusers_issue_tokens_for_staff(olga, root):
    response = issue(olga, root.user)
    assert "Only a superuser issues tokens for staff" in str(response.context["adminform"].form.errors["user"])
    assert not Token.objects.exists()
    assert issue(olga, olga.user, label="mine").status_code == 200
    assert issue(root, olga.user, label="test").status_code == 200
    assert Token.objects.count() == 2


def test_only_superusers_touch_tokens_of_superusers(olga, root):
    token = factories.make_token(root.user)
    page = reverse("admin:accounts_token_change", args=[token.pk])
    assert olga.post(page, {"label": "stolen"}).status_code == 403
    assert olga.post(page.replace("change", "delete"), {"post": "yes"}).status_code == 403
    data = {"action": "delete_selected", "_selected_action": [token.pk], "post": "yes"}
    olga.post(reverse("admin:accounts_token_changelist"), data)
    assert Token.objects.get().label == "laptop"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("origins", "https://example.org/app"),
        ("origins", "https://example.org/"),
        ("origins", "example.org"),
        ("origins", "https://*.example.org"),
        ("origins", "https://Example.org"),
        ("origins", "https://example.org:443"),
        ("expires_at_0", "2020-01-01"),
    ],
)
def test_limits_that_nothing_fits_are_refused(olga, field, value):
    errors = issue(olga, factories.make_user(), **{field: value}).context["adminform"].form.errors
    assert list(errors) == [field.removesuffix("_0")]
    assert not Token.objects.exists()


def test_a_token_is_ended_and_a_date_needs_no_time(olga):
    token = factories.make_token(factories.make_user())
    page = reverse("admin:accounts_token_change", args=[token.pk])
    limits = {"origins": "https://example.org, http://[2001:db8::7]:8080", "expires_at_0": "2020-01-01"}
    assert olga.post(page, {"label": "old", **limits}).status_code == 302
    token.refresh_from_db()
    assert f"{token.expires_at:%Y-%m-%d %H:%M}" == "2020-01-01 00:00"


def test_the_link_to_change_a_password_leads_somewhere(olga, root):
    def page(browser, user):
        return browser.get(user_page(user)).content.decode()

    alice = factories.make_user()
    assert "../password/" in page(olga, alice)
    assert "../password/" in page(root, olga.user)
    assert "Change it here" not in page(olga, root.user)
    for browser in (olga, root):
        assert f'href="{reverse("admin:password_change")}">Change it here' in page(browser, browser.user)
        assert "../password/" not in page(browser, browser.user)


def test_what_goes_with_a_user_can_be_read(olga):
    alice = factories.make_user(groups=["teachers"])
    text = olga.get(user_page(alice, "delete")).content.decode()
    assert "Membership: alice in teachers" in text
    assert "object (" not in text
