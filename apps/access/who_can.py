"""Who can? Whether somebody may do one thing at one moment, while what only a hook tells is not known. Pure.

Networks, pages, media providers, apps, nodes and `custom` are known only when a hook comes. So the engine decides
twice: at best they are what allowing rules ask for, at worst what denying rules ask for. Whoever is allowed even at
worst can; whoever is allowed at best alone can under circumstances, which the rules name.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from functools import cached_property

import msgspec

from apps.access.compile import RuleIndex, Snapshot
from apps.access.engine import decide
from apps.access.facts import Decision, Facts, Identity, question_of
from apps.access.identity import guest
from apps.access.matching import fits
from apps.access.other_ways_in import holder
from apps.access.question import Question
from apps.access.reasons import Reason
from apps.access.rows import AppRow, Conditions, LinkRow, RuleRow, UserRow
from apps.protocol.messages import HookCall
from apps.protocol.methods import METHODS, STREAM_ACTIONS
from apps.protocol.numbers import hides_digits

FindRules = Callable[[Question], Iterable[RuleRow]]

SOMEBODY = UserRow(0, "")
"""Somebody with an account about whom in particular there is no rule."""


class Verdict(StrEnum):
    """What is to be said about somebody."""

    CAN = "can"
    PERHAPS = "can, under circumstances"
    CANNOT = "cannot"


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A verdict, and the rules that settle it: allows where somebody can, denies where they refuse.

    `unless_ids` are denies that refuse under circumstances. Of somebody refused, `overruled_ids` are allows that fit.
    """

    verdict: Verdict
    reason: Reason
    rule_ids: tuple[int, ...] = ()
    unless_ids: tuple[int, ...] = ()
    overruled_ids: tuple[int, ...] = ()


class Asked:
    """One thing to do at one moment, under these rules; to be asked about anybody whom they may be about.

    What is found holds only as long as the database's revision is `revision`.
    `allows` and `denies` are what is known of the rules: allows that fit under some circumstances, denies that fit
    under all.
    """

    def __init__(self, call: HookCall, now: datetime, snapshot: Snapshot, rules_of: FindRules) -> None:
        self.revision = snapshot.revision  # read before anything else of it: see Snapshot
        self.call, self.now, self.snapshot = call, now, snapshot
        self._app = self._find_app()
        somebody = Facts(now=now, app=self._app, identity=self._identity(SOMEBODY), snapshot=snapshot)
        self.question: Question = question_of(call, somebody)
        found = tuple(rules_of(self.question))
        denies = [
            rule for also in self._also_asked(found, somebody) for rule in rules_of(also) if rule.effect != "allow"
        ]
        self.rules = tuple({rule.id: rule for rule in (*found, *denies)}.values())
        known = [(self.what_is_known(rule), rule) for rule in self.rules]
        self.allows = tuple(rule for rule, _ in known if rule.effect == "allow")
        self.denies = tuple(rule for rule, whole in known if rule.effect != "allow" and rule == whole)
        self._at_best = snapshot.with_rules(RuleIndex((*self.allows, *self.denies)))
        at_worst = [rule for rule, whole in known if rule.effect != "allow" or rule == whole]
        same = all(rule == whole for rule, whole in known)
        self._at_worst = self._at_best if same else snapshot.with_rules(RuleIndex(at_worst))

    def _also_asked(self, found: Iterable[RuleRow], somebody: Facts) -> Iterator[Question]:
        """What else must not be denied: the source behind a public name, a call to where a transfer goes, and whatever
        a rule has called instead."""
        stream = self.snapshot.streams.by_name.get(self.call.target) if self.call.action in STREAM_ACTIONS else None
        if stream and stream.source:
            yield question_of(self.call, somebody, stream.source)
        if self.call.action == "transfer":
            yield msgspec.structs.replace(self.question, action="call")
        if self.call.method is not None and self.call.method.dials:
            callees = {rule.rewrites.callee for rule in found if rule.rewrites is not None}
            yield from (question_of(self.call, somebody, callee) for callee in sorted(callees - {""}))

    def about(self, user: UserRow | None) -> Answer:
        """The answer for one user (None: a guest), by the engine itself."""
        active = msgspec.structs.replace(user, active=True) if user else None
        return self._answer(self._identity(user), self._identity(active))

    def about_holder(self, link: LinkRow) -> Answer:
        """The answer for whoever holds a link."""
        identity = holder(link, self.call, self.snapshot, now=self.now)
        return self._answer(identity, identity)

    def links(self) -> list[LinkRow]:
        """Links whose holders may do this: it is what they are for, and they are good."""
        links = [link for link in list(self.snapshot.links.by_id.values()) if link.action == self.call.action]
        return [link for link in links if holder(link, self.call, self.snapshot, now=self.now).problem is None]

    def without_rules(self, *, active: bool = True) -> Decision:
        """What is decided before any rule: allowed for a protected number or an app that is started by REST API."""
        somebody = msgspec.structs.replace(SOMEBODY, active=active)
        return self._decide(self._identity(somebody), self.snapshot.with_rules(RuleIndex()))

    def hides_digits(self) -> bool:
        """Whether only those can whom a rule has another number called: in this one others could be read."""
        return self.call.method is not None and bool(self.call.method.dials) and hides_digits(self.call.target)

    def _answer(self, identity: Identity, if_active: Identity) -> Answer:
        worst = self._decide(identity, self._at_worst)
        if worst.allowed:
            return Answer(Verdict.CAN, worst.reason, worst.rule_ids)
        best = self._decide(identity, self._at_best)
        if best.allowed:
            unless = worst.rule_ids if worst.reason is Reason.DENIED_BY_RULE else ()
            return Answer(Verdict.PERHAPS, best.reason, best.rule_ids, unless)
        allowed = self._decide(if_active, self._with_allows_alone)
        return Answer(Verdict.CANNOT, best.reason, best.rule_ids, (), allowed.rule_ids if allowed.allowed else ())

    def what_is_known(self, rule: RuleRow) -> RuleRow:
        """The rule with those conditions alone that can be told now. One that cannot be read stays: it raises."""
        if rule.conditions is None:
            return rule
        unreadable = any(not comparison.operator for comparison in rule.conditions.custom)
        known = Conditions(
            schedule=rule.conditions.schedule,
            apps=rule.conditions.apps if self.call.action == "connect" else (),
            custom=rule.conditions.custom if unreadable else (),
        )
        return msgspec.structs.replace(rule, conditions=known)

    @cached_property
    def _with_allows_alone(self) -> Snapshot:
        return self.snapshot.with_rules(RuleIndex(self.allows))

    def _decide(self, identity: Identity, snapshot: Snapshot) -> Decision:
        return decide(self.call, Facts(now=self.now, app=self._app, identity=identity, snapshot=snapshot))

    def _identity(self, user: UserRow | None) -> Identity:
        if user is not None:
            return Identity(user=user, entered_by="asked")
        return guest(self._app) if self._app else Identity()

    def _find_app(self) -> AppRow | None:
        """The app that a client connects to; for all else some app, which welcomes guests if any does."""
        apps = self.snapshot.apps
        if self.call.action == "connect":
            return apps.by_name.get(self.call.app_key)
        return AppRow(0, "", guests=any(app.guests for app in list(apps.by_id.values())))


