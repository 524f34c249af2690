"""Import and export in the admin: seen first, then taken in; for superusers alone."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DataError, transaction
from django.urls import reverse

from apps.access.files import export_access
from apps.access.models import Rule
from apps.accounts.models import User
from apps.connections.sealing import seal
from tests import factories
from tests.access.test_file_sheets import book
from tests.audit.test_changes import acts

RULES = b"rules: [{effect: allow, who: everyone, actions: [connect]}]"
SECRET = b"users: [{username: alice, password: open-sesame-4711}]"


@pytest.fixture
def page():
    return reverse("access_file")


def look(client, page, content, **more):
    file = SimpleUploadedFile("access.yaml", content)
    return client.post(page, {"do": "look", "file": file, **more})


def sealed_of(response):
    return response.context["sealed"]


def test_a_file_is_looked_at_and_then_taken_in(root, page):
    looked = look(root, page, RULES)
    assert "+ rule: Allow everyone with an account to connect" in looked.content.decode()
    assert not Rule.objects.exists()
    done = root.post(page, {"do": "import", "sealed": sealed_of(looked)})
    assert "1 added, 0 changed, 0 removed." in done.content.decode()
    assert Rule.objects.count() == 1


def test_a_spreadsheet_does_as_well(root, page):
    looked = look(root, page, book(streams=[("name",), ("lobby",)]))
    assert "+ stream lobby" in looked.content.decode()


def test_nothing_of_a_file_is_readable_in_the_page(root, page):
    text = look(root, page, SECRET).content.decode()
    assert "+ user alice" in text
    assert "open-sesame-4711" not in text


def test_what_is_wrong_with_a_file_is_said_and_nothing_offered(root, page):
    looked = look(root, page, b"rules: [{effect: perhaps}]")
    assert "rules[0].effect: expected allow or deny" in looked.content.decode()
    assert "sealed" not in looked.context


def test_a_file_that_changes_nothing_has_nothing_to_import(root, page):
    root.post(page, {"do": "import", "sealed": sealed_of(look(root, page, RULES))})
    text = look(root, page, RULES).content.decode()
    assert "No difference" in text
    assert "Import it" not in text


def test_where_access_changed_meanwhile_it_is_shown_again(root, page):
    looked = look(root, page, RULES)
    factories.make_rule("connect")
    again = root.post(page, {"do": "import", "sealed": sealed_of(looked)})
    assert "Somebody changed access meanwhile" in again.content.decode()
    assert Rule.objects.count() == 1


def test_replace_is_kept_from_looking_to_importing(root, page):
    factories.make_rule("play")
    looked = look(root, page, RULES, replace="on")
    assert "- rule: Allow everyone with an account to play anything" in looked.content.decode()
    root.post(page, {"do": "import", "sealed": sealed_of(looked)})
    assert [str(rule) for rule in Rule.objects.all()] == ["Allow everyone with an account to connect"]


@pytest.mark.parametrize("sealed", ["", "nonsense"])
def test_a_page_that_was_tampered_with_imports_nothing(root, page, sealed):
    assert "This page is too old" in root.post(page, {"do": "import", "sealed": sealed}).content.decode()


def test_what_somebody_else_looked_at_is_not_imported(root, page):
    other = factories.make_user("other", is_staff=True, is_superuser=True)
    looked = sealed_of(look(root, page, RULES))
    root.force_login(other, backend="django.contrib.auth.backends.ModelBackend")
    assert root.post(page, {"do": "import", "sealed": looked}).status_code == 403
    assert not Rule.objects.exists()


def test_a_secret_of_ours_is_no_page(root, page):
    assert root.post(page, {"do": "import", "sealed": seal("hook-secret")}).status_code == 200
    assert not User.objects.filter(username="hook-secret").exists()


def test_a_file_too_large_says_what_to_do(root, page):
    text = look(root, page, b"#" * (1024 * 1024 + 1)).content.decode()
    assert "It has more than 1 MB." in text


def test_no_file_is_said_at_the_field(root, page):
    assert "Choose a file." in root.post(page, {"do": "look"}).content.decode()


@pytest.mark.parametrize(("what", "begin"), [("export-sheet", b"PK"), ("export-yaml", b"# Written by export_access")])
def test_everything_can_be_downloaded_and_is_kept_nowhere(root, page, what, begin):
    response = root.post(page, {"do": what})
    assert response.content.startswith(begin)
    assert "attachment" in response["Content-Disposition"]
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize(("what", "told"), [("export-sheet", "As access.xlsx"), ("export-yaml", "As access.yaml")])
def test_who_took_it_out_is_in_the_audit_log(root, page, what, told):
    root.post(page, {"do": what})
    (act,) = acts()
    assert (act.username, act.action, act.target, act.told) == ("root", "export", "the access file", told)


def test_it_is_not_given_out_where_that_cannot_be_noted(root, page, monkeypatch):
    monkeypatch.setattr("apps.access.acts._NOTE", "SELECT %s, %s, 1 / 0")
    with pytest.raises(DataError), transaction.atomic():
        root.post(page, {"do": "export-yaml"})


def test_who_may_not_have_it_is_not_said_to_have_taken_it(olga, page):
    olga.post(page, {"do": "export-yaml"})
    assert acts() == []


def test_a_download_is_what_the_command_writes(root, page):
    factories.make_stream()
    assert root.post(page, {"do": "export-yaml"}).content.decode() == export_access()
    assert look(root, page, root.post(page, {"do": "export-sheet"}).content).context["preview"]["lines"] == []


@pytest.mark.parametrize("who", ["olga", "audrey"])
@pytest.mark.parametrize("data", [None, {"do": "export-yaml"}, {"do": "import", "sealed": "x"}])
def test_only_superusers_may(request, page, who, data):
    client = request.getfixturevalue(who)
    response = client.get(page) if data is None else client.post(page, data)
    assert response.status_code == 403
    assert page not in client.get(reverse("admin:index")).content.decode()
