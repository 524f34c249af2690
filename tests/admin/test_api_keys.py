"""Keys of the API in the admin: shown once, and issued by nobody for somebody who may more."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from apps.accounts.hashing import hash_token
from apps.accounts.models import ApiKey
from tests import factories
from tests.admin.conftest import browser_of, make_role
from tests.admin.test_people import run
from tests.admin.test_ways_in import errors_of, in_the_form

LIST = "admin:accounts_apikey_changelist"


def page_of(key, what="change"):
    return reverse(f"admin:accounts_apikey_{what}", args=[key.pk])


def issue(browser, user, label="SIEM", **fields):
    return browser.post(reverse("admin:accounts_apikey_add"), in_the_form(user=user.pk, label=label, **fields))


@pytest.fixture
def siem(db):
    make_role("readers", "view_auditevent")
    return factories.make_user("siem", is_staff=True, groups=["readers"])


def test_a_key_is_shown_once_with_how_to_send_it(root, siem):
    response = issue(root, siem, networks="10.0.0.0/8, 192.0.2.7")
    assert "no-store" in response["Cache-Control"]
    page = response.content.decode()
    [key] = re.findall(r'id="token"[^>]*>([^<]+)<', page)
    assert "This is the only time the API key is shown." in page
    assert "Authorization: Bearer" in page
    row = ApiKey.objects.get()
    assert (row.user, row.networks, row.key_hash) == (siem, ["10.0.0.0/8", "192.0.2.7"], hash_token(key))
    assert (
        root.get("/api/v1/audit", headers={"Authorization": f"Bearer {key}"}, REMOTE_ADDR="10.1.2.3").status_code == 200
    )
    for address in (page_of(row), page_of(row, "history"), page_of(row, "delete"), reverse(LIST)):
        text = root.get(address).content.decode()
        assert key not in text
        assert row.key_hash not in text
    assert key not in str([*LogEntry.objects.values()]) + str(dict(root.session)) + str(root.cookies)
    assert "messages" not in response.cookies


def test_staff_issue_keys_for_themselves_and_superusers_for_all_staff(root, olga, siem):
    assert errors_of(issue(olga, siem)) == {"user": ["Only a superuser issues API keys for staff."]}
    assert errors_of(issue(olga, root.user)) == {"user": ["Only a superuser issues API keys for staff."]}
    assert not ApiKey.objects.exists()
    assert issue(olga, olga.user).status_code == 200
    assert issue(root, siem).status_code == 200
    assert issue(root, olga.user, label="other").status_code == 200
    assert ApiKey.objects.count() == 3


def test_issuing_takes_a_permission_of_its_own(audrey, siem):
    assert issue(audrey, audrey.user).status_code == 403
    assert audrey.get(reverse(LIST)).status_code == 403
    make_role("issuers", "add_apikey", "view_apikey", "view_auditevent")
    ivy = browser_of(factories.make_user("ivy", is_staff=True, groups=["issuers"]))
    assert issue(ivy, ivy.user).status_code == 200
    assert ivy.get(reverse(LIST)).status_code == 200


def test_only_superusers_touch_keys_of_other_staff(root, olga, siem):
    _, key = factories.make_key(siem)
    assert olga.post(page_of(key), {"label": "stolen"}).status_code == 403
    assert olga.post(page_of(key, "delete"), {"post": "yes"}).status_code == 403
    olga.post(reverse(LIST), {"action": "delete_selected", "_selected_action": [key.pk], "post": "yes"})
    assert ApiKey.objects.get().label == "SIEM"
    root.post(page_of(key), {"label": "other"})
    assert ApiKey.objects.get().label == "other"


@pytest.mark.parametrize("who", ["client", "carl", "off"])
def test_no_key_is_issued_that_would_open_nothing(root, siem, who):
    users = {
        "client": factories.make_user("client"),
        "carl": factories.make_user("carl", is_staff=True),
        "off": factories.make_user("off", is_staff=True, groups=["readers"], is_active=False),
    }
    assert "A key would open nothing to this user" in str(errors_of(issue(root, users[who]))["user"])
    assert not ApiKey.objects.exists()


def test_a_key_stays_with_its_user_and_keeps_its_hash(root, siem):
    _, key = factories.make_key(siem)
    until = (timezone.now() + timedelta(days=9)).replace(microsecond=0)
    data = in_the_form(user=root.user.pk, label="new", key_hash="0" * 64, expires_at=until, networks="10.0.0.0/8")
    assert root.post(page_of(key), data).status_code == 302
    changed = ApiKey.objects.get()
    assert (changed.user, changed.key_hash) == (siem, key.key_hash)
    assert (changed.label, changed.expires_at, changed.networks) == ("new", until, ["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("networks", "10.0.0.1/8", "is not a network"),
        ("expires_at", timezone.now() - timedelta(days=1), "the API key would never work"),
        ("label", "", "required"),
        ("label", "first", "has one with this label already"),
    ],
)
def test_bad_input_is_answered_at_its_field(root, siem, field, value, says):
    factories.make_key(siem, "first")
    response = issue(root, siem, **{field: value})
    assert says in str(errors_of(response)[field])
    assert ApiKey.objects.count() == 1


def test_keys_are_revoked_by_deleting_them(root, siem):
    _, key = factories.make_key(siem)
    assert "Revoke: the API keys stop working at once" in root.get(reverse(LIST)).content.decode()
    assert "SIEM of siem" in run(root, "accounts_apikey", "delete_selected", [key]).content.decode()
    root.post(reverse(LIST), {"action": "delete_selected", "_selected_action": [key.pk], "post": "yes"})
    assert not ApiKey.objects.exists()


def test_the_page_of_staff_leads_to_their_keys(root, siem):
    factories.make_key(siem)
    address = f"{reverse(LIST)}?q=siem"
    page = root.get(reverse("admin:accounts_user_change", args=[siem.pk])).content.decode()
    assert address in page
    assert "SIEM" in root.get(address).content.decode()


def test_the_list_says_whether_a_key_works(root, siem):
    now = timezone.now()
    factories.make_key(siem, "one")
    factories.make_key(siem, "two", expires_at=now)
    factories.make_key(factories.make_user("off", is_active=False), "three")
    factories.make_key(factories.make_user("out", revoked_before=now + timedelta(days=1)), "four")
    shown = root.get(reverse(LIST)).context["cl"].model_admin
    states = {key.label: shown.works(key) for key in shown.get_queryset(root.get(reverse(LIST)).wsgi_request)}
    assert states == {"one": "works", "two": "expired", "three": "user is off", "four": "revoked"}
