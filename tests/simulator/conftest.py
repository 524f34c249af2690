import pytest

from apps.simulator.node import SimulatedNode
from apps.simulator.run import Played, play
from apps.simulator.scenario import read
from apps.simulator.sender import Credentials, Sender
from tests.simulator.backend import Backend

FAIL = {"restOnError": "FAIL", "restPolicy": "NOTIFY"}


@pytest.fixture
def backend():
    with Backend() as backend:
        yield backend


@pytest.fixture
def node(backend):
    """A node without keep-alives, whose hooks go to the backend."""
    with SimulatedNode(Sender(backend.url), keep_alive=0) as node:
        yield node


@pytest.fixture
def played(backend):
    """Plays a scenario, given as YAML, against the backend."""

    def run(text: str, **options: object) -> Played:
        scenario = read(text)
        sender = Sender(backend.url, Credentials())
        return play(scenario, SimulatedNode(sender, keep_alive=scenario.keep_alive, **options), backend.url)

    return run
