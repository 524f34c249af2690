"""What staff do with the record that changes no row is in the audit log all the same, as changes are."""

from datetime import UTC
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DataError, transaction
from django.test import RequestFactory
from django.utils import timezone

from apps.access.acts import note
from apps.access.reasons import STAFF_ACTION
from apps.audit.asking.past import past
from apps.audit.browsing.query import parse
from apps.audit.browsing.search import find_events
from apps.audit.chain import STAFF_ACTION as OF_STAFF
from apps.audit.chain import entries
from apps.audit.keeping.retention import CHANGES
from apps.audit.models import AuditEvent, Batch
from apps.audit.moving.batches import content
from apps.audit.moving.changes import ACTS, move_changes
from apps.audit.narrative import headline
from apps.audit.recording.recorder import MAX_TEXT
from apps.audit.stories.events import changes as changes_meanwhile
from tests import factories
from tests.audit.test_changes import acts, changes, database, said  # noqa: F401 - fixture


@pytest.fixture
def request_of_tina(database):  # noqa: F811 - the fixture
    """A request of a member of staff who changed nothing yet."""
    tina = factories.make_user("tina", is_staff=True)
    changes()
    request = RequestFactory().post("/admin/x/", {"_why": "ticket 4711"}, REMOTE_ADDR="192.0.2.7")
    request.user = tina
    return request


def test_an_act_says_who_what_from_where_why_and_by_which_request(request_of_tina):
    note(request_of_tina, "export", "the audit log", told="As CSV", search="q=user%3Aann")
    (act,) = acts()
    assert (act.username, act.user_id, act.client_address) == ("tina", request_of_tina.user.pk, "192.0.2.7")
    assert (act.action, act.target, act.told, act.reason) == ("export", "the audit log", "As CSV", STAFF_ACTION)
    body = said(act)
    assert (body["why"], body["request"], body["after"]["search"]) == ("ticket 4711", "POST /admin/x/", "q=user%3Aann")


def test_acts_are_in_the_same_chain_and_class_as_changes(request_of_tina):
    note(request_of_tina, "read", "the audit log")
    (act,) = acts()
    last = Batch.objects.latest("number")
    assert [kept.kind for kept in entries(bytes(last.entries))] == [OF_STAFF]
    assert act.batch == last.number
    assert b"tina" in content(act)
    assert act.reason in CHANGES.reasons


@pytest.mark.parametrize(
    "search", ['target:"the audit log"', "action:export", "decision:changed", "user:tina", "reason:staff-action"]
)
def test_it_is_found_as_changes_are(request_of_tina, search):
    note(request_of_tina, "export", "the audit log")
    (act,) = acts()
    assert act in find_events(AuditEvent.objects.all(), parse(search), UTC, timezone.now())


def test_each_thing_that_it_is_done_with_has_an_event(request_of_tina):
    note(request_of_tina, "try-again", "record 1", "record 2")
    note(request_of_tina, "try-again")
    assert [act.target for act in acts()] == ["record 1", "record 2"]


def test_what_was_rolled_back_was_not_done(request_of_tina):
    with transaction.atomic():
        note(request_of_tina, "read", "the audit log")
        transaction.set_rollback(True)
    assert acts() == []


@pytest.mark.parametrize("text", ["\0", "\ud800", "x" * 5000])
def test_whatever_it_is_about_can_be_recorded(request_of_tina, text):
    note(request_of_tina, "export", f"a{text}", told=f"b{text}", search=f"c{text}")
    (act,) = acts()
    assert (act.target[0], act.told[0], said(act)["after"]["search"][0]) == ("a", "b", "c")
    assert max(map(len, (act.target, act.told))) <= MAX_TEXT


def test_every_act_has_a_word(request_of_tina):
    for action in ACTS:
        note(request_of_tina, action, "it")
    assert [headline(act) for act in acts()] == [f"tina {word} it" for word in ACTS.values()]


def test_an_act_beside_a_change_that_cannot_be_put_into_words_keeps_its_own(request_of_tina, monkeypatch, caplog):
    monkeypatch.setattr("apps.audit.moving.changes._said", lambda *_: 1 / 0)
    factories.make_user("alice")
    note(request_of_tina, "read", "the audit log", told="By the feed")
    move_changes()
    assert "cannot be put into words" in caplog.text
    act = AuditEvent.objects.get(action="read")
    assert (act.target, act.told) == ("the audit log", "By the feed")


def test_a_story_does_not_take_an_act_for_a_change_of_access(request_of_tina):
    began = timezone.now()
    note(request_of_tina, "read", "the audit log")
    assert len(acts()) == 1
    assert not changes_meanwhile(began, timezone.now()).exists()


def test_going_back_to_what_was_takes_no_act_for_a_change(request_of_tina):
    began = timezone.now()

    def known():
        with past(began) as was:
            return was.first, was.last, was.revision_at(timezone.now()), was.broken()

    before = known()
    note(request_of_tina, "read", "the audit log")
    assert known() == before, "while it waits"
    assert len(acts()) == 1
    assert known() == before, "when it is an event"


@pytest.mark.parametrize(
    ("command", "target"), [("export_access", "the access file"), ("export_evidence", "the record as evidence")]
)
def test_what_commands_take_out_is_noted_with_who_ran_them(request_of_tina, tmp_path, command, target):
    call_command(command, str(tmp_path / "file"), stdout=StringIO())
    (act,) = acts()
    assert (act.action, act.target) == ("export", target)
    assert act.username.endswith(f" by {command}")
    assert said(act)["command"] == command


def test_a_file_of_evidence_that_cannot_be_noted_is_not_written(request_of_tina, tmp_path, monkeypatch):
    monkeypatch.setattr("apps.access.acts._NOTE", "SELECT %s, %s, 1 / 0")
    with pytest.raises(DataError):
        call_command("export_evidence", str(tmp_path / "file"), stdout=StringIO())
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("command", [["verify_audit"], ["purge_audit", "--dry-run"], ["seal_audit"]])
def test_what_only_looks_is_no_act(request_of_tina, command):
    call_command(*command, stdout=StringIO())
    assert acts() == []
