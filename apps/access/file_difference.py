"""What differs between an access file and the database, kind by kind."""

from contextlib import suppress
from functools import cached_property
from typing import Any

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils import timezone

from apps.access.file_changes import Changes, changed_secrets, differing, given
from apps.access.file_format import NAMED_TARGETS, hash_of, plain_values
from apps.access.file_known import Known, content_of
from apps.access.file_problems import AccessFileError, Bad, Place
from apps.access.file_values import NO_PASSWORD, Entry, kept_password
from apps.access.file_ways_in import compare_ways_in
from apps.access.models import NumberClass, Rule, Schedule
from apps.access.protection import problem_of, warning_of
from apps.access.sentences import sentence
from apps.accounts.models import Token, User
from apps.connections.models import App, Node, SipAccount
from apps.connections.sealing import CannotUnseal, seal
from apps.streams.models import Stream, StreamGroup


def find_changes(file: Entry, *, replace: bool) -> Changes:
    """What would make the database say what the file says. Saves nothing. Raises AccessFileError.

    With `replace`, rules that the file does not have are to be removed.
    """
    comparison = Comparison(Known(file, every_rule=replace))
    comparison.add_groups()
    for entry in file.get("users", []):
        comparison.compare_user(entry)
    for entry in file.get("users", []):
        comparison.compare_tokens(entry)
    for entry in file.get("apps", []):
        comparison.compare_app(entry)
    for entry in file.get("nodes", []):
        comparison.compare_node(entry)
    for entry in file.get("sip_accounts", []):
        comparison.compare_sip_account(entry)
    for entry in file.get("stream_groups", []):
        comparison.compare_named(entry, StreamGroup, "stream group", comparison.known.stream_groups)
    for entry in file.get("schedules", []):
        comparison.compare_named(entry, Schedule, "schedule", comparison.known.schedules)
    for entry in file.get("number_classes", []):
        comparison.compare_named(entry, NumberClass, "number class", comparison.known.number_classes)
    for entry in file.get("streams", []):
        with suppress(Bad):
            comparison.compare_stream(entry)
    compare_ways_in(file, comparison)
    for entry in file.get("rules") or []:
        with suppress(Bad):
            comparison.compare_rule(entry)
    if replace:
        comparison.remove_other_rules()
    if file.place.problems:
        raise AccessFileError(file.place.problems)
    return comparison.changes


