"""Rules compiled for direct look-up: by who, action and target. Pure: no Django, no database.

One rule stands once for each of its actions, in the bucket of whom it is about. One change costs as much among a
million rules as among ten.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from apps.access.rows import AppRow, NodeRow, RuleRow, TokenRow, UserRow

Key = tuple[str, int | None, str]
"""Whom a rule is about (kind and id) and the action."""


Place = dict[str, list[RuleRow]]
"""Rules by a text."""


class Bucket:
    """The rules of one key: for exact targets, and by how the target begins (any target begins with nothing)."""

    __slots__ = ("exact", "head_lengths", "heads")

    def __init__(self) -> None:
        self.exact: Place = {}
        self.heads: Place = {}
        self.head_lengths: tuple[int, ...] = ()

    def candidates(self, target: str) -> list[RuleRow]:
        """Rules that may match this target."""
        found = [*self.exact.get(target, ())]
        for length in self.head_lengths:
            if length > len(target):  # what is left of the target would be looked up twice
                break
            found += self.heads.get(target[:length], ())
        return found

    def put(self, rule: RuleRow) -> None:
        """Add a rule."""
        place, text = self._place(rule)
        if place is self.heads and len(text) not in self.head_lengths:
            self.head_lengths = tuple(sorted({*self.head_lengths, len(text)}))
        place.setdefault(text, []).append(rule)

    def take(self, rule: RuleRow) -> bool:
        """Remove a rule; gives whether any is left. A length that no head has any more costs a look-up, no more."""
        place, text = self._place(rule)
        place[text].remove(rule)
        if not place[text]:
            del place[text]
        return bool(self.exact or self.heads)

    def _place(self, rule: RuleRow) -> tuple[Place, str]:
        """Where a rule stands: among which, under which text. One of an unknown kind is met by every target."""
        match rule.target_kind:
            case "exact" | "stream":
                return self.exact, rule.target
            case "prefix":
                return self.heads, rule.target
            case "glob":
                return self.heads, rule.target.split("*", 1)[0].split("{user}", 1)[0]
        return self.heads, ""


class RuleIndex:
    """All rules of one snapshot."""

    def __init__(self, rules: Iterable[RuleRow] = ()) -> None:
        self._rules: dict[int, RuleRow] = {}
        self._buckets: dict[Key, Bucket] = {}
        self.replace((), rules)

    def __len__(self) -> int:
        return len(self._rules)

    def replace(self, gone: Iterable[int], rows: Iterable[RuleRow]) -> None:
        """Take out the rules with these ids, put in these rows (which replace rows of the same id)."""
        rows = list(rows)
        for rule_id in [*gone, *(row.id for row in rows)]:
            if old := self._rules.pop(rule_id, None):
                for key in _keys(old):
                    if not self._buckets[key].take(old):
                        del self._buckets[key]
        for row in rows:
            self._rules[row.id] = row
            for key in _keys(row):
                self._buckets.setdefault(key, Bucket()).put(row)

    def about(self, user: UserRow | None) -> Iterator[RuleRow]:
        """Every rule about this user (None: a guest), whatever it allows or denies. Looks at all rules."""
        about = {(who, id_) for who, id_, _ in _keys_of(user, "")}
        for rule in list(self._rules.values()):
            if (rule.who, rule.user_id or rule.group_id) in about:
                yield rule

    def candidates(self, user: UserRow | None, action: str, target: str) -> list[RuleRow]:
        """Rules about this user (None: a guest) and action that may match this target."""
        found: list[RuleRow] = []
        for key in _keys_of(user, action):
            bucket = self._buckets.get(key)
            if bucket is not None:
                found += bucket.candidates(target)
        return found


class HasId(Protocol):
    """A row with an id."""

    @property
    def id(self) -> int: ...


Row = TypeVar("Row", bound=HasId)


class Rows(Generic[Row]):
    """The rows of one table, by id and by the name they are looked up with."""

    def __init__(self, name_of: Callable[[Row], str]) -> None:
        self.by_id: dict[int, Row] = {}
        self.by_name: dict[str, Row] = {}
        self._name_of = name_of

    def replace(self, gone: Iterable[int], rows: Iterable[Row]) -> None:
        """Take out the rows with these ids, put in these rows (which replace rows of the same id)."""
        rows = list(rows)
        for row_id in [*gone, *(row.id for row in rows)]:
            old = self.by_id.pop(row_id, None)
            if old is not None:
                self.by_name.pop(self._name_of(old), None)
        for row in rows:
            self.by_id[row.id] = row
            self.by_name[self._name_of(row)] = row


class Snapshot:
    """Everything decisions depend on, at one revision.

    It is changed in place while others read. That is safe because nobody's answer counts unless the revision they
    read first is still the database's when the answer is recorded: `revision` is therefore set last.
    """

    def __init__(self, revision: int = 0) -> None:
        self.revision = revision
        self.users: Rows[UserRow] = Rows(lambda user: user.username)
        self.tokens: Rows[TokenRow] = Rows(lambda token: token.hash)
        self.apps: Rows[AppRow] = Rows(lambda app: app.key)
        self.nodes: Rows[NodeRow] = Rows(lambda node: node.node_id)
        self.rules = RuleIndex()


def _keys(rule: RuleRow) -> list[Key]:
    return [(rule.who, rule.user_id or rule.group_id, action) for action in dict.fromkeys(rule.actions)]


def _keys_of(user: UserRow | None, action: str) -> list[Key]:
    if user is None:
        return [("guests", None, action)]
    groups: list[Key] = [("group", group_id, action) for group_id in user.group_ids]
    return [("everyone", None, action), ("user", user.id, action), *groups]
