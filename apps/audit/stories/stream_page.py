"""The page of a stream."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from apps.accounts.navigation import may_see
from apps.accounts.pages import Line, Section, link_to_list, link_to_page, page_of
from apps.audit.models import AuditEvent
from apps.audit.narrative import headline, reason_text
from apps.audit.stories.chart import Chart, Stretch, chart
from apps.audit.stories.pages import LOG, NOT_BEGUN, RUNNING, clock, log_is_hidden, must_be_allowed, page
from apps.audit.stories.stream import Did, Part, StreamStory, stream_story
from apps.audit.stories.stream_form import StreamForm
from apps.audit.stories.timeline import Run, lasting
from apps.live.tasks import KEPT
from apps.protocol.state_words import end_said
from apps.streams.models import Stream

PUBLISHERS_DRAWN, VIEWERS_DRAWN = 15, 25
LISTED, PUBLISHERS_LISTED = 200, 100
ALL_HOOKS, RUNS_NOW = "All hooks about it", "What of it runs now"
WHERE_ALL_ARE = {LOG: f"“{ALL_HOOKS}”", RUNNING: f"“{RUNS_NOW}”"}
"""Lists without an end, by what they are lists of."""

WORDS = {"publish": ("published", "publishes"), "play": ("watched", "watches")}
LET_IN = {"publish": "was let in to publish", "play": "was let in to watch"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the table."""

    who: str
    what: str
    since: str
    until: str
    lasted: str
    why: str
    url: str


def story_of_stream(request: HttpRequest) -> HttpResponse:
    """Who published and watched a stream, and who was refused."""
    must_be_allowed(request, "story_stream")
    now = timezone.now()
    typed = {"last": "24h", **_asked(request)}
    form = StreamForm(typed) if "name" in request.GET else StreamForm(initial=typed)
    context: dict[str, Any] = {"title": "Story of a stream", "form": form, **log_is_hidden(request)}
    if form.is_bound and form.is_valid():
        context |= _told(request, form, now)
    return page(request, "admin/stories/stream.html", context)


def _asked(request: HttpRequest) -> dict[str, str]:
    """What the address says; with a time of its own, no quick choice is made for whoever made none."""
    asked = {name: request.GET[name].replace("\0", "") for name in StreamForm.base_fields if name in request.GET}
    return {"last": "", **asked} if asked.get("since") else asked


def _told(request: HttpRequest, form: StreamForm, now: datetime) -> dict[str, Any]:
    name, (since, until) = form.cleaned_data["name"], form.times(now)
    with_log, with_leases = may_see(request.user, LOG), may_see(request.user, RUNNING)
    story = stream_story(name, since, until, now, with_log=with_log, with_leases=with_leases)
    end = min(until, now)
    published, watched = story.published.parts, story.watched.parts
    drawn = (*story.published.begun[:PUBLISHERS_DRAWN], *story.watched.begun[:VIEWERS_DRAWN])
    listed = (*published[:PUBLISHERS_LISTED], *watched[: LISTED - len(published[:PUBLISHERS_LISTED])])
    at_least = story.published.at_least or story.watched.at_least
    return {
        "title": f"Story of stream “{name}”",
        "name": name,
        "period": f"From {clock(since)} until {clock(end)}",
        "choices": form.choices(),
        "said": _said(story, name) if story.is_known else _TOO_LONG_AGO,
        "chart": _chart(request, drawn, since, end, now) if drawn else None,
        "not_drawn": len(published) + len(watched) - len(drawn),
        "drawn": len(drawn),
        "listed": [_listed(request, part, now) for part in listed],
        "not_listed": len(published) + len(watched) - len(listed),
        "at_least": at_least,
        "where_all_are": " and ".join(text for label, text in WHERE_ALL_ARE.items() if may_see(request.user, label)),
        "sections": list(_sections(request, story, name, since, until)),
    }


_TOO_LONG_AGO = (
    f"What ended more than {KEPT.days} days ago is known from the audit log alone, and shown to those who may see it."
)


def _said(story: StreamStory, name: str) -> str:
    """For example: “lobby” was published by alice, 2 times, and watched by 9 people, 12 times. At most 7 at once."""
    published, watched = story.published, story.watched
    if not (published.begun or watched.begun or published.at_least or watched.at_least):
        return f"Nobody published or watched “{name}” in this time.{_only_let_in(story)}"
    by = _by(published) or "nobody"
    runs, more = published.running + watched.running, published.at_least or watched.at_least
    return (
        f"“{name}” was published by {by}{',' * (len(published.begun) > 1)} and watched by {_by(watched) or 'nobody'}."
        + _peak(watched, "watched")
        + (_peak(published, "published") if published.peak[0] > 1 else "")
        + (f" Not ended, as far as is known: {'at least ' * more}{runs}." if runs else "")
        + _only_let_in(story)
    )


