"""Staff see whether every answered hook is in the record, and of which node and since when one is not."""

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.audit.missing import gaps
from apps.audit.models import Counted
from apps.audit.narrative import story
from tests import factories
from tests.admin.conftest import browser_of, make_role
from tests.audit.test_changes import acts, said

PAGE = reverse("missing_hooks")
AFTER = datetime(2026, 3, 1, 14, 30, 5, tzinfo=UTC)


def make_counted(node_name="edge-1", *, missing=0, **fields):
    now = timezone.now()
    times = {"began_at": now, "published_at": now, "compared_at": now}
    if missing:
        times |= {"missing_after": AFTER, "missing_since": AFTER + timedelta(seconds=2)}
    counter = Counted.objects.count() + 1
    defaults = {"process": "web-1-100-ab", "counter": counter, "given": 10, "answered": 10, "missing": missing}
    defaults["settled"] = f"{{[{missing + 1},11)}}"
    return Counted.objects.create(node_name=node_name, **{**defaults, **times, **fields})


def page(browser):
    return browser.get(PAGE).content.decode()


def test_before_anything_was_counted_it_says_when_that_begins(root):
    assert "No hook has been counted yet." in page(root)
    assert "answered but never recorded" not in root.get("/admin/").content.decode()


def test_at_rest_it_is_0_and_says_what_that_means(root):
    make_counted(answered=1234, stored=1234)
    said = page(root)
    assert "0 hooks are missing:</strong> every answered hook came into the record." in said
    assert "1234" in said
    overview = root.get("/admin/").content.decode()
    assert '<span class="wcsgate-number">0</span> answered but never recorded' in overview
    assert "Hooks were answered and are not in the record." not in overview


def test_it_says_which_loss_it_cannot_see_and_what_can(root, settings, tmp_path):
    settings.SEAL_KEYS, settings.SPOOL = [], str(tmp_path)
    make_counted(answered=1, stored=1)
    said = page(root)
    assert "What somebody took out of it afterwards is not seen here." in said
    assert "The record was not sealed yet." in said
    assert "manage.py verify_audit" in said


def test_it_says_why_more_may_be_in_the_log_than_was_answered(root):
    make_counted(answered=1, failed=1, stored=2)
    said = page(root)
    assert "A hook that was answered 503 while Postgres did not answer in time may be in the audit log" in said
    assert "what it let in counts until it runs out or is ended" in said


def test_processes_that_do_not_tell_are_named_beside_the_0_however_many_tell(root):
    make_counted("edge-1", process="web-2-7-cd", published_at=timezone.now() - timedelta(minutes=4))
    make_counted("edge-2", process="web-2-7-cd", published_at=timezone.now() - timedelta(minutes=4))
    make_counted("edge-1", process="web-3-8-ef", published_at=timezone.now() - timedelta(days=2))
    make_counted("edge-1", process="web-4-9-ef", published_at=timezone.now() - timedelta(hours=2), ended=True)
    make_counted("edge-1")
    said = page(root)
    assert "<strong>1 process</strong> has not said for more than three minutes what it answered" in said
    assert "every answered hook that was told of came into the record." in said
    overview = root.get("/admin/").content.decode()
    assert "1 process has not said for more than three minutes what it answered." in overview
    make_counted("edge-1", process="web-5-9-ef", published_at=timezone.now() - timedelta(minutes=4))
    overview = root.get("/admin/").content.decode()
    assert "2 processes have not said for more than three minutes what they answered." in overview
    Counted.objects.filter(process="web-5-9-ef").update(published_at=timezone.now())
    Counted.objects.filter(process="web-2-7-cd").update(published_at=timezone.now())
    assert "more than three minutes" not in page(root) + root.get("/admin/").content.decode()


