"""The table of methods, compared with what the vendor documents (protocol.md 5)."""

import pytest

from apps.protocol.methods import ACTIONS, METHODS, NOTIFY, RUNNING_STREAM, STREAM_ACTIONS, find

CONNECT = {"connect": "connect"}
DIRECT = {  # 5.1: can usefully be refused
    "call": "call",
    "answer": "answer",
    "hold": "hold",
    "unhold": "hold",
    "transfer": "transfer",
    "sendDTMF": "dtmf",
    "sendMessage": "message",
    "sendIMDN": "imdn",
    "subscribe": "subscribe",
    "sendXcapRequest": "xcap",
    "publishStream": "publish",
    "playStream": "play",
    "playHLS": "play",
    "playRTSP": "play",
    "OnDataEvent": "data",
    "sendBugReport": "bug-report",
}
LETTING_GO = {"hangup": "call", "unPublishStream": "publish", "stopStream": "play"}  # 5.2
EVENTS = dict.fromkeys(  # 5.4, but for the keep-alive
    (
        "ConnectionStatusEvent",
        "RegistrationStatusEvent",
        "CallStatusEvent",
        "TransferStatusEvent",
        "MessageStatusEvent",
        "SubscriptionStatusEvent",
        "XcapStatusEvent",
        "StreamStatusEvent",
        "DataStatusEvent",
        "BugReportStatusEvent",
        "sendStreamEvent",
        "StreamEvent",
    ),
    NOTIFY,
)
KEEP_ALIVE = {"StreamKeepAliveEvent": RUNNING_STREAM}
INCOMING = {  # 5.5
    "OnCallEvent": "receive-call",
    "OnMessageEvent": "receive-message",
    "OnTransferEvent": "receive-transfer",
}
ELSEWHERE_DIRECT = {  # 5.6
    "snapshot": "play",
    "availableStream": "play",
    "pushLogs": "bug-report",
    "sessionDebug": "bug-report",
}
ELSEWHERE_LETTING_GO = {"pauseStream": "play"}
ELSEWHERE_EVENTS = dict.fromkeys(
    (
        "SessionDebugStatusEvent",
        "ErrorStatusEvent",
        "RecordingStatusEvent",
        "StreamsStatEvent",
        "StreamTranscodingGroupEvent",
    ),
    NOTIFY,
)
EXPECTED = [
    (name, kind, refusal, action)
    for kind, refusal, methods in (
        ("connect", "effective", CONNECT),
        ("direct", "effective", DIRECT | ELSEWHERE_DIRECT),
        ("direct", "pointless", LETTING_GO | ELSEWHERE_LETTING_GO),
        ("event", "impossible", EVENTS | ELSEWHERE_EVENTS),
        ("event", "effective", KEEP_ALIVE),
        ("incoming", "effective", INCOMING),
    )
    for name, action in methods.items()
]
SPELLINGS = [spelling for method in METHODS for spelling in (method.name, *method.aliases)]


@pytest.mark.parametrize(("name", "kind", "refusal", "action"), EXPECTED)
def test_every_documented_method_is_in_the_table(name, kind, refusal, action):
    method = find(name)
    assert (method.kind, method.refusal, method.action) == (kind, refusal, action)
    assert method.refusable is (refusal == "effective")


def test_the_summary_names_36_methods_and_the_table_has_no_others_but_those_of_5_6():
    summary = CONNECT | DIRECT | LETTING_GO | EVENTS | KEEP_ALIVE | INCOMING
    assert len(summary) == 36
    assert {find(name) for name, *_ in EXPECTED} == set(METHODS)
    assert len(METHODS) == len(EXPECTED) == 46


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_method_is_found_in_any_letter_case(spelling):
    method = find(spelling)
    assert spelling in (method.name, *method.aliases)
    assert find(spelling.upper()) is find(spelling.lower()) is find(spelling.swapcase()) is method


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("sendDTMF", "sendDtmf"),
        ("sendBugReport", "submitBugReport"),
        ("ErrorEvent", "ErrorStatusEvent"),
    ],
)
def test_a_method_is_found_by_its_other_spelling(alias, name):
    assert find(alias).name == name


def test_no_spelling_stands_twice():
    assert len({method.name.lower() for method in METHODS}) == len(METHODS)
    exact = set(SPELLINGS)
    assert len(exact) == len(SPELLINGS)
    for method in METHODS:
        others = {
            spelling.lower() for other in METHODS if other is not method for spelling in (other.name, *other.aliases)
        }
        assert not others & {spelling.lower() for spelling in (method.name, *method.aliases)}


@pytest.mark.parametrize("name", ["", "publish", "publishStream ", "publishStream/", "connect\x00", "\u017fendMessage"])
def test_what_only_looks_like_a_method_is_none(name):
    assert find(name) is None


def test_staff_can_grant_each_action_that_a_refusable_method_attempts():
    attempted = {method.action for method in METHODS if method.refusable} - {RUNNING_STREAM}
    assert attempted | set(STREAM_ACTIONS) == set(ACTIONS)
    assert len(set(ACTIONS)) == len(ACTIONS)


def test_only_methods_without_a_session_are_decided_by_credentials_alone():
    assert {method.name for method in METHODS if method.identity == "credentials"} == {"connect", "playHLS", "playRTSP"}
