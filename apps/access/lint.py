"""Rules to look at: what is wrong with a rule, as far as it can be proven or plainly seen. Pure.

A finding is no error: the rule decides as it says. Where it cannot be told for sure, there is none.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import msgspec

from apps.access.comparisons import Comparison, holds
from apps.access.networks import is_network
from apps.access.rows import Conditions, RuleRow
from apps.protocol.action_words import ACTION_WORDS, joined
from apps.protocol.methods import ACTIONS_WITH_TARGET, NUMBER_ACTIONS, STREAM_ACTIONS
from apps.protocol.numbers import NumberPlan, prefix

OPENING = frozenset({"publish", "play", "call", "transfer", "message"})
"""Actions that open much where they are allowed on anything."""

_REGEX = re.compile(r"\\[dwsDWSb.]|\.[*+]|\[[^\]]*-[^\]]*\]|\[\^|^\^|\$$|\([^)]*\|[^)]*\)")
"""What means something in a regular expression, and is nothing but text in a rule."""


class Known(msgspec.Struct, frozen=True, gc=False):
    """What there is besides rules, as far as these rules are about it."""

    now: datetime
    plan: NumberPlan
    apps: frozenset[str] = frozenset()
    guests_welcome: bool = False
    nodes: frozenset[str] = frozenset()
    groups_with_members: frozenset[int] = frozenset()
    stream_groups_with_streams: frozenset[int] = frozenset()
    inactive_users: frozenset[int] = frozenset()
    groups_of_user: Mapping[int, tuple[int, ...]] = msgspec.field(default_factory=dict)
    stream_groups_of: Mapping[str, tuple[int, ...]] = msgspec.field(default_factory=dict)


class Finding(msgspec.Struct, frozen=True, gc=False):
    """What is wrong with a rule, and what to do; `other_id` is another rule that has to do with it."""

    rule_id: int
    kind: str
    problem: str
    advice: str
    other_id: int | None = None


Remark = tuple[str, str, str]
"""Kind, problem and advice."""


def findings_of(rule: RuleRow, known: Known) -> Iterator[Finding]:
    """What is wrong with one rule by itself. Of one that is over, or that matches nothing, no more is said."""
    for check in CHECKS:
        for kind, problem, advice in check(rule, known):
            yield Finding(rule.id, kind, problem, advice)
            if kind in ("expired", "never-matches"):
                return


def expired(rule: RuleRow, known: Known) -> Iterator[Remark]:
    """A period that is over."""
    if rule.ends_at is not None and rule.ends_at <= known.now:
        yield "expired", f"It ended on {rule.ends_at:%Y-%m-%d}.", "Delete it, or give it a later end."


def without_target(rule: RuleRow, known: Known) -> Iterator[Remark]:
    """Actions whose hooks name nothing, in a rule that asks for a name."""
    if rule.target_kind == "any" or is_anything(rule):
        return
    idle = [action for action in rule.actions if not _can_fit(rule.target_kind, action)]
    if idle:
        deeds = joined([ACTION_WORDS.get(action, action) for action in idle], "or")
        never = len(idle) == len(rule.actions)
        yield (
            "never-matches" if never else "partly-idle",
            f"To {deeds} is never about such a target, so {'it' if never else 'there it'} matches nothing.",
            "Untick these actions, and for them add a rule about anything.",
        )


def _can_fit(kind: str, action: str) -> bool:
    if kind == "stream-group":
        return action in STREAM_ACTIONS
    if kind in ("number-prefix", "number-class"):
        return action in NUMBER_ACTIONS
    return action in ACTIONS_WITH_TARGET


def strange_target(rule: RuleRow, known: Known) -> Iterator[Remark]:
    """A target that no name or number can have."""
    unknown = sorted(set(re.findall(r"\{[^{}]*\}", rule.target)) - {"{user}"}) if rule.target_kind == "glob" else []
    if unknown:
        yield (
            "never-matches",
            f"Nothing stands for {joined(unknown)}.",
            "Write {user} for the user's own name, * for any text.",
        )
    if "{user}" in rule.target and rule.target_kind == "glob" and rule.who == "guests":
        yield "never-matches", "Guests have no name that {user} could stand for.", "Leave {user} out."
    if rule.target_kind == "number-prefix" and not rule.target:
        yield "never-matches", "What it is about is no beginning of numbers.", "Write digits, as +49900."


def nobody(rule: RuleRow, known: Known) -> Iterator[Remark]:
    """Nobody is whom it is about."""
    if rule.who == "group" and rule.group_id not in known.groups_with_members:
        yield "refers-to-nothing", "Its group has no members.", "Put users into the group, or delete the rule."
    if rule.who == "user" and rule.user_id in known.inactive_users:
        yield "refers-to-nothing", "Its user is switched off.", "Switch the user on again, or delete the rule."
    if rule.who == "guests" and not known.guests_welcome:
        yield (
            "refers-to-nothing",
            "No app lets guests in, so nobody is a guest.",
            "Tick “guests welcome” in an app, or delete the rule.",
        )


def nothing(rule: RuleRow, known: Known) -> Iterator[Remark]:
    """Nothing is what it is about."""
    if rule.target_kind == "stream-group" and rule.target_id not in known.stream_groups_with_streams:
        yield "refers-to-nothing", "Its group of streams is empty.", "Put streams into the group, or delete the rule."
    if rule.target_kind == "exact" and set(rule.actions) == {"connect"} and rule.target not in known.apps:
        yield (
            "refers-to-nothing",
            f"There is no app “{rule.target}” to connect through.",
            "Add the app, or correct its key; letter case counts.",
        )


def circumstances(rule: RuleRow, known: Known) -> Iterator[Remark]:
    """Circumstances that are never given."""
    conditions = rule.conditions
    if conditions is None:
        return
    yield from _places(conditions, known)
    if conditions.networks and not any(map(is_network, conditions.networks)):
        yield "never-matches", "None of its networks is one.", "Write networks as 10.0.0.0/8 or 2001:db8::/32."
    broken = [one for one in conditions.custom if not one.operator]
    if broken:
        yield "unreadable", f"A condition cannot be read: {broken[0].values[0]}", "Write the condition anew."
    elif name := _contradiction(conditions):
        yield (
            "never-matches",
            f"“{name}” cannot equal two texts at once.",
            "Write them as alternatives: role in teacher|tutor.",
        )
    if (schedule := conditions.schedule) is not None:
        if not schedule.windows:
            yield "never-matches", "Its schedule has no hours.", "Give the schedule hours, as Mon-Fri 08:00-18:00."
        elif schedule.holidays and max(schedule.holidays) < known.now.date():
            yield (
                "old-holidays",
                "All holidays of its schedule are over.",
                "Add those to come to the schedule, or take the old ones out.",
            )


def _places(conditions: Conditions, known: Known) -> Iterator[Remark]:
    """Apps and nodes that are not there."""
    for word, wanted, there in (("app", conditions.apps, known.apps), ("node", conditions.nodes, known.nodes)):
        missing = [text for text in wanted if text not in there]
        if missing:
            yield (
                "never-matches" if len(missing) == len(wanted) else "refers-to-nothing",
                f"There is no {word} {joined([f'“{text}”' for text in missing], 'or')}.",
                f"Add the {word}, or correct its {'key' if word == 'app' else 'id'}; letter case counts.",
            )


def _contradiction(conditions: Conditions) -> str:
    """The member of custom that would have to equal two texts; "" for none."""
    wanted: dict[str, str] = {}
    for one in conditions.custom:
        if one.operator == "=":
            first = wanted.setdefault(one.name, one.values[0])
            if not holds(Comparison("it", "=", one.values), {"it": first}):
                return one.name
    return ""


def opens_everything(rule: RuleRow, known: Known) -> Iterator[Remark]:
    """Everyone may do it with anything."""
    opened = [action for action in rule.actions if action in OPENING]
    unbounded = rule.conditions is None and rule.limits is None and is_anything(rule)
    if rule.effect == "allow" and rule.who in ("everyone", "guests") and opened and unbounded:
        who = "Guests" if rule.who == "guests" else "All users"
        deeds = joined([ACTION_WORDS[action] for action in opened])
        yield (
            "opens-everything",
            f"{who} may {deeds}, whatever stream or number it is.",
            "Say for which group or for which streams or numbers, unless you mean it.",
        )


def is_anything(rule: RuleRow) -> bool:
    """Whether its target is anything at all, however that is written."""
    return rule.target_kind == "any" or (rule.target_kind == "glob" and set(rule.target) == {"*"})


def looks_like_regex(rule: RuleRow, known: Known) -> Iterator[Remark]:
    """Text that means something in a regular expression only, or a star where it stands for itself."""
    if rule.target_kind in ("exact", "prefix", "glob") and (found := _REGEX.search(rule.target)):
        yield (
            "looks-like-regex",
            f"“{found[0]}” stands for these very characters here.",
            "In a pattern only * (any text) and {user} stand for something else.",
        )
    elif rule.target_kind in ("exact", "prefix") and ("*" in rule.target or "{user}" in rule.target):
        sign = "*" if "*" in rule.target else "{user}"
        yield (
            "star-is-text",
            f"Here {sign} stands for itself, and for nothing else.",
            "Choose “whatever matches a pattern with *”, if that is what you mean.",
        )


def number_as_text(rule: RuleRow, known: Known) -> Iterator[Remark]:
    """How numbers begin, compared as text: the same number can be dialled in several ways."""
    head = rule.target if rule.target_kind == "prefix" else ""
    if rule.target_kind == "glob" and rule.target.count("*") == 1 and rule.target.endswith("*"):
        head = rule.target[:-1]
    if head and set(rule.actions) & set(NUMBER_ACTIONS) and prefix(head, known.plan):
        yield (
            "number-as-text",
            f"“{head}” is compared as text, but there are other ways to dial such numbers.",
            "Choose “numbers that begin with” instead.",
        )


def changes_nothing(rule: RuleRow, known: Known) -> Iterator[Remark]:
    """Something is changed of what it never allows."""
    changed = rule.rewrites
    if changed is None:
        return
    media = changed.record or changed.max_width or changed.max_height or changed.max_bitrate
    if changed.callee and "call" not in rule.actions:
        yield "changes-nothing", "It says whom to call instead, but allows no calls.", "Tick “call”, or clear it."
    if media and not set(rule.actions) & set(STREAM_ACTIONS):
        yield (
            "changes-nothing",
            "It says how to record or limit streams, but allows neither to publish nor to play.",
            "Tick one of them, or clear what is changed.",
        )


Check = Callable[[RuleRow, Known], Iterator[Remark]]

CHECKS: tuple[Check, ...] = (
    expired,
    without_target,
    strange_target,
    nobody,
    nothing,
    circumstances,
    opens_everything,
    looks_like_regex,
    number_as_text,
    changes_nothing,
)
