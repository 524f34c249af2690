"""SIP accounts raise the revision, too: who connects gets that of this moment."""

from importlib import import_module

from django.db import migrations

triggers = import_module("apps.access.migrations.0002_revision_triggers")

WATCHED = {"connections_sipaccount": ("id", "note")}


class Migration(migrations.Migration):
    dependencies = [("access", "0005_ways_in_triggers"), ("connections", "0004_sip_accounts")]
    operations = [
        migrations.RunSQL(triggers.triggers(table, *columns), triggers.drop_triggers(table))
        for table, columns in WATCHED.items()
    ]
