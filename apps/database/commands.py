"""What commands say when the database is of no use to them: a sentence, and no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError, ProgrammingError

NOT_THERE = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)


@contextmanager
def database_needed() -> Iterator[None]:
    """Raise CommandError in place of what Django raises where the database is away or has no tables yet."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise CommandError(f"The database does not answer: {_first_line(error)}") from None
    except ProgrammingError as error:
        if not isinstance(error.__cause__, NOT_THERE):
            raise
        raise CommandError("The database lacks tables of this version. Run manage.py migrate first.") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
