"""Ask: what staff typed, the rows it names, and the questions about them that pages here answer.

Every word that is the name of something counts, so a whole question may be typed in: why can't alice watch lobby?
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from ipaddress import ip_network
from operator import or_

from django.contrib.auth.models import Group
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from apps.access.models import NumberClass
from apps.access.rule_rows import number_plan
from apps.accounts.models import User
from apps.accounts.navigation import may_see
from apps.audit.asking.moments import moment_in, period_in
from apps.audit.models import AuditEvent
from apps.connections.models import App, Node
from apps.protocol.methods import STREAM_ACTIONS
from apps.protocol.numbers import canonical
from apps.streams.models import Stream

WORDS_READ = 20
LENGTH_READ = 300
OFFERED = 5
"""Names that begin like what was typed."""

_RULE = re.compile(r"(?<!\S)rule (\d{1,18})(?=[\s?!.,;:]|$)", re.IGNORECASE)
_REFUSED = re.compile(r"(?<!\S)(?:refused|denied|rejected)(?=[\s?!.,;:]|$)", re.IGNORECASE)
_AROUND = " \t?!.,:;()'\"“”\u2018\u2019«»"


@dataclass(frozen=True, slots=True)
class Named:
    """What was named, as far as the viewer may see it. Streams are names: they need no row to be published."""

    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()
    streams: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    number_classes: tuple[NumberClass, ...] = ()
    apps: tuple[App, ...] = ()
    addresses: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    rules: tuple[int, ...] = ()
    """Numbers of rules, also of such as there are no more."""
    searched: str = ""
    """What else is to be looked for in the audit log, in the words of its search: what was refused, and when."""
    begun: tuple[tuple[str, str], ...] = ()
    """Kind and name of rows whose names begin like the only word."""
    moment: datetime | None = None
    """When it is about, where a date was typed."""

    @property
    def names(self) -> list[str]:
        """What hooks and rules know these rows by."""
        rows = (*self.users, *self.groups, *self.streams, *self.numbers)
        return list(dict.fromkeys(map(str, rows)))

    @property
    def nothing(self) -> bool:
        """Whether nothing at all was recognised."""
        rows = (self.users, self.groups, self.streams, self.numbers, self.number_classes, self.apps, self.begun)
        return not any((*rows, self.addresses, self.nodes, self.rules, self.searched))


def words_of(text: str) -> list[str]:
    """The whole text, and its words with and without the signs around them; each once."""
    text = text.replace("\0", "")[:LENGTH_READ].strip()
    parts = text.split()[:WORDS_READ]
    bare = [re.sub(r"['\u2019]s$", "", part.strip(_AROUND)) for part in parts]
    return [word for word in dict.fromkeys([text.strip(_AROUND), *bare, text, *parts]) if word]


def find_named(text: str, viewer: User) -> Named:
    """The rows that the text names."""
    text, moment = moment_in(text, timezone.now())
    text, period = period_in(text)
    rules = tuple(dict.fromkeys(int(found) for found in _RULE.findall(text)))
    words = words_of(_RULE.sub(" ", text))
    addresses = tuple(word for word in words if _is_address(word))
    numbers = _numbers([word for word in words if word.strip(_AROUND) not in addresses])
    named = Named(
        users=_rows(User.objects.prefetch_related("groups"), "accounts.user", "username", words, viewer),
        groups=_rows(Group.objects, "auth.group", "name", words, viewer),
        streams=_streams([word for word in words if word not in numbers], viewer),
        numbers=numbers,
        number_classes=_rows(NumberClass.objects, "access.numberclass", "name", words, viewer),
        apps=_rows(App.objects, "connections.app", "key", words, viewer),
        addresses=addresses,
        nodes=_nodes(words, viewer),
        rules=rules,
        searched=" ".join(filter(None, ("decision:refused" if _REFUSED.search(text) else "", period))),
        moment=moment,
    )
    return Named(begun=tuple(_begun(words[0], viewer)), moment=moment) if words and named.nothing else named


def _is_address(word: str) -> bool:
    """An address or a network; a number alone would be one as well."""
    try:
        return any(mark in word for mark in ".:") and bool(ip_network(word, strict=False))
    except ValueError:
        return False


def _nodes(words: list[str], viewer: User) -> tuple[Node, ...]:
    """By the name that staff gave, by the id, or by what lists show of that."""
    if not (words and may_see(viewer, "connections.node")):
        return ()
    behind = (Q(node_id__endswith=f"@{word}") for word in words)
    known = reduce(or_, behind, Q(name__in=words) | Q(node_id__in=words))
    return tuple(Node.objects.filter(known).order_by("name", "pk")[:OFFERED])


def _rows(rows: QuerySet, label: str, column: str, words: list[str], viewer: User) -> tuple[Model, ...]:
    if not (words and may_see(viewer, label)):
        return ()
    return tuple(rows.filter(**{f"{column}__in": words}).order_by(column))


def _streams(words: list[str], viewer: User) -> tuple[str, ...]:
    """Streams in the list, and those that were published or played without being in it."""
    found = [row.name for row in _rows(Stream.objects, "streams.stream", "name", words, viewer)]
    if may_see(viewer, "audit.auditevent"):
        found += [word for word in words if word not in found and _was_asked_for(word)]
    return tuple(found)


def _was_asked_for(name: str) -> bool:
    """By the newest hooks about that name."""
    newest = AuditEvent.objects.filter(target=name).order_by("-received_at").values_list("action", flat=True)[:OFFERED]
    return not set(STREAM_ACTIONS).isdisjoint(newest)


def _numbers(words: list[str]) -> tuple[str, ...]:
    """Numbers with at least two digits; where the whole text is one, its parts are none."""
    numbers = [word for word in words if len(canonical(word, number_plan())) > 1]
    return tuple(numbers[:1] if numbers and numbers[0] == words[0] else numbers)


def _begun(word: str, viewer: User) -> Iterable[tuple[str, str]]:
    """Kind and name of what begins like a word, in whatever letter case."""
    for kind, label, rows, column in (
        ("user", "accounts.user", User.objects, "username"),
        ("stream", "streams.stream", Stream.objects, "name"),
        ("group", "auth.group", Group.objects, "name"),
    ):
        if may_see(viewer, label):
            names = rows.filter(**{f"{column}__istartswith": word}).order_by(column).values_list(column, flat=True)
            yield from ((kind, name) for name in names[:OFFERED])
