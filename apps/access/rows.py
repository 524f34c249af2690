"""The rows that decisions depend on, as plain values. Pure: no Django, no database."""

from datetime import datetime

import msgspec


class UserRow(msgspec.Struct, frozen=True, gc=False):
    """A user, as far as deciding needs to know. `password` is Django's encoded hash, "" for none."""

    id: int
    username: str
    active: bool = True
    password: str = ""
    group_ids: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"UserRow({self.username})"


class TokenRow(msgspec.Struct, frozen=True, gc=False):
    """A token, by its hash. Empty tuples mean: not limited."""

    id: int
    user_id: int
    hash: str
    expires_at: datetime | None = None
    networks: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


class AppRow(msgspec.Struct, frozen=True, gc=False):
    """A WCS app. `basic` are the values of `Authorization` that are accepted; empty where none is asked for."""

    id: int
    key: str
    guests: bool = False
    token_name: str = "token"  # noqa: S105 - the name of a member
    basic: tuple[bytes, ...] = ()
    networks: tuple[str, ...] = ()
    rest_started: bool = False

    def __repr__(self) -> str:
        return f"AppRow({self.key})"


class NodeRow(msgspec.Struct, frozen=True, gc=False):
    """A WCS node. `secrets` sign its hooks; empty where no signature is asked for."""

    id: int
    node_id: str
    secrets: tuple[bytes, ...] = ()
    networks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"NodeRow({self.node_id})"


class RuleRow(msgspec.Struct, frozen=True, gc=False):
    """A rule. Where its target is a stream, `target` is that stream's name."""

    id: int
    effect: str
    who: str
    actions: tuple[str, ...]
    user_id: int | None = None
    group_id: int | None = None
    target_kind: str = ""
    target: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    enforced: bool = True