def test_what_is_missing_is_named_with_node_process_and_since_when(root):
    make_counted(missing=3)
    make_counted("edge-2")
    said = page(root)
    assert "<strong>3 hooks</strong> were answered and are nowhere in the record, since 2026-03-01 14:30:07." in said
    gaps = said.partition('id="gaps"')[2].partition("</table>")[0]
    assert 'edge-1</td><td data-label="Answered by">web-1-100-ab' in gaps
    assert "between 2026-03-01 14:30:05 and 2026-03-01 14:30:07" in gaps
    assert "edge-2" not in gaps
    overview = root.get("/admin/").content.decode()
    assert "Hooks were answered and are not in the record." in overview
    assert '<span class="wcsgate-number">3</span> answered but never recorded' in overview


def test_that_nobody_has_looked_for_long_is_said(root):
    make_counted(compared_at=timezone.now() - timedelta(minutes=4))
    assert "Nobody has looked since" in page(root)
    Counted.objects.update(compared_at=timezone.now())
    assert "Nobody has looked since" not in page(root)


def test_acknowledging_brings_the_number_back_to_0_and_is_in_the_audit_log(root):
    gap = make_counted(missing=3)
    assert 'name="_why"' in page(root)
    answer = root.post(PAGE, {"gap": gap.pk, "_why": "restored"}, follow=True, REMOTE_ADDR="192.0.2.7")
    assert "Acknowledged: 3 of edge-1 in web-1-100-ab." in answer.content.decode()
    assert "0 hooks are missing" in answer.content.decode()
    (act,) = acts()
    assert story(act, "") == (
        "root acknowledged missing hooks of edge-1 in web-1-100-ab: "
        "3, which went missing between 2026-03-01 14:30:05 and 2026-03-01 14:30:07"
    )
    assert (act.user_id, act.client_address) == (root.user.pk, "192.0.2.7")
    assert (said(act)["why"], said(act)["request"]) == ("restored", f"POST {PAGE}")
    assert Counted.objects.get(pk=gap.pk).acknowledged == 3


def test_while_too_much_waits_nothing_is_acknowledged(root, monkeypatch):
    monkeypatch.setattr(gaps, "MOST", -1)
    gap = make_counted(missing=3)
    said = root.post(PAGE, {"gap": gap.pk}, follow=True).content.decode()
    assert "Too many records wait for the workers to tell what is missing. Try again later." in said
    assert acts() == []
    assert Counted.objects.get().missing == 3


@pytest.mark.parametrize("gap", ["", "0", "x", "9" * 30])
def test_what_is_no_gap_cannot_be_acknowledged(root, gap):
    make_counted(missing=3)
    assert "There is nothing to acknowledge there" in root.post(PAGE, {"gap": gap}, follow=True).content.decode()
    assert Counted.objects.get().missing == 3


def test_whoever_may_only_look_does_not_acknowledge(audrey):
    gap = make_counted(missing=3)
    assert "Acknowledge what is missing" not in page(audrey)
    assert audrey.post(PAGE, {"gap": gap.pk}).status_code == 403
    assert Counted.objects.get().missing == 3


def test_whoever_may_not_see_the_audit_log_does_not_see_this(db):
    make_role("helpers", "view_user")
    helper = browser_of(factories.make_user("helper", is_staff=True, groups=["helpers"]))
    assert helper.get(PAGE).status_code == 403
    assert PAGE not in helper.get("/admin/").content.decode()


def test_many_nodes_cost_no_more_queries(root, django_assert_num_queries):
    with django_assert_num_queries(9):
        page(root)
    for number in range(20):
        make_counted(f"edge-{number}", missing=1)
    with django_assert_num_queries(9):
        page(root)


def test_every_column_is_seen_on_a_small_desk(desk):
    make_counted("node-1.example.com", answered=123_456, stored=123_456, received=123_456)
    desk.set_viewport_size({"width": 1360, "height": 800})
    desk.goto(f"{desk.url.partition('/admin')[0]}{reverse('missing_hooks')}")
    last = desk.get_by_role("columnheader", name="Acknowledged")
    assert last.evaluate("cell => cell.closest('div').scrollWidth <= cell.closest('div').clientWidth")
