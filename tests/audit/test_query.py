"""What is understood of what staff type into the search box."""

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.audit.browsing.query import MAX_LENGTH, MOST_WORDS, WORD, Term, moment, parse, quoted, said

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def read(text):
    query = parse(text)
    assert not query.problems, query.problems
    return [(term.key, term.value, term.negated) for term in query.terms]


def test_words_with_qualifiers_are_terms():
    assert read("user:teacher1 stream:lobby  decision:refused") == [
        ("user", "teacher1", False),
        ("stream", "lobby", False),
        ("decision", "refused", False),
    ]


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("lobby", ("", "lobby", False)),
        ('"Ann Lee"', ("", "Ann Lee", False)),
        ('user:"Ann Lee"', ("user", "Ann Lee", False)),
        ("-user:bob", ("user", "bob", True)),
        ("USER:bob", ("user", "bob", False)),
        ("decision:Refused", ("decision", "refused", False)),
        ("reason:NO-RULE", ("reason", "no-rule", False)),
        ("user:Bob", ("user", "Bob", False)),
        ("stream:rtsp://10.0.0.5/live", ("stream", "rtsp://10.0.0.5/live", False)),
        ("session:/10.0.0.1:64604/10.0.0.2:8443", ("session", "/10.0.0.1:64604/10.0.0.2:8443", False)),
        ("/10.0.0.1:64604/10.0.0.2:8443", ("", "/10.0.0.1:64604/10.0.0.2:8443", False)),
        ("number:+49*", ("number", "+49*", False)),
        ("ip:2001:db8::/32", ("ip", "2001:db8::/32", False)),
    ],
)
def test_a_word_is_read(text, term):
    assert read(text) == [term]


@pytest.mark.parametrize(
    ("text", "start", "words"),
    [
        ("bob*", 0, "A star works behind a qualifier: write user:bob* or stream:bob*."),
        ("-bob*", 1, "A star works behind a qualifier"),
        ("usr:bob", 0, "“usr:” is not known"),
        ("lobby decision:perhaps", 6, "“perhaps” is not known here. Write one of allowed, refused, noted, changed."),
        ("desicion:refused", 0, "“desicion:” is not known. Did you mean “decision:”? Qualifiers are"),
        ('user:bob stream:"a b', 9, "A quotation mark is not closed."),
        ('"', 0, "A quotation mark is not closed."),
        ("user:*", 0, "Say what to look for."),
        ("user:", 0, 'Write what to look for right behind “user:”, without a space: user:bob or user:"Ann Lee".'),
        ("lobby -Why: x", 7, "Write what to look for right behind “Why:”"),
        ("user:ann - lobby", 9, "A minus stands right before what is taken out: write -user:bob"),
        ("ip:10.0.0.300", 0, "“10.0.0.300” is no address and no network."),
        ("after:soon", 0, "Write a date and time like"),
        ("before:9999-12-31", 0, "Write a date and time like"),
        ("reason:because", 0, "“because” is not known here."),
        ("rule:x", 0, "A rule is looked for by its number."),
        ("session:abc*", 0, "Write it whole"),
        ("user:a\0b", 0, "No value has a NUL in it."),
    ],
)
def test_a_problem_points_at_its_word(text, start, words):
    (problem,) = parse(text).problems
    assert problem.start == start
    assert words in problem.sentence


def test_of_too_many_words_the_first_one_too_many_is_a_problem():
    words = [f"user:a{number}" for number in range(MOST_WORDS)]
    assert len(read(" ".join(words))) == MOST_WORDS
    query = parse(" ".join([*words, "-ip:10.0.0.0/8", "more"]))
    (problem,) = query.problems
    assert (problem.word, problem.start, query.terms) == ("-ip:10.0.0.0/8", len(" ".join(words)) + 1, ())
    assert problem.sentence.startswith("A search has at most 40 words; this is one more.")


