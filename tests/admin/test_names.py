"""The search box of the audit log completes names: who may ask, and what a real browser makes of it."""

import pytest
from django.test import Client
from playwright.sync_api import expect

from apps.audit.browsing.names import NAMED
from tests import factories
from tests.admin.conftest import browser_of, make_event, make_role

NAMES = "/admin/audit/auditevent/names/"
LOG = "/admin/audit/auditevent/"


def found(browser, of, begins):
    response = browser.get(NAMES, {"of": of, "begins": begins})
    assert response.status_code == 200, response.content
    return response.json()["found"]


def test_an_auditor_is_offered_what_stands_in_the_log_and_nothing_beside_it(audrey):
    factories.make_user("charlotte")
    factories.make_node("Hw1@10.9.9.9", name="chalet")
    make_event(username="charlie", target="chapel")
    assert found(audrey, "user", "ch") == ["user:charlie"]
    assert found(audrey, "stream", "ch") == ["stream:chapel"]
    assert found(audrey, "node", "ch") == []


def test_who_may_see_nodes_is_offered_all_of_them(olga):
    factories.make_node("Hw1@10.9.9.9", name="chalet")
    assert found(olga, "node", "ch") == ["node:chalet"]


@pytest.mark.django_db
def test_who_may_not_see_the_log_is_offered_nothing():
    make_event(username="charlie")
    make_role("helpers", "view_user", "view_stream", "view_node")
    helper = browser_of(factories.make_user("hedy", is_staff=True, groups=["helpers"]))
    refused = helper.get(NAMES, {"of": "user", "begins": "ch"})
    assert refused.status_code == 403
    assert b"charlie" not in refused.content
    assert Client().get(NAMES, {"of": "user", "begins": "ch"}).url.startswith("/admin/login/")


def test_what_cannot_be_asked_for_is_said(audrey):
    response = audrey.get(NAMES, {"of": "session", "begins": "a"})
    assert response.status_code == 400
    assert response.json() == {"error": f"“of” is “session”. Give one of {', '.join(NAMED)}."}


def test_names_are_kept_in_no_cache(audrey):
    assert "no-store" in audrey.get(NAMES, {"of": "user", "begins": "a"})["Cache-Control"]


def asked_by(desk):
    """What the page asks the server for from here on, of names."""
    asked = []
    desk.on("request", lambda request: asked.append(request.url) if NAMES in request.url else None)
    return asked


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_name_is_completed_by_keys_alone(desk):
    make_event(username="Ann Lee")
    make_event(username="Anna")
    make_event(username="bob")
    desk.goto(LOG)
    asked = asked_by(desk)
    box = desk.get_by_role("combobox", name="Search the audit log")
    box.press_sequentially("use")
    expect(desk.get_by_role("option")).to_have_text(["user:"])
    box.press("ArrowDown")
    box.press("Enter")
    expect(box).to_have_value("user:")
    desk.wait_for_timeout(500)
    assert asked == [], "The name of a qualifier is nobody's name."
    box.press_sequentially("Ann")
    expect(desk.get_by_role("option")).to_have_text(['user:"Ann Lee"', "user:Anna"])
    assert len(asked) == 1, "Nothing is asked for while somebody types on."
    expect(box).to_have_attribute("aria-expanded", "true")
    box.press("ArrowDown")
    chosen = desk.get_by_role("option", selected=True)
    expect(chosen).to_have_text('user:"Ann Lee"')
    expect(box).to_have_attribute("aria-activedescendant", chosen.get_attribute("id"))
    box.press("Tab")
    expect(box).to_have_value('user:"Ann Lee" ')
    expect(box).to_be_focused()
    expect(desk.get_by_role("option")).to_have_count(0)
    box.press("Enter")
    expect(desk.get_by_text("Hooks by user “Ann Lee”.")).to_be_visible()
    expect(desk.locator("#result_list tbody tr")).to_have_count(1)


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_values_are_completed_however_the_qualifier_is_written(desk):
    make_event()
    desk.goto(LOG)
    box = desk.get_by_role("combobox", name="Search the audit log")
    box.press_sequentially("Decision:ref")
    expect(desk.get_by_role("option")).to_have_text(["Decision:refused"])
    desk.get_by_role("option").click()
    box.press("Enter")
    expect(desk.get_by_text("Hooks refused.")).to_be_visible()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_name_goes_on_within_quotation_marks_and_after_a_minus(desk):
    make_event(username="Ann Lee")
    make_event(username="Ann Zimt")
    desk.goto(LOG)
    box = desk.get_by_role("combobox", name="Search the audit log")
    box.press_sequentially('decision:refused -user:"Ann Z')
    desk.get_by_role("option", name='user:"Ann Zimt"').click()
    expect(box).to_have_value('decision:refused -user:"Ann Zimt" ')


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_escape_ends_what_was_asked_for(desk):
    make_event(username="ann")
    desk.goto(LOG)
    asked = asked_by(desk)
    box = desk.get_by_role("combobox", name="Search the audit log")
    box.press_sequentially("user:a")
    box.press("Escape")
    desk.wait_for_timeout(600)
    assert asked == []
    expect(desk.get_by_role("option")).to_have_count(0)


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_completions_fit_on_a_phone(desk):
    for number in range(20):
        make_event(username=f"{'long-name' * 9}-{number}")
    desk.set_viewport_size({"width": 390, "height": 740})
    desk.goto(LOG)
    desk.get_by_role("combobox", name="Search the audit log").press_sequentially("user:long")
    expect(desk.get_by_role("option")).to_have_count(20)
    place = desk.get_by_role("listbox", name="Completions").bounding_box()
    assert 0 <= place["x"] <= 390 - place["width"]
    assert desk.evaluate("document.documentElement.scrollWidth") <= 390
