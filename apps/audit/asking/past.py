"""What access was: the snapshot of a revision that has gone by, from what is now and from what was changed since.

A row was, at a revision, what the first later change of it says it was before; where there is none, what it is now. So
the tables that decide are copied under their own names into those that only this connection sees, and come first there;
changed rows are put back in these; and they are read as ever. Nothing else sees any of it, and it is gone at the end.

Not recorded, and so as they are today: secrets, what is running, and the settings (how numbers are dialled).
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model
from django.utils import timezone
from psycopg import IsolationLevel
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composable, Identifier, Literal

from apps.access.compile import Snapshot
from apps.access.models import NAMED_BY_RULES, Rule
from apps.access.reasons import STAFF_ACTION
from apps.access.sentences import moment_text
from apps.access.snapshot import PARTS, read, read_again
from apps.access.then import NotRecorded, Under
from apps.audit.ids import MARGIN, first_id
from apps.audit.moving.changes import TABLES, model_of
from apps.audit.net import IS_ASIDE, STAYS, BeingPutInPlace
from apps.database.connection import Unavailable, conninfo_of

TABLES_OF_RULES = ("access_schedule", "streams_streamgroup")
DECIDING = tuple({table: None for part in PARTS.values() for table in part.tables} | dict.fromkeys(TABLES_OF_RULES))
"""Tables that a snapshot is read from, or the sentences of its rules."""

NOTED = {"accounts_user_groups": "user_id", "streams_stream_groups": "stream_id"}
"""Rows that a snapshot knows by another one's id."""

ADDRESSES = {"streams_stream": "source", "connections_sipaccount": "outbound_proxy"}
"""Columns of addresses, whose logins changes do not have; as long as the rest is the same, it is today's."""

Answer = TypeVar("Answer")

LONGEST = timedelta(minutes=1)
"""How long before it is committed a change may have been made. Where one took longer, hooks of just then are of a
revision that is not looked at, and cannot be decided again."""

RECORDER = "0010_record_of_changes"
"""The migration since which changes are recorded."""

_SINCE = """
    SELECT greatest(
        (SELECT applied FROM django_migrations WHERE app = 'audit' AND name = %s),
        (SELECT max((note::jsonb ->> 'before')::timestamptz) FROM audit_batch
            WHERE note <> '' AND note::jsonb ->> 'let go' = 'changes by staff'))"""

_CHANGES = """
    CREATE TEMP TABLE past_change ON COMMIT DROP AS
    WITH event AS MATERIALIZED (  -- so that each body is read once
        SELECT id, received_at, revision, convert_from(body, 'UTF8')::jsonb AS said FROM audit_auditevent
        WHERE effect = 'allow' AND reason = {reason} AND received_at >= {since} AND id >= {first}
    )
    SELECT c.*, CASE WHEN noted.name IS NULL THEN ARRAY[row_id]
        ELSE ARRAY[(before ->> noted.name)::bigint, (after ->> noted.name)::bigint] END AS about
    FROM (
        SELECT id, received_at AS changed_at, revision,
            said ->> 'table' AS table_name, (said ->> 'row')::bigint AS row_id,
            nullif(said -> 'before', 'null') AS before, nullif(said -> 'after', 'null') AS after
        FROM event
        UNION ALL
        SELECT id, changed_at, revision, table_name, row_id, before, after FROM audit_changerecord
            WHERE changed_at >= {since}
    ) AS c LEFT JOIN jsonb_each_text({noted}) AS noted (table_name, name) USING (table_name)
    WHERE table_name = ANY ({tables}::text[])"""

_LAST_BEFORE = """
    SELECT max(revision) FROM (
        (SELECT revision FROM audit_auditevent WHERE effect = 'allow' AND reason = %(reason)s
            AND received_at <= %(moment)s AND received_at >= %(since)s ORDER BY received_at DESC LIMIT 100)
        UNION ALL
        (SELECT revision FROM audit_changerecord WHERE changed_at <= %(moment)s ORDER BY changed_at DESC LIMIT 100)
    ) AS last"""

