"""The story of a person, for whoever has them on the phone: what works right now, and if not, why and what to do.

Decided by the same code as hooks. What they tried is asked again as it came, with its app, address and page; what they
own is asked for whatever the circumstances.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from django.db.models import QuerySet

from apps.access.advice import ADVICE
from apps.access.compile import Snapshot
from apps.access.engine import decide
from apps.access.facts import Facts
from apps.access.limits_explained import used_by, weigh
from apps.access.reasons import NOTED, REASON_TEXTS, STAFF_ACTION, Reason
from apps.access.rows import RuleRow
from apps.access.sentences import deed
from apps.access.what_can import Person
from apps.access.who_can import Answer, Verdict
from apps.accounts.models import User
from apps.audit.asking.again import as_if_now
from apps.audit.asking.replay import asked_again
from apps.audit.browsing.paging import TakesTooLong, patience
from apps.audit.models import AuditEvent, Effect, received
from apps.protocol.messages import HookCall
from apps.streams.models import Stream

LATELY = timedelta(days=30)
READ = 200
"""Attempts that are read to find what somebody usually does, and refusals of the last day."""

REFUSALS_OF = timedelta(days=1)
"""For so long they are looked for by themselves, lest what went well since hides them."""

PATIENCE = timedelta(seconds=1)
"""How long Postgres may look for them."""

ATTEMPTS_SHOWN = 20
ASKED = ("connect", "publish", "play", "call")
EACH = 3
"""Things that are asked about for each of these."""

ANEW = "/anew"
"""What makes an id another one. The client's address is still read from the session's."""

APPS = 3
LIMITS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Can:
    """Whether they can do one thing right now. `event` is the last attempt, if that is what was asked again; `answer`
    what is to be said whatever the circumstances, if not."""

    action: str
    target: str
    allowed: bool
    reason: Reason
    used: str = ""
    rule_ids: tuple[int, ...] = ()
    event: AuditEvent | None = None
    answer: Answer | None = None

    @property
    def sentence(self) -> str:
        """To be read out, without whom it is about: can play “lobby”."""
        return f"{'can' if self.allowed else 'cannot'} {deed(self.action, self.target)}"

    @property
    def why(self) -> str:
        """The reason of a refusal."""
        return "" if self.allowed else REASON_TEXTS[self.reason]

    @property
    def what_to_do(self) -> str:
        """What to do about a refusal."""
        return ADVICE[self.reason].text if not self.allowed and self.reason in ADVICE else ""


@dataclass(frozen=True, slots=True)
class Card:
    """What holds at this moment, at one revision of the rules; and the rules with limits that count for them."""

    can: tuple[Can, ...]
    limits: dict[int, str]
    revision: int


def attempts(username: str, now: datetime) -> list[AuditEvent]:
    """What somebody tried lately, the newest first, without keep-alives that went well and what cannot be refused."""
    tried = _of(username, now - LATELY).exclude(reason__in=(*NOTED, STAFF_ACTION))
    return list(tried.exclude(method="StreamKeepAliveEvent", effect=Effect.ALLOWED)[:READ])


def refusals(username: str, now: datetime) -> list[AuditEvent]:
    """What they were refused in the last day, the newest first, however much went well since; nothing where that takes
    too long to find."""
    try:
        with patience(PATIENCE):
            return list(_of(username, now - REFUSALS_OF).filter(effect=Effect.REFUSED)[:READ])
    except TakesTooLong:
        return []


def _of(username: str, since: datetime) -> QuerySet[AuditEvent]:
    events = AuditEvent.objects.filter(received(since), username=username).defer("body", "digest", "rules")
    return events.order_by("-received_at")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was tried, as it was the last time, and how often it came out so."""

    event: AuditEvent
    times: int


