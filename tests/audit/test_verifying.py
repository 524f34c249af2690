"""Whether a record is whole and untouched: every thing that can be wrong is called so, and nothing else. Pure.

What is done to rows of the database, and to files of real records, is in `test_evidence`.
"""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.audit import chain, ids
from apps.audit.proving import signing
from apps.audit.proving.evidence_file import ids_of, lines, look_at_file, pieces_of
from apps.audit.proving.signing import Sealed, SealPiece, key_id, public
from apps.audit.proving.verifying import BatchPiece, EndPiece, Event, Found, Gone, LetGo, Verifier

KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in (1, 2))
NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def made(number=1, at=NOON, repeats=0, digest=b"0123456789abcdef"):
    """An event; its number tells it apart from others."""
    id_ = ids.numbered_id(at, 7, number)
    content = chain.event_line({"id": id_, "duration": None, "digest": digest, "body": b"%d" % number})
    return Event(id_, content, count(id_, repeats, at), digest)


def count(id_, repeats, at=NOON):
    return chain.count_line(id_, at, at, repeats, while_away=False)


def counted(event, repeats, digest=None, kind=b"D", at=NOON):
    """The entry that this event was counted, so often by then."""
    return chain.count_entry(kind, event.id, digest or event.digest, count(event.id, repeats, at))


class Made:
    """A record that is written batch by batch."""

    def __init__(self):
        self.pieces, self.number, self.hash, self.last_seal = [], 0, chain.BEFORE_THE_FIRST, None

    def batch(self, *events, listed=None, kind=b"D", note="", at=NOON, more=()):
        """These events, which are all that it lists unless told otherwise."""
        listed = events if listed is None else listed
        kept = b"".join([*(chain.entry(kind, event.id, event.content) for event in listed), *more])
        self.number += 1
        said = chain.batch_line(self.number, at, note, self.hash, kept)
        self.hash = sha256(said).digest()
        self.pieces.append(BatchPiece(said, self.hash, events))
        return self

    def lets_go(self, before, of="decisions", at=NOON):
        return self.batch(note=chain.line(**{"let go": of, "before": before}).decode(), at=at)

    def seal(self, key=KEY, at=NOON, **members):
        made = signing.seal(key, members.get("batch", self.number), members.get("hash", self.hash), at, self.last_seal)
        self.last_seal = made
        self.pieces.append(made)
        return self

    def looked_at(self, keys=(KEY,), now=NOON):
        return Verifier(map(public, keys), now).look_at(self.pieces)

    def problems(self, **how):
        return self.looked_at(**how).problems


def changed(piece, **members):
    """A batch that says something else, with a hash that fits."""
    said = chain.line(**{**json.loads(piece.line), **members})
    return BatchPiece(said, sha256(said).digest(), piece.events)


def with_note(note, at=NOON):
    return Made().batch(made()).batch(note=note, at=at)


# A record that nobody touched


def test_a_whole_record_says_what_is_in_it():
    early = made(2, repeats=2)
    record = Made().batch(made(1), early, more=[counted(early, 1)]).seal().batch(made(3), more=[counted(early, 2)])
    record.seal(at=NOON + DAY)
    assert record.looked_at() == Found(
        batches=2,
        events=3,
        last_batch=2,
        last_hash=record.hash,
        seals=2,
        sealed_until=2,
        sealed_at="2026-03-04T12:00:00.000000Z",
    )


def test_without_keys_no_seal_is_checked_nor_said_to_be_good():
    record = Made().batch(made()).seal(OTHER_KEY, batch=4711)
    found = record.looked_at(keys=())
    assert (found.problems, found.seals, found.sealed_until, found.sealed_at) == ([], 0, 0, "")
    assert not Verifier().has_keys
    assert Verifier([public(KEY)]).has_keys


def test_a_record_without_anything_is_none():
    assert Made().problems() == ["There is no batch at all."]


def test_problems_are_in_the_order_of_batches():
    events = [made(number, repeats=number == 2) for number in range(1, 5)]
    record = Made().batch(listed=events[:1]).batch(events[1]).batch(listed=events[2:3])
    record.batch(events[3]._replace(content=b""), listed=events[3:])
    assert [problem.partition(" of ")[2] for problem in record.problems()] == [
        "batch 1 and 1 more of that day are missing, and nothing says that it was let go.",
        "batch 2 counts repeats that no batch has.",
        "batch 4 was changed.",
    ]