_AS_IT_WAS = """
    INSERT INTO {copy} SELECT was.* FROM unnest({ids}::bigint[]) AS changed (id)
    LEFT JOIN {table} AS present ON present.id = changed.id
    LEFT JOIN LATERAL (SELECT true AS is_there, c.before FROM past_change c
        WHERE c.table_name = {name} AND c.row_id = changed.id AND c.revision > {revision}
        ORDER BY c.revision, c.changed_at, c.id LIMIT 1) AS later ON true
    CROSS JOIN LATERAL jsonb_populate_record(present, CASE WHEN present.id IS NULL THEN {empty}::jsonb ELSE '{{}}' END
        || coalesce(later.before, '{{}}') || {address}) AS was
    WHERE CASE WHEN later.is_there THEN later.before IS NOT NULL ELSE present.id IS NOT NULL END"""

_ADDRESS = """CASE WHEN audit_without_logins(present.{column}) = later.before ->> {name}
        THEN jsonb_build_object({name}, present.{column}) ELSE '{{}}' END"""

_BROKEN = """
    WITH said AS (
        SELECT c.id, c.row_id, c.after, lead(c.id) OVER of_row AS next_id, lead(c.before) OVER of_row AS next_before
        FROM past_change c WHERE c.table_name = {name} AND c.row_id IS NOT NULL
        WINDOW of_row AS (PARTITION BY c.row_id ORDER BY c.revision, c.changed_at, c.id)
    ), compared AS (
        SELECT said.id, said.row_id, said.next_id, said.after,
            CASE WHEN next_id IS NOT NULL THEN next_before
                ELSE audit_kept_of(to_jsonb(present), {secrets}::text[], {addresses}::text[]) END AS found
        FROM said LEFT JOIN {table} AS present ON present.id = said.row_id
    )
    SELECT id, row_id, next_id FROM compared
    WHERE (after IS NULL) <> (found IS NULL) OR EXISTS (
        SELECT FROM jsonb_each(after) AS a JOIN jsonb_each(found) AS f USING (key)
        WHERE a.value <> f.value AND key <> ALL ({unimportant}::text[]))
    ORDER BY id LIMIT 100"""


AT_ONCE = 2
"""So many look at the past at a time in one process: each has a connection beside those of its thread."""
_PATIENCE = 1.0
_looking = threading.BoundedSemaphore(AT_ONCE)


class OthersAreLooking(Unavailable):
    """As many as may look at the past just now. Nothing is wrong; the message is a sentence."""

    in_trouble = False


@contextmanager
def past(since: datetime | None = None) -> Iterator["Past"]:
    """What was at any time from this moment on, until now; without one, as far back as is known.

    Raises NotRecorded, OthersAreLooking, or psycopg.OperationalError.
    """
    if not _looking.acquire(timeout=_PATIENCE):
        raise OthersAreLooking("Others are looking at what was then. Ask again in a moment.")
    try:
        with _past(since) as was:
            yield was
    finally:
        _looking.release()


@contextmanager
def _past(since: datetime | None) -> Iterator["Past"]:
    with psycopg.connect(conninfo_of(settings.DATABASES["default"]), autocommit=True) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            try:
                yield Past(connection, since)
            except psycopg.DataError as error:
                raise NotRecorded(
                    f"A change in the record cannot be read ({_first_line(error)}). See what verify_audit says of it."
                ) from error


def ask_then(moment: datetime, ask: Callable[[Under], Answer]) -> Answer:
    """What `ask` finds under the users and rules of a moment. Raises NotRecorded, or Unavailable."""
    try:
        with past(moment) as was:
            return ask(Under(was.at(was.revision_at(moment)), was.rules, is_then=True))
    except psycopg.OperationalError as error:
        raise Unavailable(_first_line(error)) from None


