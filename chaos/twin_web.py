"""The WSGI application with a protection taken out."""

from chaos import twins
from wcsgate.wsgi import application

__all__ = ["application"]

twins.change()
