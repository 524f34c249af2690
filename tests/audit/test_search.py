"""Hooks found by what staff typed, on a real log; each way through an index."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.access.reasons import STAFF_ACTION
from apps.audit.browsing import search
from apps.audit.browsing.names import completions
from apps.audit.browsing.query import QUALIFIERS, Query, Term, parse
from apps.audit.browsing.search import _CONDITIONS, _OF_RULE, FEW, OF_HOOKS, find_events
from apps.audit.models import AuditEvent
from tests import factories
from tests.admin.conftest import make_event

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def found(text):
    query = parse(text)
    assert not query.problems, query.problems
    return sorted(find_events(AuditEvent.objects.all(), query, UTC, NOW).values_list("status", flat=True))


@pytest.fixture(autouse=True)
def log():
    """Five hooks; their `status` names them."""
    factories.make_node("Hw1@10.0.0.1", name="edge-1")
    make_event(status="a", username="ann", target="lobby", received_at=NOW - timedelta(hours=1))
    make_event(
        status="b", username="bob", target="lobby-2", effect="allow", reason="allowed-by-rule", rule_ids=[7],
        client_address="10.1.2.3", received_at=NOW - timedelta(days=2),
    )  # fmt: skip
    make_event(
        "call", status="c", username="ann", action="call", target="0049 30 1234", number="+49301234", call_id="C1",
        client_address="2001:db8::1", received_at=NOW - timedelta(days=9),
    )  # fmt: skip
    make_event(
        "StreamStatusEvent", status="d", username="", effect="allow", reason="not-refusable", action="notify",
        target="x", node_id="Hw1@10.0.0.1", received_at=NOW,
    )  # fmt: skip
    make_event(
        "sendBugReport", status="e", username="bobby", target="", app_key="other", logged_rule_ids=[9],
        received_at=NOW - timedelta(days=30),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("user:ann", "ac"),
        ("user:bob", "b"),
        ("user:bob*", "be"),
        ("user:ann user:bob", "abc"),
        ("user:ann stream:lobby", "a"),
        ("stream:lobby*", "ab"),
        ("stream:0049*", ""),
        ("target:0049*", "c"),
        ("-user:ann", "bde"),
        ("user:bob* -user:bobby", "b"),
        ("decision:refused", "ace"),
        ("decision:allowed", "b"),
        ("decision:noted", "d"),
        ("reason:no-rule user:ann", "ac"),
        ("number:+49301234", "c"),
        ('number:"00 49 30 1234"', "c"),
        ("number:+49*", "c"),
        ("number:+43*", ""),
        ("ip:10.0.0.0/8", "b"),
        ("ip:10.1.2.3", "b"),
        ("-ip:10.0.0.0/8 user:bob*", "e"),
        ("ip:2001:db8::/32", "c"),
        ("node:edge-1", "d"),
        ("node:edge*", "d"),
        ("node:Hw1@10.0.0.1", "d"),
        ("node:10.0.0.1", "d"),
        ("node:10.0*", "d"),
        ("node:0.0.1", ""),
        ("app:other", "e"),
        ("method:CALL", "c"),
        ("method:submitBugReport", "e"),
        ("method:Stream*", "d"),
        ("call:C1", "c"),
        ("status:a", "a"),
        ("rule:7", "b"),
        ("rule:9", "e"),
        ("action:call", "c"),
        ("after:24h before:now", "a"),
        ("after:2026-11-20 before:2026-11-26T11:30", "ab"),
        ("lobby", "a"),
        ("C1", "c"),
        ("ann lobby", "a"),
        ("-lobby user:ann", "c"),
        ("100%", ""),
        ("user:an_*", ""),
    ],
)
def test_a_search_finds_what_it_says(text, names):
    assert found(text) == list(names)


@pytest.mark.parametrize("negated", [False, True])
def test_a_search_is_written_down_in_proportion_to_its_words(negated):
    query = Query(tuple(Term("", f"a{number}", negated) for number in range(1000)))
    began = time.thread_time()
    str(find_events(AuditEvent.objects.all(), query, UTC, NOW).query)
    assert time.thread_time() - began < 1.0  # where each word copies those before it, some seconds


def test_every_qualifier_has_its_condition_and_its_completions():
    assert _CONDITIONS.keys() == QUALIFIERS.keys() == completions().keys()


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("user:ann", "username"),
        ("user:ann*", "username"),
        ("target:lob*", "target"),
        ("number:+49*", "number"),
        ("ip:10.0.0.0/8", "client_address"),
        ("call:C1", "call_id"),
        ("reason:no-rule decision:refused", "reason"),
        ("app:other", "app_key"),
    ],
)
def test_a_search_goes_through_an_index(text, column):
    events = find_events(AuditEvent.objects.order_by("-received_at"), parse(text), UTC, NOW)
    for number in range(300):  # enough for an index to be worth it, whatever was in the table before
        name = f"{number:03}"
        make_event(
            username=name, target=name, number=f"+1{name}", call_id=name, client_address=f"172.16.1.{number % 250}",
            effect="allow", reason="allowed-by-rule",
        )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_auditevent")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = on")
    assert re.search(rf"Index Cond: \(.*\b{column}\b", events.explain())  # partitions name their indexes themselves


def change(**fields):
    """Something that staff changed."""
    columns = {"effect": "allow", "reason": STAFF_ACTION, "action": "change", "node_id": "", "app_key": ""}
    return make_event("", **{**columns, "session_id": "", "username": "tina", "target": "user “ann”", **fields})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("stream:user*", 0),
        ("target:user*", 1),
        ('target:"user “ann”"', 1),
        ("action:change", 1),
        ("reason:staff-action", 1),
        ("user:tina", 1),
        ("user:tina -stream:user*", 1),
        ("user:tina -app:defaultApp", 1),
        ("user:tina -node:none", 1),
        ("user:tina decision:allowed", 0),
    ],
)
def test_a_change_is_found_by_what_it_has(text, number):
    change(status="z")
    assert found(text) == ["z"] * number


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("why:ticket-17", "x"),
        ("why:TICKET", "xy"),
        ('why:"für Ärzte"', "y"),
        ('why:"FÜR ÄRZTE"', "y"),
        ("why:ticket*", "xy"),
        ("why:100%", "x"),
        ("why:phone", ""),
        ("why:ticket -why:17", "y"),
        ("decision:changed -why:ticket", "vwz"),
        ("why:17 user:tina", "x"),
        ("why:17 user:ann", ""),
    ],
)
def test_what_staff_did_is_found_by_any_part_of_the_reason_they_gave(text, names):
    for status, body in {
        "v": b"\xff, and no JSON",
        "w": b'["why", "ticket"]',
        "x": b'{"note": "phone", "why": "Ticket-17, 100%"}',
        "y": '{"why": "ticket für Ärzte"}'.encode(),
        "z": b"{}",
    }.items():
        change(status=status, body=body)
    make_event(status="h", body=b'{"why": "ticket-17"}')  # a hook, whose body is the client's
    assert found(text) == list(names)


def test_reasons_are_looked_for_in_what_staff_did_alone():
    """That has an index, and there may be ten million hooks."""
    for number in range(600):
        change(body=b'{"why": "phone"}') if number % 20 == 0 else make_event()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_auditevent")
        cursor.execute("SET LOCAL enable_seqscan = off")
    for text in ("why:ticket", "why:phone before:now"):
        plan = find_events(AuditEvent.objects.order_by("-received_at", "-id"), parse(text), UTC, NOW)[:101].explain()
        assert re.search(r"Index Cond: \(.*\breason\b", plan), plan


ALIKE = {
    "method": "play", "action": "change", "target": "front door", "username": "tina", "app_key": "school",
    "node_id": "n", "session_id": "s", "call_id": "c", "media_session_id": "m", "status": "z", "effect": "allow",
    "client_address": "10.1.2.9", "rule_ids": [12], "body": b'{"why": "by phone"}', "while_away": True,
    "received_at": NOW - timedelta(days=400),
}  # fmt: skip
"""What every qualifier of SEARCHES finds, whoever it is about."""

SEARCHES = {
    "user": "tina", "stream": '"front door"', "target": '"front door"', "number": "+43", "method": "play",
    "action": "change", "ip": "10.1.2.9", "app": "school", "node": "n", "session": "s", "call": "c", "media": "m",
    "status": "z", "rule": "12", "why": "phone", "while": "away", "after": "2025-10", "before": "2025-11",
}  # fmt: skip


@pytest.mark.parametrize("key", SEARCHES)
def test_what_hooks_alone_have_finds_no_change_that_looks_like_one(key):
    number = "+43" if key == "number" else ""
    hook = make_event(**ALIKE, number=number, reason="allowed-by-rule")
    act = make_event(**ALIKE, number=number, reason=STAFF_ACTION)
    query = parse(f"{key}:{SEARCHES[key]} before:2025-11 after:2025-10")
    events = find_events(AuditEvent.objects.all(), query, UTC, NOW)
    fitting = {hook} if key in OF_HOOKS else {act} if key == "why" else {hook, act}
    assert set(events) == fitting
    without = find_events(AuditEvent.objects.filter(pk=act.pk), parse(f"-{key}:{SEARCHES[key]}"), UTC, NOW)
    assert set(without) == {act} - fitting


def test_every_qualifier_is_of_hooks_alone_or_not():
    assert SEARCHES.keys() == QUALIFIERS.keys() - {"decision", "reason"}


@pytest.mark.parametrize(
    "text",
    [
        "decision:allowed",
        "reason:allowed-by-rule",
        "stream:n*",
        "target:n007",
        "number:+49*",
        "action:play",
        "status:none",
        "media:none",
        "app:defaultApp",
        "node:n* method:play*",
    ],
)
def test_no_change_is_looked_at_where_none_can_be_found(text):
    """Thousands of them, each in another block, may be newer than the newest hook that is looked for."""
    for number in range(300):
        change() if number % 2 else make_event(target=f"n{number}")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_auditevent")
        for way in ("seqscan", "bitmapscan", "sort", "incremental_sort"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
    events = find_events(AuditEvent.objects.order_by("-received_at", "-id"), parse(text), UTC, NOW)
    plan = events.explain()
    index = re.search(r"Index Scan using (\S+) on audit_auditevent_first", plan)[1]  # the others are empty
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [index])
        assert "WHERE (NOT (reason = 'staff-action'" in cursor.fetchone()[0], plan


# Rules


def test_a_rule_is_found_whether_it_decided_seldom_or_often(monkeypatch):
    monkeypatch.setattr(search, "SELDOM", 2)
    make_event(status="f", rule_ids=[5, 7], received_at=NOW)
    assert found("rule:7") == ["b", "f"]
    assert found("rule:7 -rule:5") == ["b"]
    assert 'id" IN' in sql_of("rule:7")
    make_event(status="g", logged_rule_ids=[7], received_at=NOW)
    make_event(status="changed", effect="allow", reason=STAFF_ACTION, target="rule 7", rule_ids=[7], received_at=NOW)
    assert found("rule:7") == ["b", "f", "g"], "not its changes"
    assert found('target:"rule 7"') == ["changed"]
    assert "@>" in sql_of("rule:7")
    assert found("rule:8") == []


def test_how_often_a_rule_decided_is_looked_for_through_an_index():
    """Without, Postgres would read all of the log for a rule that never did."""
    for _ in range(300):
        make_event(rule_ids=[1], received_at=NOW)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE audit_auditevent")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {_OF_RULE}", {"rule": [8], "most": 10})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Cond: (rule_ids @>" in plan, plan
    assert "Index Cond: (logged_rule_ids @>" in plan, plan
    assert "Filter" not in plan, plan


def test_looking_for_a_rule_leaves_the_transaction_as_it_was():
    found("rule:7")
    with connection.cursor() as cursor:
        cursor.execute("SHOW enable_seqscan")
        assert cursor.fetchone() == ("on",)


# Networks


def test_a_network_is_found_whether_the_log_has_few_of_its_addresses_or_many():
    for number in range(FEW):
        make_event(status="f", client_address=f"10.9.0.{number}", received_at=NOW)
    assert found("ip:10.9.0.0/24") == ["f"] * FEW
    assert 'client_address" IN' in sql_of("ip:10.9.0.0/24")
    make_event(status="g", client_address="10.9.0.255", received_at=NOW)
    make_event(status="outside", client_address="10.9.1.0", received_at=NOW)
    assert found("ip:10.9.0.0/24") == [*["f"] * FEW, "g"]
    assert "<<=" in sql_of("ip:10.9.0.0/24")
    assert found("ip:10.1.0.0/16") == ["b"]


def test_a_network_that_the_log_has_nothing_of_is_not_looked_for():
    """Postgres would go through all of the log."""
    query = parse("ip:172.16.0.0/12")
    with CaptureQueriesContext(connection) as asked:
        assert not list(find_events(AuditEvent.objects.all(), query, UTC, NOW))
    assert ["WITH RECURSIVE" in one["sql"] for one in asked] == [True]
    assert found("-ip:172.16.0.0/12") == ["a", "b", "c", "d", "e"]


def sql_of(text):
    return str(find_events(AuditEvent.objects.all(), parse(text), UTC, NOW).query)
