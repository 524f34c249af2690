"""Allow this: the narrowest rule that would allow a refused hook, and wider ones. Nothing is saved here."""

import re
from typing import Any, NamedTuple

from django.contrib.auth.models import Group

from apps.access.models import NumberClass, Rule
from apps.access.question import Question
from apps.access.rows import FROM_CLAIMS, UserRow
from apps.accounts.pages import list_of
from apps.protocol.methods import STREAM_ACTIONS
from apps.streams.models import Stream, StreamGroup

MOST_GROUPS = 5
LINE_DIGITS = 4
"""Digits at the end of a number that tell the lines of one place apart."""

_HEAD = re.compile(r"(.*[-_./:])[^-_./:]+", re.DOTALL)


class Proposal(NamedTuple):
    """A rule to add. `key` tells it from the others of the same hook."""

    key: str
    rule: Rule

    @property
    def label(self) -> str:
        """The list it belongs to."""
        return list_of(self.rule)

    @property
    def initial(self) -> dict[str, Any]:
        """What fills in the form for it."""
        rule = self.rule
        values = {
            **{name: getattr(rule, name) for name in ("effect", "who", "target_kind", "target")},
            **{
                name: getattr(rule, f"{name}_id")
                for name in ("user", "group", "stream", "stream_group", "number_class")
            },
            "actions": rule.actions[0],
        }
        return {name: value for name, value in values.items() if value}


def proposals(question: Question, user: UserRow | None) -> list[Proposal]:
    """Rules that would allow what this user (None: a guest) asks, the narrowest first; none where no rule can name it.

    Then the same thing for each of their groups, then more things for them alone.
    """
    narrow = _this_alone(question)
    if narrow is None:
        return []
    whom = {"who": "user", "user_id": user.id} if user else {"who": "guests"}
    alone = user is None or user.id != FROM_CLAIMS  # who is known from a token alone has no row to make a rule for
    groups = Group.objects.filter(pk__in=user.group_ids if user else ()).order_by("name")[:MOST_GROUPS]
    wider = _more_than_this(question)
    return [
        *([_proposal("this", question, whom, narrow)] if alone else []),
        *(_proposal(f"group-{row.pk}", question, {"who": "group", "group": row}, narrow) for row in groups),
        *(_proposal(_key(target), question, whom, target) for target in wider if alone),
    ]


def _proposal(key: str, question: Question, whom: dict[str, Any], target: dict[str, Any]) -> Proposal:
    return Proposal(key, Rule(effect="allow", actions=[question.action], **whom, **target))


def _key(target: dict[str, Any]) -> str:
    row = next((value for value in target.values() if not isinstance(value, str)), None)
    return f"{target['target_kind']}-{row.pk}" if row else target["target_kind"]


def _this_alone(question: Question) -> dict[str, Any] | None:
    """The target and nothing else: the stream of the list, a number in its one form, or the text. None where the text
    is too long for a rule, or was not kept whole.
    """
    name = question.targets[0]
    if not name:
        return {"target_kind": "any"}
    if question.action in STREAM_ACTIONS:
        streams = {stream.name: stream for stream in Stream.objects.filter(name__in=question.targets)}
        if stream := next((streams[text] for text in question.targets if text in streams), None):
            return {"target_kind": "stream", "stream": stream}
    text = question.number or name
    fits = len(text) <= Rule._meta.get_field("target").max_length and "***" not in text
    return {"target_kind": "exact", "target": text} if fits else None


def _more_than_this(question: Question) -> list[dict[str, Any]]:
    """Targets that this one is among."""
    found: list[dict[str, Any]] = [
        {"target_kind": "stream-group", "stream_group": group}
        for group in StreamGroup.objects.filter(pk__in=question.stream_groups).order_by("name")[:MOST_GROUPS]
    ]
    if question.number:
        if len(question.number) > 2 * LINE_DIGITS:
            found.append({"target_kind": "number-prefix", "target": question.number[:-LINE_DIGITS]})
        number_class = question.number_class and NumberClass.objects.filter(pk=question.number_class.id).first()
        return [*found, {"target_kind": "number-class", "number_class": number_class}] if number_class else found
    head = _HEAD.fullmatch(question.targets[0]) if question.action in STREAM_ACTIONS else None
    return [*found, {"target_kind": "prefix", "target": head[1]}] if head else found
