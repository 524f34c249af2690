"""The new tables that decide raise the revision, too."""

from importlib import import_module

from django.db import migrations

triggers = import_module("apps.access.migrations.0002_revision_triggers")

WATCHED = {
    "streams_streamgroup": ("id", "note"),
    "streams_stream_groups": ("stream_id",),
    "access_schedule": ("id", "name", "note"),
    "access_numberclass": ("id", "note"),
}


class Migration(migrations.Migration):
    dependencies = [("access", "0003_more_of_the_rule"), ("streams", "0002_groups_and_limits")]
    operations = [
        migrations.RunSQL(triggers.triggers(table, *columns), triggers.drop_triggers(table))
        for table, columns in WATCHED.items()
    ]
