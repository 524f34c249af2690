"""Readers of the values in an access file. Each gives a checked value, or notes the problem and raises Bad.

Small readers make bigger ones: `listing(text)` reads a list of texts.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import yaml
from django.contrib.auth.hashers import identify_hasher
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.dateparse import parse_date, parse_datetime
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from apps.access.file_problems import Bad, Place
from apps.access.file_yaml import described, kind
from apps.accounts.models import User
from apps.accounts.validators import SENSIBLE
from apps.connections.jwks import MIN_SECRET_LENGTH
from apps.connections.sealing import is_sealed
from apps.protocol.methods import ACTIONS

NO_PASSWORD = "!"  # noqa: S105 - how Django writes that a user has none

Read = Callable[[Node, Place], Any]


class Entry(dict[str, Any]):
    """The values that were given, by key. What is not given is not in it, and means: leave it as it is.

    `given` are the keys of the file, those with a value that cannot be used too.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.given: set[str] = set()


# Single values


def text(node: Node, place: Place) -> str:
    """Text, and nothing that YAML takes for something else. The value is not repeated: it may be a secret."""
    if kind(node) != "str":
        raise place.problem(f"expected text, not {described(node)}" + "; put it in quotes" * _is_scalar(node))
    if "\0" in node.value:
        raise place.problem("must not contain the character U+0000")
    return str(node.value)


def flag(node: Node, place: Place) -> bool:
    value = yaml.SafeLoader.bool_values.get(str(node.value).lower()) if kind(node) == "bool" else None
    if value is None:
        raise place.problem("expected true or false")
    return bool(value)


def moment(node: Node, place: Place) -> datetime:
    """A date and time with a time zone."""
    raw = node.value if _is_scalar(node) else ""
    at = None
    with suppress(ValueError):
        at = parse_datetime(raw)
    if not (at and at.tzinfo):
        unlike = f", not “{raw}”" if raw else ""
        raise place.problem(f"expected a date and time with a time zone, like 2030-01-01T00:00:00Z{unlike}")
    first, last = SENSIBLE
    if not first <= at <= last:
        raise place.problem(f"expected a date from {first.year} on and before {last.year}, not “{raw}”")
    return at.astimezone(UTC)


def day(node: Node, place: Place) -> date:
    """A date, as 2026-12-25."""
    found = None
    with suppress(ValueError):
        found = parse_date(node.value if _is_scalar(node) else "")
    if found is None:
        raise place.problem("expected a date, like 2026-12-25")
    return found


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


def shared_secret(node: Node, place: Place) -> str:
    value = text(node, place)
    if len(value.encode()) < MIN_SECRET_LENGTH:
        raise place.problem(f"expected a secret of at least {MIN_SECRET_LENGTH} characters")
    return value


def link_code(node: Node, place: Place) -> str:
    """The code of a link, as export_access writes it."""
    value = text(node, place)
    if not re.fullmatch("[A-Za-z0-9_-]{1,32}", value):
        raise place.problem("expected the code of a link, of at most 32 letters, digits, - and _")
    return value


def username(node: Node, place: Place) -> str:
    return User.normalize_username(of(User, "username")(node, place))


def in_order(actions: Iterable[str]) -> list[str]:
    """Actions as a set, in the order of the table."""
    given = set(actions)
    return [action for action in ACTIONS if action in given]


# Text that a model accepts


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


def count(model: type[models.Model], name: str) -> Read:
    """A whole number that this field of the model accepts."""
    column = model._meta.get_field(name)

    def read(node: Node, place: Place) -> int:
        if kind(node) != "int":
            raise place.problem(f"expected a whole number, not {described(node)}")
        try:
            return column.clean(int(node.value), None)
        except (ValueError, ValidationError) as error:
            raise place.problem(" ".join(getattr(error, "messages", ["expected a whole number"]))) from None

    return read


# Values made of others


def or_none(read: Read) -> Read:
    return lambda node, place: None if kind(node) == "null" else read(node, place)


def listing(read: Read, *, at_most: int | None = None) -> Read:
    def read_list(node: Node, place: Place) -> list[Any]:
        if not isinstance(node, SequenceNode):
            raise place.problem(f"expected a list, like [a, b], not {described(node)}")
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
    return lambda node, place: [] if kind(node) == "null" else listing(read)(node, place)


def mapping(
    keys: Mapping[str, Read], needed: tuple[str, ...] = (), either: tuple[tuple[str, str], ...] = ()
) -> Callable[[Node, Place], Entry]:
    """Keys with values. Of each two keys in `either` at most one may be given."""

    def read(node: Node, place: Place) -> Entry:
        if not isinstance(node, MappingNode):
            raise place.problem(f"expected keys with values, not {described(node)}")
        entry = Entry(place)
        for key_node, value_node in node.value:
            key = key_node.value if _is_scalar(key_node) else "?"
            if key not in keys:
                place.key(key).problem(f"unknown key; known here: {', '.join(keys)}")
            elif key in entry.given:
                place.key(key).problem("is given twice")
            else:
                entry.given.add(key)
                with suppress(Bad):
                    entry[key] = keys[key](value_node, place.key(key))
        for key in needed:
            if key not in entry.given:
                place.key(key).problem("is missing")
        for one, other in either:
            if entry.given.issuperset((one, other)):
                place.problem(f"give {one} or {other}, not both")
        return entry

    return read


def choice(words: tuple[str, ...], keys: Mapping[str, Read], example: str) -> Read:
    """One of these words, or a mapping with one of these keys; read as (word or key, value)."""

    def read(node: Node, place: Place) -> tuple[str, str]:
        if isinstance(node, MappingNode) and len(node.value) == 1:
            entry = mapping(keys)(node, place)
            if not entry:
                raise Bad
            return next(iter(entry.items()))
        if _is_scalar(node) and node.value in words:
            return node.value, ""
        raise place.problem(f"expected {example}")

    return read


def _is_scalar(node: Node) -> bool:
    return isinstance(node, ScalarNode)
