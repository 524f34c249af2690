"""Everything the engine may know about one hook, as plain values. Pure: no Django, no database."""

from datetime import datetime

import msgspec

from apps.access.compile import RuleIndex
from apps.access.reasons import Reason
from apps.access.rows import AppRow, TokenRow, UserRow


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Who is behind a hook and how that was found, or the problem with it; then `user` is only whom it was about.

    `entered_by` is token, password, guest or rest; "" where there is a problem before that could be told.
    """

    user: UserRow | None = None
    token: TokenRow | None = None
    problem: Reason | None = None
    entered_by: str = ""

    @property
    def is_guest(self) -> bool:
        """True for a client that the app lets in without a credential."""
        return self.problem is None and self.user is None and self.entered_by == "guest"


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What is known about one hook at one revision."""

    now: datetime
    app: AppRow | None
    identity: Identity
    rules: RuleIndex


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The answer to a hook, and what settled it.

    `logged_rule_ids` are rules in force that are only logged; `failed_rule_ids` those that raised an error.
    """

    allowed: bool
    reason: Reason
    rule_ids: tuple[int, ...] = ()
    logged_rule_ids: tuple[int, ...] = ()
    failed_rule_ids: tuple[int, ...] = ()
