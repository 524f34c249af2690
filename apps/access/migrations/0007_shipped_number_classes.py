"""The number classes that are shipped; staff adapt them."""

from django.db import migrations

from apps.protocol.numbers import DEFAULT_CLASSES


def add_shipped_classes(apps, schema_editor):
    """Those whose names are not taken yet."""
    number_classes = apps.get_model("access", "NumberClass").objects
    for row in DEFAULT_CLASSES:
        values = {"prefixes": list(row.prefixes), "whole": row.whole, "protected": row.protected, "short": row.short}
        number_classes.get_or_create(name=row.name, defaults={**values, "note": "Shipped. Adapt it to your country."})


class Migration(migrations.Migration):
    dependencies = [("access", "0006_triggers_for_sip_accounts")]
    operations = [migrations.RunPython(add_shipped_classes, migrations.RunPython.noop)]
