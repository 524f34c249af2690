"""The WSGI application: the fast door for hooks in front of Django."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wcsgate.settings")

handler = get_wsgi_application()

from apps.hooks.answer import start  # noqa: E402 - needs Django set up
from apps.hooks.door import with_fast_door, without_charset  # noqa: E402 - needs Django set up
from apps.hooks.room import with_room_for_hooks  # noqa: E402 - needs Django set up

django = without_charset(handler)
application = with_fast_door(with_room_for_hooks(django, settings.PAGES_AT_ONCE))
start()
