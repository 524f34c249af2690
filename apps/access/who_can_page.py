"""Who can? Everybody who may do something with a stream or a number, and by which rules. Nothing is recorded."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from apps.access.compile import Snapshot
from apps.access.sentences import moment_text
from apps.access.then import AskThen, NotRecorded, Under
from apps.access.who_can import Asked, asked_of_anybody
from apps.access.who_can_file import as_file, file_response
from apps.access.who_can_form import WITHOUT_TARGET, WhoCanForm
from apps.access.who_can_list import ListPage, Which, users_of
from apps.access.who_can_people import idle_rules
from apps.access.who_can_words import Words
from apps.accounts.navigation import may_open, may_see
from apps.accounts.pages import LINES_SHOWN, Line, Section, completion_of, page_of
from apps.database.connection import StatementFailed, Unavailable
from apps.streams.models import StreamLink

PAGE = 50


def who_can(request: HttpRequest, ask_then: AskThen) -> HttpResponse:
    """The page. What is asked stands in its address, which can be shared."""
    if not may_open(request.user, "who_can"):
        raise PermissionDenied
    form = WhoCanForm(request.GET) if "action" in request.GET else WhoCanForm()
    answer, fault = {}, ""
    if form.is_bound and form.is_valid():
        try:
            answer = form.ask(lambda under: _answer(request, form, under), ask_then)
        except NotRecorded as error:
            form.add_error("at", str(error))
        except (Unavailable, StatementFailed) as error:
            fault = f"This cannot be answered just now: {error}"
    context = {
        **admin.site.each_context(request),
        "title": "Who can?",
        "form": form,
        "fault": fault,
        "streams_url": completion_of(request, "stream", "streams.stream"),
        "without_target": WITHOUT_TARGET,
        **answer,
    }
    return TemplateResponse(request, "admin/access/who_can.html", context, status=503 if fault else 200)


def who_can_file(request: HttpRequest, ask_then: AskThen) -> HttpResponse:
    """The whole answer as a file, for those who may see who is in it."""
    if not (may_open(request.user, "who_can") and may_see(request.user, "accounts.user")):
        raise PermissionDenied
    form = WhoCanForm(request.GET)
    if not form.is_valid():
        return HttpResponse("Ask on the page first.", status=400, content_type="text/plain; charset=utf-8")
    try:
        rows = form.ask(lambda under: _rows(request, form, under), ask_then)
    except NotRecorded as error:
        return HttpResponse(str(error), status=400, content_type="text/plain; charset=utf-8")
    except (Unavailable, StatementFailed) as error:
        return HttpResponse(f"This cannot be answered just now: {error}", status=503, content_type="text/plain")
    return file_response("who-can", rows)


def who_can_url(user: Any, action: str, target: str) -> str:
    """The address of a question; "" if the viewer may not ask it."""
    form = WhoCanForm({"action": action, "target": target})
    asked = may_open(user, "who_can") and form.is_valid()
    return f"{reverse('who_can')}?{form.query()}" if asked else ""


def _ask(form: WhoCanForm, snapshot: Snapshot) -> Asked:
    return asked_of_anybody(form.cleaned_data["action"], form.cleaned_data["target"], form.moment, snapshot)


def _rows(request: HttpRequest, form: WhoCanForm, under: Under) -> Iterable[tuple[str, ...]]:
    """The rows of the file; of then at once, since then is soon gone again."""
    asked = _ask(form, under.snapshot)
    rows = as_file(asked, under, form.question, request, _labels(request, asked))
    return list(rows) if under.is_then else rows


def _answer(request: HttpRequest, form: WhoCanForm, under: Under) -> dict[str, Any]:
    """What the page shows of an answer."""
    asked, words = _ask(form, under.snapshot), Words(request, under.rules)
    which = Which.REFUSED if request.GET.get("show") == Which.REFUSED else Which.CAN
    may_see_users = may_see(request.user, "accounts.user")
    page = (
        users_of(asked, which, then=under.is_then).page(request.GET.get("after", "").replace("\0", ""), PAGE)
        if may_see_users
        else ListPage()
    )
    guests = asked.about(None)
    words.read([guests, *(listed.answer for listed in page.people)])
    return {
        "question": form.question,
        "at": moment_text(asked.now, timezone.get_current_timezone()),
        "revision": asked.revision,
        "is_then": under.is_then,
        "about": list(_about(request, asked)),
        "sections": [*_sections(asked, words), *_links(request, asked, words)],
        "guests": words.verdict(guests),
        "guest_rules": words.lines(guests),
        "may_see_users": may_see_users,
        "people": [
            (
                listed.user.username,
                page_of(request, "accounts.user", listed.user.id),
                words.verdict(listed.answer),
                words.lines(listed.answer),
            )
            for listed in page.people
        ],
        "which": str(which),
        "can_url": f"?{form.query()}",
        "refused_url": f"?{form.query(show='refused')}",
        "next_url": f"?{form.query(show=str(which), after=page.after)}" if page.after else "",
        "is_first": not request.GET.get("after"),
        "file_url": f"{reverse('who_can_file')}?{form.query()}" if may_see_users else "",
    }


def _about(request: HttpRequest, asked: Asked) -> Iterator[str]:
    """What is known of the stream or the number; of which streams it is the source, for those who may see streams."""
    question = asked.question
    if question.number:
        of_class = question.number_class
        kind = f"a number of class “{of_class.name}”" if of_class else "a number of no class"
        yield f"Read as {question.number}, {kind}."
    elif len(question.targets) > 1 and may_see(request.user, "streams.stream"):
        others = ", ".join(f"“{name}”" for name in question.targets[1:])
        yield f"It is the source of {others}: rules about these are about it, too."
    if asked.hides_digits():
        yield "Not every telephone system reads its digits the same: only rules that have another number called help."
    if asked.without_rules().allowed:
        yield "No rule can refuse this: everybody can."


def _links(request: HttpRequest, asked: Asked, words: Words) -> Iterator[Section]:
    """Links whose holders can do it, whoever they are; for those who may not see links, how many."""
    links, labels = asked.links(), _labels(request, asked)
    answers = {link.id: asked.about_holder(link) for link in links[:LINES_SHOWN] if link.id in labels}
    words.read(answers.values())
    lines = [
        Line(labels[id_], page_of(request, "streams.streamlink", id_), f"Whoever holds it {words.verdict(answer)}.")
        for id_, answer in answers.items()
    ]
    if more := len(links) - len(lines):
        lines.append(Line(f"... and {more} more." if lines else f"There are links to it: {more}."))
    if links:
        yield Section("Whoever holds one of these links", tuple(lines))


def _labels(request: HttpRequest, asked: Asked) -> dict[int, str]:
    """What the links to it are called, for those who may see links."""
    links = StreamLink.objects.in_bulk([link.id for link in asked.links()])
    return {id_: link.label for id_, link in links.items()} if may_see(request.user, "streams.streamlink") else {}


def _sections(asked: Asked, words: Words) -> Iterator[Section]:
    """The rules behind the answer, denies first, and those that fit but decide nothing just now."""
    idle = {rule.id for rule in idle_rules(asked)}
    over = {rule.id for rule in asked.rules if rule.ends_at is not None and rule.ends_at <= asked.now}
    deciding = [rule for rule in asked.rules if rule.id not in idle | over]
    for title, empty, rules in (
        ("Denied by these rules", "", [rule for rule in deciding if rule.effect != "allow"]),
        ("Allowed by these rules", "No rule allows it.", [rule for rule in deciding if rule.effect == "allow"]),
        ("These rules fit, but decide nothing at this moment", "", [rule for rule in asked.rules if rule.id in idle]),
    ):
        shown = [rule.id for rule in rules[:LINES_SHOWN]]
        words.read_rules(shown)
        lines = [
            Line(line.text, line.url, words.remark(rule)) for rule in words.rules(shown) for line in [words.line(rule)]
        ]
        if len(rules) > LINES_SHOWN:
            lines.append(Line(f"... and {len(rules) - LINES_SHOWN} more."))
        if lines or empty:
            yield Section(title, tuple(lines), empty)
