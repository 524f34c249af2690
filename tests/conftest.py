"""Fixtures for all tests. Whatever touches data runs on a real Postgres."""

import json
from datetime import UTC, datetime
from io import BytesIO

import pytest
from django.core.management.commands import flush
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations

from apps.access.models import NumberClass
from apps.access.snapshot import snapshot_keeper
from apps.database.hook_path import hook_database
from apps.hooks.answer import answer
from tests import factories


def pytest_addoption(parser):
    """How long the longest of the pure tests looks for a difference."""
    parser.addoption("--decisions", type=int, default=50_000, help="random decisions compared with the model")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """pytest-django's, without what migrations put in: tests begin with empty tables, as most of them leave them.

    Before it drops the database: let go of the hook path's own connections.
    """
    with django_db_blocker.unblock():
        NumberClass.objects.all().delete()
    yield
    if snapshot_keeper.cache_info().currsize:
        snapshot_keeper().stop()
    if hook_database.cache_info().currsize:
        hook_database().close()
    with (
        django_db_blocker.unblock(),
        connection.cursor() as cursor,
    ):  # a server of a browser test may still be letting go
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )


KEPT = ("access_revision", "auth_permission", "django_content_type")
"""Tables that are not emptied between tests: what is in them does not come from a test."""

CHANGES = ("access_change", "audit_changerecord")
"""Tables into which triggers write while others are emptied."""


@pytest.fixture(scope="session", autouse=True)
def _empty_by_deleting():
    """Empty tables row by row. TRUNCATE locks whole tables, and so deadlocks with a snapshot that is just being read;
    it would reset the revision, too, so that numbers came again; and it takes ten times as long.
    """

    def sql_flush(self, style, tables, *, reset_sequences=False, allow_cascade=False):
        changes_last = sorted(set(tables) - set(KEPT), key=CHANGES.__contains__)
        return ["; ".join(f"DELETE FROM {self.quote_name(table)}" for table in changes_last)]  # one round trip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", sql_flush)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_, **__: None)  # it would fill the tables kept
        yield


class Wcs:
    """A WCS node that sends hooks through `answer`, and gives the answers."""

    def __init__(self):
        self.environ = {
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": "application/json;charset=UTF-8",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_AUTHORIZATION": factories.basic(),
        }
        self.common = {
            "nodeId": factories.NODE_ID,
            "appKey": "defaultApp",
            "sessionId": factories.SESSION_ID,
        }

    def hook(self, method, *, environ=None, **members):
        """Send a hook with the common members and these; gives the Answer."""
        return self.raw(method, json.dumps({**self.common, **members}).encode(), environ=environ)

    def raw(self, method, body, *, environ=None):
        """Send these bytes."""
        return answer(method, {**self.environ, **(environ or {})}, BytesIO(body).read, now=datetime.now(UTC))

    def reason(self, method, **members):
        """Send a hook and give the reason of its refusal, or "" where it is allowed."""
        result = self.hook(method, **members)
        assert result.status in (200, 403), result
        return "" if result.status == 200 else json.loads(result.body)["error"]


@pytest.fixture
def wcs(transactional_db):
    """A WCS node whose hooks are really recorded: nothing is rolled back behind the hook path's own connections."""
    return Wcs()


@pytest.fixture
def school(wcs):
    """The usual cast: Alice may publish, Bob may play, Charlie may only connect; each has a token tok-<name>."""
    factories.make_app()
    people = {name: factories.make_user(name) for name in ("alice", "bob", "charlie")}
    for user in people.values():
        factories.make_token(user)
    factories.make_rule("connect")
    factories.make_rule("publish", user=people["alice"], target=("exact", "lobby"))
    factories.make_rule("play", user=people["bob"], target=("exact", "lobby"))
    return people
