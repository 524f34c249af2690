"""Rules compiled for look-up: globs, and changing the index piece by piece."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.access import compile, matching
from apps.access.compile import ChangedRules, Rows, RuleIndex, Snapshot
from apps.access.matching import matches_glob
from apps.access.rows import RuleRow, UserRow
from apps.protocol.numbers import NumberClassRow
from tests.access.worlds import ALICE, TEACHERS, asking, rule


def fits(pattern, text, username="alice"):
    return matches_glob(pattern, text, username)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("lobby", "lobby"),
        ("*", ""),
        ("*", "anything at all"),
        ("**", ""),
        ("lesson-*", "lesson-"),
        ("lesson-*", "lesson-42"),
        ("*-cam", "door-cam"),
        ("a*b*c", "abc"),
        ("a*b*c", "a--b--b--c"),
        ("a***c", "abc"),
        ("*b*", "abc"),
        ("ab*ab", "abab"),
        ("*aba*aba*", "abacaba"),
        ("line*", "line\nbreak"),
        ("{user}", "alice"),
        ("{user}-*", "alice-cam"),
        ("*-{user}", "cam-alice"),
        ("{user}*{user}", "alicealice"),
        ("{user}{user}", "alicealice"),
        ("room.[a-z]?", "room.[a-z]?"),
    ],
)
def test_a_pattern_fits(pattern, text):
    assert fits(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("lobby", "lobby-1"),
        ("lobby", "Lobby"),
        ("lesson-*", "my-lesson-1"),
        ("*-cam", "door-cam-2"),
        ("ab*ab", "ab"),
        ("ab*ba", "aba"),
        ("a*b*c", "acb"),
        ("*aba*aba*", "ababa"),
        ("*ab*b", "ab"),
        ("{user}-*", "bob-cam"),
        ("{user}-*", "{user}-cam"),
        ("{user}", "alice2"),
        ("room.[a-z]?", "room-b"),
        ("a?c", "abc"),
    ],
)
def test_a_pattern_does_not_fit(pattern, text):
    assert not fits(pattern, text)


@pytest.mark.parametrize("pattern", ["{user}", "{user}*", "*{user}*", "*-{user}-*"])
@pytest.mark.parametrize("username", [None, ""])
def test_a_pattern_with_a_name_fits_nothing_where_there_is_none(pattern, username):
    for text in ("", "{user}", "-", "--", "None", "anything"):
        assert not fits(pattern, text, username)


@pytest.mark.parametrize("username", ["*", "a*b", "{user}", "{user}*", "a.c", "[x]", "\\"])
def test_a_username_stands_for_itself_whatever_is_in_it(username):
    assert fits("{user}-*", f"{username}-cam", username)
    assert not fits("{user}-*", "other-cam", username)
    assert not fits("{user}", "anything", username)


def filled(pattern, username, fillings):
    """A text that the pattern fits, unless there is no username for it: each * stands for the next filling."""
    head, *pieces = pattern.replace("{user}", username or "?").split("*")
    return head + "".join(filling + piece for filling, piece in zip(fillings, pieces, strict=False))


def naive_fits(pattern, text, username):
    """The same, by a regular expression."""
    if "{user}" in pattern and not username:
        return False
    meaning = {"*": ".*", "{user}": re.escape(username or "")}
    pieces = re.split(r"(\*|\{user\})", pattern)
    return re.fullmatch("".join(meaning.get(piece, re.escape(piece)) for piece in pieces), text, re.DOTALL) is not None


PIECES = st.lists(st.sampled_from(["a", "b", "ab", "*", "**", "{user}", "{", "}", "."]), max_size=6).map("".join)
TEXTS = st.lists(st.sampled_from(["a", "b", "ab", "*", "{user}", "ba", ".", "\n"]), max_size=7).map("".join)
USERNAMES = st.sampled_from(["a", "b", "ab", "*", "{user}", "a*b", ""]) | st.none()
FILLINGS = st.lists(st.sampled_from(["", "", "a", "ab", "-"]), min_size=12, max_size=12)


@settings(max_examples=2000)
@given(PIECES, TEXTS, USERNAMES)
@example("a*ab*b", "aab", "a")
@example("*{user}*", "ab", "a*b")
def test_a_pattern_fits_as_the_regular_expression_does(pattern, text, username):
    assert fits(pattern, text, username) is naive_fits(pattern, text, username)


@settings(max_examples=1000)
@given(PIECES, USERNAMES, FILLINGS, st.sampled_from(["", "a"]))
def test_a_text_made_after_the_pattern_fits_as_the_regular_expression_says(pattern, username, fillings, more):
    text = filled(pattern, username, fillings) + more
    assert fits(pattern, text, username) is naive_fits(pattern, text, username)


@settings(max_examples=1000)
@given(PIECES, USERNAMES.filter(bool), FILLINGS, TEXTS)
def test_the_index_finds_a_pattern_by_how_it_begins(pattern, username, fillings, other):
    user = UserRow(1, username)
    index = RuleIndex([rule(1, "play", target=("glob", pattern))])
    for target in (filled(pattern, username, fillings), other):
        found = [
            one
            for one in index.candidates(user, asking(target, username=username))
            if matching.fits(one, asking(target, username=username))
        ]
        assert bool(found) is naive_fits(pattern, target, username)


# Changing the index


WHOS = st.sampled_from([("everyone", None, None), ("guests", None, None), ("user", 1, None), ("user", 2, None)]) | (
    st.sampled_from([("group", None, 1), ("group", None, TEACHERS)])
)
TARGETS = st.sampled_from(
    [
        ("any", ""),
        ("exact", "ab"),
        ("exact", ""),
        ("stream", "ab"),
        ("prefix", "a"),
        ("prefix", ""),
        ("glob", "*"),
        ("glob", "a*"),
        ("glob", "{user}b"),
        ("glob", "ab*{user}"),
    ]
)
RULES = st.builds(
    lambda id_, effect, who, actions, target, enforced: RuleRow(
        id_, effect, who[0], tuple(actions), who[1], who[2], *target, enforced=enforced
    ),
    st.integers(1, 6),
    st.sampled_from(["allow", "deny"]),
    WHOS,
    st.lists(st.sampled_from(["play", "publish"]), min_size=1, max_size=3),
    TARGETS,
    st.booleans(),
)
STEPS = st.lists(
    st.tuples(st.sets(st.integers(1, 6), max_size=4), st.lists(RULES, max_size=4, unique_by=lambda row: row.id)),
    max_size=6,
)
PEOPLE = (None, UserRow(1, "a", group_ids=(TEACHERS,)), UserRow(2, "b", group_ids=(1, TEACHERS)), UserRow(3, "c"))


def findings(index):
    return {
        (user, action, target): sorted(
            repr(found)
            for found in index.candidates(user, asking(target, action=action))
            if matching.fits(found, asking(target, username=user.username if user else None))
        )
        for user in PEOPLE
        for action in ("play", "publish", "call")
        for target in ("", "a", "ab", "abc", "b")
    }


@pytest.mark.parametrize("few", [0, 1, 3, compile.FEW])
@settings(max_examples=200)
@given(steps=STEPS)
def test_any_sequence_of_changes_gives_the_index_of_what_is_left(few, steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compile, "FEW", few)
        _change_and_compare(steps)


def _change_and_compare(steps):
    index, left = RuleIndex(), {}
    for gone, rows in steps:
        index.replace(gone, rows)
        left = {id_: row for id_, row in left.items() if id_ not in gone} | {row.id: row for row in rows}
    fresh = RuleIndex(left.values())
    assert len(index) == len(fresh) == len(left)
    assert findings(index) == findings(fresh)
    for user in PEOPLE:
        assert sorted(map(repr, index.about(user))) == sorted(map(repr, fresh.about(user)))
    assert {name: set(kept) for name, kept in vars(index).items()} == {
        name: set(kept) for name, kept in vars(fresh).items()
    }


def test_of_many_rules_only_those_about_the_target_are_looked_at():
    numbers = range(10 * compile.FEW)
    index = RuleIndex(rule(number, "play", target=("exact", f"stream-{number}")) for number in numbers)
    index.replace((), [rule(1000, "play"), rule(1001, "play", target=("stream", "stream-7"))])
    assert sorted(found.id for found in index.candidates(ALICE, asking("stream-7"))) == [7, 1000, 1001]
    index.replace([1000, 7], ())
    assert [found.id for found in index.candidates(ALICE, asking("stream-7"))] == [1001]
    index.replace([1001], ())
    assert index.candidates(ALICE, asking("stream-7")) == []


def test_who_reads_while_the_index_changes_sees_the_old_rules_or_the_new():
    index = RuleIndex([rule(1, "play"), rule(2, "play", effect="deny")])
    reading = index.candidates(ALICE, asking("x"))
    index.replace([1, 2], [rule(3, "play")])
    assert [found.id for found in reading] == [1, 2]
    assert [found.id for found in index.candidates(ALICE, asking("x"))] == [3]


ELSEWHERE = [
    rule(1, "play", target=("exact", "attic")),
    rule(2, "play", target=("stream", "attic")),
    rule(3, "play", target=("prefix", "attic-")),
    rule(4, "play", target=("glob", "attic*cam*")),
    rule(5, "play", target=("glob", "attic{user}-{user}")),
    rule(6, "play", target=("number-prefix", "+49900")),
    rule(7, "play", target=("stream-group", ""), target_id=7),
    rule(8, "play", target=("number-class", ""), target_id=8),
]
THERE = [
    asking("attic"),
    asking("attic"),
    asking("attic-1"),
    asking("attic, the cam"),
    asking("atticalice-alice"),
    asking("x", number="+49900"),
    asking("x", stream_groups=(7,)),
    asking("x", number_class=NumberClassRow(8, "eight")),
]


def test_among_many_only_rules_about_what_is_asked_are_looked_at(monkeypatch):
    monkeypatch.setattr(compile, "FEW", 0)
    index = RuleIndex(ELSEWHERE)
    other = asking("lobby", number="+4930", stream_groups=(8,), number_class=NumberClassRow(7, "seven"))
    assert index.candidates(ALICE, other) == index.about_anybody(other) == []
    few = RuleIndex()
    monkeypatch.setattr(compile, "FEW", 16)
    few.replace((), ELSEWHERE)
    assert few.about_anybody(other) == []
    for expected, question in zip(ELSEWHERE, THERE, strict=True):
        assert expected in index.candidates(ALICE, question)
        assert expected in index.about_anybody(question)
        assert expected in few.about_anybody(question)


@pytest.mark.parametrize("few", [0, compile.FEW])
def test_a_thing_known_by_several_texts_is_found_by_each_and_a_number_by_how_it_begins(monkeypatch, few):
    monkeypatch.setattr(compile, "FEW", few)
    targets = (
        ("exact", "lobby"),
        ("exact", "door"),
        ("prefix", "lob"),
        ("glob", "do*"),
        ("number-prefix", "+49"),
        ("any", ""),
    )
    others = ("exact", "oor"), ("prefix", "obby"), ("number-prefix", "49900")
    index = RuleIndex(rule(id_, "play", target=target) for id_, target in enumerate((*targets, *others)))
    index.replace((), [rule(20, "publish"), rule(21, "publish", target=("exact", "lobby"))])
    question = asking("lobby", "door", number="+4949900")
    assert sorted(found.id for found in index.about_anybody(question)) == [0, 1, 2, 3, 4, 5]
    assert {0, 1, 2, 3, 4, 5} <= {found.id for found in index.candidates(ALICE, question)}


@pytest.mark.parametrize("few", [0, compile.FEW])
def test_what_is_about_somebody_is_told_once(monkeypatch, few):
    monkeypatch.setattr(compile, "FEW", few)
    rules = [rule(id_, "play", "publish", target=("exact", text)) for id_, text in ((3, "a"), (1, "b"), (2, "a"))]
    index = RuleIndex([*rules, rule(4, "play", guests=True), rule(5, "publish", user=ALICE)])
    assert sorted(found.id for found in index.about(ALICE)) == [1, 2, 3, 5]
    assert [found.id for found in index.about(None)] == [4]


@pytest.mark.parametrize("few", [0, compile.FEW])
def test_which_groups_have_rules_is_known_while_they_have(monkeypatch, few):
    monkeypatch.setattr(compile, "FEW", few)
    index = RuleIndex([rule(1, "play", group=7), rule(2, "play", group=7), rule(3, "play", group=8), rule(4, "play")])
    assert sorted(index.groups()) == [7, 8]
    assert [found.id for found in index.of_group(8, asking("x"))] == [3]
    index.replace([1, 3], ())
    assert index.groups() == [7]
    index.replace([2], ())
    assert index.groups() == []


CHANGED = (1, "allow"), (2, "allow"), (3, "allow"), (3, "deny"), (4, "allow")


def test_a_rule_about_no_group_that_goes_takes_no_group_with_it():
    index = RuleIndex([rule(1, "play", group=1), rule(2, "play", user=ALICE)])
    index.replace([2], ())
    assert index.groups() == [1]


def test_a_change_is_tried_out_on_an_index_that_stays_as_it_is():
    kept, gone, before, after, new = (rule(id_, "play", effect=effect) for id_, effect in CHANGED)
    index = RuleIndex([kept, gone, before])
    assert ChangedRules(index, [gone.id], [after, new]).candidates(ALICE, asking("x")) == [kept, after, new]
    assert index.candidates(ALICE, asking("x")) == [kept, gone, before]


@pytest.mark.parametrize("few", [0, 2, compile.FEW])
def test_nothing_stays_of_rules_that_have_gone(monkeypatch, few):
    monkeypatch.setattr(compile, "FEW", few)
    twins = [rule(id_, "play", target=("exact", "attic")) for id_ in (11, 12, 13)]
    index = RuleIndex([*ELSEWHERE, *twins])
    for gone in (*twins, *ELSEWHERE):
        index.replace([gone.id], ())
        assert gone not in list(index.about(ALICE))
    assert vars(index) == vars(RuleIndex())


@pytest.mark.parametrize("number", ["11", "112"])
def test_a_rule_about_how_numbers_begin_counts_once_also_where_the_number_ends_there(monkeypatch, number):
    monkeypatch.setattr(compile, "FEW", 0)
    index = RuleIndex(
        rule(id_, "call", target=("number-prefix", text)) for id_, text in ((1, number), (2, "1234"), (3, "12345"))
    )
    assert [found.id for found in index.candidates(ALICE, asking(number, action="call", number=number))] == [1]


@pytest.mark.parametrize("target", ["", "l", "lob"])
def test_a_rule_counts_once_though_others_begin_with_more_than_the_target_has(monkeypatch, target):
    monkeypatch.setattr(compile, "FEW", 0)
    index = RuleIndex([rule(1, "play", target=("prefix", target)), rule(2, "play", target=("prefix", "lobby-1"))])
    assert [found.id for found in index.candidates(ALICE, asking(target))] == [1]


def test_a_rule_counts_once_though_it_names_an_action_twice():
    index = RuleIndex([rule(1, "play", "play")])
    assert [found.id for found in index.candidates(ALICE, asking("x"))] == [1]
    index.replace([1], ())
    assert not list(index.candidates(ALICE, asking("x")))


@settings(max_examples=300)
@given(
    st.lists(
        st.dictionaries(st.integers(1, 4), st.sampled_from("abcde"), max_size=4).filter(
            lambda names: len(set(names.values())) == len(names)
        ),
        max_size=5,
    )
)
def test_rows_are_found_by_the_names_they_have_now(worlds):
    rows, before = Rows(lambda user: user.username), {}
    for names in worlds:  # from one set of users to the next, by what differs; names may be swapped
        changed = {id_ for id_ in before.keys() | names.keys() if before.get(id_) != names.get(id_)}
        rows.replace(changed, [UserRow(id_, name) for id_, name in names.items() if id_ in changed])
        assert {id_: row.username for id_, row in rows.by_id.items()} == names
        assert {name: row.id for name, row in rows.by_name.items()} == {name: id_ for id_, name in names.items()}
        before = names


def test_a_new_snapshot_is_empty():
    empty = Snapshot()
    assert (empty.revision, len(empty.rules), empty.users.by_id, empty.apps.by_name) == (0, 0, {}, {})
