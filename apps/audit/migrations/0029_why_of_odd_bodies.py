"""A body that is too deep to be read has no reason, as one that is no JSON."""

from django.db import migrations

FUNCTION = """
CREATE OR REPLACE FUNCTION audit_why(body bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 AS $$
BEGIN
    RETURN coalesce(convert_from(body, 'UTF8')::jsonb ->> 'why', '');
EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
    RETURN '';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0028_days_of_an_app")]
    operations = [migrations.RunSQL(FUNCTION, migrations.RunSQL.noop)]
