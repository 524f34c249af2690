"""Workers and broker are killed while hooks come in: every answered hook is in the audit log, exactly once."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack

import pytest
from django.db import connection, transaction

from apps.audit.batches import ONE_AT_A_TIME
from apps.audit.models import AuditEvent, HookRecord
from apps.audit.mover import move_batch
from runner import ROOT
from runner.places import free_port, scratch_folder
from runner.processes import Process
from runner.servers import Broker
from runner.up import BEAT, WEB, WORKER
from tests import factories
from tests.audit.test_tallies import assert_exact
from tests.hooks.processes import conninfo
from tests.system.ledger import answered, differences, logged, waiting
from tests.system.services import Web, wait_until

KILLS = 3
SCENARIO = """
title: As many hooks as it takes; whoever plays it ends it with Ctrl-C
report: summary
keep-alive: 0
rounds: 10000
clients:
  - name: "alice{n}"
    token: tok-alice
    count: 4
    steps:
      - {connect: {lose-answers: 1}, expect: allowed}
      - {publish: {stream: "lesson-{n}", lose-answers: 2}, expect: allowed}
      - {play: staff-room, expect: refused}
      - wait: 0.05
      - {unpublish: "lesson-{n}", expect: allowed}
      - disconnect
"""


class Simulator(Process):
    """Ctrl-C is how it is told to come to its end."""

    stop_signal = signal.SIGINT


@pytest.fixture
def folder():
    folder = scratch_folder("wcsgate-kills-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def hook_path(wcs, school, environment):
    """Alice may publish lessons; the environment is that of a service on the test database."""
    factories.make_rule("publish", user=school["alice"], target=("prefix", "lesson-"))
    return {
        **environment,
        "WCSGATE_HOOK_PASSWORD": factories.HOOK_PASSWORD,
        "WCSGATE_HOOK_TIME_LIMIT": "5",  # who was not answered proves nothing, and the computer may be busy
    }


def moving():
    """Whether a mover is in the middle of a batch."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND database =
                (SELECT oid FROM pg_database WHERE datname = current_database()))""",
            [ONE_AT_A_TIME],
        )
        return cursor.fetchone()[0]


def test_killed_workers_and_brokers_lose_and_double_nothing(hook_path, folder):
    ledger, scenario, port = folder / "ledger", folder / "load.yaml", str(free_port())
    scenario.write_text(SCENARIO)
    simulator = ["manage.py", "wcs_simulator", str(scenario), "--url", f"http://127.0.0.1:{port}/hooks"]
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(folder / "broker", password="kills"))
        environment = hook_path | {"BROKER_URL": broker.url}

        def started(name, *command, kind=Process):
            line = [sys.executable, *command]
            return stack.enter_context(kind(name, line, log=folder / f"{name}.log", env=environment, cwd=ROOT))

        started("beat", "-m", *BEAT, "-s", str(folder / "schedule"), "--pidfile", "")
        worker = started("worker", "-m", *WORKER)
        started("web", "-m", *WEB, "--host", "127.0.0.1", "--port", port, "wcsgate.wsgi:application", kind=Web)
        load = started("load", *simulator, "--json", "--ledger", str(ledger), kind=Simulator)
        for _ in range(KILLS):
            before = AuditEvent.objects.count()
            wait_until(lambda before=before: AuditEvent.objects.count() > before, "the worker")
            wait_until(moving, "the worker", pause=0.001)
            worker.kill()
            broker.kill()
            assert load.alive, load.log.read_text()
            broker.start()
            broker.wait_until_ready()
            worker.start()
        os.kill(load.pid, signal.SIGINT)
        assert load.popen.wait(30) == 0, load.log.read_text()
        wait_until(lambda: waiting(conninfo()) == 0, "the worker")
    hooks = answered(ledger)
    assert hooks.total() > 100
    assert max(hooks.values()) == 3, "some were sent again"
    assert json.loads(load.log.read_text())["hooks"]["failed"] == 0
    assert differences(hooks, logged(conninfo())) == {}
    assert_exact()  # nor do statistics


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


# The comparison would notice


TWIN = """
import sys, time
import django
django.setup()
from django.utils import timezone
from apps.audit.models import AuditEvent, HookRecord
from apps.audit.enriching import Surroundings
from apps.audit.recorder import new_id

records = list(HookRecord.objects.all())

def delete():
    HookRecord.objects.all().delete()

def insert():
    for record in records:
        record.id = new_id(timezone.now())
        Surroundings([record]).event(record, 1, b"").save(force_insert=True)

first, second = (delete, insert) if sys.argv[1] == "delete" else (insert, delete)
first()
print("in between", flush=True)
sys.stdin.read()
second()
"""


def move_in_two_transactions(first, environment, *, kill):
    """A mover as it must not be; perhaps killed between the two."""
    twin = subprocess.Popen(
        [sys.executable, "-c", TWIN, first],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with twin:
        assert twin.stdout.readline() == "in between\n"
        if kill:
            twin.kill()
        twin.stdin.close()


@pytest.mark.parametrize(("first", "logged_then"), [("delete", 0), ("insert", 2)])
def test_a_mover_in_two_transactions_would_be_noticed(wcs, hook_path, first, logged_then):
    """Killed after its first one and run again, it loses or doubles what it was moving."""
    assert wcs.hook("connect", custom={"token": "tok-alice"}).status == 200
    assert wcs.hook("publishStream", name="lesson-1", mediaSessionId="M").status == 200
    ids = (factories.NODE_ID, factories.SESSION_ID)
    hooks = Counter({("connect", *ids, "", ""): 1, ("publishstream", *ids, "M", ""): 1})
    for kill in (True, False):
        move_in_two_transactions(first, hook_path, kill=kill)
    assert differences(hooks, logged(conninfo())) == dict.fromkeys(hooks, (1, logged_then))