@pytest.mark.parametrize("text", [" ", '"', "a", ":", "a:", "-", "\u2003", 'a:"', "a "])
def test_reading_takes_time_in_proportion_to_the_text(text):
    started = time.process_time()
    for _ in WORD.finditer(text * (100_000 // len(text))):
        pass
    assert time.process_time() - started < 0.25  # a pass for each character would take minutes


@pytest.mark.parametrize("text", ["a" + " " * 100_000, '"' * 100_000, "a" * 100_000, "user:ann " * 300])
def test_a_search_that_is_too_long_is_a_problem_and_nothing_is_looked_for(text):
    query = parse(text)
    (problem,) = query.problems
    assert problem.start == MAX_LENGTH
    assert f"at most 2000 characters; this one has {len(text)}" in problem.sentence
    assert not query.terms
    assert said(query, UTC, NOW) == ""


def test_a_search_may_have_as_many_characters_as_it_says():
    assert read("a" * MAX_LENGTH) == [("", "a" * MAX_LENGTH, False)]


@given(st.text(max_size=60))
def test_whatever_is_typed_is_understood_or_a_problem_and_can_be_said(text):
    query = parse(text)
    assert bool(text.strip()) <= bool(query.terms or query.problems)
    said(query, UTC, NOW)


@given(st.text(st.characters(exclude_characters='"\0', exclude_categories=["Cs", "Zs", "Cc", "Zl", "Zp"]), min_size=1))
def test_a_quoted_value_is_found_as_it_is(value):
    (term,) = parse(f'user:"{value}"').terms or (None,)
    assert term is None or (term.key, term.value) == ("user", value)
    assert term or not value.strip("*")


@given(st.text(max_size=20), st.sampled_from(["user", "call"]))
def test_what_can_be_quoted_is_looked_for_as_it_is(value, qualifier):
    if text := quoted(qualifier, value):
        (term,) = parse(text).terms
        assert (term.key, term.value, term.is_prefix) == (qualifier, value, False)


@pytest.mark.parametrize("value", ["", 'a"b', "a*", "a\nb", "a\rb", "a\0b", "a" * MAX_LENGTH])
def test_what_cannot_be_written_is_not(value):
    assert quoted("call", value) == ""


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", NOW),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=BERLIN)),
        ("2026-11-01T18:30", datetime(2026, 11, 1, 18, 30, tzinfo=BERLIN)),
        ("2026-11", datetime(2026, 11, 1, tzinfo=BERLIN)),
        ("today", datetime(2026, 11, 26, tzinfo=BERLIN)),
        ("yesterday", datetime(2026, 11, 25, tzinfo=BERLIN)),
        ("24h", datetime(2026, 11, 25, 12, tzinfo=UTC)),
        ("2w", datetime(2026, 11, 12, 12, tzinfo=UTC)),
        ("1066-10-14", None),
        ("never", None),
        ("99999w", None),
        ("2026-02-30", None),
    ],
)
def test_a_moment_is_read(text, meant):
    assert moment(text, BERLIN, NOW) == meant


def test_what_was_understood_is_said():
    query = parse("user:ann user:bob -method:publishStream decision:refused number:+49* after:2026-11-01")
    assert said(query, BERLIN, NOW) == (
        "Hooks by user “ann” or “bob”, not of method “publishStream”, refused, "
        "about number whatever begins with “+49”, after 2026-11-01 00:00."
    )
    assert said(parse(""), BERLIN, NOW) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("decision:changed", "Changes and acts of staff."),
        ("decision:changed user:tina", "Changes and acts of staff by user “tina”."),
        ("decision:changed decision:refused", "Hooks that are changes or acts of staff or refused."),
        ("-decision:changed", "Hooks without changes or acts of staff."),
        ("-decision:noted -decision:changed", "Hooks not noted, without changes or acts of staff."),
        ("-decision:noted -decision:allowed", "Hooks not noted, not allowed."),
        (
            "why:ticket* why:17",
            "Changes and acts of staff for a reason that has “ticket” in it or that has “17” in it.",
        ),
        ("user:tina -why:ticket", "Hooks by user “tina”, not for a reason that has “ticket” in it."),
    ],
)
def test_what_staff_did_is_not_called_hooks(text, words):
    assert said(parse(text), BERLIN, NOW) == words


def test_a_term_knows_whether_it_is_only_a_beginning():
    assert (Term("user", "a*").is_prefix, Term("user", "a*").text, Term("user", "a").is_prefix) == (True, "a", False)


def test_seconds_are_said_where_there_are_some():
    assert said(parse("after:2026-11-01T18:30:45 before:2026-11-01T19:00"), UTC, NOW) == (
        "Hooks after 2026-11-01 18:30:45, before 2026-11-01 19:00."
    )
