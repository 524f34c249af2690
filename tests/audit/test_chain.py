"""What of the record is hashed, and how; and what ids say. Pure."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from uuid import UUID

import pytest

from apps.access.reasons import NOTED, STAFF_ACTION, Reason
from apps.audit import chain, ids

NOON = datetime(2026, 3, 3, 12, 0, 0, 25, tzinfo=UTC)
ID = UUID("019cb378-7a00-8000-8000-00000a00000b")
EVENT = {"id": ID, "received_at": NOON, "rule_ids": [1, 2], "duration": None, "digest": b"\xab\xcd", "body": b"{}"}


# Lines


def test_a_line_has_one_form():
    member = {"b": "Zoë", "a": None, "at": NOON.astimezone(timezone(timedelta(hours=2))), "n": 2**62, "id": ID}
    said = f'{{"a":null,"at":"2026-03-03T12:00:00.000025Z","b":"Zoë","id":"{ID}","n":{2**62}}}'
    assert chain.line(**member) == said.encode()


def test_bytes_are_text_where_they_can_be():
    assert chain.line(a=b"Zo\xc3\xab", b=b"\xff") == '{"a":"Zoë","b":{"base64":"/w=="}}'.encode()


@pytest.mark.parametrize(
    ("lasted", "said"),
    [(None, None), (timedelta(days=1, microseconds=1), 86_400_000_001), (timedelta(seconds=-1), -(10**6))],
)
def test_an_event_says_how_long_it_lasted_in_microseconds(lasted, said):
    line = json.loads(chain.event_line({**EVENT, "duration": lasted}))
    assert line == {
        "id": str(ID),
        "received_at": "2026-03-03T12:00:00.000025Z",
        "rule_ids": [1, 2],
        "duration": said,
        "digest": "abcd",
        "body": "{}",
    }


def test_what_the_database_gives_as_memory_is_the_same():
    kept = {**EVENT, "digest": memoryview(EVENT["digest"]), "body": memoryview(EVENT["body"])}
    assert chain.event_line(kept) == chain.event_line(EVENT)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [(STAFF_ACTION, b"S"), *((noted, b"E") for noted in NOTED), (Reason.NO_RULE, b"D"), (Reason.ALLOWED_BY_RULE, b"D")],
)
def test_each_reason_is_of_one_kind(reason, kind):
    assert chain.kind_of(reason) == kind


def test_what_kinds_are_called_where_they_are_let_go():
    assert chain.CLASSES == {"decisions": b"D", "status events": b"E", "changes by staff": b"S"}
    assert chain.FROM_BEFORE == "from before", "as it stands in batches that are there"


def test_a_count_has_no_line_as_long_as_nothing_was_counted():
    later = NOON + timedelta(seconds=1)
    assert chain.count_line(ID, NOON, NOON, 0, while_away=False) == b""
    for counted in ((later, 0, False), (NOON, 1, False), (NOON, 0, True)):
        last, repeats, away = counted
        assert json.loads(chain.count_line(ID, NOON, *counted)) == {
            "id": str(ID),
            "last_received_at": last.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "repeats": repeats,
            "while_away": away,
        }


# Entries and batches


def test_entries_are_read_as_they_were_written():
    digest, content = bytes(range(16)), b"content"
    kept = chain.entry(b"D", ID, content) + chain.count_entry(b"D", ID, digest, content)
    assert list(chain.entries(kept)) == [
        (b"D", ID, sha256(content).digest()),
        (b"d", ID, digest + sha256(content).digest()[:16]),
    ]
    assert len(kept) == 2 * 49
    assert list(chain.entries(b"")) == []


@pytest.mark.parametrize("more", [1, 48])
def test_what_does_not_end_with_a_whole_entry_is_none(more):
    with pytest.raises(ValueError, match="whole entry"):
        list(chain.entries(chain.entry(b"D", ID, b"content") + bytes(more)))


@pytest.mark.parametrize(("digest", "half"), [(b"", bytes(16)), (b"ab", b"ab" + bytes(14)), (b"x" * 20, b"x" * 16)])
def test_a_digest_of_another_length_takes_half_an_entry_as_well(digest, half):
    assert chain.counted_as(digest, b"content") == half + sha256(b"content").digest()[:16]


def test_a_batch_says_all_of_itself_and_carries_on_the_one_before():
    kept, previous = chain.entry(b"D", ID, b"content"), bytes(range(32))
    line = chain.batch_line(7, NOON, "note", previous, kept)
    assert json.loads(line) == {
        "batch": 7,
        "entries": b64encode(kept).decode(),
        "moved_at": "2026-03-03T12:00:00.000025Z",
        "note": "note",
        "previous": previous.hex(),
    }
    assert chain.batch_hash(7, NOON, "note", previous, kept) == sha256(line).digest()
    assert bytes(32) == chain.BEFORE_THE_FIRST


# Ids


def test_an_id_says_when_it_was_made_and_which_number_of_which_counter_it_has():
    id_ = ids.numbered_id(NOON, 11, 12)
    assert (id_.version, id_.variant, ids.moment_of(id_)) == (8, "specified in RFC 4122", NOON.replace(microsecond=0))
    assert ids.numbers_by_counter([id_]) == {11: [12]}


@pytest.mark.parametrize("counter", [0, 1, (1 << 40) - 1])
@pytest.mark.parametrize("number", [0, 1, (1 << 22) - 1, 1 << 22, (1 << 33) + 5, ids.LAST_NUMBER])
def test_every_number_of_every_counter_comes_out_as_it_went_in(counter, number):
    id_ = ids.numbered_id(NOON, counter, number)
    assert (id_.version, ids.moment_of(id_)) == (8, NOON.replace(microsecond=0))
    assert ids.numbers_by_counter([id_]) == {counter: [number]}


def test_numbers_are_gathered_by_counter_and_other_ids_have_none():
    other = UUID(int=ids.numbered_id(NOON, 1, 1).int ^ (0xF << 76))
    some = [ids.numbered_id(NOON, 1, 5), other, ids.numbered_id(NOON, 2, 6), ids.numbered_id(NOON, 1, 7)]
    assert ids.numbers_by_counter(some) == {1: [5, 7], 2: [6]}


def test_the_last_number_is_what_there_is_room_for():
    assert ids.LAST_NUMBER.bit_length() == 12 + ids._LOW
    assert ids.LAST_NUMBER == (1 << 34) - 1


@pytest.mark.parametrize(
    ("moment", "later", "milliseconds"),
    [
        (ids.EPOCH, timedelta(0), 0),
        (ids.EPOCH, timedelta(milliseconds=2), 2),
        (ids.EPOCH, timedelta(seconds=-1), 0),
        (ids.EPOCH + timedelta(microseconds=1999), timedelta(0), 1),
    ],
)
def test_the_first_id_of_a_moment_is_below_all_that_are_made_then(moment, later, milliseconds):
    first = ids.first_id(moment, later)
    assert first.int == milliseconds << 80
    assert ids.first_id(moment) == ids.first_id(moment, timedelta(0))
    assert first <= ids.numbered_id(max(moment + later, ids.EPOCH), 0, 0)


def test_an_absurd_id_is_of_the_end_of_all_times():
    assert ids.moment_of(UUID(int=(1 << 128) - 1)) == datetime(9999, 12, 31, tzinfo=UTC)
    assert ids.moment_of(UUID(int=0)) == ids.EPOCH == datetime(1970, 1, 1, tzinfo=UTC)
    almost = datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)
    assert ids.moment_of(ids.first_id(almost)) == almost


def test_numbers_are_told_to_postgres_in_their_order():
    assert ids.multirange([3, 1]) == "{[1,1],[3,3]}"
    assert ids.multirange([]) == "{}"
