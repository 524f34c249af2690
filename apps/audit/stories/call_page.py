"""The page of a call."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from apps.access.sentences import deed
from apps.accounts.navigation import may_see
from apps.accounts.pages import Line, Section, link_to_list, link_to_page, page_of, person_links
from apps.audit.browsing.query import quoted
from apps.audit.models import Effect
from apps.audit.stories.call import CallStory, Leg, call_story
from apps.audit.stories.pages import (
    LOG,
    RUNNING,
    asked,
    clock,
    goes_on,
    log_is_hidden,
    moment,
    must_be_allowed,
    node_name,
    page,
    ran,
    rows,
)

_NO_CALL = "That it began was not heard, or it was at another time."


def story_of_call(request: HttpRequest) -> HttpResponse:
    """Who called whom, and what became of it."""
    must_be_allowed(request, "story_call")
    node_id, call_id, now = asked(request, "node"), asked(request, "call"), timezone.now()
    context: dict[str, Any] = {
        "title": "Call",
        "subject": f"Call {call_id} on node {node_name(node_id)}",
        **log_is_hidden(request),
    }
    if may_see(request.user, LOG):
        with_leases = may_see(request.user, RUNNING)
        at, after = moment(request, "at"), moment(request, "after")
        story = call_story(node_id, call_id, at=at, after=after, now=now, with_leases=with_leases)
        context |= {
            "title": _title(story),
            "said": " ".join(_leg_said(leg, now) for leg in story.legs) or _NO_CALL,
            "rows": list(rows(request, story.told, now)),
            "goes_on": goes_on(request, story.told),
            "sections": list(_about_call(request, story, node_id, call_id)),
        }
    return page(request, "admin/stories/timeline.html", context)


def _title(story: CallStory) -> str:
    """Which call it is, as far as it is known."""
    return f"Call: {_sides(story.legs[0])}" if story.legs else "Call"


def _leg_said(leg: Leg, now: datetime) -> str:
    event = leg.event
    who = event.username or "A guest"
    refused = event.effect == Effect.REFUSED
    if leg.is_incoming:
        what = f"{who} was {'not allowed' if refused else 'about'} to receive it, a call from “{event.target}”"
    else:
        what = f"{who} {'was not allowed to' if refused else 'asked to'} {deed('call', event.target)}"
    number = f", that is {event.number}," if event.number and event.number != event.target else ""
    changed = f" WCS was told: {event.told}." if event.told else ""
    became = f" {ran(leg.run, now)}" if leg.run else ""
    return f"{what}{number} at {clock(event.received_at)}.{changed}{became}"


def _about_call(request: HttpRequest, story: CallStory, node_id: str, call_id: str) -> Iterator[Section]:
    if len(story.legs) > 1:
        yield Section("Both sides", tuple(_leg_line(request, leg) for leg in story.legs))
    places = {(entry.thing.node, entry.thing.session): entry.at for entry in story.told.entries}
    sessions = [
        link
        for number, ((node, session), at) in enumerate(places.items(), start=1)
        for link in link_to_page(
            request,
            "story_session",
            "The session" if len(places) == 1 else f"Session {number}",
            node=node,
            session=session,
            at=at.isoformat(),
        )
    ]
    names = dict.fromkeys(leg.event.username for leg in story.legs if leg.event.username)
    people = [link for name in names for link in person_links(request, name)]
    search = quoted("call", call_id)
    hooks = link_to_list(request, LOG, "All hooks of this call", q=search) if search else ()
    yield Section("See also", links=(*sessions, *people, *hooks))


def _leg_line(request: HttpRequest, leg: Leg) -> Line:
    return Line(_sides(leg), page_of(request, LOG, leg.event.pk), clock(leg.event.received_at))


def _sides(leg: Leg) -> str:
    who = leg.event.username or "a guest"
    return f"{who} is called from “{leg.event.target}”" if leg.is_incoming else f"{who} calls “{leg.event.target}”"
