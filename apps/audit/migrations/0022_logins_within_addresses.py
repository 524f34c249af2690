"""Logins within addresses are left out of changes also where a password has a ?, # or / in it, or where they stand in
the path, as cameras take them. `screen_source` (apps/protocol/screening.py) does the same to what WCS was told.
"""

from django.db import migrations

# A login ends with the last @ before the query; or with the last one there is, where no host and port stands first.
NEW = r"""
CREATE OR REPLACE FUNCTION audit_without_logins(address text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(regexp_replace(regexp_replace(address,
        '^(sips?:|[a-zA-Z][a-zA-Z0-9+.-]*://|(?!sips?:|[a-zA-Z][a-zA-Z0-9+.-]*://))([^/?#]*@)?(?!\[)[^/?#@]*:(?![0-9]*([/?#;]|$))[^/?#@]*[/?#].*@',
        '\1***@'),
        '^(sips?:|[a-zA-Z][a-zA-Z0-9+.-]*://)?[^?#]*@', '\1***@'),
        '([?;#]|/[^=?#/;]*=).*$', '\1***')
$$;
"""
OLD = r"""
CREATE OR REPLACE FUNCTION audit_without_logins(address text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(regexp_replace(address, '^(sips?:|[a-zA-Z][a-zA-Z0-9+.-]*://)?[^?#]*@', '\1***@'), '([?;#]).*$', '\1***')
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0021_reading_is_no_change_of_a_key")]
    operations = [migrations.RunSQL(NEW, OLD)]
