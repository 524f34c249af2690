"""What is dialled, where a rule has another number called than was asked for."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("live", "0002_counting")]
    operations = [
        migrations.AddField(
            "lease",
            "dialled",
            models.TextField(
                blank=True, db_default="", default="", help_text="Of a call: the number that a rule had called instead."
            ),
        ),
    ]
