"""The bars of a chart of what ran over a time: where each stands, in units of the drawing. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

WIDTH = 1000
LABELS = 190
"""Units on the left that names have."""

ROW = 22
HEAD = 26
ROOM = 170
"""Units that a name has beside its bar."""

GAP = 6
"""Units between them."""

NARROWEST = 2.0
"""So wide is what was over at once."""

SHORTEST = timedelta(minutes=5)
"""At least so much time is drawn."""

STEPS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180, 360, 1440, 2880, 7200))
MOST_TICKS = 9


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its place, which kind it is of, whom it names, and what it says in words."""

    x: float
    y: int
    width: float
    kind: str
    name: str
    title: str
    url: str = ""

    @property
    def beside(self) -> float:
        """Where its name ends if it does not stand at the beginning of the line: before it, where there is room, else
        at its own end, or a little behind it."""
        return self.x - GAP if self.x - LABELS > ROOM else max(self.x + self.width - GAP, self.x + ROOM)


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn: bars, each in a row of its own, and moments along the top."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    height: int
    width: int = WIDTH
    labels: int = LABELS


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a bar stands for."""

    since: datetime
    until: datetime
    kind: str
    name: str
    title: str
    url: str = ""


def chart(stretches: Sequence[Stretch], since: datetime, until: datetime, zone: tzinfo) -> Chart:
    """The chart of these over a time, as much of it as has any; what began before or goes on after it is cut off."""
    since, until = _drawn(stretches, since, until)
    bars = tuple(_bar(number, stretch, since, until) for number, stretch in enumerate(stretches))
    ticks = tuple((_x(moment, since, until), text) for moment, text in _ticks(since, until, zone))
    return Chart(bars, ticks, HEAD + ROW * len(bars))


def _drawn(stretches: Sequence[Stretch], since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """The time in which there is something, with a little beside it."""
    if not stretches:
        return since, until
    first = max(since, min(stretch.since for stretch in stretches))
    last = min(until, max(stretch.until for stretch in stretches))
    beside = max((last - first) / 20, (SHORTEST - (last - first)) / 2)
    return max(since, first - beside), min(until, last + beside)


def _bar(number: int, stretch: Stretch, since: datetime, until: datetime) -> Bar:
    first, last = _x(stretch.since, since, until), _x(stretch.until, since, until)
    first = min(first, WIDTH - NARROWEST)
    return Bar(
        x=first,
        y=HEAD + ROW * number,
        width=max(NARROWEST, round(last - first, 1)),
        kind=stretch.kind,
        name=stretch.name,
        title=stretch.title,
        url=stretch.url,
    )


def _x(moment: datetime, since: datetime, until: datetime) -> float:
    share = (moment - since) / (until - since)
    return round(LABELS + (WIDTH - LABELS) * min(1.0, max(0.0, share)), 1)


def _ticks(since: datetime, until: datetime, zone: tzinfo) -> Iterable[tuple[datetime, str]]:
    step = next((step for step in STEPS if (until - since) / step <= MOST_TICKS), (until - since) / MOST_TICKS)
    form = "%m-%d" if step >= timedelta(days=1) else "%H:%M"
    midnight = since.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    moment = midnight + step * ((since - midnight) // step + 1)
    date = "%m-%d %H:%M"  # once, as it may be any day
    while moment < until:
        yield moment, f"{moment.astimezone(zone):{date if form == '%H:%M' else form}}"
        date = form
        moment += step