def test_the_first_bad_place_is_named_however_many_come_after_it():
    record = Made().batch(listed=[made(1)]).batch(*(made(number) for number in range(2, 200)), listed=[])
    assert record.problems()[0].startswith(f"Event {made(1).id} of batch 1 is missing")
    assert len(record.problems()) == 100


def test_of_more_than_a_hundred_problems_a_hundred_are_named():
    record = Made().batch(*(made(number) for number in range(1, 103)), listed=())
    assert len(record.problems()) == 100


# Batches


def test_a_batch_that_is_missing_is_named():
    record = Made().batch(made(1)).batch(made(2)).batch(made(3))
    first, second, third = record.pieces
    record.pieces = [first, third]
    assert record.problems() == ["After batch 1 comes batch 3: what was before that is missing."]
    record.pieces = [second, third]
    assert record.problems() == ["The record begins with batch 2: what was before that is missing."]


def test_a_batch_that_was_changed_does_not_carry_on():
    record = Made().batch(made(1)).batch(made(2))
    first, second = record.pieces
    record.pieces = [changed(first, note=""), second]
    assert record.problems() == [], "it says the same"
    record.pieces = [changed(first, moved_at=NOON - HOUR), second]
    assert record.problems() == ["Batch 2 does not carry on batch 1: one of the two was changed."]
    record.pieces = [changed(first, previous="ab" * 32)]
    assert record.problems() == ["Batch 1 does not carry on nothing, as the first."]
    record.pieces = [first._replace(hash=bytes(32))]
    assert record.problems() == ["Batch 1 is not what its hash says."]


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"[]",
        b'{"batch":2}',
        b'{"batch":"two","entries":"","moved_at":"2026-03-03","note":"","previous":""}',
        b'{"batch":2,"entries":"","moved_at":"2026-03-03","note":"","previous":"no hex"}',
        b'{"batch":2,"entries":"no base64","moved_at":"2026-03-03","note":"","previous":""}',
        b'{"batch":2,"entries":"YQ==","moved_at":"2026-03-03","note":"","previous":""}',
        b'{"batch":2,"entries":"!","moved_at":"2026-03-03","note":"","previous":""}',
        b'{"batch":2,"entries":"","moved_at":"soon","note":"","previous":""}',
    ],
)
def test_what_is_no_batch_is_not_taken_for_one(line):
    record = Made().batch(made())
    record.pieces.append(BatchPiece(line, sha256(line).digest(), ()))
    found = record.looked_at()
    assert found.problems == ["What comes after batch 1 is no batch that can be read."]
    assert found.batches == 1


# Events


def test_an_event_that_was_changed_removed_or_added_is_named():
    one, two, three = made(1), made(2), made(3)
    assert Made().batch(one._replace(content=two.content), listed=[one]).problems() == [
        f"Event {one.id} of batch 1 was changed."
    ]
    removed = Made().batch(one, listed=[one, two]).looked_at()
    assert removed.problems == [f"Event {two.id} of batch 1 is missing, and nothing says that it was let go."]
    assert (removed.events, removed.let_go) == (1, 0)
    assert Made().batch(one, two, three, listed=[one]).problems() == [
        f"Event {added.id} is in batch 1 and does not belong there: it was added." for added in (two, three)
    ]


def test_an_event_of_a_batch_that_only_counts_it_was_added():
    event = made(1, repeats=1)
    assert Made().batch(event, listed=(), more=[counted(event, 1)]).problems() == [
        f"Event {event.id} is in batch 1 and does not belong there: it was added.",
        f"Event {event.id} was counted in batch 1, and does not say so any more.",
    ]


def test_events_that_are_missing_are_told_by_the_day_and_in_the_order_of_their_batches():
    early, late = made(1, NOON - DAY), made(2)
    record = Made().batch(listed=[late]).batch(listed=[early, made(3), made(4)])
    assert record.problems() == [
        f"Event {late.id} of batch 1 and 2 more of that day are missing, and nothing says that it was let go.",
        f"Event {early.id} of batch 2 is missing, and nothing says that it was let go.",
    ]


