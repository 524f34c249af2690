"""One ban, tried through every kind of hook, protocol and form of credential: refused in every cell.

Alice may do everything, until staff ban her. Who comes in a session comes in hers; a hook with a credential of its own
brings hers into Bob's session, who is not banned. The table in docs/proofs.md is this one.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from apps.access import facts, identity
from apps.access.compile import Streams
from apps.access.facts import Identity
from apps.live.calls import Calls
from apps.protocol import methods
from apps.protocol.messages import ABSENT, HookCall
from apps.protocol.methods import ACTIONS, METHODS, NUMBER_ACTIONS, RUNNING_STREAM, STREAM_ACTIONS, find
from apps.streams.models import StreamGroup
from tests import factories
from tests.test_docs import rows

PAYLOADS = Path(__file__).parent.parent / "payloads"
SOURCE = "rtsp://192.168.1.60:554/live.sdp"
ADDRESS = "rtsp://192.168.1.101:5554/lobby"
SPELLINGS = ("+49900123456", "0049 900 123456", "sip:+49900123456@pbx.example", "tel:+49-900-123-456")
PASSWORD = "alices-password"


class Way(NamedTuple):
    """A hook as it comes in: its body from the wire, and what is changed of it."""

    name: str
    payload: str
    changes: dict = {}  # never changed itself
    protocol: str = ""  # where its address may have parameters

    @property
    def method(self):
        return find(self.payload.split(".")[0])


STREAM_WAYS = (
    Way("publish, WebRTC", "publishStream"),
    Way("publish, RTMP", "publishStream.rtmp", protocol="RTMP"),
    Way("publishing goes on", "StreamKeepAliveEvent"),
    Way("play, WebRTC", "playStream"),
    Way("play, RTMP", "playStream.rtmp", protocol="RTMP"),
    Way("play, VOD player", "playStream.vod", {"name": "lobby"}),
    Way("play, by the source", "playStream.rtsp-source", {"name": SOURCE}),
    Way("playing goes on", "StreamKeepAliveEvent.player"),
    Way("playing goes on, by the source", "StreamKeepAliveEvent.player", {"name": SOURCE}),
    Way("play, HLS", "playHLS"),
    Way("play, HLS of old builds", "playHLS.old"),
    Way("play, RTSP", "playRTSP", {"name": ADDRESS}, "RTSP"),
    Way("play, RTSP of old builds", "playRTSP.old", {"rtspUrl": ADDRESS}, "RTSP"),
    Way("snapshot", "snapshot"),
    Way("is it there?", "availableStream"),
)
NUMBER_WAYS = tuple(
    Way(f"{name}, {spelling}", payload, {member: spelling})
    for name, payload, member in (
        ("call", "call", "callee"),
        ("transfer", "transfer", "target"),
        ("answer", "answer", "caller"),
        ("message", "sendMessage", "to"),
        ("incoming call", "OnCallEvent", "caller"),
        ("incoming message", "OnMessageEvent", "from"),
        ("incoming transfer", "OnTransferEvent", "target"),
        ("hold", "hold", "callId"),  # that of a call to this number
        ("unhold", "unhold", "callId"),
        ("sendDtmf", "sendDtmf", "callId"),
    )
    for spelling in SPELLINGS
)
OTHER_WAYS = (
    Way("connect", "connect"),
    Way("connect, RTMP", "connect.rtmp", protocol="RTMP"),
    *(
        Way(name, name)
        for name in "sendIMDN subscribe sendXcapRequest OnDataEvent submitBugReport pushLogs sessionDebug".split()
    ),
)
WAYS = (*STREAM_WAYS, *NUMBER_WAYS, *OTHER_WAYS)

SESSIONS = {  # how Alice came in
    "session by token": {"custom": {"token": "tok-alice"}},
    "session by token beside": {"token": "tok-alice"},
    "session by URL parameter": {"custom": {"a": "1", "b": "2", "token": "tok-alice"}},
    "session by password": {"custom": {"login": "alice", "password": PASSWORD}},
}
OWN = {  # what a hook brings itself
    "custom.token": {"custom": {"token": "tok-alice"}},
    "token beside": {"token": "tok-alice", "custom": {}},
    "URL parameter": {"custom": {"c": "3", "token": "tok-alice"}},
    "password": {"custom": {"login": "alice", "password": PASSWORD}},
}
FORMS = (*SESSIONS, *OWN)


def is_by_token(form):
    return "password" not in form


def has(way, form):
    """Whether a hook that comes this way can have a credential of this form."""
    if form == "URL parameter" and not way.protocol:
        return False
    return way.method.identity != ("credentials" if form in SESSIONS else "session")


CELLS = [(way, form) for way in WAYS for form in FORMS if has(way, form)]


class Ban(NamedTuple):
    """What staff do, the reason it gives, and which cells it is for."""

    name: str
    reason: str
    order: object
    covers: object


def deny(alice, **target):
    factories.make_rule(*ACTIONS, effect="deny", user=alice, **target)


def deny_group_of_stream(alice):
    deny(alice, target=("stream-group", ""), stream_group=StreamGroup.objects.get())


def is_about_stream(way, form):
    return way in STREAM_WAYS


def is_about_number(way, form):
    return way in NUMBER_WAYS


BANS = {
    "S": Ban("deny on the stream", "denied-by-rule", lambda alice: deny(alice, stream=lobby()), is_about_stream),
    "G": Ban("deny on the stream's group", "denied-by-rule", deny_group_of_stream, is_about_stream),
    "N": Ban(
        "deny on the number",
        "denied-by-rule",
        lambda alice: deny(alice, target=("number-prefix", "+49900")),
        is_about_number,
    ),
    "U": Ban(
        "user switched off",
        "user-inactive",
        lambda alice: type(alice).objects.filter(pk=alice.pk).update(is_active=False),
        lambda way, form: True,
    ),
    "T": Ban(
        "token revoked", "bad-token", lambda alice: alice.tokens.all().delete(), lambda way, form: is_by_token(form)
    ),
}


def lobby():
    return StreamGroup.objects.get().streams.get()


class Matrix:
    """Sends the hook of every cell, and gives why each was refused."""

    def __init__(self, wcs):
        self.wcs = wcs
        factories.make_app()
        self.alice, bob = factories.make_user("alice", password=PASSWORD), factories.make_user("bob")
        factories.make_token(self.alice)
        factories.make_token(bob)
        factories.make_stream("lobby", source=SOURCE).groups.add(StreamGroup.objects.create(name="rooms"))
        factories.make_rule(*ACTIONS)
        for form, members in SESSIONS.items():
            assert wcs.reason("connect", sessionId=self.session(form), **members) == ""
            for number in SPELLINGS:
                assert wcs.reason("call", sessionId=self.session(form), callee=number, callId=number) == ""
        assert wcs.reason("connect", sessionId=self.session("bob"), custom={"token": "tok-bob"}) == ""

    def session(self, whose):
        return f"/192.168.1.38:64604/{whose}"

    def send(self, way, form):
        body = json.loads((PAYLOADS / f"{way.payload}.json").read_bytes())
        body = {name: value for name, value in body.items() if name not in ("custom", "token", "nodeId", "appKey")}
        whose = form if form in SESSIONS else "new" if way.method.name == "connect" else "bob"
        body |= {"sessionId": self.session(whose), **way.changes, **OWN.get(form, {})}
        if form == "URL parameter" and way.protocol == "RTSP":
            member = next(iter(way.changes))
            body |= {member: f"{ADDRESS}?appKey=defaultApp&token=tok-alice", "custom": {}}
        return self.wcs.reason(way.payload.split(".")[0], **body)

    def reasons(self, ban):
        return {(way.name, form): self.send(way, form) for way, form in CELLS if ban.covers(way, form)}


@pytest.fixture
def matrix(wcs):
    return Matrix(wcs)


def names(cells):
    return {(way.name, form) for way, form in cells}


def refusable(*actions):
    return {method for method in METHODS if method.refusable and method.action in actions}


def test_every_method_that_can_be_refused_is_in_the_matrix():
    assert {way.method for way in WAYS} == refusable(*ACTIONS, RUNNING_STREAM)
    assert {way.method for way in STREAM_WAYS} == refusable(*STREAM_ACTIONS, RUNNING_STREAM)
    assert {way.method for way in NUMBER_WAYS} == refusable(*NUMBER_ACTIONS)


def test_without_a_ban_every_cell_is_allowed(matrix):
    assert matrix.reasons(BANS["U"]) == dict.fromkeys(names(CELLS), "")


@pytest.mark.parametrize("letter", BANS)
def test_a_ban_is_refused_in_every_cell(matrix, letter):
    ban = BANS[letter]
    ban.order(matrix.alice)
    reasons = matrix.reasons(ban)
    assert reasons == dict.fromkeys(reasons, ban.reason)
    assert reasons.keys() == names(cell for cell in CELLS if ban.covers(*cell))


# Whether the matrix would show it


def red(matrix, ban):
    """Cells through which somebody banned gets in."""
    ban.order(matrix.alice)
    return {cell for cell, reason in matrix.reasons(ban).items() if reason == ""}


@pytest.mark.parametrize("name", [method.name for method in METHODS if method.refusable])
def test_a_method_that_is_never_refused_shows_in_its_cells_alone(matrix, monkeypatch, name):
    broken = replace(find(name), refusal=methods.POINTLESS)
    monkeypatch.setitem(methods._BY_SPELLING, name.lower(), broken)
    assert red(matrix, BANS["U"]) == names((way, form) for way, form in CELLS if way.method.name == name)


def follow_no_source(monkeypatch):
    monkeypatch.setattr(Streams, "known_as", lambda streams, name: ((name,), ()))


def compare_numbers_as_they_come(monkeypatch):
    monkeypatch.setattr(facts, "canonical", lambda text, plan: text)


def find_no_number_of_a_call(monkeypatch):
    monkeypatch.setattr(Calls, "with_number", lambda calls, call, deadline: call)


def never_look_at_a_token_again(monkeypatch):
    def by_session(session, call, app, snapshot, *, now):
        return Identity(user=snapshot.users.by_id[session.user_id], entered_by=session.entered_by)

    monkeypatch.setattr(identity, "_by_session", by_session)


def read_no_credential_of_a_hook(monkeypatch):
    monkeypatch.setattr(HookCall, "credential", lambda call, secret_name="token": None)


def read_no_token_beside_custom(monkeypatch):
    real = HookCall.credential

    def credential(call, secret_name="token"):
        if call.wire.token is ABSENT:
            return real(call, secret_name)
        bare = msgspec.structs.replace(call.wire, token=ABSENT)
        return real(msgspec.structs.replace(call, wire=bare), secret_name)

    monkeypatch.setattr(HookCall, "credential", credential)


def is_in_bobs_session(way, form):
    return form in OWN and way.method.identity == "either"


BREAKS = (  # what breaks, the ban it is tried with, and the cells that must show it
    (follow_no_source, "S", lambda way, form: SOURCE in way.changes.values()),
    (compare_numbers_as_they_come, "N", lambda way, form: SPELLINGS[0] not in way.changes.values()),
    (find_no_number_of_a_call, "N", lambda way, form: "callId" in way.changes),
    (never_look_at_a_token_again, "T", lambda way, form: form in SESSIONS and way.method.name != "connect"),
    (read_no_credential_of_a_hook, "S", is_in_bobs_session),
    (read_no_token_beside_custom, "S", lambda way, form: form == "token beside" and is_in_bobs_session(way, form)),
)


@pytest.mark.parametrize(("break_", "letter", "shows"), BREAKS, ids=[row[0].__name__ for row in BREAKS])
def test_a_broken_path_shows_in_its_cells_alone(matrix, monkeypatch, break_, letter, shows):
    break_(monkeypatch)
    covers = BANS[letter].covers
    assert red(matrix, BANS[letter]) == names(cell for cell in CELLS if covers(*cell) and shows(*cell))


def test_the_table_in_the_documents_is_this_one():
    table = {row[0]: row[1:] for row in rows("docs/proofs.md") if len(row) == 1 + len(FORMS)}
    assert table.pop("Through") == list(FORMS)
    assert table == {
        way.name.partition(", +49")[0]: [
            " ".join(letter for letter, ban in BANS.items() if (way, form) in CELLS and ban.covers(way, form))
            for form in FORMS
        ]
        for way in WAYS
        if not set(SPELLINGS[1:]) & set(way.changes.values())
    }


def test_who_is_not_banned_is_not_refused_with_her(matrix):
    BANS["S"].order(matrix.alice)
    assert matrix.wcs.reason("playStream", name="lobby", sessionId=matrix.session("bob")) == ""
