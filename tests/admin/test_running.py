"""The list of what runs, and ending it."""

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from apps.audit.models import ChangeRecord
from apps.live.models import Cut, Lease
from tests import factories
from tests.admin.conftest import browser_of, make_role

LIST = reverse("admin:live_lease_changelist")


@pytest.fixture
def alice(db):
    return factories.make_user("alice")


def end(browser, *leases):
    ticked = [lease.pk for lease in leases]
    asked = {"action": "end_it", "_selected_action": ticked}
    return browser.post(LIST, {**asked, "confirmed": "yes"}, follow=True).content.decode()


def test_it_says_who_does_what_since_when_and_by_which_rule(root, alice):
    rule = factories.make_rule("play", user=alice, limit_per="user", at_once=2)
    factories.make_lease(alice, rules=[rule])
    factories.make_lease(key="c", action="call", target="+49 30 1234", started_at=None)
    factories.make_lease(alice, key=factories.SESSION_ID, action="connect", target="defaultApp")
    rows = {lease.what_is_shown: lease for lease in shown(root)}
    text = root.get(LIST).content.decode()
    for words in ("alice", "guest", "play “lobby”", "call “+49 30 1234”", "connected", str(rule), "no rule", "allowed"):
        assert words.replace("“", "“") in text, words
    assert len(rows) == 3


def shown(browser, **query):
    leases = browser.get(LIST, query).context["cl"].result_list
    for lease in leases:
        lease.what_is_shown = (lease.action, lease.target)
    return leases


def test_the_newest_comes_first_and_what_has_ended_is_not_there(root, alice):
    factories.make_lease(key="old", opened_at=timezone.now() - timezone.timedelta(hours=1))
    factories.make_lease(key="new")
    factories.make_lease(key="ended", ended_at=timezone.now())
    factories.make_lease(key="run out", runs_out_at=timezone.now())
    assert [lease.key for lease in shown(root)] == ["new", "old"]


def test_it_is_found_by_who_what_and_where(root, alice):
    factories.make_lease(alice, key="a")
    factories.make_lease(key="b", action="publish", target="attic")
    assert [lease.key for lease in shown(root, q="alice")] == ["a"]
    assert [lease.key for lease in shown(root, q="attic")] == ["b"]
    assert [lease.key for lease in shown(root, what="publish")] == ["b"]
    assert [lease.key for lease in shown(root, app="otherApp")] == []


def test_ending_it_orders_that_and_says_when_it_ends(root, alice):
    first, second = factories.make_lease(alice, key="a"), factories.make_lease(alice, key="b")
    text = end(root, first)
    assert "Ordered to end: 1." in text
    assert "being ended" in text
    assert (Cut.objects.get().lease, Cut.objects.get().ordered_by) == (first, "root")
    assert LogEntry.objects.get().change_message == "Ordered to end."
    assert "Ordered to end: 1." in end(root, first, second)


def test_why_it_is_ended_is_asked_for_and_recorded(root, alice):
    lease = factories.make_lease(alice)
    asked = {"action": "end_it", "_selected_action": [lease.pk]}
    assert 'name="_why"' in root.post(LIST, asked).content.decode()
    root.post(LIST, {**asked, "confirmed": "yes", "_why": "ticket 4711"})
    assert ChangeRecord.objects.get(table_name="live_cut").actor["why"] == "ticket 4711"


def test_it_asks_first_and_says_what_would_end(root, alice):
    leases = [factories.make_lease(alice, key=f"m-{number}") for number in range(22)]
    leases.append(factories.make_lease(alice, key=factories.SESSION_ID, action="connect", target="defaultApp"))
    asked = {"action": "end_it", "_selected_action": [lease.pk for lease in leases]}
    text = root.post(LIST, asked).content.decode()
    for words in (
        "These 23 would end now.",
        "alice: play “lobby”",
        "… and 3 more.",
        "goes everything that it publishes",
    ):
        assert words in text, words
    assert text.count('name="_selected_action"') == 23
    assert not Cut.objects.exists()


def test_who_may_only_look_can_end_nothing(alice):
    make_role("lookers", "view_lease")
    make_role("enders", "view_lease", "end_lease")
    lease = factories.make_lease(alice)
    looker = browser_of(factories.make_user("looker", is_staff=True, groups=["lookers"]))
    ender = browser_of(factories.make_user("ender", is_staff=True, groups=["enders"]))
    assert "End it" not in looker.get(LIST).content.decode()
    end(looker, lease)
    assert not Cut.objects.exists()
    assert "End it" in ender.get(LIST).content.decode()
    end(ender, lease)
    assert Cut.objects.get().ordered_by == "ender"


def test_nothing_can_be_added_changed_or_deleted_by_hand(root, alice):
    lease = factories.make_lease(alice)
    assert root.get(reverse("admin:live_lease_add")).status_code == 403
    assert root.post(reverse("admin:live_lease_change", args=[lease.pk]), {"username": "x"}).status_code == 403
    assert root.post(reverse("admin:live_lease_delete", args=[lease.pk]), {"post": "yes"}).status_code == 403
    assert Lease.objects.get().username == "alice"


def test_it_is_in_the_sidebar_of_those_who_may_see_it(root, audrey):
    assert LIST in root.get(reverse("admin:index")).content.decode()
    assert LIST not in audrey.get(reverse("admin:index")).content.decode()
