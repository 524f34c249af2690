"""What changes in tables that decide, or that say what is kept, is recorded by triggers: whoever changes it, and however.

Their names come after those of apps/access in the alphabet, so they fire later and find the revision raised.
Arguments of a trigger: columns with secrets, columns with addresses (whose logins and queries are left out), and columns
that say nothing about access, such as when something was last seen.
"""

import django.contrib.postgres.fields
from django.db import migrations, models

# secrets, addresses, columns that are not worth a record
WATCHED = {
    "accounts_user": (("password",), (), ("last_login",)),
    "accounts_user_groups": ((), (), ()),
    "accounts_user_user_permissions": ((), (), ()),
    "accounts_token": (("token_hash",), (), ("last_used_at", "used_at", "used_node_id", "used_session_id")),
    "accounts_revocation": ((), (), ()),
    "auth_group": ((), (), ()),
    "auth_group_permissions": ((), (), ()),
    "streams_stream": ((), ("source",), ()),
    "streams_streamgroup": ((), (), ()),
    "streams_stream_groups": ((), (), ()),
    "streams_streamlink": (("code",), (), ()),
    "connections_app": (("hook_passwords",), (), ()),
    "connections_node": (("secrets", "api_password"), ("api_url",), ("first_seen_at", "last_seen_at")),
    "connections_tokenissuer": (("secrets",), ("jwks_url",), ("fetched_at", "fetch_problem")),
    "connections_sipaccount": (("password",), ("outbound_proxy",), ()),
    "access_rule": ((), (), ()),
    "access_schedule": ((), (), ()),
    "access_numberclass": ((), (), ()),
    "live_cut": ((), (), ("told_at", "attempts", "try_at", "problem")),
    "audit_hold": ((), (), ()),
}

FUNCTIONS = r"""
CREATE FUNCTION audit_new_id(moment timestamptz) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    -- A UUID of version 7, with the parts of a millisecond where it may have them: changes sort as they were made.
    SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '7'
        || lpad(to_hex(floor(extract(epoch FROM moment) * 1000 % 1 * 4096)::int), 3, '0')
        || substr(replace(gen_random_uuid()::text, '-', ''), 17))::uuid
$$;

CREATE FUNCTION audit_without_logins(address text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(regexp_replace(address, '^(sips?:|[a-zA-Z][a-zA-Z0-9+.-]*://)?[^?#]*@', '\1***@'), '([?;#]).*$', '\1***')
$$;

CREATE FUNCTION audit_kept_of(kept jsonb, secrets text[], addresses text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT (kept - secrets) || coalesce(
        (SELECT jsonb_object_agg(name, audit_without_logins(kept ->> name)) FROM unnest(addresses) AS name), '{}')
    WHERE kept IS NOT NULL
$$;

CREATE FUNCTION audit_actor() RETURNS jsonb LANGUAGE sql STABLE AS $$
    -- Whatever was told, what they came in with is beside it.
    SELECT CASE WHEN jsonb_typeof(told) = 'object' THEN told ELSE '{}' END || jsonb_build_object('database_user', session_user,
        'application', current_setting('application_name'), 'database_address', host(inet_client_addr()))
    FROM (SELECT nullif(current_setting('wcsgate.actor', true), '')::jsonb AS told) AS actor
$$;

CREATE FUNCTION audit_change(
    name text, before jsonb, after jsonb, secrets text[], addresses text[], unimportant text[]
) RETURNS SETOF audit_changerecord LANGUAGE sql VOLATILE AS $$
    SELECT audit_new_id(moment), moment, name, coalesce(after ->> 'id', before ->> 'id')::bigint,
        audit_kept_of(before, secrets, addresses), audit_kept_of(after, secrets, addresses),
        ARRAY(SELECT other || CASE WHEN coalesce(after ->> other, '') IN ('', '[]') THEN ' removed' ELSE ' set anew' END
            FROM unnest(secrets || addresses) AS other
            WHERE after IS NOT NULL
                AND coalesce(nullif(after ->> other, '[]'), '') <> coalesce(nullif(before ->> other, '[]'), '')
                AND (other = ANY (secrets)
                    OR audit_without_logins(after ->> other) = audit_without_logins(before ->> other))),
        (SELECT revision FROM access_revision), audit_actor()
    FROM clock_timestamp() AS moment
    WHERE before IS NULL OR after IS NULL OR before - unimportant <> after - unimportant
$$;

CREATE FUNCTION audit_rows_came() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_changerecord SELECT c.* FROM new_rows n,
        audit_change(TG_TABLE_NAME, NULL, to_jsonb(n), TG_ARGV[0]::text[], TG_ARGV[1]::text[], TG_ARGV[2]::text[]) c;
    RETURN NULL;
END $$;

CREATE FUNCTION audit_rows_went() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_changerecord SELECT c.* FROM old_rows o,
        audit_change(TG_TABLE_NAME, to_jsonb(o), NULL, TG_ARGV[0]::text[], TG_ARGV[1]::text[], TG_ARGV[2]::text[]) c;
    RETURN NULL;
END $$;

CREATE FUNCTION audit_rows_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_changerecord SELECT c.* FROM old_rows o FULL JOIN new_rows n ON o.id = n.id,
        audit_change(TG_TABLE_NAME, CASE WHEN o.id IS NOT NULL THEN to_jsonb(o) END,
            CASE WHEN n.id IS NOT NULL THEN to_jsonb(n) END,
            TG_ARGV[0]::text[], TG_ARGV[1]::text[], TG_ARGV[2]::text[]) c;
    RETURN NULL;
END $$;

CREATE FUNCTION audit_table_emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_changerecord
        SELECT c.* FROM audit_change(TG_TABLE_NAME, NULL, NULL, '{}', '{}', '{}') c;
    RETURN NULL;
END $$;
"""

