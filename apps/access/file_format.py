"""The access file: from YAML (or JSON) to checked values, and back. Touches no database.

Values are read from YAML's nodes and not from Python objects, so that nothing is guessed: `00` without quotes
is an error and not a 0, a date keeps its time zone. All problems are found in one go, each with its place.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml
from django.contrib.auth.hashers import identify_hasher
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.dateparse import parse_datetime
from yaml.composer import Composer
from yaml.cyaml import CParser, CSafeDumper
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.resolver import Resolver

from apps.access.models import Rule
from apps.accounts.hashing import hash_token
from apps.accounts.models import Token, User
from apps.connections.models import MAX_SECRETS, App
from apps.connections.models import Node as WcsNode
from apps.connections.sealing import is_sealed
from apps.streams.models import Stream

NO_PASSWORD = "!"  # noqa: S105 - how Django writes that a user has none


class AccessFileError(Exception):
    """What is wrong with a file: one sentence for each problem, with its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Bad(Exception):
    """A value that cannot be used; its problem has been noted already."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file something stands. The problems are those of the whole file."""

    name: str = ""
    problems: list[str] = field(default_factory=list)

    def key(self, key: str) -> "Place":
        return Place(f"{self.name}.{key}" if self.name else key, self.problems)

    def item(self, number: int) -> "Place":
        return Place(f"{self.name}[{number}]", self.problems)

    def problem(self, sentence: str) -> Bad:
        """Note a problem; raise what you get where there is no going on without the value."""
        self.problems.append(f"{self.name or 'the file'}: {sentence}")
        return Bad(sentence)


class Entry(dict[str, Any]):
    """The values that were given, by key. What is not given is not in it, and means: leave it as it is."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place


Read = Callable[[Node, Place], Any]


# Single values


def text(node: Node, place: Place) -> str:
    """Text, and nothing that YAML takes for something else. The value is not repeated: it may be a secret."""
    if _kind(node) != "str":
        what = _KINDS.get(_kind(node), "something else")
        raise place.problem(f"expected text, not {what}" + "; put it in quotes" * isinstance(node, ScalarNode))
    if "\0" in node.value:
        raise place.problem("must not contain the character U+0000")
    return str(node.value)


def flag(node: Node, place: Place) -> bool:
    value = yaml.SafeLoader.bool_values.get(str(node.value).lower()) if _kind(node) == "bool" else None
    if value is None:
        raise place.problem("expected true or false")
    return bool(value)


def moment(node: Node, place: Place) -> datetime:
    """A date and time with a time zone."""
    raw = node.value if isinstance(node, ScalarNode) else ""
    with suppress(ValueError, OverflowError):
        at = parse_datetime(raw)
        if at and at.tzinfo:
            return at.astimezone(UTC)
    unlike = f", not “{raw}”" if raw else ""
    raise place.problem(f"expected a date and time with a time zone, like 2030-01-01T00:00:00Z{unlike}")


def token_hash(node: Node, place: Place) -> str:
    value = text(node, place)
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise place.problem("expected the SHA-256 of a token, 64 digits of 0-9a-f")
    return value


def password_hash(node: Node, place: Place) -> str:
    """A password as Django keeps it, or “!” for none."""
    value = text(node, place)
    if value != NO_PASSWORD and kept_password(value) == NO_PASSWORD:
        raise place.problem("expected a password as export_access writes it, or “!” for none")
    return value


def kept_password(encoded: str) -> str:
    """A user's password as files have it: what cannot let anybody in is written as no password."""
    try:
        identify_hasher(encoded)
    except ValueError:
        return NO_PASSWORD
    return encoded


def sealed(node: Node, place: Place) -> str:
    value = text(node, place)
    if not is_sealed(value):
        raise place.problem("cannot be read with the keys in WCSGATE_ENCRYPTION_KEYS")
    return value


# Values made of others


def of(model: type[models.Model], name: str) -> Read:
    """Text that this field of the model accepts."""
    return accepted_by(model._meta.get_field(name))


def texts(model: type[models.Model], name: str) -> Read:
    """A list of texts, each of which the field accepts."""
    return listing(accepted_by(model._meta.get_field(name).base_field))


def accepted_by(column: models.Field) -> Read:
    def read(node: Node, place: Place) -> str:
        value = text(node, place)
        try:
            return column.clean(value, None)
        except ValidationError as error:
            raise place.problem(" ".join(error.messages)) from None

    return read


def username(node: Node, place: Place) -> str:
    return User.normalize_username(of(User, "username")(node, place))


def or_none(read: Read) -> Read:
    return lambda node, place: None if _kind(node) == "null" else read(node, place)


