"""The main ways through the admin, in a real browser."""

import re
import time
from contextlib import suppress

import pytest
from django.urls import reverse
from playwright.sync_api import TimeoutError as TookTooLong
from playwright.sync_api import expect

from apps.access.models import Rule
from apps.accounts.models import Token
from apps.audit.statistics.recounting import count_before
from apps.streams.models import StreamLink
from tests import factories
from tests.admin.conftest import log_in, make_event
from tests.admin.test_pages import rows

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PHONE = {"width": 375, "height": 740}
PAGES = (
    "/admin/",
    "/admin/access/try/",
    "/admin/access/try/?who=user&user=user-0&method=publishStream&target=a-very-long-name-of-a-stream-indeed&app=app-0",
    "/admin/access/who-can/",
    "/admin/access/who-can/?action=publish&target=a-very-long-name-of-a-stream-indeed",
    "/admin/access/what-can/?who=user&name=user-0",
    "/admin/access/streampermission/",
    "/admin/access/streampermission/add/",
    "/admin/access/rules/",
    "/admin/access/presets/",
    "/admin/accounts/user/",
    "/admin/accounts/token/add/",
    "/admin/accounts/apikey/add/",
    "/admin/streams/streamlink/add/",
    "/admin/accounts/revocation/",
    "/admin/audit/auditevent/",
    "/admin/audit/statistics/",
    "/admin/connections/app/add/",
    "/admin/access/file/",
    "/admin/connections/tokenissuer/add/",
)


def choose(window, field, text):
    """Choose in a field with completion."""
    window.locator(f".field-{field} .select2-selection").click()
    window.locator(".select2-search__field").fill(text)
    window.get_by_role("option", name=text, exact=True).click()


def test_staff_log_in(window):
    factories.make_user("root", password="correct horse battery", is_staff=True, is_superuser=True)
    log_in(window, password="wrong")
    expect(window.get_by_text("Please enter the correct username and password")).to_be_visible()
    log_in(window)
    expect(window.get_by_role("heading", name="No hook has come yet. To begin:")).to_be_visible()


def test_a_stream_permission_is_made_with_the_fields_that_matter(desk):
    factories.make_user("alice")
    desk.goto("/admin/access/streampermission/add/")
    group, stream = (desk.locator(f".field-{name}") for name in ("group", "stream"))
    expect(group).to_be_hidden()
    desk.get_by_label("Who").select_option("group")
    expect(group).to_be_visible()
    desk.get_by_label("Who").select_option("user")
    expect(group).to_be_hidden()
    choose(desk, "user", "alice")
    desk.get_by_label("publish", exact=True).check()
    desk.get_by_label("On what").select_option("stream")
    expect(stream).to_be_visible()
    desk.get_by_label("On what").select_option("prefix")
    expect(stream).to_be_hidden()
    desk.get_by_label("Name, number or pattern").fill("lesson-")
    desk.get_by_role("button", name="Save", exact=True).click()
    expect(desk.get_by_text("was added successfully")).to_be_visible()
    assert str(Rule.objects.get()) == "Allow user “alice” to publish whatever begins with “lesson-”"


def test_what_a_rule_would_change_is_seen_while_it_is_written(desk):
    factories.make_app()
    factories.make_rule("play", target=("prefix", "lob"))
    charlie = factories.make_user("charlie")
    make_event(user_id=charlie.pk, effect="allow", reason="allowed-by-rule")
    desk.goto("/admin/access/streampermission/add/")
    sentence = desk.locator("#sentence")
    expect(sentence).to_have_text("Allow user “…” to do nothing")
    limits, changed = (desk.locator("summary", has_text=title) for title in ("How much", "What is changed"))
    expect(limits).to_be_visible()
    expect(desk.get_by_label("Counted")).to_be_hidden()
    limits.click()
    desk.get_by_label("Counted").select_option("user")
    desk.get_by_label("At once").fill("2")
    expect(sentence).to_contain_text("at most 2 at once for each user")
    desk.get_by_label("Deny", exact=True).check()
    expect(limits).to_be_hidden()
    expect(changed).to_be_hidden()
    choose(desk, "user", "charlie")
    desk.get_by_label("play", exact=True).check()
    desk.get_by_label("Name, number or pattern").fill("lobby")
    expect(sentence).to_have_text("Deny user “charlie” to play “lobby”")
    desk.locator("summary", has_text="Under which circumstances").press("Enter")
    desk.get_by_label("defaultApp", exact=True).check()
    expect(sentence).to_contain_text("through app “defaultApp”")
    desk.get_by_label("defaultApp", exact=True).uncheck()
    with desk.expect_popup() as opened:
        desk.get_by_role("button", name="What would it change?").click()
    preview = opened.value
    expect(preview.locator("#found")).to_contain_text("1 of 1 decision would be answered otherwise.")
    expect(preview.locator("#found")).to_contain_text("charlie asked to play “lobby”: once")
    expect(preview.get_by_text("decisions looked at")).to_be_hidden()
    preview.close()
    assert Rule.objects.count() == 1
    desk.get_by_role("button", name="Save", exact=True).click()
    expect(desk.get_by_text("was added successfully")).to_be_visible()
    assert str(Rule.objects.latest("pk")) == "Deny user “charlie” to play “lobby”"


