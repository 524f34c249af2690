"""Days counted coarsely for a year at a glance, and an index of hooks without what staff changed."""

from django.db import migrations, models

COUNT = """INSERT INTO audit_dayanswer (day, effect, reason, events, hooks)
    SELECT day, effect, reason, sum(events), sum(hooks) FROM audit_daycount GROUP BY day, effect, reason"""


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0019_record_of_api_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="DayAnswer",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "day", "effect", "reason", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("day", models.DateField()),
                ("effect", models.TextField(verbose_name="decision")),
                ("reason", models.TextField()),
                ("events", models.BigIntegerField()),
                ("hooks", models.BigIntegerField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                fields=["-received_at", "-id"],
                name="audit_hooks",
                condition=models.Q(("reason", "staff-action"), _negated=True),
            ),
        ),
    ]
