"""Sessions of staff, of which the database knows no key: whoever reads it, or a backup, is nobody's session."""

from hashlib import blake2b

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.utils import timezone


def kept(key: str) -> str:
    """What is kept of a session's key, which is random. As long as the column."""
    return blake2b(key.encode(), digest_size=20).hexdigest()


class SessionStore(db.SessionStore):
    """Django's sessions in the database, found by what is kept of their keys. Not for async views."""

    def _get_session_from_db(self) -> Session | None:
        found = self.model.objects.filter(session_key=kept(self.session_key), expire_date__gt=timezone.now()).first()
        if found is None:
            self._session_key = None
        return found

    def exists(self, session_key: str) -> bool:
        return super().exists(kept(session_key))

    def create_model_instance(self, data: dict) -> Session:
        row = super().create_model_instance(data)
        row.session_key = kept(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key:
            super().delete(kept(key))
