"""Wrong passwords at the admin's login: who is locked out, and who is not."""

import pytest
from axes.models import AccessAttempt
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from tests import factories
from tests.admin.conftest import PASSWORD

LIMIT = 10
PROXY = "10.0.0.1"


@pytest.fixture(autouse=True)
def olga_alone(db):
    return factories.make_user("olga", password=PASSWORD, is_staff=True)


def log_in(password, address="192.0.2.1", **headers):
    """Post the login form from this address; gives the status: 302 is in, 200 is refused, 429 is locked out."""
    form = {"username": "olga", "password": password, "next": "/admin/"}
    return Client().post(reverse("admin:login"), form, REMOTE_ADDR=address, **headers).status_code


def through_proxy(password, client_address):
    return log_in(password, PROXY, HTTP_X_FORWARDED_FOR=f"203.0.113.9, {client_address}")


def test_ten_wrong_passwords_lock_the_login_from_that_address_even_with_the_right_one():
    assert [log_in("wrong") for _ in range(LIMIT)] == [200] * (LIMIT - 1) + [429]
    assert log_in(PASSWORD) == 429
    assert log_in(PASSWORD, "192.0.2.2") == 302


def test_the_right_password_in_between_forgives_the_wrong_ones():
    for _ in range(2):
        assert [log_in("wrong") for _ in range(LIMIT - 1)] == [200] * (LIMIT - 1)
        assert log_in(PASSWORD) == 302


def test_behind_a_trusted_proxy_only_the_guesser_is_locked_out(settings):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert [through_proxy("wrong", "192.0.2.1") for _ in range(LIMIT)][-1] == 429
    assert through_proxy(PASSWORD, "192.0.2.1") == 429
    assert through_proxy(PASSWORD, "192.0.2.2") == 302


def test_behind_an_unknown_proxy_all_share_the_tries_of_its_address():
    assert [through_proxy("wrong", f"192.0.2.{number}") for number in range(LIMIT)][-1] == 429
    assert through_proxy(PASSWORD, "192.0.2.99") == 429
    assert log_in(PASSWORD, "192.0.2.99") == 302


def test_a_made_up_header_gives_no_more_tries(settings):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    tries = [log_in("wrong", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}") for number in range(LIMIT)]
    assert tries[-1] == log_in(PASSWORD) == 429


def test_of_a_wrong_login_neither_address_nor_form_is_kept():
    form = {"username": "olga", "password": "wrong", "csrfmiddlewaretoken": "s3cret"}
    assert Client().post(f"{reverse('admin:login')}?token=s3cret", form).status_code == 200
    attempt = AccessAttempt.objects.get()
    assert (attempt.username, attempt.get_data, attempt.post_data) == ("olga", "", "")


def test_whoever_reads_the_database_is_not_logged_in():
    browser = Client()
    browser.post(reverse("admin:login"), {"username": "olga", "password": PASSWORD})
    key, row = browser.cookies["sessionid"].value, Session.objects.get()
    assert browser.get(reverse("admin:index")).status_code == 200
    assert row.session_key != key
    reader = Client()
    reader.cookies["sessionid"] = row.session_key
    assert reader.get(reverse("admin:index")).status_code == 302
    browser.post(reverse("admin:logout"))
    assert not Session.objects.exists(), "logging out ends it"


@pytest.mark.parametrize(("address", "header"), [(PROXY, "unknown"), (PROXY, "192.0.2.1:4711"), ("", "")])
def test_what_is_no_address_is_still_counted(settings, address, header):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    tries = [log_in("wrong", address, HTTP_X_FORWARDED_FOR=header) for _ in range(LIMIT)]
    assert tries[-1] == log_in(PASSWORD, address, HTTP_X_FORWARDED_FOR=header) == 429
