"""The counts of this process, and who tells the database of them."""

from functools import lru_cache

from django.conf import settings

from apps.access.snapshot import SnapshotKeeper, snapshot_keeper
from apps.audit.missing.publishing import Publishing
from apps.audit.recording import spool_folder
from apps.audit.recording.counting import Counts
from apps.database.connection import conninfo_of


def is_known(node_id: str, keeper: SnapshotKeeper | None = None) -> bool:
    """Whether a node is on the list, as far as this process has it in memory."""
    snapshot = (keeper or snapshot_keeper()).in_memory
    return snapshot is not None and node_id in snapshot.nodes.by_name


@lru_cache(maxsize=1)
def counts() -> Counts:
    """Those of this process."""
    return Counts(settings.SPOOL, is_known)


@lru_cache(maxsize=1)
def publishing() -> Publishing:
    """That of this process."""
    return Publishing(conninfo_of(settings.DATABASES["default"]), counts(), spool_folder.configured())