def test_events_come_in_the_order_of_their_ids_and_once():
    one, two = made(1), made(2)
    assert Made().batch(two, one).problems() == [f"Event {one.id} comes twice in batch 1, or out of its order."]
    assert Made().batch(one, one).problems() == [f"Event {one.id} comes twice in batch 1, or out of its order."]


# Counts


def test_the_last_count_of_an_event_is_the_one_it_has():
    now, before = made(1, repeats=2), made(1, repeats=1)
    entries = [counted(now, 1), counted(now, 2)]
    assert Made().batch(now, more=entries[:1]).batch(more=entries[1:]).problems() == []
    told_less = Made().batch(before, more=entries[:1]).batch(more=entries[1:])
    assert told_less.problems() == [f"Event {now.id} was counted in batch 2, and does not say so any more."]
    told_more = Made().batch(now, more=entries[:1])
    assert told_more.problems() == [f"Event {now.id} of batch 1 counts repeats that no batch has."]
    taken_back = Made().batch(made(1), more=entries[:1])
    assert taken_back.problems() == [f"Event {now.id} was counted in batch 1, and does not say so any more."]


def test_something_else_that_was_counted_is_named():
    event = made(1, repeats=2)
    record = Made().batch(event, more=[counted(event, 1, digest=b"of another hook!")]).batch(more=[counted(event, 2)])
    assert record.problems() == [f"In batch 1 something else was counted as a repeat of event {event.id}."]


def let_go_but_counted(event, more_of_its_day=()):
    """An event that was counted in a second batch and is gone, as a note says."""
    record = Made().batch(*more_of_its_day, listed=[event, *more_of_its_day]).batch(more=[counted(event, 1)])
    return record.lets_go(NOON + 2 * DAY, at=NOON + 2 * DAY)


def test_a_count_of_what_is_gone_is_looked_at_a_second_time():
    """There may be an event of its day that says nothing of it."""
    event = made(1)
    record = let_go_but_counted(event)
    verifier = Verifier([public(KEY)], NOON + 2 * DAY)
    assert verifier.look_at(record.pieces).problems == []
    assert verifier.gone_but_counted == {event.id: 2}
    verifier.are_there([made(2).id])
    assert verifier.found.problems == []
    verifier.are_there([event.id, event.id])
    assert verifier.found.problems == [f"Event {event.id} was counted in batch 2, and does not say so any more."]


@pytest.mark.parametrize("kind", [b"D", b"E"])
def test_only_what_is_gone_of_its_class_and_day_explains_a_count_without_an_event(kind):
    gone, other = made(1), made(2, NOON + (DAY if kind == b"D" else timedelta(0)))
    record = Made().batch(listed=[gone]).batch(more=[counted(other, 1, kind=kind)])
    record.lets_go(NOON + 2 * DAY, at=NOON + 2 * DAY)
    assert record.problems(now=NOON + 2 * DAY) == [
        f"Event {other.id} was counted in batch 2, and does not say so any more."
    ]


def test_a_count_that_is_told_twice_is_told_of_the_first_batch():
    event = made(1)
    record = let_go_but_counted(event).batch(more=[counted(event, 2)], at=NOON + 2 * DAY)
    verifier = Verifier([public(KEY)], NOON + 2 * DAY)
    verifier.look_at(record.pieces)
    assert verifier.gone_but_counted == {event.id: 2}


# What was let go


def test_what_a_note_lets_go_is_not_missed():
    record = Made().batch(listed=[made(1), made(2)]).batch(made(3, NOON + DAY), at=NOON + DAY)
    found = record.lets_go(NOON + DAY - 12 * HOUR, at=NOON + DAY).looked_at(now=NOON + DAY)
    note = LetGo("decisions", b"D", NOON + DAY - 12 * HOUR, 3, NOON + DAY)
    assert found.problems == []
    assert (found.let_go, found.notes) == (2, [note])
    assert found.gone == [Gone(b"D", NOON - 12 * HOUR, 1, made(1).id, 2)]
    assert str(note) == "decisions before 2026-03-04 (batch 3)"
    assert str(found.gone[0]) == f"Event {made(1).id} of batch 1 and 1 more of that day are"
    assert str(found.gone[0]._replace(events=1)) == f"Event {made(1).id} of batch 1 is"


