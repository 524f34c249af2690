"""Rules compiled for direct look-up: by who and target. Pure: no Django, no database.

Each rule stands in one place: in the bucket of whom it is about and, where that has many, under its target. One change
costs as much among a million rules as among ten.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from apps.access.question import Question
from apps.access.rows import (
    AppRow,
    GroupRow,
    IssuerRow,
    LinkRow,
    NodeRow,
    RevocationRow,
    RuleRow,
    SipAccountRow,
    StreamRow,
    TokenRow,
    UserRow,
)
from apps.connections.rows import SessionRow
from apps.live.rows import CutRow, cut_name
from apps.protocol.messages import HookCall, address_key
from apps.protocol.methods import CONNECT
from apps.protocol.numbers import NumberClasses, NumberClassRow, NumberPlan

Key = tuple[str, int | None]
"""Whom a rule is about: kind and id."""

FEW = 16
"""So many rules are looked at one by one: faster than looking them up, and a fraction of the memory."""

NO_PLAN = NumberPlan()
"""Numbers are dialled as they stand."""

Place = tuple[str, str | int]
"""Where a rule stands in its bucket: how its target is compared, and with what."""

ANY: Place = ("any", "")
MOST_USES_NOTED = 10_000


class Bucket:
    """Many rules about the same people, by their targets. Each stands in one place, most alone."""

    __slots__ = ("lengths", "places")

    def __init__(self, rules: Iterable[RuleRow]) -> None:
        self.places: dict[str, dict[str | int, RuleRow | list[RuleRow]]] = {}
        self.lengths: dict[str, tuple[int, ...]] = {"head": (), "number": ()}
        for rule in rules:
            self.put(rule)

    def __iter__(self) -> Iterator[RuleRow]:
        for texts in list(self.places.values()):
            for found in list(texts.values()):
                yield from found if isinstance(found, list) else (found,)

    def candidates(self, question: Question) -> list[RuleRow]:
        """Rules that may be about what is asked."""
        rules: list[RuleRow] = []
        for kind, texts in list(self.places.items()):
            for text in self._texts_of(kind, question):
                found = texts.get(text)
                if isinstance(found, list):
                    rules += found
                elif found is not None:
                    rules.append(found)
        return rules

    def put(self, rule: RuleRow) -> None:
        """Add a rule."""
        kind, text = _place(rule)
        if kind in self.lengths and len(str(text)) not in self.lengths[kind]:
            self.lengths[kind] = tuple(sorted({*self.lengths[kind], len(str(text))}))
        texts = self.places.setdefault(kind, {})
        found = texts.get(text)
        if isinstance(found, list):
            found.append(rule)
        else:
            texts[text] = rule if found is None else [found, rule]

    def take(self, rule: RuleRow) -> bool:
        """Remove a rule; gives whether any is left. A length that no head has any more costs a look-up, no more."""
        kind, text = _place(rule)
        texts = self.places[kind]
        found = texts[text]
        if isinstance(found, list) and len(found) > 1:
            found.remove(rule)
        else:
            del texts[text]
        if not texts:
            del self.places[kind]
        return bool(self.places)

    def _texts_of(self, kind: str, question: Question) -> Iterable[str | int]:
        """Under what to look for a kind, each once: a thing known by several texts may begin alike in all of them."""
        match kind:
            case "any":
                return ANY[1:]
            case "exact":
                return question.targets
            case "head":
                lengths = self.lengths[kind]
                return {target[:length] for target in question.targets for length in lengths if length <= len(target)}
            case "number":
                return [question.number[:length] for length in self.lengths[kind] if length <= len(question.number)]
            case "stream-group":
                return question.stream_groups
        return (question.number_class.id,) if question.number_class is not None else ()


def _place(rule: RuleRow) -> Place:
    """Where a rule stands. One of an unknown kind is met by every target."""
    match rule.target_kind:
        case "exact" | "stream":
            return "exact", rule.target
        case "prefix":
            return "head", rule.target
        case "glob":
            return "head", rule.target.split("*", 1)[0].split("{user}", 1)[0]
        case "number-prefix":
            return "number", rule.target
        case "stream-group" | "number-class":
            return rule.target_kind, rule.target_id or 0
    return ANY


def _may_fit(rule: RuleRow, question: Question) -> bool:
    """Whether a rule stands in one of the places where those about what is asked are looked for."""
    kind, text = _place(rule)
    match kind:
        case "exact":
            return text in question.targets
        case "head":
            return any(target.startswith(str(text)) for target in question.targets)
        case "number":
            return question.number.startswith(str(text))
        case "stream-group":
            return text in question.stream_groups
        case "number-class":
            return question.number_class is not None and question.number_class.id == text
    return True


class RuleIndex:
    """All rules of one snapshot."""

    def __init__(self, rules: Iterable[RuleRow] = ()) -> None:
        self._rules: dict[int, RuleRow] = {}
        self._dialling: set[int] = set()
        self._groups: set[int] = set()
        self._buckets: dict[Key, Bucket | tuple[RuleRow, ...]] = {}
        self.replace((), rules)

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def dial_otherwise(self) -> bool:
        """Whether some rule has another number called than the client asks for."""
        return bool(self._dialling)

    def replace(self, gone: Iterable[int], rows: Iterable[RuleRow]) -> None:
        """Take out the rules with these ids, put in these rows (which replace rows of the same id)."""
        for rule_id in gone:
            self._take(rule_id)
        for row in rows:
            self._take(row.id)
            self._put(row)

    def about(self, user: UserRow | None) -> Iterator[RuleRow]:
        """Every rule about this user (None: a guest), whatever it allows or denies. May be very many."""
        for key in _keys_of(user):
            yield from self._buckets.get(key, ())

    def of_group(self, group_id: int, question: Question) -> list[RuleRow]:
        """Rules about a group and this action that may be about what is asked."""
        return self._candidates([("group", group_id)], question)

    def groups(self) -> list[int]:
        """Ids of the groups that rules are about."""
        return list(self._groups)

    def about_anybody(self, question: Question) -> list[RuleRow]:
        """Rules about anybody and this action that may be about what is asked. Looks at every key."""
        found: list[RuleRow] = []
        for bucket in list(self._buckets.values()):
            if isinstance(bucket, Bucket):
                found += [rule for rule in bucket.candidates(question) if question.action in rule.actions]
            else:
                found += [rule for rule in bucket if question.action in rule.actions and _may_fit(rule, question)]
        return found

    def candidates(self, user: UserRow | None, question: Question) -> list[RuleRow]:
        """Rules about this user (None: a guest) and this action that may be about what is asked."""
        return self._candidates(_keys_of(user), question)

    def _candidates(self, keys: Iterable[Key], question: Question) -> list[RuleRow]:
        found: list[RuleRow] = []
        for key in keys:
            bucket = self._buckets.get(key, ())
            found += bucket if isinstance(bucket, tuple) else bucket.candidates(question)
        return [rule for rule in found if question.action in rule.actions]

    def _put(self, rule: RuleRow) -> None:
        self._rules[rule.id] = rule
        if rule.rewrites is not None and rule.rewrites.callee:
            self._dialling.add(rule.id)
        if rule.group_id is not None:
            self._groups.add(rule.group_id)
        key = _key(rule)
        bucket = self._buckets.get(key, ())
        if isinstance(bucket, Bucket):
            bucket.put(rule)
        else:
            few = (*bucket, rule)
            self._buckets[key] = few if len(few) <= FEW else Bucket(few)

    def _take(self, rule_id: int) -> None:
        rule = self._rules.pop(rule_id, None)
        if rule is None:
            return
        self._dialling.discard(rule_id)
        key = _key(rule)
        bucket = self._buckets[key]
        if isinstance(bucket, Bucket):
            left = bucket.take(rule)
        else:
            self._buckets[key] = few = tuple(other for other in bucket if other is not rule)
            left = bool(few)
        if not left:
            del self._buckets[key]
            self._groups.discard(rule.group_id or 0)


class ChangedRules(RuleIndex):
    """The rules of an index with some taken out and some put in, as after a change. The index itself stays as it is."""

    def __init__(self, rules: RuleIndex, gone: Iterable[int] = (), rows: Iterable[RuleRow] = ()) -> None:
        rows = list(rows)
        super().__init__(rows)
        self._unchanged = rules
        self._gone = {*gone, *(row.id for row in rows)}

    def candidates(self, user: UserRow | None, question: Question) -> list[RuleRow]:
        """As for any rules."""
        kept = [rule for rule in self._unchanged.candidates(user, question) if rule.id not in self._gone]
        return kept + super().candidates(user, question)


class HasId(Protocol):
    """A row with an id."""

    @property
    def id(self) -> int: ...


Row = TypeVar("Row", bound=HasId)


class Rows(Generic[Row]):
    """The rows of one table, by id and by the name they are looked up with."""

    def __init__(self, name_of: Callable[[Row], str]) -> None:
        self.by_id: dict[int, Row] = {}
        self.by_name: dict[str, Row] = {}
        self._name_of = name_of

    def replace(self, gone: Iterable[int], rows: Iterable[Row]) -> None:
        """Take out the rows with these ids, put in these rows (which replace rows of the same id)."""
        rows = list(rows)
        for row_id in [*gone, *(row.id for row in rows)]:
            old = self.by_id.pop(row_id, None)
            if old is not None:
                self.by_name.pop(self._name_of(old), None)
        for row in rows:
            self.by_id[row.id] = row
            self.by_name[self._name_of(row)] = row


class Streams(Rows[StreamRow]):
    """Streams by their public names, and by the sources behind them; and the ids of those with limits of their own."""

    def __init__(self) -> None:
        super().__init__(lambda stream: stream.name)
        self.by_source: dict[str, tuple[StreamRow, ...]] = {}
        self.limited: set[int] = set()

    def replace(self, gone: Iterable[int], rows: Iterable[StreamRow]) -> None:
        """As for any rows."""
        rows = list(rows)
        for old in [self.by_id[id_] for id_ in {*gone, *(row.id for row in rows)} if id_ in self.by_id]:
            source = address_key(old.source)
            left = tuple(row for row in self.by_source.get(source, ()) if row.id != old.id)
            self.by_source.pop(source, None)
            if left:
                self.by_source[source] = left
            self.limited.discard(old.id)
        super().replace(gone, rows)
        for row in rows:
            if row.max_publishers is not None or row.max_viewers is not None:
                self.limited.add(row.id)
            if row.source:
                source = address_key(row.source)
                self.by_source[source] = (*self.by_source.get(source, ()), row)

    def known_as(self, name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Every name that rules may know this stream by, the one asked for first; and the groups it is in.

        Once a stream plays, WCS calls it by its source; whoever asks for the source, however it is written,
        asks for the stream itself.
        """
        own = self.by_name.get(name)
        behind = self.by_source.get(address_key(name), ()) if self.by_source else ()
        if not behind:
            return (name,), own.group_ids if own else ()
        rows = (*((own,) if own else ()), *behind)
        names = dict.fromkeys((name, *(row.source for row in behind), *(row.name for row in behind)))
        return tuple(names), tuple({id_ for row in rows for id_ in row.group_ids})


