"""Pages that are closed to staff, or that there are not, say why and where to go; to strangers they say nothing."""

import re
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser, Permission
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse
from playwright.sync_api import expect

from apps.accounts.closed_pages import NOBODY, SUPERUSERS, forbidden, not_found
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
        ("/admin/accounts/user/add/", "For this your role needs the permission “Can add user”, and “Can change user”."),
        ("/admin/streams/stream/add/", "For this your role needs the permission “Can add stream”."),
        ("/admin/accounts/apikey/", "For this your role needs the permission “Can view API key”."),
        ("/admin/access/file/", "This page is for superusers."),
        (
            "/admin/access/who-can/file/",
            "For this your role needs one of the permissions “Can view stream permission” or “Can view call "
            "permission”, and “Can view user”.",
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
    for browser in (root, olga):
        response = browser.get(page)
        assert response.status_code == 403
        assert said(response).startswith("Nobody does that here")
        assert b"Superusers give" not in response.content


def test_a_role_that_opens_a_page_may_not_do_everything_on_it(olga, root):
    response = olga.post(reverse("admin:accounts_user_change", args=[root.user.pk]), {})
    assert said(response) == "Your role opens this page, but does not allow what you asked for on it."


@pytest.mark.parametrize(
    ("role", "method", "page", "sentence"),
    [
        ("view_streampermission", "get", "who_can_file", "“Can view user”"),
        ("view_auditevent", "post", "missing_hooks", "“Can acknowledge missing hooks”"),
        ("view_auditevent", "get", "as_of", "“Can view stream permission” or “Can view call permission”"),
        ("view_auditevent", "get", "allow", "“Can view stream permission” or “Can view call permission”"),
    ],
)
def test_where_one_permission_is_not_enough_the_other_one_is_named(role, method, page, sentence):
    make_role("helpers", role)
    of_event = page in ("allow", "as_of")
    address = reverse(f"admin:audit_auditevent_{page}", args=[make_event().pk]) if of_event else reverse(page)
    helper = factories.make_user("hedy", is_staff=True, groups=["helpers"])
    assert said(getattr(browser_of(helper), method)(address)) == f"For this your role needs {sentence}, too."
    one_of = re.search("“(.*?)”", sentence)[1]
    helper.user_permissions.set(Permission.objects.filter(name=one_of))
    assert getattr(browser_of(helper), method)(address).status_code != 403


def pages(patterns, prefix="", space=""):
    """The name and the address of every page that has one, about a row that is not there."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            within = f"{space}{pattern.namespace}:" if pattern.namespace else space
            yield from pages(pattern.url_patterns, route, within)
        elif pattern.name and route.startswith("admin/") and not pattern.pattern.regex.groups:
            yield f"{space}{pattern.name}", reverse(f"{space}{pattern.name}")
        elif pattern.name and route.startswith("admin/") and pattern.pattern.converters:
            row = {name: uuid4() if "UUID" in repr(kind) else 1 for name, kind in pattern.pattern.converters.items()}
            yield f"{space}{pattern.name}", reverse(f"{space}{pattern.name}", kwargs=row)


UNSEEN = ("admin:autocomplete", "admin:logout")
"""What forms ask for that are open already, and what ends the looking around."""


def closed_pages():
    """Method, name and address of whatever is closed to a member of staff without any role, and what it says."""
    stranger = browser_of(factories.make_user("rita", is_staff=True))
    for name, address in pages(get_resolver().url_patterns):
        for method in ("get", "post") if name not in UNSEEN else ():
            response = getattr(stranger, method)(address)
            if response.status_code == 403:
                yield method, name, address, said(response)


def test_each_permission_that_is_named_opens_what_was_asked_for():
    helper = factories.make_user("hedy", is_staff=True)
    named = 0
    for method, name, address, sentence in closed_pages():
        either, _, besides = sentence.partition(", and ")
        for permission in re.findall("“(.*?)”", either):
            both = {permission, *re.findall("“(.*?)”", besides)}
            helper.user_permissions.set(Permission.objects.filter(name__in=both))
            opened = getattr(browser_of(helper), method)(address)
            assert opened.status_code != 403, (method, name, permission)
            named += 1
    assert named > 100


def test_what_is_for_superusers_or_for_nobody_is_opened_by_no_permission(olga):
    olga.user.user_permissions.set(Permission.objects.all())
    seen = set()
    for method, name, address, sentence in closed_pages():
        if sentence in (NOBODY, SUPERUSERS):
            seen.add(sentence)
            assert getattr(olga, method)(address).status_code == 403, (method, name)
    assert seen == {NOBODY, SUPERUSERS}


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
