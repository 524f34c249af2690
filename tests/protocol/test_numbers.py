"""Phone numbers: however one is written, it is the same number to a rule."""

from random import Random
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.protocol.numbers import (
    DEFAULT_CLASSES,
    NumberClasses,
    NumberClassRow,
    NumberPlan,
    canonical,
    hides_digits,
    host_of,
    prefix,
    spellings,
    user_part,
)
from tests.protocol.number_oracle import slow_canonical, write

GERMANY = NumberPlan("49")
AMERICA = NumberPlan("1", "011", "1", 10)
SPAIN = NumberPlan("34", "00", "", 9)
ITALY = NumberPlan("39", "00", "", 6)
AUSTRALIA = NumberPlan("61", "0011", "0")
JAPAN = NumberPlan("81", "010", "0")
RUSSIA = NumberPlan("7", "810", "8")
NOWHERE = NumberPlan()
PLANS = (GERMANY, AMERICA, SPAIN, ITALY, AUSTRALIA, JAPAN, RUSSIA, NOWHERE)

PIECES = st.sampled_from(
    (
        *'0123456789+*#<>"@:;,?/%()-. pwx\u202a\t\uff10\u00b2\u3164\ud800',
        *("00", "0049", "+49", "sip:", "TEL:", "<sip:", '"Bob" <', ";isub=", ";phone-context=+", "%30", "%25"),
    )
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join))


# What is dialled


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("support", "support"),
        ("Front Desk", "Front Desk"),
        ("sip:support@example.org", "support"),
        ("SIPS:Support@example.org:5061;transport=tls", "Support"),
        ('"Bob" <sip:+4930123@host;x=y>', "+4930123"),
        ("Bob <sip:bob:secret@host>;tag=1", "bob"),
        ('"<sip:112@h>" <sip:0900123@h>', "0900123"),
        ("<tel:+49-30-123>", "+49-30-123"),
        ("tel:030123;isub=5", "030123"),
        ("sip:0900123:112@h", "0900123"),
        ("sip:112@0900123@h", "112"),
        ("sip:0900@h <sip:112@h>", "0900"),
        ("sip:sip:0900123@h", "0900123"),
        ("%2530900123", "0900123"),
        ("sip:0900%40x@h", "0900"),
        ("sup\u200bport", "support"),
        ("tel:900123456;phone-context=+49", "+49900123456"),
        ("sip:30123456;phone-context=+49@h;user=phone", "+4930123456"),
        ("tel:+49301;phone-context=+1", "+49301"),
        ("tel:0049301;phone-context=+1", "0049301"),
        ("tel:112;phone-context=+49", "112"),
        ("tel:112;phone-context=+49900", "+49900112"),
        ("tel:911;phone-context=example.org", "911"),
        ("", ""),
        ("@", ""),
    ],
)
def test_what_is_dialled(text, user):
    assert user_part(text) == user


# One form


@pytest.mark.parametrize(
    "text",
    [
        "0900123",
        "+49900123",
        "++49900123",
        "+0049900123",
        "+0900123",
        "0049900123",
        "00+49900123",
        "00049900123",
        "0049(0)900123",
        "+49 (0)900 123",
        "+490900123",
        "0900/123",
        "0900,123",
        "0900p123",
        "0900W123",
        "0900;123",
        "0900123;",
        "0900123,,",
        " \u202a0900\u2069\t123",
        "\uff10\uff19\uff10\uff10\uff11\uff12\uff13",
        "\u0660\u0669\u0660\u0660\u0661\u0662\u0663",
        "0\u20e39\ufe0f\u20e300123",
        "\u2795\uff14\uff19900123",
        "09\u3164\u206000123",
        "%30%39%30%30123",
        "%2530900123",
        "sip:0900123@h",
        "Sip: 0900123:pw@h:5060;user=phone",
        "tel:900123;phone-context=+49",
        "callto:0900123",
    ],
)
def test_a_premium_number_is_one_however_it_is_written(text):
    assert canonical(text, GERMANY) == "+49900123"


