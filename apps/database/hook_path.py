"""The one Database of this process that the hook path uses."""

import time
from functools import lru_cache

from django.conf import settings
from psycopg.conninfo import make_conninfo

from apps.database.connection import Database, Statement, conninfo_of

_ANYTHING = Statement("anything", "SELECT 1", ())


@lru_cache(maxsize=1)
def hook_database() -> Database:
    """Made at first use, so that tests and forked processes have their own."""
    return Database(impatient(conninfo_of(settings.DATABASES["default"])), patience=settings.HOOK_TIME_LIMIT)


def expect_an_answer(seconds: float) -> None:
    """Raises Unavailable where Postgres does not answer within that time. Django's own connection would wait for a
    server that is frozen as long as it is frozen."""
    hook_database().run(_ANYTHING, (), time.monotonic() + seconds)


def impatient(conninfo: str) -> str:
    """The same, but Postgres itself gives up on what waits for a lock or runs too long.

    So a hook that a lock holds up is answered before its time is over, and statements whose hook has been answered long
    since do not pile up.
    """
    lock_timeout, statement_timeout = (int(settings.HOOK_TIME_LIMIT * part * 1000) for part in (0.25, 1.0))
    return make_conninfo(conninfo, options=f"-c lock_timeout={lock_timeout} -c statement_timeout={statement_timeout}")