class Past:
    """The revisions from `first` to `last`. Nothing is known of what was before the moment `recorded_since`.

    Going from one to the next reads what differs between them.
    """

    def __init__(self, connection: psycopg.Connection[Any], since: datetime | None) -> None:
        self._connection = connection
        self._see_whole()
        self.recorded_since = self._require_record(since)
        schema, self.last = connection.execute(
            "SELECT current_schema(), (SELECT revision FROM access_revision)"
        ).fetchone() or ("", 0)
        self._schema = str(schema)
        self._collect(since or self.recorded_since)
        self.first = self._lowest(since)
        self._copies = self._copy_changed_tables()
        self._revision = self.last
        self._snapshot: Snapshot | None = None

    def _see_whole(self) -> None:
        """That no change is aside, and so taken for one that never was."""
        self._connection.execute(STAYS)
        if self._connection.execute(f"SELECT {IS_ASIDE}").fetchone() == (True,):
            raise NotRecorded(str(BeingPutInPlace()))

    def revision_at(self, moment: datetime) -> int:
        """The last revision at a moment that is not before the first one asked about."""
        values = {"reason": STAFF_ACTION, "moment": moment, "since": self.recorded_since}
        before = self._connection.execute(_LAST_BEFORE, values).fetchone()
        if before and before[0] is not None:
            return int(before[0])
        return self.first

    def at(self, revision: int) -> Snapshot:
        """The snapshot of a revision, until the next one is asked for. Raises NotRecorded."""
        if not self.first <= revision <= self.last:
            raise NotRecorded(f"What was at revision {revision} was not recorded.")
        changed = self._put_back(revision)
        if self._snapshot is None:
            self._snapshot = read(self._connection)
        else:
            read_again(self._snapshot, self._connection, changed)
        self._snapshot.revision = revision
        return self._snapshot

    def rules(self, rule_ids: Iterable[int]) -> dict[int, Rule]:
        """Rules as they were at the revision asked for last, with the rows whose names their sentences say."""
        rules = {row["id"]: _row_as(Rule, row) for row in self._rows("access_rule", rule_ids)}
        for name in NAMED_BY_RULES:
            field = Rule._meta.get_field(name)
            model = field.related_model
            wanted = {value for rule in rules.values() if (value := getattr(rule, field.attname)) is not None}
            named = {row["id"]: _row_as(model, row) for row in self._rows(model._meta.db_table, wanted)}
            for rule in rules.values():
                field.set_cached_value(rule, named.get(getattr(rule, field.attname)))
        return rules

    def broken(self) -> list[str]:
        """Where the record of changes disagrees with itself, or with what is now: one of both was changed."""
        return [sentence for table in self._copies for sentence in self._broken(table)]

    def _require_record(self, since: datetime | None) -> datetime:
        row = self._connection.execute(_SINCE, [RECORDER]).fetchone()
        if row is None or row[0] is None or (since is not None and since < row[0]):
            before = f" before {_said(row[0])}" if row and row[0] else ""
            raise NotRecorded(f"What was{before} was not recorded, or is past its time and was let go.")
        moment: datetime = row[0]
        return moment

    def _collect(self, since: datetime) -> None:
        since = max(since - LONGEST, self.recorded_since)
        self._run(
            SQL(_CHANGES).format(
                reason=Literal(STAFF_ACTION),
                since=Literal(since),
                first=Literal(first_id(since, -MARGIN)),
                noted=Literal(json.dumps(NOTED)) + SQL("::jsonb"),
                tables=Literal(list(DECIDING)),
            )
        )
        self._run("CREATE INDEX ON past_change (table_name, row_id, revision)")
        self._run("CREATE INDEX ON past_change (revision)")
        self._run("ANALYZE past_change")

    def _lowest(self, since: datetime | None) -> int:
        """The first revision that can be said: not one before a table was emptied, as nobody noted its rows."""
        emptied = self._connection.execute(
            "SELECT table_name, changed_at, revision FROM past_change WHERE row_id IS NULL ORDER BY revision DESC"
        ).fetchall()
        for table, changed_at, revision in emptied:
            if since is not None and changed_at >= since:
                noun = TABLES[table].noun
                raise NotRecorded(
                    f"All of {noun} was emptied at {_said(changed_at)}; what was before was not recorded."
                )
            self._connection.execute("DELETE FROM past_change WHERE revision <= %s", [revision])
            self.recorded_since = max(self.recorded_since, changed_at)
        first = self._connection.execute("SELECT min(revision) - 1 FROM past_change").fetchone()
        return self.last if first is None or first[0] is None else int(first[0])

    def _copy_changed_tables(self) -> tuple[str, ...]:
        """Under their own names, which from now on mean the copies; with the key that grouping by it needs."""
        changed = self._connection.execute("SELECT DISTINCT table_name FROM past_change ORDER BY 1").fetchall()
        for (name,) in changed:
            copy = self._copy(name)
            self._run(SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP").format(Identifier(name), self._real(name)))
            self._run(SQL("INSERT INTO {} SELECT * FROM {}").format(copy, self._real(name)))
            self._run(SQL("ALTER TABLE {} ADD PRIMARY KEY (id)").format(copy))
        return tuple(name for (name,) in changed)

    def _put_back(self, revision: int) -> list[tuple[str, int]]:
        """Make the copies what the tables were; gives what is different now, as the triggers note it."""
        between = sorted((revision, self._revision))
        found = self._connection.execute(
            """SELECT table_name, array_agg(DISTINCT row_id), array_agg(DISTINCT noted)
                FROM past_change, unnest(about) AS noted WHERE revision > %s AND revision <= %s GROUP BY table_name""",
            between,
        ).fetchall()
        for table, ids, _ in found:
            self._put_back_rows(table, ids, revision)
        self._revision = revision
        return [(table, id_) for table, _, noted in found for id_ in noted if id_ is not None]

    def _put_back_rows(self, table: str, ids: list[int], revision: int) -> None:
        address = SQL("'{{}}'::jsonb").format()
        if column := ADDRESSES.get(table):
            address = SQL(_ADDRESS).format(column=Identifier(column), name=Literal(column))
        self._run(SQL("DELETE FROM {} WHERE id = ANY ({}::bigint[])").format(self._copy(table), Literal(ids)))
        self._run(
            SQL(_AS_IT_WAS).format(
                copy=self._copy(table),
                table=self._real(table),
                name=Literal(table),
                ids=Literal(ids),
                revision=Literal(revision),
                empty=Literal(_empty(model_of(table))),
                address=address,
            )
        )

    def _broken(self, table: str) -> Iterator[str]:
        row = self._connection.execute(
            "SELECT string_to_array(encode(tgargs, 'escape'), '\\000') FROM pg_trigger"
            " WHERE tgname = 'audit_updated' AND tgrelid = %s::regclass",
            [f"{self._schema}.{table}"],
        ).fetchone()
        if row is None:
            yield f"Changes of {TABLES[table].noun} are no longer recorded: their trigger is gone."
            return
        secrets, addresses, unimportant = map(Literal, row[0][:3])
        query = SQL(_BROKEN).format(
            name=Literal(table),
            table=self._real(table),
            secrets=secrets,
            addresses=addresses,
            unimportant=unimportant,
        )
        for id_, row_id, next_id in self._connection.execute(query).fetchall():
            other = f"change {next_id} says it was before" if next_id else "it is now"
            yield f"Change {id_} says that {TABLES[table].noun} {row_id} became something else than {other}."

    def _rows(self, table: str, ids: Iterable[int]) -> list[dict[str, Any]]:
        query = SQL("SELECT * FROM {} WHERE id = ANY (%s::bigint[])").format(Identifier(table))
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, [list(ids)]).fetchall()

    def _copy(self, table: str) -> Composable:
        return Identifier("pg_temp", table)

    def _real(self, table: str) -> Composable:
        return Identifier(self._schema, table)

    def _run(self, statement: str | Composable) -> None:
        self._connection.execute(statement)


def _row_as(model: type[Model], row: dict[str, Any]) -> Any:
    return model(**{field.attname: row[field.column] for field in model._meta.concrete_fields})


def _empty(model: type[Model]) -> str:
    """What columns have of which nothing was recorded, such as secrets of rows that are gone: nothing, in its way."""
    values = {field.column: field.get_default() for field in model._meta.concrete_fields if not field.null}
    return json.dumps(values, cls=DjangoJSONEncoder)


def _said(moment: datetime) -> str:
    return moment_text(moment, timezone.get_current_timezone())


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
