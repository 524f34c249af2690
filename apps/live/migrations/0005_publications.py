"""Who published a stream is found however many watched it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("live", "0004_indexes_of_ends")]
    operations = [
        migrations.AddIndex(
            model_name="lease",
            index=models.Index(
                fields=["target", "-opened_at"], name="lease_published", condition=models.Q(action="publish")
            ),
        ),
    ]
