"""Workers and broker are killed while hooks come in: every answered hook is an audit event, exactly once."""

import os
import shutil
import sys
import time
from contextlib import ExitStack
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from apps.audit.models import AuditEvent, HookRecord
from apps.audit.mover import move_batch
from runner import ROOT
from runner.places import scratch_folder
from runner.processes import Process
from runner.servers import Broker

HOOKS = 240


def celery(name, folder, broker, *arguments):
    """A Celery process that works on the test database."""
    database = settings.DATABASES["default"]
    login = f"{quote(database['USER'])}:{quote(database['PASSWORD'])}"
    url = f"postgres://{login}@{database['HOST']}:{database['PORT']}/{quote(database['NAME'])}"
    return Process(
        name,
        [sys.executable, "-m", "celery", "-A", "wcsgate", name, "--loglevel", "error", *arguments],
        log=folder / f"{name}.log",
        env={**os.environ, "DATABASE_URL": url, "BROKER_URL": broker.url},
        cwd=ROOT,
    )


def wait_until(is_so, seconds=60):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "It took too long."
        time.sleep(0.1)


def test_killed_workers_and_brokers_lose_and_double_nothing(wcs, school):
    folder = scratch_folder("wcsgate-kills-")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        broker = stack.enter_context(Broker(folder / "broker", password="kills"))
        stack.enter_context(celery("beat", folder, broker, "-s", str(folder / "schedule")))
        worker = stack.enter_context(celery("worker", folder, broker, "--concurrency", "2"))
        wcs.hook("connect", custom={"token": "tok-alice"})
        for number in range(HOOKS):
            assert wcs.hook("StreamStatusEvent", name=f"stream-{number}", status="PUBLISHING").status == 200
            if number % 80 == 60:
                wait_until(AuditEvent.objects.exists)
                worker.kill()
                worker.start()
            if number == HOOKS // 2:
                broker.kill()
                broker.start()
        wait_until(lambda: not HookRecord.objects.exists())
    events = AuditEvent.objects.filter(method="StreamStatusEvent")
    assert sorted(events.values_list("target", flat=True)) == sorted(f"stream-{number}" for number in range(HOOKS))
    assert events.aggregate(Sum("repeats"))["repeats__sum"] == 0


@transaction.atomic
def move_and_die():
    move_batch()
    raise KeyboardInterrupt


def test_what_a_killed_worker_had_begun_is_done_by_the_next(wcs, school):
    wcs.hook("connect", custom={"token": "tok-alice"})
    with pytest.raises(KeyboardInterrupt):
        move_and_die()
    assert (HookRecord.objects.count(), AuditEvent.objects.count()) == (1, 0)
    move_batch()
    assert (HookRecord.objects.count(), AuditEvent.objects.count()) == (0, 1)