@pytest.mark.parametrize(
    ("of", "before", "covered"),
    [
        ("decisions", NOON + 12 * HOUR, True),
        ("decisions", NOON + 12 * HOUR - MINUTE, True),
        ("decisions", NOON + 12 * HOUR - MINUTE - timedelta(microseconds=1), False),
        ("status events", NOON + 12 * HOUR, False),
        ("changes by staff", NOON + 12 * HOUR, False),
    ],
)
def test_a_note_covers_whole_days_of_its_class(of, before, covered):
    """Ids may differ by a minute from the time of their hooks."""
    found = Made().batch(listed=[made()]).lets_go(before, of, NOON + DAY).looked_at(now=NOON + DAY)
    assert [bool(found.problems), found.let_go, len(found.gone)] == [not covered, int(covered), int(covered)]


def test_a_note_covers_nothing_that_came_after_it():
    late = made(1, NOON - DAY)
    record = Made().batch(made(2)).lets_go(NOON - 12 * HOUR).batch(listed=[late])
    assert record.problems() == [f"Event {late.id} of batch 3 is missing, and nothing says that it was let go."]


def test_what_was_taken_in_is_counted():
    note = chain.line(**{chain.FROM_BEFORE: 2}).decode()
    found = Made().batch(made(1), made(2), listed=[made(1), made(2), made(3)], note=note).looked_at()
    assert (found.from_before, found.notes) == (2, [])


@pytest.mark.parametrize(
    "note",
    [
        "no JSON",
        "{}",
        '{"let go":"all","before":"2026-03-03T00:00:00Z"}',
        '{"let go":"decisions","before":"soon"}',
        "7",
    ],
)
def test_a_note_that_cannot_be_read_is_a_problem(note):
    assert with_note(note).problems() == ["Batch 2 has a note that cannot be read."]


def test_nothing_is_let_go_that_is_yet_to_come():
    record = Made().batch(listed=[made()]).lets_go(NOON + DAY)
    assert record.problems() == [
        f"Event {made().id} of batch 1 is missing, and nothing says that it was let go.",
        "Batch 2 lets go what had not come yet: retention never does.",
    ]
    assert record.looked_at().notes == []
    assert Made().batch(made()).lets_go(NOON).problems() == [], "just by then"


CANNOT = "Batch 2 lets something go, and says a moment at which it cannot have been moved."
LIES = "Batch {} was moved before a batch before it noted what was let go: one lies."


@pytest.mark.parametrize(
    ("at", "problems"),
    [
        (5 * MINUTE, []),
        (5 * MINUTE + timedelta(microseconds=1), [CANNOT]),
        (-5 * MINUTE, []),
        (-5 * MINUTE - timedelta(microseconds=1), [CANNOT]),
    ],
)
def test_a_note_is_moved_when_it_can_have_been(at, problems):
    """Neither later than now nor before the batch in front of it, by more than clocks may differ."""
    record = Made().batch(made()).lets_go(NOON - DAY, at=NOON + at)
    assert record.problems() == problems


def test_a_note_of_a_moment_gone_by_is_no_problem_later():
    assert Made().batch(made()).lets_go(NOON - DAY, at=NOON + HOUR).problems(now=NOON + DAY) == []


@pytest.mark.parametrize(
    ("at", "problems"),
    [(-5 * MINUTE, []), (-5 * MINUTE - timedelta(microseconds=1), [LIES.format(3)])],
)
def test_nothing_is_moved_before_a_note_that_stands_before_it(at, problems):
    record = Made().batch(made(1)).lets_go(NOON - DAY).batch(made(2), at=NOON + at)
    assert record.problems() == problems


def test_batches_that_let_nothing_go_may_say_what_they_want():
    assert Made().batch(made(1)).batch(made(2), at=NOON - DAY).batch(made(3), at=NOON + DAY).problems() == []


