"""Fixtures of tests that disturb the wire to Postgres."""

import pytest

from tests.database.wire import Wire
from tests.hooks.processes import conninfo


@pytest.fixture
def wire(transactional_db):
    """A wire to the test database."""
    wire = Wire(conninfo())
    yield wire
    wire.close()
