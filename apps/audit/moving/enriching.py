"""Events out of records: with what deciding had no time to add, as it is at the time of moving.

Names are copied, so that the record speaks for itself when its subjects are renamed or gone.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property

from django.db.models.functions import Coalesce
from msgspec.structs import astuple

from apps.access.models import AccessChange, Rule
from apps.access.rule_rows import number_plan
from apps.audit.moving.leases import ends, key_of
from apps.audit.moving.outbox import NewEvent, Record
from apps.connections.models import Node
from apps.database.lookups import AnyOf
from apps.live.models import Lease
from apps.protocol.methods import NUMBER_ACTIONS, STREAM_ACTIONS, find
from apps.protocol.numbers import canonical
from apps.streams.models import Stream

NUMBER_MEMBERS = (("callee",), ("caller",), ("to",), ("from",), ("target",))
"""Members of events that hold a number."""


class Surroundings:
    """What is known around some records; asked for once, in few queries, and only where one of them needs it."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def event(self, record: Record, digest: bytes) -> NewEvent:
        """The event that a record becomes."""
        return NewEvent(
            *astuple(record),
            stream_id=self._streams.get(record.target) if _is_about_stream(record) else None,
            node_name=self._node_names.get(record.node_id, ""),
            rules=self._sentences_of(record),
            number=number_of(record),
            duration=self._durations.get(_ended(record)),
            last_received_at=record.received_at,
            digest=digest,
        )

    def _sentences_of(self, record: Record) -> list[str]:
        return [self._sentence_of(id_, record.revision) for id_ in [*record.rule_ids, *record.logged_rule_ids]]

    def _sentence_of(self, rule_id: int, revision: int) -> str:
        """What it says; and whether that is something else than it said when it decided."""
        if not (sentence := self._sentences.get(rule_id)):
            return f"Rule {rule_id}, removed meanwhile"
        return f"{sentence}, changed meanwhile" if self._changed_at.get(rule_id, 0) > revision else sentence

    @cached_property
    def _sentences(self) -> dict[int, str]:
        """What the rules say now; those that are gone say nothing."""
        ids = self._rule_ids
        return {rule.id: str(rule) for rule in Rule.objects.filter(id__in=ids).with_names()} if ids else {}

    @cached_property
    def _changed_at(self) -> dict[int, int]:
        """Rules that were changed after one of the records was decided, with the revision of the last time."""
        since = min(record.revision for record in self._records)
        changes = AccessChange.objects.filter(revision__gt=since, table_name=Rule._meta.db_table)
        return dict(changes.filter(row_id__in=self._rule_ids).order_by("revision").values_list("row_id", "revision"))

    @cached_property
    def _rule_ids(self) -> set[int]:
        return {rule_id for record in self._records for rule_id in [*record.rule_ids, *record.logged_rule_ids]}

    @cached_property
    def _streams(self) -> dict[str, int]:
        names = {record.target for record in self._records if _is_about_stream(record)}
        return dict(Stream.objects.filter(AnyOf("name", names)).values_list("name", "id"))

    @cached_property
    def _node_names(self) -> dict[str, str]:
        ids = {record.node_id for record in self._records}
        return dict(Node.objects.filter(node_id__in=ids).exclude(name="").values_list("node_id", "name"))

    @cached_property
    def _durations(self) -> dict[tuple[object, ...], timedelta]:
        """How long that had lasted which one of these ended. A lease that has ended says by when."""
        over = [record for record in self._records if _ends_something(record)]
        if not over:
            return {}
        leases = Lease.objects.filter(
            AnyOf("session_id", {record.session_id for record in over}),
            AnyOf("key", {key_of(record) for record in over}),
            AnyOf("ended_at", {record.received_at for record in over}),
        ).annotate(began_at=Coalesce("started_at", "opened_at"))
        return {
            (lease.node_id, lease.session_id, lease.key, lease.ended_at): lease.ended_at - lease.began_at
            for lease in leases
        }


def number_of(record: Record) -> str:
    """The number that a hook is about, in its one form; "" where it is about something else, or about a name."""
    method = find(record.method)
    is_number = record.action in NUMBER_ACTIONS or (method is not None and method.target in NUMBER_MEMBERS)
    return canonical(record.target, number_plan()) if is_number else ""


def _is_about_stream(record: Record) -> bool:
    method = find(record.method)
    return record.action in STREAM_ACTIONS or (method is not None and not {*STREAM_ACTIONS}.isdisjoint(method.tells_of))


def _ends_something(record: Record) -> bool:
    method = find(record.method)
    return method is not None and bool(key_of(record)) and ends(record, method)


def _ended(record: Record) -> tuple[object, ...] | None:
    if not _ends_something(record):
        return None
    return record.node_id, record.session_id, key_of(record), record.received_at
