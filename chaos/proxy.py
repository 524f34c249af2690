"""A TCP proxy on the loopback interface: from one port to the next of several that takes the connection.

    python -m chaos.proxy PORT TARGET [TARGET ...]

It stands between web and Postgres, and as a balancer in front of the web processes. SIGUSR1 makes whatever is sent
arrive later, SIGUSR2 ends that.
"""

import asyncio
import itertools
import os
import signal
import sys

from runner.places import LOOPBACK
from runner.processes import Process

DELAY = 2.0
"""Seconds by which everything on its way to the target is late, while it is slow."""

SLOW, FAST = signal.SIGUSR1, signal.SIGUSR2


class Slowable(Process):
    """The proxy as a process of ours."""

    def slow_down(self) -> None:
        os.kill(self.popen.pid, SLOW)

    def speed_up(self) -> None:
        os.kill(self.popen.pid, FAST)


class Proxy:
    def __init__(self, targets):
        self._targets = targets
        self._next = itertools.cycle(range(len(targets)))
        self.delay = 0.0

    async def serve(self, reader, writer):
        """One connection, until either side ends it."""
        try:
            target_reader, target_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._pass_on(reader, target_writer, late=True), self._pass_on(target_reader, writer))

    async def _connect(self):
        first = next(self._next)
        *others, last = self._targets[first:] + self._targets[:first]
        for port in others:
            try:
                return await asyncio.open_connection(LOOPBACK, port)
            except OSError:
                continue
        return await asyncio.open_connection(LOOPBACK, last)

    async def _pass_on(self, reader, writer, *, late=False):
        try:
            while data := await reader.read(65536):
                if late and self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        except OSError:
            writer.transport.abort()
        finally:
            writer.close()


async def serve(port, targets):
    proxy, loop = Proxy(targets), asyncio.get_running_loop()
    for number, delay in ((SLOW, DELAY), (FAST, 0.0)):
        loop.add_signal_handler(number, setattr, proxy, "delay", delay)
    server = await asyncio.start_server(proxy.serve, LOOPBACK, port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    port, *targets = map(int, sys.argv[1:])
    asyncio.run(serve(port, targets))
