"""What the database has already of what an access file names, read in a few queries."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Model, Q

from apps.access.file_format import hash_of
from apps.access.file_values import Entry
from apps.access.models import SAID, NumberClass, Rule, Schedule
from apps.accounts.models import Revocation, Token, User
from apps.connections.models import App, Node, SipAccount, TokenIssuer
from apps.streams.models import Stream, StreamGroup, StreamLink


class Known:
    """Rows by name. Those of `group_names` that are not in `groups` are new."""

    def __init__(self, file: Entry, *, every_rule: bool) -> None:
        users, streams, rules = file.get("users", []), file.get("streams", []), file.get("rules") or []
        accounts = file.get("sip_accounts", [])
        named = {account["user"] for account in accounts} | _named(rules, "who", "user")
        self._load_users(users, streams, file.get("links", []), named)
        self.sip_accounts = {
            row.user.username: row
            for row in SipAccount.objects.select_related("user").filter(
                user__username__in=[account["user"] for account in accounts]
            )
        }
        self.memberships = _memberships(
            User.groups.through, "user__username", "group__name", [user["username"] for user in users]
        )
        self._load_tokens(users)
        self.group_names = {
            *file.get("groups", []),
            *chain.from_iterable(user.get("groups", []) for user in users),
            *_named(rules, "who", "group"),
        }
        self.groups = {row.name: row for row in Group.objects.filter(name__in=self.group_names)}
        self.apps = App.objects.in_bulk([app["key"] for app in file.get("apps", [])], field_name="key")
        self.nodes = Node.objects.in_bulk([node["node_id"] for node in file.get("nodes", [])], field_name="node_id")
        issuers, codes = file.get("issuers", []), [link["code"] for link in file.get("links", [])]
        self.issuers = TokenIssuer.objects.in_bulk([issuer["issuer"] for issuer in issuers], field_name="issuer")
        self.links = {row.code: row for row in StreamLink.objects.select_related("made_by").filter(code__in=codes)}
        known = Revocation.objects.filter(pk=1).first() if "revoked_before" in file else None
        self.revocation = known or Revocation()
        names = {stream["name"] for stream in streams} | _named(rules, "target", "stream")
        self.streams = {row.name: row for row in Stream.objects.select_related("owner").filter(name__in=names)}
        self.stream_memberships = _memberships(Stream.groups.through, "stream__name", "streamgroup__name", self.streams)
        for model, attribute in (
            (StreamGroup, "stream_groups"),
            (Schedule, "schedules"),
            (NumberClass, "number_classes"),
        ):
            setattr(self, attribute, {row.name: row for row in model.objects.all()})
        self.rules: dict[tuple, list[Rule]] = defaultdict(list)  # by content: any number may say the same
        if rules or every_rule:
            self._load_rules()

    def _load_users(self, users: list[Entry], streams: list[Entry], links: list[Entry], named: set[str]) -> None:
        owners = {stream["owner"] for stream in streams if stream.get("owner")}
        makers = {link["made_by"] for link in links if link.get("made_by")}
        names = {user["username"] for user in users} | owners | makers | named
        self.users = {row.username: row for row in User.objects.filter(username__in=names)}

    def _load_tokens(self, users: list[Entry]) -> None:
        hashes = {hash_of(token) for user in users for token in user.get("tokens", [])} - {None}
        rows = list(
            Token.objects.select_related("user").filter(Q(token_hash__in=hashes) | Q(user__in=self._ids(users)))
        )
        self.tokens_by_hash = {row.token_hash: row for row in rows}
        self.tokens_by_label = {(row.user.username, row.label): row for row in rows}

    def _ids(self, users: list[Entry]) -> list[int]:
        """Of the users that are there: a query by them is quick also where Postgres has not counted its rows yet."""
        return [self.users[user["username"]].pk for user in users if user["username"] in self.users]

    def _load_rules(self) -> None:
        for row in Rule.objects.with_names().order_by("pk"):
            self.rules[content_of(row)].append(row)


def _memberships(through: type[Model], owner: str, group: str, owners: Iterable[str]) -> dict[str, dict[str, int]]:
    """Ids of memberships, by the names of who is in the group and of the group."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    rows = through.objects.filter(**{f"{owner}__in": list(owners)})
    for name, group_name, pk in rows.values_list(owner, group, "pk"):
        found[name][group_name] = pk
    return found


def content_of(rule: Rule) -> tuple:
    """What makes a rule this rule and not another one."""
    return tuple(_as_key(getattr(rule, name)) for name in SAID)


def _as_key(value: Any) -> Any:
    """A value that can be compared with that of a row not saved yet, whatever its order."""
    if isinstance(value, list):
        return frozenset(value)
    return str(value) if isinstance(value, Model) else value


def _named(rules: list[Entry], key: str, kind: str) -> set[str]:
    """The users, groups or streams that the rules name."""
    choices = (rule.get(key, ("", "")) for rule in rules)
    return {name for chosen, name in choices if chosen == kind}