def test_the_latest_note_counts_for_what_comes_behind_it():
    record = Made().batch(made(1)).lets_go(NOON - DAY, at=NOON + HOUR).lets_go(NOON - DAY, at=NOON + HOUR - MINUTE)
    record.batch(made(2), at=NOON + HOUR - 5 * MINUTE - timedelta(seconds=30))
    assert record.problems(now=NOON + DAY) == [LIES.format(4)]


# Seals


def test_each_seal_carries_on_the_one_before():
    record = Made().batch(made(1)).seal().batch(made(2)).seal()
    first, second = (piece for piece in record.pieces if isinstance(piece, SealPiece))
    assert Sealed.read(first.line).previous is None
    assert Sealed.read(second.line).previous == (1, sha256(first.line + first.signature).hexdigest())
    record.pieces.remove(first)
    found = record.looked_at()
    assert found.problems == ["The seal of batch 2 does not carry on the seal before it: there was another one."]
    assert found.seals == 1


def test_a_seal_by_another_key_is_none():
    record = Made().batch(made()).seal(OTHER_KEY)
    found = record.looked_at()
    assert found.problems == [
        f"A seal of batch 1 was made with key {key_id(public(OTHER_KEY))}, which is none that is known."
    ]
    assert (found.seals, found.sealed_until) == (0, 0)
    assert record.looked_at(keys=(KEY, OTHER_KEY)).seals == 1


def test_a_seal_that_was_not_made_with_its_key_is_none():
    record = Made().batch(made()).seal()
    record.pieces[-1] = record.pieces[-1]._replace(signature=OTHER_KEY.sign(record.pieces[-1].line))
    found = record.looked_at()
    assert found.problems == ["The seal of batch 1 was not made with its key."]
    assert found.seals == 0


@pytest.mark.parametrize(
    "line", [b"no JSON", b"{}", b"[]", b'{"previous":{},"batch":1}', b'{"previous":null,"batch":"x"}']
)
def test_a_seal_that_cannot_be_read_is_a_problem_with_and_without_keys(line):
    record = Made().batch(made())
    record.pieces.append(SealPiece(line, b""))
    assert record.problems() == record.problems(keys=()) == ["A seal cannot be read."]


def test_a_seal_stands_behind_what_it_seals():
    assert Made().batch(made()).seal(batch=2).problems() == ["Batch 2 was sealed, but the record ends with batch 1."]
    assert Made().batch(made(1)).batch(made(2)).seal(batch=1).problems() == ["A seal of batch 1 stands behind batch 2."]
    assert Made().batch(made()).seal(hash=bytes(32)).problems() == [
        "Batch 1 is not the one that was sealed on 2026-03-03T12:00:00.000000Z."
    ]


def test_the_record_is_sealed_until_the_farthest_seal():
    record = Made().batch(made(1)).batch(made(2)).seal().seal(batch=1, at=NOON + DAY)
    found = record.looked_at()
    assert (found.sealed_until, found.sealed_at) == (2, "2026-03-03T12:00:00.000000Z")
    again = Made().batch(made(1)).seal().seal(at=NOON + DAY).looked_at()
    assert (again.problems, again.sealed_until, again.sealed_at) == ([], 1, "2026-03-04T12:00:00.000000Z")


def test_keys_are_known_by_what_seals_call_them():
    keys = signing.Keys([public(KEY)])
    (seal,) = Made().batch(made()).seal().pieces[1:]
    assert key_id(public(KEY)) in keys
    assert key_id(public(OTHER_KEY)) not in keys
    assert key_id(public(KEY)) == sha256(public(KEY)).hexdigest()[:16]
    assert keys.made_seal(seal)
    assert not keys.made_seal(seal._replace(signature=bytes(64)))
    assert not keys.made_seal(seal._replace(line=b"no seal"))
    assert not signing.Keys([public(OTHER_KEY)]).made_seal(seal)
    assert not signing.Keys([])


def test_a_seal_says_up_to_where_by_which_key_and_when():
    (piece,) = Made().batch(made()).seal(hash=b"\xab" * 32).pieces[1:]
    assert Sealed.read(piece.line) == (1, "ab" * 32, key_id(public(KEY)), "2026-03-03T12:00:00.000000Z", None)
    assert sorted(json.loads(piece.line)) == ["batch", "hash", "key", "made_at", "previous"]
    assert signing.name_of(None) is None