def refusals_first(events: Iterable[AuditEvent]) -> list[Attempt]:
    """The last things that were tried, each with each answer once; those that were refused before all others."""
    newest = sorted({event.pk: event for event in events}.values(), key=lambda event: event.received_at, reverse=True)
    same: dict[tuple[str, ...], Attempt] = {}
    for event in newest:
        key = event.method, event.app_key, event.target, event.effect, event.reason
        before = same.get(key, Attempt(event, 0))
        same[key] = Attempt(before.event, before.times + event.repeats + 1)
    return sorted(same.values(), key=lambda attempt: attempt.event.effect != Effect.REFUSED)[:ATTEMPTS_SHOWN]


def usual(user: User, tried: Iterable[AuditEvent]) -> list[AuditEvent]:
    """The last attempt at each thing that they did lately, with its body: a few of each kind."""
    last: dict[tuple[str, str], AuditEvent] = {}
    for event in tried:
        if event.action in ASKED and event.user_id == user.pk:
            last.setdefault((event.action, event.target), event)
    chosen = [event for action in ASKED for event in [one for (what, _), one in last.items() if what == action][:EACH]]
    if not chosen:
        return []
    since, before = min(event.received_at for event in chosen), max(event.received_at for event in chosen)
    whole = AuditEvent.objects.filter(received(since, before + timedelta(seconds=1))).defer("digest", "rules")
    found = whole.in_bulk([event.pk for event in chosen])
    return [found[event.pk] for event in chosen if event.pk in found]


def own_streams(user: User) -> list[str]:
    """Some of the streams that are theirs."""
    return list(Stream.objects.filter(owner=user).order_by("name").values_list("name", flat=True)[:EACH])


def card(user: User, tried: list[AuditEvent], own: list[str], snapshot: Snapshot, now: datetime) -> Card:
    """What they can do right now: what they did lately, and with the streams that are theirs."""
    row = snapshot.users.by_id.get(user.pk)
    person = Person(row, now, snapshot)
    if row is None:
        return Card((), {}, person.revision)
    can = [*_again(tried, snapshot, now)]
    known = {(one.action, one.target) for one in can}
    can += _theirs(person, own, known)
    order = {action: number for number, action in enumerate(ASKED)}
    limited = [rule for rule in person.rules() if _limits(rule)][:LIMITS_SHOWN]
    return Card(
        tuple(sorted(can, key=lambda one: order[one.action])),
        used_by(user.username, limited, now),
        person.revision,
    )


def _again(tried: list[AuditEvent], snapshot: Snapshot, now: datetime) -> Iterator[Can]:
    """What was tried, if it came again now."""
    for event, call, facts in asked_again(tried, snapshot):
        yield _decided(event, call, as_if_now(facts, now))


def _decided(event: AuditEvent, call: HookCall, facts: Facts) -> Can:
    """Decided as if it came anew: what runs by its ids, or was ordered to end by them, is another one."""
    call = msgspec.structs.replace(call, session_id=f"{call.session_id}{ANEW}", media_session_id=ANEW, call_id=ANEW)
    decision, used, used_of_stream = weigh(decide(call, facts), call, facts)
    words = [used[id_] for id_ in decision.rule_ids if id_ in used] or [*used.values()][:1]
    return Can(
        event.action,
        event.target,
        decision.allowed,
        decision.reason,
        used="; ".join(filter(None, (*words, used_of_stream))),
        rule_ids=decision.rule_ids,
        event=event,
    )


def _theirs(person: Person, own: list[str], known: set[tuple[str, str]]) -> Iterator[Can]:
    """What is theirs, and connecting, as far as it was not tried lately."""
    asked = [(action, name) for name in own for action in ("publish", "play")]
    if not any(action == "connect" for action, _ in known):
        asked += [("connect", key) for key in sorted(person.snapshot.apps.by_name)[:APPS]]
    for action, target in asked:
        if (action, target) not in known:
            answer = person.answer(action, target)
            allowed = answer.verdict is not Verdict.CANNOT
            yield Can(action, target, allowed, answer.reason, rule_ids=answer.rule_ids, answer=answer)


def _limits(rule: RuleRow) -> bool:
    return rule.effect == "allow" and rule.limits is not None and rule.limits.per != "target" and rule.enforced
