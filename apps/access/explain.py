"""Why? The same deciding as for a real hook, with what settled it and what nearly did. No side effects."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.auth import hashers
from django.utils import timezone

from apps.access.compile import Snapshot
from apps.access.engine import decide
from apps.access.facts import Facts, Identity, question_of
from apps.access.guesses import Guesses
from apps.access.identity import guest, identify
from apps.access.matching import fits
from apps.access.models import AccessRevision, Rule
from apps.access.question import Question
from apps.access.reasons import REASON_TEXTS, Reason
from apps.access.rows import AppRow, RuleRow, UserRow
from apps.access.sentences import ACTION_WORDS, deed, moment_text
from apps.access.snapshot import snapshot_keeper
from apps.connections.rows import SessionRow
from apps.connections.sessions import Sessions
from apps.database.connection import Unavailable
from apps.database.hook_path import hook_database
from apps.protocol.messages import HookCall
from apps.protocol.policy import consequence
from apps.protocol.screening import screen_text

MOST_NEAR = 5
PATIENCE = 5.0
"""Seconds that somebody who asks why may have to wait."""


class NoSuchUser(LookupError):
    """Asked about a user who is not there. The message is a sentence."""


@dataclass(frozen=True)
class Said:
    """A rule as its sentence, and what it missed where it only nearly matched."""

    id: int
    sentence: str
    missed: str = ""


@dataclass(frozen=True)
class Explanation:
    """A decision in words. `found` says how it was found who asks; `target` is as the audit log has it, screened."""

    method: str
    action: str
    target: str
    user: str
    found: str
    allowed: bool
    reason: str
    detail: str
    what_wcs_does: str
    at: str
    revision: int
    rules: list[Said] = field(default_factory=list)
    only_logged: list[Said] = field(default_factory=list)
    near: list[Said] = field(default_factory=list)

    @property
    def who(self) -> str:
        """Who asks, to begin a sentence with."""
        nobodys = {"": "Somebody unknown", "a guest": "A guest", "a link's holder": "Whoever holds the link"}
        return nobodys.get(self.user, self.user)

    @property
    def verdict(self) -> str:
        """The decision as a sentence, for example: alice may not play “lobby”."""
        if self.reason in (Reason.NOT_REFUSABLE, Reason.UNKNOWN_METHOD):
            return f"{self.method} is never refused."
        return f"{self.who} may {'' if self.allowed else 'not '}{deed(self.action, self.target)}."

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        what = f"asks to {self.action}" if self.action else "sends"
        lines = [
            f"{'Allowed' if self.allowed else 'Refused'}: {self.reason}. {self.detail}",
            f"{self.who}{f' ({self.found})' if self.found else ''} {what} {f'“{self.target}” ' if self.target else ''}"
            f"by {self.method}, under the rules of revision {self.revision}.",
            *(f"  Settled by: {rule.sentence}" for rule in self.rules),
            *(f"  Only logged: {rule.sentence}" for rule in self.only_logged),
            *(f"  Near: {rule.sentence} — {rule.missed}" for rule in self.near),
            f"  What WCS does: {self.what_wcs_does}",
        ]
        return "\n".join(lines)


def explain_now(call: HookCall, *, now: datetime, as_user: str = "", as_guest: bool = False) -> Explanation:
    """Explain under the rules of the last commit, with what this process has in memory.

    As for a hook, what was decided counts only if the revision has not moved on meanwhile.
    Raises NoSuchUser, or Unavailable if the database does not answer in time.
    """
    deadline = time.monotonic() + PATIENCE
    session = Sessions(hook_database()).find(call.node_id, call.session_id, deadline)
    keeper = snapshot_keeper()
    while time.monotonic() < deadline:
        snapshot = keeper.current(deadline)
        revision = snapshot.revision  # read before anything else of it: see Snapshot
        if revision != _last_revision():
            keeper.other_than(revision, deadline)
            continue
        explanation = explain(call, snapshot, session, now=now, as_user=as_user, as_guest=as_guest)
        if revision == _last_revision():
            return explanation
    raise Unavailable("Access kept changing.")


def explain(
    call: HookCall,
    snapshot: Snapshot,
    session: SessionRow | None,
    *,
    now: datetime,
    as_user: str = "",
    as_guest: bool = False,
) -> Explanation:
    """Decide as for a real hook and say why.

    With `as_user` or `as_guest`, as if that user or a guest had been recognised. Raises NoSuchUser.
    """
    app = snapshot.apps.by_name.get(call.app_key)
    identity = _identity(call, snapshot, session, app, now=now, as_user=as_user, as_guest=as_guest)
    facts = Facts(now=now, app=app, identity=identity, snapshot=snapshot, session=session)
    decision = decide(call, facts)
    near = _near(call, facts) if decision.reason is Reason.NO_RULE else {}
    sentences = _sentences([*decision.rule_ids, *decision.logged_rule_ids, *near])
    return Explanation(
        method=call.wire_name,
        action=call.action,
        target=screen_text(call.target),
        user=identity.user.username if identity.user else _nobodys(identity),
        found=_found(call, identity, app),
        allowed=decision.allowed,
        reason=str(decision.reason),
        detail=REASON_TEXTS[decision.reason],
        what_wcs_does=consequence(call.method, allowed=decision.allowed, told=screen_text(decision.told)),
        at=_when(now),
        revision=snapshot.revision,
        rules=[Said(rule_id, sentences[rule_id]) for rule_id in decision.rule_ids],
        only_logged=[Said(rule_id, sentences[rule_id]) for rule_id in decision.logged_rule_ids],
        near=[Said(rule_id, sentences[rule_id], missed) for rule_id, missed in near.items()],
    )


def _identity(
    call: HookCall,
    snapshot: Snapshot,
    session: SessionRow | None,
    app: AppRow | None,
    *,
    now: datetime,
    as_user: str,
    as_guest: bool,
) -> Identity:
    if as_user:
        user = snapshot.users.by_name.get(as_user)
        if user is None:
            raise NoSuchUser(f"There is no user “{as_user}”.")
        return Identity(user=user, entered_by="asked")
    if app is None:
        return Identity()
    if as_guest:
        return guest(app)
    return identify(call, app, session, snapshot, now=now, check_password=_check_password)


_guesses = Guesses(limit=10, seconds=300)


def _check_password(user: UserRow | None, password: str) -> bool:
    """As for a hook, but wrong ones count apart: asking locks no client out, and yet is no way to guess."""
    now, user_id = time.monotonic(), user.id if user else None
    if not _guesses.allows(user_id, now):
        return False
    good = hashers.check_password(password, user.password if user else "")
    if not good:
        _guesses.was_wrong(user_id, now)
    return good


def _nobodys(identity: Identity) -> str:
    """What to call somebody who is no user."""
    return "a guest" if identity.is_guest else "a link's holder" if identity.link else ""


def _found(call: HookCall, identity: Identity, app: AppRow | None) -> str:
    """How it was found who asks; "" where it was not."""
    match identity.entered_by:
        case "asked":
            return "taken as recognised"
        case "guest":
            return "as a guest"
        case "token" | "password" | "jwt" | "link" as credential if app is not None:
            in_hook = call.credential(app.token_name) is not None
            word = "signed token (JWT)" if credential == "jwt" else credential
            return f"by the {word} {'in the hook' if in_hook else 'that opened its session'}"
    return ""


def _near(call: HookCall, facts: Facts) -> dict[int, str]:
    """Allowing rules about this user that miss the hook by just one thing; not those for other actions on anything."""
    found: dict[int, str] = {}
    user, question = facts.identity.user, question_of(call, facts)
    for rule in facts.snapshot.rules.about(user):
        misses = _misses(rule, call, user, question) if rule.effect == "allow" else []
        other_action = call.action not in rule.actions
        if len(misses) == 1 and not (other_action and rule.target_kind == "any"):
            found[rule.id] = misses[0]
            if len(found) == MOST_NEAR:
                break
    return found


def _misses(rule: RuleRow, call: HookCall, user: UserRow | None, question: Question) -> list[str]:
    misses, now = [], question.now
    if call.action not in rule.actions:
        deeds = ", ".join(ACTION_WORDS.get(action, action) for action in rule.actions)
        misses.append(f"it is about: {deeds}; not: {ACTION_WORDS.get(call.action, call.action)}")
    if wrong_target := _target_missed(rule, call.target, user, question):
        misses.append(wrong_target)
    if rule.starts_at and now < rule.starts_at:
        misses.append(f"it begins at {_when(rule.starts_at)}; asked about {_when(now)}")
    if rule.ends_at and now >= rule.ends_at:
        misses.append(f"it ended at {_when(rule.ends_at)}; asked about {_when(now)}")
    if not rule.enforced:
        misses.append("it is only logged")
    return misses


def _target_missed(rule: RuleRow, target: str, user: UserRow | None, question: Question) -> str:
    """How the target differs from what the rule is about; "" where it does not."""
    try:
        if fits(rule, question):
            return ""
    except ValueError as error:  # deciding passes over such a rule, too
        return str(error)
    said = f"“{screen_text(target)}”" if target else "the hook names nothing, so it"
    pattern = rule.target.replace("{user}", user.username) if user and rule.target_kind == "glob" else rule.target
    verb = {"prefix": "does not begin with", "glob": "does not match"}.get(rule.target_kind, "is not")
    return f"{said} {verb} “{pattern}”"


def _when(moment: datetime) -> str:
    return moment_text(moment, timezone.get_current_timezone())


def _sentences(rule_ids: Iterable[int]) -> dict[int, str]:
    rule_ids = list(rule_ids)
    rules = Rule.objects.with_names().in_bulk(rule_ids)
    return {rule_id: str(rules.get(rule_id, f"rule {rule_id}, removed meanwhile")) for rule_id in rule_ids}


def _last_revision() -> int:
    return AccessRevision.objects.values_list("revision", flat=True).first() or 0
