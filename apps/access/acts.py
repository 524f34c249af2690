"""What staff do that no row says: acknowledge what is missing, try again, take something out, read the record.

No trigger sees such an act. Whoever does it notes it, in the transaction in which it is done, in the outbox of changes
(apps/audit/moving/changes.py); from there it goes into the audit log as they do, into the same chain, with who, from
where, why and by which request.
"""

import json

from django.db import connection
from django.http import HttpRequest

from apps.access.staff_acts import acting_for, storable

ACT = "act"
"""What stands for the table where no row was changed, but something was done that is to be known."""

_NOTE = """INSERT INTO audit_changerecord
    SELECT c.* FROM unnest(%s::jsonb[]) AS act, audit_change(%s, NULL, act, '{}', '{}', '{}') AS c"""


def note(request: HttpRequest, action: str, *what: str, told: str = "", **more: str) -> None:
    """The user of this request does it with each of these. `action` is one of ACTS, `told` says more in words, and what
    else is given is kept beside it. There is a space in `what`, as in whatever staff changed: so it is looked for."""
    with acting_for(request, request.user):
        note_here(action, *what, told=told, **more)


def note_here(action: str, *what: str, told: str = "", **more: str) -> None:
    """The same, where it is known already who does it, as in commands."""
    acts = [{"action": action, "what": one, "told": told, **more} for one in what]
    rows = [json.dumps({name: storable(text) for name, text in act.items()}) for act in acts]
    with connection.cursor() as cursor:
        cursor.execute(_NOTE, [rows, ACT])
