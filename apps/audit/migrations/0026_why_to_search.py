"""The reason that staff gave, read out of the body of a change, to be searched (apps/audit/browsing/search.py).

A body that is no JSON has none: somebody may have tampered with it, and that must not stop a search.
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION audit_why(body bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 AS $$
BEGIN
    RETURN coalesce(convert_from(body, 'UTF8')::jsonb ->> 'why', '');
EXCEPTION WHEN data_exception THEN
    RETURN '';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0025_leading_names")]
    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION audit_why(bytea);")]