def listing(read: Read, *, at_most: int | None = None) -> Read:
    def read_list(node: Node, place: Place) -> list[Any]:
        if not isinstance(node, SequenceNode):
            raise place.problem(f"expected a list, like [a, b], not {_KINDS.get(_kind(node), 'something else')}")
        if at_most and len(node.value) > at_most:
            raise place.problem(f"expected at most {at_most}, the newest first")
        values = []
        for number, item in enumerate(node.value):
            with suppress(Bad):
                values.append(read(item, place.item(number)))
        return values

    return read_list


def filled(read: Read) -> Read:
    def read_filled(node: Node, place: Place) -> Any:
        if not node.value:
            raise place.problem("must not be empty")
        return read(node, place)

    return read_filled


def section(read: Read) -> Read:
    """A list that may be left empty, as in `users:` with nothing behind it."""
    return lambda node, place: [] if _kind(node) == "null" else listing(read)(node, place)


def mapping(
    keys: Mapping[str, Read], needed: tuple[str, ...] = (), either: tuple[str, str] | None = None
) -> Callable[[Node, Place], Entry]:
    """Keys with values. Of the two keys in `either` at most one may be given."""

    def read(node: Node, place: Place) -> Entry:
        if not isinstance(node, MappingNode):
            raise place.problem(f"expected keys with values, not {_KINDS.get(_kind(node), 'something else')}")
        entry, seen = Entry(place), set()
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else "?"
            if key not in keys:
                place.key(key).problem(f"unknown key; known here: {', '.join(keys)}")
            elif key in seen:
                place.key(key).problem("is given twice")
            else:
                with suppress(Bad):
                    entry[key] = keys[key](value_node, place.key(key))
            seen.add(key)
        for key in needed:
            if key not in seen:
                place.key(key).problem("is missing")
        if either and seen.issuperset(either):
            place.problem(f"give {either[0]} or {either[1]}, not both")
        return entry

    return read


def choice(words: tuple[str, ...], keys: Mapping[str, Read], example: str) -> Read:
    """One of these words, or a mapping with one of these keys; read as (word or key, value)."""

    def read(node: Node, place: Place) -> tuple[str, str]:
        if isinstance(node, MappingNode):
            entry = mapping(keys)(node, place)
            if len(node.value) == 1 and entry:
                return next(iter(entry.items()))
            if len(node.value) == 1:
                raise Bad
        elif isinstance(node, ScalarNode) and node.value in words:
            return node.value, ""
        raise place.problem(f"expected {example}")

    return read


# The file, key by key

TOKEN = mapping(
    {
        "label": of(Token, "label"),
        "token": filled(text),
        "token_hash": token_hash,
        "expires": or_none(moment),
        "networks": texts(Token, "networks"),
        "origins": texts(Token, "origins"),
        "streams": texts(Token, "streams"),
        "actions": texts(Token, "actions"),
    },
    needed=("label",),
    either=("token", "token_hash"),
)
USER = mapping(
    {
        "username": username,
        "password": filled(text),
        "password_hash": password_hash,
        "active": flag,
        "staff": flag,
        "first_name": of(User, "first_name"),
        "last_name": of(User, "last_name"),
        "email": of(User, "email"),
        "groups": listing(of(Group, "name")),
        "tokens": listing(TOKEN),
    },
    needed=("username",),
    either=("password", "password_hash"),
)
APP = mapping(
    {
        "key": of(App, "key"),
        "guests": flag,
        "token_name": of(App, "token_name"),
        "hook_user": of(App, "hook_user"),
        "hook_password": filled(text),
        "hook_passwords_sealed": listing(sealed, at_most=MAX_SECRETS),
        "networks": texts(App, "networks"),
        "rest_started": flag,
        "note": of(App, "note"),
    },
    needed=("key",),
    either=("hook_password", "hook_passwords_sealed"),
)
NODE = mapping(
    {
        "node_id": of(WcsNode, "node_id"),
        "name": of(WcsNode, "name"),
        "secrets": listing(filled(text), at_most=MAX_SECRETS),
        "secrets_sealed": listing(sealed, at_most=MAX_SECRETS),
        "networks": texts(WcsNode, "networks"),
    },
    needed=("node_id",),
    either=("secrets", "secrets_sealed"),
)
STREAM = mapping(
    {
        "name": of(Stream, "name"),
        "owner": or_none(username),
        "source": of(Stream, "source"),
        "note": of(Stream, "note"),
    },
    needed=("name",),
)
_TARGET_TEXT = accepted_by(models.CharField(max_length=Rule._meta.get_field("target").max_length))
RULE = mapping(
    {
        "effect": choice(("allow", "deny"), {}, "allow or deny"),
        "who": choice(
            ("everyone", "guests"),
            {"user": username, "group": of(Group, "name")},
            "everyone, guests, {user: name} or {group: name}",
        ),
        "actions": filled(texts(Rule, "actions")),
        "target": choice(
            ("any",),
            {
                "exact": _TARGET_TEXT,
                "prefix": _TARGET_TEXT,
                "glob": _TARGET_TEXT,
                "stream": of(Stream, "name"),
            },
            "any, or one of {exact: …}, {prefix: …}, {glob: …} and {stream: …}",
        ),
        "from": or_none(moment),
        "until": or_none(moment),
        "enforced": flag,
        "note": of(Rule, "note"),
    },
    needed=("effect", "who", "actions"),
)
FILE = mapping(
    {
        "groups": section(of(Group, "name")),
        "users": section(USER),
        "apps": section(APP),
        "nodes": section(NODE),
        "streams": section(STREAM),
        "rules": or_none(section(RULE)),
    }
)


