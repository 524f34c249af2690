"""What unfold's pages leave out for screen readers and keyboards, in a real browser."""

import pytest
from playwright.sync_api import expect

from tests.admin.conftest import make_event
from tests.admin.test_pages import rows

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PAGES = ("/admin/", "/admin/audit/auditevent/", "/admin/access/streampermission/", "/admin/accounts/user/add/")
READ_OUT = """[...document.querySelectorAll(".material-symbols-outlined")]
    .filter(icon => !icon.closest("[aria-hidden=true]") && !icon.closest("[aria-label], [title]"))
    .map(icon => icon.textContent.trim())"""
NAMELESS = """[...document.querySelectorAll("a[href], button, [role=button]")].filter(element => {
    const rest = element.cloneNode(true);
    rest.querySelectorAll("[aria-hidden=true]").forEach(hidden => hidden.remove());
    return !(rest.textContent.trim() || element.ariaLabel || element.title || rest.querySelector("[title], img[alt]"));
}).map(element => element.outerHTML)"""


@pytest.mark.parametrize("address", PAGES)
def test_no_icon_is_read_out_as_a_word_and_nothing_is_without_a_name(desk, address):
    rows(1)
    desk.goto(address)
    assert desk.locator(".material-symbols-outlined").count()
    assert desk.evaluate(READ_OUT) == []
    assert desk.evaluate(NAMELESS) == []


def test_icons_that_come_later_are_hidden_too(desk):
    desk.evaluate("""document.getElementById("content").insertAdjacentHTML("beforeend",
        "<p><span class='material-symbols-outlined'>home</span> Later</p>")""")
    expect(desk.locator("#content .material-symbols-outlined", has_text="home")).to_have_attribute(
        "aria-hidden", "true"
    )


def test_the_login_has_a_landmark_and_no_icon_read_out(window):
    expect(window.get_by_role("main")).to_contain_text("Welcome back to")
    assert window.evaluate(READ_OUT) == []


@pytest.mark.parametrize("address", PAGES[:3])  # the form to add a user begins in its first field
def test_the_content_is_a_landmark_that_the_first_key_leads_to(desk, address):
    make_event()
    desk.goto(address)
    main = desk.get_by_role("main")
    expect(main).to_have_count(1)
    skip = desk.get_by_role("link", name="Skip to the content")
    before = desk.url
    desk.keyboard.press("Tab")
    expect(skip).to_be_focused()
    assert skip.bounding_box()["width"] > 50, "It is seen while it has the focus."
    desk.keyboard.press("Enter")
    expect(main).to_be_focused()
    desk.keyboard.press("Tab")
    assert desk.evaluate("document.getElementById('content').contains(document.activeElement)")
    assert desk.url == before


def test_the_menus_open_by_keys(desk):
    account = desk.get_by_role("button", name="root")
    account.focus()
    desk.keyboard.press("Enter")
    expect(desk.get_by_role("button", name="Log out")).to_be_visible()
    desk.set_viewport_size({"width": 390, "height": 740})
    navigation = desk.get_by_role("link", name="Audit log")
    expect(navigation).to_be_hidden()
    menu = desk.get_by_role("button", name="Navigation", exact=True)
    menu.focus()
    desk.keyboard.press(" ")
    expect(navigation).to_be_visible()


def test_the_filters_take_the_focus_and_give_it_back(desk):
    make_event()
    desk.goto("/admin/audit/auditevent/")
    filters = desk.get_by_role("button", name="Filters")
    drawer = desk.locator("#changelist-filter")
    filters.focus()
    desk.keyboard.press("Enter")
    expect(drawer.locator("select:visible, input:visible").first).to_be_focused()
    desk.keyboard.press("Tab")
    assert desk.evaluate("document.getElementById('changelist-filter').contains(document.activeElement)")
    desk.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(filters).to_be_focused()


def test_escape_leaves_the_focus_where_it_is_while_the_filters_are_closed(desk):
    make_event()
    desk.goto("/admin/audit/auditevent/")
    skip = desk.get_by_role("link", name="Skip to the content")
    skip.focus()
    desk.keyboard.press("Escape")
    expect(skip).to_be_focused()


def test_the_tab_of_the_browser_has_the_icon_of_the_site(desk):
    address = desk.locator("link[rel=icon]").get_attribute("href")
    answer = desk.request.get(address)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
