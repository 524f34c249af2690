"""SIP accounts in the admin: the password goes in and never comes out."""

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from apps.connections.models import SipAccount
from apps.connections.sealing import unseal
from tests import factories
from tests.admin.conftest import browser_of, make_role

ADD = reverse("admin:connections_sipaccount_add")
FORM = {"login": "10007", "domain": "pbx.example", "port": "5060", "register": "on"}


@pytest.fixture
def alice(db):
    return factories.make_user()


def page_of(account):
    return reverse("admin:connections_sipaccount_change", args=[account.pk])


def test_an_account_is_given_from_the_page_of_its_user(olga, alice):
    user_page = reverse("admin:accounts_user_change", args=[alice.pk])
    assert f"{ADD}?user={alice.pk}" in olga.get(user_page).content.decode()
    olga.post(ADD, {**FORM, "user": alice.pk, "new_password": " s3cret "})
    account = SipAccount.objects.get()
    assert (account.user, unseal(account.password)) == (alice, " s3cret ")
    text = olga.get(user_page).content.decode()
    assert "10007@pbx.example" in text
    assert page_of(account) in text


def test_a_new_account_needs_a_password_and_an_old_one_keeps_it(olga, alice):
    response = olga.post(ADD, {**FORM, "user": alice.pk})
    assert response.context["adminform"].form.errors.keys() == {"new_password"}
    account = factories.make_sip_account(alice)
    olga.post(page_of(account), {**FORM, "login": "10008"})
    account.refresh_from_db()
    assert (account.login, unseal(account.password)) == ("10008", "sip-secret")
    olga.post(page_of(account), {**FORM, "new_password": "second-secret"})
    account.refresh_from_db()
    assert unseal(account.password) == "second-secret"


@pytest.mark.parametrize(
    ("field", "value"), [("domain", "evil.example"), ("outbound_proxy", "evil.example"), ("port", "5099")]
)
def test_a_password_goes_to_no_other_server_than_it_was_given_for(olga, alice, field, value):
    account = factories.make_sip_account(alice)
    response = olga.post(page_of(account), {**FORM, field: value})
    assert "given for another server" in str(response.context["adminform"].form.errors["new_password"])
    before = getattr(account, field)
    account.refresh_from_db()
    assert getattr(account, field) == before
    olga.post(page_of(account), {**FORM, field: value, "new_password": "second-secret"})
    account.refresh_from_db()
    assert (str(getattr(account, field)), unseal(account.password)) == (value, "second-secret")


def test_no_page_and_no_history_shows_the_password(root, olga, alice):
    account = factories.make_sip_account(alice)
    refused = olga.post(page_of(account), {**FORM, "domain": "", "new_password": "second-secret"})
    olga.post(page_of(account), {**FORM, "new_password": "second-secret"})
    pages = [
        page_of(account),
        page_of(account).replace("change", "history"),
        reverse("admin:connections_sipaccount_changelist"),
    ]
    texts = [refused.content.decode(), *(root.get(page).content.decode() for page in pages)]
    texts += LogEntry.objects.values_list("change_message", flat=True)
    account.refresh_from_db()
    for secret in ("sip-secret", "second-secret", account.password):
        assert not [text for text in texts if secret in text]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("login", "sip:10007"),
        ("login", "a b"),
        ("login", "a@b"),
        ("domain", "sip:pbx.example"),
        ("domain", "pbx.example:5060"),
        ("domain", "pbx.example;x"),
        ("outbound_proxy", "a b"),
        ("port", "0"),
        ("port", "70000"),
        ("visible_name", 'Al"ice'),
        ("visible_name", "<sip:x@y>"),
    ],
)
def test_what_would_break_out_of_its_place_is_refused_at_its_field(olga, alice, field, value):
    response = olga.post(ADD, {**FORM, "user": alice.pk, "new_password": "x", field: value})
    assert response.context["adminform"].form.errors.keys() == {field}
    assert not SipAccount.objects.exists()


def test_who_may_only_look_sees_no_field_for_a_password(db, alice):
    account = factories.make_sip_account(alice)
    make_role("lookers", "view_sipaccount")
    looker = browser_of(factories.make_user("lea", is_staff=True, groups=["lookers"]))
    text = looker.get(page_of(account)).content.decode()
    assert "10007" in text
    assert "sip-secret" not in text
    assert account.password not in text
