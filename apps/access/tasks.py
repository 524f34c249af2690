"""The workers' tasks for access."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from apps.access.models import AccessChange

KEPT = timedelta(days=1)


@shared_task(name="access.forget_changes")
def forget_changes(**_: object) -> int:
    """Drop old entries of the change log; a process that slept longer than that reads everything anew."""
    deleted, _by_model = AccessChange.objects.filter(changed_at__lt=timezone.now() - KEPT).delete()
    return deleted
