"""What commands say when the database, or what was typed in, is of no use to them: a sentence, and no traceback."""

from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg
from django.core.management.base import CommandError
from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError

from apps.database.moments import moment_of

NOT_THERE = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)


@contextmanager
def database_needed() -> Iterator[None]:
    """Raise CommandError in place of what Django raises where the database is away, has no tables yet, or takes no
    changes.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise CommandError(f"The database does not answer: {_first_line(error)}") from None
    except ProgrammingError as error:
        if not isinstance(error.__cause__, NOT_THERE):
            raise
        raise CommandError("The database lacks tables of this version. Run manage.py migrate first.") from None
    except InternalError as error:
        if not isinstance(error.__cause__, psycopg.errors.ReadOnlySqlTransaction):
            raise
        raise CommandError("The database takes no changes, as on a standby. Run this where it does.") from None


def moment(text: str) -> datetime:
    """A moment as an argument, by the clocks here unless it says by which: 2026-03-03, or 2026-03-03T14:00."""
    found = moment_of(text if len(text) > len("2026-03-03") else f"{text}T00:00")
    if found is None:
        raise ArgumentTypeError(f"“{text}” is no moment. Write it like 2026-03-03T14:00, from 1970 on and before 9999.")
    return found


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
