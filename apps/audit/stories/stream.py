"""The story of a stream: who published it, who watched, for how long, how many at once, and who was refused."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.utils import timezone

from apps.audit.browsing.paging import TakesTooLong, patience
from apps.audit.models import AuditEvent, Effect, NameTime
from apps.audit.recording.admission import RUNS_OUT
from apps.audit.stories.events import RAN_OUT, entry_of, events_of, run_of
from apps.audit.stories.timeline import Run, Thing, in_order, peak, runs
from apps.live.counted import stream_key, thing
from apps.live.models import Lease
from apps.live.tasks import KEPT
from apps.protocol.methods import METHODS, RUNS, STREAM_ACTIONS, find
from apps.protocol.numbers import NumberPlan
from apps.streams.models import Stream

LOOKED_AT = 1_000
"""Publications, and as many playbacks, that are counted for one page."""

EVENTS_READ = 150
"""Events that playbacks are put together from, where nothing else is known of them any more."""

PUBLISHED_READ = 4
"""Publications, there: these are found for themselves, lest those who watch hide who published."""

PATIENCE = timedelta(seconds=1)
"""How long Postgres may look for these among the events."""

REFUSED_SHOWN = 25
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
class Did:
    """What clients were let in to do with the stream in one way, in that order; and the most at once, from when on, or
    on which day. `at_least` says that there was more than was looked at: the newest were.
    """

    parts: tuple[Part, ...] = ()
    peak: tuple[int, datetime | date | None] = (0, None)
    at_least: bool = False

    @property
    def begun(self) -> tuple[Part, ...]:
        """Those of which WCS said that they began. They alone are counted."""
        return tuple(part for part in self.parts if part.run.has_begun)

    @property
    def only_let_in(self) -> int:
        """How many have neither begun nor ended, as far as is known."""
        return sum(not part.run.has_begun and part.run.ended is None for part in self.parts)

    @property
    def people(self) -> int:
        """How many different people did it."""
        return len({part.who for part in self.begun})

    @property
    def running(self) -> int:
        """How many have begun and not ended, as far as is known."""
        return sum(part.run.ended is None for part in self.begun)


@dataclass(frozen=True, slots=True)
class StreamStory:
    """What publishers and viewers did in a time, and the newest refusals.

    `is_known` is False where the viewer may see nothing of it.
    """

    published: Did = Did()
    watched: Did = Did()
    refused: tuple[AuditEvent, ...] = ()
    more_refused: bool = False
    is_known: bool = True


def stream_story(
    name: str, since: datetime, until: datetime, now: datetime, *, with_log: bool, with_leases: bool
) -> StreamStory:
    """What happened to a stream between two moments: from what is known of what ran, else from the hooks alone."""
    refused = list(_refused(name, since, until)[: REFUSED_SHOWN + 1]) if with_log else []
    told = tuple(refused[:REFUSED_SHOWN]), len(refused) > REFUSED_SHOWN
    if with_leases and since >= now - KEPT:
        found = {action: _of_leases(name, action, since, until, now) for action in STREAM_ACTIONS}
    elif with_log:
        found = _of_events(name, since, until)
    else:
        return StreamStory(Did(), Did(), *told, is_known=False)
    published, watched = (_did(name, action, *found[action], since, until, now) for action in ("publish", "play"))
    return StreamStory(published, watched, *told)


def _did(
    name: str, action: str, parts: list[Part], at_least: bool, since: datetime, until: datetime, now: datetime
) -> Did:
    """Where not all was looked at, the most at once may be known from what was measured day by day."""
    parts = sorted(parts, key=lambda part: (part.run.asked, part.id))
    most: tuple[int, datetime | date | None] = peak((part.run for part in parts), since, min(until, now))
    if at_least:
        most = max(most, _measured(name, action, since, until, now), key=lambda found: found[0])
    return Did(tuple(parts), most, at_least)


def _measured(name: str, action: str, since: datetime, until: datetime, now: datetime) -> tuple[int, date | None]:
    """The most at once on a day that lies within the time as a whole, and which one."""
    zone = timezone.get_default_timezone()
    first, last = since.astimezone(zone).date(), min(until, now).astimezone(zone).date()
    days = [first + timedelta(days=number) for number in range(1, (last - first).days + (until >= now))]
    of_day = NameTime.objects.filter(span="day", about="target", name=name, action=action, starts_on__in=days)
    return of_day.order_by("-peak", "starts_on").values_list("peak", "starts_on").first() or (0, None)


def _of_leases(name: str, action: str, since: datetime, until: datetime, now: datetime) -> tuple[list[Part], bool]:
    """What began in the time; what began up to a day before and went on into it; and whatever runs still. The newest,
    and whether there were more."""
    leases = Lease.objects.filter(action=action).order_by("-opened_at")
    of_stream = leases.filter(target=name)
    lasting = Q(ended_at=None) | Q(ended_at__gt=since)
    kept: list[Part] = []
    for some in (
        of_stream.filter(opened_at__gte=since, opened_at__lt=until),
        of_stream.filter(lasting, opened_at__gte=since - EARLIER, opened_at__lt=since),
        _running(leases, name, action).filter(opened_at__lt=since - EARLIER),
    ):
        read = some.values_list(*READ_OF_LEASES, named=True)[: LOOKED_AT + 1 - len(kept)]
        parts = (_of_lease(lease, now) for lease in read)
        kept += [part for part in parts if part.run.ended is None or part.run.ended > since]
    return kept[:LOOKED_AT], len(kept) > LOOKED_AT


READ_OF_LEASES = (
    *("record_id", "action", "username", "client_address", "node_id", "session_id", "key", "opened_at", "started_at"),
    *("ended_at", "runs_out_at", "end_reason", "cut__ordered_by"),
)


def _running(leases: QuerySet[Lease], name: str, action: str) -> QuerySet[Lease]:
    """What runs of a stream, found by what limits count it by (`live_keys`, an index of its own), then by its name."""
    source = Stream.objects.filter(name=name).values_list("source", flat=True).first() or ""
    key = stream_key(action, thing("play", name, source, NumberPlan()))
    counted = RawSQL("counted && %s::text[]", ([key],), output_field=BooleanField())
    return leases.filter(counted, target=name, ended_at=None)


def _of_lease(lease: Any, now: datetime) -> Part:
    """A row of READ_OF_LEASES."""
    return Part(
        str(lease.record_id),
        lease.action,
        lease.username,
        lease.client_address or "",
        Thing(lease.node_id, lease.session_id, lease.key),
        replace(run_of(lease, now), ordered_by=lease.cut__ordered_by or ""),
    )


def _of_events(name: str, since: datetime, until: datetime) -> dict[str, tuple[list[Part], bool]]:
    """The same as far as hooks say it, of each action: an end that named no stream is not among them."""
    of_stream = events_of(since - EARLIER, until, margin=timedelta(days=31)).filter(target=name, effect=Effect.ALLOWED)
    newest = of_stream.order_by("-received_at")
    found = list(newest.filter(method__in=_spellings(*STREAM_ACTIONS))[: EVENTS_READ + 1])
    more = len(found) > EVENTS_READ
    published, more_published = _publications(newest) if more else ([], False)
    events = {event.pk: event for event in (*published, *found)}.values()
    ran = runs(in_order(map(entry_of, events)))
    parts = [_of_event(event, ran[str(event.pk)]) for event in events if str(event.pk) in ran]
    kept = [part for part in parts if part.run.ended is None or part.run.ended > since]
    of = {action: [part for part in kept if part.action == action] for action in STREAM_ACTIONS}
    return {action: (of[action], more_published if action == "publish" else more) for action in of}


def _publications(newest: QuerySet[AuditEvent]) -> tuple[list[AuditEvent], bool]:
    """The hooks that published it and what came after them in their sessions; and whether there may be more."""
    try:
        with patience(PATIENCE):
            asked = list(newest.filter(method__in=_spellings("publish", told=False))[: PUBLISHED_READ + 1])
            sessions = {event.session_id for event in asked}
            told = newest.filter(method__in=_spellings("publish"), session_id__in=sessions)
            return [*asked, *told[:EVENTS_READ]], len(asked) > PUBLISHED_READ
    except TakesTooLong:
        return [], True


def _spellings(*actions: str, told: bool = True) -> list[str]:
    """Methods by which one of these begins, and where wanted, those that tell of what has begun."""
    begin = [method for method in METHODS if method.action in actions and method.extent is RUNS]
    tell = [method for method in METHODS if set(method.tells_of) & set(actions)] if told else []
    return [spelling for method in (*begin, *tell) for spelling in (method.name, *method.aliases)]


def _of_event(event: AuditEvent, run: Run) -> Part:
    method = find(event.method)
    if method is not None and method.end_unreported:
        run = Run(run.asked, run.asked, event.last_received_at + RUNS_OUT, RAN_OUT)
    place = Thing(event.node_id, event.session_id, event.media_session_id)
    return Part(str(event.pk), event.action, event.username, event.client_address or "", place, run)


def _refused(name: str, since: datetime, until: datetime) -> QuerySet[AuditEvent]:
    asked = events_of(since, until).filter(target=name, effect=Effect.REFUSED, action__in=STREAM_ACTIONS)
    return asked.order_by("-received_at")
