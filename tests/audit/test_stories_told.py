"""Single entries made into a story: order, repeats, what ran, gaps, the most at once. No database."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.audit.stories.chart import GAP, HEAD, LABELS, NARROWEST, ROOM, ROW, WIDTH, Stretch, chart
from apps.audit.stories.timeline import (
    QUIET,
    SLACK,
    Entry,
    Gap,
    Phase,
    Run,
    Thing,
    folded,
    in_order,
    lasting,
    peak,
    runs,
    unheeded,
    with_gaps,
)

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
ASKED, STARTED, MEANWHILE, ENDED = Phase


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def entry(seconds, phase, key="m-1", *, node="n", text="", until=None, **fields):
    """Something that happened so many seconds past noon."""
    text = text or f"{key} {phase.name}"
    return Entry(
        id=f"{node} {key} {phase.name} {seconds}",
        at=at(seconds),
        last_at=at(until if until is not None else seconds),
        thing=Thing(node, "s", key),
        phase=phase,
        text=text,
        **fields,
    )


def texts(entries):
    return [one.text for one in entries]


# Order


def test_entries_are_told_by_time():
    entries = [entry(3, ENDED), entry(1, STARTED), entry(0, ASKED)]
    assert texts(in_order(entries)) == ["m-1 ASKED", "m-1 STARTED", "m-1 ENDED"]


def test_an_end_that_was_heard_before_its_beginning_is_told_behind_it():
    entries = [entry(0, ENDED), entry(0.1, STARTED), entry(0.2, ASKED), entry(0.15, ASKED, "m-2")]
    assert texts(in_order(entries)) == ["m-2 ASKED", "m-1 ASKED", "m-1 STARTED", "m-1 ENDED"]


def test_an_end_is_told_behind_a_start_that_was_heard_late():
    assert texts(in_order([entry(0, ASKED), entry(1, ENDED), entry(1.1, STARTED)])) == [
        "m-1 ASKED",
        "m-1 STARTED",
        "m-1 ENDED",
    ]


def test_an_end_stays_before_what_begins_anew_under_the_same_id():
    entries = [entry(0, ASKED), entry(1, STARTED), entry(2, ENDED), entry(3, ASKED), entry(4, STARTED)]
    assert in_order(entries) == entries


def test_a_failure_stays_before_another_try_under_the_same_id():
    entries = [entry(0, ASKED), entry(1, ENDED), entry(2, ASKED), entry(3, STARTED)]
    assert in_order(entries) == entries


def test_an_end_long_before_a_beginning_is_the_end_of_something_else():
    long = SLACK.total_seconds() + 1
    assert texts(in_order([entry(0, ENDED), entry(long, ASKED)])) == ["m-1 ENDED", "m-1 ASKED"]
    assert texts(in_order([entry(0, ENDED), entry(long - 1, ASKED)])) == ["m-1 ASKED", "m-1 ENDED"]


def test_what_happens_meanwhile_keeps_its_place():
    entries = [entry(0, MEANWHILE), entry(1, ASKED), entry(2, MEANWHILE, text="keep-alive"), entry(3, ENDED)]
    assert in_order(entries) == entries


def test_the_same_ids_on_two_nodes_are_two_things():
    entries = [entry(0, ENDED, node="a"), entry(1, ASKED, node="b"), entry(2, ENDED, node="b")]
    assert in_order(entries) == entries
    ran = runs([entry(0, ASKED, node="a"), entry(1, ASKED, node="b"), entry(5, ENDED, node="b")])
    assert [run.ended for run in ran.values()] == [None, at(5)]


# Repeats


def test_what_is_repeated_is_told_once_with_its_count():
    entries = [entry(0, MEANWHILE), entry(2, MEANWHILE, times=3, until=9), entry(12, MEANWHILE)]
    (one,) = folded(entries)
    assert (one.at, one.last_at, one.times) == (at(0), at(12), 5)


def test_repeats_about_two_streams_are_folded_though_they_take_turns():
    entries = [entry(seconds, MEANWHILE, f"m-{seconds % 2}") for seconds in range(10)]
    assert [(one.text, one.times) for one in folded(entries)] == [("m-0 MEANWHILE", 5), ("m-1 MEANWHILE", 5)]


@pytest.mark.parametrize("other", [{"text": "else"}, {"outcome": "refused"}, {"why": "No rule."}])
def test_what_comes_between_about_the_same_thing_parts_repeats(other):
    entries = [
        entry(0, MEANWHILE, text="a"),
        entry(1, MEANWHILE, **{"text": "a", **other}),
        entry(2, MEANWHILE, text="a"),
    ]
    assert [one.times for one in folded(entries)] == [1, 1, 1]


# What ran


def test_a_run_is_from_its_start_to_its_end_and_says_why():
    (run,) = runs([entry(0, ASKED), entry(2, STARTED), entry(62, ENDED, status="STOPPED")]).values()
    assert run == Run(at(0), at(2), at(62), "STOPPED")
    assert run.lasted(at(100)) == timedelta(seconds=60)


def test_a_run_without_an_end_goes_on():
    (run,) = runs([entry(0, ASKED), entry(2, STARTED)]).values()
    assert (run.ended, run.lasted(at(100))) == (None, timedelta(seconds=98))


def test_what_fails_before_it_starts_never_began():
    (run,) = runs([entry(0, ASKED), entry(2, ENDED, status="FAILED")]).values()
    assert run.never_began
    assert not Run(at(0)).never_began


def test_asking_again_for_what_runs_is_no_other_run():
    ran = runs([entry(0, ASKED), entry(1, ASKED), entry(9, ENDED)])
    assert list(ran.values()) == [Run(at(0), None, at(9))]


def test_an_id_that_is_used_again_after_an_end_is_another_run():
    ran = runs([entry(0, ASKED), entry(1, ENDED), entry(2, ASKED), entry(5, ENDED)])
    assert [(run.asked, run.ended) for run in ran.values()] == [(at(0), at(1)), (at(2), at(5))]


def test_an_end_of_nothing_and_a_start_of_nothing_are_no_runs():
    assert runs([entry(0, STARTED), entry(1, ENDED)]) == {}


def test_the_end_of_a_session_ends_everything_in_it_on_its_node_alone():
    entries = [
        entry(0, ASKED, ""),
        entry(1, ASKED, "m-1"),
        entry(2, ASKED, "m-1", node="other"),
        entry(9, ENDED, "", status="DISCONNECTED"),
    ]
    session, stream, elsewhere = runs(entries).values()
    assert (session.ended, stream.ended, elsewhere.ended) == (at(9), at(9), None)
    assert stream.why == "DISCONNECTED"


def test_a_run_never_ends_before_it_began():
    (run,) = runs(in_order([entry(0, ENDED), entry(1, ASKED)])).values()
    assert (run.ended, run.lasted(at(5))) == (at(1), timedelta(0))


# Gaps


def test_a_time_in_which_nothing_came_is_told():
    quiet = QUIET.total_seconds()
    entries = [entry(0, ASKED), entry(5, MEANWHILE, until=50), entry(50 + quiet, ENDED)]
    assert list(with_gaps(entries))[2] == Gap(at(50), at(50 + quiet))
    assert list(with_gaps([*entries[:2], entry(49 + quiet, ENDED)])) == [*entries[:2], entry(49 + quiet, ENDED)]


def test_what_staff_did_in_between_ends_no_gap():
    quiet = QUIET.total_seconds()
    entries = [entry(0, ASKED), entry(quiet / 2, MEANWHILE, node=""), entry(quiet, ENDED)]
    assert list(with_gaps(entries)) == [*entries[:2], Gap(at(0), at(quiet)), entries[2]]


def test_what_is_repeated_all_the_time_leaves_no_gap_though_others_come_in_between():
    quiet = QUIET.total_seconds()
    entries = [entry(0, MEANWHILE, until=3 * quiet), entry(5, ASKED, "m-2"), entry(3 * quiet + 1, ENDED)]
    assert list(with_gaps(entries)) == entries


def test_what_began_although_it_was_refused_says_so_until_it_was_let_in():
    entries = [
        entry(0, MEANWHILE, text="asked"),
        entry(1, STARTED, text="first"),
        entry(2, STARTED, "m-2", text="other"),
        entry(3, ASKED, text="asked"),
        entry(4, STARTED, text="second"),
    ]
    told = texts(unheeded(entries, {entries[0].id}))
    assert told == ["asked", "first, although that had been refused", "other", "asked", "second"]


# The most at once


def test_the_peak_is_the_most_that_ran_together_and_when():
    ran = [Run(at(0), at(0), at(10)), Run(at(5), at(6), at(20)), Run(at(8), at(8), None), Run(at(10), at(10), at(11))]
    assert peak(ran, at(-100), at(100)) == (3, at(8))


def test_one_that_follows_upon_another_is_not_at_once_with_it():
    assert peak([Run(at(0), at(0), at(10)), Run(at(10), at(10), at(20))], at(0), at(100)) == (1, at(0))


def test_what_never_began_or_ran_at_another_time_is_not_counted():
    never, let_in = Run(at(0), None, at(10)), Run(at(0), None, None)
    ran = [never, let_in, Run(at(200), at(200), None), Run(at(-50), at(-50), at(-10))]
    assert peak(ran, at(0), at(100)) == (0, None)


def test_what_runs_since_before_counts_from_the_beginning_of_the_time():
    assert peak([Run(at(-50), at(-50), None)], at(0), at(100)) == (1, at(0))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (725, "12 min"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (86_400, "1 day"),
        (2 * 86_400 + 4 * 3600, "2 days 4 h"),
    ],
)
def test_lengths_are_said_as_people_say_them(seconds, words):
    assert lasting(timedelta(seconds=seconds)) == words


# The chart


def stretch(since, until, kind="play"):
    return Stretch(at(since), at(until), kind, "bob", "bob watched")


def test_bars_stand_where_their_time_is_each_in_a_row_of_its_own():
    drawn = chart([stretch(0, 50, "publish"), stretch(25, 75)], at(0), at(100), UTC)
    assert [(bar.x, bar.y, bar.width) for bar in drawn.bars] == [
        (LABELS, HEAD, (WIDTH - LABELS) / 2),
        (LABELS + (WIDTH - LABELS) / 4, HEAD + ROW, (WIDTH - LABELS) / 2),
    ]
    assert drawn.height == HEAD + 2 * ROW


def test_bars_are_cut_off_at_the_edges_and_always_seen():
    drawn = chart([stretch(-50, 500), stretch(50, 50), stretch(100, 100)], at(0), at(100), UTC)
    whole, short, last = drawn.bars
    assert (whole.x, whole.width) == (LABELS, WIDTH - LABELS)
    assert short.width == NARROWEST
    assert last.x + last.width <= WIDTH


def test_only_the_time_is_drawn_that_has_something():
    """Ten minutes of a month would be one line."""
    drawn = chart([stretch(0, 300), stretch(300, 600)], at(-86_400), at(86_400 * 30), UTC)
    first, second = drawn.bars
    width = (WIDTH - LABELS) / 11
    assert (first.width, second.width) == (pytest.approx(5 * width, abs=0.2), pytest.approx(5 * width, abs=0.2))
    assert first.x == pytest.approx(LABELS + width / 2, abs=0.2)
    (short,) = chart([stretch(0, 0)], at(-86_400), at(86_400), UTC).bars
    assert short.x == pytest.approx(LABELS + (WIDTH - LABELS) / 2, abs=0.2)


@pytest.mark.parametrize(
    ("hours", "first"), [(1, "11-26 12:15"), (24, "11-26 15:00"), (24 * 7, "11-27"), (24 * 31, "12-01")]
)
def test_the_top_has_a_few_round_moments(hours, first):
    drawn = chart([stretch(0, hours * 3600)], NOON, NOON + timedelta(hours=hours), UTC)
    assert 2 <= len(drawn.ticks) <= 10
    assert drawn.ticks[0][1] == first
    assert all(LABELS < x <= WIDTH for x, _ in drawn.ticks)


@pytest.mark.parametrize(
    ("first", "last", "ends"),
    [
        (50, 60, LABELS + (WIDTH - LABELS) * 0.5 - GAP),  # before it, where there is room
        (0, 90, LABELS + (WIDTH - LABELS) * 0.9 - GAP),  # at its own end
        (0, 1, LABELS + ROOM),  # a little behind it, as it is short
    ],
)
def test_a_name_beside_its_bar_ends_where_it_can_be_read(first, last, ends):
    ahead, *_ = chart([stretch(first, last), stretch(0, 100)], at(0), at(100), UTC).bars
    assert ahead.beside == pytest.approx(ends, abs=0.2)
