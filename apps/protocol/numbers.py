"""Phone numbers as WCS sends them: what is dialled, the one form that rules compare, classes. Pure.

Whoever wants to get past a rule writes the number in another way. So what a telephone system may skip is skipped here,
and a number in doubt is the longer one: no allow is won by hiding digits, and prefixes that are denied stay denied.
Every decision is in docs/numbers.md.
"""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote

import msgspec

LEAST_AFTER_DIGIT = 7
"""Digits that must follow a national prefix that is no zero, such as the 1 of North America: 112 does not have it."""

SHORT_IN_CONTEXT = 4
"""Digits of a number that stays short in a `phone-context` that is a country: 112 is dialled as 112."""

_ESCAPED_PERCENT = re.compile(r"%(?:25)+(?=[0-9A-Fa-f]{2})")
_QUOTED_NAME = re.compile(r'\s*"(?:[^"\\]|\\.)*"\s*(?=<)')
_IN_BRACKETS = re.compile(r'[^<>"@:]*<([^<>]*)>')
_BEFORE_USER = re.compile(r"(?:[\s;,:@/?]|(?:sips?|tel|callto)\s*:)+", re.IGNORECASE)
_AFTER_USER = re.compile(r"[;?]\s*[A-Za-z]|[@:]")
_PLAIN = re.compile(r"(?:(?:sips?|tel|callto):)?[^@:;?%<>\"]+(?:@([^@;?%<>\"\s]+))?(?:;user=phone)?", re.IGNORECASE)
_CONTEXT = re.compile(r";\s*phone-context\s*=\s*\+([\d\s().-]+)", re.IGNORECASE | re.ASCII)
_LEADING_PLUS = re.compile(r"[0+]*\+")
_ZERO_BELONGS = re.compile(r"39|378|379|225|229|241|242|800|808|87|88[1238]|979")
"""Countries and services of the world whose numbers may begin with a zero that is dialled from abroad, too."""

_ZERO_AFTER_COUNTRY = re.compile(r"((?>1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3}))0+")
_NUMBER_THEN_LETTERS = re.compile(r"\+?\d(?:[\s().-]*\d){4,}[\s,/.-]*(?![pPwW]\s*\d)[A-Za-z]", re.ASCII)
"""At least five digits, as numbers begin, and then a letter: some systems dial what stands before it."""

_PAUSES = frozenset("pw")
_FILLERS = frozenset("\u115f\u1160\u30fc")
"""Letters by name only: two that show as nothing, and a dash."""

_SIGNS = {"\u2795": "+", "\u2217": "*"}
"""What looks like a sign of the telephone and has no other form by Unicode."""


class NumberPlan(msgspec.Struct, frozen=True, gc=False):
    """How numbers are dialled where the telephone system stands.

    `unprefixed` is how many digits a national number has at least, where it is dialled with no prefix as well (10 in
    North America, 9 in Spain); 0 where it never is. Raises ValueError for what is not digits.
    """

    country: str = ""
    international: str = "00"
    national: str = "0"
    unprefixed: int = 0

    def __post_init__(self) -> None:
        for name in ("country", "international", "national"):
            value = getattr(self, name)
            if value and not (value.isascii() and value.isdigit()):
                raise ValueError(f"The {name} prefix must be digits alone, such as 49, not “{value}”.")
        if self.country.startswith("0"):
            raise ValueError(f"The country code must be written without zeros before it, not “{self.country}”.")


def user_part(text: str) -> str:
    """What is dialled, out of plain text or a sip, sips, tel or callto address; a name stays as it is.

    Percent escapes are decoded, however often they were escaped; the characters that control and format are taken out.
    Of a display name, password, host, port, parameters and headers nothing stays, but for a `phone-context` that is
    needed to dial: it is put before a number that does not say its country itself.
    """
    text = _in_brackets(_readable(text))
    start = _BEFORE_USER.match(text)
    text = text[start.end() :] if start else text
    end = _AFTER_USER.search(text)
    user = (text[: end.start()] if end else text).rstrip(" \u00a0;,?/")
    context = _CONTEXT.search(text, end.start()) if end else None
    return _in_context(user, _dialled(context[1])) if context else user


