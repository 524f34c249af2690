"""The page of statistics: what it says, to whom, by how many queries, and each of it as a file."""

import csv
import io
import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.reasons import STAFF_ACTION, Reason
from apps.audit.narrative import story
from apps.audit.statistics import recounting
from apps.audit.statistics.measuring import measure
from apps.audit.statistics.models import Recount
from apps.audit.statistics.page import BY_APP, STATISTICS
from apps.audit.statistics.table import exact
from apps.audit.statistics.tallies import KEY_TEXT
from tests.admin.conftest import browser_of, make_event, make_role
from tests.audit.test_changes import acts
from tests.factories import make_app, make_lease, make_user

pytestmark = pytest.mark.django_db
PAGE, FILE = "/admin/audit/statistics/", "/admin/audit/statistics/file/"
NOW = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)  # a Tuesday
HOUR = timedelta(hours=1)
FORMULA = '=HYPERLINK("https://evil.example")'


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False):
        yield


def ran(number, action, hours, username="ann", target="lobby", since=None):
    began = since or NOW - 4 * HOUR
    return make_lease(
        key=f"k-{number}",
        action=action,
        target=target,
        opened_at=began,
        ended_at=began + hours * HOUR,
        username=username,
    )


@pytest.fixture
def busy():
    """Two viewers at once at half past ten, a publisher, a call, and hooks that were answered."""
    ran(1, "play", 2)
    ran(2, "play", 1, username="bob", target=FORMULA)
    ran(3, "publish", 3)
    ran(4, "call", 0.5, username="", target="+4930123")
    for number in range(3):
        make_event(received_at=NOW - HOUR * number)
    make_event(received_at=NOW, reason=Reason.EXPIRED_TOKEN, repeats=1, username=FORMULA)
    make_event(received_at=NOW, effect="allow", reason=Reason.ALLOWED_BY_RULE)
    make_event(received_at=NOW, effect="allow", reason=Reason.NOT_REFUSABLE)
    make_event(received_at=NOW, effect="allow", reason=STAFF_ACTION, username="sue")  # is none of the hooks
    measure(NOW, time.monotonic() + 1_000)
    assert recounting.count_before(time.monotonic() + 1_000)


def said(client, **query):
    """The sentence of each statistic."""
    response = client.get(PAGE, query)
    assert response.status_code == 200
    return {item["name"]: item["statistic"].sentence for item in response.context["shown"]}


def rows(client, of, **query):
    response = client.get(FILE, {"of": of, "period": "24h", **query})
    assert response.status_code == 200
    return list(csv.reader(io.StringIO(response.content.decode())))


@pytest.mark.parametrize("period", ["24h", "7d", "30d", "365d"])
def test_each_says_in_a_sentence_what_there_is_to_see(audrey, busy, period):
    sentences = said(audrey, period=period)
    when = "Tuesday 2026-11-24" + (" 10:00" if period in ("24h", "7d") else "")
    assert sentences["running"] == f"Peak: 2 viewers on {when}, 1 publisher on {when}, 1 call on {when}."
    assert sentences["hooks"] == "7 hooks: 1 allowed, 5 refused, 83.3% of what was decided; 1 noted."
    assert sentences["refusals"] == "Most often, 3 of 5 times: No rule allows it."
    assert sentences["durations"] == (
        "All together, viewers 3 hours, publishers 3 hours, calls 30 min. "
        "The longest that ended was a publication of 3 h, on Tuesday 2026-11-24."
    )
    assert sentences["users"] == "Most often: charlie, 4 times; refused: 3."
    assert sentences["hours"] == "The longest: ann, 5 hours."
    assert sentences["streams"] == "Watched most: “lobby”, 2 hours, by up to 1 at once."
    assert sentences["busiest"] == "Busiest: Tuesdays 11:00, with 1.5 viewers at once on average."


@pytest.mark.parametrize(
    ("period", "told_by_day"),
    [
        ("24h", ["durations", "hours", "streams"]),
        ("7d", ["durations", "hours", "streams"]),
        ("30d", ["running", "durations", "hours", "streams"]),
        ("365d", ["running", "durations", "hours", "streams"]),
    ],
)
def test_what_is_measured_by_the_day_says_as_of_when(audrey, busy, period, told_by_day):
    with time_machine.travel(NOW + HOUR / 2, tick=False):
        shown = audrey.get(PAGE, {"period": period}).context["shown"]
    hints = {item["name"]: item["statistic"].hint for item in shown}
    old = " As of 2026-11-24 14:30: a day that goes on is measured once an hour."
    assert [name for name, hint in hints.items() if old in hint] == told_by_day