def test_a_preset_becomes_rules(desk):
    factories.make_user("ada", groups=["class"])
    desk.goto("/admin/")
    desk.get_by_role("link", name="Add from a preset").click()
    desk.get_by_label("Guest: comes").check()
    expect(desk.get_by_label("Who?")).to_be_hidden()
    desk.get_by_label("Teacher: publishes").check()
    desk.get_by_label("Group", exact=True).select_option("class")
    desk.get_by_label("Names or numbers begin with").fill("lesson-")
    desk.get_by_role("button", name="Show the rules").click()
    proposed = desk.locator("#proposed ~ ul > li")
    expect(proposed).to_have_count(3)
    expect(proposed.nth(1)).to_contain_text("Allow group “class” to publish and play whatever begins with “lesson-”")
    proposed.nth(1).locator("summary").press("Enter")
    proposed.nth(1).get_by_label("Name, number or pattern").fill("math-")
    proposed.nth(2).locator("label input").first.uncheck()
    desk.get_by_role("button", name="Read them again as changed").click()
    expect(proposed.nth(1)).to_contain_text("whatever begins with “math-”")
    assert not Rule.objects.exists()
    desk.get_by_role("button", name="Add these rules").click()
    expect(desk.get_by_text("Added: 2 rules from the preset “Teacher”.")).to_be_visible()
    assert [str(rule) for rule in Rule.objects.order_by("pk")] == [
        "Allow group “class” to connect",
        "Allow group “class” to publish and play whatever begins with “math-”",
    ]


def test_a_token_is_shown_once(desk):
    factories.make_user("alice")
    desk.goto("/admin/accounts/token/add/")
    choose(desk, "user", "alice")
    desk.get_by_label("Label").fill("studio")
    desk.get_by_role("button", name="Save", exact=True).click()
    shown = desk.locator("#token").inner_text()
    assert Token.objects.get().label == "studio"
    desk.get_by_role("link", name="To the token's page").click()
    expect(desk.get_by_role("heading", name="studio").first).to_be_visible()
    assert shown not in desk.content()


def test_a_link_is_made_and_copied_from_the_page_that_shows_it_once(desk):
    factories.make_app()
    desk.goto("/admin/")
    desk.get_by_role("link", name="Stream links").click()
    desk.get_by_role("link", name="Add stream link").first.click()
    desk.get_by_label("Label").fill("press")
    desk.get_by_role("textbox", name="Stream").fill("opening")
    desk.get_by_role("button", name="Save", exact=True).click()
    shown = desk.locator("#token").inner_text()
    link = StreamLink.objects.get()
    assert (link.stream, link.action, link.token) == ("opening", "play", shown)
    player = desk.get_by_text("https://wcs.example.org:8445/opening/opening.m3u8")
    expect(player).to_contain_text(f"appKey=defaultApp&token={shown}")
    desk.set_viewport_size(PHONE)
    assert desk.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    desk.get_by_role("link", name="To the link's page").click()
    expect(desk.get_by_role("heading", name="press").first).to_be_visible()
    assert shown not in desk.content()


def test_a_refusal_is_found_and_asked_about(desk):
    factories.make_app()
    charlie = factories.make_user("charlie")
    factories.make_rule("play", user=charlie, target=("exact", "lobby-1"))
    make_event(user=charlie)
    make_event(username="alice", effect="allow")
    desk.goto("/admin/audit/auditevent/?effect=deny")
    desk.get_by_role("link", name="charlie asked to play “lobby”").click()
    near = desk.get_by_role("region", name="Nearly: rules that would allow it, but for one thing or two")
    expect(near).to_contain_text("“lobby” is not “lobby-1”")
    desk.get_by_role("link", name="Try it with other values").click()
    answer = desk.locator("#answer")
    expect(answer).to_contain_text("Refused. charlie may not play “lobby”. No rule allows it.")
    expect(answer).to_contain_text("“lobby” is not “lobby-1”")
    answer.get_by_role("link", name="Allow user “charlie” to play “lobby-1”").click()
    expect(desk).to_have_url(re.compile("/admin/access/streampermission/"))


