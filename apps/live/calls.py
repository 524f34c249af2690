"""Finding the call that a hook belongs to, by its id: one indexed query of what was let in.

Nothing is remembered in the process. Clients choose call ids, and could use one again for another number, so only what
runs counts, and where two calls run under one id none does. Asking each time costs a round trip, and only hooks that
name nothing but a call pay it.
"""

from msgspec.structs import replace

from apps.database.connection import Database, Statement, text
from apps.protocol.messages import HookCall

_FIND = Statement(
    "find_call",
    """SELECT DISTINCT target, dialled FROM live_lease
       WHERE session_id = $1 AND key = $2 AND node_id = $3 AND app_key = $4 AND action IN ('call', 'receive-call')
           AND ended_at IS NULL
       LIMIT 2""",
    (0, 0, 0, 0),
)


class Calls:
    """The calls of all clients."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def with_number(self, call: HookCall, deadline: float) -> HookCall:
        """A hook that names nothing but a call, with the number of that call as its target, and with the one that a
        rule had called instead; every other as it is.

        Where no such call runs, or several do that differ, it is of an unknown call. Raises Unavailable.
        """
        if call.method is None or not call.method.of_call or call.target:
            return call
        of_call = [text(value) for value in (call.session_id, call.call_id, call.node_id, call.app_key)]
        rows = self._database.run(_FIND, of_call, deadline) if call.call_id else []
        if len(rows) != 1:
            return replace(call, of_unknown_call=True)
        target, dialled = ((value or b"").decode() for value in rows[0])
        return replace(call, target=target, dialled=dialled, of_unknown_call=False)
