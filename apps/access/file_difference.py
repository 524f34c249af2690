"""What differs between an access file and the database: found in a few queries, saved in a few statements."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import Group
from django.db import models

from apps.access.file_format import NO_PASSWORD, AccessFileError, Bad, Entry, Place, hash_of, kept_password
from apps.access.models import Rule
from apps.access.sentences import sentence
from apps.accounts.models import Token, User
from apps.connections.models import App, Node
from apps.connections.sealing import CannotUnseal, seal, unseal
from apps.protocol.methods import ACTIONS
from apps.streams.models import Stream

BATCH = 2000
UNPRINTED = {"password", "token_hash", "hook_passwords", "secrets", "source"}
WORDS = {
    "is_active": "active",
    "is_staff": "staff",
    "expires_at": "expires",
    "token_hash": "token",
    "hook_passwords": "hook password",
}
"""What the sentences call a field, where it is not its name."""


class Difference:
    """Call `find`, then `save`. `lines` has one sentence for each difference."""

    MODELS = (Group, User, Token, App, Node, Stream, Rule)  # in the order of who refers to whom

    def __init__(self, file: Entry) -> None:
        self.users_in_file = file.get("users", [])
        self.apps_in_file = file.get("apps", [])
        self.nodes_in_file = file.get("nodes", [])
        self.streams_in_file = file.get("streams", [])
        self.rules_in_file = file.get("rules") or []
        of_users = chain.from_iterable(entry.get("groups", []) for entry in self.users_in_file)
        self.group_names = {*file.get("groups", []), *of_users, *self._named_by_rules("who", "group")}
        self.lines: list[str] = []
        self.problems: list[str] = file.place.problems
        self.new: dict[type[models.Model], list] = defaultdict(list)
        self.changed: dict[type[models.Model], list] = defaultdict(list)
        self.changed_fields: dict[type[models.Model], set[str]] = defaultdict(set)
        self.joined: list[tuple[User, Group]] = []
        self.left: list[int] = []
        self.removed: list[Rule] = []

    def find(self, *, replace: bool) -> None:
        """Compare everything. Raises AccessFileError."""
        self._load()
        for name in sorted(self.group_names - self.groups.keys()):
            self.groups[name] = Group(name=name)
            self._put(self.groups[name], f"group {name}")
        for entry in self.users_in_file:
            self._compare_user(entry)
        for entry in self.users_in_file:
            self._compare_tokens(self.users[entry["username"]], entry.get("tokens", []))
        for entry in self.apps_in_file:
            self._compare_app(entry)
        for entry in self.nodes_in_file:
            self._compare_node(entry)
        for entry in self.streams_in_file:
            self._compare_stream(entry)
        self._compare_rules(replace=replace)
        if self.problems:
            raise AccessFileError(self.problems)

    def save(self) -> None:
        for model in self.MODELS:
            if self.changed[model]:  # before the new ones: a change may free the label that a new token takes
                model.objects.bulk_update(self.changed[model], sorted(self.changed_fields[model]), BATCH)
            model.objects.bulk_create(self.new[model], BATCH)
        membership = User.groups.through
        membership.objects.filter(pk__in=self.left).delete()
        membership.objects.bulk_create([membership(user=user, group=group) for user, group in self.joined], BATCH)
        Rule.objects.filter(pk__in=[row.pk for row in self.removed]).delete()

    def summary(self) -> str:
        count = Counter(line[0] for line in self.lines)
        return f"{count['+']} added, {count['~']} changed, {count['-']} removed."

    # What is there already

    def _load(self) -> None:
        in_file = {entry["username"] for entry in self.users_in_file}
        owners = {entry["owner"] for entry in self.streams_in_file if entry.get("owner")}
        usernames = in_file | owners | self._named_by_rules("who", "user")
        streams = {entry["name"] for entry in self.streams_in_file} | self._named_by_rules("target", "stream")
        self.groups = {row.name: row for row in Group.objects.filter(name__in=self.group_names)}
        self.users = {row.username: row for row in User.objects.filter(username__in=usernames)}
        self.apps = App.objects.in_bulk([entry["key"] for entry in self.apps_in_file], field_name="key")
        self.nodes = Node.objects.in_bulk([entry["node_id"] for entry in self.nodes_in_file], field_name="node_id")
        self.streams = {row.name: row for row in Stream.objects.select_related("owner").filter(name__in=streams)}
        self._load_memberships(in_file)
        self._load_tokens(in_file)

    def _load_memberships(self, usernames: set[str]) -> None:
        rows = User.groups.through.objects.filter(user__username__in=usernames)
        self.memberships: dict[str, dict[str, int]] = defaultdict(dict)  # user -> group -> id of the membership
        for username, group, pk in rows.values_list("user__username", "group__name", "pk"):
            self.memberships[username][group] = pk

    def _load_tokens(self, usernames: set[str]) -> None:
        hashes = {hash_of(token) for entry in self.users_in_file for token in entry.get("tokens", [])} - {None}
        wanted = models.Q(token_hash__in=hashes) | models.Q(user__username__in=usernames)
        rows = list(Token.objects.select_related("user").filter(wanted)) if hashes or usernames else []
        self.tokens_by_hash = {row.token_hash: row for row in rows}
        self.tokens_by_label = {(row.user.username, row.label): row for row in rows}

    def _named_by_rules(self, key: str, kind: str) -> set[str]:
        choices = (rule.get(key, ("", "")) for rule in self.rules_in_file)
        return {name for chosen, name in choices if chosen == kind}

    # Kind by kind

    def _compare_user(self, entry: Entry) -> None:
        name = entry["username"]
        user = self.users.setdefault(name, _without_way_in(name))
        values = _given(entry, "first_name", "last_name", "email", active="is_active", staff="is_staff")
        if "password" in entry and not _is_password(entry["password"], user):
            values["password"] = make_password(entry["password"])
        if entry.get("password_hash", kept_password(user.password)) != kept_password(user.password):
            no_password = entry["password_hash"] == NO_PASSWORD
            values["password"] = make_password(None) if no_password else entry["password_hash"]
        self._put(user, f"user {name}", values, self._compare_groups(user, entry))

    def _compare_groups(self, user: User, entry: Entry) -> list[str]:
        before = self.memberships[user.username]
        after = set(entry.get("groups", before))
        if after == before.keys():
            return []
        self.joined += [(user, self.groups[name]) for name in sorted(after - before.keys())]
        self.left += [pk for name, pk in before.items() if name not in after]
        return [f"groups {_shown(sorted(before))} → {_shown(sorted(after))}"]

    def _compare_tokens(self, user: User, tokens: list[Entry]) -> None:
        """Those with a known hash come first: they may give up a label that another token takes."""
        claimed: set[int | None] = set()
        for token in sorted(tokens, key=lambda token: hash_of(token) not in self.tokens_by_hash):
            with suppress(Bad):
                row = self._token(user, token, claimed)
                claimed.add(row.pk)
                values = _given(token, "label", "networks", "origins", "streams", "actions", expires="expires_at")
                if given_hash := hash_of(token):
                    values["token_hash"] = given_hash
                self._put(row, f"token {token['label']} of {user.username}", values)

    def _token(self, user: User, token: Entry, claimed: set[int | None]) -> Token:
        """The row that a token is about, found by hash, else by label, else a new one."""
        given_hash = hash_of(token)
        by_hash = self.tokens_by_hash.get(given_hash or "")
        by_label = self.tokens_by_label.get((user.username, token["label"]))
        if by_hash and by_hash.user != user:
            raise token.place.problem(f"is a token of user “{by_hash.user}” already")
        if by_hash and by_label and by_hash != by_label:
            raise token.place.key("label").problem("another token of this user has this label already")
        if by_hash or (by_label and by_label.pk not in claimed):
            return by_hash or by_label
        if not given_hash:
            raise token.place.problem("give token or token_hash: there is no token with this label yet")
        return Token(user=user)

    def _compare_app(self, entry: Entry) -> None:
        app = self.apps.get(entry["key"]) or App(key=entry["key"])
        values = _given(entry, "guests", "token_name", "hook_user", "networks", "rest_started", "note")
        if "hook_password" in entry:
            with suppress(Bad):
                values["hook_passwords"] = _with_hook_password(app, entry)
        if "hook_passwords_sealed" in entry:
            values["hook_passwords"] = _changed_secrets(app.hook_passwords, entry["hook_passwords_sealed"])
        self._put(app, f"app {app.key}", values)

    def _compare_node(self, entry: Entry) -> None:
        node = self.nodes.get(entry["node_id"]) or Node(node_id=entry["node_id"])
        values = _given(entry, "name", "networks")
        if "secrets" in entry:
            values["secrets"] = _changed_secrets(node.secrets, [seal(secret) for secret in entry["secrets"]])
        if "secrets_sealed" in entry:
            values["secrets"] = _changed_secrets(node.secrets, entry["secrets_sealed"])
        self._put(node, f"node {node.node_id}", values)

    def _compare_stream(self, entry: Entry) -> None:
        stream = self.streams.setdefault(entry["name"], Stream(name=entry["name"]))
        values = _given(entry, "source", "note")
        if "owner" in entry:
            values["owner"] = entry["owner"] and self._user(entry["owner"], entry.place.key("owner"))
        self._put(stream, f"stream {stream.name}", values)

    def _compare_rules(self, *, replace: bool) -> None:
        """Rules are known by their whole content. Of several alike, one that needs no change is taken."""
        rows = defaultdict(list)
        for row in Rule.objects.select_related("user", "group", "stream").order_by("pk"):
            rows[_content(row)].append(row)
        for entry in self.rules_in_file:
            values = _given(entry, "enforced", "note")
            rule = self._rule(entry, values)
            alike = rows[_content(rule)]
            row = next((row for row in alike if not _different(row, values)), alike[0] if alike else rule)
            if row is not rule:
                alike.remove(row)
            self._put(row, f"rule: {sentence(row)}", values)
        if replace:
            self.removed = list(chain.from_iterable(rows.values()))
            self.lines += [f"- rule: {sentence(row)}" for row in self.removed]

    def _rule(self, entry: Entry, values: dict[str, Any]) -> Rule:
        """The rule as a row of its own, not saved yet."""
        (who, name), (target_kind, target) = entry["who"], entry.get("target", ("any", ""))
        on_stream = target_kind == "stream"
        return Rule(
            effect=entry["effect"][0],
            who=who,
            user=self._user(name, entry.place.key("who.user")) if who == "user" else None,
            group=self.groups[name] if who == "group" else None,
            actions=in_order(entry["actions"]),
            target_kind=target_kind,
            target="" if on_stream else target,
            stream=self._stream(target, entry.place.key("target.stream")) if on_stream else None,
            starts_at=entry.get("from"),
            ends_at=entry.get("until"),
            **values,
        )

    def _user(self, name: str, place: Place) -> User:
        """The user that a rule or a stream names."""
        if name not in self.users:
            self.lines.append(f"! user {name} is not known; {place.name} names it, so it is added without any way in")
            self.users[name] = _without_way_in(name)
            self._put(self.users[name], f"user {name}")
        return self.users[name]

    def _stream(self, name: str, place: Place) -> Stream:
        """The stream that a rule names."""
        if name not in self.streams:
            self.lines.append(f"! stream {name} is not known; {place.name} names it, so it is added")
            self.streams[name] = Stream(name=name)
            self._put(self.streams[name], f"stream {name}")
        return self.streams[name]

    def _put(
        self, row: models.Model, name: str, values: dict[str, Any] | None = None, changes: Iterable[str] = ()
    ) -> None:
        """Set what differs on a row, and say so; `changes` are sentences about what is not on the row."""
        different = _different(row, values or {})
        changes = [
            *(_change(field, getattr(row, field), value) for field, value in different.items()),
            *changes,
        ]
        for field, value in different.items():
            setattr(row, field, value)
        if row.pk is None:
            self.new[type(row)].append(row)
            self.lines.append(f"+ {name}")
        elif changes:
            self.lines.append(f"~ {name}: {', '.join(changes)}")
        if row.pk is not None and different:
            self.changed[type(row)].append(row)
            self.changed_fields[type(row)].update(different)


def in_order(actions: Iterable[str]) -> list[str]:
    """Actions as a set, in the order of the table."""
    given = set(actions)
    return [action for action in ACTIONS if action in given]


def _given(entry: Entry, *names: str, **renamed: str) -> dict[str, Any]:
    """The values of these keys that were given, by the model's names."""
    fields = {**{name: name for name in names}, **renamed}
    return {field: entry[key] for key, field in fields.items() if key in entry}


