"""Web processes are killed while hooks come in, on two machines: no hook seems missing; and one that is, is found."""

import json
import subprocess
import sys
import time

import psycopg

from apps.audit.count_file import left_in
from runner import ROOT
from runner.up import WEB
from tests.system.services import environment, wait_until
from tests.system.test_outages import KEY, Load, _post, folder, port_of, postgres, stack, start_web  # noqa: F401

WORKERS = int(WEB[WEB.index("--workers") + 1])
LOOK = """
import json
from apps.audit.gaps import gaps, per_node
from apps.audit.tasks import look_for_gaps, move_records
moved = move_records()
missing = look_for_gaps()
found = [(gap.node_name, gap.process, gap.missing, str(gap.missing_since)) for gap in gaps()]
print(json.dumps([missing, per_node(), found]))
"""


def look(postgres, spool):  # noqa: F811 - the fixture
    """What the workers of a machine find; as they do it, in a process of its own."""
    own = environment(DATABASE_URL=postgres.url, WCSGATE_SPOOL=str(spool), WCSGATE_ENCRYPTION_KEYS=KEY)
    line = [sys.executable, "manage.py", "shell", "--no-imports", "-c", LOOK]
    done = subprocess.run(line, cwd=ROOT, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_web_processes_killed_under_load_leave_nothing_missing(folder, postgres, start_web):  # noqa: F811
    first, second = start_web("first"), start_web("second", spool="other-machine")
    with Load([port_of(first), port_of(second)]) as load:
        for web in (first, second, first):
            time.sleep(1.2)
            web.kill()
            web.start()
            web.wait_until_ready()
        time.sleep(1)
    for spool in ("spool", "other-machine"):
        wait_until(lambda spool=spool: len(left_in(folder / spool)) == WORKERS, "the files of those that were killed")
    time.sleep(2.5)
    missing, nodes, _ = look(postgres, folder / "spool")
    sums = {name: sum(node[name] for node in nodes) for name in ("answered", "stored", "pending", "bad")}
    assert missing == 0
    assert len(load.answered) > 50
    assert sums["answered"] >= len(load.answered)
    assert sums == {"answered": sums["stored"], "stored": sums["stored"], "pending": 0, "bad": 0}

    assert _post(port_of(first), "StreamStatusEvent", n=-1) == 200
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("DELETE FROM audit_hookrecord").rowcount == 1
    time.sleep(2.5)
    missing, _, ((node, process, hooks, since),) = look(postgres, folder / "spool")
    assert (missing, hooks, node) == (1, 1, "n@1")
    assert process in {path.stem for path in left_in(folder / "spool")}
    assert since.startswith("20")
