"""What can they do? The rules about somebody, and what they amount to for streams, numbers, apps, the rest. Pure."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from apps.access.compile import Snapshot
from apps.access.rows import RuleRow, UserRow
from apps.access.schedules import in_schedule
from apps.access.who_can import Answer, Verdict, asked_of
from apps.protocol.methods import ACTIONS, ACTIONS_WITH_TARGET, STREAM_ACTIONS
from apps.protocol.numbers import NumberClassRow, canonical, prefix

LOOKED_AT = 300
"""Streams that are looked at for one page, whether somebody can do anything with them or not."""

BARE_ACTIONS = tuple(action for action in ACTIONS if action not in ACTIONS_WITH_TARGET)
"""Actions that are about no name or number."""

_ENDINGS = ("5550123", "2345678", "7012345", "0123456")


class Of(msgspec.Struct, frozen=True, gc=False):
    """What is to be said of one thing: a stream or an app by its name, numbers of a class by an example."""

    name: str
    action: str
    answer: Answer
    example: str = ""


class StreamPage(msgspec.Struct, frozen=True, gc=False):
    """Some streams with which somebody can do something; `after` is where to look on, "" if there are no more."""

    found: tuple[Of, ...] = ()
    after: str = ""


class Person:
    """Somebody at one moment: a user, a guest (None), or a user made up to stand for the members of a group.

    What is found holds only as long as the database's revision is `revision`.
    """

    def __init__(self, user: UserRow | None, now: datetime, snapshot: Snapshot) -> None:
        self.revision = snapshot.revision  # read before anything else of it: see Snapshot
        self.user, self.now, self.snapshot = user, now, snapshot

    def rules(self) -> list[RuleRow]:
        """Every rule about them that has not ended, denies first, then by what it is about."""
        about = {rule.id: rule for rule in self.snapshot.rules.about(self.user)}  # each comes once for each action
        rules = (rule for rule in about.values() if rule.ends_at is None or self.now < rule.ends_at)
        return sorted(
            rules, key=lambda rule: (rule.effect == "allow", rule.actions, rule.target_kind, rule.target, rule.id)
        )

    def answer(self, action: str, target: str = "") -> Answer:
        """Whether they can do this."""
        return asked_of(self.user, action, target, self.now, self.snapshot)

    def apps(self) -> list[Of]:
        """Whether they can connect, through each app."""
        return [Of(key, "connect", self.answer("connect", key)) for key in sorted(self.snapshot.apps.by_name)]

    def bare_actions(self) -> list[Of]:
        """Whether they can do what is about no name or number."""
        return [Of("", action, self.answer(action)) for action in BARE_ACTIONS]

    def numbers(self) -> Iterator[Of]:
        """Whether they can call numbers of each class; more than one answer where its numbers differ."""
        for row in sorted(self.snapshot.number_classes.by_id.values(), key=lambda row: row.name):
            said: list[Answer] = []
            for number in examples(row, self.snapshot):
                answer = self.answer("call", number)
                if answer not in said:
                    said.append(answer)
                    yield Of(row.name, "call", answer, number)

    def named(self, at_most: int) -> list[Of]:
        """Whether they can do what rules about them allow by a name of its own: a number, or a stream of no list."""
        said = dict.fromkeys(
            (rule.target, action)
            for rule in self.rules()
            if rule.effect == "allow" and rule.target_kind == "exact"
            for action in rule.actions
            if action in ACTIONS_WITH_TARGET
            and action != "connect"
            and rule.target not in self.snapshot.streams.by_name
        )
        return [Of(name, action, self.answer(action, name)) for name, action in list(said)[:at_most]]

    def streams(self, names: list[str], at_most: int) -> StreamPage:
        """Of these streams those that they can publish or play, as many as fit on a page."""
        found: list[Of] = []
        for place, name in enumerate(names, start=1):
            found += [one for one in self._of_stream(name) if one.answer.verdict is not Verdict.CANNOT]
            if len(found) >= at_most and place < len(names):
                return StreamPage(tuple(found), name)
        return StreamPage(tuple(found))

    def _of_stream(self, name: str) -> list[Of]:
        return [Of(name, action, self.answer(action, name)) for action in STREAM_ACTIONS]


def member_of(group_id: int) -> UserRow:
    """Somebody who is in this group and no other, and has no name that a pattern could mean."""
    return UserRow(0, "", group_ids=(group_id,))


def state(rule: RuleRow, now: datetime) -> str:
    """Why a rule decides nothing at this moment; "" if it does, under its circumstances."""
    if not rule.enforced:
        return "only logged"
    if rule.starts_at is not None and now < rule.starts_at:
        return "not yet"
    schedule = rule.conditions.schedule if rule.conditions else None
    try:
        return "" if schedule is None or in_schedule(schedule, now) else "not at this hour"
    except ValueError:  # an unknown time zone, written by SQL
        return "cannot be read, so it counts" if rule.effect != "allow" else "cannot be read, so it does not count"


def examples(row: NumberClassRow, snapshot: Snapshot) -> Iterator[str]:
    """A number of the class for each way that its numbers begin; none where all that begin so are of another class."""
    for beginning in (*row.prefixes, *([""] if row.short else [])):
        for number in _numbers(row, beginning, snapshot):
            if snapshot.number_classes.of(canonical(number, snapshot.plan)) == row:
                yield number
                break


def _numbers(row: NumberClassRow, beginning: str, snapshot: Snapshot) -> list[str]:
    if row.whole:
        return [canonical(beginning, snapshot.plan)]
    if not beginning:
        return [ending[: row.short] for ending in _ENDINGS]
    start = prefix(beginning, snapshot.plan)
    return [start + ending for ending in _ENDINGS if start]
