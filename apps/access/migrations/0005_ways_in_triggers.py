"""Raise the revision for issuers, links and revocations, too; and for when a token was issued, which decides now.

That a token for single use was used raises nothing: the statement that records the use asks the token's row itself.
"""

from importlib import import_module

from django.db import migrations

before = import_module("apps.access.migrations.0002_revision_triggers")

TOKENS = "accounts_token"
WATCHED = {
    TOKENS: ("id", "label", "last_used_at", "used_at", "used_node_id", "used_session_id"),
    "accounts_revocation": ("id",),
    "streams_streamlink": ("id", "label"),
    "connections_tokenissuer": ("id", "note", "fetched_at", "fetch_problem"),
}


def renewed(columns: tuple[str, ...]) -> str:
    return before.drop_triggers(TOKENS) + before.triggers(TOKENS, *columns)


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0004_triggers_for_more_of_the_rule"),
        ("accounts", "0002_ways_in"),
        ("connections", "0002_token_issuers"),
        ("streams", "0003_stream_links"),
    ]
    operations = [
        migrations.RunSQL(renewed(WATCHED[TOKENS]), renewed(before.WATCHED[TOKENS])),
        *(
            migrations.RunSQL(before.triggers(table, *columns), before.drop_triggers(table))
            for table, columns in WATCHED.items()
            if table != TOKENS
        ),
    ]