@pytest.mark.parametrize("address", PAGES)
def test_nothing_is_wider_than_a_phone(desk, address):
    rows(1)
    desk.set_viewport_size(PHONE)
    desk.goto(address)
    with suppress(TookTooLong):  # of what is loaded late
        desk.wait_for_load_state("networkidle", timeout=2000)
    assert desk.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_statistics_are_charts_with_a_table_and_the_audit_log_behind_them(desk):
    make_event()
    assert count_before(time.monotonic() + 1_000)
    desk.goto("/admin/audit/statistics/?period=24h")
    hooks = desk.get_by_role("region", name="Hooks", exact=True)
    expect(hooks.get_by_role("img", name="Hooks in the last 24 hours")).to_be_visible()
    expect(hooks.get_by_role("table")).to_be_hidden()
    hooks.get_by_text("As a table").click()
    expect(hooks.get_by_role("table")).to_be_visible()
    desk.get_by_role("link", name="No rule allows it.").click()
    expect(desk.get_by_text("Hooks refused, because of no-rule, after")).to_be_visible()
    expect(desk.get_by_text("charlie")).to_be_visible()


def test_statistics_on_a_phone_have_labels_below_what_they_name(desk):
    make_event()
    assert count_before(time.monotonic() + 1_000)
    desk.set_viewport_size(PHONE)
    for period in ("24h", "30d"):
        desk.goto(f"/admin/audit/statistics/?period={period}")
        drawn = desk.evaluate("""[...document.querySelectorAll(".wcsgate-chart")].map(chart => {
            const drawing = chart.querySelector(".wcsgate-drawing"), places = drawing.viewBox.baseVal.width;
            const {left, right, width} = drawing.getBoundingClientRect();
            const labels = chart.querySelector(".wcsgate-chart-x").getBoundingClientRect();
            const spans = [...chart.querySelectorAll(".wcsgate-chart-x span")];
            const shown = spans.map(span => span.getBoundingClientRect()).filter(span => span.width);
            const middles = shown.map(span => (span.left + span.right) / 2);
            return {left: left - labels.left, right: right - labels.right, fits: right <= innerWidth,
                    off: places > 5 ? [] : middles.map((middle, at) => middle - left - (at + 0.5) * width / places),
                    apart: middles.slice(1).map((middle, at) => middle - middles[at])};
        })""")
        assert drawn
        for chart in drawn:
            assert (chart["left"], chart["right"], chart["fits"]) == (0, 0, True)
            assert all(abs(off) < 10 for off in chart["off"]), "Each of a few is below its place."
            assert max(chart["apart"]) - min(chart["apart"]) < 20, "They are evenly spread."


def test_the_search_box_completes_what_is_typed(desk):
    make_event()
    desk.goto("/admin/audit/auditevent/")
    box = desk.get_by_role("combobox", name="Search the audit log")
    box.press_sequentially("dec")
    box.press("ArrowDown")
    box.press("Enter")
    expect(box).to_have_value("decision:")
    box.press_sequentially("ref")
    desk.get_by_role("option", name="decision:refused").click()
    expect(box).to_have_value("decision:refused ")
    box.press("Enter")
    expect(desk.get_by_text("Hooks refused.")).to_be_visible()
    expect(desk.locator("#result_list tbody tr")).to_have_count(1)


def test_on_a_phone_the_search_box_is_on_the_first_screen_and_charts_show_what_is_new(desk):
    lease = factories.make_lease(factories.make_user("alice"), action="publish", target="lobby")
    make_event(received_at=lease.opened_at)
    desk.set_viewport_size(PHONE)
    desk.goto("/admin/audit/auditevent/")
    said = desk.get_by_text("Export what this list finds")
    assert desk.locator("#searchbar").bounding_box()["y"] < min(PHONE["height"] / 2, said.bounding_box()["y"])
    desk.goto(reverse("story_stream", query={"name": "lobby"}))
    bar = desk.locator("rect.wcsgate-bar-publish").bounding_box()
    assert bar["x"] + bar["width"] <= PHONE["width"]


CONTRAST = """link => {
    const luminance = (colour) => {
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((byte) => byte / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const behind = getComputedStyle(document.getElementById("main")).backgroundColor;
    return luminance(getComputedStyle(link).color) / luminance(behind);
}"""


def test_links_can_be_read_in_the_dark(desk):
    desk.emulate_media(color_scheme="dark")
    desk.goto("/admin/audit/auditevent/?effect=deny")
    assert desk.locator("html.dark").count() == 1
    assert desk.get_by_role("link", name="Save this view").evaluate(CONTRAST) >= 4.5
