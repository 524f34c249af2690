"""The WSGI application: the fast door for hooks in front of Django."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wcsgate.settings")

handler = get_wsgi_application()

from apps.hooks.answer import start  # noqa: E402 - needs Django set up
from apps.hooks.door import with_fast_door, without_charset  # noqa: E402 - needs Django set up

django = without_charset(handler)
application = with_fast_door(django)
start()
