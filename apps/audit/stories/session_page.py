"""The page of a session."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from apps.accounts.navigation import may_see
from apps.accounts.pages import Line, Section, link_to_list, page_of, person_links
from apps.audit.stories.events import Told
from apps.audit.stories.pages import (
    LOG,
    RUNNING,
    SESSIONS,
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
from apps.audit.stories.session import SessionStory, session_story
from apps.audit.stories.timeline import lasting
from apps.connections.models import Session
from apps.protocol.state_words import end_said


def story_of_session(request: HttpRequest) -> HttpResponse:
    """What happened in a session."""
    must_be_allowed(request, "story_session")
    node_id, session_id, now = asked(request, "node"), asked(request, "session"), timezone.now()
    story = session_story(
        node_id,
        session_id,
        at=moment(request, "at"),
        after=moment(request, "after"),
        now=now,
        with_log=may_see(request.user, LOG),
        with_leases=may_see(request.user, RUNNING),
    )
    session = story.session if may_see(request.user, SESSIONS) else None
    who = session.username or "a guest" if session else ""
    context = {
        "title": f"Session of {who}" if session else "Session",
        "subject": f"Session {session_id} on node {node_name(node_id)}",
        "said": _session_said(session, now) if session else _nothing_known(request, story),
        "rows": list(rows(request, story.told, now)),
        "goes_on": goes_on(request, story.told),
        "sections": list(_about_session(request, story, session, node_id, session_id)),
        **log_is_hidden(request),
    }
    return page(request, "admin/stories/timeline.html", context)


def _session_said(session: Session, now: datetime) -> str:
    who = session.username or "A guest"
    place = f" from {session.client_address}" if session.client_address else ""
    came = f"{who} connected through app “{session.app_key}”{place} at {clock(session.opened_at)}"
    came += f", known by {session.get_entered_by_display()}." if session.entered_by else "."
    if session.ended_at is None:
        return f"{came} The session runs, for {lasting(now - session.opened_at)} by now."
    why = f": {end_said(session.end_reason).rstrip('.')}" if session.end_reason else ""
    lasted = lasting(max(timedelta(0), session.ended_at - session.opened_at))
    return f"{came} The session lasted {lasted} and ended at {clock(session.ended_at)}{why}."


def _nothing_known(request: HttpRequest, story: SessionStory) -> str:
    if not may_see(request.user, SESSIONS):
        return _told_by_hooks(story.told)
    return (
        "No session was opened under these ids then."
        if not story.told.parts
        else "No session that was opened under these ids is known for this time. This is what came under them."
    )


def _told_by_hooks(story: Told) -> str:
    """Who came and for how long, as far as hooks say it: for those who may not see the session itself."""
    opening = next((entry for entry in story.entries if entry.id in story.runs and not entry.thing.key), None)
    if opening is None:
        return ""
    run = story.runs[opening.id]
    lasted = "" if run.never_began else ran(run, timezone.now())  # maybe only the hook of its beginning is not there
    return f"{opening.text}, at {clock(opening.at)}. {lasted}".strip()


def _about_session(
    request: HttpRequest, story: SessionStory, session: Session | None, node_id: str, session_id: str
) -> Iterator[Section]:
    lines = tuple(_ran_lines(story.told))
    if lines:
        yield Section("What ran in it", lines)
    yield Section(
        "See also",
        links=(
            *(person_links(request, session.username) if session else ()),
            *((Line("The session's page", page_of(request, SESSIONS, session.pk)),) if session else ()),
            *link_to_list(request, LOG, "All hooks of this session", node=node_id, session=session_id),
            *(_changed_meanwhile(request, session) if session else ()),
            *link_to_list(request, RUNNING, "What runs in it now", q=session_id),
        ),
    )


def _changed_meanwhile(request: HttpRequest, session: Session) -> tuple[Line, ...]:
    """A link to what staff changed while the session ran, also where that has nothing to do with it."""
    moments = {"from": session.opened_at, "until": session.ended_at}
    times = {name: moment.isoformat() for name, moment in moments.items() if moment}
    return link_to_list(request, LOG, "All that staff changed meanwhile", effect="changed", **times)


def _ran_lines(story: Told) -> Iterator[Line]:
    """What ran, but for the session itself: each with how long."""
    now = timezone.now()
    for entry in story.entries:
        if entry.id in story.runs and entry.thing.key:
            yield Line(entry.text, "", ran(story.runs[entry.id], now))
