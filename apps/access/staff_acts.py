"""Who sent a request, for the record of what is changed or done with it."""

from contextlib import AbstractContextManager

from django.http import HttpRequest

from apps.access.callers import caller_address
from apps.access.networks import parse_address
from apps.accounts.models import User
from apps.database.acting import acting

WHY = "_why"
"""The field in which staff say why they change something (templates/admin/why.html)."""
MAX_SAID = 500
"""Characters that are kept of it, and of what was asked for by which request."""


def acting_for(request: HttpRequest, user: User) -> AbstractContextManager[None]:
    """Whatever is recorded meanwhile was done by this user, with this request."""
    return acting(
        username=user.get_username(),
        user_id=user.pk,
        address=str(parse_address(caller_address(request.META)) or ""),
        why=storable(request.POST.get(WHY, ""))[:MAX_SAID],
        request=storable(f"{request.method} {request.path}")[:MAX_SAID],
    )


def storable(said: str) -> str:
    """A text as Postgres takes it."""
    return said.replace("\0", "").encode("utf-8", "replace").decode()
