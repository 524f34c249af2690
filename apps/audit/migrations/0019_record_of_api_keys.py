"""What staff change of keys of the API is recorded, as everything else is that lets somebody in."""

from importlib import import_module

from django.db import migrations

_record = import_module("apps.audit.migrations.0010_record_of_changes")

# secrets, addresses, columns that are not worth a record
WATCHED = {"accounts_apikey": (("key_hash",), (), ("last_used_at",))}


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_api_keys"), ("audit", "0018_batches_by_moment")]
    operations = [
        migrations.RunSQL(_record.triggers(table, *columns), _record.drop_triggers(table))
        for table, columns in WATCHED.items()
    ]
