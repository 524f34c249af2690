"""What staff type to find hooks: words with qualifiers, read into terms. Pure: no Django, no database.

    user:teacher1 stream:lobby decision:refused after:2026-11-01
    user:"Ann Lee" -method:StreamKeepAliveEvent ip:10.0.0.0/8 number:+49*

A word without a qualifier is a whole user name, stream, number, session or call id. A minus takes hooks out; a star at
the end stands for any text. Several values of one qualifier mean either; everything else must hold together.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from ipaddress import ip_network

from apps.access.reasons import STAFF_ACTION, Reason
from apps.protocol.action_words import joined

MAX_LENGTH = 2000
"""Characters of a search, which every list of views and the worker of exports read again."""

MOST_WORDS = 40
"""Words of a search: each is a condition, which costs time to write, to plan and to look for."""

WORD = re.compile(r'(-?)(?:([A-Za-z]++):)?("[^"]*+"?|\S++)')
"""One pass of any text: it begins at no space, so that a long run of them is not walked through from each of them."""

MOMENTS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d", "%Y-%m")
AGO = re.compile(r"(\d{1,4})(m|h|d|w)", re.ASCII)
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
DECISIONS = ("allowed", "refused", "noted", "changed")
EARLIEST, LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
NOT_QUOTED = ('"', "*", "\n", "\r", "\0")
"""What cannot stand in a value as it is."""

OF_CODES = ("decision", "reason", "while")
"""Qualifiers of words of our own, in whatever letter case they are typed."""

FREE = ""
"""The qualifier of a word that has none."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word: its qualifier, its value, and where in the text it stands."""

    key: str
    value: str
    negated: bool = False
    start: int = 0
    end: int = 0

    @property
    def is_prefix(self) -> bool:
        """True where the value is only the beginning of what is looked for."""
        return self.value.endswith("*")

    @property
    def text(self) -> str:
        """The value without the star."""
        return self.value.removesuffix("*")


@dataclass(frozen=True, slots=True)
class Problem:
    """What cannot be understood, where it stands, and what was expected. A field of a form begins nowhere."""

    word: str
    start: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Query:
    """What was understood, and what was not."""

    terms: tuple[Term, ...] = ()
    problems: tuple[Problem, ...] = ()


def parse(text: str) -> Query:
    """Read what somebody typed. Whatever it is, something is understood or a problem says what was expected."""
    if len(text) > MAX_LENGTH:
        sentence = f"A search has at most {MAX_LENGTH} characters; this one has {len(text)}. Look for less at a time."
        return Query(problems=(Problem(f"{text[MAX_LENGTH : MAX_LENGTH + 20]}…", MAX_LENGTH, sentence),))
    terms, problems = [], []
    for number, match in enumerate(WORD.finditer(text)):
        if number == MOST_WORDS:
            sentence = f"A search has at most {MOST_WORDS} words; this is one more. Look for less at a time."
            return Query(problems=(Problem(match[0], match.start(), sentence),))
        minus, key, quoted = match.groups()
        value = quoted.strip('"')
        key, start = (key or FREE).lower(), match.start(3) if not key else match.start(2)
        value = value.lower() if key in OF_CODES else value
        if not key and (problem := _nothing_behind(quoted)):
            problems.append(Problem(quoted, start, problem))
        elif key and key not in QUALIFIERS:
            problems.append(Problem(key, start, f"“{key}:” is not known. {_meant(key)}"))
        elif _is_open(quoted):
            problems.append(Problem(value, start, "A quotation mark is not closed. Put one at the end, too."))
        elif problem := problem_of(key, value):
            problems.append(Problem(f"{key}:{value}" if key else value, start, problem))
        else:
            terms.append(Term(key, value, bool(minus), start, match.end()))
    return Query(tuple(terms), tuple(problems))


def _is_open(quoted: str) -> bool:
    """Whether a value begins with a quotation mark and has none at its end."""
    return quoted.startswith('"') and not (len(quoted) > 1 and quoted.endswith('"'))


def _nothing_behind(word: str) -> str:
    """What to write instead of a minus or a qualifier that stands alone; "" for any other word."""
    if word == "-":
        return "A minus stands right before what is taken out: write -user:bob, without a space."
    if word.endswith(":") and word[:-1].lower() in QUALIFIERS:
        return f'Write what to look for right behind “{word}”, without a space: {word}bob or {word}"Ann Lee".'
    return ""


def _meant(key: str) -> str:
    meant = "".join(f"Did you mean “{found}:”? " for found in get_close_matches(key, QUALIFIERS, 1))
    return f"{meant}Qualifiers are {joined(sorted(QUALIFIERS), 'and')}; put a text with a colon in quotation marks."


def window(query: Query, zone: tzinfo, now: datetime) -> tuple[datetime | None, datetime | None]:
    """From when, and until when, its words look for; None for any time. Several values mean either."""
    times = {
        key: [
            found
            for term in query.terms
            if term.key == key and not term.negated and (found := moment(term.value, zone, now))
        ]
        for key in ("after", "before")
    }
    return min(times["after"], default=None), max(times["before"], default=None)


