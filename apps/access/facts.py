"""Everything the engine may know about one hook, as plain values. Pure: no Django, no database."""

from datetime import datetime

import msgspec

from apps.access.compile import Snapshot
from apps.access.limiting import Counts
from apps.access.question import Question
from apps.access.reasons import Reason
from apps.access.rewriting import Change
from apps.access.rows import AppRow, LinkRow, Rewrites, SipAccountRow, TokenRow, UserRow
from apps.access.web_tokens import Grant
from apps.connections.rows import SessionRow
from apps.protocol.messages import HookCall
from apps.protocol.methods import NUMBER_ACTIONS, STREAM_ACTIONS
from apps.protocol.numbers import canonical, spellings
from apps.protocol.policy import Hiding


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Who is behind a hook and how that was found, or the problem with it; then `user` is only whom it was about.

    `entered_by` is token, jwt, link, password, guest or rest; "" where there is a problem before that could be told.
    A user may have no row here, and be known from what a signed token says alone: the `grant`. A link is nobody's.
    """

    user: UserRow | None = None
    token: TokenRow | None = None
    problem: Reason | None = None
    entered_by: str = ""
    grant: Grant | None = None
    link: LinkRow | None = None

    @property
    def is_guest(self) -> bool:
        """True for a client that the app lets in without a credential."""
        return self.problem is None and self.user is None and self.entered_by == "guest"


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What is known about one hook: the snapshot of one revision, and its session."""

    now: datetime
    app: AppRow | None
    identity: Identity
    snapshot: Snapshot
    session: SessionRow | None = None


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The answer to a hook, and what settled it.

    `logged_rule_ids` are rules in force that are only logged; `failed_rule_ids` those that raised an error. With
    `counts`, it is allowed only if these limits have room: recording it finds out, and says by which rule. `rewrites`
    is what the rules want, `changes` what of it WCS is told. `hiding` and `account` are the policy and the SIP
    account that an allowed connect brings.
    """

    allowed: bool
    reason: Reason
    rule_ids: tuple[int, ...] = ()
    logged_rule_ids: tuple[int, ...] = ()
    failed_rule_ids: tuple[int, ...] = ()
    rewrites: Rewrites | None = None
    counts: Counts | None = None
    changes: tuple[Change, ...] = ()
    hiding: Hiding = Hiding(0)
    account: SipAccountRow | None = None

    @property
    def told(self) -> str:
        """What WCS is told to do otherwise than it was asked, in words; "" where nothing is."""
        return "; ".join([*map(str, self.changes), *(["the SIP account of the user"] if self.account else [])])


def question_of(call: HookCall, facts: Facts, target: str = "") -> Question:
    """What this hook asks, as rules look at it; with `target`, as if it were about that."""
    user, snapshot = facts.identity.user, facts.snapshot
    target = target or call.target
    targets: tuple[str, ...] = (target,)
    groups: tuple[int, ...] = ()
    number = ""
    if call.action in STREAM_ACTIONS:
        targets, groups = snapshot.streams.known_as(target)
    elif call.action in NUMBER_ACTIONS and target:
        targets = spellings(target, snapshot.plan)
        number = canonical(target, snapshot.plan)
    return Question(
        action=call.action,
        targets=targets,
        now=facts.now,
        username=user.username if user else None,
        user_id=user.id if user else None,
        group_ids=user.group_ids if user else (),
        number=number,
        number_class=snapshot.number_classes.of(number) if number else None,
        stream_groups=groups,
        address=call.client_address,
        origin=origin_of(call, facts.session),
        media_providers=call.media_providers,
        app_key=call.app_key,
        node_id=call.node_id,
        custom=call.wire.custom,
    )


def origin_of(call: HookCall, session: SessionRow | None) -> str:
    """The web page of the client: that of its session where there is one, else what the hook says."""
    return session.origin if session is not None else call.origin
