"""Commands say in a sentence that the database is of no use to them."""

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import InternalError, OperationalError, ProgrammingError, connection, transaction

from apps.database.commands import database_needed

COMMANDS = (
    ("export_access", "-"),
    ("import_access", "apps/access/demo.yaml"),
    ("load_demo",),
    ("reseal_secrets",),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_database_that_is_away(command, monkeypatch):
    def away(*_):
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", away)
    monkeypatch.setattr("django.db.transaction.Atomic.__enter__", away)
    with pytest.raises(CommandError, match=r"^The database does not answer: connection refused$"):
        call_command(*command)


def test_tables_that_are_not_there_yet():
    with pytest.raises(CommandError, match=r"Run manage\.py migrate first"), database_needed():
        raise ProgrammingError("relation does not exist") from psycopg.errors.UndefinedTable()


@pytest.mark.django_db
def test_a_database_that_takes_no_changes():
    """As on a standby. What is taken out there cannot be noted."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
    with pytest.raises(CommandError, match="takes no changes, as on a standby"), transaction.atomic():
        call_command("export_access", "-")


@pytest.mark.parametrize("error", [ProgrammingError, InternalError])
def test_other_errors_are_left_alone(error):
    with pytest.raises(error), database_needed():
        raise error("syntax error")
