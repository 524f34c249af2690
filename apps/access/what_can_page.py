"""What can they do? Everything that a user, a member of a group or a guest can do, and by which rules."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from apps.access.compile import Snapshot
from apps.access.latest import at_last_revision, last_revision
from apps.access.models import Rule
from apps.access.rows import RuleRow
from apps.access.sentences import deed, moment_text
from apps.access.what_can import LOOKED_AT, Of, Person, StreamPage, state
from apps.access.what_can_form import NobodyLikeThat, WhatCanForm
from apps.access.who_can_file import NOT_COMPLETE, file_response, heading, in_parts, said
from apps.access.who_can_list import AT_ONCE
from apps.access.who_can_words import Words
from apps.accounts.navigation import may_open, may_see
from apps.accounts.pages import Line, Section, completion_of, page_of
from apps.database.connection import StatementFailed, Unavailable
from apps.streams.models import Stream

RULES_SHOWN = 100
STREAMS_SHOWN = 50
NAMED_SHOWN = 100
APPS_SHOWN = 50


def what_can(request: HttpRequest) -> HttpResponse:
    """The page. What is asked stands in its address, which can be shared."""
    if not may_open(request.user, "what_can"):
        raise PermissionDenied
    form = WhatCanForm(request.user, request.GET) if "who" in request.GET else WhatCanForm(request.user)
    answer, fault = {}, ""
    if form.is_bound and form.is_valid():
        try:
            answer = at_last_revision(lambda snapshot: _answer(request, form, snapshot))
        except NobodyLikeThat as error:
            form.add_error("name", str(error))
        except (Unavailable, StatementFailed) as error:
            fault = f"This cannot be answered just now: {error}"
    context = {
        **admin.site.each_context(request),
        "title": "What can they do?",
        "form": form,
        "fault": fault,
        "names_urls": {
            "user": completion_of(request, "user", "accounts.user"),
            "group": completion_of(request, "group", "auth.group"),
        },
        **answer,
    }
    return TemplateResponse(request, "admin/access/what_can.html", context, status=503 if fault else 200)


def what_can_file(request: HttpRequest) -> HttpResponse:
    """The whole answer as a file."""
    if not may_open(request.user, "what_can"):
        raise PermissionDenied
    form = WhatCanForm(request.user, request.GET)
    if not form.is_valid():
        return HttpResponse("Ask on the page first.", status=400, content_type="text/plain; charset=utf-8")
    try:
        person = at_last_revision(lambda snapshot: Person(form.person(snapshot), form.moment, snapshot))
    except (NobodyLikeThat, Unavailable, StatementFailed) as error:
        return HttpResponse(f"This cannot be answered just now: {error}", status=503, content_type="text/plain")
    return file_response("what-can", _as_file(person, form.question, request))


def _answer(request: HttpRequest, form: WhatCanForm, snapshot: Snapshot) -> dict[str, Any]:
    """What the page shows of an answer."""
    person, words = Person(form.person(snapshot), form.moment, snapshot), Words(request)
    rules = person.rules()
    streams = _page_of_streams(request, person)
    lists = {
        "Connect": person.apps()[:APPS_SHOWN],
        "Streams they can publish or play": list(streams.found),
        "Call numbers": list(person.numbers()),
        "What rules name": person.named(NAMED_SHOWN),
        "Anything else": person.bare_actions(),
    }
    words.read_rules(rule.id for rule in rules[:RULES_SHOWN])
    words.read(one.answer for ones in lists.values() for one in ones)
    user = person.user
    return {
        "question": form.question,
        "whom_url": page_of(request, "accounts.user", user.id) if user and user.id else "",
        "is_off": bool(user and not user.active),
        "at": moment_text(person.now, timezone.get_current_timezone()),
        "revision": snapshot.revision,
        "sections": [Section("Rules about them, denies first", _rule_lines(rules, person, words), "No rule is.")],
        "lists": [(title, [_said(one, words) for one in ones]) for title, ones in lists.items()],
        "more_url": f"?{form.query(after=streams.after)}" if streams.after else "",
        "file_url": f"{reverse('what_can_file')}?{form.query()}",
    }


def _rule_lines(rules: list[RuleRow], person: Person, words: Words) -> tuple[Line, ...]:
    lines = []
    for row in rules[:RULES_SHOWN]:
        for rule in words.rules([row.id]):
            lines.append(words.line(rule, _remark(row, rule, person, words)))
    more = len(rules) - RULES_SHOWN
    return (*lines, *((Line(f"... and {more} more. The CSV file has all."),) if more > 0 else ()))


def _remark(row: RuleRow, rule: Rule, person: Person, words: Words) -> str:
    """What holds a rule back just now, then what it asks for at all times."""
    now = state(row, person.now)
    return " ".join(filter(None, (f"{now.capitalize()}." if now else "", words.remark(rule))))


def _said(one: Of, words: Words) -> tuple[str, str, list[Line]]:
    """What it is about, the verdict, and the rules."""
    return _what(one), words.verdict(one.answer), words.lines(one.answer)


def _what(one: Of) -> str:
    return f"call {one.name} numbers, such as {one.example}" if one.example else deed(one.action, one.name)


def _streams_of(request: HttpRequest) -> QuerySet:
    """The names of the streams in the list, as far as the viewer may see it."""
    streams = Stream.objects if may_see(request.user, "streams.stream") else Stream.objects.none()
    return streams.order_by("name").values_list("name", flat=True)


def _page_of_streams(request: HttpRequest, person: Person) -> StreamPage:
    after = request.GET.get("after", "").replace("\0", "")
    names = list(_streams_of(request).filter(name__gt=after)[: LOOKED_AT + 1])
    page = person.streams(names[:LOOKED_AT], STREAMS_SHOWN)
    return page if page.after or len(names) <= LOOKED_AT else StreamPage(page.found, names[LOOKED_AT - 1])


def _as_file(person: Person, question: str, request: HttpRequest) -> Iterator[tuple[str, ...]]:
    """The rules, then everything they can do; as long as access does not change meanwhile."""
    yield from heading(question, moment_text(person.now, timezone.get_current_timezone()), person.revision)
    yield "rule", "remark"
    for part in in_parts(person.rules(), AT_ONCE):
        words = Words(request)
        words.read_rules(rule.id for rule in part)
        for row in part:
            for rule in words.rules([row.id]):
                yield words.line(rule).text, _remark(row, rule, person, words)
    yield ()
    yield "what", "verdict", "reason", "rules"
    streams = (one for name in _streams_of(request).iterator() for one in person.streams([name], 2).found)
    for part in in_parts(
        chain(person.apps(), person.numbers(), person.named(NAMED_SHOWN), person.bare_actions(), streams), AT_ONCE
    ):
        words = Words(request)
        words.read(one.answer for one in part)
        for one in part:
            yield _what(one), *said(one.answer, words)
    if last_revision() != person.revision:
        yield NOT_COMPLETE
