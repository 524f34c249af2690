"""Running the real service, and waiting for it."""

import http.client
import os
import time
from collections.abc import Callable

from runner.processes import Process

Check = Callable[[], object]


def wait_until(is_so: Check, what: str, seconds: float = 60.0, pause: float = 0.05) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up, f"{what}: waited in vain for {seconds:g} seconds."
        time.sleep(pause)


def environment(**own: str) -> dict[str, str]:
    """That of this test run without its settings, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WCSGATE_", "DJANGO_"))}
    for name in ("DATABASE_URL", "BROKER_URL"):
        kept.pop(name, None)
    return kept | {"WCSGATE_NO_BOOTSTRAP": "1"} | own


def status(port: int, path: str = "/readyz") -> int | None:
    """What the service on this computer answers to a GET; None if it does not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Web(Process):
    """The web process; ready when it would take hooks."""

    def ready(self) -> bool:
        return status(int(self.command[self.command.index("--port") + 1])) == 200