def saying(**members):
    """The line of a seal that says something else."""
    (piece,) = Made().batch(made()).seal().pieces[1:]
    return chain.line(**{**json.loads(piece.line), **members})


@pytest.mark.parametrize("number", [1, 2**63 - 1])
def test_a_seal_names_a_batch_by_a_number_that_it_can_have(number):
    seal = Sealed.read(saying(batch=number, previous={"batch": number, "hash": "ab"}))
    assert (seal.batch, seal.previous) == (number, (number, "ab"))
    assert seal.at == NOON


@pytest.mark.parametrize(
    "members",
    [
        *({"batch": number} for number in (0, -1, 2**63, 1.0, "1", None)),
        {"previous": {"batch": 0, "hash": ""}},
        {"previous": {"batch": 1}},
        {"made_at": "soon"},
    ],
)
def test_what_no_seal_can_say_is_no_seal(members):
    piece = SealPiece(saying(**members), b"")
    assert signing.is_seal(piece) is False
    with pytest.raises(ValueError, match="It is no seal"):
        Sealed.read(piece.line)
    assert signing.is_seal(SealPiece(saying(), b"")) is True


def test_seals_carry_on_one_after_the_other_in_whatever_order_they_are_found():
    record = Made().batch(made(1)).seal().batch(made(2)).seal().batch(made(3)).seal()
    first, second, third = (piece for piece in record.pieces if isinstance(piece, SealPiece))
    assert signing.carrying_on(None, [third, first, second]) == [first, second, third]
    assert signing.carrying_on(signing.name_of(first), [first, third, second]) == [second, third]
    assert signing.carrying_on(None, [second, third]) == []
    assert signing.carrying_on(None, []) == []
    assert signing.as_json(None) is None
    assert signing.as_json((1, "ab")) == {"batch": 1, "hash": "ab"}


def test_of_two_seals_that_carry_on_the_same_one_neither_counts():
    record = Made().batch(made(1)).seal()
    first = record.last_seal
    one = record.batch(made(2)).seal().last_seal
    record.last_seal = first
    other = record.seal(at=NOON + DAY).last_seal
    assert signing.carrying_on(None, [first, one, other]) == [first]


# What came late


@pytest.mark.parametrize(("later", "late"), [(DAY, 0), (DAY + timedelta(milliseconds=1), 1)])
def test_what_came_more_than_a_day_late_is_counted(later, late):
    event = made(at=NOON)
    found = Made().batch(event, at=NOON + later).looked_at(now=NOON + 2 * DAY)
    assert (found.late, found.first_late, found.problems) == (late, event.id if late else None, [])


def test_the_first_that_came_late_is_named_and_all_are_counted():
    on_time = made(9, at=NOON + 3 * DAY)
    record = Made().batch(made(1), made(2), on_time, at=NOON + 3 * DAY).batch(made(3), at=NOON + 3 * DAY)
    found = record.looked_at(now=NOON + 3 * DAY)
    assert (found.late, found.first_late) == (3, made(1).id)


def test_counts_and_what_was_taken_in_come_when_they_come():
    event = made(1, repeats=1)
    record = Made().batch(made(2), note=chain.line(**{chain.FROM_BEFORE: 1}).decode(), at=NOON + 3 * DAY)
    record.batch(made(3, at=NOON + 3 * DAY), at=NOON + 3 * DAY)
    assert record.looked_at(now=NOON + 3 * DAY).late == 0
    record = Made().batch(event).batch(more=[counted(event, 1)], at=NOON + 3 * DAY)
    assert record.looked_at(now=NOON + 3 * DAY).late == 0
    record.batch(made(2), note=chain.line(**{chain.FROM_BEFORE: 1}).decode(), at=NOON + 3 * DAY)
    assert record.looked_at(now=NOON + 3 * DAY).late == 1, "there were batches before it"


def test_an_id_of_the_very_moment_is_not_late():
    event = made()
    first = event._replace(id=ids.first_id(NOON))
    assert Made().batch(first, at=NOON + DAY).looked_at(now=NOON + 2 * DAY).late == 0


