from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_api_keys")]
    operations = [
        migrations.AddField(
            model_name="apikey",
            name="read_on",
            field=models.DateField(editable=False, help_text="The last day whose first reading was noted.", null=True),
        ),
    ]
