"""What staff changed while a session ran, as far as it has to do with that session."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.audit.moving.changes import told_with
from apps.connections.models import Session
from apps.streams.models import Stream

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Party:
    """Whom and what a session is about: its user, their groups, and the streams that were asked for in it."""

    session: Session
    groups: frozenset[int]
    names: frozenset[str]
    streams: frozenset[int]

    def has(self, user_id: int | None) -> bool:
        """Whether it is the session of this user."""
        return user_id is not None and user_id == self.session.user_id


def _of_user(row: Row, party: Party) -> bool:
    return party.has(row.get("user_id"))


def _of_rule(row: Row, party: Party) -> bool:
    """Whether the rule is about whoever has the session, whatever it lets them do."""
    match row.get("who"):
        case "everyone":
            return party.session.user_id is not None
        case "guests":
            return party.session.user_id is None
        case "group":
            return row.get("group_id") in party.groups
    return party.has(row.get("user_id"))


def _of_everybody(row: Row, party: Party) -> bool:
    return True


def _of_nobody(row: Row, party: Party) -> bool:
    return False


CONCERNS: dict[str, Callable[[Row, Party], bool]] = {
    "access_rule": _of_rule,
    "access_schedule": _of_everybody,
    "access_numberclass": _of_everybody,
    "accounts_revocation": _of_everybody,
    "accounts_user": lambda row, party: party.has(row.get("id")),
    "accounts_user_groups": _of_user,
    "accounts_token": _of_user,
    "connections_sipaccount": _of_user,
    "connections_tokenissuer": lambda row, party: party.session.entered_by == Session.EnteredBy.JWT,
    "auth_group": lambda row, party: row.get("id") in party.groups,
    "streams_stream": lambda row, party: row.get("name") in party.names,
    "streams_stream_groups": lambda row, party: row.get("stream_id") in party.streams,
    "streams_streamgroup": _of_nobody,
    "streams_streamlink": lambda row, party: row.get("stream") in party.names,
    "connections_app": lambda row, party: row.get("key") == party.session.app_key,
    "connections_node": lambda row, party: row.get("node_id") == party.session.node_id,
    "live_cut": lambda row, party: (
        (row.get("node_id"), row.get("session_id")) == (party.session.node_id, party.session.session_id)
    ),
    "accounts_apikey": _of_nobody,
    "accounts_user_user_permissions": _of_nobody,
    "auth_group_permissions": _of_nobody,
    "audit_hold": _of_nobody,
}
"""For each table that is watched, whether a row of it has to do with a session. What decides for everybody does."""


def concerning(session: Session, hooks: Iterable[AuditEvent], changed: Iterable[AuditEvent]) -> list[AuditEvent]:
    """Those of the changes, read with their bodies, that a session with these hooks has to do with."""
    said = [(event, told_with(event)) for event in changed]
    party = _party(session, hooks, (told for _, told in said)) if said else None
    return [event for event, told in said if party is not None and _concerns(told, party)]


def _party(session: Session, hooks: Iterable[AuditEvent], changed: Iterable[Row]) -> Party:
    """The groups are those of now, and those that the user came to or left meanwhile."""
    names = frozenset(hook.target for hook in hooks if hook.target)
    rows = (row for told in changed if told.get("table") == "accounts_user_groups" for row in _rows(told))
    groups = {row.get("group_id") for row in rows if row.get("user_id") == session.user_id}
    if session.user_id is not None:
        groups |= set(User.groups.through.objects.filter(user_id=session.user_id).values_list("group_id", flat=True))
    streams = frozenset(Stream.objects.filter(name__in=names).values_list("id", flat=True))
    return Party(session, frozenset(groups - {None}), names, streams)


def _concerns(told: Row, party: Party) -> bool:
    """What cannot be read does, and so does a table that was emptied: rather too much is told than too little."""
    concerns, rows = CONCERNS.get(told.get("table", ""), _of_everybody), _rows(told)
    return any(concerns(row, party) for row in rows) if rows else concerns is not _of_nobody


def _rows(told: Row) -> list[Row]:
    return [row for row in (told.get("before"), told.get("after")) if isinstance(row, dict)]