@pytest.mark.parametrize("text", ["support", "alice2", "0900x123", "p2", "w", "", "+", "*", "#*", "sip:@h", "\u4e00"])
def test_what_is_no_number(text):
    assert canonical(text, GERMANY) == ""


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.country or "nowhere")
@pytest.mark.parametrize("text", ["112", "911", "999", "000", "110", "118", "100", "12345", "*21#", "#31#"])
def test_short_numbers_and_codes_stay_wherever_one_is(text, plan):
    assert canonical(text, plan) == text


@pytest.mark.parametrize(
    ("plan", "text", "number"),
    [
        (AMERICA, "1 (900) 555-1234", "+19005551234"),
        (AMERICA, "900 555 1234", "+19005551234"),
        (AMERICA, "011 49 30 123", "+4930123"),
        (AMERICA, "+0049 30 123", "+4930123"),
        (AMERICA, "555-1234", "5551234"),
        (SPAIN, "803123456", "+34803123456"),
        (ITALY, "06 698 1234", "+39066981234"),
        (ITALY, "+39 (0)6 698 1234", "+39066981234"),
        (AUSTRALIA, "02 1234", "+6121234"),
        (AUSTRALIA, "0011 44 (0)20 1", "+44201"),
        (JAPAN, "010 49 30 1", "+49301"),
        (RUSSIA, "8 800 123 45 67", "+78001234567"),
        (RUSSIA, "810 49 30 1", "+49301"),
        (GERMANY, "+44 (0)20 7946", "+44207946"),
        (GERMANY, "+39 06 698", "+3906698"),
        (GERMANY, "+353 0 1 234", "+3531234"),
        (GERMANY, "030*12", "+4930*12"),
        (NOWHERE, "030 12", "03012"),
        (NOWHERE, "0049 30 12", "+493012"),
    ],
)
def test_numbers_of_several_plans(plan, text, number):
    assert canonical(text, plan) == number


def test_hidden_digits_make_a_number_longer_so_that_no_allow_of_a_short_one_fits():
    assert {canonical(text, NOWHERE) for text in ("7,123", "7p123", "7;123", "7 123", "7\u200b123")} == {"7123"}


def test_100_000_random_numbers_written_at_random_are_what_the_oracle_says():
    random = Random(3)
    wrong = []
    for _ in range(100_000):
        plan = random.choice((GERMANY, AUSTRALIA, JAPAN, NOWHERE))
        dialled = random.choice(("", "0", "00", "+", "+0", "+00", "00+", "0011", "010", "+49", "0049", "112"))
        dialled += "".join(random.choices("0123456789", k=random.randint(1, 12)))
        text = write(random, dialled)
        expected = slow_canonical(dialled, plan.country, plan.international, plan.national)
        if canonical(text, plan) != expected:
            wrong.append((plan, dialled, text, expected, canonical(text, plan)))
    assert wrong == []


@given(text=TEXTS, plan=st.sampled_from(PLANS))
@example(text="%2525252530", plan=GERMANY)
@example(text="<<0>>", plan=GERMANY)
def test_what_is_in_form_stays_so(text, plan):
    assert user_part(user_part(text)) == user_part(text)
    assert canonical(canonical(text, plan), plan) == canonical(text, plan)


@given(text=TEXTS, plan=st.sampled_from(PLANS))
def test_the_form_is_of_digits_and_signs(text, plan):
    number = canonical(text, plan)
    assert number == "" or (set(number) <= set("+*#0123456789") and "+" not in number[1:] and number.strip("+*#"))


@given(text=TEXTS, plan=st.sampled_from(PLANS))
@example(text="0900123", plan=GERMANY)
def test_every_spelling_is_the_same_number_and_stands_once(text, plan):
    found = spellings(text, plan)
    assert found[0] == text
    assert len(set(found)) == len(found)
    assert {canonical(spelling, plan) for spelling in found} == {canonical(text, plan)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("support", ("support",)),
        ("sip:support@h", ("sip:support@h", "support")),
        ("112", ("112",)),
        ("sip:0900-1@h", ("sip:0900-1@h", "0900-1", "+499001", "00499001", "09001")),
        ("+441", ("+441", "00441")),
    ],
)
def test_spellings(text, found):
    assert spellings(text, GERMANY) == found


