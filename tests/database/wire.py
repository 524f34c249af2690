"""A wire to Postgres that tests can watch and disturb: a small TCP proxy that reads the frontend protocol."""

import socket
import struct
import threading
from collections import Counter
from contextlib import suppress

from psycopg.conninfo import conninfo_to_dict, make_conninfo

SYNC, EXECUTE = b"S", b"E"
"""Messages: Sync ends what is sent before an answer is waited for; there is an Execute for each statement."""


class Wire:
    """Carries connections to Postgres, counts their round trips, and stalls or cuts them when told to.

    Its conninfo is that of the real server, but through the wire.
    """

    def __init__(self, conninfo: str) -> None:
        parts = conninfo_to_dict(conninfo)
        self._server = (parts["host"], int(parts.get("port") or 5432))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.conninfo = make_conninfo(
            conninfo,
            host="127.0.0.1",
            port=self._listener.getsockname()[1],
            sslmode="disable",
            gssencmode="disable",
        )
        self.connections = 0
        self._messages: Counter[bytes] = Counter()
        self._passing = threading.Event()
        self._passing.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def round_trips(self) -> int:
        """How often an answer was waited for, making connections aside."""
        return self._messages[SYNC]

    @property
    def statements(self) -> int:
        """How many statements were run."""
        return self._messages[EXECUTE]

    def stall(self) -> None:
        """Carry nothing any more, in either direction; connections stay open and new ones are accepted."""
        self._passing.clear()

    def go_on(self) -> None:
        """End a stall."""
        self._passing.set()

    def cut(self) -> None:
        """Break every connection there is; new ones are carried."""
        sockets, self._sockets = self._sockets, []
        for end in sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break every connection, and refuse new ones."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.go_on()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far = self._reach_server()
            self._sockets += [near, far]
            threading.Thread(target=self._carry, args=(near, far, self._count_there), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, lambda: lambda data: None), daemon=True).start()

    def _reach_server(self) -> socket.socket:
        host, port = self._server
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        far = socket.socket(socket.AF_UNIX)
        far.connect(f"{host}/.s.PGSQL.{port}")
        return far

    def _carry(self, source: socket.socket, sink: socket.socket, watcher) -> None:
        watch = watcher()
        with suppress(OSError):
            while True:
                self._passing.wait()
                data = source.recv(65536)
                if not data:
                    break
                self._passing.wait()
                watch(data)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def _count_there(self):
        """Counts the messages of one connection by their type; the first one has none."""
        waiting = bytearray()
        started = False

        def watch(data: bytes) -> None:
            nonlocal started
            waiting.extend(data)
            while len(waiting) >= (5 if started else 4):
                (length,) = struct.unpack_from("!I", waiting, 1 if started else 0)
                length += 1 if started else 0
                if len(waiting) < length:
                    return
                if started:
                    self._messages[bytes(waiting[:1])] += 1
                started = True
                del waiting[:length]

        return watch