def canonical(text: str, plan: NumberPlan) -> str:
    """The number in the one form that rules compare, `+4930123456` or `112`; "" for what has letters or no digits.

    Takes time in proportion to the text, and raises nothing.
    """
    number = _dialled(user_part(text))
    plus = _LEADING_PLUS.match(number)
    digits = (number[plus.end() :] if plus else number).replace("+", "")
    if plus and digits[:1].isdigit() and digits[0] != "0":
        return _abroad(digits)
    international = "00" if plus and digits.startswith("00") else plan.international
    if international and digits.startswith(international):
        abroad = digits[len(international) :].lstrip("0")
        if abroad[:1].isdigit():
            return _abroad(abroad)
    return _national(digits, plan) or digits


def spellings(text: str, plan: NumberPlan) -> tuple[str, ...]:
    """Every text under which staff may have written this number in a rule; the text as it came is the first."""
    number = canonical(text, plan)
    forms = [text, user_part(text), number]
    if number.startswith("+"):
        forms.append(plan.international + number[1:])
        if plan.country and number.startswith(f"+{plan.country}"):
            forms.append(plan.national + number[1 + len(plan.country) :])
        forms[3:] = [form for form in forms[3:] if canonical(form, plan) == number]
    return tuple(form for form in dict.fromkeys(forms) if form or form is text)


def hides_digits(text: str) -> bool:
    """Whether digits stand where not every telephone system dials them, or all but some would.

    That is in a password, a parameter or an unquoted name, behind a second @, or in a `phone-context` that is dialled;
    digits that are not ASCII; and those that a number begins with before it goes on with letters. Another number than
    was decided could be called.
    """
    if _NUMBER_THEN_LETTERS.match(user_part(text)):
        return True
    if text.isascii() and text.removeprefix("+").isalnum():
        return False  # nothing separates one digit from another
    text = _without_name(_readable(text))
    before_host = text.rpartition("@")[0] or text
    if any(not character.isascii() and unicodedata.digit(character, None) is not None for character in before_host):
        return True
    return _digits_of(_CONTEXT.sub("", before_host)) != _digits_of(user_part(text))


def host_of(text: str) -> str | None:
    """Where a number is called that is written plainly: its host in small letters, "" where it names none.

    None for what has more in it than a number and a host, so that it may be called elsewhere.
    """
    plain = _PLAIN.fullmatch(text)
    return (plain[1] or "").lower() if plain else None


class NumberClassRow(msgspec.Struct, frozen=True, gc=False):
    """A class of numbers: those that begin with a prefix or, if `whole`, are one.

    `short`, if not 0, adds all numbers of at most so many digits that are not international and in no other class.
    `{country}` in a prefix stands for the plan's own country.
    """

    id: int
    name: str
    prefixes: tuple[str, ...] = ()
    whole: bool = False
    protected: bool = False
    short: int = 0


class NumberClasses:
    """Number classes for look-up, in time that depends on the number's length and not on how many classes there are.

    A whole number is found first, then the longest prefix, then a short number. Where two classes have the same, a
    protected one wins, then the one that was there first.
    """

    def __init__(self, rows: Iterable[NumberClassRow], plan: NumberPlan) -> None:
        self._wholes: dict[str, NumberClassRow] = {}
        self._prefixes: dict[str, NumberClassRow] = {}
        self._short: dict[int, NumberClassRow] = {}
        for row in sorted(rows, key=lambda row: (not row.protected, row.id)):
            index = self._wholes if row.whole else self._prefixes
            for text in row.prefixes:
                if key := canonical(text, plan) if row.whole else prefix(text, plan):
                    index.setdefault(key, row)
            for digits in range(1, row.short + 1):
                self._short.setdefault(digits, row)
        self._lengths = sorted({len(key) for key in self._prefixes}, reverse=True)

    def of(self, number: str) -> NumberClassRow | None:
        """The class of a canonical number; None for one in no class, and for ""."""
        if found := self._wholes.get(number):
            return found
        for length in self._lengths:
            if length <= len(number) and (found := self._prefixes.get(number[:length])):
                return found
        return None if number.startswith("+") else self._short.get(len(number))


def prefix(text: str, plan: NumberPlan) -> str:
    """The beginning of numbers in canonical form; "" for what is none.

    The international prefix alone is `+`, the national one alone is the own country.
    """
    if "{country}" in text:
        if not plan.country:
            return ""
        text = text.replace("{country}", f"+{plan.country}")
    dialled = _dialled(text)
    if dialled and dialled in ("+", plan.international):
        return "+"
    if dialled and dialled == plan.national and plan.country:
        return f"+{plan.country}"
    return canonical(text, plan)


