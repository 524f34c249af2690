"""Commands say in a sentence that the database is of no use to them."""

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, ProgrammingError

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


def test_other_errors_are_left_alone():
    with pytest.raises(ProgrammingError), database_needed():
        raise ProgrammingError("syntax error")
