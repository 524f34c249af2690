"""A minute of the fault run, and each protection taken out in turn: the run must miss it."""

import re
import subprocess
import sys

import pytest

from chaos.system import TWINS
from runner import ROOT
from runner.services import environment

SECONDS, SEED = 60, 4
DONE = (
    *(f"kill {victim}" for victim in ("web", "worker", "beat", "broker", "Postgres")),
    "pause Postgres (SIGSTOP)",
    "Postgres 2 s late",
    "no connection left",
    "broker flushed",
)
ON_A_SMALL_DISK = {"disk": "disk of Postgres full", "spool": "kill Postgres, spool unwritable"}


@pytest.fixture(scope="module")
def run():
    """One fault run with its twins: what it says of each, and its exit code."""
    command = [sys.executable, "manage.py", "chaos", "--seconds", str(SECONDS), "--seed", str(SEED), "--twins"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=400)
    before, *reports = re.split(r"^(?=Fault run)", done.stdout, flags=re.MULTILINE)
    assert len(reports) == 4, done.stdout + done.stderr
    return before, reports, done.returncode


def counted(report, what):
    """The number in front of these words; 0 where they are not there."""
    found = re.search(rf"^ *(\d+)  {re.escape(what)}", report, re.MULTILINE)
    return int(found[1]) if found else 0


def test_nothing_is_lost_and_nothing_doubled_whatever_is_killed_stopped_and_filled_up(run):
    before, (report, *_), code = run
    assert "Nothing was lost, nothing doubled, nobody wrongly allowed." in report, report
    assert code == 0, report
    left_out = {kind for kind in ON_A_SMALL_DISK if f"There will be no fault “{kind}”" in before}
    done = (*DONE, *(what for kind, what in ON_A_SMALL_DISK.items() if kind not in left_out))
    assert [what for what in done if not counted(report, what)] == [], report
    assert counted(report, "answered 200") > 500, report
    assert counted(report, "answered 403") > 50, report
    assert counted(report, "answered while Postgres was away, and recorded afterwards") > 50, report
    assert counted(report, "answered that they could not be decided (503)") > 10, report


@pytest.mark.parametrize(("number", "protection"), list(enumerate(TWINS, start=1)))
def test_a_protection_that_is_taken_out_is_missed(run, number, protection):
    report = run[1][number]
    assert report.startswith(f"Fault run WITHOUT {protection}"), report
    assert counted(report, "answered hooks missing") + counted(report, "hooks doubled") > 0, report
    assert "Wrong: see above." in report, report
