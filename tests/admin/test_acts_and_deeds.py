"""What staff do with the record, and the note of it, are one transaction: neither is ever there alone."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from django.db import DataError, IntegrityError, connection, connections, transaction
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from apps.access.acts import ACT
from apps.access.staff_acts import MAX_SAID, WHY
from apps.audit.exporting.exports import ask
from apps.audit.exporting.models import Export
from apps.audit.models import BadRecord, Counted, HookRecord
from apps.audit.moving.mover import move_batch, try_again
from runner import ROOT
from runner.services import wait_until
from tests.admin import test_bad_records, test_missing_hooks
from tests.admin.conftest import browser_of
from tests.admin.test_in_a_browser import PHONE
from tests.audit.test_changes import acts, run
from tests.audit.test_mover import database, make_record, picky  # noqa: F401 - fixtures
from tests.factories import make_lease, make_user

EXPORTS = reverse("admin:audit_export_changelist")


@pytest.fixture
def rosa(transactional_db):
    return browser_of(make_user("rosa", is_staff=True, is_superuser=True))


@pytest.fixture
def nothing_is_noted(rosa):
    """The outbox takes no act."""
    run(f"ALTER TABLE audit_changerecord ADD CONSTRAINT no_acts CHECK (table_name <> '{ACT}')")
    yield
    run("ALTER TABLE audit_changerecord DROP CONSTRAINT no_acts")


@pytest.fixture
def bad(picky):  # noqa: F811 - the fixture
    """A record that could not be moved, and now could."""
    make_record(target="bad")
    move_batch()
    picky()
    return BadRecord.objects.get()


def test_every_form_asks_why_in_one_way():
    asking = [
        path
        for path in sorted((ROOT / "templates").rglob("*.html"))
        if f'name="{WHY}"' in path.read_text(encoding="utf-8")
    ]
    assert [path.name for path in asking] == ["why.html"]
    assert f'name="{WHY}" maxlength="{MAX_SAID}"' in asking[0].read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_why_is_asked_for_on_a_phone(desk):
    test_missing_hooks.make_counted(missing=3)
    make_lease(make_user("ann"))
    desk.set_viewport_size(PHONE)
    desk.goto(test_missing_hooks.PAGE)
    expect(desk.get_by_label("Why what is missing of edge-1 in web-1-100-ab is known")).to_be_attached()
    assert desk.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    desk.goto(reverse("admin:live_lease_changelist"))
    desk.locator("tbody input[type=checkbox]").check()
    desk.locator("select[name=action]").select_option("end_it")
    desk.get_by_role("button", name="Run").click()
    expect(desk.get_by_label("Why (kept in the record, with your name)")).to_be_visible()
    assert desk.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_what_cannot_be_noted_is_not_acknowledged(rosa, nothing_is_noted):
    gap = test_missing_hooks.make_counted(missing=3)
    with pytest.raises(IntegrityError, match="no_acts"):
        rosa.post(test_missing_hooks.PAGE, {"gap": gap.pk})
    gap = Counted.objects.get()
    assert (gap.missing, gap.acknowledged) == (3, 0)


def test_what_cannot_be_noted_is_not_asked_for(rosa, nothing_is_noted):
    with pytest.raises(IntegrityError, match="no_acts"):
        rosa.post(f"{EXPORTS}ask/?format=csv")
    assert not Export.objects.exists()


def test_what_cannot_be_noted_is_not_deleted(rosa, nothing_is_noted):
    export = ask(rosa.user, "", "csv", timezone.now())
    with pytest.raises(IntegrityError, match="no_acts"):
        rosa.post(EXPORTS, {"action": "delete_them", "_selected_action": [export.pk]})
    assert Export.objects.exists()


def test_what_cannot_be_noted_is_not_put_back(bad, rosa, nothing_is_noted):
    with pytest.raises(IntegrityError, match="no_acts"):
        test_bad_records.choose(rosa, bad)
    assert BadRecord.objects.exists()
    assert not HookRecord.objects.exists()


def test_what_cannot_be_deleted_is_not_noted(rosa):
    export = ask(rosa.user, "", "csv", timezone.now())
    run("CREATE RULE keep AS ON DELETE TO audit_export DO INSTEAD SELECT 1/0")
    try:
        with pytest.raises(DataError, match="division by zero"):
            rosa.post(EXPORTS, {"action": "delete_them", "_selected_action": [export.pk]})
    finally:
        run("DROP RULE keep ON audit_export")
    assert Export.objects.exists()
    assert acts() == []


def test_of_two_who_try_again_at_once_one_did_it(bad, rosa):
    """The other one waits, and then finds nothing to try again."""
    with ThreadPoolExecutor(1) as others:
        with transaction.atomic():
            assert try_again([bad.pk]) == 1
            other = others.submit(_choose_alone, rosa, bad)
            wait_until(_somebody_waits, "the other one is at it")
        assert "Put back: 0." in other.result(60).content.decode()
    assert HookRecord.objects.get().pk == bad.pk
    assert acts() == []


def _choose_alone(browser, bad):
    with closing(connections["default"]):
        return test_bad_records.choose(browser, bad)


def _somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone()[0]