@pytest.mark.parametrize(
    "hostile",
    [
        *(
            "%25",
            "%",
            '"',
            '\\"',
            " ",
            "\u200b",
            "<",
            "<>",
            ";",
            "; ",
            ";a=",
            ":",
            "@",
            "sip:",
            "tel :",
            "+",
            "0",
            "(0)",
        ),
        *("0+", "%2530", ";phone-context=+49", ";phone-context= ", "\uff10", "p", "*", "?", '"" <'),
    ],
)
@pytest.mark.parametrize(
    "work",
    [lambda text: spellings(text, GERMANY), hides_digits, host_of],
    ids=["spellings", "hides_digits", "host_of"],
)
def test_time_is_in_proportion_to_length(hostile, work):
    def seconds(length):
        text = '"' + hostile * (length // len(hostile))
        times = []
        for _ in range(3):
            start = process_time()
            work(text)
            work(text[1:])
            times.append(process_time() - start)
        return min(times)

    assert seconds(128_000) < 60 * seconds(8_000) + 0.02  # 16 times as long; 256 times, were it the square


@pytest.mark.parametrize(
    "text",
    [
        "sip:0:0900123@h",
        "7;isub=0900",
        "7;a0900",
        "sip:112@0900@h",
        "0900 <sip:112@h>",
        "0900 <tel:112>",
        "Bob <sip:112:0900@h>",
        "Bob <sip:112;isub=0900@h>",
        "Bob <sip:112@0900@h>",
        "bob@home <sip:0900@h>",
        "tel:900123;phone-context=+1",
        "sip:900123@h;phone-context=+1",
    ],
)
def test_digits_that_are_not_dialled_are_noticed(text):
    assert hides_digits(text)


@pytest.mark.parametrize(
    "text",
    [
        "112",
        "sip:112@10.0.0.7:5060;rport=5",
        '"Bob 2" <sip:112@h>',
        "Bob <sip:112@h>",
        "Bob <sip:112@10.0.0.7:5060;rport=5>;tag=7",
        "tel:112;phone-context=+49",
        "+49 (0)30",
        "0900,1",
    ],
)
def test_digits_of_a_host_or_a_quoted_name_hide_nothing(text):
    assert not hides_digits(text)


@pytest.mark.parametrize(
    "wrong", [{"country": "+49"}, {"country": "049"}, {"international": "x"}, {"national": "\u0660"}]
)
def test_a_plan_is_of_digits(wrong):
    with pytest.raises(ValueError, match="must be"):
        NumberPlan(**wrong)


# Classes


def classes(*rows, plan=GERMANY):
    return NumberClasses(rows, plan)


def test_the_longest_prefix_wins_whatever_the_order():
    rows = (
        NumberClassRow(1, "all", ("00",)),
        NumberClassRow(2, "own", ("{country}",)),
        NumberClassRow(3, "p", ("0900",)),
    )
    for order in (rows, rows[::-1]):
        found = classes(*order)
        assert [found.of(number) for number in ("+499001", "+49301", "+441", "112", "")] == [*rows[::-1], None, None]


def test_a_whole_number_beats_any_prefix_and_is_no_prefix():
    whole, longer = NumberClassRow(1, "w", ("118",), whole=True), NumberClassRow(2, "p", ("118",))
    assert classes(longer, whole).of("118") == whole
    assert classes(longer, whole).of("11833") == longer
    assert classes(whole).of("11833") is None


def test_short_numbers_come_last_and_are_never_international():
    short, premium = NumberClassRow(1, "s", short=5), NumberClassRow(2, "p", ("118",))
    found = classes(short, premium)
    assert [found.of(number) for number in ("1", "12345", "123456", "+1", "11833")] == [
        short,
        short,
        None,
        None,
        premium,
    ]


def test_of_two_classes_with_the_same_prefix_the_protected_one_wins_then_the_older():
    young, old = NumberClassRow(2, "b", ("+1",)), NumberClassRow(1, "a", ("+1",))
    protected = NumberClassRow(3, "c", ("+1",), protected=True)
    assert classes(young, old).of("+12") == old
    assert classes(young, old, protected).of("+12") == protected


@pytest.mark.parametrize(
    ("text", "form"),
    [("0900", "+49900"), ("00", "+"), ("+", "+"), ("0", "+49"), ("{country}30", "+4930"), ("118", "118"), ("x", "")],
)
def test_prefixes_are_brought_into_form(text, form):
    assert prefix(text, GERMANY) == form


def test_a_prefix_of_the_own_country_is_none_where_no_country_is_set():
    assert prefix("{country}", NOWHERE) == ""


def test_look_up_agrees_with_trying_every_prefix():
    random = Random(5)

    def digits(most):
        return random.choice(("", "+")) + "".join(random.choices("123", k=random.randint(1, most)))

    for _ in range(300):
        rows = [
            NumberClassRow(
                number,
                "",
                tuple(digits(5) for _ in range(3)),
                random.random() < 0.3,
                random.random() < 0.2,
                random.choice((0, 3)),
            )
            for number in random.sample(range(100), 8)
        ]
        found = classes(*rows, plan=NOWHERE)
        for number in (digits(7) for _ in range(30)):
            assert found.of(number) == best(rows, number), (number, rows)


def best(rows, number):
    """The class by brute force: every row, every prefix."""
    ranks = [
        (rank, row.protected, -row.id, row)
        for row in rows
        for rank in [
            *(1000 for text in row.prefixes if row.whole and number == text),
            *(len(text) for text in row.prefixes if not row.whole and number.startswith(text)),
            *(0 for _ in range(1) if not number.startswith("+") and len(number) <= row.short),
        ]
    ]
    return max(ranks, key=lambda rank: rank[:3])[3] if ranks else None


def test_look_up_does_not_depend_on_how_many_classes_there_are():
    def all_of(count):
        return classes(*(NumberClassRow(id, "", (f"+49{id}",)) for id in range(100_000, 100_000 + count)))

    def seconds(found):
        start = process_time()
        for _ in range(2_000):
            found.of("+49100001234")
        return process_time() - start

    few, many = all_of(10), all_of(100_000)
    assert many.of("+491999991") == NumberClassRow(199_999, "", ("+49199999",))
    assert min(seconds(many) for _ in range(5)) < 4 * min(seconds(few) for _ in range(5))


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.country or "nowhere")
def test_emergency_numbers_are_protected_wherever_one_is(plan):
    found = NumberClasses(DEFAULT_CLASSES, plan)
    for text in ("112", "911", "999", "000", "1 1 2", "sip:112@h", "tel:112;phone-context=+49"):
        row = found.of(canonical(text, plan))
        assert row is not None
        assert (row.name, row.protected) == ("emergency", True)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("12", "internal"),
        ("030 123456", "national"),
        ("0151 123456", "mobile"),
        ("+44 20 7946", "international"),
        ("+44 7911 1", "mobile"),
        ("0900 1", "premium"),
        ("11833", "premium"),
        ("+882 1", "premium"),
        ("1121", "internal"),
    ],
)
def test_the_classes_that_are_shipped(text, name):
    row = NumberClasses(DEFAULT_CLASSES, GERMANY).of(canonical(text, GERMANY))
    assert row is not None
    assert row.name == name


