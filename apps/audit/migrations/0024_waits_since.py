"""Since when a record has been in the outbox, which is not when its hook was received if it was in a spool."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("audit", "0023_nor_is_from_where")]
    operations = [
        migrations.AddField(
            model_name="hookrecord",
            name="waits_since",
            field=models.DateTimeField(
                db_default=Now(), help_text="Later than it was received, if it was in a spool or is tried again."
            ),
        )
    ]
