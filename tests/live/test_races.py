"""Limits hold however many come at the same moment: exactly as many get in as the limit says."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest
from django.db import connection

from apps.access.models import Rule
from apps.audit.models import HookRecord
from apps.live.models import Lease
from tests import factories

ADMISSION = import_module("apps.audit.migrations.0004_admission").SQL
LOCK = "PERFORM pg_advisory_xact_lock(limited.lock);"
END = "    RETURN QUERY SELECT good_effect, good_reason, lets_in;\n"
THREADS, EACH = 20, 10


@pytest.fixture
def crowd(start_process, school, settings):
    """Sends 200 hooks out of 20 threads, each with a connection of its own, spread over two processes. All have time
    to be answered, however busy the machine is."""
    settings.HOOK_TIME_LIMIT = 10
    gates = [start_process(), start_process()]
    threads = ThreadPoolExecutor(THREADS)

    def crowd(method, members_of):
        begin = threading.Barrier(THREADS)

        def attempts(number):
            begin.wait()
            return [gates[number % 2].reason(method, **members_of(number * EACH + each)) for each in range(EACH)]

        return Counter(reason for reasons in threads.map(attempts, range(THREADS)) for reason in reasons)

    yield crowd
    threads.shutdown()


@pytest.fixture
def slow_admission():
    """Lets whoever was let in linger a little before it is committed; and takes a protection away."""

    def slow(without=""):
        assert not without or without in ADMISSION
        sql = ADMISSION.replace(without, "NULL;") if without else ADMISSION
        run(sql.replace(END, f"    PERFORM pg_sleep(0.02);\n{END}"))

    yield slow
    run(ADMISSION)


def run(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))


@pytest.mark.parametrize("most", range(1, 21))
def test_of_200_at_once_exactly_as_many_get_in_as_the_limit_says(wcs, crowd, school, most):
    factories.make_rule("play", limit_per="target", at_once=most)
    assert wcs.reason("connect", custom={"token": "tok-charlie"}) == ""
    reasons = crowd("playStream", lambda number: {"name": "attic", "mediaSessionId": f"m-{number}"})
    assert reasons == {"": most, "limit-reached": 200 - most}
    assert Lease.objects.filter(action="play").count() == most
    effects = Counter(HookRecord.objects.filter(method="playStream").values_list("effect", flat=True))
    assert effects == {"allow": most, "deny": 200 - most}


def test_sessions_too(crowd, school):
    Rule.objects.all().delete()
    factories.make_rule("connect", limit_per="user", at_once=3)
    reasons = crowd("connect", lambda number: {"sessionId": f"/10.0.0.7:{number}/n", "custom": {"token": "tok-alice"}})
    assert reasons == {"": 3, "limit-reached": 197}


def test_and_viewers_of_a_stream_whatever_rules_let_them_in(wcs, crowd, school):
    factories.make_rule("play")
    factories.make_rule("play", limit_per="user", at_once=150)
    factories.make_stream("attic", max_viewers=7)
    assert wcs.reason("connect", custom={"token": "tok-charlie"}) == ""
    reasons = crowd("playStream", lambda number: {"name": "attic", "mediaSessionId": f"m-{number}"})
    assert reasons == {"": 7, "limit-reached": 193}


def test_the_same_hook_from_everywhere_is_let_in_once_and_answered_alike(wcs, crowd, school):
    factories.make_rule("play", limit_per="user", at_once=1)
    assert wcs.reason("connect", custom={"token": "tok-charlie"}) == ""
    assert crowd("playStream", lambda number: {"name": "attic", "mediaSessionId": "m"}) == {"": 200}
    assert Lease.objects.filter(action="play").count() == 1


@pytest.mark.parametrize(("without", "exact"), [("", True), (LOCK, False)])
def test_it_is_the_lock_that_makes_it_exact(wcs, crowd, school, slow_admission, without, exact):
    slow_admission(without=without)
    factories.make_rule("play", limit_per="user", at_once=3)
    assert wcs.reason("connect", custom={"token": "tok-charlie"}) == ""
    reasons = crowd("playStream", lambda number: {"name": "attic", "mediaSessionId": f"m-{number}"})
    assert (reasons[""] == 3) is exact
    assert reasons[""] >= 3