def test_every_shipped_prefix_is_a_prefix():
    assert all(prefix(text, GERMANY) for row in DEFAULT_CLASSES for text in row.prefixes)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("112", ""),
        ("tel:112", ""),
        ("sip:112@PBX.example", "pbx.example"),
        ("112@pbx.example:5060;user=phone", "pbx.example:5060"),
        ("sip:112@[2001:db8::1]", "[2001:db8::1]"),
        ("", None),
        ("sip:112@a@b", None),
        ("sip:112;x@a", None),
        ("sip:112@a;maddr=b", None),
        ("sip:112@a?Route=b", None),
        ("sip:112:pw@a", None),
        ("<sip:112@a>", None),
        ("sip:%31@a", None),
    ],
)
def test_the_host_of_a_number_is_that_of_a_plain_address(text, host):
    assert host_of(text) == host


@pytest.mark.parametrize(
    "text",
    ["01\u00b290123456", "01\uff1290123456", "0\u2460190123456", "0190123/abc", "0190123x", "0190123,abc", "+49190x"],
)
def test_digits_that_some_systems_would_dial_are_hidden(text):
    assert hides_digits(text)


@pytest.mark.parametrize(
    "text",
    ["0190123456", "+49 (0)30 123456", "0190 12345p123", "12345 w 1", "support", "room101", "2020alice", "cam-1"],
)
def test_what_every_system_reads_alike_hides_nothing(text):
    assert not hides_digits(text)
