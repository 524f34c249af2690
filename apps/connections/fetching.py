"""Fetching the public keys of an issuer from its address: by the workers and while staff save it, never for a hook.

An address is staff's to give, so it may lie in a network of ours. What comes back is shown to nobody, unless it is a
set of public keys; only https is spoken, but for this computer itself; redirects are not followed; time and size are
bounded, whatever the other end does.
"""

import http.client
from contextlib import suppress
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from urllib.parse import SplitResult, urlsplit

from django.utils import timezone

from apps.connections.jwks import MAX_SET_LENGTH, BadKeySet, read_key_set
from apps.connections.models import TokenIssuer

TIME_LIMIT = 5.0
"""Seconds for everything: finding the address, connecting, and reading the answer."""


class CannotFetch(Exception):
    """There are no keys to be had from an address. The message is a sentence."""


def fetch_key_set(address: str) -> str:
    """The set of keys at an address, as text that `read_key_set` can read. Raises CannotFetch."""
    parts = _checked(address)
    outcome: SimpleQueue[str | CannotFetch] = SimpleQueue()
    Thread(target=lambda: outcome.put(_outcome(parts)), name="fetch keys", daemon=True).start()
    try:
        found = outcome.get(timeout=TIME_LIMIT)
    except Empty:
        raise CannotFetch(f"Nothing came from there within {TIME_LIMIT:g} seconds.") from None
    if isinstance(found, CannotFetch):
        raise found
    try:
        read_key_set(found)
    except BadKeySet as error:
        raise CannotFetch(f"What came from there cannot be used: {error}") from None
    return found


def renew_keys(issuer: TokenIssuer) -> bool:
    """Fetch the keys of an issuer anew; gives whether that worked. If not, those that are there stay.

    The row is touched only if its address is still the same; the revision is raised only if there are other keys.
    """
    row = TokenIssuer.objects.filter(pk=issuer.pk, jwks_url=issuer.jwks_url)
    try:
        keys = fetch_key_set(issuer.jwks_url)
    except CannotFetch as problem:
        row.update(fetch_problem=str(problem)[:255])
        return False
    row.exclude(jwks=keys).update(jwks=keys)
    row.update(fetched_at=timezone.now(), fetch_problem="")
    return True


def _checked(address: str) -> SplitResult:
    """The parts of an address from which keys may be fetched. Raises CannotFetch."""
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise CannotFetch("This is no address. Write it like https://login.example.org/keys.") from None
    plain = parts.scheme == "http" and _is_this_computer(host)
    if not host or not (parts.scheme == "https" or plain) or not address.isascii() or not address.isprintable():
        raise CannotFetch(
            "Keys are fetched by https only, as in https://login.example.org/keys, or from this computer."
        )
    if parts.username is not None or parts.fragment or " " in address:
        raise CannotFetch("The address may have neither a login, nor a # or space in it.")
    return parts


def _is_this_computer(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _outcome(parts: SplitResult) -> str | CannotFetch:
    """What came, or why nothing did. The other end's own words are not repeated."""
    try:
        return _get(parts)
    except CannotFetch as problem:
        return problem
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        return CannotFetch(f"It cannot be reached or understood ({type(error).__name__}).")


def _get(parts: SplitResult) -> str:
    over = monotonic() + TIME_LIMIT
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIME_LIMIT)
    try:
        path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        connection.request("GET", path, headers={"Accept": "application/json", "User-Agent": "WCS Gate"})
        with connection.getresponse() as response:
            if response.status != http.HTTPStatus.OK:
                raise CannotFetch(
                    f"It answers with {response.status}, where 200 was expected. Redirects are not followed."
                )
            return _read(response, over)
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse, over: float) -> str:
    body = b""
    while (piece := response.read1(8192)) and len(body) <= MAX_SET_LENGTH and monotonic() < over:
        body += piece
    if len(body) > MAX_SET_LENGTH:
        raise CannotFetch(f"Its answer is longer than {MAX_SET_LENGTH} bytes.")
    return body.decode()
