"""The days of one app are found without reading those of all; what is counted on them changes no index."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0027_indexes_by_app_and_rule")]
    operations = [
        migrations.AddIndex(model_name="daycount", index=models.Index("app_key", "day", name="audit_daycount_of_app"))
    ]