def _only_let_in(story: StreamStory) -> str:
    """What is no more than let in is told for itself."""
    published, watched = story.published, story.watched
    number, more = published.only_let_in + watched.only_let_in, published.at_least or watched.at_least
    return f" Let in, and {NOT_BEGUN}: {'at least ' * more}{number}." if number else ""


def _by(did: Did) -> str:
    """Where not all was looked at, how many there were at least: of a few more nobody knows whether they are others."""
    if not did.begun:
        return "somebody, of whom nothing can be read here" if did.at_least else ""
    at_least, times = "at least " * did.at_least, len(did.begun)
    who = did.begun[0].who if did.people == 1 and not did.at_least else f"{did.people} people"
    return f"{at_least}{who}" if times == 1 else f"{at_least}{who}, {at_least}{times} times"


def _peak(did: Did, what: str) -> str:
    most, when = did.peak
    if when is None:
        return ""
    since = f"first at {clock(when)}" if isinstance(when, datetime) else f"on {when}"
    return f" At {'least' if did.at_least else 'most'} {most} {what} at once, {since}."


def _chart(request: HttpRequest, parts: Sequence[Part], since: datetime, until: datetime, now: datetime) -> Chart:
    stretches = [
        Stretch(
            part.run.began,
            part.run.ended or until,
            part.action,
            part.who_in_short,
            f"{part.who} {_what(part)}, {_time_said(part, now)}",
            _session_url(request, part),
        )
        for part in parts
    ]
    return chart(stretches, since, until, timezone.get_current_timezone())


def _what(part: Part) -> str:
    return WORDS[part.action][part.run.ended is None] if part.run.has_begun else LET_IN[part.action]


def _time_said(part: Part, now: datetime) -> str:
    lasted = lasting(part.run.lasted(now))
    until = f" until {clock(part.run.ended)}" if part.run.ended else ""
    return f"from {clock(part.run.began)}{until}, {lasted}"


def _session_url(request: HttpRequest, part: Part) -> str:
    links = link_to_page(
        request,
        "story_session",
        part.who,
        node=part.thing.node,
        session=part.thing.session,
        at=part.run.asked.isoformat(),
    )
    return links[0].url if links and part.thing.session else ""


def _listed(request: HttpRequest, part: Part, now: datetime) -> Listed:
    run = part.run
    lasted = run.has_begun and (run.is_known or run.ended)
    ordered = f"ordered to end by {run.ordered_by}" if run.ordered_by else ""
    return Listed(
        part.who,
        _what(part),
        clock(run.began),
        clock(run.ended) if run.ended else _not_ended(run),
        lasting(run.lasted(now)) if lasted else "",
        "; ".join(filter(None, (_why(run), ordered))),
        _session_url(request, part),
    )


def _not_ended(run: Run) -> str:
    if not run.has_begun:
        return ""
    return "runs" if run.is_known else "its end was not heard"


def _why(run: Run) -> str:
    if run.has_begun:
        return end_said(run.why)
    return f"never began: {end_said(run.why)}" if run.ended else NOT_BEGUN


def _sections(
    request: HttpRequest, story: StreamStory, name: str, since: datetime, until: datetime
) -> Iterator[Section]:
    if may_see(request.user, LOG):
        more = " and more" if story.more_refused else ""
        yield Section(
            f"Refused attempts: {len(story.refused)}{more}, the newest first" if story.refused else "Refused attempts",
            tuple(_refused_line(request, event) for event in story.refused),
            "None in this time.",
        )
    row = Stream.objects.filter(name=name).first() if may_see(request.user, "streams.stream") else None
    yield Section(
        "See also",
        (Line(f"Stream “{name}” in the list of streams", page_of(request, "streams.stream", row.pk)),) if row else (),
        links=(
            *link_to_page(request, "who_can", "Who can play it?", action="play", target=name),
            *link_to_page(request, "who_can", "Who can publish it?", action="publish", target=name),
            *link_to_list(request, RUNNING, RUNS_NOW, q=name),
            *link_to_list(request, LOG, ALL_HOOKS, target=name, **_period(since, until)),
        ),
    )


def _period(since: datetime, until: datetime) -> dict[str, str]:
    return {
        "from": f"{timezone.localtime(since):%Y-%m-%dT%H:%M:%S}",
        "until": f"{timezone.localtime(until):%Y-%m-%dT%H:%M:%S}",
    }


def _refused_line(request: HttpRequest, event: AuditEvent) -> Line:
    often = f", {event.repeats + 1} times" if event.repeats else ""
    return Line(
        headline(event), page_of(request, LOG, event.pk), f"{clock(event.received_at)}{often}: {reason_text(event)}"
    )
