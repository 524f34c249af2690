"""Rules that are only logged: what they would have decided otherwise is counted as the record is moved."""

from datetime import timedelta
from uuid import UUID

import pytest

from apps.access.models import TriedOut
from apps.access.tried_out import COUNTED, for_whom, tallies
from apps.audit.models import AuditEvent
from apps.audit.moving.mover import move_batch
from tests import factories


def ask(wcs, name, stream, times=1):
    """Let somebody play a stream, each time with another hook."""
    session = {"sessionId": f"/10.0.0.1:{len(name)}/10.0.0.1:8443"}
    wcs.hook("connect", **session, custom={"token": f"tok-{name}"})
    for number in range(times):
        wcs.hook("playStream", **session, name=stream, mediaSessionId=f"{stream}-{number}")
    while move_batch():
        pass


def tally_of(rule):
    tally = tallies([rule]).get(rule.pk)
    return str(tally) if tally else ""


def test_a_deny_counts_what_it_would_have_refused(wcs, school):
    deny = factories.make_rule("play", effect="deny", enforced=False)
    ask(wcs, "bob", "lobby", times=3)  # whom a rule allows it
    ask(wcs, "charlie", "lobby")  # who was refused anyhow
    assert tally_of(deny) == "would have refused 3 times"
    assert for_whom(deny) == [("bob", 3)]
    events = AuditEvent.objects.filter(username="bob", method="playStream")
    assert set(TriedOut.objects.values_list("event_id", flat=True)) == set(events.values_list("pk", flat=True))
    tally = tallies([deny])[deny.pk]
    moments = sorted(events.values_list("received_at", flat=True))
    assert (tally.first_at, tally.last_at) == (moments[0], moments[-1])


def test_an_allow_counts_what_it_would_have_allowed(wcs, school):
    allow = factories.make_rule("play", enforced=False)
    factories.make_rule("play", effect="deny", user=school["alice"])
    ask(wcs, "charlie", "lobby")
    ask(wcs, "bob", "lobby")  # who was allowed anyhow
    ask(wcs, "alice", "lobby")  # who is refused all the same
    assert tally_of(allow) == "would have allowed once"
    assert for_whom(allow) == [("charlie", 1)]


def test_nothing_is_counted_of_rules_that_are_enforced_or_gone(wcs, school):
    enforced = factories.make_rule("play", effect="deny", target=("exact", "elsewhere"))
    gone = factories.make_rule("play", effect="deny", enforced=False)
    session = {"sessionId": "/10.0.0.1:1/10.0.0.1:8443"}
    wcs.hook("connect", **session, custom={"token": "tok-bob"})
    wcs.hook("playStream", **session, name="lobby")
    gone.delete()
    while move_batch():
        pass
    assert not TriedOut.objects.exists()
    assert tallies([enforced]) == {}
    assert tallies([]) == {}


def test_a_repeat_of_the_same_hook_counts_once(wcs, school):
    deny = factories.make_rule("play", effect="deny", enforced=False)
    session = {"sessionId": "/10.0.0.1:1/10.0.0.1:8443"}
    wcs.hook("connect", **session, custom={"token": "tok-bob"})
    for _ in range(3):
        wcs.hook("playStream", **session, name="lobby", mediaSessionId="m")
        move_batch()
    assert AuditEvent.objects.get(method="playStream").repeats == 2
    assert tally_of(deny) == "would have refused once"


def test_what_a_rule_would_have_done_with_another_effect_is_not_told_of_it(wcs, school):
    rule = factories.make_rule("play", effect="deny", enforced=False)
    ask(wcs, "bob", "lobby")
    rule.effect = "allow"
    rule.save()
    assert tally_of(rule) == ""


@pytest.mark.django_db
def test_nothing_is_counted_further_than_is_shown(django_assert_num_queries):
    rule = factories.make_rule("play", effect="deny", enforced=False)
    TriedOut.objects.bulk_create(
        TriedOut(
            rule_id=rule.pk, effect="deny", event_id=UUID(int=number), username="bob",
            received_at=rule.created_at + timedelta(seconds=number),
        )
        for number in range(COUNTED + 5)
    )  # fmt: skip
    others = [factories.make_rule("play", enforced=False) for _ in range(3)]
    with django_assert_num_queries(1):
        found = tallies([rule, *others])
    assert {id_: str(tally) for id_, tally in found.items()} == {rule.pk: f"would have refused over {COUNTED} times"}
    assert found[rule.pk].first_at == rule.created_at