def test_of_one_hook_it_is_said_in_the_singular(audrey):
    make_event(received_at=NOW)
    assert recounting.count_before(time.monotonic() + 1_000)
    sentences = said(audrey)
    assert sentences["hooks"] == "1 hook: 0 allowed, 1 refused, 100.0% of what was decided; 0 noted."
    assert sentences["users"] == "Most often: charlie, once; refused: 1."


def test_the_chart_of_durations_says_its_unit(audrey, busy):
    chart = next(item["statistic"].chart for item in audrey.get(PAGE).context["shown"] if item["name"] == "durations")
    assert "<span>10\N{NO-BREAK SPACE}h</span>" in chart
    assert "3\N{NO-BREAK SPACE}h viewers, 3\N{NO-BREAK SPACE}h publishers, 0.5\N{NO-BREAK SPACE}h calls" in chart


def test_days_that_are_given_without_a_period_are_meant(audrey, busy):
    asked = audrey.get(PAGE, {"from": "2026-11-24", "until": "2026-11-24"})
    assert str(asked.context["period"]) == "2026-11-24 to 2026-11-24"
    turned = audrey.get(PAGE, {"from": "2026-11-24", "until": "2026-11-20"})
    assert turned.status_code == 400
    assert "“From” must not be later than “until”, nor later than today. Shown is the last" in turned.content.decode()


def test_where_there_is_nothing_it_says_so(audrey):
    sentences = said(audrey)
    assert sentences["running"] == (
        "Nothing ran in the last 7 days, as far as is known. "
        "It is known from the status events of WCS: an app has to send all its hooks."
    )
    assert sentences["hooks"] == "No hook came in the last 7 days."
    assert sentences["refusals"] == "Nothing was refused in the last 7 days."
    assert sentences["users"] == "No hook was decided from 2026-11-18 to 2026-11-24."
    assert "as CSV" not in audrey.get(PAGE).content.decode()


def test_what_is_read_does_not_grow_with_what_there_is(audrey, busy):
    def queries(period):
        with CaptureQueriesContext(connection) as captured:
            audrey.get(PAGE, {"period": period})
        return len(captured)

    before = {period: queries(period) for period in ("24h", "7d", "30d", "365d")}
    for number in range(10, 30):
        ran(number, "play", 1, username=f"user-{number}", target=f"stream-{number}")
        make_event(received_at=NOW - 2 * HOUR, username=f"user-{number}")
    measure(NOW + HOUR, time.monotonic() + 1_000)
    recounting.begin_again()
    recounting.count_before(time.monotonic() + 1_000)
    assert {period: queries(period) for period in before} == before
    assert max(before.values()) <= 20


def test_rows_lead_to_what_they_count(audrey, busy):
    response = audrey.get(PAGE, {"period": "24h"})
    links = {
        item["name"]: {row.cells[0]: row.url for row in item["statistic"].rows if row.url}
        for item in response.context["shown"]
    }
    assert len(audrey.get(links["refusals"]["No rule allows it."]).context["cl"].result_list) == 3
    assert len(audrey.get(links["users"]["charlie"]).context["cl"].result_list) == 5
    assert len(audrey.get(links["hooks"]["2026-11-24 14:00"]).context["cl"].result_list) == 4
    assert FORMULA not in links["users"]  # a name that cannot be searched for leads nowhere
    assert set(links["hooks"]) == {f"2026-11-24 {hour}:00" for hour in (12, 13, 14)}  # nor does an hour without hooks
    assert links["running"].keys() <= {f"2026-11-24 {hour}:00" for hour in range(10, 15)}


def test_names_cannot_be_markup(audrey, busy):
    make_event(received_at=NOW, username="<script>alert(1)</script>")
    recounting.begin_again()
    recounting.count_before(time.monotonic() + 1_000)
    content = audrey.get(PAGE).content.decode()
    assert "<script>alert" not in content
    assert "&lt;script&gt;alert(1)" in content


