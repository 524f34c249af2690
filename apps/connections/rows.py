"""A session as a plain value. Pure: no Django, no database."""

from datetime import datetime

import msgspec


class SessionRow(msgspec.Struct, frozen=True, gc=False):
    """A client's session; `opening` tells two sessions with the same ids apart.

    `granted` is what a signed token said that opened it, as JSON, or the code of the link that did. `hiding` is the
    policy it got, see apps/protocol/policy.py.
    """

    id: int
    opening: int
    app_key: str
    user_id: int | None
    username: str
    token_id: int | None
    entered_by: str
    origin: str = ""
    ended: bool = False
    opened_at: datetime | None = None
    granted: str = ""
    hiding: int = 0
