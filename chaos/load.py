"""The load of a fault run: a simulated WCS node whose every hook has a number, and the ledger of what became of each.

    python -m chaos.load URL LEDGER NODE

Ctrl-C ends it. The ledger is written by the side that was answered, and knows nothing of the database.
"""

import itertools
import json
import os
import random
import signal
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from apps.simulator import run, scenario
from apps.simulator.bodies import new_id
from apps.simulator.ledger import Ledger
from apps.simulator.node import SimulatedNode
from apps.simulator.policies import DEFAULT
from apps.simulator.sender import Credentials, Sender

NUMBER = "hookNumber"
"""The member that tells hooks apart. WCS has none like it; it goes into the record with the body."""

TELLERS = 3
PAUSE = 0.15
"""Seconds between two hooks of a teller."""

AT_ONCE = 4
"""How often the same hook comes at once, now and then."""

STRANGER = {"token": "tok-nobody"}
FORBIDDEN = {("playStream", "staff-room"), ("publishStream", "lesson-charlie")}


class NumberedLedger(Ledger):
    """Has a line for every time that a hook was sent, whether it was answered or not."""

    def write(self, sequence, outcome, raw):
        body, answer = json.loads(raw), outcome.answer
        self.put(
            {
                "number": body[NUMBER],
                "method": outcome.method,
                "status": answer.status,
                "attempts": answer.attempts,
                "forbidden": is_forbidden(outcome.method, body),
            }
        )


def is_forbidden(method, body):
    """Whether nobody may be allowed this: see access.yaml."""
    return (method, body.get("name")) in FORBIDDEN or (method == "connect" and body["custom"] == STRANGER)


class NumberedNode(SimulatedNode):
    """Gives every hook its number; one that is sent several times at once has one."""

    numbers = itertools.count(1)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._at_once = ThreadPoolExecutor(AT_ONCE * TELLERS)

    def __exit__(self, *reason):
        self._at_once.shutdown()
        super().__exit__(*reason)

    def hook(self, policy, method, body, **options):
        return super().hook(policy, method, body | {NUMBER: next(self.numbers)}, **options)

    def hook_at_once(self, method, body):
        send, body = super().hook, body | {NUMBER: next(self.numbers)}
        wait([self._at_once.submit(send, DEFAULT, method, body) for _ in range(AT_ONCE)])


def tell(node):
    """Report what happens in a session, for ever; and try to get in as a stranger."""
    session = {"nodeId": node.node_id, "appKey": "defaultApp", "sessionId": node.session_id("10.30.0.1")}
    event = session | {"type": "audioMuted", "mediaSessionId": new_id()}
    ways = (
        lambda: node.hook(DEFAULT, "StreamEvent", event),
        lambda: node.hook(DEFAULT, "StreamEvent", event, lose_answers=AT_ONCE - 1),
        lambda: node.hook_at_once("StreamEvent", event),
        lambda: node.hook(DEFAULT, "connect", session | {"custom": STRANGER}),
    )
    while not node.leaving.wait(PAUSE):
        random.choices(ways, (7, 1, 1, 1))[0]()


def main(url, ledger, node_id):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a script starts in the background ignores it
    played = scenario.load(Path(__file__).with_name("load.yaml"))
    with NumberedLedger(Path(ledger)) as lines:

        def node():
            credentials = Credentials("wcs", os.environ["WCSGATE_HOOK_PASSWORD"])
            return NumberedNode(Sender(url, credentials), node_id=node_id, keep_alive=played.keep_alive, ledger=lines)

        with node() as telling, ThreadPoolExecutor(TELLERS) as tellers:
            told = [tellers.submit(tell, telling) for _ in range(TELLERS)]
            try:
                run.play(played, node(), url)
            finally:
                telling.leaving.set()
        for teller in told:
            teller.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
