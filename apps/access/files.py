"""Access as a file: what a file says is taken in, or everything is written down."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.db.models import Model

from apps.access import file_format, file_yaml
from apps.access.file_difference import find_changes
from apps.access.file_format import NAMED_TARGETS, RECORD
from apps.access.file_problems import AccessFileError
from apps.access.file_sheets import write_sheets
from apps.access.file_values import in_order, kept_password
from apps.access.models import CAPS, CIRCUMSTANCES, LIMITS, NumberClass, Rule, Schedule
from apps.accounts.models import Revocation, Token, User
from apps.connections.models import App, Node, SipAccount, TokenIssuer
from apps.streams.models import Stream, StreamGroup, StreamLink

HEADING = "# Written by export_access. It holds hashes and sealed secrets: keep it private.\n"
EXPORTED = "the access file"
"""What it is called where it is noted that somebody took it out."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do: one sentence for each difference, and one for all."""

    lines: list[str]
    summary: str


def import_access(content: str | bytes, *, replace: bool = False, dry_run: bool = False) -> Imported:
    """Add and update what a file names, all of it or nothing.

    With `replace`, rules that the file does not have are removed; with `dry_run`, all is undone at the end.
    Raises AccessFileError, and IntegrityError where somebody else changed the same things meanwhile.
    """
    file = file_format.read(content)
    if replace and file.get("rules") is None:
        raise AccessFileError(["rules: needed to replace the rules; to remove them all, write rules: []"])
    with transaction.atomic():
        with connection.cursor() as cursor:  # two imports at once would both add the same rule
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('import_access'))")
        changes = find_changes(file, replace=replace)
        changes.save()
        transaction.set_rollback(dry_run)
    return Imported(changes.lines, changes.summary())


def export_access() -> str:
    """Everything as a file: no secret in clear, in an order that depends on the content alone."""
    return HEADING + file_yaml.write(_everything())


def export_sheets() -> bytes:
    """The same as a spreadsheet."""
    return write_sheets(_everything())


def _everything() -> dict[str, Any]:
    return {
        "groups": sorted(Group.objects.values_list("name", flat=True)),
        "users": _sorted(_user(row) for row in User.objects.prefetch_related("groups", "tokens")),
        "apps": _sorted(_app(row) for row in App.objects.all()),
        "nodes": _sorted(_node(row) for row in Node.objects.all()),
        "sip_accounts": _sorted(_sip_account(row) for row in SipAccount.objects.select_related("user")),
        "stream_groups": _sorted(_fields(row, "name", "note") for row in StreamGroup.objects.all()),
        "streams": _sorted(_stream(row) for row in Stream.objects.select_related("owner").prefetch_related("groups")),
        "schedules": _sorted(
            _fields(row, "name", "time_zone", "windows", "holidays", "note") for row in Schedule.objects.all()
        ),
        "number_classes": _sorted(
            _fields(row, "name", "prefixes", "whole", "short", "protected", "note") for row in NumberClass.objects.all()
        ),
        "issuers": _sorted(_issuer(row) for row in TokenIssuer.objects.all()),
        "links": _sorted(_link(row) for row in StreamLink.objects.select_related("made_by")),
        "revoked_before": Revocation.objects.values_list("before", flat=True).first(),
        "rules": _sorted(_rule(row) for row in Rule.objects.with_names()),
    }


