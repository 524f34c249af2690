"""Saved views of the audit log: for oneself or for all, and nobody else's to change."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.audit.browsing import saved_views
from apps.audit.browsing.saved_views import known_parameters, search_in
from apps.audit.models import SavedView
from tests import factories
from tests.admin.conftest import browser_of, make_event, make_role

LOG = "/admin/audit/auditevent/"
VIEWS = "/admin/audit/savedview/"
ADD = f"{VIEWS}add/"


def make_view(owner, **fields):
    return SavedView.objects.create(owner=owner, **{"name": "Refused", "search": "q=decision%3Arefused", **fields})


def page_of(view, verb="change"):
    return reverse(f"admin:audit_savedview_{verb}", args=[view.pk])


@pytest.fixture
def albert(db):
    """Another auditor."""
    make_role("readers", "view_auditevent")
    return browser_of(factories.make_user("albert", is_staff=True, groups=["readers"]))


def test_what_is_shown_is_saved_under_a_name(audrey):
    event = make_event()
    shown = audrey.get(LOG, {"q": "user:charlie", "effect": "deny", "p": "oldest", "last": "", "e": "1"})
    save = shown.context["save_url"]
    assert save.startswith(ADD)
    (search,) = parse_qs(urlsplit(save).query)["search"]
    assert search == "effect=deny&q=user%3Acharlie"
    assert "effect=deny&amp;q=user%3Acharlie" in audrey.get(save).content.decode()
    response = audrey.post(save, {"name": "Charlie", "search": search})
    assert response["Location"] == f"{LOG}?effect=deny&q=user%3Acharlie"
    view = SavedView.objects.get()
    assert (view.name, view.owner, view.shared) == ("Charlie", audrey.user, False)
    opened = audrey.get(response["Location"])
    assert list(opened.context["cl"].result_list) == [event]
    assert opened.context["views"] == [{"name": "Charlie", "url": response["Location"], "by": "", "current": True}]
    assert 'aria-current="page"' in opened.content.decode()


def test_the_form_says_in_words_what_the_view_finds(audrey):
    html = audrey.get(ADD, {"search": "effect=deny&q=user%3A%22<b>%22"}).content.decode()
    assert "Hooks by user “&lt;b&gt;”. Of these: refused." in html
    assert "<details><summary>" in html
    assert "Save and add another" not in html
    assert "Save and continue" not in html
    assert "<details><summary>" not in audrey.get(ADD).content.decode()  # there the address has to be written
    view = make_view(audrey.user)
    assert "Hooks refused." in audrey.get(page_of(view)).content.decode()
    assert "Hooks refused." in audrey.get(VIEWS).content.decode()


def test_a_search_that_is_wrong_is_not_folded_away(audrey):
    address = f"{ADD}?search=q%3Dusr%3Ax"
    html = audrey.post(address, {"name": "x", "search": "q=usr%3Ax"}).content.decode()
    assert "“usr:” is not known." in html
    assert "<details><summary>" not in html


def test_the_whole_log_is_no_view(audrey):
    assert audrey.get(LOG).context["save_url"] == ""
    assert audrey.get(LOG, {"q": "usr:x"}).context["save_url"] == ""


def test_own_and_shared_views_are_offered_own_ones_first(audrey, albert):
    make_view(audrey.user, name="mine")
    make_view(albert.user, name="his")
    make_view(albert.user, name="everybody's", shared=True)
    make_view(None, name="left behind", shared=True)
    offered = [(view["name"], view["by"]) for view in audrey.get(LOG).context["views"]]
    assert offered == [("mine", ""), ("everybody's", "albert"), ("left behind", "somebody who is gone")]
    text = audrey.get(VIEWS).content.decode()
    assert "mine" in text
    assert "his</a>" not in text


def test_own_views_are_offered_however_many_others_there_are(audrey, albert, monkeypatch):
    monkeypatch.setattr(saved_views, "SHOWN", 2)
    for name in ("a", "b", "c"):
        make_view(albert.user, name=name, shared=True)
    make_view(audrey.user, name="z")
    assert [view["name"] for view in audrey.get(LOG).context["views"]] == ["z", "a"]


def test_nobody_opens_what_is_not_shared(audrey, albert, root):
    view = make_view(albert.user)
    assert audrey.get(page_of(view)).status_code == 302
    assert root.get(page_of(view)).status_code == 200


def test_a_shared_view_is_changed_and_deleted_by_its_owner_and_superusers_alone(audrey, albert, root):
    view = make_view(albert.user, shared=True)
    assert audrey.get(page_of(view)).status_code == 200
    changed = {"name": "Taken over", "search": "q=user%3Ax"}
    assert audrey.post(page_of(view), changed).status_code == 403
    assert audrey.post(page_of(view, "delete"), {"post": "yes"}).status_code == 403
    assert SavedView.objects.get().name == "Refused"
    for browser, name in ((albert, "Renamed"), (root, "Tidied up")):
        assert browser.post(page_of(view), {"name": name, "search": view.search, "shared": "on"}).status_code == 302
        assert SavedView.objects.get().name == name
        assert SavedView.objects.get().owner == albert.user
    assert albert.post(page_of(view, "delete"), {"post": "yes"}).status_code == 302
    assert not SavedView.objects.exists()


def test_views_are_for_those_who_may_see_the_log(db):
    make_role("helpers", "view_user", "view_savedview", "add_savedview", "change_savedview", "delete_savedview")
    helper = browser_of(factories.make_user("helper", is_staff=True, groups=["helpers"]))
    view = make_view(helper.user)
    for address in (VIEWS, ADD, page_of(view), page_of(view, "delete")):
        assert helper.get(address).status_code == 403
    assert helper.post(ADD, {"name": "x", "search": "q=user%3Ax"}).status_code == 403


def test_a_shared_view_outlives_its_owner(albert, root):
    view = make_view(albert.user, shared=True)
    albert.user.delete()
    assert SavedView.objects.get() == view
    assert root.post(page_of(view, "delete"), {"post": "yes"}).status_code == 302


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ("username__startswith=a", "knows no “username__startswith”"),
        ("q=user%3Aann&body=x&digest=y", "knows no “body” and “digest”"),
        ("view=7", "Known are app"),
        ("q=usr%3Ax", "“usr:” is not known."),
        ("q=a%00b", "NUL"),
        ("", "This field is required."),
        ("p=oldest", "Search or filter for something first"),
        ("q=" + "a" * 2000, "2000"),
        ("q=" + "a+" * 41, "A search has at most 40 words"),
    ],
)
def test_what_the_list_would_not_take_is_not_saved(audrey, search, sentence):
    response = audrey.post(ADD, {"name": "x", "search": search})
    assert sentence in " ".join(response.context["adminform"].form.errors["search"])
    assert not SavedView.objects.exists()


def test_a_search_has_one_form(root):
    known = known_parameters()
    assert search_in("?reason=no-rule&q=user%3Aann+&p=oldest&last=", known) == "q=user%3Aann+&reason=no-rule"
    with pytest.raises(ValidationError):
        search_in("nothing", known)


def test_a_search_that_is_too_long_is_no_view_however_it_is_written(audrey):
    with pytest.raises(ValidationError, match="A search has at most 2000 characters; this one has 50001"):
        search_in("q=a" + "+" * 50_000, known_parameters())
    assert "A search has at most 2000 characters" in audrey.get(LOG, {"q": "a" + " " * 3000}).content.decode()


def test_a_view_whose_search_is_not_taken_any_longer_says_so_wherever_it_is_seen(audrey):
    view = make_view(audrey.user, search="q=" + "a+" * 1000)
    sentence = "A search has at most 40 words; this is one more."
    assert f"Nothing. {sentence}" in audrey.get(VIEWS).content.decode()
    opened = audrey.get(f"{LOG}?{view.search}").content.decode()
    assert sentence in opened
    assert "At “a”, character 81 of what you typed." in opened


def test_names_are_shown_as_they_are_written(audrey):
    make_view(audrey.user, name="<b>bold</b>", search="q=user%3A%3Cb%3E&last=7d")
    assert "&lt;b&gt;bold" in audrey.get(LOG).content.decode()
    text = audrey.get(VIEWS).content.decode()
    assert "Hooks by user “&lt;b&gt;”. In the last 7 days." in text
    assert "<b>" not in text


def test_views_cost_the_list_one_query_however_many(audrey, albert, django_assert_num_queries):
    audrey.get(LOG)
    with CaptureQueriesContext(connection) as none:
        audrey.get(LOG)
    for number in range(40):
        make_view(albert.user, name=f"View {number:02}", shared=True)
    with django_assert_num_queries(len(none)):
        assert len(audrey.get(LOG).context["views"]) == 30
