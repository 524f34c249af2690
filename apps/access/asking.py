"""Asking under the rules of the last commit, with what this process has in memory. Nothing is recorded or changed."""

import time
from collections.abc import Callable
from typing import TypeVar

from apps.access.compile import Snapshot
from apps.access.models import AccessRevision
from apps.access.snapshot import snapshot_keeper
from apps.database.connection import Unavailable

Answer = TypeVar("Answer")

PATIENCE = 5.0
"""Seconds that somebody who asks may have to wait for fresh rules."""


def under_todays_rules(ask: Callable[[Snapshot], Answer]) -> Answer:
    """What `ask` finds in the snapshot of this moment.

    As for a hook, an answer counts only if the revision has not moved on meanwhile; else it is asked again.
    Raises Unavailable if the database does not answer in time.
    """
    deadline = time.monotonic() + PATIENCE
    keeper = snapshot_keeper()
    while time.monotonic() < deadline:
        snapshot = keeper.current(deadline)
        revision = snapshot.revision  # read before anything else of it: see Snapshot
        if revision != _last_revision():
            keeper.other_than(revision, deadline)
            continue
        answer = ask(snapshot)
        if revision == _last_revision():
            return answer
    raise Unavailable("Access kept changing.")


def _last_revision() -> int:
    return AccessRevision.objects.values_list("revision", flat=True).first() or 0
