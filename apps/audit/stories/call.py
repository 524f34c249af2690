"""The story of a call: who called whom, what was asked and what was dialled, and how it ended. One leg a session."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from apps.audit.models import AuditEvent, Effect
from apps.audit.stories.events import SHOWN, Told, events_of, told
from apps.audit.stories.timeline import SLACK, Run, Thing
from apps.protocol.methods import CALL_ACTIONS, RUNS, find

AROUND = timedelta(days=1)
LATELY = timedelta(days=31)
"""How far back is looked where the moment is not known."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One side of a call, as it was asked for. `dialled` is what WCS was told to change, in words."""

    event: AuditEvent
    run: Run | None

    @property
    def is_incoming(self) -> bool:
        """Whether somebody was to be called, and not calling."""
        return self.event.action == "receive-call"


@dataclass(frozen=True, slots=True)
class CallStory:
    """The sides of a call, the calling one first, and what is told of all of them."""

    legs: tuple[Leg, ...]
    told: Told


def call_story(
    node_id: str, call_id: str, *, at: datetime | None, after: datetime | None, now: datetime, with_leases: bool
) -> CallStory:
    """The call of this id on a node, about a moment or lately."""
    since, before = (at - AROUND, at + AROUND) if at else (now - LATELY, now + SLACK)
    events = events_of(since, before).filter(~Q(call_id=""), call_id=call_id, node_id=node_id)
    asking = list(events.filter(action__in=CALL_ACTIONS).order_by("received_at")[:SHOWN])
    story = told(events.filter(received_at__gte=after) if after else events, now, with_leases=with_leases)
    return CallStory(tuple(_legs(asking, story)), story)


def _legs(asking: Iterable[AuditEvent], story: Told) -> list[Leg]:
    """For each session the event that let the call in, else the first that was refused."""
    chosen: dict[Thing, AuditEvent] = {}
    for event in asking:
        method = find(event.method)
        if method is None or method.extent is not RUNS:  # it hangs up
            continue
        side = Thing(event.node_id, event.session_id, event.action)
        if side not in chosen or (chosen[side].effect == Effect.REFUSED and event.effect == Effect.ALLOWED):
            chosen[side] = event
    legs = [Leg(event, story.runs.get(str(event.pk))) for event in chosen.values()]
    return sorted(legs, key=lambda leg: (leg.is_incoming, leg.event.received_at))
