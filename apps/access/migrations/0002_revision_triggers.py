"""Raise the revision, in the same transaction, for every change to a row that decisions depend on.

The triggers are statement triggers, so a bulk edit raises the revision once, and raw SQL counts like a form.
Arguments of a trigger: the column whose value the change log notes, and the columns that decide nothing.
"""

from django.db import migrations

WATCHED = {
    "accounts_user": ("id", "last_login", "first_name", "last_name", "email", "date_joined"),
    "accounts_user_groups": ("user_id",),
    "accounts_token": ("id", "label", "last_used_at", "created_at"),
    "auth_group": ("id",),
    "streams_stream": ("id", "note"),
    "connections_app": ("id", "note"),
    "connections_node": ("id", "name", "first_seen_at", "last_seen_at"),
    "access_rule": ("id", "note", "created_at"),
}

FUNCTIONS = """
CREATE FUNCTION access_note_change(noted text, row_ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE raised bigint;
BEGIN
    -- Should the row ever be lost, counting goes on from a number that no process has seen.
    INSERT INTO access_revision (id, revision) VALUES (1, extract(epoch FROM clock_timestamp())::bigint)
        ON CONFLICT (id) DO UPDATE SET revision = access_revision.revision + 1
        RETURNING revision INTO STRICT raised;
    INSERT INTO access_change (revision, table_name, row_id)
        SELECT raised, noted, row_id FROM unnest(row_ids) AS row_id;
    PERFORM pg_notify('wcsgate_access', raised::text);
END $$;

CREATE FUNCTION access_rows_came_or_went() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE row_ids bigint[];
BEGIN
    SELECT array_agg(DISTINCT (to_jsonb(c) ->> TG_ARGV[0])::bigint) INTO row_ids FROM changed c;
    IF row_ids IS NOT NULL THEN
        PERFORM access_note_change(TG_TABLE_NAME, row_ids);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION access_rows_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    row_ids bigint[];
    decides_nothing text[] := TG_ARGV[1:];
BEGIN
    SELECT array_agg(DISTINCT row_id) INTO row_ids FROM (
        SELECT unnest(ARRAY[(to_jsonb(o) ->> TG_ARGV[0])::bigint, (to_jsonb(n) ->> TG_ARGV[0])::bigint]) AS row_id
        FROM old_rows o FULL JOIN new_rows n ON o.id = n.id
        WHERE o.id IS NULL OR n.id IS NULL OR to_jsonb(o) - decides_nothing <> to_jsonb(n) - decides_nothing
    ) AS differing WHERE row_id IS NOT NULL;
    IF row_ids IS NOT NULL THEN
        PERFORM access_note_change(TG_TABLE_NAME, row_ids);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION access_table_emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM access_note_change(TG_TABLE_NAME, ARRAY[NULL]::bigint[]);
    RETURN NULL;
END $$;

INSERT INTO access_revision (id, revision) VALUES (1, 1);
"""

DROP_FUNCTIONS = """
DROP FUNCTION access_rows_came_or_went, access_rows_changed, access_table_emptied, access_note_change;
DELETE FROM access_revision;
"""


def triggers(table: str, noted_column: str, *decides_nothing: str) -> str:
    arguments = ", ".join(f"'{column}'" for column in (noted_column, *decides_nothing))
    return f"""
    CREATE TRIGGER access_inserted AFTER INSERT ON {table} REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION access_rows_came_or_went({arguments});
    CREATE TRIGGER access_deleted AFTER DELETE ON {table} REFERENCING OLD TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION access_rows_came_or_went({arguments});
    CREATE TRIGGER access_updated AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION access_rows_changed({arguments});
    CREATE TRIGGER access_emptied AFTER TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION access_table_emptied();
    """


def drop_triggers(table: str) -> str:
    names = ("access_inserted", "access_deleted", "access_updated", "access_emptied")
    return "".join(f"DROP TRIGGER {name} ON {table};" for name in names)


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0001_initial"),
        ("accounts", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("connections", "0001_initial"),
        ("streams", "0001_initial"),
    ]
    operations = [
        migrations.RunSQL(FUNCTIONS, DROP_FUNCTIONS),
        *(migrations.RunSQL(triggers(table, *columns), drop_triggers(table)) for table, columns in WATCHED.items()),
    ]
