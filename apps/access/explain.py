"""Why? The same deciding as for a real hook, with what settled it and what nearly did. No side effects."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from apps.access.compile import Snapshot, matches_glob
from apps.access.engine import decide
from apps.access.facts import Facts, Identity
from apps.access.models import Rule
from apps.access.reasons import REASON_TEXTS
from apps.access.rows import AppRow, RuleRow, UserRow
from apps.access.snapshot import facts_for
from apps.connections.rows import SessionRow
from apps.protocol.messages import HookCall

MOST_NEAR = 5
_FOUND = {"token": "by a token", "password": "by login and password", "guest": "as a guest"}


@dataclass(frozen=True)
class Explanation:
    """A decision in words. Rules are their sentences; `near` says of each what it missed."""

    method: str
    action: str
    target: str
    user: str
    found: str
    allowed: bool
    reason: str
    detail: str
    revision: int
    rules: list[str] = field(default_factory=list)
    only_logged: list[str] = field(default_factory=list)
    near: list[dict[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        who = f"{self.user or 'Nobody'}{f' ({self.found})' if self.found else ''}"
        what = f"asks to {self.action}" if self.action else "sends"
        lines = [
            f"{'Allowed' if self.allowed else 'Refused'}: {self.reason}. {self.detail}",
            f"{who} {what} {f'“{self.target}” ' if self.target else ''}by {self.method}, "
            f"under the rules of revision {self.revision}.",
            *(f"  Settled by: {rule}" for rule in self.rules),
            *(f"  Only logged: {rule}" for rule in self.only_logged),
            *(f"  Near: {miss['rule']} — {miss['missed']}" for miss in self.near),
        ]
        return "\n".join(lines)


def explain(
    call: HookCall, snapshot: Snapshot, session: SessionRow | None, *, now: datetime, as_user: UserRow | None = None
) -> Explanation:
    """Decide as for a real hook and say why; with `as_user`, as if that user had been recognised."""
    app = snapshot.apps.by_name.get(call.app_key)
    facts = facts_for(call, snapshot, session, app, now)
    if as_user is not None:
        facts = Facts(now=now, app=app, identity=Identity(user=as_user, entered_by="asked"), rules=snapshot.rules)
    decision = decide(call, facts)
    user = facts.identity.user
    near = [] if decision.allowed or facts.identity.problem else _near(call, facts, user, app)
    sentences = _sentences([*decision.rule_ids, *decision.logged_rule_ids, *(rule_id for rule_id, _ in near)])
    return Explanation(
        method=call.wire_name,
        action=call.action,
        target=call.target,
        user=user.username if user else "a guest" if facts.identity.is_guest else "",
        found=_FOUND.get(facts.identity.entered_by, ""),
        allowed=decision.allowed,
        reason=str(decision.reason),
        detail=REASON_TEXTS[decision.reason],
        revision=snapshot.revision,
        rules=[sentences[rule_id] for rule_id in decision.rule_ids],
        only_logged=[sentences[rule_id] for rule_id in decision.logged_rule_ids],
        near=[{"rule": sentences[rule_id], "missed": missed} for rule_id, missed in near],
    )


def _near(call: HookCall, facts: Facts, user: UserRow | None, app: AppRow | None) -> list[tuple[int, str]]:
    """Allowing rules about this user that miss the hook by just one thing; not those for other actions on anything."""
    if app is None:
        return []
    found = []
    for rule in facts.rules.about(user):
        misses = _misses(rule, call, user, facts.now) if rule.effect == "allow" else []
        other_action = call.action not in rule.actions
        if len(misses) == 1 and not (other_action and rule.target_kind == "any"):
            found.append((rule.id, misses[0]))
    return found[:MOST_NEAR]


def _misses(rule: RuleRow, call: HookCall, user: UserRow | None, now: datetime) -> list[str]:
    misses = []
    if call.action not in rule.actions:
        misses.append(f"it is about {', '.join(rule.actions)}, not {call.action}")
    if not _fits(rule, call.target, user.username if user else None):
        misses.append(f"“{call.target}” is not what it is about")
    if rule.starts_at and now < rule.starts_at:
        misses.append(f"it begins at {rule.starts_at:%Y-%m-%d %H:%M %Z}; now it is {now:%Y-%m-%d %H:%M %Z}")
    if rule.ends_at and now >= rule.ends_at:
        misses.append(f"it ended at {rule.ends_at:%Y-%m-%d %H:%M %Z}; now it is {now:%Y-%m-%d %H:%M %Z}")
    if not rule.enforced:
        misses.append("it is only logged")
    return misses


def _fits(rule: RuleRow, target: str, username: str | None) -> bool:
    match rule.target_kind:
        case "any":
            return True
        case "prefix":
            return target.startswith(rule.target)
        case "glob":
            return matches_glob(tuple(rule.target.split("*")), target, username)
    return target == rule.target


def _sentences(rule_ids: list[int]) -> dict[int, str]:
    rules = Rule.objects.select_related("user", "group", "stream").in_bulk(rule_ids)
    return {rule_id: str(rules.get(rule_id, f"rule {rule_id}, removed meanwhile")) for rule_id in rule_ids}
