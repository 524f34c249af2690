"""What the list finds, as a file: for whoever may see the log, and noted."""

import json
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.audit.browsing.paging import Place
from apps.audit.exporting.export import Resume
from apps.audit.models import AuditEvent
from apps.audit.narrative import outcome, story
from tests.admin.conftest import browser_of, make_event, make_role
from tests.audit.test_changes import acts, said
from tests.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def events():
    """Seven, the newest first."""
    for number in range(7):
        make_event(status=str(number), received_at=timezone.now() - timedelta(minutes=number))
    return list(AuditEvent.objects.order_by("-received_at"))


EXPORT = "/admin/audit/auditevent/export/"


def body_of(response):
    return b"".join(response.streaming_content).decode()


def test_what_the_list_finds_is_exported_and_noted(audrey, events):
    make_event(username="ann")
    response = audrey.get(EXPORT, {"q": "user:ann", "format": "csv"})
    lines = body_of(response).splitlines()
    assert len(lines) == 2
    assert "ann" in lines[1]
    assert response["Content-Disposition"].startswith("attachment;")
    (act,) = acts()
    assert story(act, "") == "audrey exported the audit log: As CSV: Hooks by user “ann”."
    assert (act.user_id, act.client_address, outcome(act)) == (audrey.user.pk, "127.0.0.1", "done")
    assert said(act)["after"]["search"] == "q=user%3Aann"
    assert said(act)["request"] == f"GET {EXPORT}"
    shown = audrey.get(reverse("admin:audit_auditevent_change", args=[act.pk])).content.decode()
    assert "audrey exported the audit log" in shown


def test_an_export_that_broke_off_goes_on(audrey, events):
    resume = str(Resume(Place.of(events[4]), timezone.now()))
    response = audrey.get(EXPORT, {"format": "jsonl", "resume": resume})
    assert [json.loads(line)["status"] for line in body_of(response).splitlines()] == ["5", "6"]
    assert said(acts()[0])["after"]["resume"] == resume


@pytest.mark.parametrize("search", [{"q": "after:24h"}, {"last": "24h"}, {"q": "after:1d", "last": "24h"}])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_however_late_it_goes_on_it_is_about_the_hours_before_it_was_asked_for(audrey, search, kind, monkeypatch):
    now = timezone.now()
    for hours in (1, 10, 23):
        make_event(username=f"ago-{hours}", received_at=now - timedelta(hours=hours))
    whole = body_of(audrey.get(EXPORT, {**search, "format": kind})).splitlines()
    newest = json.loads(whole[0])["resume"] if kind == "jsonl" else whole[1].rpartition(",")[2]
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(hours=3))
    rest = body_of(audrey.get(EXPORT, {**search, "format": kind, "resume": newest})).splitlines()
    assert rest[kind == "csv" :] == whole[-2:], "the same, and the rest of the rest goes on as well"


@pytest.mark.parametrize("search", ["q=%00", "q=%ED%A0%80", "username=%00x", "%00=1"])
def test_whatever_was_searched_can_be_noted(audrey, search):
    assert audrey.get(f"{EXPORT}?{search}").status_code in (200, 400)


def test_a_wrong_place_is_an_error_before_anything_is_sent(audrey):
    response = audrey.get(EXPORT, {"resume": "x"})
    assert (response.status_code, "give all that stands under" in response.content.decode()) == (400, True)


def test_a_search_that_cannot_be_understood_is_an_error(audrey, events):
    response = audrey.get(EXPORT, {"q": "usr:x"})
    assert (response.status_code, "“usr:” is not known" in response.content.decode()) == (400, True)


def test_whoever_may_not_see_the_log_gets_nothing():
    make_role("others", "view_user")
    client = browser_of(make_user("otto", is_staff=True, groups=["others"]))
    assert client.get(EXPORT).status_code == 403
    client.logout()
    assert client.get(EXPORT).status_code == 302
    assert reverse("admin:audit_auditevent_export") == EXPORT
