"""Staff are told when the database was away, and find what was answered meanwhile."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from apps.audit.models import Outage
from apps.audit.recording.spool import Spool
from tests.admin.conftest import make_event

SINCE = datetime(2026, 3, 1, 14, 30, 5, tzinfo=UTC)


def note(name="one", *, noted_at=None, since=SINCE, entries=12):
    until = since + timedelta(seconds=65)
    Outage.objects.create(name=name, since=since, until=until, noted_at=noted_at or timezone.now(), entries=entries)


def banner(client, page="/admin/"):
    return client.get(page).content.decode().partition('id="outage"')[2][:2000]


def test_where_nothing_happened_nothing_is_said(root):
    assert 'id="outage"' not in root.get("/admin/").content.decode()


def test_every_page_says_so_for_an_hour(root):
    note()
    note("two", since=SINCE + timedelta(seconds=10), entries=3)
    for page in ("/admin/", "/admin/audit/auditevent/", "/admin/access/streampermission/"):
        said = banner(root, page)
        assert "The database was away from 2026-03-01 14:30:05 to 2026-03-01 14:31:20." in said
        assert "15 hooks answered meanwhile have been recorded since." in said
    Outage.objects.update(noted_at=timezone.now() - timedelta(hours=1, seconds=1))
    assert 'id="outage"' not in root.get("/admin/").content.decode()


def test_what_is_still_to_come_is_said_also_before_anything_was_noted(root, settings, tmp_path):
    settings.SPOOL = str(tmp_path)
    spool = Spool(str(tmp_path), 1_000)
    spool.append(b"one", SINCE)
    said = banner(root)
    assert "The database was away since 2026-03-01 14:30:05." in said
    assert "1 hook answered meanwhile is still to be recorded." in said
    note(entries=1)
    said = banner(root)
    assert "away from 2026-03-01 14:30:05 to 2026-03-01 14:31:10. Clients" in said
    assert "1 hook answered meanwhile has been recorded since, and 1 is still to come." in said
    spool.close()


def test_two_outages_are_told_as_two(root):
    note(entries=0)
    note("two", since=SINCE + timedelta(seconds=80), entries=0)
    said = banner(root)
    assert (
        "The database was away from 2026-03-01 14:30:05 to 2026-03-01 14:31:10 "
        "and from 2026-03-01 14:31:25 to 2026-03-01 14:32:30."
    ) in said
    assert "No hook was answered meanwhile." in said
    assert "Hooks that were answered meanwhile" not in said
    for number in range(2, 4):
        note(f"{number}", since=SINCE + timedelta(minutes=2 * number))
    assert "away 4 times, last from 2026-03-01 14:36:05 to 2026-03-01 14:37:10." in banner(root)


def test_nobody_else_is_told(client, db):
    note()
    assert 'id="outage"' not in client.get("/admin/login/").content.decode()


@pytest.mark.parametrize("search", ["?while=away", "?q=while:away"])
def test_what_was_answered_meanwhile_is_found(root, search):
    make_event(target="then", while_away=True)
    make_event(target="now")
    page = root.get("/admin/audit/auditevent/" + search).content.decode()
    assert "then" in page
    assert "play “now”" not in page


def test_the_banner_leads_there(root):
    note()
    assert "/admin/audit/auditevent/?while=away" in banner(root)


def test_an_entry_says_so(root):
    for away in (True, False):
        event = make_event(while_away=away)
        page = root.get(f"/admin/audit/auditevent/{event.pk}/change/").content.decode()
        assert ("Was away when this was answered" in page) is away
