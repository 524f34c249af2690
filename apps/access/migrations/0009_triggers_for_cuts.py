"""An order to end something counts with the next hook. How a node's REST API is reached decides nothing."""

from importlib import import_module

from django.db import migrations

triggers = import_module("apps.access.migrations.0002_revision_triggers")

WATCHED = {
    "connections_node": ("id", "name", "first_seen_at", "last_seen_at", "api_url", "api_user", "api_password"),
    "live_cut": (
        *("id", "ordered_at", "ordered_by"),
        *("told_at", "attempts", "try_at", "problem"),
    ),
}


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0008_rules_tried_out"),
        ("connections", "0005_rest_api_of_nodes"),
        ("live", "0002_counting"),
    ]
    operations = [
        migrations.RunSQL(
            triggers.drop_triggers("connections_node"),
            triggers.triggers("connections_node", *triggers.WATCHED["connections_node"]),
        ),
        *(
            migrations.RunSQL(triggers.triggers(table, *columns), triggers.drop_triggers(table))
            for table, columns in WATCHED.items()
        ),
    ]