# Files


def written(record=None, key=KEY):
    record = record or Made().batch(made(1), made(2, repeats=1), more=[counted(made(2), 1)]).seal().batch(made(3))
    return list(lines(record.pieces, key, NOON))


def look(content, keys=(KEY,), now=NOON):
    return look_at_file(Verifier(map(public, keys), now), BytesIO(b"".join(content)))


def test_a_file_has_a_line_for_each_batch_event_and_seal_and_one_that_ends_it():
    record = Made().batch(made(1, repeats=1), made(2), more=[counted(made(1), 1)]).seal()
    (batch, seal), event = record.pieces, made(1, repeats=1)
    end = json.dumps(
        {
            "batch": 1,
            "hash": batch.hash.hex(),
            "key": key_id(public(KEY)),
            "made_at": "2026-03-03T12:00:00.000000Z",
            "sha256": sha256(b"".join(written(record)[:-1])).hexdigest(),
        },
        separators=(",", ":"),
    ).encode()
    assert written(record) == [
        b"batch\t%b\t%b\n" % (batch.line, batch.hash.hex().encode()),
        b"event\t%b\t%b\n" % (event.content, event.counted),
        b"event\t%b\t\n" % made(2).content,
        b"seal\t%b\t%b\n" % (seal.line, b64encode(seal.signature)),
        b"end\t%b\t%b\n" % (end, b64encode(KEY.sign(b"end\t" + end))),
    ]


def test_a_file_is_read_as_it_was_written():
    record = Made().batch(made(1), made(2, repeats=1), more=[counted(made(2), 1)]).seal().batch(made(3))
    *pieces, end = pieces_of(written(record))
    assert [
        piece._replace(events=tuple(piece.events)) if isinstance(piece, BatchPiece) else piece for piece in pieces
    ] == (record.pieces)
    assert end == EndPiece(end.line, KEY.sign(signing.END + end.line), sha256(b"".join(written(record)[:-1])).digest())
    found = look(written(record))
    assert (found.problems, found.ended_at, found.last_batch) == ([], "2026-03-03T12:00:00.000000Z", 2)


def test_the_rest_of_a_file_is_read_with_what_was_before_it():
    content = written()
    *_, end = pieces_of(content[4:], sha256(b"".join(content[:4])))
    assert end.before == sha256(b"".join(content[:-1])).digest()


def test_a_file_of_nothing_ends_at_no_batch():
    content = written(Made())
    assert json.loads(content[0].split(b"\t")[1])["batch"] == 0
    assert "There is no batch at all." in look(content).problems


def test_a_file_without_its_end_was_cut_off():
    found = look(written()[:-1])
    assert found.problems == ["It does not end as it was written: it was cut off."]
    assert look([]).problems == ["It does not end as it was written: it was cut off.", "There is no batch at all."]


def test_something_behind_the_end_is_found():
    content = written()
    assert look([*content, content[-1]]).problems[0] == "Something stands behind the end."
    behind = look([*content, *written(Made().batch(made(1)))[:1]]).problems
    assert "Something stands behind the end." in behind


def test_the_end_of_another_record_is_found():
    other = written(Made().batch(made(4)))
    record = Made().batch(made(1)).batch(made(2))
    assert look([*written(record)[:-1], other[-1]]).problems == [
        "The end is that of batch 1, and the last one is batch 2."
    ]
    same_number = Made().batch(made(1))
    assert look([*written(same_number)[:-1], other[-1]]).problems == [
        "The end is that of batch 1, and the last one is batch 1."
    ]


def test_something_before_the_end_that_is_not_as_it_was_written_is_found():
    record = Made().batch(made(1)).seal()
    assert look([written(record)[number] for number in (0, 1, 3)]).problems == [
        "Something before the end is not as it was written."
    ]


