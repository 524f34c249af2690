"""An order to end something, as a plain value. Pure: no Django, no database."""

from datetime import datetime

import msgspec


class CutRow(msgspec.Struct, frozen=True, gc=False):
    """What is to end: one thing by its media session id or call id, or (with `key` empty) a session in one opening.

    Outside of sessions many may share an id, as do those who watch a stream by HLS: there it is about one person
    (`who`, as limits know them), and holds until what was cut has run out.
    """

    id: int
    node_id: str
    session_id: str
    key: str
    opening: int | None = None
    who: str = ""
    runs_out_at: datetime | None = None

    @property
    def name(self) -> str:
        """What it is looked up with."""
        return cut_name(self.node_id, self.session_id, self.key)

    def is_about(self, who: str, now: datetime) -> bool:
        """Whether it is about what this person does outside of any session."""
        return self.who == who and (self.runs_out_at is None or now < self.runs_out_at)


def cut_name(node_id: str, session_id: str, key: str) -> str:
    """The name of a cut. Quoted, so that no two of them read alike."""
    return f"{node_id!r} {session_id!r} {key!r}"
