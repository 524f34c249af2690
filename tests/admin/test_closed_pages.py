"""Pages that are closed to staff, or that there are not, say why and where to go; to strangers they say nothing."""

import re

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import reverse
from playwright.sync_api import expect

from apps.accounts.closed_pages import forbidden, not_found
from tests import factories
from tests.admin.conftest import browser_of, desk_of, make_event, make_role
from tests.admin.test_in_a_browser import PHONE

pytestmark = pytest.mark.django_db


def said(response):
    """What the page says of why it is closed, in one line."""
    return " ".join(re.search(r'id="closed">\s*<p[^>]*>(.*?)</p>', response.content.decode(), re.S)[1].split())


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("/admin/accounts/user/", "For this your role needs the permission “Can view user”."),
        ("/admin/accounts/user/add/", "For this your role needs the permission “Can add user”."),
        ("/admin/accounts/apikey/", "For this your role needs the permission “Can view API key”."),
        ("/admin/access/file/", "This page is for superusers."),
        (
            "/admin/access/who-can/file/",
            "For this your role needs one of the permissions “Can view stream permission” or “Can view call "
            "permission”.",
        ),
        (
            "/admin/access/presets/",
            "For this your role needs one of the permissions “Can add stream permission” or “Can add call permission”.",
        ),
    ],
)
def test_staff_are_told_which_permission_is_missing_and_who_gives_it(audrey, address, sentence):
    response = audrey.get(address)
    assert response.status_code == 403
    assert said(response) == sentence
    assert b"Superusers give permissions to a group that you are in" in response.content
    assert b"You are logged in as audrey" in response.content
    assert f'href="{reverse("admin:index")}"'.encode() in response.content
    assert f'action="{reverse("admin:logout")}"'.encode() in response.content


def test_the_permission_that_is_named_opens_the_page(audrey):
    assert said(audrey.get("/admin/accounts/user/")).endswith("“Can view user”.")
    make_role("readers", "view_user").user_set.add(audrey.user)
    assert audrey.get("/admin/accounts/user/").status_code == 200


def test_a_change_needs_another_permission_than_a_look():
    make_role("readers", "view_user")
    reader = browser_of(factories.make_user("rita", is_staff=True, groups=["readers"]))
    page = reverse("admin:accounts_user_change", args=[factories.make_user("ann").pk])
    assert said(reader.post(page, {})) == "For this your role needs the permission “Can change user”."


def test_what_nobody_does_is_no_missing_permission(root, olga):
    make_event()
    page = reverse("admin:audit_auditevent_add")
    response = root.get(page)
    assert response.status_code == 403
    assert said(response).startswith("Nobody does that here")
    assert b"Superusers give" not in response.content
    assert said(olga.get(page)) == "Your role opens this page, but does not allow what you asked for on it."


def test_staff_are_told_that_there_is_no_such_page(audrey):
    response = audrey.get("/admin/nonsense/")
    assert response.status_code == 404
    assert said(response) == "Its address may be mistyped, or what it showed may have been deleted since."
    assert b"Superusers give" not in response.content


def test_strangers_learn_nothing():
    person = browser_of(factories.make_user("ann"))
    for browser in (Client(), person):
        for address in ("/admin/accounts/user/", "/admin/nonsense/", "/admin/access/file/"):
            response = browser.get(address)
            assert response.status_code == 302
            assert response.url.startswith("/admin/login/")


@pytest.mark.parametrize("closed", [forbidden, not_found])
def test_strangers_get_the_bare_page_wherever_it_is_asked_for(rf, closed):
    for user in (AnonymousUser(), factories.make_user("ann"), None):
        request = rf.get("/admin/accounts/user/")
        if user:
            request.user = user
        content = closed(request, Exception()).content
        assert b"Can view user" not in content
        assert b"WCS Gate" not in content


def test_beside_the_admin_pages_stay_bare(root):
    for browser in (Client(), root):
        response = browser.get("/nonsense/")
        assert response.status_code == 404
        assert b"Audit log" not in response.content


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_closed_page_leads_on(context, live_server):
    make_role("auditors", "view_auditevent")
    window = desk_of(factories.make_user("audrey", is_staff=True, groups=["auditors"]), context, live_server)
    window.set_viewport_size(PHONE)
    window.goto("/admin/accounts/user/")
    expect(window.get_by_role("heading", name="You may not do this")).to_be_visible()
    assert window.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    window.get_by_role("link", name="To the overview").click()
    expect(window).to_have_url(re.compile("/admin/$"))
    window.go_back()
    window.get_by_role("main").get_by_role("button", name="Log out").click()
    expect(window.get_by_role("link", name="To the overview")).to_have_count(0)
    window.goto("/admin/accounts/user/")
    expect(window.get_by_label("Username")).to_be_visible()
