"""What an import changes: collected row by row, told in one sentence each, saved in a few statements."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import Group
from django.db import models

from apps.access.file_values import Entry
from apps.access.models import NumberClass, Rule, Schedule
from apps.access.sentences import sentence
from apps.accounts.models import Revocation, Token, User
from apps.connections.models import App, Node, SipAccount, TokenIssuer
from apps.connections.sealing import CannotUnseal, unseal
from apps.streams.models import Stream, StreamGroup, StreamLink

MODELS = (
    Group,
    User,
    Token,
    App,
    Node,
    SipAccount,
    TokenIssuer,
    StreamGroup,
    Stream,
    StreamLink,
    Revocation,
    Schedule,
    NumberClass,
    Rule,
)  # in the order of who refers to whom
BATCH = 2000
UNPRINTED = {"password", "token_hash", "hook_passwords", "secrets", "jwks", "source", "api_password"}
WORDS = {
    "is_active": "active",
    "is_staff": "staff",
    "expires_at": "expires",
    "token_hash": "token",
    "hook_passwords": "hook password",
    "ends_at": "until",
    "created_at": "issued",
    "used_at": "used",
    "before": "everything issued before",
}
"""What the sentences call a field, where it is not its name."""


GOES_WITHOUT_SAYING = {"created_at": "token_hash", "used_at": "token_hash"}
"""What is not told of where another field changes, which brings it along."""


@dataclass(slots=True)
class Changes:
    """Rows that are new or different. `lines` has one sentence for each."""

    lines: list[str] = field(default_factory=list)
    new: dict[type[models.Model], list] = field(default_factory=lambda: defaultdict(list))
    changed: dict[type[models.Model], list] = field(default_factory=lambda: defaultdict(list))
    changed_fields: dict[type[models.Model], set[str]] = field(default_factory=lambda: defaultdict(set))
    joined: list[models.Model] = field(default_factory=list)  # memberships of users and streams in groups
    left: dict[type[models.Model], list[int]] = field(default_factory=lambda: defaultdict(list))
    removed: list[Rule] = field(default_factory=list)

    def put(
        self, row: models.Model, name: str, values: dict[str, Any] | None = None, others: Iterable[str] = ()
    ) -> None:
        """Set what differs on a row, and say so; `others` are sentences about what is not on the row."""
        different = differing(row, values or {})
        silent = {key for key, cause in GOES_WITHOUT_SAYING.items() if cause in different}
        told = [_change(key, getattr(row, key), value) for key, value in different.items() if key not in silent]
        told += others
        for key, value in different.items():
            setattr(row, key, value)
        if row._state.adding:
            self.new[type(row)].append(row)
            self.lines.append(f"+ {name}")
        elif told:
            self.lines.append(f"~ {name}: {', '.join(told)}")
        if not row._state.adding and different:
            self.changed[type(row)].append(row)
            self.changed_fields[type(row)].update(different)

    def regroup(self, row: User | Stream, before: dict[str, int], after: Iterable[models.Model]) -> list[str]:
        """Make these the groups of a row; `before` is memberships by name of group. Gives what to say about it."""
        membership, groups = type(row).groups.through, {group.name: group for group in after}
        if groups.keys() == before.keys():
            return []
        names = {field.related_model: field.name for field in membership._meta.fields if field.related_model}
        new = [groups[name] for name in sorted(groups.keys() - before.keys())]
        self.joined += [membership(**{names[type(row)]: row, names[type(group)]: group}) for group in new]
        self.left[membership] += [pk for name, pk in before.items() if name not in groups]
        return [f"groups {_shown(sorted(before))} → {_shown(sorted(groups))}"]

    def remove(self, rule: Rule) -> None:
        self.removed.append(rule)
        self.lines.append(f"- rule: {sentence(rule)}")

    def save(self) -> None:
        """Write everything, to be called in a transaction. Raises IntegrityError where somebody else was faster."""
        for model in MODELS:
            if self.changed[model]:  # before the new ones: a change may free the label that a new token takes
                model.objects.bulk_update(self.changed[model], sorted(self.changed_fields[model]), BATCH)
            model.objects.bulk_create(self.new[model], BATCH)
        for membership, pks in self.left.items():
            membership.objects.filter(pk__in=pks).delete()
        for membership in {type(row) for row in self.joined}:
            membership.objects.bulk_create([row for row in self.joined if type(row) is membership], BATCH)
        Rule.objects.filter(pk__in=[rule.pk for rule in self.removed]).delete()

    def summary(self) -> str:
        count = Counter(line[0] for line in self.lines)
        return f"{count['+']} added, {count['~']} changed, {count['-']} removed."


def differing(row: models.Model, values: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that a row does not have."""
    return {name: value for name, value in values.items() if getattr(row, name) != value}


def given(entry: Entry, *names: str, **renamed: str) -> dict[str, Any]:
    """The values of these keys that were given, by the model's names."""
    fields = {**{name: name for name in names}, **renamed}
    return {field: entry[key] for key, field in fields.items() if key in entry}


def changed_secrets(before: list[str], after: list[str]) -> list[str]:
    """The secrets after, or those before where they are the same in clear: sealing twice gives two texts."""
    with suppress(CannotUnseal):
        if [unseal(secret) for secret in before] == [unseal(secret) for secret in after]:
            return before
    return after


def _change(name: str, before: Any, after: Any) -> str:
    word = WORDS.get(name, name.replace("_", " "))
    return f"{word} changed" if name in UNPRINTED else f"{word} {_shown(before)} → {_shown(after)}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"“{value}”" if value else "none"