def read(content: str) -> Entry:
    """The checked values of a file. Raises AccessFileError with everything that is wrong with it."""
    problems: list[str] = []
    try:
        file = FILE(_nodes(content), Place(problems=problems))
    except Bad:
        raise AccessFileError(problems) from None
    _check_periods(file.get("rules") or [])
    _check_said_once(file)
    if problems:
        raise AccessFileError(problems)
    return file


def _check_periods(rules: Iterable[Entry]) -> None:
    for rule in rules:
        try:
            Rule(starts_at=rule.get("from"), ends_at=rule.get("until")).clean()
        except ValidationError as error:
            rule.place.key("until").problem(" ".join(error.messages))


def _check_said_once(file: Entry) -> None:
    """Two entries about the same thing would contradict each other, or hide a slip of the pen."""
    for name, key in (("users", "username"), ("apps", "key"), ("nodes", "node_id"), ("streams", "name")):
        _each_once((entry.place.key(key), entry.get(key)) for entry in file.get(name, []))
    tokens = [(user, token) for user in file.get("users", []) for token in user.get("tokens", [])]
    _each_once((token.place, hash_of(token)) for _, token in tokens)
    _each_once((token.place.key("label"), (user.place.name, token.get("label"))) for user, token in tokens)


def _each_once(things: Iterable[tuple[Place, Any]]) -> None:
    first: dict[Any, Place] = {}
    for place, thing in things:
        if thing and first.setdefault(thing, place) is not place:
            place.problem(f"stands in {first[thing].name} already")


def hash_of(token: Entry) -> str | None:
    """The hash of a token, however it is given."""
    return hash_token(token["token"]) if "token" in token else token.get("token_hash")


# YAML

_KINDS = {
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "timestamp": "a date",
    "str": "text",
    "seq": "a list",
    "map": "keys with values",
}


def _kind(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return node.tag.removeprefix("tag:yaml.org,2002:")
    return "seq" if isinstance(node, SequenceNode) else "map"


class _Loader(Composer, CParser, Resolver):
    """Parses as fast as yaml.CSafeLoader, makes nodes only, and no Python object whatsoever.

    Composing in Python has Python's limit of depth; the one in C crashes on a file of many opening brackets.
    """

    def __init__(self, content: str) -> None:
        CParser.__init__(self, content)
        Composer.__init__(self)
        Resolver.__init__(self)

    def compose_node(self, parent: Node | None, index: Any) -> Node:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not allowed", problem_mark=self.peek_event().start_mark
            )
        return super().compose_node(parent, index)


def _nodes(content: str) -> Node:
    try:
        root = _Loader(_joined_escapes(content)).get_single_node()
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
        hint = "Text with any of * & { } [ ] : # needs quotes."
        raise AccessFileError([f"{where}: this is not YAML: {error.problem}. {hint}"]) from None
    except yaml.YAMLError:
        raise AccessFileError(["the file: contains control characters, so it is not YAML."]) from None
    except RecursionError:
        raise AccessFileError(["the file: is nested too deeply."]) from None
    if root is None:
        raise AccessFileError(["the file: is empty."])
    return root


def _joined_escapes(content: str) -> str:
    r"""JSON is YAML but for one thing: it writes characters beyond U+FFFF as two escapes, \ud83d\ude00."""
    if not content.lstrip().startswith("{"):
        return content
    pair = r"(?<!\\)((?:\\\\)*)((?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})+)"
    return re.sub(pair, lambda match: match[1] + _characters(match[2]), content)


def _characters(escapes: str) -> str:
    units = bytes.fromhex(escapes.replace(r"\u", ""))
    return units.decode("utf-16-be")


class _Dumper(CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    datetime,
    lambda dumper, at: dumper.represent_scalar(
        "tag:yaml.org,2002:timestamp", at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    ),
)


def _represent_text(dumper: _Dumper, value: str) -> ScalarNode:
    """Quoted where some reader of YAML might see a number: 0900 is one to some and text to others."""
    style = "'" if value[:1] in "+-.0123456789" else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _represent_text)


def write(file: Mapping[str, Any]) -> str:
    """Plain values as YAML, short lists and mappings on one line."""
    return yaml.dump(file, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
