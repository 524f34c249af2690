"""The table of protocol.md 7, cell by cell, and what restClientConfig does."""

import pytest

from apps.protocol.methods import METHODS, Kind
from apps.protocol.policy import rest_client_config
from apps.simulator.policies import (
    DEFAULT,
    IDENTITY,
    PLAYERS,
    REPORTS_THROUGH,
    Answer,
    Entry,
    Step,
    Told,
    Verdict,
    decide,
    entries,
    kind_of,
    seen,
    sent,
    unasked,
)

BODY = {"nodeId": "n", "appKey": "a", "sessionId": "s", "name": "lobby", "sdp": "v=0"}
OK = Answer(200, b'{"name": "real"}')
FORBIDDEN = Answer(403, b'{"error": "no-rule"}')
FAIL = Entry(fails=True)

ERRORS = {
    "403": FORBIDDEN,
    "403 without a body": Answer(403, b"", "text/html"),
    "401": Answer(401, b"{}"),
    "404": Answer(404, b"{}"),
    "500": Answer(500, b"{}"),
    "503": Answer(503, b"{}"),
    "201": Answer(201, b"{}"),
    "204": Answer(204),
    "302": Answer(302),
    "no answer": Answer(failure="no answer within 15 s"),
    "empty 200": Answer(200, b""),
    "200 that is no JSON": Answer(200, b"<html>"),
    "200 that is no UTF-8": Answer(200, b'{"a": "\xff"}'),
    "200 with an array": Answer(200, b"[]"),
    "200 with null": Answer(200, b"null"),
    "200 that nests too deep": Answer(200, b"[" * 100_000),
    "200 labelled as HTML": Answer(200, b"{}", "text/html"),
    "200 without a label": Answer(200, b"{}", ""),
}
every_policy = pytest.mark.parametrize("entry", [DEFAULT, FAIL], ids=["LOG", "FAIL"])


def after_every_error(method, entry):
    """What WCS does after each kind of error: always the same, or the test fails."""
    outcomes = {words: decide(method, entry, BODY, answer) for words, answer in ERRORS.items()}
    assert not [words for words, outcome in outcomes.items() if outcome.verdict is Verdict.ALLOWED]
    ends = {(outcome.step, outcome.sip_status, told(outcome)) for outcome in outcomes.values()}
    assert len(ends) == 1, outcomes
    return outcomes["403"]


def told(outcome):
    return (outcome.told.event, outcome.told.status) if outcome.told else None


DIRECT = [row.name for row in METHODS if row.kind is Kind.DIRECT and row.name not in PLAYERS]
EVENTS = [row.name for row in METHODS if row.kind is Kind.EVENT and row.name != "StreamKeepAliveEvent"]
INCOMING = [row.name for row in METHODS if row.kind is Kind.INCOMING]


@every_policy
def test_connect_is_declined_on_any_error_whatever_the_policy(entry):
    outcome = after_every_error("connect", entry)
    assert outcome.step is Step.DECLINE
    assert told(outcome) == ("ConnectionStatusEvent", "FAILED")


@pytest.mark.parametrize("method", DIRECT)
def test_a_direct_invocation_under_fail_is_broken_off(method):
    outcome = after_every_error(method, FAIL)
    assert outcome.step is Step.BREAK_OFF
    assert told(outcome) == (REPORTS_THROUGH.get(method, "ErrorEvent"), "FAILED")


@pytest.mark.parametrize("method", [*DIRECT, *EVENTS, *INCOMING, "StreamKeepAliveEvent"])
def test_under_log_everything_goes_on_and_nobody_is_told(method):
    outcome = after_every_error(method, DEFAULT)
    assert outcome.step is Step.GO_ON
    assert told(outcome) is None
    assert outcome.sip_status is None
    assert outcome.experience == "unheeded"


@pytest.mark.parametrize("method", EVENTS)
def test_an_event_under_fail_goes_on_and_the_client_gets_an_error_event(method):
    outcome = after_every_error(method, FAIL)
    assert outcome.step is Step.GO_ON
    assert outcome.told.event == "ErrorEvent"


@pytest.mark.parametrize("method", INCOMING)
def test_an_incoming_invocation_under_fail_gives_the_caller_a_sip_403(method):
    outcome = after_every_error(method, FAIL)
    assert outcome.step is Step.BREAK_OFF
    assert outcome.sip_status == 403
    assert outcome.told == Told(REPORTS_THROUGH[method], "FAILED", "SIP 403 FORBIDDEN")


def test_a_keep_alive_under_fail_stops_the_stream():
    outcome = after_every_error("StreamKeepAliveEvent", FAIL)
    assert outcome.step is Step.BREAK_OFF
    assert outcome.told.info == "Terminated by keep-alive"


@every_policy
@pytest.mark.parametrize("method", PLAYERS)
def test_a_player_without_a_session_is_refused_whatever_the_policy(method, entry):
    outcome = after_every_error(method, entry)
    assert outcome.step is Step.BREAK_OFF
    assert told(outcome) == PLAYERS[method]


