"""Advisory locks: each work has one of its own."""

import re
from pathlib import Path

from apps.audit.locks import AdvisoryLock

APPS = Path(__file__).resolve().parents[2] / "apps"


def test_every_work_has_a_lock_of_its_own():
    assert len(set(AdvisoryLock)) == len(AdvisoryLock.__members__)


def test_nobody_makes_up_another_number():
    """All advisory locks of the audit log are named in one place."""
    for path in (APPS / "audit").rglob("*.py"):
        assert path.name == "locks.py" or not re.search(r"0x5743", path.read_text()), path
