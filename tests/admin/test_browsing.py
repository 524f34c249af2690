"""Browsing the audit log in a real browser: turning pages, choosing a time in the timeline, saving a view."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from apps.audit.models import AuditEvent, SavedView
from tests.admin.conftest import make_event

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LOG = "/admin/audit/auditevent/"
BEGIN = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=10)


@pytest.fixture
def an_hour():
    """An event in each minute of an hour: its bars are of two minutes."""
    for minute in range(60):
        make_event(username=f"u{minute:02}", received_at=BEGIN + timedelta(minutes=minute))


def bars(desk):
    found = desk.locator(".wcsgate-when .wcsgate-when-bar")
    expect(found).to_have_count(30)
    return found


def centre(bar):
    box = bar.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def expect_minutes(desk, first, last):
    """What is listed is what came from one minute on, before the other."""
    expect(desk.locator("#result_list tbody tr")).to_have_count(last - first)
    expect(desk.locator("#result_list tbody tr").first).to_contain_text(f"u{last - 1:02}")
    expect(desk.locator("#result_list tbody tr").last).to_contain_text(f"u{first:02}")


def test_a_bar_leads_to_its_time(desk, an_hour):
    desk.goto(f"{LOG}?q=decision:refused")
    bars(desk).nth(3).click()
    expect_minutes(desk, 6, 8)
    expect(desk.get_by_role("combobox", name="Search the audit log")).to_have_value("decision:refused")
    desk.get_by_role("link", name="Show any time").click()
    bars(desk)


def test_a_time_is_chosen_by_drawing_over_bars(desk, an_hour):
    desk.goto(LOG)
    for first, last in ((5, 9), (9, 5)):
        desk.goto(LOG)
        desk.mouse.move(*centre(bars(desk).nth(first)))
        desk.mouse.down()
        desk.mouse.move(*centre(bars(desk).nth(last)), steps=4)
        expect(desk.locator(".wcsgate-when-chosen")).to_have_count(5)
        expect(desk.locator("#timeline-chosen")).to_contain_text("Chosen: ")
        framed = "bar => bar === document.activeElement && getComputedStyle(bar).outlineStyle !== 'none'"
        assert not bars(desk).nth(first).evaluate(framed)
        desk.mouse.up()
        expect_minutes(desk, 10, 20)


def test_a_time_is_chosen_with_the_keyboard(desk, an_hour):
    desk.goto(LOG)
    bars(desk).last.focus()
    for key in ("ArrowLeft", "Shift+ArrowLeft", "Escape", "ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft"):
        desk.keyboard.press(key)
    expect(desk.locator(".wcsgate-when-chosen")).to_have_count(3)
    desk.keyboard.press("Enter")
    expect_minutes(desk, 48, 54)


def test_a_time_is_chosen_with_a_finger(chromium, live_server, desk, an_hour):
    desk.set_viewport_size({"width": 375, "height": 740})
    desk.goto(LOG)
    (x, y), (to, _) = centre(bars(desk).nth(5)), centre(bars(desk).nth(9))
    finger = desk.context.new_cdp_session(desk)
    finger.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    touch = [("touchStart", x), *(("touchMove", x + (to - x) * step / 4) for step in range(1, 5))]
    for kind, at in touch:
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": at, "y": y}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect_minutes(desk, 10, 20)


def test_pages_are_turned_with_keys(desk):
    for number in range(60):
        make_event(username=f"u{number:02}", received_at=BEGIN + timedelta(minutes=number))
    desk.goto(LOG)
    rows = desk.locator("#result_list tbody tr")
    expect(rows).to_have_count(50)
    desk.keyboard.press("n")
    expect(rows).to_have_count(10)
    expect(rows.last).to_contain_text("u00")
    desk.keyboard.press("p")
    expect(rows).to_have_count(50)
    box = desk.get_by_role("combobox", name="Search the audit log")
    box.press_sequentially("n")
    expect(box).to_have_value("n")
    expect(rows).to_have_count(50)
    desk.get_by_role("link", name="Oldest").click()
    expect(rows.first).to_contain_text("u49")


def test_a_view_is_saved_and_chosen(desk):
    make_event(username="ann")
    make_event(username="bob")
    desk.goto(f"{LOG}?q=user:ann")
    desk.get_by_role("link", name="Save this view").click()
    desk.get_by_role("textbox", name="Name*").fill("What Ann did")
    desk.get_by_label("For all").check()
    desk.get_by_role("button", name="Save", exact=True).click()
    expect(desk.get_by_role("combobox", name="Search the audit log")).to_have_value("user:ann")
    desk.goto(LOG)
    desk.get_by_role("link", name="What Ann did").click()
    expect(desk.locator("#result_list tbody tr")).to_have_count(1)
    expect(desk.locator("#result_list tbody tr")).to_contain_text("ann")
    assert SavedView.objects.get().shared
    assert AuditEvent.objects.count() == 2
