"""Whose hooks wait in the spools of this machine. Every entry is read once, so that asking often costs little."""

from collections import Counter
from pathlib import Path

from apps.audit.recording.late import decoded
from apps.audit.recording.recorder import COLUMNS
from apps.audit.recording.spool import files, pieces
from apps.audit.recording.spool_folder import UnusableFile

_NODE = [name.strip() for name in COLUMNS.split(",")].index("node_id")
_read: dict[Path, tuple[int, Counter[str]]] = {}


def spooled_by_node(folder: Path | None) -> Counter[str]:
    """How many entries that can be read wait for each node."""
    found = {path: _read_on(path) for path in files(folder)}
    _read.clear()
    _read.update(found)
    return sum((counted for _, counted in found.values()), Counter())


def _read_on(path: Path) -> tuple[int, Counter[str]]:
    place, before = _read.get(path, (0, Counter()))
    counted = Counter(before)
    try:
        for piece in pieces(path, place):
            entry = decoded(piece.payload)
            if entry is None:
                break  # torn, or not yet whole
            counted[(entry[1][_NODE] or b"").decode()] += 1
            place = piece.end
    except (FileNotFoundError, UnusableFile):
        return 0, Counter()
    return place, counted
