"""An index for each page of the audit log: of a session without its node, of a node, of a method, of refusals."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0013_counted")]

    operations = [
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_by_session",
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["session_id", "-received_at"], name="audit_by_session"),
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_by_reason",
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
    ]
