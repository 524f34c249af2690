"""Rules that would have allowed what was asked, but for one thing or two. Pure; for those who ask why.

It looks first where the likeliest ones stand: about the same thing for this user, whatever the action; about the same
thing for other groups; then at all others about this user, as far as there is time.
"""

from collections.abc import Iterator
from heapq import nsmallest
from itertools import chain, islice, takewhile
from typing import NamedTuple

import msgspec

from apps.access.compile import RuleIndex
from apps.access.matching import misses
from apps.access.misses import Miss
from apps.access.question import Question
from apps.access.rows import RuleRow, UserRow
from apps.protocol.methods import ACTIONS

MOST_NEAR = 5
LOOKED_AT = 5_000
"""Rules that are looked at, and groups."""

NOTHING_IN_COMMON = {"action", "target"}
"""A rule about another action on something else is not near."""


class Near(NamedTuple):
    """A rule and what it missed."""

    rule: RuleRow
    misses: list[Miss]


class Nearest(NamedTuple):
    """The nearest rules, those that missed by one thing first; `cut` if there were too many to look at all."""

    rules: list[Near]
    cut: bool


def nearest(rules: RuleIndex, user: UserRow | None, question: Question) -> Nearest:
    """The allowing rules nearest to what this user (None: a guest) asks, and was refused as no rule allows it."""
    groups = rules.groups()
    likely = _about_the_same(rules, user, question, groups[:LOOKED_AT])
    looked_at = list(islice(chain(likely, rules.about(user)), LOOKED_AT + 1))
    allowing = {rule.id: rule for rule in looked_at[:LOOKED_AT] if rule.effect == "allow"}
    near = [Near(rule, missed) for rule in allowing.values() if _is_near(rule, missed := misses(rule, question))]
    return Nearest(
        nsmallest(MOST_NEAR, near, key=lambda each: _distance(each, question)),
        cut=max(len(looked_at), len(groups)) > LOOKED_AT,
    )


def _about_the_same(rules: RuleIndex, user: UserRow | None, question: Question, groups: list[int]) -> Iterator[RuleRow]:
    for action in dict.fromkeys((question.action, *ACTIONS)):
        yield from rules.candidates(user, msgspec.structs.replace(question, action=action))
    for group_id in groups if user is not None else ():
        yield from rules.of_group(group_id, question)


def _is_near(rule: RuleRow, missed: list[Miss]) -> bool:
    """Whether so little is missing that it is worth a word: of a rule for others, nothing else."""
    kinds = {miss.kind for miss in missed}
    if not 1 <= len(missed) <= 2 or kinds == NOTHING_IN_COMMON:
        return False
    if "action" in kinds and rule.target_kind == "any":
        return False
    return "who" not in kinds or len(missed) == 1


def _distance(near: Near, question: Question) -> tuple[int, bool, int]:
    """How far away: by how many things, another target farther than other circumstances, a like name nearer."""
    other_target = any(miss.kind == "target" for miss in near.misses)
    asked = question.targets[0] if question.targets else ""
    return len(near.misses), other_target, -_alike(asked, near.rule.target)


def _alike(text: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, other, strict=False)))
