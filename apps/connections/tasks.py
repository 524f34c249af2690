"""The workers' tasks for connections."""

from celery import shared_task

from apps.connections.fetching import renew_keys
from apps.connections.models import TokenIssuer


@shared_task(name="connections.renew_keys", time_limit=240)
def renew_all_keys(**_: object) -> int:
    """Fetch the keys of every issuer that has an address for them; gives for how many that worked."""
    return sum(renew_keys(issuer) for issuer in TokenIssuer.objects.filter(active=True).exclude(jwks_url=""))
