"""Logins to the admin: what django-axes counts wrong passwords by, and what it keeps of them."""

from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from django.http import HttpRequest, QueryDict

from apps.access.callers import caller_address
from apps.access.networks import parse_address


def address_of(request: HttpRequest) -> str | None:
    """The address of whoever logs in, behind trusted proxies too.

    Where a proxy that is not trusted hides it, or it is no address, that of the connection counts: everybody behind
    such a proxy shares its ten tries, and a made-up header gives nobody more. None for a socket in a folder.
    """
    known = map(parse_address, (caller_address(request.META), request.META.get("REMOTE_ADDR", "")))
    return next((str(address) for address in known if address is not None), None)


class LoginAttempts(AxesDatabaseHandler):
    """Who tried, from where and when; nothing of what else stood in the form or in the address, which may be secret."""

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
    ) -> None:
        if request is None:
            return super().user_login_failed(sender, credentials, request, **kwargs)
        query, form = request.GET, request.POST
        request.GET = request.POST = QueryDict()
        try:
            return super().user_login_failed(sender, credentials, request, **kwargs)
        finally:
            request.GET, request.POST = query, form
