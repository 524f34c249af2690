"""Why? The same deciding as for a real hook, with what settled it and what nearly did. No side effects."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.auth import hashers
from django.utils import timezone

from apps.access.advice import ADVICE
from apps.access.compile import Snapshot
from apps.access.engine import decide
from apps.access.facts import Facts, Identity, question_of
from apps.access.guesses import Guesses
from apps.access.identity import guest, identify
from apps.access.latest import PATIENCE, at_last_revision
from apps.access.limits_explained import weigh
from apps.access.misses import Miss, Names
from apps.access.models import Rule
from apps.access.nearest import LOOKED_AT, Nearest, nearest
from apps.access.reasons import REASON_TEXTS, Reason
from apps.access.rows import AppRow, UserRow
from apps.access.sentences import deed, moment_text
from apps.access.snapshot import session_of
from apps.access.then import ReadRules, rules_of_today
from apps.connections.rows import SessionRow
from apps.connections.sessions import Sessions
from apps.database.hook_path import hook_database
from apps.live.calls import Calls
from apps.protocol.messages import HookCall
from apps.protocol.policy import consequence
from apps.protocol.screening import screen_text


class NoSuchUser(LookupError):
    """Asked about a user who is not there. The message is a sentence."""


@dataclass(frozen=True)
class Said:
    """A rule as its sentence, what it missed where it only nearly matched, and how much of its limit is used up."""

    id: int
    sentence: str
    missed: str = ""
    used: str = ""


@dataclass(frozen=True)
class Explanation:
    """A decision in words. `found` says how it was found who asks; `target` is as the audit log has it, screened.

    `told` is what WCS is told to change. It may name the source of a stream, or a number.
    """

    method: str
    action: str
    target: str
    user: str
    app: str
    found: str
    allowed: bool
    reason: str
    detail: str
    what_wcs_does: str
    at: str
    revision: int
    what_to_do: str = ""
    rules: list[Said] = field(default_factory=list)
    only_logged: list[Said] = field(default_factory=list)
    near: list[Said] = field(default_factory=list)
    near_cut: str = ""
    told: str = ""

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
            *(f"  Settled by: {rule.sentence}{f' — {rule.used}' if rule.used else ''}" for rule in self.rules),
            *(f"  Only logged: {rule.sentence}" for rule in self.only_logged),
            *(f"  Near: {rule.sentence} — {rule.missed}" for rule in self.near),
            *([f"  {self.near_cut}"] if self.near_cut else []),
            *([f"  What to do: {self.what_to_do}"] if self.what_to_do else []),
            f"  What WCS does: {self.what_wcs_does}",
            *([f"  It is told: {self.told}."] if self.told else []),
        ]
        return "\n".join(lines)


def explain_now(call: HookCall, *, now: datetime, as_user: str = "", as_guest: bool = False) -> Explanation:
    """Explain under the rules of the last commit. Raises NoSuchUser, or Unavailable if the database does not answer."""
    return at_last_revision(
        lambda snapshot: explain(*looked_up(call, snapshot), now=now, as_user=as_user, as_guest=as_guest)
    )


def looked_up(call: HookCall, snapshot: Snapshot) -> tuple[HookCall, Snapshot, SessionRow | None]:
    """A hook as it is decided on, with the number of its call, and the session it happens in. Raises Unavailable."""
    deadline = time.monotonic() + PATIENCE
    session = session_of(call, snapshot, Sessions(hook_database()), deadline)
    return Calls(hook_database()).with_number(call, deadline), snapshot, session


def explain(
    call: HookCall,
    snapshot: Snapshot,
    session: SessionRow | None,
    *,
    now: datetime,
    as_user: str = "",
    as_guest: bool = False,
    rules_then: ReadRules | None = None,
) -> Explanation:
    """Decide as for a real hook and say why.

    With `as_user` or `as_guest`, as if that user or a guest had been recognised. Raises NoSuchUser.
    With `rules_then` the snapshot is one that has gone by; nobody knows what was counted then.
    """
    app = snapshot.apps.by_name.get(call.app_key)
    identity = _identity(call, snapshot, session, app, now=now, as_user=as_user, as_guest=as_guest)
    facts = Facts(now=now, app=app, identity=identity, snapshot=snapshot, session=session)
    return explained(call, facts, rules_then)


def explained(call: HookCall, facts: Facts, rules_then: ReadRules | None = None) -> Explanation:
    """Decide on what is known, and say why."""
    decision, used, used_of_stream = decide(call, facts), dict[int, str](), ""
    if rules_then is None:
        decision, used, used_of_stream = weigh(decision, call, facts)
    identity, question = facts.identity, question_of(call, facts)
    settled_by_none = decision.reason is Reason.NO_RULE and (identity.user is not None or identity.is_guest)
    near = nearest(facts.snapshot.rules, identity.user, question) if settled_by_none else Nearest([], cut=False)
    near_ids = [each.rule.id for each in near.rules]
    rules = (rules_then or rules_of_today)([*decision.rule_ids, *decision.logged_rule_ids, *near_ids])
    return Explanation(
        method=call.wire_name,
        action=call.action,
        target=screen_text(call.target),
        user=identity.user.username if identity.user else _nobodys(identity),
        app=call.app_key,
        found=_found(call, facts),
        allowed=decision.allowed,
        reason=str(decision.reason),
        detail=REASON_TEXTS[decision.reason] + (f" Of the stream itself: {used_of_stream}." if used_of_stream else ""),
        what_wcs_does=consequence(call.method, allowed=decision.allowed),
        told=screen_text(decision.told),
        at=moment_text(facts.now, timezone.get_current_timezone()),
        revision=facts.snapshot.revision,
        what_to_do=ADVICE[decision.reason].text if decision.reason in ADVICE else "",
        rules=[_said(rule_id, rules, used=used.get(rule_id, "")) for rule_id in decision.rule_ids],
        only_logged=[_said(rule_id, rules) for rule_id in decision.logged_rule_ids],
        near=[_said(each.rule.id, rules, each.misses) for each in near.rules],
        near_cut=f"There are more than {LOOKED_AT} rules to look at, so others may be nearer." if near.cut else "",
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


def _found(call: HookCall, facts: Facts) -> str:
    """How it was found who asks; "" where it was not."""
    identity, app, session = facts.identity, facts.app, facts.session
    match identity.entered_by:
        case "asked":
            return "taken as recognised"
        case "recorded":
            opened = session is not None and session.entered_by in ("token", "password")
            return "as it was found then" + (f", in a session opened by a {session.entered_by}" if opened else "")
        case "guest":
            return "as a guest"
        case "token" | "password" | "jwt" | "link" as credential if app is not None:
            in_hook = call.credential(app.token_name) is not None
            word = "signed token (JWT)" if credential == "jwt" else credential
            return f"by the {word} {'in the hook' if in_hook else 'that opened its session'}"
    return ""


def _said(rule_id: int, rules: Mapping[int, Rule], misses: Iterable[Miss] = (), used: str = "") -> Said:
    """A rule in words; by its number alone if it has just been removed."""
    rule = rules.get(rule_id)
    names = _names(rule)
    missed = "; ".join(miss.say(names) for miss in misses)
    return Said(rule_id, str(rule) if rule else f"rule {rule_id}, removed meanwhile", missed, used)


def _names(rule: Rule | None) -> Names:
    zone = timezone.get_current_timezone()
    if rule is None:
        return Names(zone)
    about = (rule.user, rule.group, rule.stream_group, rule.number_class)
    return Names(zone, *(str(row) if row else "" for row in about))