def _different(row: models.Model, values: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in values.items() if getattr(row, field) != value}


def _content(rule: Rule) -> tuple:
    """What makes a rule this rule and not another one."""
    who = (rule.who, rule.user and rule.user.username, rule.group and rule.group.name)
    target = (rule.target_kind, rule.target, rule.stream and rule.stream.name)
    return rule.effect, who, frozenset(rule.actions), target, rule.starts_at, rule.ends_at


def _is_password(password: str, user: User) -> bool:
    return kept_password(user.password) != NO_PASSWORD and check_password(password, user.password)


def _without_way_in(username: str) -> User:
    return User(username=username, password=make_password(None))


def _with_hook_password(app: App, entry: Entry) -> list[str]:
    """The passwords with this one first, as App.set_hook_password leaves them, without touching the app."""
    rotated = App(hook_passwords=app.hook_passwords)
    try:
        rotated.set_hook_password(entry["hook_password"])
    except CannotUnseal as error:
        raise entry.place.key("hook_password").problem(f"cannot be compared with the one before. {error}") from None
    return rotated.hook_passwords


def _changed_secrets(before: list[str], after: list[str]) -> list[str]:
    """The secrets after, or those before where they are the same in clear: sealing twice gives two texts."""
    with suppress(CannotUnseal):
        if [unseal(secret) for secret in before] == [unseal(secret) for secret in after]:
            return before
    return after


def _change(field: str, before: Any, after: Any) -> str:
    name = WORDS.get(field, field.replace("_", " "))
    return f"{name} changed" if field in UNPRINTED else f"{name} {_shown(before)} → {_shown(after)}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"“{value}”" if value else "none"
