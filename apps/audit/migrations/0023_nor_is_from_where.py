"""Nor is it a change of a key from where it was used to read."""

from importlib import import_module

from django.db import migrations

_record = import_module("apps.audit.migrations.0010_record_of_changes")
_before = import_module("apps.audit.migrations.0021_reading_is_no_change_of_a_key")

ARGUMENTS = _before.TABLE, _before.SECRETS, _before.ADDRESSES
BEFORE = (*_before.UNIMPORTANT, "read_on")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_api_key_read_from"), ("audit", "0022_logins_within_addresses")]
    operations = [
        migrations.RunSQL(
            _before.DROP + _record.triggers(*ARGUMENTS, (*BEFORE, "read_from")),
            _before.DROP + _record.triggers(*ARGUMENTS, BEFORE),
        )
    ]
