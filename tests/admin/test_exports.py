"""Exports in the background, as staff ask for, watch and fetch them: everybody their own."""

import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.audit.exporting.exports import MOST, ask, take_turn, work
from apps.audit.exporting.exports import file_of as pieces_of
from apps.audit.exporting.models import Export, ExportPiece, State
from apps.audit.moving.changes import move_changes
from apps.audit.narrative import story
from tests.admin.conftest import browser_of, make_event, make_role
from tests.audit.test_changes import acts, said
from tests.factories import make_user

pytestmark = pytest.mark.django_db
LIST = "/admin/audit/export/"
ASK = f"{LIST}ask/"


def soon():
    """When all that had been received by now is committed."""
    return timezone.now() + timedelta(seconds=10)


@pytest.fixture
def events(db):
    for minutes in range(1, 8):
        make_event(username="ann" if minutes % 2 else "bob", received_at=timezone.now() - timedelta(minutes=minutes))


def made(client, search="q=user%3Aann", kind="csv"):
    """An export of that person, ready to be fetched."""
    export = ask(client.user, search, kind, timezone.now())
    move_changes()
    work(soon(), time.monotonic() + 60, 300)
    return Export.objects.get(pk=export.pk)


def file_of(client, export, **headers):
    return client.get(f"{LIST}{export.pk}/file/", **headers)


def body_of(response):
    return b"".join(response.streaming_content)


def page(client):
    return client.get(LIST).content.decode()


# Asked for


def test_what_the_list_finds_is_asked_for_and_noted(audrey, events):
    response = audrey.post(f"{ASK}?q=user%3Aann&format=jsonl", follow=True)
    assert "It is being written" in response.content.decode()
    export = Export.objects.get()
    assert (export.asked, export.format, export.made_by) == ("q=user%3Aann", "jsonl", audrey.user)
    assert "Hooks by user “ann”." in response.content.decode()
    assert "waits for a worker" in response.content.decode()
    (act,) = acts()
    assert story(act, "") == "audrey exported the audit log: In the background, as JSON Lines: Hooks by user “ann”."
    assert (act.user_id, act.client_address) == (audrey.user.pk, "127.0.0.1")
    assert said(act)["after"]["search"] == "q=user%3Aann"
    assert said(act)["request"] == f"POST {ASK}"


def test_one_too_many_is_a_sentence(audrey):
    for _ in range(MOST):
        audrey.post(f"{ASK}?format=csv")
    assert "may not have more at once" in audrey.post(f"{ASK}?format=csv", follow=True).content.decode()
    assert Export.objects.count() == len(acts()) == MOST


def test_a_search_that_cannot_be_understood_is_an_error(audrey):
    response = audrey.post(f"{ASK}?q=usr%3Ax")
    assert (response.status_code, "“usr:” is not known" in response.content.decode()) == (400, True)


def test_nothing_is_made_by_looking_at_an_address(audrey):
    assert audrey.get(ASK).status_code == 405
    assert not Export.objects.exists()


# Fetched


def test_the_file_is_the_direct_export_and_taking_it_is_noted(audrey, events):
    export = made(audrey)
    response = file_of(audrey, export)
    taken, direct = body_of(response), body_of(audrey.get("/admin/audit/auditevent/export/?q=user%3Aann&format=csv"))
    assert [line.partition(b"@")[0] for line in taken.splitlines()] == [
        line.partition(b"@")[0] for line in direct.splitlines()
    ], "but for when it was asked for"
    assert response["Content-Length"] == str(export.bytes)
    assert response["Content-Disposition"] == f'attachment; filename="{export.file_name}"'
    act = acts()[0]
    assert story(act, "").startswith(
        "audrey downloaded an export of the audit log: Hooks by user “ann”. Asked for by audrey at 20"
    )
    assert (said(act)["after"]["search"], said(act)["after"]["export"]) == (export.asked, str(export.pk))
    assert (act.client_address, said(act)["request"]) == ("127.0.0.1", f"GET {LIST}{export.pk}/file/")


def test_a_download_that_broke_off_goes_on(audrey, events):
    export = made(audrey)
    whole = body_of(file_of(audrey, export))
    rest = file_of(audrey, export, HTTP_RANGE="bytes=700-", HTTP_IF_RANGE=f'"{export.pk}"')
    assert (rest.status_code, body_of(rest)) == (206, whole[700:])
    assert rest["Content-Range"] == f"bytes 700-{export.bytes - 1}/{export.bytes}"


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_RANGE": "bytes=7-", "HTTP_IF_RANGE": '"another"'},
        {"HTTP_RANGE": "bytes=-7"},
        {"HTTP_RANGE": "bytes=1-2"},
        {"HTTP_RANGE": f"bytes={10**17}-"},
        {"HTTP_RANGE": "x"},
    ],
)
def test_any_other_part_is_answered_with_the_whole(audrey, events, headers):
    export = made(audrey)
    response = file_of(audrey, export, **headers)
    assert (response.status_code, len(body_of(response))) == (200, export.bytes)


