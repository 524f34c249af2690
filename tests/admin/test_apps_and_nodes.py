"""Apps and nodes: secrets go in and never come out."""

import re
from datetime import UTC, datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from apps.connections.models import App, Node
from apps.connections.sealing import unseal
from tests import factories
from tests.admin.conftest import make_session

APP = {"key": "school", "token_name": "token", "hook_user": "wcs", "networks": "", "note": ""}


def app_page(app):
    return reverse("admin:connections_app_change", args=[app.pk])


def passwords(app):
    app.refresh_from_db()
    return [unseal(sealed) for sealed in app.hook_passwords]


@pytest.fixture
def school(db):
    return factories.make_app("school", hook_password="first-password")


def test_an_app_is_added_with_a_password_and_its_page_says_how_to_go_on(olga):
    response = olga.post(reverse("admin:connections_app_add"), {**APP, "new_secret": "first-password"}, follow=True)
    assert passwords(App.objects.get()) == ["first-password"]
    text = response.content.decode()
    assert response.redirect_chain[-1][0] == app_page(App.objects.get())
    assert "update app -l http://testserver/hooks -u wcs -p PASSWORD school" in text
    assert "add app -u wcs -p PASSWORD school school http://testserver/hooks" in text
    assert "first-password" not in text
    assert "add app-rest-method -a school" in text


def test_two_passwords_are_valid_during_a_change(olga, school):
    olga.post(app_page(school), {**APP, "new_secret": "second-password", "secrets_set": "keep"})
    assert passwords(school) == ["second-password", "first-password"]
    assert "Two are set" in olga.get(app_page(school)).content.decode()
    olga.post(app_page(school), {**APP, "new_secret": "third-password", "secrets_set": "keep"})
    assert passwords(school) == ["third-password", "second-password"]


@pytest.mark.parametrize(
    ("choice", "new", "left"),
    [
        ("keep", "", ["second-password", "first-password"]),
        ("newest", "", ["second-password"]),
        ("newest", "third-password", ["third-password"]),
        ("none", "", []),
        ("none", "third-password", ["third-password"]),
        ("", "", ["second-password", "first-password"]),
    ],
)
def test_old_passwords_are_dropped_when_told_so(olga, school, choice, new, left):
    school.set_hook_password("second-password")
    school.save()
    olga.post(app_page(school), {**APP, "new_secret": new, "secrets_set": choice})
    assert passwords(school) == left


def test_no_page_shows_a_secret(root, olga, school):
    node = factories.make_node(secret="node-signing-secret")
    olga.post(app_page(school), {**APP, "new_secret": "second-password", "hook_user": ""})
    secrets = ["first-password", "second-password", "node-signing-secret", *school.hook_passwords, *node.secrets]
    node_page = reverse("admin:connections_node_change", args=[node.pk])
    pages = [
        app_page(school),
        node_page,
        *(page.replace("change", "history") for page in (app_page(school), node_page)),
    ]
    refused = olga.post(app_page(school), {**APP, "key": "", "new_secret": "second-password"})
    texts = [root.get(page).content.decode() for page in pages] + [refused.content.decode()]
    assert not [secret for secret in secrets for text in texts if secret in text]
    assert not [secret for secret in secrets if secret in str([*LogEntry.objects.values()])]


def test_a_password_needs_a_user_and_a_length(olga, school):
    errors = olga.post(app_page(school), {**APP, "hook_user": ""}).context["adminform"].form.errors
    assert "restUsername" in str(errors["hook_user"])
    errors = olga.post(app_page(school), {**APP, "hook_user": "a:b"}).context["adminform"].form.errors
    assert "A colon cannot be part of it" in str(errors["hook_user"])
    errors = olga.post(app_page(school), {**APP, "new_secret": "short"}).context["adminform"].form.errors
    assert "new_secret" in errors
    assert passwords(school) == ["first-password"]


def test_a_password_that_cannot_be_read_any_more_is_replaced(olga, school, settings):
    settings.ENCRYPTION_KEYS = ["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="]
    response = olga.post(app_page(school), {**APP, "new_secret": "second-password", "secrets_set": "keep"})
    assert "cannot be read any more" in str(response.context["adminform"].form.errors["new_secret"])
    olga.post(app_page(school), {**APP, "new_secret": "second-password", "secrets_set": "none"})
    assert passwords(school) == ["second-password"]


def test_an_app_open_to_this_computer_only_says_so(olga, school):
    warning = "accepted from this computer only: neither"
    assert warning not in olga.get(app_page(school)).content.decode()
    open_app = factories.make_app("open", hook_password="")
    assert warning in olga.get(app_page(open_app)).content.decode()
    assert "this computer only" in olga.get(reverse("admin:connections_app_changelist")).content.decode()


def test_commands_are_quoted(olga):
    app = factories.make_app("a b; remove app x", hook_password="")
    assert (
        "update app -l http://testserver/hooks &#x27;a b; remove app x&#x27;"
        in olga.get(app_page(app)).content.decode()
    )