DROP_FUNCTIONS = """
DROP FUNCTION audit_rows_came, audit_rows_went, audit_rows_changed, audit_table_emptied, audit_change, audit_actor,
    audit_kept_of, audit_without_logins, audit_new_id;
"""


def triggers(table, *columns):
    arguments = ", ".join("'{" + ",".join(names) + "}'" for names in columns)
    return f"""
    CREATE TRIGGER audit_inserted AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION audit_rows_came({arguments});
    CREATE TRIGGER audit_deleted AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows
        FOR EACH STATEMENT EXECUTE FUNCTION audit_rows_went({arguments});
    CREATE TRIGGER audit_updated AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION audit_rows_changed({arguments});
    CREATE TRIGGER audit_emptied AFTER TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION audit_table_emptied();
    """


def drop_triggers(table):
    names = ("audit_inserted", "audit_deleted", "audit_updated", "audit_emptied")
    return "".join(f"DROP TRIGGER {name} ON {table};" for name in names)


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0009_triggers_for_cuts"),
        ("accounts", "0002_ways_in"),
        ("audit", "0009_batches"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("connections", "0006_address_of_rest_api"),
        ("live", "0004_indexes_of_ends"),
        ("streams", "0003_stream_links"),
    ]
    operations = [
        migrations.CreateModel(
            name="ChangeRecord",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("changed_at", models.DateTimeField()),
                ("table_name", models.TextField()),
                ("row_id", models.BigIntegerField(help_text="Null: the whole table was emptied.", null=True)),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                (
                    "secrets",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("revision", models.BigIntegerField(help_text="That of access after the change.")),
                ("actor", models.JSONField(help_text="Who did it, from where, why, and by which request.")),
            ],
        ),
        migrations.RunSQL(FUNCTIONS, DROP_FUNCTIONS),
        *(migrations.RunSQL(triggers(table, *columns), drop_triggers(table)) for table, columns in WATCHED.items()),
    ]
