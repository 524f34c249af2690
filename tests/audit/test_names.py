"""Names that the search box offers: what stands in the log, a step through an index each."""

import re
from datetime import UTC

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.access.reasons import STAFF_ACTION
from apps.access.rule_rows import number_plan
from apps.audit.browsing.names import LONGEST, MOST, NAMED, STEPS, NoNames, completions, names, statement
from apps.audit.browsing.query import QUALIFIERS, parse
from apps.audit.browsing.search import find_events
from apps.audit.models import AuditEvent
from tests import factories
from tests.admin.conftest import make_event

pytestmark = pytest.mark.django_db


def offered(term, *, all_nodes=False):
    of, _, begins = term.partition(":")
    return names(of, begins, all_nodes=all_nodes)


def test_a_name_is_offered_once_in_order_however_often_it_came():
    for username in ("bob", "anna", "ann", "ann", "Ann", "ann"):
        make_event(username=username)
    assert offered("user:an") == ["user:ann", "user:anna"]
    assert offered("user:A") == ["user:Ann"]


def test_who_never_came_is_not_offered():
    factories.make_user("ann")
    assert offered("user:a") == []


def test_nothing_is_offered_before_a_letter_is_typed():
    make_event(username="ann")
    for begins in ("", "a\0", "a" * (LONGEST + 1)):
        assert names("user", begins, all_nodes=True) == []


def test_signs_of_a_pattern_stand_for_themselves():
    make_event(username="ann")
    make_event(username="a_n%\\x")
    assert offered("user:a_n") == ["user:a_n%\\x"]
    assert offered("user:a_n%\\") == ["user:a_n%\\x"]
    assert offered("user:%") == []


def test_what_staff_do_is_offered_as_what_hooks_ask_for_is():
    offered = completions()["action"]
    assert {"publish", "call", "change", "delete", "export", "acknowledge", "read"} <= set(offered)
    for action in offered:
        assert not parse(f"action:{action}").problems
    assert len(set(offered)) == len(offered)


def test_streams_are_what_no_number_belongs_to():
    make_event(target="4-corners")
    make_event("call", target="49 30 1234", number="+49301234")
    assert offered("stream:4") == ["stream:4-corners"]
    assert offered("target:4") == ["target:4-corners", 'target:"49 30 1234"']


def make_change(target):
    return make_event(target=target, method="", action="change", reason=STAFF_ACTION, username="root")


def test_what_staff_changed_is_no_stream_and_is_offered_as_what_it_is():
    make_change("stream “lobby”")
    assert offered("stream:stream") == []
    (term,) = offered("target:stream")
    assert find_events(AuditEvent.objects.all(), parse(term), UTC, timezone.now()).count() == 1


def test_streams_are_found_behind_many_changes_by_staff():
    for number in range(STEPS + 5):
        make_change(f"stream “{number:03}”")
    make_event(target="streaming")
    assert offered("stream:stream") == ["stream:streaming"]


def test_streams_are_found_behind_many_numbers():
    for number in range(MOST + 5):
        make_event("call", target=f"1{number:03}", number=f"1{number:03}")
    make_event(target="1st-floor")
    assert offered("stream:1") == ["stream:1st-floor"]


@pytest.fixture
def dialled_in_germany(settings):
    """Numbers are read as there, whatever plan was read from the settings before."""
    settings.COUNTRY_CODE = "49"
    number_plan.cache_clear()
    yield
    number_plan.cache_clear()


def test_numbers_are_offered_in_their_one_form_however_they_are_typed(dialled_in_germany):
    make_event("call", target="030 1234", number="+49301234")
    make_event(target="+49-stream")
    for begins in ("+4930", "030", "004930"):
        assert names("number", begins, all_nodes=False) == ["number:+49301234"]


def test_nodes_are_offered_by_their_names_and_by_their_ids():
    for number in range(60):
        factories.make_node(f"Hw1@10.0.0.{number}", name=f"edge-{number:02}")
    assert offered("node:edge-5", all_nodes=True) == [f"node:edge-5{number}" for number in range(10)]
    assert offered("node:EDGE-59", all_nodes=True) == ["node:edge-59"]
    assert offered("node:hw1@10.0.0.59", all_nodes=True) == ["node:Hw1@10.0.0.59"]
    assert offered("node:10.0.0.59", all_nodes=True) == ["node:10.0.0.59"], "as the list shows it"
    assert len(offered("node:Hw1", all_nodes=True)) == MOST


def test_a_node_that_never_sent_anything_is_offered_to_whoever_may_see_nodes():
    factories.make_node("Hw1@10.0.0.1", name="edge-1")
    factories.make_node("Hw1@10.0.0.2", name="edge-2", first_seen_at="2026-11-01T00:00Z")
    assert offered("node:edge") == ["node:edge-2"]
    assert offered("node:edge", all_nodes=True) == ["node:edge-1", "node:edge-2"]


@pytest.mark.parametrize(
    "name", ["ann", "Ann Lee", "ann:lee", "-ann", "an'n", "ann\u00a0lee", 'Ann "Lee"', "an*", "a\nn"]
)
def test_what_is_offered_finds_the_name_or_is_not_offered(name):
    make_event(username=name)
    for text in names("user", name[0], all_nodes=False):
        query = parse(text)
        assert [(term.key, term.value, term.is_prefix) for term in query.terms] == [("user", name, False)]
        assert not query.problems
    assert bool(names("user", name[0], all_nodes=False)) is not any(sign in name for sign in '"*\n')


def test_only_so_many_are_offered():
    for number in range(MOST + 5):
        make_event(username=f"user-{number:02}")
    assert offered("user:user") == [f"user:user-{number:02}" for number in range(MOST)]


def test_what_has_no_names_says_so():
    for of in ("session", "call", "ip", "password", ""):
        with pytest.raises(NoNames, match="Give one of user, stream, target, number, node"):
            names(of, "a", all_nodes=True)
    assert set(NAMED) <= QUALIFIERS.keys()


def test_one_statement_looks_into_the_log_and_one_at_nodes():
    make_event(username="ann")
    for of in NAMED:
        with CaptureQueriesContext(connection) as captured:
            names(of, "a", all_nodes=True)
        looks = [query["sql"] for query in captured if "audit_auditevent" in query["sql"] or "node" in query["sql"]]
        assert len(looks) == 1, of


@pytest.mark.parametrize(("of", "column"), [("user", "username"), ("stream", "target"), ("number", "number")])
def test_each_step_goes_through_an_index(of, column):
    for number in range(300):
        make_event(username=f"ann-{number}", target=f"ann-{number}", number="" if of == "stream" else f"ann-{number}")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_auditevent")
        cursor.execute(f"EXPLAIN {statement(of)}", {"begins": "ann-%", "steps": 100, "most": 20})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert f"({column} ~>=~ 'ann-'::text)" in plan, plan
    assert f"({column} ~>~ found_1.name)" in plan, plan
    assert not re.search(r"Seq Scan|Sort (?!Key)", plan), plan
