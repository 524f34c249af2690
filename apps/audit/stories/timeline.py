"""What makes a story of single entries: their order, repeats, what ran and for how long, when nothing was heard. Pure.

Hooks are recorded by several processes, so an end may be heard a moment before what it ends. And clients choose ids:
what one entry is about is known only by node, session and id together.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum

SLACK = timedelta(seconds=10)
"""How much later than its end the beginning of something may have been heard."""

QUIET = timedelta(minutes=10)
"""For so long nothing must have come for that to be worth a word."""

ALTHOUGH_REFUSED = ", although that had been refused"
"""Of what WCS says that it began against what it was answered."""


class Phase(IntEnum):
    """What an entry is to the thing that it is about, in the order in which that goes on."""

    ASKED = 0  # and let in, so that it may begin
    STARTED = 1
    MEANWHILE = 2
    ENDED = 3


@dataclass(frozen=True, slots=True)
class Thing:
    """What an entry is about: a stream or a call by its id, or (without one) the session itself.

    What is about nothing in WCS, as a change by staff, is on no node.
    """

    node: str
    session: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, in words. `id` is that of the audit event; `last_at` of the last time, if repeated."""

    id: str
    at: datetime
    last_at: datetime
    thing: Thing
    phase: Phase
    text: str
    outcome: str = "noted"
    why: str = ""
    status: str = ""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """When something ran. `started` is None where only its being let in is known, `ended` where no end was heard.

    `is_known` says that it is known from what runs, and not only from hooks; `ordered_by` who ordered it to end.
    """

    asked: datetime
    started: datetime | None = None
    ended: datetime | None = None
    why: str = ""
    is_known: bool = False
    ordered_by: str = ""

    @property
    def began(self) -> datetime:
        """From when on it is counted."""
        return self.started or self.asked

    @property
    def has_begun(self) -> bool:
        """Whether WCS has said that it began. What has not is only let in: it is not counted."""
        return self.started is not None

    @property
    def never_began(self) -> bool:
        """Whether it was over before it had started, as what fails is."""
        return self.started is None and self.ended is not None

    def lasted(self, now: datetime) -> timedelta:
        """For how long it ran, or has run by now."""
        return max(timedelta(0), (self.ended or now) - self.began)


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which nothing was heard."""

    since: datetime
    until: datetime


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """The entries as they must have happened: by time, but no end before the beginning that came right behind it."""
    heard = sorted(entries, key=lambda entry: (entry.at, entry.phase, entry.id))
    of_thing: dict[Thing, list[Entry]] = {}
    for entry in heard:
        of_thing.setdefault(entry.thing, []).append(entry)
    places = {id_: place for same in of_thing.values() for id_, place in _places(same)}
    return sorted(heard, key=lambda entry: (places[entry.id], entry.phase, entry.id))


def _places(same: Sequence[Entry]) -> Iterator[tuple[str, datetime]]:
    """For each of the entries about one thing the moment behind which it belongs."""
    seen: set[Phase] = set()
    for number, entry in enumerate(same):
        missing = {phase for phase in (Phase.ASKED, Phase.STARTED) if phase < entry.phase} - seen
        is_moved = entry.phase in (Phase.STARTED, Phase.ENDED)
        yield entry.id, _behind(entry, same[number + 1 :], missing) if is_moved else entry.at
        if entry.phase in (Phase.ASKED, Phase.ENDED):
            seen.clear()
        if entry.phase in (Phase.ASKED, Phase.STARTED):
            seen.add(entry.phase)


def _behind(entry: Entry, later: Iterable[Entry], missing: set[Phase]) -> datetime:
    """The moment of the last of what had to come before it, and was heard a little later."""
    place = entry.at
    for other in later:
        if other.phase is Phase.MEANWHILE:
            continue
        if other.phase not in missing or other.at > entry.at + SLACK:
            break
        missing.discard(other.phase)
        place = other.at
    return place


def unheeded(entries: Iterable[Entry], refused: Container[str]) -> Iterator[Entry]:
    """The entries in order, with the ids of those that were to let something in and did not. Those by which WCS says
    that it began all the same say so."""
    is_refused: dict[Thing, bool] = {}
    for entry in entries:
        if entry.id in refused or entry.phase is Phase.ASKED:
            is_refused[entry.thing] = entry.id in refused
        if entry.phase is Phase.STARTED and is_refused.get(entry.thing):
            yield replace(entry, text=f"{entry.text}{ALTHOUGH_REFUSED}")
        else:
            yield entry


def folded(entries: Iterable[Entry]) -> list[Entry]:
    """Entries in order, where what says the same as the one before about its thing is counted there."""
    told: list[Entry] = []
    latest: dict[Thing, int] = {}
    for entry in entries:
        number = latest.get(entry.thing)
        before = told[number] if number is not None else None
        if number is not None and before is not None and _says(before) == _says(entry):
            last_at = max(before.last_at, entry.last_at)
            told[number] = replace(before, times=before.times + entry.times, last_at=last_at)
        else:
            latest[entry.thing] = len(told)
            told.append(entry)
    return told


def _says(entry: Entry) -> tuple[str, str, str]:
    return entry.text, entry.outcome, entry.why


def runs(entries: Iterable[Entry]) -> dict[str, Run]:
    """What ran, by the id of the entry that let it in; the entries are in order. A session takes all in it along."""
    found: dict[str, Run] = {}
    running: dict[Thing, str] = {}
    for entry in entries:
        if entry.phase is Phase.ASKED and entry.thing not in running:
            running[entry.thing] = entry.id
            found[entry.id] = Run(entry.at)
        elif entry.phase is Phase.STARTED and (id_ := running.get(entry.thing)):
            found[id_] = replace(found[id_], started=found[id_].started or entry.at)
        elif entry.phase is Phase.ENDED:
            for thing in [thing for thing in running if _ends(entry.thing, thing)]:
                id_ = running.pop(thing)
                found[id_] = replace(found[id_], ended=max(entry.at, found[id_].began), why=entry.status)
    return found


def _ends(ended: Thing, thing: Thing) -> bool:
    in_it = not ended.key and (ended.node, ended.session) == (thing.node, thing.session)
    return in_it or ended == thing


def with_gaps(entries: Iterable[Entry]) -> Iterator[Entry | Gap]:
    """The entries in order, and in between the times in which nothing was heard, whatever staff did meanwhile."""
    until: datetime | None = None
    for entry in entries:
        if not entry.thing.node:
            yield entry
            continue
        if until is not None and entry.at - until >= QUIET:
            yield Gap(until, entry.at)
        yield entry
        until = max(until, entry.last_at) if until else entry.last_at


def peak(ran: Iterable[Run], since: datetime, until: datetime) -> tuple[int, datetime | None]:
    """How many ran at once at most between two moments, and from when on; what never began does not count."""
    edges: list[tuple[datetime, int]] = []
    for run in ran:
        first, last = max(run.began, since), min(run.ended or until, until)
        if run.has_begun and first < last:
            edges += [(first, 1), (last, -1)]
    most, now, when = 0, 0, None
    for moment, change in sorted(edges):
        now += change
        if now > most:
            most, when = now, moment
    return most, when


def lasting(time: timedelta) -> str:
    """A length of time as it is said: 45 s, 12 min, 3 h 5 min, 2 days 4 h."""
    seconds = int(time.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} day{'s' * (days > 1)}" + (f" {hours} h" if hours else "")
