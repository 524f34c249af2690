"""Which limits stand between a hook and what rules allow. Pure: how much of them is used up, only the database knows.

Limits never allow what rules do not: they are looked at where rules have allowed.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from apps.access.compile import Snapshot
from apps.access.networks import parse_address
from apps.access.rows import Limits, RuleRow, StreamRow
from apps.live.counted import rule_key, stream_key, thing, who
from apps.protocol.messages import HookCall
from apps.protocol.methods import MOMENT, PART, RUNS, STREAM_ACTIONS, Extent


class Count(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A limit of a rule, or (without a rule) of a stream, and the key under which leases are counted for it."""

    key: str
    rule_id: int | None = None
    at_once: int | None = None
    per_day: int | None = None
    per_month: int | None = None
    minutes_per_day: int | None = None
    minutes_per_month: int | None = None
    overflow: str = "refuse"

    @property
    def only_at_once(self) -> bool:
        """Whether it is enough to count what runs."""
        return not (self.per_day or self.per_month or self.minutes_per_day or self.minutes_per_month)


class Counts(msgspec.Struct, frozen=True, gc=False):
    """The limits that must have room: one of `any_of`, where there are any, and all of `all_of`."""

    any_of: tuple[Count, ...] = ()
    all_of: tuple[Count, ...] = ()


NOTHING_COUNTED = Counts()


def limits_for(
    call: HookCall, username: str, allows: Sequence[RuleRow], snapshot: Snapshot
) -> tuple[Sequence[RuleRow], Counts | None]:
    """Of these allowing rules those that let the hook in, and the limits to look at first; None where there are none.

    A rule without a limit lets in whatever other rules say; of several with limits, the oldest that has room does.
    """
    extent = call.method.extent if call.method is not None else MOMENT
    unlimited = [rule for rule in allows if _that_matter(rule.limits, extent) is None]
    most = _most_at_once(call, snapshot) if extent is RUNS else None
    if most is None and (unlimited or not allows):
        return unlimited, None
    what = thing_of(call, snapshot)
    oldest_first = () if unlimited else sorted(allows, key=lambda rule: rule.id)
    any_of = tuple(_count(rule, _that_matter(rule.limits, extent), call, username, what) for rule in oldest_first)
    all_of = () if most is None else (Count(key=stream_key(call.action, what), at_once=most),)
    return unlimited or allows, Counts(any_of, all_of)


def thing_of(call: HookCall, snapshot: Snapshot) -> str:
    """The one name that limits know the target by."""
    stream = snapshot.streams.by_name.get(call.target) if call.action in STREAM_ACTIONS else None
    return thing(call.action, call.target, stream.source if stream else "", snapshot.plan)


def who_of(call: HookCall, username: str) -> str:
    """The one name that limits know the person by."""
    address = parse_address(call.client_address)
    return who(username, str(address) if address is not None else "")


def _that_matter(limits: Limits | None, extent: Extent) -> Limits | None:
    """What of a rule's limits concerns such a hook; None for nothing.

    What is over at once never runs, and lasts no time. What belongs to something that runs was counted when that
    began, but time may be up.
    """
    if limits is None or extent is RUNS:
        return limits
    if extent is PART:
        matter = replace(limits, at_once=None, per_day=None, per_month=None)
        return matter if matter.minutes_per_day or matter.minutes_per_month else None
    matter = replace(limits, at_once=None, minutes_per_day=None, minutes_per_month=None)
    return matter if matter.per_day or matter.per_month else None


def _count(rule: RuleRow, limits: Limits | None, call: HookCall, username: str, what: str) -> Count:
    assert limits is not None  # noqa: S101 - else there is nothing to count; this is for the type checker
    return Count(
        key=rule_key(rule.id, limits.per, call.action, who_of(call, username), what),
        rule_id=rule.id,
        at_once=limits.at_once,
        per_day=limits.per_day,
        per_month=limits.per_month,
        minutes_per_day=limits.minutes_per_day,
        minutes_per_month=limits.minutes_per_month,
        overflow=limits.overflow,
    )


def _most_at_once(call: HookCall, snapshot: Snapshot) -> int | None:
    """What the stream itself limits. Where several names stand for one source, or a name for a stream of the list, the
    lowest number counts."""
    if not snapshot.streams.limited or call.action not in STREAM_ACTIONS:
        return None
    stream = snapshot.streams.by_name.get(call.target)
    names, _ = snapshot.streams.known_as(stream.source if stream and stream.source else call.target)
    rows = [row for name in names if (row := snapshot.streams.by_name.get(name)) is not None]
    return min([number for row in rows if (number := _most(row, call.action)) is not None], default=None)


def _most(stream: StreamRow, action: str) -> int | None:
    return stream.max_publishers if action == "publish" else stream.max_viewers
