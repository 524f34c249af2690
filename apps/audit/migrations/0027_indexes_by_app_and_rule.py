"""The hooks of an app, and what a rule decided or was changed to, have indexes: also where there are few or none."""

from django.contrib.postgres.indexes import GinIndex
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0026_why_to_search")]
    operations = [
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["app_key", "-received_at"], name="audit_by_app"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=GinIndex(fields=["rule_ids"], name="audit_by_rule", condition=~models.Q(rule_ids=[])),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=GinIndex(
                fields=["logged_rule_ids"], name="audit_by_logged_rule", condition=~models.Q(logged_rule_ids=[])
            ),
        ),
    ]
