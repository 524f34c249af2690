"""Who may call us: the HTTP Basic login of the app, the signature of the node, and networks.

Whatever is configured must hold. `Authorization` has room for one scheme, so where an app has a login and its node a
signing secret, either is accepted. Where nothing is configured, only this computer may call.
"""

import hmac
from collections.abc import Mapping

from apps.access.callers import LOOPBACK, caller_address
from apps.access.compile import Snapshot
from apps.access.networks import in_networks
from apps.access.rows import AppRow, NodeRow


class CallerRefused(Exception):
    """The caller is not one of our WCS nodes. `login_wanted` says that an HTTP Basic login would be."""

    def __init__(self, detail: str, *, login_wanted: bool = False) -> None:
        super().__init__(detail)
        self.login_wanted = login_wanted


def authenticate(
    app: AppRow | None, node: NodeRow | None, snapshot: Snapshot, environ: Mapping[str, str], body: bytes
) -> None:
    """Raises CallerRefused unless the caller may call for this app and node.

    A caller that names no known app must have the login of some app, the signature of its node, or be this computer;
    then its hook is at least recorded as one for an unknown app.
    """
    address = caller_address(environ)
    for place in (app, node):
        if place is not None and place.networks and not in_networks(address, place.networks):
            raise CallerRefused("Hooks for this app or node are not accepted from this address.")
    given = environ.get("HTTP_AUTHORIZATION", "").encode()
    if app is not None:
        _authenticate_for(app, node, address, given, body)
    elif not (
        in_networks(address, LOOPBACK)
        or _is_one_of(given, _every_login(snapshot))
        or _is_signature(given, node.secrets if node else (), body)
    ):
        signed = given.lower().startswith(b"wcs ")
        raise CallerRefused("No such app is known here, nor is the caller.", login_wanted=not signed)


def _authenticate_for(app: AppRow, node: NodeRow | None, address: str, given: bytes, body: bytes) -> None:
    secrets = node.secrets if node else ()
    if app.basic or secrets:
        if not (_is_one_of(given, app.basic) or _is_signature(given, secrets, body)):
            wanted = "login" if app.basic else "signature"
            raise CallerRefused(f"The {wanted} of this hook is missing or wrong.", login_wanted=bool(app.basic))
    elif not (app.networks or (node and node.networks) or in_networks(address, LOOPBACK)):
        raise CallerRefused("This app accepts hooks from its own computer only, until a login or network is set.")


def _every_login(snapshot: Snapshot) -> tuple[bytes, ...]:
    return tuple(login for app in list(snapshot.apps.by_id.values()) for login in app.basic)


def _is_one_of(given: bytes, accepted: tuple[bytes, ...]) -> bool:
    """Compared with every one in constant time; an empty one (a secret that cannot be read) matches nothing."""
    scheme, _, credentials = given.partition(b" ")
    if scheme.lower() != b"basic":
        return False
    given = b"Basic " + credentials.strip()
    found = False
    for login in accepted:
        found |= hmac.compare_digest(given, login) and bool(login)
    return found


def _is_signature(given: bytes, secrets: tuple[bytes, ...], body: bytes) -> bool:
    """`Authorization: WCS <hash>`, the HMAC-MD5 of the raw body in hex (protocol.md 1.1)."""
    scheme, _, digest = given.partition(b" ")
    if scheme.lower() != b"wcs":
        return False
    digest = digest.strip().lower()
    found = False
    for secret in secrets:
        good = hmac.new(secret, body, "md5").hexdigest().encode()
        found |= hmac.compare_digest(digest, good) and bool(secret)
    return found