class Cuts:
    """Orders to end something. Several may be about one id: in other openings of a session, or about other people."""

    def __init__(self) -> None:
        self.by_id: dict[int, CutRow] = {}
        self._by_name: dict[str, tuple[CutRow, ...]] = {}

    def replace(self, gone: Iterable[int], rows: Iterable[CutRow]) -> None:
        """Take out the rows with these ids, put in these rows (which replace rows of the same id)."""
        rows = list(rows)
        for old in [self.by_id.pop(id_) for id_ in {*gone, *(row.id for row in rows)} if id_ in self.by_id]:
            left = tuple(row for row in self._by_name.pop(old.name) if row.id != old.id)
            if left:
                self._by_name[old.name] = left
        for row in rows:
            self.by_id[row.id] = row
            self._by_name[row.name] = (*self._by_name.get(row.name, ()), row)

    def cut(self, call: HookCall, session: SessionRow | None, who: str, now: datetime) -> bool:
        """Whether a hook is about something that was ordered to end, or comes out of a session that was."""
        if not self._by_name:
            return False
        if session is not None and self.cut_whole(call, session):
            return True
        keys = {call.media_session_id, call.call_id, "" if session else call.session_id} - {""}
        cuts = [cut for key in keys for cut in self._about(call, key)]
        return bool(cuts) if session is not None else any(cut.is_about(who, now) for cut in cuts)

    def cut_whole(self, call: HookCall, session: SessionRow) -> bool:
        """Whether this session was ordered to end, as it is open now. Once it has ended its id may open another."""
        if session.ended and call.method is not None and call.method.kind is CONNECT:
            return False
        return any(cut.opening == session.opening for cut in self._about(call, ""))

    def know_session_of(self, call: HookCall) -> bool:
        """Whether a session by this id was ever ordered to end."""
        return bool(self._by_name) and bool(self._about(call, ""))

    def _about(self, call: HookCall, key: str) -> tuple[CutRow, ...]:
        return self._by_name.get(cut_name(call.node_id, call.session_id, key), ())


