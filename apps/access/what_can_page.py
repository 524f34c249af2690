"""What can they do? Everything that a user, a member of a group or a guest can do, and by which rules."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from apps.access.latest import last_revision
from apps.access.models import Rule
from apps.access.rows import RuleRow
from apps.access.sentences import deed, moment_text
from apps.access.then import AskThen, NotRecorded, Under
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


def what_can(request: HttpRequest, ask_then: AskThen) -> HttpResponse:
    """The page. What is asked stands in its address, which can be shared."""
    if not may_open(request.user, "what_can"):
        raise PermissionDenied
    form = WhatCanForm(request.user, request.GET) if "who" in request.GET else WhatCanForm(request.user)
    answer, fault = {}, ""
    if form.is_bound and form.is_valid():
        try:
            answer = form.ask(lambda under: _answer(request, form, under), ask_then)
        except NotRecorded as error:
            form.add_error("at", str(error))
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


def what_can_file(request: HttpRequest, ask_then: AskThen) -> HttpResponse:
    """The whole answer as a file."""
    if not may_open(request.user, "what_can"):
        raise PermissionDenied
    form = WhatCanForm(request.user, request.GET)
    if not form.is_valid():
        return HttpResponse("Ask on the page first.", status=400, content_type="text/plain; charset=utf-8")
    try:
        rows = form.ask(lambda under: _rows(request, form, under), ask_then)
    except (NobodyLikeThat, NotRecorded) as error:
        return HttpResponse(str(error), status=400, content_type="text/plain; charset=utf-8")
    except (Unavailable, StatementFailed) as error:
        return HttpResponse(f"This cannot be answered just now: {error}", status=503, content_type="text/plain")
    return file_response("what-can", rows)


def _ask(form: WhatCanForm, under: Under) -> Person:
    return Person(form.person(under.snapshot), form.moment, under.snapshot)


def _rows(request: HttpRequest, form: WhatCanForm, under: Under) -> Iterable[tuple[str, ...]]:
    """The rows of the file; of then at once, since then is soon gone again."""
    rows = _as_file(_ask(form, under), under, form.question, request)
    return list(rows) if under.is_then else rows


def _answer(request: HttpRequest, form: WhatCanForm, under: Under) -> dict[str, Any]:
    """What the page shows of an answer."""
    person, words = _ask(form, under), Words(request, under.rules)
    rules = person.rules()
    streams = _page_of_streams(request, person, under)
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
        "revision": person.revision,
        "is_then": under.is_then,
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


def _streams_of(request: HttpRequest, under: Under, after: str = "") -> Iterator[str]:
    """The names of the streams in the list from one on, as far as the viewer may see it."""
    if not may_see(request.user, "streams.stream"):
        return iter(())
    if under.is_then:
        return (name for name in sorted(under.snapshot.streams.by_name) if name > after)
    names = Stream.objects.filter(name__gt=after).order_by("name").values_list("name", flat=True)
    return names.iterator(chunk_size=LOOKED_AT + 1)


def _page_of_streams(request: HttpRequest, person: Person, under: Under) -> StreamPage:
    after = request.GET.get("after", "").replace("\0", "")
    names = list(islice(_streams_of(request, under, after), LOOKED_AT + 1))
    page = person.streams(names[:LOOKED_AT], STREAMS_SHOWN)
    return page if page.after or len(names) <= LOOKED_AT else StreamPage(page.found, names[LOOKED_AT - 1])


def _as_file(person: Person, under: Under, question: str, request: HttpRequest) -> Iterator[tuple[str, ...]]:
    """The rules, then everything they can do; as long as access does not change meanwhile."""
    yield from heading(question, moment_text(person.now, timezone.get_current_timezone()), person.revision)
    yield "rule", "remark"
    for part in in_parts(person.rules(), AT_ONCE):
        words = Words(request, under.rules)
        words.read_rules(rule.id for rule in part)
        for row in part:
            for rule in words.rules([row.id]):
                yield words.line(rule).text, _remark(row, rule, person, words)
    yield ()
    yield "what", "verdict", "reason", "rules"
    streams = (one for name in _streams_of(request, under) for one in person.streams([name], 2).found)
    for part in in_parts(
        chain(person.apps(), person.numbers(), person.named(NAMED_SHOWN), person.bare_actions(), streams), AT_ONCE
    ):
        words = Words(request, under.rules)
        words.read(one.answer for one in part)
        for one in part:
            yield _what(one), *said(one.answer, words)
    if not under.is_then and last_revision() != person.revision:
        yield NOT_COMPLETE
