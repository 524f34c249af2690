import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_api_key_read_on")]
    operations = [
        migrations.AddField(
            model_name="apikey",
            name="read_from",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.TextField(),
                default=list,
                editable=False,
                help_text="From which addresses that was, on that day.",
                size=None,
            ),
        ),
    ]
