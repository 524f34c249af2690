"""The Django project: settings, addresses, workers."""

from wcsgate.celery import app as celery_app

__all__ = ["celery_app"]
