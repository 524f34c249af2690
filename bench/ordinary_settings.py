"""The project's settings with the ordinary view in place of our doors."""

from wcsgate.settings import *  # noqa: F403

ROOT_URLCONF = "bench.ordinary"
WSGI_APPLICATION = None
