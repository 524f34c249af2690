"""What this process has in memory, asked only as long as it is what the database has."""

import time
from collections.abc import Callable
from typing import TypeVar

from apps.access.compile import Snapshot
from apps.access.models import AccessRevision
from apps.access.snapshot import snapshot_keeper
from apps.database.connection import Unavailable

PATIENCE = 5.0
"""Seconds that a member of staff may have to wait."""

Answer = TypeVar("Answer")


def at_last_revision(ask: Callable[[Snapshot], Answer]) -> Answer:
    """What `ask` finds in the snapshot of the last commit. As for a hook, it counts only if nothing changed meanwhile.

    Raises Unavailable if the database does not answer in time, or access keeps changing.
    """
    deadline = time.monotonic() + PATIENCE
    keeper = snapshot_keeper()
    while time.monotonic() < deadline:
        snapshot = keeper.current(deadline)
        revision = snapshot.revision  # read before anything else of it: see Snapshot
        if revision != last_revision():
            keeper.other_than(revision, deadline)
            continue
        answer = ask(snapshot)
        if revision == last_revision():
            return answer
    raise Unavailable("Access kept changing.")


def last_revision() -> int:
    """The database's revision."""
    return AccessRevision.objects.values_list("revision", flat=True).first() or 0
