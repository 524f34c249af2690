"""A plugin of pytest: the whole suite is spread over workers, one more than cores, each with a database of its own.

pytest-xdist runs them, and whichever worker is free takes the next file. Services are started by one worker only: these
tests mostly wait, so that meanwhile another one computes, and none of them waits for what the other has started.
"""

import os
import signal

import pytest
from xdist.scheduler import LoadFileScheduling

from runner.processes import LIBC, PR_SET_PDEATHSIG

SERVICES = ("tests/system/", "tests/runner/")
CHOOSING = ("keyword", "markexpr", "lf", "failedfirst", "newfirst", "stepwise")


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config):
    """One more than there are cores, as the one that has the services mostly waits; none where tests were chosen: a few
    of them take less time than workers need to start.
    """
    chosen = config.args_source is config.ArgsSource.ARGS or any(config.getoption(option, None) for option in CHOOSING)
    return 0 if chosen else (os.cpu_count() or 1) + 1


def pytest_configure(config):
    """A worker ends with the run that it works for, even if that is killed."""
    if hasattr(config, "workerinput") and LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def starts_services(nodeid):
    return nodeid.startswith(SERVICES)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """What starts services comes first: it is the longest piece of work that cannot be divided."""
    items.sort(key=lambda item: not starts_services(item.nodeid))


class Scheduling(LoadFileScheduling):
    """Files stay together, and so do all that start services."""

    def _split_scope(self, nodeid):
        return "services" if starts_services(nodeid) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)
