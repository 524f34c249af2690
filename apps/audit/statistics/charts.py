"""Charts as markup: values in, an SVG with its axes out. Pure; whatever comes in is escaped here.

The drawing is stretched to the place it has, while its texts are HTML beside it, and so can be read on a phone. Colours
are classes (`wcsgate-series-1` and so on, in charts.css), lines also differ by their dashes. Each has a title, and each
of its places tells its values; a table belongs beside it for whoever cannot see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

HEIGHT = 100
LABELS = 5
"""So many places of the time are labelled."""

_GAP = 0.15  # of the room of a bar
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one part of each bar. None is where nothing is known."""

    name: str
    values: tuple[float | None, ...]
    tone: int
    """Which of the colours."""


def stacked_bars(title: str, places: Sequence[str], series: Sequence[Series], unit: str = "") -> str:
    """A bar for each place, made of the values of all series, the first at the bottom; in this unit, if not counted."""
    tops = [0.0] * len(places)
    whole = [sum(each.values[index] or 0 for each in series) for index in range(len(places))]
    most = ceiling(max(whole, default=0))
    drawn = []
    for each in series:
        bars = []
        for index, value in enumerate(each.values):
            if value:
                height = HEIGHT * value / most
                tops[index] += height
                bars.append(f"M{index + _GAP / 2:g} {HEIGHT - tops[index]:.2f}h{1 - _GAP:g}v{height:.2f}h{_GAP - 1:g}z")
        drawn.append(f'<path class="wcsgate-fill wcsgate-series-{each.tone}" d="{"".join(bars)}"/>')
    return _framed(title, places, series, "".join(drawn), most, unit)


def lines(title: str, places: Sequence[str], series: Sequence[Series]) -> str:
    """A line for each series; broken where nothing is known, and a dot where only one place is."""
    most = ceiling(max((value or 0 for each in series for value in each.values), default=0))
    drawn = [
        f'<path class="wcsgate-line-of wcsgate-series-{each.tone}" d="{_line(each.values, most)}"/>'
        f'<path class="wcsgate-dots wcsgate-series-{each.tone}" d="{_dots(each.values, most)}"/>'
        for each in series
    ]
    return _framed(title, places, series, "".join(drawn), most)


def _line(values: Sequence[float | None], most: float) -> str:
    steps, pen_down = [], False
    for index, value in enumerate(values):
        if value is not None:
            steps.append(f"{'L' if pen_down else 'M'}{_at(index, value, most)}")
        pen_down = value is not None
    return "".join(steps)


def _dots(values: Sequence[float | None], most: float) -> str:
    """What would be a line of no length: known, and neither what is before it nor what comes after is."""
    around = [None, *values, None]
    alone = [index for index in range(len(values)) if around[index] is None and around[index + 2] is None]
    return "".join(f"M{_at(index, value, most)}h0" for index in alone if (value := values[index]) is not None)


def _at(index: int, value: float, most: float) -> str:
    return f"{index + 0.5:g} {HEIGHT - HEIGHT * value / most:.2f}"


def heat_map(title: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float | None]]) -> str:
    """A field for each row and column, the stronger the higher its value; empty where nothing is known."""
    most = max((value or 0 for row in values for value in row), default=0) or 1
    fields = []
    for y, (row, name) in enumerate(zip(values, rows, strict=True)):
        for x, (value, column) in enumerate(zip(row, columns, strict=True)):
            if value is not None:
                fields.append(
                    f'<rect class="wcsgate-heat" x="{x}" y="{y}" width="1" height="1" '
                    f'fill-opacity="{0.04 + 0.96 * value / most:.3f}"><title>{escape(name)} {escape(column)}: '
                    f"{number(value)}</title></rect>"
                )
    drawing = _svg(title, f"0 0 {len(columns)} {len(rows)}", "".join(fields))
    return (
        f'<div class="wcsgate-chart wcsgate-chart-heat">{_labels("wcsgate-chart-rows", rows)}{drawing}'
        f"{_below(columns)}</div>"
    )


def share(value: float, most: float) -> str:
    """How much of the most it is, as a bar for the cell of a table, beside the number that says it."""
    width = 100 * value / most if most else 0
    bar = f'<rect class="wcsgate-fill wcsgate-series-1" width="{width:.1f}" height="8"/>'
    return (
        '<svg class="wcsgate-share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">' + bar + "</svg>"
    )


def ceiling(most: float) -> float:
    """A round number that is not less: where the axis ends."""
    if most <= 1:
        return 1
    power = 10.0 ** (len(str(int(most))) - 1)
    return next(step * power for step in _STEPS if step * power >= most)


def number(value: float, unit: str = "") -> str:
    """With thousands apart; a decimal only where there is little before it."""
    told = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"
    return f"{told}\N{NO-BREAK SPACE}{unit}" if unit else told


def _framed(
    title: str, places: Sequence[str], series: Sequence[Series], drawn: str, most: float, unit: str = ""
) -> str:
    told = "".join(
        f'<rect class="wcsgate-place" x="{index}" width="1" height="{HEIGHT}">'
        f"<title>{escape(_told(place, series, index, unit))}</title></rect>"
        for index, place in enumerate(places)
    )
    grid = (
        f'<path class="wcsgate-grid" d="M0 0H{len(places)}M0 {HEIGHT / 2:g}H{len(places)}M0 {HEIGHT}H{len(places)}"/>'
    )
    drawing = _svg(title, f"0 0 {max(len(places), 1)} {HEIGHT}", grid + drawn + told)
    middle = number(most / 2, unit) if unit or (most / 2).is_integer() else ""  # nobody counts two viewers and a half
    ticks = [number(most, unit), middle, "0"]
    legend = "".join(
        f'<li><svg class="wcsgate-key" viewBox="0 0 20 10" aria-hidden="true">'
        f'<path class="wcsgate-line-of wcsgate-series-{each.tone}" d="M0 5H20"/></svg>{escape(each.name)}</li>'
        for each in series
    )
    return (
        f'<ul class="wcsgate-legend" aria-hidden="true">{legend}</ul><div class="wcsgate-chart">'
        f"{_labels('wcsgate-chart-y', ticks)}{drawing}{_below(places)}</div>"
    )


def _told(place: str, series: Sequence[Series], index: int, unit: str) -> str:
    values = [(each.name, each.values[index]) for each in series]
    said = ", ".join(f"{number(value, unit)} {name.lower()}" for name, value in values if value is not None)
    return f"{place}: {said or 'not known'}"


def _svg(title: str, box: str, drawn: str) -> str:
    return (
        f'<svg class="wcsgate-drawing" viewBox="{box}" preserveAspectRatio="none" role="img">'
        f"<title>{escape(title)}</title>{drawn}</svg>"
    )


def _below(places: Sequence[str]) -> str:
    """Where there are few, each stands below the middle of its own place; else as many as have room, evenly spread,
    with the first and the last at the ends.
    """
    if len(places) <= LABELS:
        return _labels("wcsgate-chart-x wcsgate-few", places)
    shown = [places[round(step * (len(places) - 1) / (LABELS - 1))] for step in range(LABELS)]
    return _labels("wcsgate-chart-x", shown)


def _labels(where: str, texts: Sequence[str]) -> str:
    spans = "".join(f"<span>{escape(text)}</span>" for text in texts)
    return f'<div class="{where}" aria-hidden="true">{spans}</div>'
