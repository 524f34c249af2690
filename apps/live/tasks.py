"""The workers' tasks about what runs. Nudges only: whatever is lost of them, the next one makes up for."""

from datetime import datetime, timedelta

from celery import shared_task
from django.db.models import QuerySet
from django.utils import timezone

from apps.live.cutting import carry_out
from apps.live.models import Lease

KEPT = timedelta(days=62)
"""For how long leases are kept that have ended: limits look back to the first of the month."""
FORGOTTEN_AT_ONCE = 5_000


@shared_task(name="live.carry_out_cuts")
def carry_out_cuts(**_: object) -> int:
    """Tell WCS what is to end. Safe to run twice, and at once."""
    return carry_out()


@shared_task(name="live.forget_leases")
def forget_leases(**_: object) -> int:
    """Drop leases that ended long ago, and orders about them; what happened is in the audit log."""
    old = long_over(timezone.now())
    forgotten = 0
    while ids := list(old[:FORGOTTEN_AT_ONCE]):
        Lease.objects.filter(id__in=ids).delete()
        forgotten += len(ids)
    return forgotten


def long_over(now: datetime) -> QuerySet:
    """Ids of leases that ended long ago, which first."""
    return Lease.objects.filter(ended_at__lt=now - KEPT).order_by("ended_at").values_list("id", flat=True)
