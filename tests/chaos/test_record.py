"""What the fault run takes for lost, doubled or wrongly allowed; it has to notice each, and nothing else."""

import json
from collections import Counter

import pytest

from apps.simulator.policies import Answer, Outcome, Step, Verdict
from chaos.load import NUMBER, STRANGER, NumberedLedger, is_forbidden
from chaos.record import Comparison, Hook, compare, read_ledger

ALLOWED, REFUSED = ["allow", "allowed-by-rule", 1], ["deny", "no-rule", 1]


def found(hook, *events):
    """What is said of one hook and the events there are of it."""
    compared = compare({1: hook}, {1: list(events)} if events else {})
    return [name for name in ("missing", "doubled", "wrongly_allowed") if getattr(compared, name) == [1]]


def sent(*statuses, sendings=None, forbidden=False):
    return Hook(sendings or len(statuses), Counter(statuses), forbidden)


def many(event, count):
    return [*event[:2], count]


@pytest.mark.parametrize(
    ("hook", "events"),
    [
        (sent(200), [ALLOWED]),
        (sent(403), [REFUSED]),
        (sent(200, 200, 200, 200), [many(ALLOWED, 4)]),
        (sent(200, sendings=4), [many(ALLOWED, 4)]),  # three answers got lost
        (sent(200, sendings=4), [ALLOWED]),  # three did not arrive
        (sent(503), []),
        (sent(None), []),
        (sent(None), [ALLOWED]),  # nobody can know
        (sent(200, 403), [ALLOWED, REFUSED]),
        (sent(403, forbidden=True), [REFUSED]),
    ],
)
def test_what_must_be_there_is_there(hook, events):
    assert found(hook, *events) == []


@pytest.mark.parametrize(
    ("hook", "events", "wrong"),
    [
        (sent(200), [], "missing"),
        (sent(403), [], "missing"),
        (sent(200), [REFUSED], "missing"),
        (sent(200, 200, 200, 200), [many(ALLOWED, 3)], "missing"),
        (sent(200), [many(ALLOWED, 2)], "doubled"),
        (sent(200, 200), [ALLOWED, ALLOWED], "doubled"),  # that is one event and its count
        (sent(None), [many(ALLOWED, 2)], "doubled"),
        (sent(200, forbidden=True), [ALLOWED], "wrongly_allowed"),
        (sent(None, forbidden=True), [ALLOWED], "wrongly_allowed"),
    ],
)
def test_what_is_wrong_is_said(hook, events, wrong):
    assert found(hook, *events) == [wrong]


def test_an_event_of_a_hook_that_was_never_sent_is_one_too_many():
    assert compare({}, {7: [ALLOWED]}).doubled == [7]


def test_one_wrong_hook_makes_the_run_fail():
    numbers = {"missing": [], "doubled": [], "wrongly_allowed": []}
    counted = {"sent": 1, "sendings": 1, "statuses": Counter()}
    assert not Comparison(**numbers, **counted).wrong
    for name in numbers:
        assert Comparison(**{**numbers, name: [1]}, **counted).wrong


def test_the_ledger_knows_every_sending_answered_or_not(tmp_path):
    raw = json.dumps({NUMBER: 5, "name": "staff-room"}).encode()
    with NumberedLedger(tmp_path / "ledger") as ledger:
        for answer in (Answer(403, attempts=3), Answer(None, failure="connection refused")):
            ledger.write(1, Outcome("playStream", Step.BREAK_OFF, Verdict.REFUSED, {}, answer), raw)
    (hook,) = read_ledger(tmp_path / "ledger").values()
    assert hook == Hook(4, Counter({403: 1, None: 1}), forbidden=True)


@pytest.mark.parametrize(
    ("method", "body", "forbidden"),
    [
        ("connect", {"custom": STRANGER}, True),
        ("connect", {"custom": {"token": "tok-bob"}}, False),
        ("playStream", {"name": "staff-room"}, True),
        ("StreamStatusEvent", {"name": "staff-room"}, False),  # it has happened
        ("publishStream", {"name": "lesson-charlie"}, True),
        ("publishStream", {"name": "lesson-1"}, False),
    ],
)
def test_what_nobody_may_do(method, body, forbidden):
    assert is_forbidden(method, body) is forbidden
