"""Fixtures of the hooks' tests."""

import pytest

from tests.hooks.processes import Process


@pytest.fixture
def start_process(wcs):
    """Starts processes that answer hooks besides this one; they are stopped before the database is emptied."""
    started = []

    def start(**parts):
        started.append(Process(wcs, **parts))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def another_process(start_process):
    """Another process that answers hooks."""
    return start_process()