def test_an_event_that_was_taken_out_of_a_file_comes_before_what_follows_from_it():
    one, two = made(1), made(2)
    content = written(Made().batch(one).batch(two))
    taken = next(number for number, line in enumerate(content) if str(one.id).encode() in line)
    assert look([*content[:taken], *content[taken + 1 :]]).problems == [
        f"Event {one.id} of batch 1 is missing, and nothing says that it was let go.",
        "Something before the end is not as it was written.",
    ]


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_an_end_that_was_signed_with_no_known_key_is_found(key):
    content = written(Made().batch(made(1)), key)
    assert look(content).problems == ["The end was not signed with a key that is known: it may be another one."]
    assert look(content, keys=()).problems == []
    said, signature = content[-1].split(b"\t")[1:]
    assert json.loads(said)["key"] == (key_id(public(key)) if key else "")
    assert (signature == b"\n") == (key is None)


def test_no_seal_stands_in_for_an_end():
    content = written(Made().batch(made(1)))
    said = content[-1].split(b"\t")[1]
    content[-1] = b"end\t%b\t%b\n" % (said, b64encode(KEY.sign(said)))
    assert "The end was not signed" in look(content).problems[0]


@pytest.mark.parametrize(
    "said", [b"no JSON", b"{}", b"[]", b'{"batch":"x","hash":"","key":"","made_at":"","sha256":""}']
)
def test_an_end_that_cannot_be_read_is_a_problem(said):
    content = [*written()[:-1], b"end\t%b\t\n" % said]
    assert look(content).problems[0] == "The end cannot be read."


def altered(number, change):
    content = written()
    content[number] = change(content[number])
    return content


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, lambda line: line[:-1] + b"\tmore\n"),
        (0, lambda line: line.rpartition(b"\t")[0] + b"\n"),
        (0, lambda line: line.rpartition(b"\t")[0] + b"\tno hex\n"),
        (0, lambda line: line.rpartition(b"\t")[0] + b"\t" + b"AB" * 32 + b"\n"),
        (0, lambda line: b"patch" + line[5:]),
        (1, lambda line: line.replace(b'"id"', b'"ID"')),
        (1, lambda line: line.replace(b'"digest":"', b'"digest":"x')),
        (1, lambda line: b"event\t[]\t\n"),
        (1, lambda line: b"event\tno JSON\t\n"),
        (3, lambda line: line[:-2] + b"\n"),
        (3, lambda line: line[:-1] + b"=\n"),
        (3, lambda line: line.rpartition(b"\t")[0] + b"\tQQ==\n".replace(b"QQ", b"QR")),
        (3, lambda line: b"sea!" + line[4:]),
        (3, lambda line: line.rpartition(b"\t")[0] + b"\t!" + line.rpartition(b"\t")[2]),
        (5, lambda line: line[:-1]),
    ],
)
def test_a_line_that_is_none_is_named_by_its_number(number, change):
    with pytest.raises(ValueError, match=rf"^Line {number + 1} is none of a file of evidence\.$"):
        look(altered(number, change))


def test_a_line_that_does_not_end_is_none():
    content = written()
    with pytest.raises(ValueError, match=rf"^Line {len(content)} is none"):
        look([*content[:-1], content[-1][:-1]])


def test_an_event_before_any_batch_is_none():
    content = written()
    with pytest.raises(ValueError, match=r"^Line 1 is none"):
        look(content[1:])


def test_an_event_behind_a_seal_is_none():
    content = written()
    with pytest.raises(ValueError, match=r"^Line 5 is none"):
        look([*content[:4], content[1]])


def test_what_is_gone_but_counted_is_looked_for_in_the_whole_file():
    event = made(1)
    record = let_go_but_counted(event, more_of_its_day=())
    content = list(lines(record.pieces, KEY, NOON + 2 * DAY))
    assert look(content, now=NOON + 2 * DAY).problems == []
    again = Made().batch(made(5), listed=[made(5), made(6)]).batch(more=[counted(made(5), 1)])
    again = list(lines(again.lets_go(NOON + 2 * DAY, at=NOON + 2 * DAY).pieces, KEY, NOON + 2 * DAY))
    assert look(again, now=NOON + 2 * DAY).problems == [
        f"Event {made(5).id} was counted in batch 2, and does not say so any more."
    ]


def test_ids_of_a_file_are_those_of_its_events():
    assert list(ids_of(written())) == [made(number).id for number in (1, 2, 3)]
    assert isinstance(next(ids_of(written())), UUID)
