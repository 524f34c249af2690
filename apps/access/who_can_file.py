"""Answers as CSV files, written while they are read."""

from collections.abc import Iterable, Iterator, Mapping

from django.http import StreamingHttpResponse
from django.utils import timezone

from apps.access.sentences import moment_text
from apps.access.who_can import Answer, Asked
from apps.access.who_can_list import RulesChanged, UserList, Which
from apps.access.who_can_words import Words
from apps.accounts.csv_lines import csv_line


def file_response(name: str, rows: Iterable[Iterable[str]]) -> StreamingHttpResponse:
    """Rows as a CSV file to be saved."""
    response = StreamingHttpResponse(map(csv_line, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-{timezone.localtime():%Y-%m-%d}.csv"'
    response["Cache-Control"] = "no-store"
    return response


def heading(question: str, asked_at: str, revision: int) -> Iterator[tuple[str, ...]]:
    """What was asked, when, and under which rules."""
    yield "Question", question
    yield "Asked about", asked_at
    yield "Written", moment_text(timezone.now(), timezone.get_current_timezone())
    yield "Revision", str(revision)
    yield ()


def as_file(asked: Asked, question: str, words: Words, links: Mapping[int, str]) -> Iterator[tuple[str, ...]]:
    """Who can and who is refused although a rule allows it; as long as access does not change meanwhile."""
    revision = asked.snapshot.revision
    yield from heading(question, moment_text(asked.now, timezone.get_current_timezone()), revision)
    yield "who", "verdict", "reason", "rules"
    yield _row("guests", asked.about(None), words)
    for link in asked.links():
        if link.id in links:
            yield _row(f"link {links[link.id]}", asked.about_holder(link), words)
    try:
        for which in Which:
            for listed in UserList(asked, which).everybody():
                yield _row(f"user {listed.user.username}", listed.answer, words)
    except RulesChanged:
        yield ("Not complete: access changed while this was written. Export it again.",)


def _row(who: str, answer: Answer, words: Words) -> tuple[str, ...]:
    words.read([answer])
    return who, words.verdict(answer), str(answer.reason), "; ".join(line.text for line in words.lines(answer))
