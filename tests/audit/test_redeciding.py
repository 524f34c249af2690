"""Every recorded answer is its own again as of its revision; what is not, is damage, and the rest counted."""

from collections import Counter
from datetime import timedelta
from io import StringIO
from random import Random

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.access.models import Rule, Schedule
from apps.access.reasons import STAFF_ACTION, Reason
from apps.accounts.models import Token
from apps.audit.asking.past import past
from apps.audit.models import AuditEvent, ChangeRecord
from apps.audit.moving.changes import move_changes
from apps.audit.moving.mover import move_batch
from apps.audit.proving.redeciding import Why, event_again, events_again
from apps.connections.models import Session
from apps.streams.models import Stream
from tests import factories
from tests.access import signed


@pytest.fixture(autouse=True)
def _nothing_changed_yet(transactional_db):
    ChangeRecord.objects.all().delete()


def moved():
    while move_batch() or move_changes():
        pass
    return AuditEvent.objects.exclude(reason=STAFF_ACTION)


def all_again():
    events = moved()
    with past() as was:
        return list(events_again(events, was))


def again():
    """What came of each event, by what it was."""
    return {(one.event.method, one.event.target, one.event.reason): one for one in all_again()}


def damaged():
    return [str(one) for one in again().values() if one.other]


def verify(out=None, **options):
    out = out or StringIO()
    moved()
    call_command("verify_audit", decisions=True, stdout=out, **options)
    return out.getvalue()


def test_answers_are_their_own_again_though_everything_was_changed_since(wcs, school):
    alice, lobby = school["alice"], factories.make_stream("lobby", source="rtsp://cam/1")
    rule = factories.make_rule("play", user=alice, stream=lobby)
    night = Schedule.objects.create(name="never", time_zone="UTC", windows=["daily 00:00-24:00"], holidays=[])
    factories.make_rule("play", effect="deny", target=("exact", "hall"), schedule=night)
    wcs.hook("connect", custom={"token": "tok-alice"})
    wcs.hook("playStream", name="lobby")
    wcs.hook("playStream", name="hall")
    wcs.hook("publishStream", name="lobby")
    wcs.hook("publishStream", name="attic")
    wcs.hook("StreamStatusEvent", name="lobby", status="PUBLISHING")
    wcs.hook("futureMethod")
    wcs.hook("connect", appKey="nowhere", sessionId="s-4")
    Rule.objects.filter(pk=rule.pk).update(effect="deny")
    wcs.hook("playStream", name="lobby", mediaSessionId="m-2")
    Rule.objects.filter(effect="deny").delete()
    Stream.objects.update(name="salon")
    Schedule.objects.all().delete()
    alice.is_active = False
    alice.save()
    wcs.hook("publishStream", name="lobby", mediaSessionId="m-3")
    Token.objects.all().delete()
    alice.delete()
    factories.make_app("nowhere")
    outcomes = Counter(one.why or ("same" if one.is_same else str(one)) for one in again().values())
    assert outcomes == {"same": 10}
    assert "Decided again, and the same: 10 events." in verify()


def test_a_changed_answer_is_damage(wcs, school):
    wcs.hook("connect", custom={"token": "tok-charlie"})
    wcs.hook("publishStream", name="lobby")
    event = moved().get(method="publishStream")
    assert event.reason == Reason.NO_RULE
    assert event_again(event)[0].is_same
    moved().filter(pk=event.pk).update(effect="allow", reason=Reason.ALLOWED_BY_RULE, rule_ids=[7])
    said = (
        f"was allowed (allowed-by-rule) by rules 7, and as of revision {event.revision} it would be refused (no-rule)"
    )
    assert damaged() == [said]
    assert str(event_again(AuditEvent.objects.get(pk=event.pk))[0]) == said
    with pytest.raises(CommandError, match=f"Event {event.pk} was allowed"):
        verify()


