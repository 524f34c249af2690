"""Audit events and leases as what stories are made of. Every query here is bounded, and goes through an index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from apps.access.reasons import STAFF_ACTION
from apps.audit.ids import MARGIN
from apps.audit.models import AuditEvent, Effect, received
from apps.audit.moving.changes import ACTIONS, OURSELVES
from apps.audit.narrative import headline, outcome, reason_text, what_changed
from apps.audit.stories.meanwhile import concerning
from apps.audit.stories.timeline import Entry, Gap, Phase, Run, Thing, folded, in_order, runs, unheeded, with_gaps
from apps.connections.models import Session
from apps.live.models import Lease
from apps.protocol.methods import METHODS, RUNS, find

SHOWN = 300
"""Events of a session or a call on one page."""

CHANGES_SHOWN = 50
"""Changes by staff, beside these events."""

CHANGES_READ = 500
"""Changes by staff that are looked through for those that have to do with the session."""

RAN_OUT = "WCS did not ask for it again"
"""Why what it reports no end of is taken to have ended."""

BEFORE = timedelta(days=1)
"""So long before something began, whether it was let in is looked for."""

_ID_IN_USE = "status = 'FAILED' AND position('MediaSessionId is already in use'::bytea IN body) > 0"


def events_of(since: datetime, before: datetime, margin: timedelta = MARGIN) -> QuerySet[AuditEvent]:
    """The events of a time, without what is long. Each says whether it only tells that an id is in use already."""
    events = AuditEvent.objects.filter(received(since, before, margin)).defer("body", "digest", "rules")
    return events.annotate(id_in_use=RawSQL(_ID_IN_USE, ()))  # noqa: S611 - a text of ours


def entry_of(event: AuditEvent) -> Entry:
    """A hook out of `events_of` as a plain value."""
    how = outcome(event)
    return Entry(
        id=str(event.pk),
        at=event.received_at,
        last_at=event.last_received_at,
        thing=Thing(event.node_id, event.session_id, event.media_session_id or event.call_id),
        phase=_phase(event),
        text=headline(event),
        outcome=how,
        why=reason_text(event) if how == "refused" else "",
        status=event.status,
        times=event.repeats + 1,
    )


def _phase(event: AuditEvent) -> Phase:
    method = find(event.method)
    if method is None or event.id_in_use:
        return Phase.MEANWHILE
    if method.extent is RUNS:
        return Phase.ASKED if event.effect == Effect.ALLOWED else Phase.MEANWHILE
    if event.status in method.starts:
        return Phase.STARTED
    return Phase.ENDED if event.status in (*method.ends, *method.ends_session) else Phase.MEANWHILE


def _lets_in(event: AuditEvent) -> bool:
    """Whether it asked for something that would run."""
    method = find(event.method)
    return method is not None and method.extent is RUNS


def began_although_refused(event: AuditEvent) -> bool:
    """Whether by this event WCS said that something began which it had been answered not to let in."""
    method = find(event.method)
    if method is None or not event.status or event.status not in method.starts:
        return False
    asked = AuditEvent.objects.filter(
        received(event.received_at - BEFORE, event.received_at),
        node_id=event.node_id,
        session_id=event.session_id,
        media_session_id=event.media_session_id,
        call_id=event.call_id,
        method__in=[spelling for row in METHODS if row.extent is RUNS for spelling in (row.name, *row.aliases)],
    )
    return asked.order_by("-received_at").values_list("effect", flat=True).first() == Effect.REFUSED


def run_of(lease: Lease, now: datetime) -> Run:
    """When it ran, from a lease read with its cut. What WCS reports no end of has ended when it has run out."""
    ended, why = lease.ended_at, lease.end_reason
    if ended is None and lease.runs_out_at is not None and lease.runs_out_at <= now:
        ended = lease.runs_out_at
    if ended is not None and ended == lease.runs_out_at:
        why = why or RAN_OUT
    cut = getattr(lease, "cut", None)
    by = cut.ordered_by if cut else ""
    return Run(lease.opened_at, lease.started_at, ended, why, is_known=True, ordered_by=by)


@dataclass(frozen=True, slots=True)
class Told:
    """A part of a story: what happened, what ran by the id of the entry that let it in, and what came after that."""

    parts: tuple[Entry | Gap, ...] = ()
    runs: Mapping[str, Run] = field(default_factory=dict)
    goes_on: datetime | None = None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Without the gaps."""
        return tuple(part for part in self.parts if isinstance(part, Entry))


NOTHING = Told()


def changes(since: datetime, before: datetime) -> QuerySet[AuditEvent]:
    """What staff changed in a time, but for what nobody asked for."""
    events = AuditEvent.objects.filter(
        received(since, before), effect=Effect.ALLOWED, reason=STAFF_ACTION, action__in=ACTIONS
    )
    return events.exclude(username=OURSELVES).defer("digest")


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What staff changed while a session ran: out of `changes`."""

    session: Session
    changed: QuerySet[AuditEvent]

    def beside(self, hooks: Sequence[AuditEvent], until: datetime | None) -> list[AuditEvent]:
        """The first of those that a session with these hooks has to do with, as long as what is shown went on."""
        shown = self.changed.filter(received_at__lt=until) if until else self.changed
        read = shown.order_by("received_at", "id")[:CHANGES_READ]
        return concerning(self.session, hooks, read)[:CHANGES_SHOWN]


def entry_of_change(event: AuditEvent) -> Entry:
    """An event of `changes` as a plain value: of no session, and like no other."""
    return Entry(
        id=str(event.pk),
        at=event.received_at,
        last_at=event.last_received_at,
        thing=Thing("", "", str(event.pk)),
        phase=Phase.MEANWHILE,
        text=headline(event),
        outcome=outcome(event),
        why=what_changed(event),
    )


def told(
    events: QuerySet[AuditEvent],
    now: datetime,
    *,
    with_leases: bool,
    meanwhile: Meanwhile | None = None,
) -> Told:
    """The first of these events as a story, with what staff changed meanwhile.

    With leases, what is known of what the events let in counts for more than what later ones say of it.
    """
    found = list(events.order_by("received_at", "id")[: SHOWN + 1])
    goes_on = found[SHOWN].received_at if len(found) > SHOWN else None
    changed = meanwhile.beside(found[:SHOWN], goes_on) if meanwhile is not None else []
    refused = {str(event.pk) for event in found[:SHOWN] if event.effect == Effect.REFUSED and _lets_in(event)}
    in_time = in_order([*map(entry_of, found[:SHOWN]), *map(entry_of_change, changed)])
    ordered = list(unheeded(in_time, refused))
    ran = runs(ordered)
    if with_leases and ran:
        leases = Lease.objects.filter(record_id__in=list(ran)).select_related("cut")
        ran |= {str(lease.record_id): run_of(lease, now) for lease in leases}
    return Told(tuple(with_gaps(folded(ordered))), ran, goes_on)
