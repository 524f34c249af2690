"""The fast door with one connection for all threads, on which hooks that wait at the same time share a commit.

Not what the service does: docs/adr/0006-a-connection-for-each-thread.md compares. Whoever comes while nobody is at it
runs everything that waits.
"""

import threading
import time
from functools import lru_cache

from django.conf import settings
from psycopg import pq

from apps.database.connection import _connect, _outcomes, _wait, conninfo_of
from apps.hooks import answer
from bench.wsgi import fast_door


class SharedCommit:
    """In place of `Database`. Errors are not looked after: this is for measuring."""

    def __init__(self, conninfo):
        self._pgconn = _connect(conninfo.encode(), time.monotonic() + 5)
        self._pgconn.enter_pipeline_mode()
        self._prepared = set()
        self._lock = threading.Lock()
        self._queue = []
        self._busy = False

    def run(self, statement, params, deadline):
        mine = [statement, params, None, threading.Lock()]
        mine[3].acquire()
        with self._lock:
            self._queue.append(mine)
            leads, self._busy = not self._busy, True
        if not leads:
            mine[3].acquire()
        if mine[2] is None:
            self._run_queue()
        return mine[2]

    def _run_queue(self):
        with self._lock:
            together, self._queue = self._queue, []
        new = {waiting[0].name: waiting[0] for waiting in together if waiting[0].name not in self._prepared}
        for name, statement in new.items():
            self._pgconn.send_prepare(name.encode(), statement.sql.encode())
        for statement, params, _, _ in together:
            self._pgconn.send_query_prepared(statement.name.encode(), params, statement.formats, pq.Format.BINARY)
        self._pgconn.pipeline_sync()
        while self._pgconn.flush():
            _wait(self._pgconn, time.monotonic() + 5, writing=True)
        outcomes = _outcomes(self._pgconn, time.monotonic() + 5)[len(new) :]
        self._prepared.update(new)
        with self._lock:
            for waiting, outcome in zip(together, outcomes, strict=True):
                waiting[2] = outcome
                waiting[3].release()
            if self._queue:
                self._queue[0][3].release()
            else:
                self._busy = False


@lru_cache(maxsize=1)
def shared_commit():
    return SharedCommit(conninfo_of(settings.DATABASES["default"]))


answer.hook_database = shared_commit
application = fast_door
