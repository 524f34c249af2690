"""What somebody changed of what decides, or of what is kept, as events of the audit log.

Triggers put each changed row into an outbox (`ChangeRecord`), whoever changes it and however. From there they are moved
like hooks, in batches of the same chain, and can be searched, exported and held like these. What staff do that changes
no such row (`acts`) goes the same way.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models import prefetch_related_objects
from django.utils import timezone

from apps.access.acts import ACT
from apps.access.models import NAMED_BY_RULES, Rule
from apps.access.networks import parse_address
from apps.access.reasons import STAFF_ACTION
from apps.audit.models import AuditEvent, ChangeRecord, Effect
from apps.audit.moving.batches import append, may_move, next_number
from apps.audit.moving.mover import by_halves, database_is_in_trouble, problem_of
from apps.audit.recording.recorder import MAX_TEXT
from apps.audit.statistics import tallies
from apps.live.models import Lease
from apps.protocol.action_words import joined

BATCH = 500

ASIDE = ("date_joined", "created_at", "made_at", "made_by", "first_seen_at", "last_seen_at", "ordered_at", "try_at")
"""Columns of a new row that say nothing that the event does not say by itself."""

LAST_ROW = (1 << 63) - 1

OUR_PROGRAMS = ("wcsgate", "wcsgate hooks")
"""What web processes and workers call themselves to Postgres; all else has another name (settings.APPLICATION)."""

OURSELVES = "WCS Gate"
"""Who changed what nobody asked for: a node that was seen for the first time, or what a limit put an end to."""


@dataclass(frozen=True, slots=True)
class Table:
    """How rows of a table are spoken of: what one is, and the columns that name it together."""

    noun: str
    names: tuple[str, ...] = ()


TABLES = {
    "accounts_user": Table("user", ("username",)),
    "accounts_user_groups": Table("membership", ("user_id", "group_id")),
    "accounts_user_user_permissions": Table("permission of staff", ("user_id", "permission_id")),
    "accounts_token": Table("token", ("user_id", "label")),
    "accounts_apikey": Table("API key", ("user_id", "label")),
    "accounts_revocation": Table("revocation"),
    "auth_group": Table("group", ("name",)),
    "auth_group_permissions": Table("permission of staff", ("group_id", "permission_id")),
    "streams_stream": Table("stream", ("name",)),
    "streams_streamgroup": Table("stream group", ("name",)),
    "streams_stream_groups": Table("membership", ("stream_id", "streamgroup_id")),
    "streams_streamlink": Table("stream link", ("stream", "label")),
    "connections_app": Table("app", ("key",)),
    "connections_node": Table("node", ("node_id",)),
    "connections_tokenissuer": Table("token issuer", ("issuer",)),
    "connections_sipaccount": Table("SIP account", ("user_id", "login")),
    "access_rule": Table("rule"),
    "access_schedule": Table("schedule", ("name",)),
    "access_numberclass": Table("number class", ("name",)),
    "live_cut": Table("order to end", ("lease_id",)),
    "audit_hold": Table("legal hold", ("name",)),
}

ACTIONS = {"add": "added", "change": "changed", "delete": "removed", "empty": "emptied"}
"""What is done to a row, with the word for it."""

ACTS = {
    "acknowledge": "acknowledged",
    "try-again": "tried again",
    "export": "exported",
    "download": "downloaded",
    "delete-export": "deleted",
    "read": "read",
}
"""What is done so, with the word for it."""

logger = logging.getLogger(__name__)


_PUT_ASIDE = """WITH taken AS (DELETE FROM audit_changerecord r WHERE id = %s RETURNING id, to_jsonb(r) AS record)
    INSERT INTO audit_badrecord (id, record, problem)
    SELECT CASE WHEN EXISTS (SELECT FROM audit_badrecord b WHERE b.id = taken.id) THEN gen_random_uuid() ELSE id END,
        record, %s FROM taken"""


def move_changes(limit: int = BATCH) -> int:
    """Move up to `limit` of the oldest changes into the audit log; gives how many are out of their outbox.

    Gives 0 at once where another mover is at work, or some of the log is aside.
    """
    ids = list(ChangeRecord.objects.order_by("id").values_list("id", flat=True)[:limit])
    return by_halves(ids, partial(_move_together, told=_in_words), _move_alone)


def _move_alone(id_: UUID, _error: Exception) -> int:
    """Move one that cannot be put into words, without; where that cannot be either, put it aside as it is."""
    try:
        moved = _move_together([id_], _without_words)
        logger.warning("Change %s cannot be put into words, and is recorded without.", id_)
        return moved
    except Exception as error:
        if database_is_in_trouble(error):
            raise
        with connection.cursor() as cursor:
            cursor.execute(_PUT_ASIDE, [id_, problem_of(error)])
            put_aside = cursor.rowcount
        logger.error("Change %s cannot be moved and is put aside: %s", id_, type(error).__name__)
        return put_aside


def _move_together(ids: Sequence[UUID], told: Callable[[Sequence[ChangeRecord], int], list[AuditEvent]]) -> int:
    with transaction.atomic():
        ours = ids and may_move()
        changes = list(ChangeRecord.objects.filter(id__in=ids).order_by("id")) if ours else []
        if changes:
            number = next_number()
            events = told(changes, number)
            AuditEvent.objects.bulk_create(events)
            tallies.note(events)
            append(number, timezone.now(), _as_stored(events))
            ChangeRecord.objects.filter(id__in=[change.id for change in changes]).delete()
    return len(changes)


def _as_stored(events: Sequence[AuditEvent]) -> list[AuditEvent]:
    """The same as Postgres has them, which is what can be compared later: it writes addresses, for one, its own way."""
    moments = [event.received_at for event in events]
    stored = AuditEvent.objects.filter(batch=events[0].batch, received_at__range=(min(moments), max(moments)))
    found = stored.in_bulk([event.id for event in events])
    return [found[event.id] for event in events]


def _in_words(changes: Sequence[ChangeRecord], batch: int) -> list[AuditEvent]:
    return _events(changes, batch, Known(changes))


def _without_words(changes: Sequence[ChangeRecord], batch: int) -> list[AuditEvent]:
    return [_event(change, batch) for change in changes]


class Known:
    """Names of the rows that some changes speak of, and what changed rules say."""

    def __init__(self, changes: Iterable[ChangeRecord]) -> None:
        changes = [change for change in changes if change.table_name != ACT]
        wanted: dict[type[models.Model], set[int]] = defaultdict(set)
        for change in changes:
            for column, model in links(change.table_name).items():
                wanted[model] |= {row[column] for row in (change.before, change.after) if row and row.get(column)}
        self._names = {model: _names_of(model, ids) for model, ids in wanted.items()}
        for change in changes:  # what is gone by now may have gone with these
            row, table = change.after or change.before, TABLES[change.table_name]
            if row and len(table.names) == 1:
                self._names.setdefault(model_of(change.table_name), {}).setdefault(row["id"], row[table.names[0]])
        self.sentences = {
            change.id: self._sentence(rule)
            for change, rule in _rules(change for change in changes if change.table_name == "access_rule")
        }

    def said(self, table: str, column: str, value: Any) -> str:
        """A value in words: the name of what it links to, where it does."""
        model = links(table).get(column)
        if model is not None and value is not None:
            return f"“{self._names.get(model, {}).get(value, f'no. {value}')}”"
        if isinstance(value, list):
            return joined([f"“{item}”" for item in value], "and") if value else "nothing"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return "nothing" if value in (None, "") else f"“{value}”"

    def _sentence(self, rule: Rule) -> str:
        """What a rule said, also where whom or what it is about is gone."""
        for name in NAMED_BY_RULES:
            field = Rule._meta.get_field(name)
            model, gone = field.related_model, getattr(rule, field.attname)
            if gone is not None and getattr(rule, name) is None:
                known = self._names.get(model, {}).get(gone, f"no. {gone}")
                field.set_cached_value(rule, model(pk=gone, **{_naming(model): known}))
        return str(rule)


@cache
def links(table: str) -> dict[str, type[models.Model]]:
    """The columns of a table that link to rows with a name, and to which."""
    linked = {field.column: field.related_model for field in model_of(table)._meta.concrete_fields if field.is_relation}
    return {column: model for column, model in linked.items() if model is Lease or _naming(model)}


@cache
def model_of(table: str) -> type[models.Model]:
    """Of which model a table has the rows."""
    return next(model for model in apps.get_models(include_auto_created=True) if model._meta.db_table == table)


def _naming(model: type[models.Model]) -> str:
    """The column that names a row; "" where none does by itself."""
    if model._meta.db_table == "auth_permission":
        return "codename"
    names = TABLES[model._meta.db_table].names if model._meta.db_table in TABLES else ()
    return names[0] if len(names) == 1 else ""


def _names_of(model: type[models.Model], ids: Iterable[int]) -> dict[int, str]:
    rows = model._default_manager.filter(pk__in=ids)
    if model is Lease:
        return {lease.pk: f"{lease.username or 'a guest'}: {lease.action} {lease.target}" for lease in rows}
    return dict(rows.values_list("pk", _naming(model)))


def _event(change: ChangeRecord, batch: int) -> AuditEvent:
    """The event of a change, with what can be said of any; that of an act says all of it."""
    target = f"{change.table_name} {change.row_id}" if change.row_id else f"all of {change.table_name}"
    act = {"action": _action(change), "what": target, "told": ""} | (change.after if change.table_name == ACT else {})
    return AuditEvent(
        id=change.id,
        received_at=change.changed_at,
        last_received_at=change.changed_at,
        action=act["action"],
        target=act["what"][:MAX_TEXT],
        told=_cut(act["told"]),
        client_address=_address(change.actor),
        username=who(change.actor)[:MAX_TEXT],
        user_id=_user_id(change.actor),
        effect=Effect.ALLOWED,
        reason=STAFF_ACTION,
        revision=change.revision,
        body=_body(change),
        digest=change.id.bytes,
        batch=batch,
    )


def _events(changes: Iterable[ChangeRecord], batch: int, known: Known) -> list[AuditEvent]:
    """The events of changes, in words."""
    events = []
    for change in changes:
        event = _event(change, batch)
        if change.table_name != ACT:
            event.target, event.told = _subject(change, known)[:MAX_TEXT], _said(change, known)
        if change.id in known.sentences:
            event.rule_ids, event.rules = [change.row_id], [known.sentences[change.id]]
        events.append(event)
    return events


def _address(actor: dict[str, Any]) -> str | None:
    """From where it came; None for what nobody asked for, or where it is not known."""
    told = actor.get("address") if "username" in actor else actor.get("database_address")
    parsed = parse_address(str(told or ""))
    return str(parsed) if parsed is not None and who(actor) != OURSELVES else None


def _user_id(actor: dict[str, Any]) -> int | None:
    """Whose number it is; None for what is no number of a row."""
    told = actor.get("user_id")
    return told if type(told) is int and 0 < told <= LAST_ROW else None


def _action(change: ChangeRecord) -> str:
    if change.before is None:
        return "empty" if change.after is None else "add"
    return "delete" if change.after is None else "change"


def who(actor: dict[str, Any]) -> str:
    """Who did it, in words: staff by their user name; others by what they came in with.

    Whoever may run SQL can tell Postgres any name; so a program that is none of ours is named with it.
    """
    is_ours = (
        actor.get("application") in OUR_PROGRAMS and actor.get("database_user") == connection.settings_dict["USER"]
    )
    program = "" if is_ours else f" by {actor.get('application') or 'an unnamed program'}"
    if username := actor.get("username"):
        return f"{username}{program}"
    if command := actor.get("command"):
        return f"{actor.get('system_user') or 'somebody'} by {command}"
    return f"database user {actor.get('database_user')}{program}" if program else OURSELVES


def _subject(change: ChangeRecord, known: Known) -> str:
    """What was changed, for example: token “alice”, “laptop”."""
    table, row = TABLES[change.table_name], change.after or change.before
    if row is None:
        return f"all of {table.noun}"
    if not table.names:
        return f"{table.noun} {change.row_id}"
    names = [known.said(change.table_name, name, row.get(name)) for name in table.names]
    return f"{table.noun} {', '.join(names)}"


def _said(change: ChangeRecord, known: Known) -> str:
    """What is different now, for example: until “2030-01-01” instead of nothing; password set anew."""
    before, after = change.before or {}, change.after or {}
    labels = {field.column: str(field.verbose_name) for field in model_of(change.table_name)._meta.concrete_fields}
    parts = []
    for column in labels:
        old, new = before.get(column), after.get(column)
        if (
            column == "id"
            or old == new
            or (change.before is None and (column in ASIDE or new in (None, "", [], False)))
        ):
            continue
        said = known.said(change.table_name, column, new if change.after is not None else old)
        instead = f" instead of {known.said(change.table_name, column, old)}" if before and after else ""
        parts.append(f"{labels.get(column, column)} {said}{instead}")
    for column, _, what in (secret.partition(" ") for secret in change.secrets):
        parts.append(f"{labels.get(column, column)} {what}")
    return _cut("; ".join(parts))


def _cut(words: str) -> str:
    return words if len(words) <= MAX_TEXT else f"{words[: MAX_TEXT - 1]}…"


def _rules(changes: Iterable[ChangeRecord]) -> list[tuple[ChangeRecord, Rule]]:
    """Changed rules as they were at the time, with whom and what they are about, as far as that is still there."""
    found = [(change, rule) for change in changes if (rule := _rule(change.after or change.before or {})) is not None]
    prefetch_related_objects([rule for _, rule in found], *NAMED_BY_RULES)
    return found


def _rule(row: dict[str, Any]) -> Rule | None:
    """The rule as it was; None where rows were of another kind then."""
    try:
        return Rule(**{field.attname: field.to_python(row[field.column]) for field in Rule._meta.concrete_fields})
    except (KeyError, ValidationError):
        return None


def told_with(event: AuditEvent) -> dict[str, Any]:
    """What was recorded of who changed something: why, by which request, and so on."""
    try:
        said = json.loads(bytes(event.body))
    except (ValueError, RecursionError):  # whoever can write to the database may have written it
        return {}
    return said if isinstance(said, dict) else {}


def _body(change: ChangeRecord) -> bytes:
    """All of it, as JSON."""
    return json.dumps(
        {
            "table": change.table_name,
            "row": change.row_id,
            "before": change.before,
            "after": change.after,
            "secrets": change.secrets,
            **{name: value for name, value in change.actor.items() if name != "user_id"},
        },
        ensure_ascii=False,
    ).encode()