class Classes:
    """The number classes, compiled anew when one changes: there are few."""

    def __init__(self, plan: NumberPlan) -> None:
        self.by_id: dict[int, NumberClassRow] = {}
        self._plan = plan
        self.of = NumberClasses((), plan).of

    def replace(self, gone: Iterable[int], rows: Iterable[NumberClassRow]) -> None:
        """Take out the rows with these ids, put in these rows (which replace rows of the same id)."""
        for id_ in gone:
            self.by_id.pop(id_, None)
        self.by_id.update({row.id: row for row in rows})
        self.of = NumberClasses(tuple(self.by_id.values()), self._plan).of


class Snapshot:
    """Everything decisions depend on, at one revision.

    It is changed in place while others read. That is safe because nobody's answer counts unless the revision they
    read first is still the database's when the answer is recorded: `revision` is therefore set last.
    """

    def __init__(self, revision: int = 0, plan: NumberPlan = NO_PLAN) -> None:
        self.revision = revision
        self.plan = plan
        self.users: Rows[UserRow] = Rows(lambda user: user.username)
        self.groups: Rows[GroupRow] = Rows(lambda group: group.name)
        self.tokens: Rows[TokenRow] = Rows(lambda token: token.hash)
        self.issuers: Rows[IssuerRow] = Rows(lambda issuer: issuer.issuer)
        self.links: Rows[LinkRow] = Rows(lambda link: link.code)
        self.revocations: Rows[RevocationRow] = Rows(lambda _: "everything")
        self.apps: Rows[AppRow] = Rows(lambda app: app.key)
        self.nodes: Rows[NodeRow] = Rows(lambda node: node.node_id)
        self.sip_accounts: Rows[SipAccountRow] = Rows(lambda account: str(account.user_id))
        self.streams = Streams()
        self.number_classes = Classes(plan)
        self.cuts = Cuts()
        self.rules = RuleIndex()
        self._used: dict[str, tuple[str, ...]] = {}

    @property
    def revoked_before(self) -> datetime | None:
        """The moment before which everything that was issued or opened is worth nothing; None for no such moment."""
        row = self.revocations.by_name.get("everything")
        return row.before if row is not None else None

    def used_by(self, token: TokenRow) -> tuple[str, ...] | None:
        """The node id and session id that used a token for single use, as far as is known."""
        return token.used_by or self._used.get(token.hash)

    def note_use(self, token: TokenRow, used_by: tuple[str, ...]) -> None:
        """Remember who used a token: the row is not read again for it. A token is used once, so that stays true."""
        if len(self._used) >= MOST_USES_NOTED:
            self._used.clear()  # whoever comes again finds out again
        self._used[token.hash] = used_by

    def with_rules(self, rules: RuleIndex) -> "Snapshot":
        """The same but for its rules, to see what others would decide."""
        other = copy(self)
        other.rules = rules
        return other

    def sip_account_of(self, user: UserRow | None) -> SipAccountRow | None:
        """The SIP account that this user gets at connect; None for a guest."""
        return self.sip_accounts.by_name.get(str(user.id)) if user is not None else None


def _key(rule: RuleRow) -> Key:
    return rule.who, rule.user_id or rule.group_id


def _keys_of(user: UserRow | None) -> list[Key]:
    if user is None:
        return [("guests", None)]
    return [("everyone", None), ("user", user.id), *(("group", group_id) for group_id in user.group_ids)]
