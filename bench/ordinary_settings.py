"""The project's settings with the ordinary view in place of our doors."""

from wcsgate.settings import *  # noqa: F403
from wcsgate.settings import MIDDLEWARE

ROOT_URLCONF = "bench.ordinary"
WSGI_APPLICATION = None
MIDDLEWARE = [name for name in MIDDLEWARE if name != "apps.hooks.middleware.hooks_first"]  # it would answer instead