def test_a_period_of_ones_own(audrey, busy):
    own = {"period": "own", "from": "2026-11-24", "until": "2026-11-24"}
    assert said(audrey, **own)["hooks"].startswith("7 hooks")
    assert said(audrey, **{**own, "from": "2026-11-22", "until": "2026-11-23"})["hooks"] == (
        "No hook came in 2026-11-22 to 2026-11-23."
    )


def test_what_is_no_period_is_said_and_the_usual_one_shown(audrey, busy):
    response = audrey.get(PAGE, {"period": "own", "from": "tomorrow"})
    assert response.status_code == 400
    content = response.content.decode()
    assert "“from” is “tomorrow”. Give a date like 2026-11-01. Shown is the last 7 days." in content


def test_that_something_is_still_being_counted_is_said(audrey):
    Recount.objects.create(pk=1, counted_back_to="2026-05-03")
    assert "so far back to 2026-05-03" in audrey.get(PAGE).content.decode()


def test_it_can_be_asked_when_what_is_busiest(audrey, busy):
    assert said(audrey, busy="call")["busiest"] == "Busiest: Tuesdays 10:00, with 0.5 calls at once on average."
    assert said(audrey, busy="nonsense") == said(audrey)


def test_an_hour_that_goes_on_is_not_yet_among_the_busiest_and_that_is_said(audrey):
    ran(1, "play", 0.1, since=NOW - HOUR / 5)
    measure(NOW, time.monotonic() + 1_000)
    sentences = said(audrey)
    assert sentences["running"].startswith("Peak: 1 viewer on ")
    assert sentences["busiest"].startswith("Nothing ran in an hour that is over and was measured since in the last 7")
    assert sentences["durations"].startswith("All together, viewers 6 min, publishers 0 s, calls 0 s. ")
    assert "Minutes that streams and calls ran" in audrey.get(PAGE).content.decode()
    assert rows(audrey, "hours")[1] == ["ann", "0:06:00", "1"]


def test_hours_are_those_of_the_clock_here_and_told_apart_where_they_come_twice(audrey, busy, settings):
    head, *hours = rows(audrey, "hooks")
    assert (head[0], hours[-1][0]) == ("Hour (UTC)", "2026-11-24 14:00")
    with timezone.override("Europe/Berlin"):
        told = [exact(datetime(2026, 10, 25, hour, tzinfo=UTC)) for hour in range(3)]
    assert told == ["2026-10-25 02:00+02:00", "2026-10-25 02:00+01:00", "2026-10-25 03:00"]


# One app


@pytest.fixture
def two_apps(busy):
    """Two hooks of another app than all others came through, one of them refused."""
    make_event(received_at=NOW, app_key="school app", reason=Reason.DENIED_BY_RULE)
    make_event(received_at=NOW, app_key="school app", effect="allow", reason=Reason.ALLOWED_BY_RULE)
    recounting.begin_again()
    assert recounting.count_before(time.monotonic() + 1_000)


@pytest.mark.parametrize("period", ["24h", "7d", "30d", "365d"])
def test_hooks_and_refusals_are_told_of_one_app(audrey, two_apps, period):
    sentences = said(audrey, period=period, app="school app")
    assert sentences["hooks"] == "2 hooks: 1 allowed, 1 refused, 50.0% of what was decided; 0 noted."
    assert sentences["refusals"].startswith("Most often, 1 of 1 times:")
    assert said(audrey, period=period)["hooks"].startswith("9 hooks")
    assert said(audrey, period=period, app="x")["hooks"].endswith(" through app “x”.")


def test_what_is_not_kept_by_app_says_that_it_is_of_all_apps(audrey, two_apps):
    response = audrey.get(PAGE, {"period": "24h", "app": "school app"})
    statistics = {item["name"]: item["statistic"] for item in response.context["shown"]}
    for name, statistic in statistics.items():
        all_apps = statistic.sentence.startswith("All apps together, as this is not kept by app.")
        assert all_apps is statistic.title.endswith(", all apps") is (name not in BY_APP), name
    assert not [sentence for sentence in said(audrey, period="24h").values() if "All apps" in sentence]