@every_policy
@pytest.mark.parametrize("row", METHODS, ids=lambda row: row.name)
def test_a_readable_200_lets_every_method_go_on(row, entry):
    outcome = decide(row.name, entry, BODY, OK)
    assert (outcome.step, outcome.verdict, outcome.told) == (Step.GO_ON, Verdict.ALLOWED, None)


def test_a_method_nobody_knows_is_taken_for_a_direct_invocation():
    assert kind_of("brandNew") is Kind.DIRECT
    assert decide("brandNew", FAIL, BODY, FORBIDDEN).told.event == "ErrorEvent"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(FORBIDDEN, Verdict.REFUSED), (Answer(500), Verdict.FAILED), (Answer(), Verdict.FAILED)],
)
def test_only_a_403_is_a_refusal(answer, verdict):
    assert decide("playStream", FAIL, BODY, answer).verdict is verdict


# What is taken over


def test_connect_takes_over_every_returned_field_but_the_policy_and_the_ids():
    answer = Answer(200, b'{"sipLogin": "10007", "name": "x", "sessionId": "other", "restClientConfig": {"a": {}}}')
    body = decide("connect", DEFAULT, BODY, answer).body
    assert body == BODY | {"sipLogin": "10007", "name": "x"}


def test_a_field_that_the_answer_to_connect_leaves_out_stays():
    assert decide("connect", DEFAULT, BODY, Answer(200, b"{}")).body == BODY


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (Entry(policy="OVERWRITE", overwrite=("name",)), "real"),
        (Entry(policy="OVERWRITE", overwrite=("width",)), "lobby"),
        (Entry(policy="OVERWRITE"), "lobby"),
        (Entry(policy="NOTIFY", overwrite=("name",)), "lobby"),
        (Entry(policy="overwrite", overwrite=("name",)), "lobby"),
        (DEFAULT, "lobby"),
    ],
)
def test_only_overwrite_with_the_field_listed_takes_it_over(entry, name):
    assert decide("playStream", entry, BODY, OK).body["name"] == name


def test_nothing_is_taken_over_from_a_refusal():
    entry = Entry(policy="OVERWRITE", overwrite=("name",))
    assert decide("playStream", entry, BODY, Answer(403, b'{"name": "real"}')).body == BODY


@pytest.mark.parametrize("name", IDENTITY)
def test_the_ids_are_never_taken_over(name):
    entry = Entry(policy="OVERWRITE", overwrite=(name,))
    answer = Answer(200, b'{"%s": "changed"}' % name.encode())
    assert decide("playStream", entry, BODY, answer).body == BODY


# restClientConfig


def test_rest_exclude_is_what_the_backend_does_not_get():
    assert "sdp" not in sent(BODY, Entry(rest_exclude=("sdp",)))
    assert "sdp" in seen(BODY, Entry(rest_exclude=("sdp",)))


def test_client_exclude_is_what_the_client_does_not_see():
    assert "name" not in seen(BODY, Entry(client_exclude=("name",)))
    assert "name" in sent(BODY, Entry(client_exclude=("name",)))


@pytest.mark.parametrize("spelling", ["DISABLE", "DISABLED"])
def test_a_disabled_method_is_not_asked(spelling):
    entry = entries({"playStream": {"restPolicy": spelling}})["playStream"]
    assert entry.disabled
    assert unasked("playStream", BODY).experience == "allowed"


def test_an_entry_is_read_as_wcs_writes_it():
    config = {
        "playStream": {
            "clientExclude": "a,b",
            "restExclude": "sdp",
            "restOnError": "FAIL",
            "restPolicy": "OVERWRITE",
            "restOverwrite": "name,width",
        }
    }
    assert entries(config) == {"playStream": Entry(("a", "b"), ("sdp",), True, "OVERWRITE", ("name", "width"))}


@pytest.mark.parametrize("config", [None, "FAIL", [], 1, {}, {"playStream": "FAIL"}, {"playStream": None}])
def test_a_config_that_cannot_be_read_leaves_wcs_open(config):
    assert entries(config).get("playStream", DEFAULT) == DEFAULT


@pytest.mark.parametrize("entry", [{}, {"restOnError": "fail"}, {"restOnError": True}, {"restOnError": "FAIL "}])
def test_whatever_is_not_fail_is_log(entry):
    assert entries({"playStream": entry})["playStream"].fails is False


def test_spaces_in_the_lists_are_not_forgiven():
    assert entries({"playStream": {"restExclude": "sdp, record"}})["playStream"].rest_exclude == (
        "sdp",
        " record",
    )


# Our own policy, seen from WCS


@pytest.mark.parametrize("row", [row for row in METHODS if row.refusable], ids=lambda row: row.name)
def test_under_our_policy_a_refusal_works_for_every_method_that_can_be_refused(row):
    entry = entries(rest_client_config())[row.name]
    assert not decide(row.name, entry, BODY, FORBIDDEN).goes_on


@pytest.mark.parametrize("row", [row for row in METHODS if row.kind is Kind.EVENT], ids=lambda row: row.name)
def test_under_our_policy_no_fault_of_an_event_reaches_the_client(row):
    if not row.refusable:
        entry = entries(rest_client_config())[row.name]
        assert decide(row.name, entry, BODY, Answer(500)).told is None