def test_whoever_was_let_in_by_a_rule_that_never_was_is_found_by_the_changes(wcs, school):
    """The event is as it was written; the change that made its rule is not."""
    wcs.hook("connect", custom={"token": "tok-bob"})
    wcs.hook("playStream", name="lobby")
    Rule.objects.filter(actions=["play"]).delete()
    moved()
    event = AuditEvent.objects.get(reason=STAFF_ACTION, action="delete")
    body = bytes(event.body).replace(b'"effect": "allow"', b'"effect": "deny"')
    AuditEvent.objects.filter(pk=event.pk).update(body=body)
    assert "denied-by-rule" in damaged()[0]
    with pytest.raises(CommandError, match=r"says that rule .* became something else than change"):
        verify()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"effect": "allow"}, "refused (bad-token)"),
        ({"revision": 0}, None),
    ],
)
def test_an_answer_that_no_reason_gives_is_damage_too(wcs, school, change, found):
    wcs.hook("connect", custom={"token": "wrong"})
    moved().update(**change)
    assert [found in said for said in damaged()] == ([True] if found else [])
    assert [one.why for one in again().values()] == [None if found else Why.BEFORE]


def test_what_cannot_be_decided_again_is_counted_and_says_why(wcs, school, settings):
    factories.make_issuer()
    factories.make_rule("publish", user=school["bob"], limit_per="user", at_once=1)
    wcs.hook("connect", custom={"token": "wrong"}, sessionId="s-1")
    wcs.hook("connect", custom={"token": "tok-bob"})
    wcs.hook("publishStream", name="a", mediaSessionId="m-1")
    wcs.hook("publishStream", name="b", mediaSessionId="m-2")
    wcs.hook("publishStream", name="c", sessionId="s-3")
    wcs.hook("connect", custom={"token": signed.web_token("zoe")}, sessionId="s-5")
    wcs.hook("playStream", name="x" * 70_000)
    moved().filter(method="playStream").update(while_away=True)
    found = {(method, reason, target[:1]): one.why for (method, target, reason), one in again().items()}
    assert found == {
        ("connect", "bad-token", "d"): Why.CREDENTIAL,
        ("connect", "allowed-by-rule", "d"): None,
        ("connect", "unknown-subject", "d"): Why.CREDENTIAL,
        ("publishStream", "allowed-by-rule", "a"): Why.LIMIT,
        ("publishStream", "limit-reached", "b"): Why.LIMIT,
        ("publishStream", "unknown-session", "c"): Why.SESSION,
        ("playStream", "no-rule", "x"): Why.AWAY,
    }
    out = StringIO()
    with pytest.raises(CommandError, match="counts repeats that no batch has"):  # as the chain says of while_away
        verify(out)
    said = out.getvalue()
    assert f"Cannot be decided again: 2 events, because {Why.LIMIT}." in said
    assert f"Cannot be decided again: 1 event, because {Why.AWAY}." in said


def test_a_limit_excuses_no_other_rule(wcs, school):
    rule = factories.make_rule("publish", user=school["bob"], limit_per="user", at_once=1)
    wcs.hook("connect", custom={"token": "tok-bob"})
    wcs.hook("publishStream", name="a")
    moved().filter(method="publishStream").update(rule_ids=[rule.pk + 1])
    assert len(damaged()) == 1


def test_a_session_that_was_opened_anew_is_not_the_one_of_then(wcs, school):
    factories.make_rule("play", user=school["bob"], target=("exact", "hall"), origins=["https://a.example"])
    wcs.hook("connect", custom={"token": "tok-bob"}, origin="https://a.example")
    wcs.hook("playStream", name="hall")
    assert damaged() == []
    Session.objects.update(opened_at=timezone.now() + timedelta(days=1), origin="https://b.example")
    assert again()["playStream", "hall", Reason.ALLOWED_BY_RULE].why is Why.SESSION


def test_what_was_left_out_of_a_body_may_have_made_the_difference(wcs, school):
    factories.make_rule("play", user=school["charlie"], custom=["pin = 5"])
    factories.make_rule("play", user=school["charlie"], custom=["seat = 5"])
    wcs.hook("connect", custom={"token": "tok-charlie"})
    wcs.hook("playStream", name="hall", custom={"pin": 5})
    wcs.hook("playStream", name="lobby", custom={"seat": 5})
    found = again()
    assert found["playStream", "hall", Reason.ALLOWED_BY_RULE].why is Why.LEFT_OUT
    assert found["playStream", "lobby", Reason.ALLOWED_BY_RULE].is_same


