"""What the tests of the runner share: a service of a few lines, a running `up`, a look at the processes."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from runner import ROOT

SERVICE = {
    "wcsgate/__init__.py": "",
    "wcsgate/settings.py": """
import os
from urllib.parse import urlsplit
URL = urlsplit(os.environ["DATABASE_URL"])
SECRET_KEY = os.environ["WCSGATE_SECRET_KEY"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.staticfiles", "wcsgate"]
STATIC_URL, STATIC_ROOT = "/static/", os.environ["WCSGATE_STATIC_ROOT"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "wcsgate", "USER": URL.username,
                         "PASSWORD": URL.password, "HOST": URL.hostname, "PORT": URL.port}}
""",
    "wcsgate/management/commands/load_demo.py": """
from django.core.management import BaseCommand
class Command(BaseCommand):
    def handle(self, **options):
        print("demo data is there")
""",
    "wcsgate/wsgi.py": """
import os
import psycopg
def application(environ, start_response):
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("SELECT 1 FROM django_migrations")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ready"]
""",
    "wcsgate/celery.py": """
import os
from celery import Celery
app = Celery("wcsgate", broker=os.environ["BROKER_URL"])
app.conf.broker_connection_retry_on_startup = True
""",
}


def copy_runner(checkout: Path) -> None:
    shutil.copytree(ROOT / "runner", checkout / "runner", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", checkout)


class Up:
    """A running `manage.py up`, its output in a file."""

    def __init__(self, checkout: Path, environment: dict[str, str], *arguments: str) -> None:
        self.output = checkout / "output"
        with self.output.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "manage.py", "up", *arguments],
                cwd=checkout,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def wait_until_ready(self) -> None:
        wait_for(lambda: "WCS Gate is ready" in self.text or self.popen.poll() is not None)
        assert "WCS Gate is ready" in self.text, self.text


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.05)


def processes_of(folder: Path) -> dict[int, str]:
    """The command lines of all living processes that have the folder in their environment or command line."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes()
            if process.name.isdecimal() and str(folder).encode() in command + (process / "environ").read_bytes():
                found[int(process.name)] = command.replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found
