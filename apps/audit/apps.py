import time

from django.apps import AppConfig
from django.db.models.signals import post_migrate

PATIENCE = 60.0
"""Seconds that migrating may spend on moving what fell into the default partition; the workers do the rest."""


class AuditConfig(AppConfig):
    name = "apps.audit"
    label = "audit"
    verbose_name = "Audit log"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        post_migrate.connect(_keep_partitions, sender=self)


def _keep_partitions(**_: object) -> None:
    """Whoever migrates has the partitions of the next months, before any worker runs."""
    from django.utils import timezone

    from apps.audit.keeping import partitions

    if partitions.is_partitioned():
        partitions.keep(timezone.now(), time.monotonic() + PATIENCE)
