"""Hooks come late, again, and in another order; what is told of them in the end is the same."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from itertools import pairwise

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.audit.models import AuditEvent, Batch, HookRecord
from apps.audit.moving.mover import move_batch
from apps.audit.recording.recorder import new_id
from apps.audit.stories.session import session_story
from apps.live.models import Lease
from tests import factories
from tests.hooks.conftest import another_process, start_process  # noqa: F401 - fixtures

START = timezone.now().replace(microsecond=0) - timedelta(hours=1)
TOLD = (
    ("publishStream", {"mediaSessionId": "m-1", "name": "lobby", "published": True}),
    ("StreamStatusEvent", {"mediaSessionId": "m-1", "name": "lobby", "published": True, "status": "PUBLISHING"}),
    ("StreamStatusEvent", {"mediaSessionId": "m-1", "name": "lobby", "published": True, "status": "UNPUBLISHED"}),
    ("call", {"callId": "c-1", "callee": "10009", "caller": "10007"}),
    ("CallStatusEvent", {"callId": "c-1", "callee": "10009", "caller": "10007", "status": "ESTABLISHED"}),
    ("CallStatusEvent", {"callId": "c-1", "callee": "10009", "caller": "10007", "status": "FINISH"}),
)
"""What happens in a session: a stream and a call, each asked for, started and ended."""

SLOW = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def arrivals(draw, count):
    """The numbers of what comes, in any order and in any batches."""
    order = draw(st.permutations(range(count)))
    cuts = sorted(draw(st.sets(st.integers(1, count - 1))))
    return [order[one:two] for one, two in pairwise([0, *cuts, count])]


@pytest.fixture
def session(wcs, school):
    """The records of a session, as the hooks recorded them, with the moments at which they came."""
    factories.make_rule("call", user=school["alice"])

    @cache
    def records(*moments):
        HookRecord.objects.all().delete()
        for (method, members), seconds in zip(TOLD, moments, strict=True):
            wcs.hook(method, **members)
            HookRecord.objects.filter(received_at__gt=START + timedelta(minutes=30)).update(
                received_at=START + timedelta(seconds=seconds)
            )
        return list(HookRecord.objects.order_by("id"))

    assert wcs.hook("connect", custom={"token": "tok-alice"}).status == 200
    move_batch()
    return records


def moved(records, batches):
    """What is known when these records were moved in these batches."""
    for model in (AuditEvent, HookRecord, Lease, Batch):
        model.objects.all().delete()
    for numbers in batches:
        HookRecord.objects.bulk_create([records[number] for number in numbers])
        move_batch()
    return known()


def known():
    """What ran, what is counted, and the story of the session."""
    story = session_story(
        factories.NODE_ID,
        factories.SESSION_ID,
        at=None,
        after=START,
        now=timezone.now(),
        with_log=True,
        with_leases=True,
    ).told
    ran = Lease.objects.order_by("key").values_list("key", "opened_at", "started_at", "ended_at", "end_reason")
    return {
        "ran": list(ran),
        "counted": list(AuditEvent.objects.order_by("id").values_list("method", "status", "repeats")),
        "told": [(entry.text, entry.times) for entry in story.entries],
        "runs": sorted((id_, run.began, run.started, run.ended) for id_, run in story.runs.items()),
    }


@SLOW
@given(batches=arrivals(len(TOLD)))
def test_in_whatever_order_and_batches_hooks_are_moved_the_same_is_known(session, batches):
    records = session(*range(len(TOLD)))
    in_order = moved(records, [range(len(TOLD))])
    assert [row[2:4] for row in in_order["ran"]] == [
        (START + timedelta(seconds=4), START + timedelta(seconds=5)),
        (START + timedelta(seconds=1), START + timedelta(seconds=2)),
    ]
    assert moved(records, batches) == in_order


@SLOW
@given(batches=arrivals(len(TOLD)))
def test_how_long_it_was_is_said_of_each_end_whose_beginning_was_moved_by_then(session, batches):
    records = session(*range(len(TOLD)))
    moved(records, batches)
    batch_of = {number: place for place, numbers in enumerate(batches) for number in numbers}
    for asked, started, ended in ((0, 1, 2), (3, 4, 5)):
        duration = AuditEvent.objects.get(id=records[ended].id).duration
        if batch_of[asked] > batch_of[ended]:
            assert duration is None
        else:
            since = started if batch_of[started] <= batch_of[ended] else asked
            assert duration == records[ended].received_at - records[since].received_at


@SLOW
@given(batches=arrivals(3))
def test_an_end_that_came_before_its_start_has_ended_it(session, batches):
    """The end at 1.0, the start at 1.2: it was two threads of WCS that sent them."""
    records = session(0, 1.2, 1, 3, 4, 5)[:3]
    in_order = moved(records, [range(3)])
    assert [row[3] for row in in_order["ran"]] == [START + timedelta(seconds=1)]
    assert [text for text, _ in in_order["told"]] == [
        text for text, _ in moved(session(0, 1, 1.2, 3, 4, 5)[:3], [range(3)])["told"]
    ]
    assert moved(records, batches) == in_order


@SLOW
@given(batches=arrivals(8), again=st.lists(st.integers(0, 7), max_size=4))
def test_each_of_two_hooks_that_came_four_times_is_one_event_with_its_count(session, batches, again):
    """However late some of them are moved, and though the recorder writes some again after they were."""
    first, second = session(*range(len(TOLD)))[1:3]
    records = [copied(hook, seconds) for hook in (first, second) for seconds in range(4)]
    known = moved(records, [*batches, *([number] for number in again)])
    assert sorted(known["counted"]) == [
        ("StreamStatusEvent", "PUBLISHING", 3),
        ("StreamStatusEvent", "UNPUBLISHED", 3),
    ]


def copied(record, seconds):
    """The same hook, so many seconds later."""
    values = {field.attname: getattr(record, field.attname) for field in HookRecord._meta.concrete_fields}
    at = record.received_at + timedelta(seconds=seconds)
    return HookRecord(**{**values, "id": new_id(at), "received_at": at})


@pytest.mark.parametrize("moved_between", [False, True])
def test_the_same_hook_at_once_from_two_processes_is_one_event(wcs, session, another_process, moved_between):  # noqa: F811
    method, members = TOLD[1]
    for _ in range(2):
        with ThreadPoolExecutor(4) as threads:
            answers = threads.map(lambda process: process.hook(method, **members).status, [wcs, another_process] * 2)
            assert list(answers) == [200] * 4
        if moved_between:
            move_batch()
    move_batch()
    assert AuditEvent.objects.values_list("repeats", flat=True).get(method=method) == 7
