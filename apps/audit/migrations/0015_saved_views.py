"""Searches of the audit log under a name."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0014_indexes_for_pages"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedView",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        help_text="What it shows, for example: Refused calls of last night.", max_length=100
                    ),
                ),
                (
                    "search",
                    models.TextField(
                        help_text="As in the address of the list: q is the search box, the others are filters.",
                        max_length=2000,
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "shared",
                    models.BooleanField(
                        default=False,
                        help_text="Whoever may see the audit log is offered this view, too.",
                        verbose_name="for all",
                    ),
                ),
            ],
            options={
                "verbose_name": "saved view",
            },
        ),
    ]
