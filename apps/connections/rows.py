"""A session as a plain value. Pure: no Django, no database."""

import msgspec


class SessionRow(msgspec.Struct, frozen=True, gc=False):
    """A client's session; `opening` tells two sessions with the same ids apart."""

    id: int
    opening: int
    app_key: str
    user_id: int | None
    username: str
    token_id: int | None
    entered_by: str
    origin: str = ""
    ended: bool = False
