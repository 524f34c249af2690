"""WSGI applications to compare: the fast door, the DRF door alone, and the ordinary view."""

from wcsgate.wsgi import application as fast_door
from wcsgate.wsgi import django as django_alone

__all__ = ["django_alone", "fast_door"]
