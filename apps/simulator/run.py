"""Playing a scenario on a node: every client in a thread of its own."""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from apps.simulator.client import Client
from apps.simulator.node import SimulatedNode
from apps.simulator.scenario import Scenario

MOST_AT_ONCE = 128


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario that has been played."""

    scenario: Scenario
    node: SimulatedNode
    url: str
    clients: list[Client]
    seconds: float

    @property
    def as_expected(self) -> bool:
        return not any(client.differences for client in self.clients)


def play(scenario: Scenario, node: SimulatedNode, url: str) -> Played:
    """Play it to its end. Ctrl-C makes everyone leave early; what was experienced until then is reported."""
    clients = [Client(node, person, steps, scenario.rounds) for person, steps in scenario.clients]
    began = time.monotonic()
    with node, ThreadPoolExecutor(min(len(clients), MOST_AT_ONCE), thread_name_prefix="client") as threads:
        lives = [threads.submit(client.live) for client in clients]
        try:
            wait(lives)
        except KeyboardInterrupt:
            node.leaving.set()
            wait(lives)
    for life in lives:
        life.result()
    return Played(scenario, node, url, clients, time.monotonic() - began)
