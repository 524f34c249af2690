"""The leaders of a long time: the same as if everybody were added up, and found without doing so where that can be."""

import random
from collections import Counter
from datetime import date

import pytest
from django.db import connection
from django.db.models import F, Sum
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from apps.audit.statistics import leading
from apps.audit.statistics.leading import among, by_attempts, by_time, contenders, leaders
from apps.audit.statistics.models import About, NameTime, Span, UserCount

PARTS = [
    (Span.MONTH, date(2026, 9, 1)),
    (Span.MONTH, date(2026, 10, 1)),
    (Span.DAY, date(2026, 11, 1)),
    (Span.DAY, date(2026, 11, 2)),
]


def first(lists, depth):
    """The first of each list, as the database gives them."""
    for values in lists:
        ordered = sorted(values.items(), key=lambda item: -item[1])[:depth]
        yield [name for name, _value in ordered], [value for _name, value in ordered]


@given(
    lists=st.lists(st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(1, 9)), max_size=5),
    depth=st.integers(1, 12),
    most=st.integers(1, 4),
)
def test_no_leader_is_left_out(lists, depth, most):
    found = contenders(first(lists, depth), depth, most)
    total = sum(map(Counter, lists), Counter())
    ranked = sorted(total, key=lambda name: (-total[name], name))[:most]
    assert found is None or set(ranked) <= set(found)


@given(st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.001, 1e9)), min_size=1, max_size=20))
def test_no_leader_is_left_out_by_rounding(lists):
    found = contenders(first(lists, 9), 9, 2)  # all of each list, so it can be told
    total = sum(map(Counter, reversed(lists)), Counter())
    assert set(sorted(total, key=lambda name: -total[name])[:2]) <= set(found)


def test_who_cannot_lead_is_no_contender():
    lists = [{"ann": 50, "bob": 40, "cid": 30, "dan": 3, "eve": 1}] * 3
    assert contenders(first(lists, 4), 4, 2) == ["ann", "bob"]
    assert contenders(first([*lists, {"cid": 40, "eve": 39, "dan": 38, "ann": 37}], 4), 4, 2) == ["ann", "bob", "cid"]


def test_who_has_as_much_as_the_last_leader_may_be_one():
    assert contenders(first([{"bob": 5, "cid": 5, "ann": 5}], 2), 2, 1) is None
    assert contenders(first([{"bob": 5, "cid": 5, "ann": 5, "dan": 1}], 4), 4, 1) == ["bob", "cid", "ann"]


def count(*values):
    """What each user has in each part."""
    UserCount.objects.bulk_create(
        UserCount(span=span, starts_on=day, username=username, allowed=number, refused=0)
        for (span, day), of in zip(PARTS, values, strict=True)
        for username, number in of.items()
    )


def attempts(most):
    """Who leads, and by how many queries that was found; the same as if everybody were added up."""
    sums = UserCount.objects.filter(among(PARTS)).values("username")
    sums = sums.annotate(times=Sum(F("allowed") + F("refused"))).filter(times__gt=0).order_by("-times", "username")
    with CaptureQueriesContext(connection) as asked:
        found = leaders(sums, by_attempts(PARTS), most)
    assert found == list(sums[:most])
    return [row["username"] for row in found], len(asked)


@pytest.mark.django_db
def test_leaders_are_found_among_the_first_of_each_list(monkeypatch):
    monkeypatch.setattr(leading, "DEPTHS", (3,))
    many = {f"user-{number:03}": 1 for number in range(100)}
    count(*({**many, "ann": 50, "bob": 40},) * 4)
    assert attempts(2) == (["ann", "bob"], 2)  # the first of each list, and what those have
    assert attempts(3)[1] == 1  # no more than that could be proven of three


@pytest.mark.django_db
def test_who_is_never_among_the_first_may_still_lead(monkeypatch):
    few = {f"user-{number}": 1 for number in range(9)}
    count(*({f"first-{part}": 11, f"second-{part}": 11, "steady": 10, **few} for part in range(4)))
    monkeypatch.setattr(leading, "DEPTHS", (2,))
    assert attempts(1) == (["steady"], 2)  # by adding up everybody
    monkeypatch.setattr(leading, "DEPTHS", (2, 4))
    assert attempts(1) == (["steady"], 3)  # by looking at more of each list


@pytest.mark.django_db
def test_where_there_are_few_names_all_are_seen():
    count({"ann": 1}, {"bob": 2}, {}, {"ann": 3})
    assert attempts(10) == (["ann", "bob"], 2)
    assert leaders(UserCount.objects.all(), by_attempts([]), 10) == []


@pytest.mark.django_db
@pytest.mark.parametrize("actions", [["play"], ["publish", "play", "call"]])
def test_hours_are_those_of_all_actions_together(monkeypatch, actions):
    monkeypatch.setattr(leading, "DEPTHS", (4, 8))
    dice = random.Random(1)
    NameTime.objects.bulk_create(
        NameTime(
            span=span,
            starts_on=day,
            about=about,
            action=action,
            name=f"name-{number}",
            times=1,
            seconds=dice.paretovariate(0.7),
            peak=1,
        )
        for span, day in PARTS
        for about in About
        for action in ("publish", "play", "call")
        for number in dice.sample(range(40), 20)
    )
    for about in About:
        times = NameTime.objects.filter(among(PARTS), about=about, action__in=actions).values("name")
        times = times.annotate(ran=Sum("seconds")).order_by("-ran", "name")
        found = [row["name"] for row in leaders(times, by_time(PARTS, about, actions), 3)]
        assert found == [row["name"] for row in times[:3]]
