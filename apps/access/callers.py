"""From where a request came."""

from collections.abc import Mapping

from django.conf import settings

from apps.access.networks import in_networks

LOOPBACK = ("127.0.0.0/8", "::1/128")


def caller_address(environ: Mapping[str, str]) -> str:
    """The address of the caller: of the connection, or what trusted proxies say it is behind.

    A request that came through a proxy nobody told us about has no address: it must not pass for this computer.
    """
    address = environ.get("REMOTE_ADDR", "")
    if not ("HTTP_X_FORWARDED_FOR" in environ or "HTTP_FORWARDED" in environ or "HTTP_X_REAL_IP" in environ):
        return address  # that there is one counts, not what it says: the server leaves empty what it cannot read
    if not in_networks(address, settings.TRUSTED_PROXIES):
        return ""
    for hop in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        address = hop.strip()
        if not in_networks(address, settings.TRUSTED_PROXIES):
            return "" if in_networks(address, LOOPBACK) else address  # nobody comes from this computer by a proxy
    return ""
