"""The story of a stream: who published it, who watched, for how long, how many at once, and who was refused."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL

from apps.audit.models import AuditEvent, Effect
from apps.audit.recording.admission import RUNS_OUT
from apps.audit.stories.events import RAN_OUT, entry_of, events_of, run_of
from apps.audit.stories.timeline import Run, Thing, in_order, peak, runs
from apps.live.counted import stream_key, thing
from apps.live.models import Lease
from apps.live.tasks import KEPT
from apps.protocol.methods import METHODS, RUNS, STREAM_ACTIONS, find
from apps.protocol.numbers import NumberPlan
from apps.streams.models import Stream

READ = 500
"""Publications and playbacks that are read for one page."""

EVENTS_READ = 1_200
"""Events that those are put together from, where nothing else is known of them any more."""

REFUSED_SHOWN = 50
EARLIER = timedelta(days=1)
"""How long before a time something may have begun to be found in it, unless it runs still."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one client did with the stream: published or played it."""

    id: str
    action: str
    username: str
    address: str
    thing: Thing
    run: Run

    @property
    def who(self) -> str:
        """Who it was; guests are told apart by their addresses, as limits do."""
        return self.username or (f"a guest from {self.address}" if self.address else "a guest")

    @property
    def who_in_short(self) -> str:
        """The same, where there is little room."""
        return self.username or self.address or "a guest"


@dataclass(frozen=True, slots=True)
class StreamStory:
    """What publishers and viewers did in a time, in the order in which they came, and the newest refusals.

    `is_known` is False where the viewer may see nothing of it; `is_cut` says that there was more than is read.
    """

    publishers: tuple[Part, ...] = ()
    viewers: tuple[Part, ...] = ()
    publishers_peak: tuple[int, datetime | None] = (0, None)
    viewers_peak: tuple[int, datetime | None] = (0, None)
    refused: tuple[AuditEvent, ...] = ()
    more_refused: bool = False
    is_known: bool = True
    is_cut: bool = False


def stream_story(
    name: str, since: datetime, until: datetime, now: datetime, *, with_log: bool, with_leases: bool
) -> StreamStory:
    """What happened to a stream between two moments: from what is known of what ran, else from the hooks alone."""
    parts: list[Part] = []
    is_known, is_cut = True, False
    if with_leases and since >= now - KEPT:
        parts, is_cut = _of_leases(name, since, until, now)
    elif with_log:
        parts, is_cut = _of_events(name, since, until)
    else:
        is_known = False
    refused = list(_refused(name, since, until)[: REFUSED_SHOWN + 1]) if with_log else []
    publishers, viewers = (
        tuple(sorted((part for part in parts if part.action == action), key=lambda part: (part.run.asked, part.id)))
        for action in STREAM_ACTIONS
    )
    end = min(until, now)
    return StreamStory(
        publishers,
        viewers,
        peak((part.run for part in publishers), since, end),
        peak((part.run for part in viewers), since, end),
        tuple(refused[:REFUSED_SHOWN]),
        len(refused) > REFUSED_SHOWN,
        is_known,
        is_cut,
    )


def _of_leases(name: str, since: datetime, until: datetime, now: datetime) -> tuple[list[Part], bool]:
    """What began in the time; what began up to a day before and went on into it; and whatever runs still."""
    leases = Lease.objects.filter(action__in=STREAM_ACTIONS).select_related("cut").order_by("-opened_at")
    of_stream = leases.filter(target=name)
    in_time = of_stream.filter(opened_at__gte=since, opened_at__lt=until)[: READ + 1]
    lasting = Q(ended_at=None) | Q(ended_at__gt=since)
    before = of_stream.filter(lasting, opened_at__gte=since - EARLIER, opened_at__lt=since)[: READ + 1]
    still = _running(leases, name).filter(opened_at__lt=since - EARLIER)[: READ + 1]
    found = [*in_time, *before, *still]
    parts = [_of_lease(lease, now) for lease in found]
    kept = [part for part in parts if part.run.ended is None or part.run.ended > since]
    return kept[:READ], len(kept) > READ


def _running(leases: QuerySet[Lease], name: str) -> QuerySet[Lease]:
    """What runs of a stream, found by what limits count it by (`live_keys`, an index of its own), then by its name."""
    source = Stream.objects.filter(name=name).values_list("source", flat=True).first() or ""
    what = thing("play", name, source, NumberPlan())
    keys = [stream_key(action, what) for action in STREAM_ACTIONS]
    counted = RawSQL("counted && %s::text[]", (keys,), output_field=BooleanField())
    return leases.filter(counted, target=name, ended_at=None)


def _of_lease(lease: Lease, now: datetime) -> Part:
    return Part(
        str(lease.record_id),
        lease.action,
        lease.username,
        lease.client_address or "",
        Thing(lease.node_id, lease.session_id, lease.key),
        run_of(lease, now),
    )


def _of_events(name: str, since: datetime, until: datetime) -> tuple[list[Part], bool]:
    """The same as far as hooks say it: an end that named no stream is not among them."""
    methods = [method for method in METHODS if method.action in STREAM_ACTIONS and method.extent is RUNS]
    methods += [method for method in METHODS if set(method.tells_of) & set(STREAM_ACTIONS)]
    wanted = [spelling for method in methods for spelling in (method.name, *method.aliases)]
    events = events_of(since - EARLIER, until, margin=timedelta(days=31)).filter(
        target=name, effect=Effect.ALLOWED, method__in=wanted
    )
    found = list(events.order_by("-received_at")[: EVENTS_READ + 1])
    ran = runs(in_order(map(entry_of, found)))
    parts = [_of_event(event, ran[str(event.pk)]) for event in found if str(event.pk) in ran]
    kept = [part for part in parts if part.run.ended is None or part.run.ended > since]
    return kept[:READ], len(kept) > READ or len(found) > EVENTS_READ


def _of_event(event: AuditEvent, run: Run) -> Part:
    method = find(event.method)
    if method is not None and method.end_unreported:
        run = Run(run.asked, run.asked, event.last_received_at + RUNS_OUT, RAN_OUT)
    place = Thing(event.node_id, event.session_id, event.media_session_id)
    return Part(str(event.pk), event.action, event.username, event.client_address or "", place, run)


def _refused(name: str, since: datetime, until: datetime) -> QuerySet[AuditEvent]:
    asked = events_of(since, until).filter(target=name, effect=Effect.REFUSED, action__in=STREAM_ACTIONS)
    return asked.order_by("-received_at")


def people(parts: Iterable[Part]) -> int:
    """How many different people these are."""
    return len({part.who for part in parts})
