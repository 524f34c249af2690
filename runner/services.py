"""Running the processes of the service one by one, as tests and the tools for developers do, and waiting for them."""

import http.client
import os
import time
from collections.abc import Callable

from runner.places import LOOPBACK
from runner.processes import Process

Check = Callable[[], object]


def wait_until(is_so: Check, what: str, seconds: float = 60.0, pause: float = 0.05) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > give_up:
            raise AssertionError(f"{what}: waited in vain for {seconds:g} seconds.")
        time.sleep(pause)


def environment(**own: str) -> dict[str, str]:
    """That of this process without its settings, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WCSGATE_", "DJANGO_"))}
    for name in ("DATABASE_URL", "BROKER_URL"):
        kept.pop(name, None)
    return kept | {"WCSGATE_NO_BOOTSTRAP": "1"} | own


def status(port: int, path: str = "/readyz") -> int | None:
    """What the service on this computer answers to a GET; None if it does not."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Web(Process):
    """A web process; ready when it would take hooks."""

    @property
    def port(self) -> int:
        return int(self.command[self.command.index("--port") + 1])

    def ready(self) -> bool:
        return status(self.port) == 200