def _sorted(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """By their first value, which is their name; rules by effect, who, actions and so on."""
    return sorted(entries, key=lambda entry: [str(value) for value in entry.values()])


def _fields(row: Model, *names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _user(user: User) -> dict[str, Any]:
    return {
        "username": user.username,
        "password_hash": kept_password(user.password),
        "active": user.is_active,
        "staff": user.is_staff,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email,
        "groups": sorted(group.name for group in user.groups.all()),
        "revoked_before": user.revoked_before,
        "tokens": _sorted(_token(token) for token in user.tokens.all()),
    }


def _token(token: Token) -> dict[str, Any]:
    return {
        "label": token.label,
        "token_hash": token.token_hash,
        "expires": token.expires_at,
        "networks": token.networks,
        "origins": token.origins,
        "streams": token.streams,
        "actions": token.actions,
        "single_use": token.single_use,
        "issued": token.created_at,
        **({"used": token.used_at} if token.used_at else {}),
    }


def _app(app: App) -> dict[str, Any]:
    return {
        "key": app.key,
        "guests": app.guests,
        "token_name": app.token_name,
        "hook_user": app.hook_user,
        "hook_passwords_sealed": app.hook_passwords,
        "networks": app.networks,
        "rest_started": app.rest_started,
        "note": app.note,
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "node_id": node.node_id,
        "name": node.name,
        "secrets_sealed": node.secrets,
        "networks": node.networks,
        **_fields(node, "api_url", "api_user"),
        **({"api_password_sealed": node.api_password} if node.api_password else {}),
    }


def _sip_account(account: SipAccount) -> dict[str, Any]:
    names = ("login", "authentication_name", "domain", "outbound_proxy", "port", "visible_name", "register", "note")
    return {"user": account.user.username, **_fields(account, *names), "password_sealed": account.password}


def _issuer(issuer: TokenIssuer) -> dict[str, Any]:
    return {
        "issuer": issuer.issuer,
        "active": issuer.active,
        "audience": issuer.audience,
        "algorithms": issuer.algorithms,
        "secrets_sealed": issuer.secrets,
        "jwks": issuer.jwks,
        "jwks_url": issuer.jwks_url,
        "leeway": issuer.leeway,
        "user_claim": issuer.user_claim,
        "groups_claim": issuer.groups_claim,
        "streams_claim": issuer.streams_claim,
        "actions_claim": issuer.actions_claim,
        "accepts_unknown": issuer.accepts_unknown,
        "note": issuer.note,
    }


def _link(link: StreamLink) -> dict[str, Any]:
    return {
        "code": link.code,
        "label": link.label,
        "stream": link.stream,
        "action": link.action,
        "until": link.ends_at,
        "active": link.active,
        "issued": link.created_at,
        "made_by": link.made_by and link.made_by.username,
    }


def _stream(stream: Stream) -> dict[str, Any]:
    return {
        "name": stream.name,
        "owner": stream.owner and stream.owner.username,
        "source": stream.source,
        "groups": sorted(group.name for group in stream.groups.all()),
        "max_publishers": stream.max_publishers,
        "max_viewers": stream.max_viewers,
        "note": stream.note,
    }


def _rule(rule: Rule) -> dict[str, Any]:
    """What few rules have is written only where it says something."""
    who = {"user": rule.user and rule.user.username, "group": rule.group and rule.group.name}
    kind = rule.target_kind.replace("-", "_")
    target = getattr(rule, kind).name if kind in NAMED_TARGETS else rule.target
    now_and_then = {"from": rule.starts_at, "until": rule.ends_at, "during": rule.schedule and rule.schedule.name}
    return {
        "effect": rule.effect,
        "who": {rule.who: who[rule.who]} if rule.who in who else rule.who,
        "actions": in_order(rule.actions),
        "target": {kind: target} if target else kind,
        **_said(now_and_then),
        **_said(_fields(rule, *CIRCUMSTANCES)),
        **_said({"limits": _limits(rule), "changes": _said(_changes(rule))}),
        "enforced": rule.enforced,
        "note": rule.note,
    }


def _limits(rule: Rule) -> dict[str, Any]:
    return _said({"per": rule.limit_per, **_fields(rule, *LIMITS), "overflow": rule.overflow}) if rule.limit_per else {}


def _changes(rule: Rule) -> dict[str, Any]:
    record = next((word for word, value in RECORD.items() if value == rule.record), None)
    return {"callee": rule.callee, "record": record, **_fields(rule, *CAPS)}


def _said(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}
