"""Races: one thread changes what is true while others ask, and whoever gets an answer from before is caught."""

import threading
import time
from collections import Counter
from contextlib import suppress

from apps.database.connection import Unavailable
from apps.hooks.answer import AccessKeepsChanging


class Race:
    """`change` makes the next state true, in the states' order: allowed, refused, allowed ... `ask` says if it is.

    A question that lay entirely between two changes has one right answer. `judged` counts those answers, `stale` those
    of them that were wrong.
    """

    def __init__(self, change, ask, *, changes, pause, askers=3):
        self.stale = 0
        self.judged = Counter()
        self._change, self._ask = change, ask
        self._begun = self._done = 0
        self._over = threading.Event()
        threads = [threading.Thread(target=self._keep_asking) for _ in range(askers)]
        for thread in threads:
            thread.start()
        try:
            for state in range(1, changes + 1):
                time.sleep(pause)
                self._begun = state
                self._change(allowed=state % 2 == 0)
                self._done = state
            time.sleep(pause)
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _keep_asking(self):
        while not self._over.is_set():
            with suppress(Unavailable, AccessKeepsChanging):  # no answer, so no stale one
                before = self._done
                allowed = self._ask()
                if self._begun == before:
                    self.judged[allowed] += 1
                    self.stale += allowed != (before % 2 == 0)
