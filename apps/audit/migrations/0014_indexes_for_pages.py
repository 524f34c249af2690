"""An index for each page of the audit log: of a session without its node, of a node, of a method, of refusals.

The old ones step aside first and go last: nobody reads the log any more from when one is dropped until the commit.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0013_counted")]

    operations = [
        migrations.RenameIndex(
            model_name="auditevent",
            old_name="audit_by_session",
            new_name="audit_by_session_0001",
        ),
        migrations.RenameIndex(
            model_name="auditevent",
            old_name="audit_by_reason",
            new_name="audit_by_reason_0001",
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["session_id", "-received_at"], name="audit_by_session"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["reason", "-received_at"], name="audit_by_reason"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["node_id", "-received_at"], name="audit_by_node"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["method", "-received_at"], name="audit_by_method"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                condition=models.Q(("effect", "deny")), fields=["-received_at", "-id"], name="audit_refused"
            ),
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_by_session_0001",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_by_reason_0001",
        ),
    ]
