"""Where a login to the admin comes from: what django-axes counts wrong passwords by."""

from django.http import HttpRequest

from apps.access.networks import parse_address
from apps.hooks.authentication import caller_address


def address_of(request: HttpRequest) -> str | None:
    """The address of whoever logs in, behind trusted proxies too.

    Where a proxy that is not trusted hides it, or it is no address, that of the connection counts: everybody behind
    such a proxy shares its ten tries, and a made-up header gives nobody more. None for a socket in a folder.
    """
    known = map(parse_address, (caller_address(request.META), request.META.get("REMOTE_ADDR", "")))
    return next((str(address) for address in known if address is not None), None)
