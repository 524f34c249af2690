"""Records that could not be moved: staff see what went wrong, and try again."""

from datetime import datetime
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from apps.audit.models import AuditEvent, BadRecord, HookRecord
from apps.audit.moving.bad_record_admin import PROBLEM_SHOWN
from apps.audit.moving.mover import move_batch
from apps.audit.narrative import story
from tests.admin.conftest import browser_of
from tests.audit.test_changes import acts, said
from tests.audit.test_mover import database, make_record, picky  # noqa: F401 - fixtures

pytestmark = pytest.mark.django_db
LIST = reverse("admin:audit_badrecord_changelist")


@pytest.fixture
def bad(picky):  # noqa: F811 - the fixture
    make_record(target="bad", body=b'{"name":"bad","text":"as it came"}')
    move_batch()
    return BadRecord.objects.get(), picky


def choose(browser, bad):
    chosen = {"action": "try_again", "_selected_action": [bad.pk], "_why": "mended"}
    return browser.post(LIST, chosen, follow=True)


def test_it_is_shown_with_its_body_and_with_what_went_wrong(bad, root):
    listed = root.get(LIST).content.decode()
    assert "IntegrityError" in listed
    assert 'name="_why"' in listed
    shown = root.get(reverse("admin:audit_badrecord_change", args=[bad[0].pk])).content.decode()
    assert "as it came" in shown
    assert "violates check constraint" in shown
    assert "choose it in the list and try again" in shown


@pytest.mark.django_db(transaction=True)
def test_the_list_can_be_read_on_a_small_desk(desk):
    problem = "IntegrityError: new row of “audit_auditevent” violates a check. " + "DETAIL: it holds this. " * 20
    came = "2026-11-26T21:31:21.774961+00:00"
    record = {
        "received_at": came,
        "method": "StreamStatusEvent",
        "username": "teacher-number-1",
        "target": "lesson-new",
    }
    BadRecord.objects.create(pk=UUID(int=1), problem=problem, record={**record, "node_id": "a@node-1.example.com"})
    desk.set_viewport_size({"width": 1360, "height": 800})
    desk.goto(f"{desk.url.partition('/admin')[0]}{LIST}")
    row = desk.get_by_role("row").filter(has_text="lesson-new")
    shown = timezone.localtime(datetime.fromisoformat(came))
    assert row.locator(".field-at").inner_text() == f"{shown:%Y-%m-%d %H:%M:%S}"
    assert len(row.locator(".field-problem_begins").inner_text()) == PROBLEM_SHOWN
    failed = row.locator(".field-failed").bounding_box()
    assert failed["x"] + failed["width"] <= 1360
    assert row.bounding_box()["height"] < 200


def test_the_overview_tells_of_it_and_then_no_more(bad, root):
    record, mend = bad
    overview = reverse("admin:index")
    assert "Records could not be moved" in root.get(overview).content.decode()
    mend()
    assert "Put back: 1." in choose(root, record).content.decode()
    move_batch()
    assert AuditEvent.objects.filter(pk=record.pk).exists()
    assert "Records could not be moved" not in root.get(overview).content.decode()
    (act,) = acts()
    assert story(act, "") == f"root tried again record not moved “{record.pk}”."
    assert (act.user_id, act.client_address) == (root.user.pk, "127.0.0.1")
    assert (said(act)["request"], said(act)["why"]) == (f"POST {LIST}", "mended")


def test_whoever_may_look_may_not_try_again_without_a_permission_of_its_own(bad, olga):
    record, _ = bad
    choose(olga, record)
    assert BadRecord.objects.exists()
    olga.user.user_permissions.add(Permission.objects.get(codename="retry_badrecord"))
    choose(browser_of(type(olga.user).objects.get(pk=olga.user.pk)), record)
    assert not BadRecord.objects.exists()
    assert HookRecord.objects.get().pk == record.pk


def test_an_empty_list_says_that_there_is_nothing_to_do(root):
    assert "nothing to do" in root.get(LIST).content.decode()
