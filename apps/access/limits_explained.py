"""What limits make of a decision, for whoever asks why. Counts as a hook would, and changes nothing."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q
from msgspec.structs import replace

from apps.access.facts import Decision, Facts
from apps.access.limiting import Count, thing_of, who_of
from apps.access.reasons import Reason
from apps.access.rewriting import dialled
from apps.access.rows import RuleRow
from apps.live.counted import rule_key, who
from apps.live.models import Lease
from apps.live.told import lease_key
from apps.live.usage import Used, used, used_of
from apps.protocol.messages import HookCall

_MEASURES = (
    ("at_once", "{used} of {most} run at once"),
    ("per_day", "{used} of {most} today"),
    ("per_month", "{used} of {most} this month"),
    ("minutes_per_day", "{used} of {most} minutes today"),
    ("minutes_per_month", "{used} of {most} minutes this month"),
)


def weigh(decision: Decision, call: HookCall, facts: Facts) -> tuple[Decision, dict[int, str], str]:
    """The decision once its limits are counted; for each rule with a limit how much of it is used up, and the same for
    the limit of the stream itself, "" where it has none. What runs already is not counted against itself.
    """
    if decision.counts is None:
        return decision, {}, ""
    counts = decision.counts
    of_rules = [(count, used(count.key, facts.now)) for count in counts.any_of]
    of_stream = [(count, used(count.key, facts.now)) for count in counts.all_of]
    words = {count.rule_id: _words(count, many) for count, many in of_rules if count.rule_id is not None}
    running = _runs(call, facts, decision)
    if running is None:
        settled = _settled(decision, of_rules, of_stream)
    elif _time_is_up(call, running, of_rules):
        settled = _refused(decision)
    else:
        settled = replace(decision, counts=None)
    return settled, words, "; ".join(_words(count, many) for count, many in of_stream)


def used_by(username: str, rules: Iterable[RuleRow], now: datetime) -> dict[int, str]:
    """How much of the limits of these rules a user has used up, or all whom a rule is about together; by rule.

    Nothing of those that count for each target by itself: that depends on what is asked for.
    """
    counts = {}
    for rule in rules:
        if rule.limits is not None and rule.limits.per != "target":
            action = "connect" if set(rule.actions) == {"connect"} else ""
            key = rule_key(rule.id, rule.limits.per, action, who(username, ""), "")
            measures = {name: getattr(rule.limits, name) for name, _ in _MEASURES}
            counts[rule.id] = Count(key=key, rule_id=rule.id, **measures, overflow=rule.limits.overflow)
    many = used_of([count.key for count in counts.values()], now) if counts else {}
    return {id_: _words(count, many[count.key]) for id_, count in counts.items()}


def _settled(decision: Decision, of_rules: list[tuple[Count, Used]], of_stream: list[tuple[Count, Used]]) -> Decision:
    """As audit_admit settles it (apps/audit/migrations/0004_admission.py); a test compares the two."""
    refused = _refused(decision)
    if any(_full(count, many) for count, many in of_stream):
        return replace(refused, rule_ids=())
    if not of_rules:
        return replace(decision, counts=None)
    with_room = [count.rule_id for count, many in of_rules if not _full(count, many)]
    making_room = [
        count.rule_id
        for count, many in of_rules
        if count.overflow == "end-oldest" and not _full(replace(count, at_once=None), many)
    ]
    lets_in = next((rule_id for rule_id in (*with_room, *making_room) if rule_id is not None), None)
    return replace(decision, rule_ids=(lets_in,), counts=None) if lets_in is not None else refused


def _refused(decision: Decision) -> Decision:
    return replace(decision, allowed=False, reason=Reason.LIMIT_REACHED, rewrites=None, counts=None)


def _time_is_up(call: HookCall, rule_ids: list[int], of_rules: list[tuple[Count, Used]]) -> bool:
    """Whether none of the rules that let in what runs has minutes left; asked only of what nobody hears to end."""
    letting_in = [(count, many) for count, many in of_rules if count.rule_id in rule_ids]
    minutes = [_full(replace(count, at_once=None, per_day=None, per_month=None), many) for count, many in letting_in]
    return call.method is not None and call.method.end_unreported and bool(minutes) and all(minutes)


def _runs(call: HookCall, facts: Facts, decision: Decision) -> list[int] | None:
    """The rules that let in that very thing before, if it runs, as audit_admit finds it; else None."""
    key, rule_ids = (
        lease_key(call.method, call.media_session_id, call.call_id, call.session_id),
        list(decision.rule_ids),
    )
    if not key:
        return None
    same = Lease.objects.filter(
        Q(rule_ids__overlap=rule_ids) | Q(rule_ids=rule_ids),  # a link's holder is let in by no rule
        node_id=call.node_id,
        session_id=call.session_id,
        key=key,
        action=call.action,
        dialled=dialled(call.method, decision.changes) if call.method else "",
        thing=thing_of(call, facts.snapshot),
        who=who_of(call, facts.identity.user.username if facts.identity.user else ""),
        cut=None,
    )
    return same.running(facts.now).order_by("-id").values_list("rule_ids", flat=True).first()


def _full(count: Count, many: Used) -> bool:
    limits = ((getattr(count, name), getattr(many, name)) for name, _ in _MEASURES)
    return any(most is not None and so_many >= most for most, so_many in limits)


def _words(count: Count, many: Used) -> str:
    """For example: 2 of 2 run at once, 7 of 10 today."""
    said = [
        words.format(used=f"{float(getattr(many, name)):.0f}", most=getattr(count, name))
        for name, words in _MEASURES
        if getattr(count, name) is not None
    ]
    if count.overflow == "end-oldest" and count.at_once is not None and many.at_once >= count.at_once:
        said.append("the oldest would be ended")
    return ", ".join(said)