def test_rows_of_one_app_lead_to_its_hooks(audrey, two_apps):
    response = audrey.get(PAGE, {"period": "24h", "app": "school app"})
    shown = {item["name"]: item["statistic"].rows for item in response.context["shown"]}
    links = [shown["refusals"][0].url, next(row.url for row in shown["hooks"] if row.cells[0] == "2026-11-24 14:00")]
    assert [len(audrey.get(url).context["cl"].result_list) for url in links] == [1, 2]
    make_event(received_at=NOW, app_key='"')
    recounting.begin_again()
    recounting.count_before(time.monotonic() + 1_000)
    of_a_quote = audrey.get(PAGE, {"period": "24h", "app": '"'}).context["shown"]
    assert not any(row.url for item in of_a_quote if item["name"] in BY_APP for row in item["statistic"].rows)


def test_an_app_stays_chosen(audrey, two_apps):
    make_app("school app")
    own = {"period": "own", "from": "2026-11-24", "until": "2026-11-24", "app": "school app"}
    content = audrey.get(PAGE, own).content.decode()
    assert '<option value="school app" selected>' in content
    assert 'href="?period=30d&amp;app=school+app"' in content
    assert '<input type="hidden" name="app" value="school app">' in content
    assert '<input type="hidden" name="from" value="2026-11-24">' in content
    assert "of=hooks&amp;period=own&amp;from=2026-11-24&amp;until=2026-11-24&amp;app=school+app" in content
    assert "&amp;app=school+app&amp;busy=call#busiest" in content
    assert [row[1:] for row in rows(audrey, "refusals", app="school app")][1:] == [["denied-by-rule", "1"]]
    assert [act.told for act in acts()] == ["Refusals by reason through app “school app”, the last 24 hours"]


@pytest.mark.parametrize(
    ("app", "problem"), [("a" * KEY_TEXT, "app keys of less than 100 characters"), ("a\0", "No app key has a NUL")]
)
def test_an_app_that_cannot_be_told_is_said(audrey, app, problem):
    page = audrey.get(PAGE, {"app": app})
    assert (page.status_code, problem in page.content.decode()) == (400, True)
    assert audrey.get(FILE, {"of": "hooks", "app": app}).status_code == 400


# Files


@pytest.mark.parametrize("name", STATISTICS)
def test_each_is_exported_as_it_is_shown(audrey, busy, name):
    head, *found = rows(audrey, name)
    shown = {item["name"]: item["statistic"] for item in audrey.get(PAGE, {"period": "24h"}).context["shown"]}[name]
    assert head == list(shown.head)
    assert len(found) == len(shown.rows)
    assert all(len(row) == len(head) for row in found)


def test_a_file_has_all_names_that_the_page_has_no_room_for(audrey):
    for number in range(30):
        make_event(received_at=NOW, username=f"user-{number}")
    recounting.count_before(time.monotonic() + 1_000)
    assert len(rows(audrey, "users")) == 31


def test_no_cell_is_a_formula(audrey, busy):
    cells = [cell for name in STATISTICS for row in rows(audrey, name) for cell in row]
    assert f"'{FORMULA}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "-"))]


def test_who_took_what_is_noted(audrey, busy):
    rows(audrey, "users")
    (act,) = acts()
    assert story(act, "") == "audrey exported a file of statistics: Users by attempts, the last 24 hours"
    assert (act.user_id, act.client_address) == (audrey.user.pk, "127.0.0.1")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"of": "x"}, "Give one of running, hooks"),
        ({"of": "hooks", "period": "x"}, "is no period"),
        ({"of": "running", "app": "x"}, "“running” is not kept by app: leave “app” out."),
    ],
)
def test_a_file_that_there_is_not_is_an_error(audrey, query, said):
    response = audrey.get(FILE, query)
    assert (response.status_code, said in response.content.decode()) == (400, True)


# Who may


@pytest.mark.parametrize("address", [PAGE, f"{FILE}?of=users"])
def test_whoever_may_not_see_the_log_sees_nothing_of_it(address):
    make_role("others", "view_user")
    client = browser_of(make_user("otto", is_staff=True, groups=["others"]))
    assert client.get(address).status_code == 403
    assert "Statistics" not in client.get("/admin/").content.decode()
    client.logout()
    assert client.get(address).status_code == 302


def test_whoever_may_see_the_log_finds_it_in_the_navigation(audrey):
    assert PAGE in audrey.get("/admin/").content.decode()
