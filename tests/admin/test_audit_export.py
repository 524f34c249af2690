"""What the list finds, as a file: for whoever may see the log, and noted."""

import json
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from apps.audit.export import place_of
from apps.audit.models import AuditEvent
from tests.admin.conftest import browser_of, make_event, make_role
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
    entry = LogEntry.objects.get()
    assert (entry.user, entry.change_message) == (audrey.user, "Exported: q=user%3Aann")


def test_an_export_that_broke_off_goes_on(audrey, events):
    response = audrey.get(EXPORT, {"format": "jsonl", "resume": place_of(events[4])})
    assert [json.loads(line)["status"] for line in body_of(response).splitlines()] == ["5", "6"]


def test_a_wrong_place_is_an_error_before_anything_is_sent(audrey):
    response = audrey.get(EXPORT, {"resume": "x"})
    assert (response.status_code, "give what stands under" in response.content.decode()) == (400, True)


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