class Comparison:
    """What is known grows on the way: whatever only a rule or a stream names is added."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.changes = Changes()

    def add_groups(self) -> None:
        for name in sorted(self.known.group_names - self.known.groups.keys()):
            self.known.groups[name] = Group(name=name)
            self.changes.put(self.known.groups[name], f"group {name}")

    def compare_user(self, entry: Entry) -> None:
        name = entry["username"]
        user = self.known.users.setdefault(name, _without_way_in(name))
        values = given(
            entry, "first_name", "last_name", "email", "revoked_before", active="is_active", staff="is_staff"
        )
        if "password" in entry and not _is_password(entry["password"], user):
            values["password"] = make_password(entry["password"])
        if entry.get("password_hash", kept_password(user.password)) != kept_password(user.password):
            no_password = entry["password_hash"] == NO_PASSWORD
            values["password"] = make_password(None) if no_password else entry["password_hash"]
        regrouped = []
        if "groups" in entry:
            groups = [self.known.groups[group] for group in entry["groups"]]
            regrouped = self.changes.regroup(user, self.known.memberships[name], groups)
        self.changes.put(user, f"user {name}", values, regrouped)

    def compare_tokens(self, entry: Entry) -> None:
        """Those with a known hash come first: they may give up a label that another token takes."""
        user, tokens = self.known.users[entry["username"]], entry.get("tokens", [])
        claimed: set[int | None] = set()
        for token in sorted(tokens, key=lambda token: hash_of(token) not in self.known.tokens_by_hash):
            with suppress(Bad):
                row = self._token(user, token, claimed)
                claimed.add(row.pk)
                values = _token_values(row, token)
                self.changes.put(row, f"token {token['label']} of {user.username}", values)

    def _token(self, user: User, token: Entry, claimed: set[int | None]) -> Token:
        """The row that a token is about, found by hash, else by label, else a new one. Raises Bad."""
        given_hash = hash_of(token)
        by_hash = self.known.tokens_by_hash.get(given_hash or "")
        by_label = self.known.tokens_by_label.get((user.username, token["label"]))
        if by_hash and by_hash.user != user:
            raise token.place.problem(f"is a token of user “{by_hash.user}” already")
        if by_hash and by_label and by_hash != by_label:
            raise token.place.key("label").problem("another token of this user has this label already")
        if by_hash or (by_label and by_label.pk not in claimed):
            return by_hash or by_label
        if not given_hash:
            raise token.place.problem("give token or token_hash: there is no token with this label yet")
        return Token(user=user)

    def compare_app(self, entry: Entry) -> None:
        app = self.known.apps.get(entry["key"]) or App(key=entry["key"])
        values = given(entry, "guests", "token_name", "hook_user", "networks", "rest_started", "note")
        if "hook_password" in entry:
            with suppress(Bad):
                values["hook_passwords"] = _with_hook_password(app, entry)
        if "hook_passwords_sealed" in entry:
            values["hook_passwords"] = changed_secrets(app.hook_passwords, entry["hook_passwords_sealed"])
        self.changes.put(app, f"app {app.key}", values)
        try:
            app.clean()
        except ValidationError as error:
            entry.place.refused(error)

    def compare_node(self, entry: Entry) -> None:
        node = self.known.nodes.get(entry["node_id"]) or Node(node_id=entry["node_id"])
        values = given(entry, "name", "networks", "api_url", "api_user")
        values |= _password(entry, "api_password", node.api_password)
        if "secrets" in entry:
            values["secrets"] = changed_secrets(node.secrets, [seal(secret) for secret in entry["secrets"]])
        if "secrets_sealed" in entry:
            values["secrets"] = changed_secrets(node.secrets, entry["secrets_sealed"])
        self.changes.put(node, f"node {node.node_id}", values)

    def compare_sip_account(self, entry: Entry) -> None:
        """The account of a user, who has one at most; a new one needs a login, a domain and a password."""
        user = self.user(entry["user"], entry.place.key("user"))
        account = self.known.sip_accounts.get(user.username) or SipAccount(user=user)
        names = ("login", "authentication_name", "domain", "outbound_proxy", "port", "visible_name", "register", "note")
        values = given(entry, *names) | _password(entry, "password", account.password)
        self.changes.put(account, f"SIP account of {user.username}", values)
        for name in ("login", "domain", "password"):
            if not getattr(account, name):
                entry.place.key(name).problem("is needed for a new account")

    def compare_stream(self, entry: Entry) -> None:
        stream = self.known.streams.setdefault(entry["name"], Stream(name=entry["name"]))
        values = given(entry, "source", "max_publishers", "max_viewers", "note")
        if "owner" in entry:
            values["owner"] = entry["owner"] and self.user(entry["owner"], entry.place.key("owner"))
        regrouped = []
        if "groups" in entry:
            place = entry.place.key("groups")
            groups = [self._named("stream_groups", name, place) for name in entry["groups"]]
            regrouped = self.changes.regroup(stream, self.known.stream_memberships[stream.name], groups)
        self.changes.put(stream, f"stream {stream.name}", values, regrouped)

    def compare_named(self, entry: Entry, model: type[Model], kind: str, known: dict[str, Any]) -> None:
        """A stream group, a schedule or a number class: known by its name, with values that are fields."""
        row = known.setdefault(entry["name"], model(name=entry["name"]))
        self.changes.put(row, f"{kind} {row.name}", {key: value for key, value in entry.items() if key != "name"})
        try:
            row.validate_constraints()
        except ValidationError as error:
            entry.place.problem(" ".join(error.messages))

    def compare_rule(self, entry: Entry) -> None:
        """Rules are known by their whole content. Of several alike, one that needs no change is taken."""
        values = given(entry, "enforced", "note")
        rule = self._rule(entry, values)
        alike = self.known.rules[content_of(rule)]
        row = next((row for row in alike if not differing(row, values)), alike[0] if alike else rule)
        if row is not rule:
            alike.remove(row)
        if problem := problem_of(rule, self._number_classes):
            entry.place.key("target").problem(problem)
        told = len(self.changes.lines)
        self.changes.put(row, f"rule: {sentence(row)}", values)
        if len(self.changes.lines) > told and (warning := warning_of(rule, self._number_classes)):
            self.changes.lines.append(f"! rule: {sentence(row)}. {warning}")

    @cached_property
    def _number_classes(self) -> list[NumberClass]:
        """Those that will be there, as this file leaves them."""
        rows = {row.name: row for row in NumberClass.objects.all()} | self.known.number_classes
        return list(rows.values())

    def remove_other_rules(self) -> None:
        """Those that no entry was about; `compare_rule` took out the others."""
        for rows in self.known.rules.values():
            for row in rows:
                self.changes.remove(row)

    def _rule(self, entry: Entry, values: dict[str, Any]) -> Rule:
        """The rule as a row of its own, not saved yet."""
        (who, name), (target_kind, target) = entry["who"], entry.get("target", ("any", ""))
        rule = Rule(
            who=who,
            user=self.user(name, entry.place.key("who.user")) if who == "user" else None,
            group=self.known.groups[name] if who == "group" else None,
            target_kind=target_kind.replace("_", "-"),
            target="" if target_kind in NAMED_TARGETS else target,
            **plain_values(entry),
            **values,
        )
        if target_kind == "stream":
            rule.stream = self._stream(target, entry.place.key("target.stream"))
        elif target_kind in NAMED_TARGETS:
            plural = {"stream_group": "stream_groups", "number_class": "number_classes"}[target_kind]
            setattr(rule, target_kind, self._named(plural, target, entry.place.key(f"target.{target_kind}")))
        if "during" in entry:
            rule.schedule = self._named("schedules", entry["during"], entry.place.key("during"))
        return rule

    def _named(self, section: str, name: str, place: Place) -> Any:
        """A stream group, schedule or number class that something names. Raises Bad: none is made up."""
        row = getattr(self.known, section).get(name)
        if row is None:
            raise place.problem(f"“{name}” is not known; add it under {section}")
        return row

    def user(self, name: str, place: Place) -> User:
        """The user that a rule, a stream or a link names."""
        if name not in self.known.users:
            self.changes.lines.append(
                f"! user {name} is not known; {place.name} names it, so it is added without any way in"
            )
            self.known.users[name] = _without_way_in(name)
            self.changes.put(self.known.users[name], f"user {name}")
        return self.known.users[name]

    def _stream(self, name: str, place: Place) -> Stream:
        """The stream that a rule names."""
        if name not in self.known.streams:
            self.changes.lines.append(f"! stream {name} is not known; {place.name} names it, so it is added")
            self.known.streams[name] = Stream(name=name)
            self.changes.put(self.known.streams[name], f"stream {name}")
        return self.known.streams[name]


def _token_values(row: Token, entry: Entry) -> dict[str, Any]:
    """What a file says about a token. Another token under the label of one is issued now, and not used yet."""
    names = ("label", "networks", "origins", "streams", "actions", "single_use")
    values = given(entry, *names, expires="expires_at", issued="created_at", used="used_at")
    given_hash = hash_of(entry)
    if given_hash and given_hash != row.token_hash:
        now = {"created_at": timezone.now(), "used_at": None}
        values = {**(now if row.pk else {}), **values, "token_hash": given_hash}
    return values


def _is_password(password: str, user: User) -> bool:
    return kept_password(user.password) != NO_PASSWORD and check_password(password, user.password)


def _password(entry: Entry, name: str, before: str) -> dict[str, str]:
    """The sealed password that an entry gives, in clear or sealed, as the value of a field; none if it gives none."""
    given_sealed = entry.get(f"{name}_sealed", "")
    if name in entry:
        given_sealed = seal(entry[name]) if entry[name] else ""
    elif not given_sealed:
        return {}
    (after,) = changed_secrets([before], [given_sealed])
    return {name: after}


def _without_way_in(username: str) -> User:
    return User(username=username, password=make_password(None))


def _with_hook_password(app: App, entry: Entry) -> list[str]:
    """The passwords with this one first, as App.set_hook_password leaves them, without touching the app. Raises Bad."""
    rotated = App(hook_passwords=app.hook_passwords)
    try:
        rotated.set_hook_password(entry["hook_password"])
    except CannotUnseal as error:
        raise entry.place.key("hook_password").problem(f"cannot be compared with the one before. {error}") from None
    return rotated.hook_passwords
