"""The record of a hook: what it says, when it is written and when not."""

import json
import time
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest

from apps.access.compile import Snapshot
from apps.access.facts import Decision, Facts, Identity
from apps.access.models import AccessRevision
from apps.access.reasons import Reason
from apps.audit.models import HookRecord
from apps.audit.recording.recorder import MAX_TEXT, Recorder, new_id
from apps.connections.models import Session
from apps.connections.sessions import Sessions
from apps.database.connection import Database
from apps.hooks.answer import answer
from apps.protocol.messages import HookCall
from apps.protocol.methods import find
from tests import factories
from tests.hooks.processes import conninfo, recorded, the_record

NOW = datetime(2026, 11, 23, 16, 42, 7, 123456, tzinfo=UTC)


def revision():
    return AccessRevision.objects.get().revision


# What it says


def test_every_column(wcs, school):
    token = school["alice"].tokens.get()
    noted = factories.make_rule("publish", effect="deny", enforced=False)
    rules = sorted(
        rule.id for rule in (factories.make_rule("publish"), *school["alice"].rules.filter(actions=["publish"]))
    )
    wcs.hook("connect", custom={"token": "tok-alice"})
    HookRecord.objects.all().delete()
    body = json.dumps(
        {
            **wcs.common,
            "mediaSessionId": "56141d10-fddc-11e6-ac3a-4d67d5b3360d",
            "callId": "2c1c2f60",
            "status": "PENDING",
            "name": "lobby",
            "custom": {"token": "tok-alice", "seat": 5},
            "sdp": "v=0",
        }
    ).encode()
    assert answer("PUBLISHstream", wcs.environ, BytesIO(body).read, now=NOW).status == 200
    record = HookRecord.objects.values().get()
    assert record.pop("id").version == 8
    assert record.pop("waits_since") > NOW
    kept = bytes(record.pop("body"))
    assert record == {
        "received_at": NOW,
        "method": "PUBLISHstream",
        "node_id": factories.NODE_ID,
        "app_key": "defaultApp",
        "session_id": factories.SESSION_ID,
        "media_session_id": "56141d10-fddc-11e6-ac3a-4d67d5b3360d",
        "call_id": "2c1c2f60",
        "status": "PENDING",
        "action": "publish",
        "target": "lobby",
        "client_address": "192.168.1.38",
        "username": "alice",
        "user_id": school["alice"].id,
        "token_id": token.id,
        "effect": "allow",
        "reason": "allowed-by-rule",
        "rule_ids": rules,
        "logged_rule_ids": [noted.id],
        "told": "",
        "revision": revision(),
        "while_away": False,
    }
    assert json.loads(kept) == {
        **json.loads(body),
        "custom": {"token": "***", "seat": 5},
        "sdp": "[left out]",
    }


def test_a_hook_that_says_nothing_has_a_record_that_says_so(wcs):
    wcs.raw("StreamsStatEvent", b"{}")
    record = HookRecord.objects.values().get()
    assert (record["user_id"], record["token_id"], record["client_address"]) == (None, None, None)
    assert (record["rule_ids"], record["logged_rule_ids"]) == ([], [])
    empty = ("node_id", "app_key", "session_id", "media_session_id", "call_id", "status", "target", "username")
    assert {record[name] for name in empty} == {""}


def test_a_refusal_says_who_and_which_rule(wcs, school):
    rule = factories.make_rule("publish", effect="deny", user=school["alice"])
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("publishStream", name="lobby")
    record = the_record(method="publishStream")
    assert (record.effect, record.reason, record.username) == ("deny", "denied-by-rule", "alice")
    assert record.rule_ids == [rule.id]


@pytest.mark.parametrize(
    ("session_id", "address"),
    [
        ("/192.168.1.38:64604/192.168.1.101:8443", "192.168.1.38"),
        ("/203.0.113.9:1/4f3a", "203.0.113.9"),
        ("/2001:db8::7:64604/2001:db8::1:8443", "2001:db8::7"),
        ("/[2001:db8::7]:64604/[2001:db8::1]:8443", "2001:db8::7"),
        ("/2001:db8:0:0:0:0:0:7:64604/2001:db8:0:0:0:0:0:1:8443", "2001:db8::7"),
        ("/fe80:0:0:0:0:0:0:7%eth0:64604/fe80:0:0:0:0:0:0:1%eth0:8443", "fe80::7"),
        ("/[fe80::7%2]:64604/x", "fe80::7"),
        ("/::ffff:192.0.2.1:64604/x", "192.0.2.1"),
        ("/192.0.2.1/192.0.2.1-suffix", None),
        ("0192f0c1-2345-7abc-8def-0123456789ab", None),
        ("test-HLS", None),
        ("/999.1.1.1:5/x", None),
        ("/10.0.0.0/8:5/x", None),
        ("/localhost:5/x", None),
        ("/%00:5/x", None),
    ],
)
def test_the_client_address_is_that_in_the_session_id_where_there_is_one(wcs, session_id, address):
    assert wcs.hook("StreamStatusEvent", sessionId=session_id).status == 200
    assert the_record().client_address == address


def test_long_names_are_capped_where_they_are_searched_and_whole_in_the_body(wcs):
    long = "ü" * 1000
    wcs.hook("StreamStatusEvent", name=long, status=long)
    wcs.hook("x" * 100, name=long)
    first, second = recorded()
    assert (first.target, first.status) == (long[:MAX_TEXT], long[:MAX_TEXT])
    assert second.method == "x" * 100
    assert json.loads(bytes(first.body))["name"] == json.loads(bytes(second.body))["name"] == long


