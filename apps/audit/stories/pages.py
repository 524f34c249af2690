"""What all pages of stories have in common: what is asked for in an address, and a story line by line."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from apps.accounts.navigation import may_open, may_see
from apps.accounts.pages import page_of
from apps.audit.stories.events import Told
from apps.audit.stories.timeline import Entry, Gap, Run, lasting
from apps.connections.models import Node
from apps.database.moments import moment_of
from apps.protocol.state_words import end_said

LOG, RUNNING, SESSIONS = "audit.auditevent", "live.lease", "connections.session"
NOT_BEGUN = "WCS has not said that it began"
"""Of what was let in, and that is all that is known. It is not counted as having run."""

LONGEST_TEXT = 600
"""Of a name or an id in an address; longer ones are in no column."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a timeline. A gap has a text alone."""

    text: str
    clock: str = ""
    outcome: str = ""
    why: str = ""
    often: str = ""
    ran: str = ""
    url: str = ""


def page(request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """A page of the admin."""
    return TemplateResponse(request, template, {**admin.site.each_context(request), **context}, status=status)


def asked(request: HttpRequest, name: str) -> str:
    """A name or an id in the address; whatever it is, it can be looked for."""
    return request.GET.get(name, "").replace("\0", "")[:LONGEST_TEXT]


def moment(request: HttpRequest, name: str) -> datetime | None:
    """A moment in the address; none where it is none, or one that no event can have."""
    return moment_of(asked(request, name))


def log_is_hidden(request: HttpRequest) -> dict[str, Any]:
    """Whether the viewer may not see what happened."""
    return {"log_is_hidden": not may_see(request.user, LOG)}


def node_name(node_id: str) -> str:
    """What staff call a node."""
    return Node.objects.filter(node_id=node_id).values_list("name", flat=True).first() or node_id


def clock(at: datetime) -> str:
    """A moment as lists have it."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}"


def ran(run: Run, now: datetime) -> str:
    """What became of what was let in, as a sentence."""
    ordered = f" Ordered to end by {run.ordered_by}." if run.ordered_by else ""
    why = f": {end_said(run.why).rstrip('.')}" if run.why else ""
    if run.never_began:
        return f"It never began{why}.{ordered}"
    if run.ended is not None:
        return f"It ran for {lasting(run.lasted(now))}, until {clock(run.ended)}{why}.{ordered}"
    if not run.has_begun:
        return f"It was let in, and {NOT_BEGUN}.{ordered}"
    return f"It runs, for {lasting(run.lasted(now))} by now.{ordered}" if run.is_known else "Its end was not heard."


def rows(request: HttpRequest, story: Told, now: datetime) -> Iterator[Row]:
    """A story, line by line."""
    for part in story.parts:
        if isinstance(part, Gap):
            yield Row(f"Nothing was heard for {lasting(part.until - part.since)}.")
        else:
            yield _row(request, part, story.runs.get(part.id), now)


def _row(request: HttpRequest, entry: Entry, run: Run | None, now: datetime) -> Row:
    often = f"{entry.times} times, the last at {clock(entry.last_at)}" if entry.times > 1 else ""
    return Row(
        entry.text,
        clock(entry.at),
        entry.outcome,
        entry.why,
        often,
        ran(run, now) if run else "",
        page_of(request, LOG, entry.id),
    )


def goes_on(request: HttpRequest, story: Told) -> str:
    """The address of what came after what is shown; "" where that is all."""
    if story.goes_on is None:
        return ""
    query = {name: asked(request, name) for name in ("node", "session", "call", "at") if asked(request, name)}
    return f"?{urlencode({**query, 'after': story.goes_on.isoformat()})}"


def must_be_allowed(request: HttpRequest, name: str) -> None:
    if not may_open(request.user, name):
        raise PermissionDenied
