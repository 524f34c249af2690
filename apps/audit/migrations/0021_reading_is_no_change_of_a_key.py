"""When a key was last used to read is no change of it: reading is noted by itself, once a day (`apps/access/acts.py`)."""

from importlib import import_module

from django.db import migrations

_record = import_module("apps.audit.migrations.0010_record_of_changes")
_before = import_module("apps.audit.migrations.0019_record_of_api_keys")

TABLE = "accounts_apikey"
SECRETS, ADDRESSES, UNIMPORTANT = _before.WATCHED[TABLE]
DROP = _record.drop_triggers(TABLE)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_api_key_read_on"), ("audit", "0020_day_answers")]
    operations = [
        migrations.RunSQL(
            DROP + _record.triggers(TABLE, SECRETS, ADDRESSES, (*UNIMPORTANT, "read_on")),
            DROP + _record.triggers(TABLE, SECRETS, ADDRESSES, UNIMPORTANT),
        )
    ]
