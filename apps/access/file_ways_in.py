"""What differs between an access file and the database in other ways in: issuers, links, and what is revoked."""

from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError

from apps.access.file_changes import changed_secrets, given
from apps.access.file_values import Entry
from apps.connections.jwks import HS256
from apps.connections.models import TokenIssuer
from apps.connections.sealing import seal
from apps.streams.models import StreamLink

if TYPE_CHECKING:
    from apps.access.file_difference import Comparison


def compare_ways_in(file: Entry, comparison: "Comparison") -> None:
    """Note what would make the database say what the file says of these."""
    for entry in file.get("issuers", []):
        _compare_issuer(entry, comparison)
    for entry in file.get("links", []):
        _compare_link(entry, comparison)
    if "revoked_before" in file:
        values = {"before": file["revoked_before"]}
        row = comparison.known.revocation
        if row.before != values["before"]:
            comparison.changes.put(row, "revocation", values)


def _compare_issuer(entry: Entry, comparison: "Comparison") -> None:
    row = comparison.known.issuers.get(entry["issuer"]) or TokenIssuer(issuer=entry["issuer"])
    claims = ("user_claim", "groups_claim", "streams_claim", "actions_claim", "accepts_unknown")
    values = given(entry, "active", "audience", "algorithms", "jwks", "jwks_url", "leeway", *claims, "note")
    if values.get("jwks_url", row.jwks_url) != row.jwks_url and "jwks" not in values:
        values["jwks"] = ""  # those of the address before must not stay valid
    if "secrets" in entry:
        values["secrets"] = changed_secrets(row.secrets, [seal(secret) for secret in entry["secrets"]])
    if "secrets_sealed" in entry:
        values["secrets"] = changed_secrets(row.secrets, entry["secrets_sealed"])
    comparison.changes.put(row, f"issuer {row.issuer}", values)
    if HS256 in row.algorithms and not row.secrets:
        entry.place.key("secrets").problem("are needed for HS256")
    try:
        row.clean()
    except ValidationError as error:
        entry.place.refused(error)


def _compare_link(entry: Entry, comparison: "Comparison") -> None:
    row = comparison.known.links.get(entry["code"]) or StreamLink(code=entry["code"])
    values = given(entry, "label", "stream", "active", until="ends_at", issued="created_at")
    values["action"], _ = entry["action"]
    if "made_by" in entry:
        values["made_by"] = entry["made_by"] and comparison.user(entry["made_by"], entry.place.key("made_by"))
    comparison.changes.put(row, f"link {values['label']}", values)