def test_since_when_is_up_to_who_asks_and_not_before_changes_were_recorded(wcs, school):
    wcs.hook("connect", custom={"token": "tok-bob"})
    assert "the same: 0 events" in verify(since=timezone.now() + timedelta(minutes=2))
    with pytest.raises(CommandError, match="was not recorded"):
        call_command("verify_audit", "--decisions", "--since", "2001-01-01")
    with pytest.raises(CommandError, match=r"is no moment\. Write it like 2026-03-03T14:00"):
        call_command("verify_audit", "--decisions", "--since", "yesterday")
    with pytest.raises(CommandError, match="--since says which events to decide again: give --decisions, too"):
        call_command("verify_audit", "--since", "2026-03-03")


class Day:
    """A day at random: people come, do things, and rules change under them."""

    def __init__(self, wcs, school, dice):
        self.wcs, self.school, self.dice = wcs, school, dice
        self.sessions = []

    def pass_by(self, steps):
        for step in range(steps):
            self.dice.choice((self.come, self.ask, self.ask, self.ask, self.change))(step)

    def come(self, step):
        name = self.dice.choice((*self.school, *self.school, "zoe"))
        custom = {"token": self.dice.choice((f"tok-{name}",) * 3 + (signed.web_token(name), "wrong"))}
        guest = self.dice.random() < 0.2
        more = {"appKey": "open"} if guest else {"custom": custom}
        self.wcs.hook("connect", sessionId=f"s-{step}", origin=self.dice.choice(("", "https://a.example")), **more)
        self.sessions.append((f"s-{step}", "open" if guest else "defaultApp"))

    def ask(self, step):
        session, app = self.dice.choice(self.sessions or [("s-x", "defaultApp")])
        method = self.dice.choice(("publishStream", "playStream", "call", "StreamKeepAliveEvent", "sendMessage"))
        named = {"callee": f"+4930{self.dice.randrange(3)}"} if method == "call" else {"name": self.stream()}
        more = {"mediaSessionId": f"m-{step}", "callId": f"c-{step}", "custom": {"seat": self.dice.randrange(3)}}
        self.wcs.hook(method, sessionId=session, appKey=app, **named, **more)

    def stream(self):
        return self.dice.choice(("lobby", "hall", "rtsp://cam/1", "alice-1"))

    def change(self, step):
        self.dice.choice((self.rule, self.rule, self.other, self.end))()

    def rule(self):
        about = self.dice.choice(({"user": self.dice.choice(list(self.school.values()))}, {"guests": True}, {}))
        about |= {"effect": "deny"} if self.dice.random() < 0.3 else {}
        about |= {"enforced": False} if self.dice.random() < 0.2 else {}
        about |= self.dice.choice(
            ({}, {"origins": ["https://a.example"]}, {"custom": ["seat = 1"]}, {"ends_at": timezone.now()})
        )
        target = self.dice.choice((("any", ""), ("exact", self.stream()), ("glob", "{user}-*"), ("prefix", "+493")))
        factories.make_rule("publish", "play", "call", "message", target=target, **about)

    def other(self):
        user = self.dice.choice(list(self.school.values()))
        name, source = self.dice.choice(("lobby", "hall")), self.dice.choice(("", "rtsp://cam/1"))
        if self.dice.random() < 0.5:
            Stream.objects.update_or_create(name=name, defaults={"source": source})
        else:
            type(user).objects.filter(pk=user.pk).update(is_active=self.dice.random() < 0.7)

    def end(self):
        ids = list(Rule.objects.order_by("pk").values_list("pk", flat=True))
        Rule.objects.filter(pk=self.dice.choice(ids)).delete() if ids else None


@pytest.mark.parametrize("seed", range(4))
def test_a_day_of_hooks_and_changes_is_its_own_again(wcs, school, seed):
    factories.make_app("open", guests=True, hook_password="")
    factories.make_issuer()
    dice = Random(seed)
    Day(wcs, school, dice).pass_by(200)
    found = all_again()
    assert [str(one) for one in found if one.other] == []
    assert sum(one.is_same for one in found) > 40
    assert {one.why for one in found} <= {None, Why.CREDENTIAL, Why.SESSION, Why.RUNNING, Why.CLAIMS, Why.LEFT_OUT}
    flipped = dice.choice([one.event for one in found if one.is_same and one.event.reason == Reason.NO_RULE])
    moved().filter(pk=flipped.pk).update(effect="allow")
    with pytest.raises(CommandError, match=f"Event {flipped.pk} was allowed"):
        verify()
