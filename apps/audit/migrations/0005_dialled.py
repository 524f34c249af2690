"""What is let in keeps what is dialled. A process of before says nothing of it.

The same call id with another number dialled is another call.
"""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("apps.audit.migrations.0004_admission").SQL.replace(
    "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
)
AFTER = (
    BEFORE.replace("AND l.who = lease.who\n", "AND l.who = lease.who AND l.dialled = coalesce(lease.dialled, '')\n")
    .replace("runs_out_at, end_reason)", "runs_out_at, end_reason, dialled)")
    .replace("lease.runs_out_at, ''\n", "lease.runs_out_at, '', coalesce(lease.dialled, '')\n")
)


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_admission"), ("live", "0003_dialled")]
    operations = [migrations.RunSQL(AFTER, BEFORE)]