def test_a_node_gets_a_signing_secret_and_keeps_its_id(olga):
    node = factories.make_node()
    page = reverse("admin:connections_node_change", args=[node.pk])
    olga.post(page, {"node_id": "other", "name": "edge-1", "networks": "10.0.0.7", "new_secret": "signing-secret"})
    node = Node.objects.get()
    assert (node.node_id, node.name, node.networks) == (factories.NODE_ID, "edge-1", ["10.0.0.7"])
    assert [unseal(sealed) for sealed in node.secrets] == ["signing-secret"]
    olga.post(page, {"name": "edge-1", "networks": "", "secrets_set": "none"})
    node.refresh_from_db()
    assert node.secrets == []


def test_a_key_keeps_its_letters_above_its_page(olga):
    app = factories.make_app("chatApp")
    assert re.search(r">\s*chatApp\s*</a>", olga.get(app_page(app)).content.decode())


def test_sessions_show_the_short_node_and_plain_dates(olga):
    make_session(opened_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    make_session(node_id="n-2")
    factories.make_node("n-2", name="edge-1")
    text = olga.get(reverse("admin:connections_session_changelist")).content.decode()
    assert re.search(r"field-short_node[^>]*>\s*192.168.1.101\s*<", text)
    assert re.search(r"field-short_node[^>]*>\s*edge-1\s*<", text)
    assert "2026-01-02 03:04:05" in text


# The REST API of a node


def save_node(browser, node, **fields):
    page = reverse("admin:connections_node_change", args=[node.pk])
    response = browser.post(page, {"name": "edge", "networks": "", "secrets_set": "keep", **fields})
    node.refresh_from_db()
    return response


def test_a_node_is_told_how_to_reach_its_rest_api_and_the_password_is_not_shown(olga, db):
    node = factories.make_node()
    api = {"api_url": "http://10.0.0.5:8081/rest-api", "api_user": "gate"}
    save_node(olga, node, **api, new_api_password="sesame")
    assert (node.api_url, node.api_user, unseal(node.api_password)) == (*api.values(), "sesame")
    text = olga.get(reverse("admin:connections_node_change", args=[node.pk])).content.decode()
    assert "One is set; it cannot be shown." in text
    assert "sesame" not in text
    assert node.api_password not in text
    save_node(olga, node, **api)
    assert unseal(node.api_password) == "sesame"
    save_node(olga, node, api_url=api["api_url"], api_user="")
    assert node.api_password == ""


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"api_url": "file:///etc/passwd"}, "api_url"),
        ({"api_url": "10.0.0.5:8081"}, "api_url"),
        ({"api_url": "http://10.0.0.5/rest-api?x="}, "api_url"),
        ({"api_url": "http://10.0.0.5/rest-api#x"}, "api_url"),
        ({"api_url": "http://gate:sesame@10.0.0.5/rest-api"}, "api_url"),
        ({"api_url": "http://10.0.0.5/rest-api", "new_api_password": "sesame"}, "api_user"),
    ],
)
def test_what_is_wrong_with_it_is_said_at_its_field(olga, db, fields, field):
    node = factories.make_node()
    response = save_node(olga, node, **fields)
    assert list(response.context["adminform"].form.errors) == [field]
    assert (node.api_url, node.api_password) == ("", "")


@pytest.fixture
def told_node(db):
    """A node with a password for its REST API."""
    node = factories.make_node(api_url="https://wcs.example/rest-api", api_user="gate")
    node.set_api_password("sesame")
    node.save()
    return node


@pytest.mark.parametrize(
    "url",
    [
        "http://wcs.example/rest-api",
        "https://wcs.example:8444/rest-api",
        "https://evil.example/rest-api",
        "https://wcs.example.evil.example/rest-api",
    ],
)
def test_its_password_goes_to_no_other_server_than_it_was_given_for(olga, told_node, url):
    response = save_node(olga, told_node, api_url=url, api_user="gate")
    assert "given for another server" in str(response.context["adminform"].form.errors["new_api_password"])
    assert told_node.api_url == "https://wcs.example/rest-api"
    save_node(olga, told_node, api_url=url, api_user="gate", new_api_password="mellon")
    assert (told_node.api_url, unseal(told_node.api_password)) == (url, "mellon")


def test_its_password_does_not_wait_without_an_address_for_the_next_one(olga, told_node):
    save_node(olga, told_node, api_url="", api_user="gate")
    assert told_node.api_password == ""
    save_node(olga, told_node, api_url="https://evil.example/rest-api", api_user="gate")
    assert (told_node.api_url, told_node.api_password) == ("https://evil.example/rest-api", "")


def test_its_password_stays_while_the_server_is_the_same(olga, told_node):
    save_node(olga, told_node, api_url="https://WCS.example:443/other", api_user="gate")
    assert (told_node.api_url, unseal(told_node.api_password)) == ("https://WCS.example:443/other", "sesame")
