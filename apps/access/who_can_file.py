"""Answers as CSV files, written while they are read."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from apps.access.sentences import moment_text
from apps.access.then import Under
from apps.access.who_can import Answer, Asked
from apps.access.who_can_list import RulesChanged, Which, users_of
from apps.access.who_can_words import Words
from apps.accounts.csv_lines import csv_line

NOT_COMPLETE = ("Not complete: access changed while this was written. Export it again.",)
BROKEN_OFF = ("Not complete: it broke off here. Export it again.",)
"""The last row of a file that is not to be relied on."""

Row = TypeVar("Row")


def file_response(name: str, rows: Iterable[Iterable[str]]) -> StreamingHttpResponse:
    """Rows as a CSV file to be saved."""
    response = StreamingHttpResponse(map(csv_line, _to_the_end(rows)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-{timezone.localtime():%Y-%m-%d}.csv"'
    response["Cache-Control"] = "no-store"
    return response


def _to_the_end(rows: Iterable[Iterable[str]]) -> Iterator[Iterable[str]]:
    """The rows; where they break off, a last one says so, as not every server ends such an answer otherwise."""
    try:
        yield from rows
    except Exception:
        yield BROKEN_OFF
        raise


def heading(question: str, asked_at: str, revision: int) -> Iterator[tuple[str, ...]]:
    """What was asked, when, and under which rules."""
    yield "Question", question
    yield "Asked about", asked_at
    yield "Written", moment_text(timezone.now(), timezone.get_current_timezone())
    yield "Revision", str(revision)
    yield ()


def as_file(
    asked: Asked, under: Under, question: str, request: HttpRequest, links: Mapping[int, str]
) -> Iterator[tuple[str, ...]]:
    """Who can and who is refused although a rule allows it; as long as access does not change meanwhile."""
    yield from heading(question, moment_text(asked.now, timezone.get_current_timezone()), asked.revision)
    yield "who", "verdict", "reason", "rules"
    labels = [(link, links[link.id]) for link in asked.links() if link.id in links]
    holders = [(f"link {label}", asked.about_holder(link)) for link, label in labels]
    yield from _rows([("guests", asked.about(None)), *holders], Words(request, under.rules))
    try:
        for which in Which:
            for page in users_of(asked, which, then=under.is_then).pages():
                people = [(f"user {listed.user.username}", listed.answer) for listed in page.people]
                yield from _rows(people, Words(request, under.rules))
    except RulesChanged:
        yield NOT_COMPLETE


def in_parts(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """The rows, so many at a time."""
    rest = iter(rows)
    while part := list(islice(rest, size)):
        yield part


def said(answer: Answer, words: Words) -> tuple[str, str, str]:
    """Verdict, reason and rules of an answer, whose rules have been read."""
    return words.verdict(answer), str(answer.reason), "; ".join(line.text for line in words.lines(answer))


def _rows(answers: Iterable[tuple[str, Answer]], words: Words) -> Iterator[tuple[str, ...]]:
    """Each as a row; rules are read once for all of them."""
    answers = list(answers)
    words.read(answer for _, answer in answers)
    for who, answer in answers:
        yield who, *said(answer, words)
