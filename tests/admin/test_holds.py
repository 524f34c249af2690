"""Legal holds in the admin: made, never changed or deleted, and released by whoever may."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from psycopg.sql import SQL

from apps.audit.keeping import hold_admin, holds
from apps.audit.models import AuditEvent, Hold
from tests.admin.conftest import browser_of, make_event
from tests.audit.test_changes import changes, said

pytestmark = pytest.mark.django_db
LIST = reverse("admin:audit_hold_changelist")
ADD = reverse("admin:audit_hold_add")
EMPTY = {f"{name}_{part}": "" for name in ("starts_at", "ends_at", "until") for part in (0, 1)}


def page(hold):
    return reverse("admin:audit_hold_change", args=[hold.pk])


def make_hold(**fields):
    return Hold.objects.create(**{"name": "Case 7", "made_by": "root", **fields})


def release(browser, *holds, confirmed="yes", **more):
    ticked = {"action": "release", "_selected_action": [hold.pk for hold in holds]}
    return browser.post(LIST, {**ticked, "confirmed": confirmed, **more}, follow=True)


def test_a_hold_says_who_made_it_and_what_it_covers(root):
    listed = root.post(ADD, {**EMPTY, "name": "Case 7", "username": "ann", "starts_at_0": "2026-03-01"}, follow=True)
    hold = Hold.objects.get()
    assert (hold.made_by, hold.username, hold.starts_at) == ("root", "ann", datetime(2026, 3, 1, tzinfo=UTC))
    assert "user “ann”, from 2026-03-01 00:00" in listed.content.decode()


def test_a_time_that_ends_before_it_begins_is_refused_with_a_sentence(root):
    refused = root.post(ADD, {**EMPTY, "name": "Case 7", "starts_at_0": "2026-03-02", "ends_at_0": "2026-03-01"})
    assert "“To” must be later than “from”." in refused.content.decode()
    assert not Hold.objects.exists()


def test_a_hold_of_everything_says_so(root):
    hold = make_hold()
    assert "This holds everything" in root.get(page(hold)).content.decode()
    assert "everything" in root.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"username": "ann"}, "It covers 2 audit events by now."),
        ({"username": "ann", "target": "attic"}, "It covers 1 audit event by now."),
        ({"username": "Ann"}, "It covers no audit event by now. Names and ids count whole"),
        ({}, "It covers 3 audit events by now."),
        ({"starts_at_0": "2026-11-20", "ends_at_0": "2026-11-21"}, "It covers 1 audit event by now."),
    ],
)
def test_a_hold_says_how_many_events_it_covers_when_it_is_made_and_on_its_page(root, fields, said):
    make_event(username="ann", received_at=datetime(2026, 11, 1, tzinfo=UTC))
    make_event(username="ann", target="attic", received_at=datetime(2026, 11, 2, tzinfo=UTC))
    repeated = make_event(username="bob", received_at=datetime(2026, 11, 19, 23, 59, tzinfo=UTC))
    AuditEvent.objects.filter(pk=repeated.pk).update(last_received_at=datetime(2026, 11, 20, 9, tzinfo=UTC))
    made = root.post(ADD, {**EMPTY, "name": "Case 7", **fields}, follow=True)
    assert said in made.content.decode()
    assert said in root.get(page(Hold.objects.get())).content.decode()


def test_more_events_than_are_counted_are_said_to_be_more(root, monkeypatch):
    monkeypatch.setattr(holds, "COUNTED", 1)
    monkeypatch.setattr(hold_admin, "COUNTED", 1)
    for _ in range(3):
        make_event()
    assert holds.how_many(make_hold()) == 2
    assert "It covers more than 1 audit events by now." in root.get(page(make_hold())).content.decode()


def test_what_takes_too_long_to_count_is_said_to(root, monkeypatch):
    monkeypatch.setattr(holds, "PATIENCE", timedelta(milliseconds=1))
    monkeypatch.setattr(holds, "_covered", lambda hold: SQL("pg_sleep(1) IS NOT NULL"))
    make_event()
    assert "could not be counted within 2 seconds" in root.get(page(make_hold())).content.decode()


def test_a_hold_of_a_time_is_counted_through_an_index(root):
    with CaptureQueriesContext(connection) as asked:
        holds.how_many(make_hold(starts_at=datetime(2026, 11, 1, tzinfo=UTC)))
    (sql,) = [query["sql"] for query in asked if "LIMIT" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert re.search(r"Index Cond: \(received_at >= '2026-10-30", plan), plan


def test_a_released_hold_is_not_counted(root):
    hold = make_hold(released_at=timezone.now())
    assert "How much it covers" not in root.get(page(hold)).content.decode()


def test_what_a_hold_covers_cannot_be_changed_but_its_note_can(root):
    hold = make_hold(username="ann")
    root.post(
        page(hold), {**EMPTY, "name": "Case 8", "note": "By the court.", "username": "nobody", "until_0": "2020-01-01"}
    )
    hold.refresh_from_db()
    assert (hold.name, hold.note, hold.username, hold.until) == ("Case 8", "By the court.", "ann", None)


def test_nobody_deletes_a_hold(root):
    hold = make_hold()
    assert root.post(reverse("admin:audit_hold_delete", args=[hold.pk]), {"post": "yes"}).status_code == 403
    root.post(LIST, {"action": "delete_selected", "_selected_action": [hold.pk], "post": "yes"})
    assert Hold.objects.get() == hold


def test_a_hold_is_released_once_and_it_is_known_by_whom(root):
    hold = make_hold()
    assert "Released: 1." in release(root, hold).content.decode()
    hold.refresh_from_db()
    released_at = hold.released_at
    assert hold.released_by == "root"
    assert LogEntry.objects.get().change_message == "Released."
    assert "Released: 0." in release(root, hold).content.decode()
    hold.refresh_from_db()
    assert hold.released_at == released_at
    assert "This holds nothing any longer." in root.get(page(hold)).content.decode()
    assert not Hold.objects.in_force().exists()


@pytest.mark.django_db(transaction=True)
def test_releasing_asks_first_and_why(root):
    holds = [make_hold(username="ann"), make_hold(name="Case 8")]
    asked = release(root, *holds, confirmed="").content.decode()
    assert "These 2 holds would be released now." in asked
    assert "Case 7: user “ann”" in asked
    assert "Case 8: everything" in asked
    assert 'name="_why"' in asked
    assert Hold.objects.in_force().count() == 2
    released = holds.pop()
    release(root, released, _why="The court says so.")
    assert list(Hold.objects.in_force()) == holds
    assert said(changes()[-1])["why"] == "The court says so."


def test_the_page_of_a_hold_says_what_of_it_can_be_changed(root):
    text = root.get(page(make_hold())).content.decode()
    assert "What it covers and for how long cannot be changed, nor can it be deleted. Name and note can." in text
    assert "cannot be changed" not in root.get(ADD).content.decode()


def test_whoever_may_make_holds_may_not_release_them_without_a_permission_of_its_own(olga):
    hold = make_hold()
    release(olga, hold)
    assert Hold.objects.in_force().get() == hold
    olga.user.user_permissions.add(Permission.objects.get(codename="release_hold"))
    release(browser_of(type(olga.user).objects.get(pk=olga.user.pk)), hold)
    assert not Hold.objects.in_force().exists()


def test_a_hold_that_ends_by_itself_is_over_then(root):
    make_hold(until=datetime(2026, 1, 1, tzinfo=UTC))
    assert "over" in root.get(LIST).content.decode()
    assert not Hold.objects.in_force().exists()