def asked_of_anybody(action: str, target: str, now: datetime, snapshot: Snapshot) -> Asked:
    """The question with every rule that may be about it, whomever the rule is about."""

    def rules_of(question: Question) -> list[RuleRow]:
        return [rule for rule in snapshot.rules.about_anybody(question) if _may_fit(rule, question, snapshot)]

    return Asked(hook_about(action, target), now, snapshot, rules_of)


def asked_of(user: UserRow | None, action: str, target: str, now: datetime, snapshot: Snapshot) -> Answer:
    """The answer for one user (None: a guest), without a look at rules about others."""

    def rules_of(question: Question) -> list[RuleRow]:
        return snapshot.rules.candidates(user, question)

    return Asked(hook_about(action, target), now, snapshot, rules_of).about(user)


def hook_about(action: str, target: str) -> HookCall:
    """A hook that attempts this action, of which nothing else is known."""
    method = next(row for row in METHODS if row.action == action and row.refusable)
    named = {method.target[0]: target} if method.target else {}
    body = json.dumps({"nodeId": "who-can", "sessionId": "who-can", **named})
    call = HookCall.from_payload(method.name, method, body.encode())
    return msgspec.structs.replace(call, target=target) if method.of_call else call


def is_personal(rule: RuleRow) -> bool:
    """Whether it depends on the user's name what the rule is about."""
    return rule.target_kind == "glob" and "{user}" in rule.target


def _may_fit(rule: RuleRow, question: Question, snapshot: Snapshot) -> bool:
    """Whether a rule fits somebody. One of an unknown kind may: deciding counts it where it denies."""
    if is_personal(rule):
        if rule.who == "guests":
            return False
        user = snapshot.users.by_id.get(rule.user_id or 0)
        if user is not None:
            question = msgspec.structs.replace(question, username=user.username)
        else:
            rule = msgspec.structs.replace(rule, target=rule.target.replace("{user}", "*"))
    try:
        return fits(rule, question)
    except ValueError:
        return True
