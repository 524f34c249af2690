"""The rows that decisions depend on, as plain values. Pure: no Django, no database."""

from datetime import datetime

import msgspec

from apps.access.comparisons import Comparison
from apps.access.schedules import Schedule
from apps.connections.jwks import VerifyingKey

FROM_CLAIMS = 0
"""The id of a user who has no row here, and is known from what a token says alone."""


class UserRow(msgspec.Struct, frozen=True, gc=False):
    """A user, as far as deciding needs to know. `password` is Django's encoded hash, "" for none.

    What was issued to them, or opened by them, before `revoked_before` is worth nothing.
    """

    id: int
    username: str
    active: bool = True
    password: str = ""
    group_ids: tuple[int, ...] = ()
    revoked_before: datetime | None = None

    def __repr__(self) -> str:
        return f"UserRow({self.username})"


class GroupRow(msgspec.Struct, frozen=True, gc=False):
    """A group, which tokens of others may name."""

    id: int
    name: str


class TokenRow(msgspec.Struct, frozen=True, gc=False):
    """A token, by its hash. Empty tuples mean: not limited.

    `used_by` are the node id and session id that a token for single use was used by. That it is None proves nothing:
    using a token raises no revision, so whoever uses it asks again while recording.
    """

    id: int
    user_id: int
    hash: str
    expires_at: datetime | None = None
    networks: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    issued_at: datetime | None = None
    single_use: bool = False
    used_by: tuple[str, ...] | None = None


class IssuerRow(msgspec.Struct, frozen=True, gc=False):
    """Who signs tokens (JWT) that are accepted here; with what, and which of its claims say what. "" for none."""

    id: int
    issuer: str
    audience: str = ""
    algorithms: tuple[str, ...] = ()
    keys: tuple[VerifyingKey, ...] = ()
    leeway: int = 0
    user_claim: str = "sub"
    groups_claim: str = ""
    streams_claim: str = ""
    actions_claim: str = ""
    accepts_unknown: bool = False
    active: bool = True

    def __repr__(self) -> str:
        return f"IssuerRow({self.issuer})"


class LinkRow(msgspec.Struct, frozen=True, gc=False):
    """A link to one stream, by its code. `signatures` are those that a token of it may end with."""

    id: int
    code: str
    stream: str
    action: str
    ends_at: datetime
    active: bool = True
    issued_at: datetime | None = None
    made_by_id: int | None = None
    signatures: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"LinkRow({self.id})"


class RevocationRow(msgspec.Struct, frozen=True, gc=False):
    """Everything that was issued or opened before this moment is worth nothing."""

    id: int
    before: datetime | None


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


class StreamRow(msgspec.Struct, frozen=True, gc=False):
    """A stream: its public name, its real source ("" where it is published under its own name), its limits."""

    id: int
    name: str
    source: str = ""
    group_ids: tuple[int, ...] = ()
    max_publishers: int | None = None
    max_viewers: int | None = None


class SipAccountRow(msgspec.Struct, frozen=True, gc=False):
    """The SIP account that a user gets at connect. The password is sealed; "" elsewhere means: as the login, or the
    domain.
    """

    id: int
    user_id: int
    login: str
    authentication_name: str
    password: str
    domain: str
    outbound_proxy: str
    port: int
    visible_name: str
    register: bool

    def __repr__(self) -> str:
        return f"SipAccountRow({self.user_id})"

    @property
    def members(self) -> dict[str, str | int | bool]:
        """The members of a connection that make it up (protocol.md 3.1), but for the password."""
        proxy = self.outbound_proxy or self.domain
        return {
            "sipLogin": self.login,
            "sipAuthenticationName": self.authentication_name or self.login,
            "sipVisibleName": self.visible_name or self.login,
            "sipDomain": self.domain,
            "sipOutboundProxy": proxy,
            "sipPort": self.port,
            "sipRegisterRequired": self.register,
        }

    @property
    def hosts(self) -> tuple[str, str]:
        """How addresses name its domain, in small letters."""
        domain = self.domain.lower()
        return domain, f"{domain}:{self.port}"


class Conditions(msgspec.Struct, frozen=True, gc=False):
    """Circumstances under which alone a rule applies. Empty ones ask for nothing."""

    schedule: Schedule | None = None
    networks: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    media_providers: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    custom: tuple[Comparison, ...] = ()


class Limits(msgspec.Struct, frozen=True, gc=False):
    """How much an allowing rule allows, counted for each user, group or target by itself, or for all together."""

    per: str
    at_once: int | None = None
    per_day: int | None = None
    per_month: int | None = None
    minutes_per_day: int | None = None
    minutes_per_month: int | None = None
    overflow: str = "refuse"


class Rewrites(msgspec.Struct, frozen=True, gc=False):
    """What an allowing rule changes of what was asked for. Empty ones change nothing."""

    record: str = ""
    max_width: int | None = None
    max_height: int | None = None
    max_bitrate: int | None = None
    callee: str = ""


class RuleRow(msgspec.Struct, frozen=True, gc=False):
    """A rule. Where its target is a stream, `target` is that stream's name; `target_id` is a stream group or a number
    class. What few rules have stands apart, so that it costs the others one pointer.
    """

    id: int
    effect: str
    who: str
    actions: tuple[str, ...]
    user_id: int | None = None
    group_id: int | None = None
    target_kind: str = ""
    target: str = ""
    target_id: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    enforced: bool = True
    conditions: Conditions | None = None
    limits: Limits | None = None
    rewrites: Rewrites | None = None
