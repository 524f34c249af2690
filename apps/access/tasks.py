"""The workers' tasks for access."""

from datetime import timedelta

from celery import shared_task
from django.db.models import Max
from django.utils import timezone

from apps.access.models import AccessChange

KEPT = timedelta(days=1)


@shared_task(name="access.forget_changes")
def forget_changes(**_: object) -> int:
    """Drop old entries of the change log; a process that slept longer than that reads everything anew."""
    old = AccessChange.objects.filter(changed_at__lt=timezone.now() - KEPT).aggregate(Max("revision"))["revision__max"]
    deleted, _by_model = AccessChange.objects.filter(revision__lte=old or 0).delete()
    return deleted
