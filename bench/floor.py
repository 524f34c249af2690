"""The least a durable answer can cost: the echo, and one prepared insert of the body. Nothing is read or decided.

The table, the connection and the check of the revision are those of the fast door; all but id and body of the row is
written in the statement. What this costs above the echo is Postgres and its client; what the fast door costs above
this is ours.
"""

import time
from datetime import UTC, datetime
from functools import lru_cache

from django.conf import settings

from apps.audit.recording.recorder import new_id
from apps.database.connection import Database, Statement, conninfo_of, uuid
from wcsgate.wsgi import django  # noqa: F401 - sets Django up, for its settings

SECONDS = 5.0

_REVISION = Statement("revision", "SELECT revision FROM access_revision", ())
_INSERT = Statement(
    "floor",
    """INSERT INTO audit_hookrecord (id, received_at, method, node_id, app_key, session_id, media_session_id, call_id,
           status, action, target, username, effect, reason, rule_ids, logged_rule_ids, body, revision)
       SELECT $1::uuid, now(), 'publishStream', 'Bench47@127.0.0.1', 'bench', '/127.0.0.1:64604/127.0.0.1:8443',
           '56141d10-fddc-11e6-ac3a-4d67d5b3360d', '', '', 'publish', 'lobby', 'bench', 'allow', 'allowed-by-rule',
           '{2}', '{}', $2::bytea, r.revision
       FROM access_revision r WHERE r.revision = $3::bigint RETURNING revision""",
    (1, 1, 1),
)


@lru_cache(maxsize=1)
def database_and_revision():
    """The database, and its revision when first asked: nobody changes it meanwhile."""
    database = Database(conninfo_of(settings.DATABASES["default"]))
    return database, database.run(_REVISION, [], time.monotonic() + SECONDS)[0][0]


def application(environ, start_response):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    database, revision = database_and_revision()
    record_id = uuid(new_id(datetime.now(UTC)))
    if not database.run(_INSERT, [record_id, body, revision], time.monotonic() + SECONDS):
        raise RuntimeError("The revision has changed.")
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
