"""Links to stories."""

from collections.abc import Iterator

from django.http import HttpRequest

from apps.access.reasons import STAFF_ACTION
from apps.accounts.pages import Line, link_to_page, person_links
from apps.audit.models import AuditEvent
from apps.protocol.methods import STREAM_ACTIONS, find


def links_of(request: HttpRequest, event: AuditEvent) -> Iterator[Line]:
    """The stories that a hook belongs to; none for what staff changed."""
    if event.reason == STAFF_ACTION:
        return
    at = event.received_at.isoformat()
    yield from person_links(request, event.username)
    if event.session_id:
        text = "Story of the session"
        yield from link_to_page(request, "story_session", text, node=event.node_id, session=event.session_id, at=at)
    if event.call_id:
        yield from link_to_page(
            request, "story_call", "Story of the call", node=event.node_id, call=event.call_id, at=at
        )
    elif stream := stream_of(event):
        yield from link_to_page(request, "story_stream", f"Story of stream “{stream}”", name=stream)


def stream_of(event: AuditEvent) -> str:
    """The name of the stream that an event is about; "" where it is about none."""
    method = find(event.method)
    told = set(method.tells_of) & set(STREAM_ACTIONS) if method else ()
    return event.target if event.action in STREAM_ACTIONS or told else ""
