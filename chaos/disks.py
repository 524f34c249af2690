"""Disks that can be filled up: a small file system in memory, where root may make one.

They are mounted where only this run and its processes see them, so that the last one to end takes them along.
"""

import ctypes
import os
import subprocess
from contextlib import contextmanager, suppress

CLONE_NEWNS = 0x20000
STEP = 2**20


def private_mounts():
    """From now on, what this process mounts is seen by it and its children alone; gives why not, or ""."""
    if os.geteuid() != 0:
        return "only root can make a small disk"
    if ctypes.CDLL(None).unshare(CLONE_NEWNS) or _fails("mount", "--make-rprivate", "/"):
        return "this machine lets nobody make a small disk"
    return ""


class SmallDisk:
    """A folder with room for so many bytes, and no more."""

    def __init__(self, folder, megabytes):
        self.folder = folder
        folder.mkdir(mode=0o711)
        self.why_not = ""
        if _fails("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "none", str(folder)):
            self.why_not = "this machine lets nobody make a small disk"

    @contextmanager
    def full(self):
        """No byte is free."""
        filling = self.folder / "filling"
        try:
            with suppress(OSError), filling.open("wb", buffering=0) as file:
                while file.write(bytes(STEP)):
                    pass
            yield
        finally:
            filling.unlink(missing_ok=True)


def _fails(*command):
    return subprocess.run(command, capture_output=True, check=False).returncode != 0
