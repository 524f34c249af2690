"""Who changes something, told to Postgres: triggers record changes with it (apps/audit/moving/changes.py)."""

import getpass
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from django.db import DatabaseError, InterfaceError, connection

_TELL = """WITH before AS MATERIALIZED (SELECT coalesce(current_setting('wcsgate.actor', true), '') AS told)
    SELECT told, set_config('wcsgate.actor', %s, false) FROM before"""


@contextmanager
def acting(**actor: object) -> Iterator[None]:
    """Whatever this thread changes meanwhile was done by this actor: `username`, `address`, `why` and so on. Afterwards
    it is whoever it was before."""
    before = _tell(json.dumps({name: value for name, value in actor.items() if value}))
    try:
        yield
    finally:
        with suppress(DatabaseError, InterfaceError):  # a connection that is gone has forgotten it by itself
            _tell(before)


def acting_command(name: str) -> AbstractContextManager[None]:
    """The same for a command that an operator runs."""
    return acting(command=name, system_user=_system_user())


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as containers have
        return ""


def _tell(actor: str) -> str:
    """Gives who it was before."""
    with connection.cursor() as cursor:
        cursor.execute(_TELL, [actor])
        return str(cursor.fetchone()[0])
