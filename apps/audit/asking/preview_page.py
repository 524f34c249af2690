"""The page that shows what a change to rules would do. It grows while decisions are looked at."""

import time
from collections.abc import Iterator
from datetime import timedelta

from django.contrib import admin
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.defaultfilters import pluralize
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from apps.access.compile import Snapshot
from apps.access.latest import last_revision
from apps.access.proposals import Proposal
from apps.access.sentences import deed
from apps.accounts.navigation import may_see
from apps.accounts.pages import Line, Section, page_of
from apps.audit.asking.preview import MOST_STREAMS, Group, Key, Preview, fresh_snapshot, look, recorded, stopped
from apps.audit.models import AuditEvent
from apps.database.connection import Unavailable

MOST = {"1000": "1,000", "10000": "10,000", "100000": "100,000"}
SINCE = {"": "whenever", "1": "in the last 24 hours", "7": "in the last 7 days", "30": "in the last 30 days"}
SHOWN = 100
"""Groups and streams that are shown; of the rest only the number is told."""

LOG = "audit.auditevent"
_HERE = "<!-- what is found -->"
_OWN = ("csrfmiddlewaretoken", "most", "since", "_preview")


def preview_page(request: HttpRequest, proposal: Proposal) -> HttpResponseBase:
    """The page, sent as it comes to be. What was posted is posted again with another period, or to make the change."""
    most = request.POST.get("most") if request.POST.get("most") in MOST else "10000"
    since = request.POST.get("since") if request.POST.get("since") in SINCE else ""
    context = {
        **admin.site.each_context(request),
        "title": proposal.title,
        "proposal": proposal,
        "said": [Line(text, "", remark) for text, remark in proposal.said[:SHOWN]],
        "posted": [(name, value) for name, values in request.POST.lists() if name not in _OWN for value in values],
        "choices": {"most": MOST.items(), "since": SINCE.items()},
        "chosen": {"most": most, "since": since},
        "here": _HERE,
    }
    try:
        snapshot = fresh_snapshot()
    except Unavailable as error:
        context["fault"] = f"This cannot be looked at just now: {error}"
        return TemplateResponse(request, "admin/audit/preview.html", context, status=503)
    page = render_to_string("admin/audit/preview.html", context, request)
    before, _, after = page.partition(_HERE)
    begins = timezone.now() - timedelta(days=int(since)) if since else None
    found = _found(request, proposal, snapshot, recorded(int(most), begins))
    return StreamingHttpResponse(_pieces(before, found, after))


def _pieces(before: str, found: Iterator[str], after: str) -> Iterator[str]:
    yield before
    yield from found
    yield after


def _found(request: HttpRequest, proposal: Proposal, snapshot: Snapshot, events) -> Iterator[str]:
    """How far it has come, each time it has come further, and then what was found."""
    revision, started = snapshot.revision, time.monotonic()
    rules = proposal.applied_to(snapshot.rules)
    preview = Preview()
    for preview in look(events, snapshot, rules):
        yield f'<p class="wcsgate-progress px-3 py-2" role="status">{preview.looked_at:,} decisions looked at …</p>\n'
    streams = stopped(snapshot, rules, timezone.now())
    context = {
        "preview": preview,
        "sections": list(_sections(request, preview, streams)),
        "seconds": f"{time.monotonic() - started:.1f}",
        "moved_on": last_revision() != revision,
        "limited": any(row.limits for row in proposal.rows),
    }
    yield render_to_string("admin/audit/preview_found.html", context, request)


def _sections(request: HttpRequest, preview: Preview, streams: list[AuditEvent]) -> Iterator[Section]:
    """What was found; whom and what it is about is told to those alone who may read it in the audit log."""
    told = may_see(request.user, LOG)
    groups = sorted(preview.groups.items(), key=lambda item: (item[0].allowed, -item[1].count))
    for title, allowed in (("Refused instead of allowed", False), ("Allowed instead of refused", True)):
        found = [(key, group) for key, group in groups if key.allowed is allowed]
        lines = tuple(_line(key, group, request) for key, group in found)
        if found:
            count = sum(group.count for _, group in found)
            yield Section(title, _some(lines) if told else _only_counted(count, "decision"))
    session = "admin:connections_session_change" if may_see(request.user, "connections.session") else ""
    lines = tuple(_stream_line(event, session) for event in streams)
    yield Section(
        "Running now, and stopped with the next keep-alive",
        _some(lines) if told else _only_counted(len(streams), "stream"),
        f"Nothing, of the last {MOST_STREAMS:,} streams that were let in.",
    )


def _only_counted(count: int, what: str) -> tuple[Line, ...]:
    """How many there are, without a word of whose they are."""
    text = f"{count:,} {what}{pluralize(count)}"
    return (Line(text, "", "Who and what is told to those who may see the audit log."),) if count else ()


def _some(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    more = len(lines) - SHOWN
    return (*lines[:SHOWN], Line(f"… and {more:,} more")) if more > 0 else lines


def _line(key: Key, group: Group, request: HttpRequest) -> Line:
    times = "once" if group.count == 1 else f"{group.count:,} times"
    first, last = (f"{timezone.localtime(moment):%Y-%m-%d %H:%M}" for moment in (group.first_at, group.last_at))
    when = f"at {last}" if first == last else f"from {first} to {last}"
    url = page_of(request, LOG, group.latest_id)
    return Line(f"{key.username or 'A guest'} asked to {deed(key.action, key.target)}: {times}", url, when)


def _stream_line(event: AuditEvent, session: str) -> Line:
    who = event.username or "A guest"
    doing = "publishing" if event.action == "publish" else "playing"
    since = f"since {timezone.localtime(event.last_received_at):%Y-%m-%d %H:%M}"
    return Line(f"{who}, {doing} “{event.target}”", reverse(session, args=[event.session_pk]) if session else "", since)
