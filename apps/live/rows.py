"""An order to end something, as a plain value. Pure: no Django, no database."""

import msgspec


class CutRow(msgspec.Struct, frozen=True, gc=False):
    """What is to end: one thing by its media session id or call id, or (with `key` empty) a session in one opening."""

    id: int
    node_id: str
    session_id: str
    key: str
    opening: int | None = None

    @property
    def name(self) -> str:
        """What it is looked up with."""
        return cut_name(self.node_id, self.session_id, self.key)


def cut_name(node_id: str, session_id: str, key: str) -> str:
    """The name of a cut. Quoted, so that no two of them read alike."""
    return f"{node_id!r} {session_id!r} {key!r}"
