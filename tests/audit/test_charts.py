"""Charts as markup: what is drawn is what the values say, and nothing that comes in is markup."""

import re
from xml.etree import ElementTree

import pytest

from apps.audit.statistics.charts import HEIGHT, Series, ceiling, heat_map, lines, number, share, stacked_bars

EVIL = "<script>\"'&"


def svg_of(markup):
    """The drawing; it has to be well-formed."""
    whole = ElementTree.fromstring(f"<div>{markup}</div>")
    return next(each for each in whole.iter("svg") if each.get("role") == "img")


def paths(markup, name):
    return [path.get("d") for path in svg_of(markup).iter("path") if name in path.get("class")]


def titles(markup):
    return [title.text for title in svg_of(markup).iter("title")]


def test_bars_stand_on_each_other():
    first, second = paths(
        stacked_bars("Hooks", ["Mon", "Tue"], [Series("Allowed", (5, 0), 1), Series("Refused", (3, 10), 2)]),
        "wcsgate-fill",
    )
    assert first == "M0.075 50.00h0.85v50.00h-0.85z"
    assert second == "M0.075 20.00h0.85v30.00h-0.85zM1.075 0.00h0.85v100.00h-0.85z"


def test_a_line_is_broken_where_nothing_is_known():
    drawn = lines("Viewers", list("abcd"), [Series("Viewers", (0, 10, None, 5), 1)])
    assert paths(drawn, "wcsgate-line-of") == ["M0.5 100.00L1.5 0.00M3.5 50.00"]


@pytest.mark.parametrize(
    ("values", "dots"),
    [
        ((0, 10, None, 5), "M3.5 50.00h0"),
        ((None, None, 10), "M2.5 0.00h0"),
        ((10, None, 0), "M0.5 0.00h0M2.5 100.00h0"),
        ((10,), "M0.5 0.00h0"),
        ((10, 5), ""),
        ((None, 10, 10, None), ""),
        ((None,), ""),
    ],
)
def test_what_is_known_of_one_place_alone_is_a_dot(values, dots):
    assert paths(lines("At once", list("abcd")[: len(values)], [Series("Viewers", values, 1)]), "wcsgate-dots") == [
        dots
    ]


def test_the_axis_of_what_is_counted_has_whole_numbers():
    def ticks(*values, unit=""):
        drawn = stacked_bars("Hooks", ["Mon"] * len(values), [Series("Hooks", values, 1)], unit)
        return re.findall(r"<span>(.*?)</span>", drawn.partition("wcsgate-chart-y")[2].partition("</div>")[0])

    assert ticks(1) == ["1", "", "0"]
    assert ticks(4) == ["5", "", "0"]
    assert ticks(17) == ["20", "10", "0"]
    assert ticks(4, unit="h") == ["5\xa0h", "2.5\xa0h", "0"]


def test_each_place_tells_its_values():
    told = titles(
        lines("At once", ["Mon", "Tue"], [Series("Viewers", (1234, None), 1), Series("Calls", (0.5, None), 2)])
    )
    assert told == ["At once", "Mon: 1,234 viewers, 0.5 calls", "Tue: not known"]


def test_a_field_is_the_stronger_the_higher_its_value_and_missing_where_nothing_is_known():
    chart = heat_map("Busy", ["Mon"], ["00:00", "01:00", "02:00"], [[0, None, 4]])
    fields = [(rect.get("x"), rect.get("fill-opacity")) for rect in svg_of(chart).iter("rect")]
    assert fields == [("0", "0.040"), ("2", "1.000")]
    assert titles(chart)[1:] == ["Mon 00:00: 0", "Mon 02:00: 4"]


def test_a_share_is_as_wide_as_it_says():
    assert 'width="25.0"' in share(1, 4)
    assert 'width="0.0"' in share(0, 0)


@pytest.mark.parametrize(
    "chart",
    [
        lambda: stacked_bars(EVIL, [EVIL], [Series(EVIL, (1,), 1)]),
        lambda: lines(EVIL, [EVIL], [Series(EVIL, (1,), 1)]),
        lambda: heat_map(EVIL, [EVIL], [EVIL], [[1]]),
    ],
)
def test_nothing_that_comes_in_is_markup(chart):
    markup = chart()
    assert "<script" not in markup
    assert titles(markup)[0] == EVIL


def test_charts_of_nothing_are_charts():
    assert titles(stacked_bars("None", [], [])) == ["None"]
    assert paths(lines("None", ["a"], [Series("Viewers", (None,), 1)]), "wcsgate-line-of") == [""]
    assert titles(heat_map("None", [], [], [])) == ["None"]


def test_few_places_are_labelled_whatever_there_are():
    places = [str(number) for number in range(365)]
    labels = re.search(r'<div class="wcsgate-chart-x"[^>]*>(.*?)</div>', lines("Days", places, [])).group(1)
    assert re.findall(r"<span>(\d+)</span>", labels) == ["0", "91", "182", "273", "364"]


@pytest.mark.parametrize(
    ("most", "top"),
    [(0, 1), (0.4, 1), (1, 1), (1.5, 2), (3, 5), (7, 10), (10, 10), (11, 20), (212, 500), (99_999, 100_000)],
)
def test_axes_end_at_round_numbers(most, top):
    assert ceiling(most) == top
    assert HEIGHT * most / top <= HEIGHT


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.25, "0.2"), (12, "12"), (12.5, "12.5"), (1234.5, "1,234")])
def test_numbers_are_readable(value, text):
    assert number(value) == text
