"""The audit log partitioned by ranges of its ids, which begin with the time. The table of today becomes the first
partition as it is: no row is moved, but those with an id from the future.

In steps that are committed one by one, so that nobody waits while the ids of a large table are looked at. What an
interrupted run has left is taken back by the next one.
"""

from datetime import UTC, datetime, timedelta

from django.db import migrations, transaction

from apps.audit.ids import first_id

TABLE, FIRST, NET, CHECK = (
    "audit_auditevent",
    "audit_auditevent_first",
    "audit_auditevent_default",
    "audit_first_partition",
)
SOON = timedelta(hours=1)
"""A boundary that is nearer than this might be crossed before the table has changed."""

FIRST_ID = """CREATE FUNCTION audit_first_id(moment timestamptz) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(greatest(floor(extract(epoch FROM moment) * 1000), 0)::bigint), 12, '0') || repeat('0', 20))::uuid
$$"""


def partition(apps, schema_editor):
    bound = first_id(_next_month(datetime.now(UTC) + SOON))
    with transaction.atomic():
        _take_back(schema_editor)
        schema_editor.execute(f"CREATE TABLE {NET} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        schema_editor.execute(
            f"""WITH stray AS (DELETE FROM {TABLE} WHERE id >= '{bound}' RETURNING *)
                INSERT INTO {NET} SELECT * FROM stray"""
        )
        schema_editor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {CHECK} CHECK (id < '{bound}') NOT VALID")
    schema_editor.execute(f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT {CHECK}")  # reading and writing go on
    with transaction.atomic():
        _swap(schema_editor, bound)


def _next_month(moment):
    return (moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


def _take_back(schema_editor):
    if _rows(schema_editor, f"SELECT to_regclass('{NET}')") != [(None,)]:
        schema_editor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {CHECK}")
        schema_editor.execute(f"INSERT INTO {TABLE} SELECT * FROM {NET}")
        schema_editor.execute(f"DROP TABLE {NET}")


def _swap(schema_editor, bound):
    """The parent takes name and indexes, and the table becomes a partition that is known to fit."""
    indexes = _indexes(schema_editor, TABLE)
    schema_editor.execute(f"ALTER TABLE {TABLE} RENAME TO {FIRST}")
    for name, _ in indexes:
        schema_editor.execute(f"ALTER INDEX {name} RENAME TO {name}_first")
    schema_editor.execute(f"ALTER INDEX {TABLE}_pkey RENAME TO {FIRST}_pkey")
    schema_editor.execute(
        f"""CREATE TABLE {TABLE} (LIKE {FIRST} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)
            PARTITION BY RANGE (id)"""
    )
    schema_editor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT {CHECK}")
    _add_indexes(schema_editor, indexes)
    schema_editor.execute(f"ALTER TABLE {TABLE} ATTACH PARTITION {FIRST} FOR VALUES FROM (MINVALUE) TO ('{bound}')")
    schema_editor.execute(f"ALTER TABLE {FIRST} DROP CONSTRAINT {CHECK}")
    schema_editor.execute(f"ALTER TABLE {TABLE} ATTACH PARTITION {NET} DEFAULT")
    schema_editor.execute(FIRST_ID)


def in_one(apps, schema_editor):
    """Back into one table. This does move rows, and reading and writing wait for it."""
    with transaction.atomic():
        indexes = _indexes(schema_editor, TABLE)
        schema_editor.execute(
            f"CREATE TABLE {TABLE}_one (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
        )
        schema_editor.execute(f"LOCK TABLE {TABLE} IN SHARE MODE")
        schema_editor.execute(f"INSERT INTO {TABLE}_one SELECT * FROM {TABLE}")
        schema_editor.execute(f"DROP TABLE {TABLE}")
        schema_editor.execute(f"ALTER TABLE {TABLE}_one RENAME TO {TABLE}")
        _add_indexes(schema_editor, indexes)
        schema_editor.execute("DROP FUNCTION audit_first_id")


def _add_indexes(schema_editor, indexes):
    schema_editor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_pkey PRIMARY KEY (id)")
    for _, definition in indexes:
        schema_editor.execute(definition.replace(" ON ONLY ", " ON ", 1), params=None)


def _indexes(schema_editor, table):
    """Name and definition of each index but the primary key, whichever migration made it."""
    return _rows(
        schema_editor,
        f"""SELECT c.relname, pg_get_indexdef(i.indexrelid)
            FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = '{table}'::regclass AND NOT i.indisprimary ORDER BY c.relname""",
    )


def _rows(schema_editor, sql):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("audit", "0006_answered_while_away")]
    operations = [migrations.RunPython(partition, in_one, elidable=False)]