@pytest.mark.parametrize("state", [State.WAITING, State.RUNNING, State.FAILED])
def test_what_is_not_ready_cannot_be_fetched(audrey, events, state):
    export = made(audrey)
    Export.objects.update(state=state)
    assert "/file/" not in page(audrey)
    response = audrey.get(f"{LIST}{export.pk}/file/", follow=True)
    assert "This file is not there, or not yet" in response.content.decode()


def test_a_file_without_all_its_pieces_is_not_given(audrey, events):
    export = made(audrey)
    ExportPiece.objects.all().delete()
    assert file_of(audrey, export).status_code == 302


# Whose


def test_everybody_sees_their_own_and_superusers_all(audrey, root, events):
    others = browser_of(make_user("abel", is_staff=True, groups=["auditors"]))
    export = made(audrey)
    assert "Hooks by user “ann”." in page(audrey)
    assert "Hooks by user “ann”." not in page(others)
    assert file_of(others, export).status_code == 404
    assert others.get(f"{LIST}{export.pk}/change/").status_code == 302
    others.post(LIST, {"action": "delete_them", "_selected_action": [str(export.pk)]})
    assert Export.objects.exists()
    assert "audrey" in page(root)
    assert file_of(root, export).status_code == 200


def test_whoever_may_not_see_the_log_may_do_nothing(audrey, events):
    export = made(audrey)
    make_role("others", "view_user")
    otto = browser_of(make_user("otto", is_staff=True, groups=["others"]))
    Export.objects.update(made_by=otto.user)  # as if the permission had been taken away
    addresses = (LIST, f"{LIST}{export.pk}/file/", f"{LIST}{export.pk}/change/")
    assert {otto.get(address).status_code for address in addresses} == {403}
    assert otto.post(ASK).status_code == 403
    assert LIST not in otto.get("/admin/").content.decode()
    assert LIST in audrey.get("/admin/").content.decode()
    otto.logout()
    assert {otto.get(address).status_code for address in addresses} == {302}


@pytest.mark.parametrize("address", ["add/", "{}/delete/"])
def test_exports_are_neither_typed_in_nor_deleted_by_another_way(root, events, address):
    assert root.get(LIST + address.format(made(root).pk)).status_code == 403


def test_deleting_stops_what_is_not_ready_and_is_noted(audrey, events):
    export = ask(audrey.user, "", "csv", timezone.now())
    move_changes()
    take_turn(soon(), time.monotonic() + 60, 1)
    assert ExportPiece.objects.exists()
    response = audrey.post(LIST, {"action": "delete_them", "_selected_action": [str(export.pk)]}, follow=True)
    assert "Deleted: 1." in response.content.decode()
    assert not Export.objects.exists()
    assert not ExportPiece.objects.exists()
    assert story(acts()[0], "").startswith("audrey deleted an export of the audit log: Everything. Asked for by audrey")


# The page


def test_the_page_says_why_one_failed(audrey):
    export = ask(audrey.user, "", "csv", timezone.now())
    Export.objects.filter(pk=export.pk).update(state=State.FAILED, problem="Ask for <less>.")
    assert "Ask for &lt;less&gt;." in page(audrey)


def test_an_empty_page_says_what_to_do(audrey):
    assert "There is none: search the audit log" in page(audrey)


def test_the_page_asks_the_same_however_many_there_are(root, events):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            page(root)
        return len(captured)

    made(root)
    queries()
    one = queries()
    for number in range(4):
        made(root, f"q=user%3Aann+status%3A{number}")
    assert queries() == one


def test_the_direct_export_and_that_in_the_background_are_offered_together(audrey, events):
    text = audrey.get("/admin/audit/auditevent/?q=user%3Aann&effect=deny").content.decode()
    assert f"{ASK}?q=user%3Aann&amp;effect=deny&amp;format=csv" in text
    assert "/admin/audit/auditevent/export/?q=user%3Aann&amp;effect=deny&amp;format=csv" in text


# In a browser


def test_an_export_is_watched_without_loading_the_page_again(desk, transactional_db):
    for days in range(10):
        make_event(username="ann", received_at=timezone.now() - timedelta(days=days, minutes=1))
    desk.goto("/admin/audit/auditevent/?q=user%3Aann")
    desk.get_by_role("button", name="CSV in the background").click()
    desk.get_by_text("waits for a worker").wait_for()
    desk.evaluate("window.same = true")
    move_changes()
    take_turn(soon(), time.monotonic(), 1)
    take_turn(soon(), time.monotonic(), 1)
    desk.get_by_text("%").wait_for()
    assert 0 < Export.objects.get().percent < 100
    work(soon(), time.monotonic() + 60)
    with desk.expect_download() as download:
        desk.get_by_role("link", name="Download audit-").click()
    assert desk.evaluate("window.same")
    desk.set_viewport_size({"width": 390, "height": 740})
    assert desk.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        "nothing is beside a phone's page"
    )
    export = Export.objects.get()
    assert download.value.suggested_filename == export.file_name
    assert download.value.path().read_bytes() == b"".join(pieces_of(export))
