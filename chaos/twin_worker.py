"""The Celery application with a protection taken out."""

import django

from chaos import twins
from wcsgate.celery import app

__all__ = ["app"]

django.setup()
twins.change()
