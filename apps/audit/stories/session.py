"""The story of a session: from its connect to its end, with everything that came in between."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.audit.stories.events import NOTHING, Meanwhile, Told, changes, events_of, told
from apps.audit.stories.timeline import SLACK
from apps.connections.models import Session

AFTER = timedelta(minutes=10)
"""How long after its end something may still come from a session."""

AROUND = timedelta(days=1)
"""How far from a moment is looked where it is not known when the session began."""


@dataclass(frozen=True, slots=True)
class SessionStory:
    """A session, if its row is there and belongs to the moment, and what is told of it."""

    session: Session | None
    told: Told


def session_story(
    node_id: str,
    session_id: str,
    *,
    at: datetime | None,
    after: datetime | None,
    now: datetime,
    with_log: bool,
    with_leases: bool,
) -> SessionStory:
    """The session of these ids that was open at a moment (the last one, without it); from another moment on, if given.

    Clients may open a session again under the ids of one that ended: what is known of it is known of the last one.
    """
    session = Session.objects.filter(node_id=node_id, session_id=session_id).select_related("token").first()
    if session is not None and at is not None and at < session.opened_at - SLACK:
        session = None
    since, before = _times(session, at, now)
    if not with_log:
        return SessionStory(session, NOTHING)
    since = max(since, after) if after else since
    events = events_of(since, before).filter(node_id=node_id, session_id=session_id)
    meanwhile = Meanwhile(session, changes(since, session.ended_at or now)) if session else None
    return SessionStory(session, told(events, now, with_leases=with_leases, meanwhile=meanwhile))


def _times(session: Session | None, at: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    if session is None:
        middle = at or now
        return middle - AROUND, min(middle + AROUND, now + SLACK)
    return session.opened_at - SLACK, (session.ended_at + AFTER if session.ended_at else now + SLACK)
