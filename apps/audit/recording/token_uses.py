"""Using up a token for single use while its hook is recorded: both are one statement.

Of several hooks that come with one token at once exactly one gets it, since all of them update the token's row and each
waits for the one before. Whoever then finds it used by another session has recorded nothing, and is decided anew.
"""

from apps.access.facts import Decision, Facts
from apps.access.reasons import Reason
from apps.database.connection import Statement

_REVISION = "WHERE r.revision = $22::bigint"
_SESSION = "s.id = $23::bigint AND s.opening = $24::bigint AND s.ended_at IS NULL"


def uses_token(facts: Facts, decision: Decision) -> bool:
    """Whether this hook would use up its token. Not one that is refused, nor one that is known to have used it."""
    token = facts.identity.token
    unused = token is not None and token.single_use and token.used_by is None
    return unused and decision.reason is Reason.ALLOWED_BY_RULE


def using_token(statement: Statement) -> Statement:
    """The statement that records a hook, made to do so only if it can use the token $20, or its session has used it.

    The token is used only where there will be a record: on the same conditions.
    """
    in_session = _SESSION in statement.sql
    used = f"""used AS (
            UPDATE accounts_token t
            SET used_at = coalesce(t.used_at, $2::timestamptz), used_node_id = $4::text, used_session_id = $6::text
            FROM access_revision r{", connections_session s" if in_session else ""}
            {_REVISION}{f" AND {_SESSION}" if in_session else ""} AND t.id = $20::bigint
                AND (t.used_at IS NULL OR (t.used_node_id = $4::text AND t.used_session_id = $6::text))
            RETURNING t.id)"""  # noqa: S608 - constants
    record = statement.sql.replace(_REVISION, f"{_REVISION} AND EXISTS (SELECT FROM used)")
    others = f", {record.removeprefix('WITH ')}" if record.startswith("WITH ") else f" {record}"
    return Statement(f"{statement.name}_using_token", f"WITH {used}{others}", statement.formats)