def test_names_at_their_longest_fit_into_a_session(wcs, school):
    longest = dict.fromkeys(("nodeId", "sessionId"), "ü" * 255)
    factories.make_app("ü" * 255)
    answered = wcs.hook("connect", **longest, appKey="ü" * 255, custom={"token": "tok-alice"}, origin="ü" * 5000)
    assert answered.status == 200
    session = Session.objects.get()
    assert (session.session_id, session.app_key, session.origin) == ("ü" * 255,) * 3
    wcs.hook("ConnectionStatusEvent", **longest, appKey="ü" * 255, status="FAILED", info="ü" * 5000)
    assert Session.objects.get().end_reason == ("FAILED " + "ü" * 255)[:255]


def test_an_address_with_a_password_is_no_target_to_search_for(wcs):
    wcs.hook("StreamStatusEvent", name="rtsp://me:secret@camera:554/live?key=hush")
    assert the_record().target == "rtsp://***@camera:554/live?key=***"


# Ids


def test_ids_made_later_sort_later():
    moments = [NOW + timedelta(milliseconds=number) for number in range(200)]
    ids = [new_id(moment) for moment in moments]
    assert ids == sorted(ids)
    assert [str(id_) for id_ in ids] == sorted(map(str, ids))


def test_ids_are_uuids_of_version_7_and_never_the_same():
    ids = [new_id(NOW) for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {(id_.version, id_.variant) for id_ in ids} == {(7, "specified in RFC 4122")}
    assert {id_.int >> 80 for id_ in ids} == {int(NOW.timestamp() * 1000)}


# When it is written


class Desk:
    """A recorder, and a hook that was decided."""

    def __init__(self):
        self.database = Database(conninfo())
        self.sessions = Sessions(self.database)
        self.recorder = Recorder(self.database, self.sessions)

    def commit(self, id_, *, allowed=True, at=None, method="publishStream", session=None, **members):
        body = json.dumps(
            {"nodeId": "N", "sessionId": "S", "appKey": "defaultApp", "name": "lobby", **members}
        ).encode()
        recorded = self.recorder.commit(
            id_,
            HookCall.from_payload(method, find(method), body),
            body,
            Facts(now=NOW, app=None, identity=Identity(entered_by="guest"), snapshot=Snapshot()),
            Decision(allowed, Reason.ALLOWED_BY_RULE if allowed else Reason.NO_RULE),
            session,
            revision=revision() if at is None else at,
            deadline=self.deadline,
        )
        return recorded is not None

    def session(self):
        return self.sessions.find("N", "S", self.deadline)

    @property
    def deadline(self):
        return time.monotonic() + 2


@pytest.fixture
def desk(transactional_db):
    factories.make_app()
    desk = Desk()
    yield desk
    desk.database.close()


def test_it_is_there_for_everybody_before_the_answer(desk):
    assert desk.commit(new_id(NOW)) is True
    assert the_record().target == "lobby"


def test_it_is_not_written_where_access_changed_meanwhile(desk):
    before = revision()
    factories.make_rule("publish")
    assert desk.commit(new_id(NOW), at=before) is False
    assert desk.commit(new_id(NOW), at=revision() + 1) is False
    assert not recorded()
    assert desk.recorder.revision(desk.deadline) == revision()


def test_it_is_not_written_where_the_session_changed_meanwhile(desk):
    assert desk.commit(new_id(NOW), method="connect")
    before = desk.session()
    assert desk.commit(new_id(NOW), session=before) is True
    Session.objects.update(opening=5)
    assert desk.commit(new_id(NOW), session=before) is False
    assert desk.session().opening == 5, "it was looked up again"
    Session.objects.update(ended_at=NOW)
    assert desk.commit(new_id(NOW), session=desk.session()) is False
    assert desk.session().ended
    assert len(recorded()) == 2


def test_a_session_is_opened_together_with_its_record_or_not_at_all(desk):
    before = revision()
    factories.make_rule("publish")
    assert desk.commit(new_id(NOW), method="connect", at=before) is False
    assert desk.session() is None
    assert not Session.objects.exists()
    assert desk.commit(new_id(NOW), method="connect", allowed=False) is True
    assert not Session.objects.exists()
    assert desk.commit(new_id(NOW), method="connect") is True
    assert Session.objects.get().id == desk.session().id


def test_a_session_is_ended_together_with_the_record_or_not_at_all(desk):
    desk.commit(new_id(NOW), method="connect")
    before = revision()
    factories.make_rule("publish")
    ending = {"method": "ConnectionStatusEvent", "status": "DISCONNECTED"}
    assert desk.commit(new_id(NOW), **ending, at=before) is False
    assert Session.objects.get().ended_at is None
    assert desk.commit(new_id(NOW), **ending) is True
    assert Session.objects.get().ended_at == NOW
    assert desk.session().ended


def test_the_same_record_twice_is_written_once_and_no_harm(desk):
    """A connection may break after a record was written and before we heard of it; then it is sent again."""
    for method in ("publishStream", "connect", "StreamStatusEvent"):
        id_ = new_id(NOW)
        assert desk.commit(id_, method=method) is True
        assert desk.commit(id_, method=method) is True
    assert len(recorded()) == 3
    assert Session.objects.get().opening == 1
    assert desk.session().opening == 1
