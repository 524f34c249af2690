"""What is changed of what was asked for: by allowing rules, and where a stream is known by a public name. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from apps.access.compile import Streams
from apps.access.rows import Rewrites, RuleRow
from apps.protocol.messages import ABSENT, HookCall
from apps.protocol.methods import Method
from apps.protocol.policy import Hiding
from apps.protocol.screening import screen_source

NO_CHANGES = Rewrites()
_NOT_ASKED = (ABSENT, msgspec.Raw(b"null"))


class Change(msgspec.Struct, frozen=True, gc=False):
    """A member of our answer that differs from what came. `came` is its JSON text, "" where there was none."""

    member: str
    value: str | int | bool
    came: str

    def __str__(self) -> str:
        """For example: width 640 instead of 1920. A source keeps its login to itself."""
        value = screen_source(self.value) if isinstance(self.value, str) else self.value
        return f"{self.member} {_written(value)}" + (f" instead of {self.came}" if self.came else "")


def strictest(rules: Iterable[RuleRow]) -> Rewrites | None:
    """What these rules change together, whatever their order: each cap is the lowest, recording is off where one rule
    says so, and the callee is that of the oldest rule that has one. None where nothing is changed.
    """
    found = [rule for rule in rules if rule.rewrites is not None]
    if not found:
        return None
    rewrites = [rule.rewrites for rule in sorted(found, key=lambda rule: rule.id) if rule.rewrites is not None]
    records = {one.record for one in rewrites} - {""}
    return Rewrites(
        record="off" if "off" in records else "on" if records else "",
        max_width=_lowest(one.max_width for one in rewrites),
        max_height=_lowest(one.max_height for one in rewrites),
        max_bitrate=_lowest(one.max_bitrate for one in rewrites),
        callee=next((one.callee for one in rewrites if one.callee), ""),
    )


def changes_of(call: HookCall, rewrites: Rewrites | None, streams: Streams) -> tuple[Change, ...]:
    """What WCS is told to do otherwise than it was asked, in the order of the method's table row.

    Nothing, for methods of which WCS would take nothing from our answer.
    """
    method = call.method
    if method is None or not method.overwrite or (rewrites is None and call.target not in streams.by_name):
        return ()
    wanted = dict(_wanted(call, method, rewrites or NO_CHANGES, streams))
    return tuple(wanted[member] for member in method.overwrite if member in wanted)


def dialled(method: Method, changes: Iterable[Change]) -> str:
    """The number that is called, or written to, instead of the one asked for; "" where it is that one."""
    return next((str(change.value) for change in changes if change.member == method.dials), "")


def needed(method: Method, changes: Iterable[Change]) -> Hiding:
    """What the policy of a session must do, so that these changes are made and the client does not learn of them."""
    hiding = Hiding(0)
    for change in changes:
        hiding |= Hiding.REWRITES
        if change.member in method.shows_source:
            hiding |= Hiding.SOURCES
        if change.member in method.shows_number:
            hiding |= Hiding.NUMBERS
    return hiding


def _wanted(call: HookCall, method: Method, rewrites: Rewrites, streams: Streams) -> Iterator[tuple[str, Change]]:
    wire = call.wire
    if "name" in method.overwrite and (source := _source(call, streams)):
        yield "name", _text_change("name", source, call.target)
    if method.dials and rewrites.callee and rewrites.callee != call.target:
        yield method.dials, _text_change(method.dials, rewrites.callee, call.target)
    if rewrites.record and _is_true(wire.record) is not (rewrites.record == "on"):
        yield "record", Change("record", rewrites.record == "on", _came(wire.record))
    caps = (
        ("width", rewrites.max_width, wire.width),
        ("height", rewrites.max_height, wire.height),
        ("bitrate", rewrites.max_bitrate, wire.bitrate),
    )
    for member, cap, came in caps:
        if cap is not None and not _is_within(came, cap):
            yield member, Change(member, cap, _came(came))


def _source(call: HookCall, streams: Streams) -> str:
    """What a stream is really called; "" where that is its name. Nobody publishes to an address."""
    stream = streams.by_name.get(call.target)
    if stream is None or stream.source == call.target or (call.action == "publish" and "://" in stream.source):
        return ""
    return stream.source


def _is_within(came: msgspec.Raw, cap: int) -> bool:
    """Whether this is a number that the cap allows. Nothing and 0 ask for no size at all, which may be any."""
    try:
        return 0 < msgspec.json.decode(came, type=float) <= cap
    except (msgspec.DecodeError, msgspec.ValidationError):
        return False


def _is_true(came: msgspec.Raw) -> bool | None:
    """None for what is neither true nor false, and so has to be changed whatever is wanted."""
    if came in (*_NOT_ASKED, msgspec.Raw(b"false")):
        return False
    return True if came == msgspec.Raw(b"true") else None


def _text_change(member: str, value: str, came: str) -> Change:
    return Change(member, value, _written(came) if came else "")


def _came(raw: msgspec.Raw) -> str:
    return bytes(raw).decode(errors="replace")


def _written(value: str | int | bool) -> str:
    return f"“{value}”" if isinstance(value, str) else str(value).lower()


def _lowest(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)