DEFAULT_CLASSES = (
    NumberClassRow(1, "emergency", tuple("000 110 112 118 119 911 999".split()), whole=True, protected=True),
    NumberClassRow(2, "internal", short=5),
    NumberClassRow(3, "national", ("{country}",)),
    NumberClassRow(
        4,
        "mobile",
        tuple(
            "+336 +337 +346 +347 +393 +4365 +4366 +4367 +4368 +4369 +4175 +4176 +4177 +4178 +4179 "
            "+447 +4915 +4916 +4917 +614 +79".split()
        ),
    ),
    NumberClassRow(5, "international", ("+",)),
    NumberClassRow(
        6,
        "premium",
        tuple(
            "118 +1900 +3381 +3382 +3389 +34803 +34806 +34807 +34905 +39166 +39199 +39892 +39894 +39895 +39899 "
            "+43900 +43901 +43930 +43931 +41900 +41901 +41906 +4470 +4487 +449 +44118 +49137 +49180 +49190 +49900 "
            "+49118 +6119 +7803 +7809 "
            "+870 +881 +882 +883 +979".split()  # satellites, networks without a country, premium rate of the world
        ),
    ),
)
"""What is shipped; staff adapt it. Emergency numbers are those that 3GPP has every telephone know, but for 08."""


def _readable(text: str) -> str:
    """The text without percent escapes and without characters that control and format."""
    if "%" in text:
        text = unquote(_ESCAPED_PERCENT.sub("%", text)).replace("%", "")
    if text.isascii() and text.isprintable():
        return text
    return "".join(character for character in text if unicodedata.category(character) not in ("Cc", "Cf"))


def _in_brackets(text: str) -> str:
    """The address in angle brackets, if it stands in some, and after nothing but a display name."""
    text = _without_name(text)
    match = _IN_BRACKETS.match(text)
    return match[1] if match else text.replace("<", "").replace(">", "")


def _without_name(text: str) -> str:
    """The text without the display name in quotation marks that stands before an address in brackets."""
    name = _QUOTED_NAME.match(text)
    return text[name.end() :] if name else text


def _in_context(user: str, context: str) -> str:
    """A number with the context that it is to be dialled in, unless it says so itself or is dialled as it is."""
    number = _dialled(user)
    is_short = len(number) <= SHORT_IN_CONTEXT and len(context) <= 3
    return user if not number or not context or is_short or number.startswith(("+", "00")) else f"+{context}{number}"


def _dialled(text: str) -> str:
    """The digits and signs of a telephone in a text; "" if it has letters, or no digits."""
    folded = text.translate(_FOLD)
    if "x" in folded or folded[:1] in _PAUSES:
        return ""
    folded = folded.replace("p", "").replace("w", "")
    return folded if folded.strip("+*#") else "+" if folded == "+" else ""


def _digits_of(text: str) -> str:
    return "".join(filter(str.isdigit, text.translate(_FOLD)))


def _abroad(digits: str) -> str:
    """An international number without zeros after its country, (0) or not, where they are not dialled from abroad."""
    country = None if _ZERO_BELONGS.match(digits) else _ZERO_AFTER_COUNTRY.match(digits)
    return f"+{country[1]}{digits[country.end() :]}" if country else f"+{digits}"


def _national(digits: str, plan: NumberPlan) -> str:
    """A number of the plan's own country in international form; "" for what is dialled as it stands."""
    if not plan.country:
        return ""
    rests = [digits[len(plan.national) :]] if plan.national and digits.startswith(plan.national) else []
    rests += [digits] if plan.unprefixed else []
    least = plan.unprefixed or (1 if plan.national.startswith("0") else LEAST_AFTER_DIGIT)
    zero_belongs = not plan.national and _ZERO_BELONGS.fullmatch(plan.country)
    for rest in rests:
        if len(rest) >= least and rest[:1].isdigit() and (rest[0] != "0" or zero_belongs):
            return _abroad(plan.country + rest)
    return ""


class _Fold(dict[int, str]):
    """What a character is on a telephone: a digit, + * #, a pause p or w; x for another letter, else nothing."""

    def __missing__(self, code: int) -> str:
        self[code] = "".join(map(_folded, unicodedata.normalize("NFKC", chr(code))))
        return self[code]


def _folded(character: str) -> str:
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    if character in "+*#":
        return character
    if character.lower() in _PAUSES:
        return character.lower()
    is_letter = unicodedata.category(character).startswith("L") and character not in _FILLERS
    return "x" if is_letter else _SIGNS.get(character, "")


_FOLD = _Fold()
