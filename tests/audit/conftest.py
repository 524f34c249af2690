"""Fixtures for tests of the record."""

import os
from urllib.parse import quote

import pytest
from django.conf import settings


@pytest.fixture
def environment():
    """That of a process which works on the test database."""
    database = settings.DATABASES["default"]
    login = f"{quote(database['USER'])}:{quote(database['PASSWORD'])}"
    return {
        **os.environ,
        "DATABASE_URL": f"postgres://{login}@{database['HOST']}:{database['PORT']}/{quote(database['NAME'])}",
        "WCSGATE_NO_BOOTSTRAP": "1",
    }
