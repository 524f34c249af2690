"""Numbers in their one form, and indexes for what begins with a text and for addresses of a network."""

import django.contrib.postgres.indexes
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_by_user",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_by_target",
        ),
        migrations.AddField(
            model_name="auditevent",
            name="number",
            field=models.TextField(db_default="", default="", help_text="The number dialled, in the one form it has."),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                django.contrib.postgres.indexes.OpClass("username", "text_pattern_ops"),
                models.OrderBy(models.F("received_at"), descending=True),
                name="audit_by_name",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                django.contrib.postgres.indexes.OpClass("target", "text_pattern_ops"),
                models.OrderBy(models.F("received_at"), descending=True),
                name="audit_by_what",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                django.contrib.postgres.indexes.OpClass("number", "text_pattern_ops"),
                models.OrderBy(models.F("received_at"), descending=True),
                condition=models.Q(("number", ""), _negated=True),
                name="audit_by_number",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["client_address", "-received_at"], name="audit_by_address"),
        ),
    ]
