"""What staff revoked: all of a user, or everything, from before a moment. Pure: no Django, no database."""

from datetime import datetime

from apps.access.compile import Snapshot
from apps.access.rows import UserRow


def is_revoked(issued_at: datetime | None, user: UserRow | None, snapshot: Snapshot) -> bool:
    """Whether what was issued to this user (None: to nobody), or opened by them, at this moment is revoked.

    What does not say when it was issued may be older than any moment.
    """
    moments = (snapshot.revoked_before, user.revoked_before if user is not None else None)
    return any(before is not None and (issued_at is None or issued_at < before) for before in moments)
