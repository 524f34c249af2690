"""Names in the order of what is counted of them, so that the leaders of a year are found without adding up everybody."""

from django.db import migrations, models
from django.db.models import F


class Migration(migrations.Migration):
    dependencies = [("audit", "0024_waits_since")]
    operations = [
        migrations.AddIndex(
            model_name="usercount",
            index=models.Index(
                F("span"), F("starts_on"), (F("allowed") + F("refused")).desc(), name="audit_usercount_leading"
            ),
        ),
        migrations.AddIndex(
            model_name="nametime",
            index=models.Index(
                F("span"), F("about"), F("starts_on"), F("action"), F("seconds").desc(), name="audit_nametime_leading"
            ),
        ),
    ]
