"""What allowing rules change of what was asked for. Pure."""

from collections.abc import Iterable

from apps.access.rows import Rewrites, RuleRow


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


def _lowest(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)
