"""What logs say of a task, or a page, that found Postgres away: one line, as where it came from is no news."""

import logging

import psycopg
from django.db import InterfaceError, OperationalError

from apps.database.connection import Unavailable

AWAY = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError, Unavailable)
CODES = ("08", "57P", "53300")
"""What Postgres says where it ends, begins or takes no more connections; where it cannot be reached, nothing at all."""


class OneLineWhereAway(logging.Filter):
    """Leaves nothing out but the traceback of such an error. All other errors keep theirs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and is_away(error):
            why = " ".join(str(error).split()) or type(error).__name__
            if isinstance(record.args, dict):
                said = "Task %s found Postgres away, and is done when it is back: %s"
                record.msg, record.args = said, (record.args.get("name"), why)
            else:
                record.msg, record.args = "A page found Postgres away: %s", (why,)
            record.exc_info = record.exc_text = None
        return True


def is_away(error: BaseException) -> bool:
    """Whether it is no statement that failed, but Postgres that could not be asked."""
    code = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)
    return isinstance(error, AWAY) and (not code or code.startswith(CODES))
