"""A small checkout of its own for each module: our runner as it is, and a service of a few lines to run."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.places import free_port, scratch_folder
from tests.runner.service import SERVICE, copy_runner


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that the account of Postgres can reach (pytest's own are closed to it)."""
    folder = scratch_folder("wcsgate-runner-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def checkout(folder: Path) -> Path:
    """Our runner with the small service."""
    checkout = folder / "checkout"
    copy_runner(checkout)
    for name, text in SERVICE.items():
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return checkout


@pytest.fixture(scope="module")
def environment(checkout: Path) -> dict[str, str]:
    """What `up` in that checkout is told; nothing of this test run's own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("WCSGATE_", "DJANGO_"))}
    for name in ("DATABASE_URL", "BROKER_URL"):
        own.pop(name, None)
    return own | {
        "WCSGATE_NO_BOOTSTRAP": "1",
        "WCSGATE_DATA": str(checkout / ".data"),
        "WCSGATE_PORT": str(free_port()),
    }