def said(query: Query, zone: tzinfo, now: datetime) -> str:
    """What was understood in plain words, for example: hooks by user “teacher1”, refused, after 2026-11-01 00:00."""
    parts, subject = [], "Changes and acts of staff" if _of_staff(query) else "Hooks"
    for key in dict.fromkeys(term.key for term in query.terms):
        for negated in (False, True):
            terms = [term for term in query.terms if term.key == key and term.negated is negated]
            if terms and negated and key == "decision":
                parts += _decisions_left_out(terms)
            elif terms:
                values = joined([_value_said(term, zone, now) for term in terms], "or")
                words = _WORDS[key]
                parts.append(f"{'not ' if negated else ''}{words} {values}".replace("  ", " ").strip())
    parts = [part for part in parts if part != _BY_STAFF or subject == "Hooks"]
    return f"{' '.join(filter(None, (subject, ', '.join(parts))))}." if query.terms else ""


def _decisions_left_out(terms: list[Term]) -> list[str]:
    """None of these: joined by “or”, it would read as its contrary."""
    return ["without changes or acts of staff" if term.value == "changed" else f"not {term.value}" for term in terms]


_BY_STAFF = "that are changes or acts of staff"


def _of_staff(query: Query) -> bool:
    """Whether nothing but what staff did is looked for."""
    decisions = {term.value for term in query.terms if term.key == "decision" and not term.negated}
    return decisions == {"changed"} or any(term.key == "why" and not term.negated for term in query.terms)


def quoted(qualifier: str, value: str) -> str:
    """A qualifier with its value; "" where that cannot be written."""
    written = f'{qualifier}:"{value}"'
    cannot_be = not value or len(written) > MAX_LENGTH or any(mark in value for mark in NOT_QUOTED)
    return "" if cannot_be else written


def moment(text: str, zone: tzinfo, now: datetime) -> datetime | None:
    """A moment as staff write it: a date, a date with a time, `now`, `today`, or so long ago as 90m, 24h, 7d, 2w."""
    text = text.strip()
    if text == "now":
        return now
    if text in ("today", "yesterday"):
        midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight if text == "today" else midnight - timedelta(days=1)
    if ago := AGO.fullmatch(text):
        found = now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        return found if found >= EARLIEST else None
    for form in MOMENTS:
        try:
            found = datetime.strptime(text, form).replace(tzinfo=zone)
        except ValueError:
            continue
        return found if EARLIEST <= found < LATEST else None
    return None


def written(moment: datetime) -> str:
    """A moment as it is written in a search, on the clock of its own time zone, to the second."""
    return f"{moment:{MOMENTS[0]}}"


def _any(value: str) -> str:
    return "" if value.strip("*") else "Say what to look for."


def _whole(value: str) -> str:
    return "Write it whole: a star does not work here." if value.endswith("*") else _any(value)


def _whole_word(value: str) -> str:
    return "A star works behind a qualifier: write user:bob* or stream:bob*." if value.endswith("*") else _any(value)


def _moment_problem(value: str) -> str:
    if moment(value, UTC, datetime.now(UTC)):
        return ""
    return (
        "Write a date and time like 2026-11-01 or 2026-11-01T18:30, or now, today, yesterday, 90m, 24h, 7d, 2w (ago)."
    )


def _network_problem(value: str) -> str:
    try:
        ip_network(value, strict=False)
    except ValueError:
        return f"“{value}” is no address and no network. Write it like 192.168.1.7 or 10.0.0.0/8."
    return ""


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def problem(value: str) -> str:
        return "" if value in words else f"“{value}” is not known here. Write one of {', '.join(words)}."

    return problem


def _rule_problem(value: str) -> str:
    return "" if value.isdecimal() and len(value) < 19 else "A rule is looked for by its number."


QUALIFIERS: dict[str, tuple[str, Callable[[str], str]]] = {
    "user": ("by user", _any),
    "stream": ("about stream", _any),
    "number": ("about number", _any),
    "target": ("about", _any),
    "method": ("of method", _any),
    "action": ("to", _whole),
    "decision": ("", _one_of(DECISIONS)),
    "reason": ("because of", _one_of((*map(str, Reason), STAFF_ACTION))),
    "why": ("for a reason", _any),
    "ip": ("from", _network_problem),
    "app": ("through app", _any),
    "node": ("on node", _any),
    "session": ("of session", _whole),
    "call": ("of call", _whole),
    "media": ("of media session", _whole),
    "status": ("with status", _whole),
    "rule": ("decided by rule", _rule_problem),
    "while": ("answered while the database was", _one_of(("away",))),
    "after": ("after", _moment_problem),
    "before": ("before", _moment_problem),
}
"""Each qualifier with its words, and with what finds the problem of a value."""

_WORDS = {FREE: "about", **{key: words for key, (words, _) in QUALIFIERS.items()}}


def problem_of(key: str, value: str) -> str:
    """What was expected of the value of a qualifier, as a sentence; "" where it is right."""
    if "\0" in value:
        return "No value has a NUL in it."
    return _whole_word(value) if key == FREE else QUALIFIERS[key][1](value)


def _value_said(term: Term, zone: tzinfo, now: datetime) -> str:
    if term.key in ("after", "before"):
        found = moment(term.value, zone, now)
        return (
            str(found.astimezone(zone).replace(tzinfo=None, microsecond=0)).removesuffix(":00") if found else term.value
        )
    if term.value == "changed" and term.key == "decision":
        return _BY_STAFF
    if term.key in ("decision", "reason", "ip", "rule", "action", "while"):
        return term.value
    if term.key == "why":
        return f"that has “{term.text.strip()}” in it"
    return f"whatever begins with “{term.text}”" if term.is_prefix else f"“{term.value}”"
