"""What holds for any rules, users, tokens and hooks; and that deciding agrees with a model written for clarity."""

import json
from collections import Counter
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apps.access import compile
from apps.access.compile import Snapshot
from apps.access.engine import decide
from apps.access.reasons import Reason
from apps.access.rows import RevocationRow, RuleRow
from apps.protocol.messages import HookCall
from apps.protocol.methods import find
from apps.protocol.policy import Hiding
from tests.access.dice import ACTIONS, EVERY_METHOD, ISSUERS, PAST, PLANS, REFUSABLE, SIGNED, Dice
from tests.access.reference import Reference, app_of
from tests.access.worlds import facts_about

HOOKS_A_WORLD = 50
SEEDS = st.integers(0, 2**32)
WORLDS = SEEDS.map(lambda seed: Dice(seed).world())
HOOKS = SEEDS.map(lambda seed: Dice(seed).hook(EVERY_METHOD))
REFUSABLE_HOOKS = SEEDS.map(lambda seed: Dice(seed).hook(REFUSABLE))
NEW_RULES = SEEDS.map(lambda seed: Dice(seed).rule(99))
PARTS = (
    *("users", "groups", "tokens", "apps", "streams", "number_classes"),
    *("issuers", "links", "revocations", "rules"),
)
WRONG_CREDENTIALS = (
    {"token": "wrong", "key": "wrong"},
    {"token": "", "key": ""},
    {"token": 5, "key": False},
    {"token": ["t1"], "key": {}},
    {"password": "wrong", "login": "alice"},
    {"password": "pw", "login": "nobody"},
    {"password": "pw"},
    {"password": 1, "login": "alice"},
    *({"token": text, "key": text} for text in ("a.b.c", "link.press.forged", "link.press", "link.other.signed")),
    *({"token": text, "key": text} for text, (problem, _) in SIGNED.items() if problem),
)


def decided(hook, world):
    """What the code decides."""
    return decided_with(in_memory(world), hook)


def in_memory(world):
    """A world as a process holds it."""
    return become(Snapshot(1, world.plan), world, Random(0))


def decided_with(known, hook):
    """The same, without what WCS is told: that is tested by itself."""
    call = HookCall.from_payload(hook.method, find(hook.method), json.dumps(hook.members).encode())
    opened = hook.session if call.method and call.method.identity != "credentials" else None
    decision = decide(call, facts_about(call, known, opened, hook.now))
    return replace(decision, changes=(), hiding=Hiding(0), account=None, counts=None)


def become(known, world, random):
    """Make a snapshot that of another world, by what changes between them; rules come and go in several steps."""
    for name in PARTS:
        part, rows = getattr(known, name), getattr(world, name)
        before = dict(part._rules if name == "rules" else part.by_id)
        gone = sorted(before.keys() - {row.id for row in rows})
        changed = [row for row in rows if before.get(row.id) != row]
        for _ in range(random.randrange(3) if name == "rules" else 0):
            some = random.sample(sorted(before), len(before) // 2)
            part.replace(some, ())
            part.replace((), [before[id_] for id_ in random.sample(some, len(some))])
        part.replace(gone, random.sample(changed, len(changed)))
    return known


# The model


@pytest.fixture(scope="module")
def compared(pytestconfig):
    """Every decision that differs from the model's, and what the model saw on the way."""
    with pytest.MonkeyPatch.context() as patch:
        return compare(pytestconfig.getoption("decisions"), patch)


def compare(decisions, patch):
    """One snapshot goes from world to world, as a process's does from revision to revision: what it would lose or keep
    on the way shows. How many rules are few changes, too: they are found in another way.
    """
    known, seen, different = {plan: Snapshot(1, plan) for plan in PLANS}, Counter(), []
    for seed in range(decisions // HOOKS_A_WORLD):
        dice = Dice(seed)
        patch.setattr(compile, "FEW", dice.choice((0, 2, 16)))
        world = dice.world()
        snapshot, model = become(known[world.plan], world, dice), Reference(world, seen)
        for hook in (dice.hook(EVERY_METHOD) for _ in range(HOOKS_A_WORLD)):
            wanted, found = model.decide(hook), decided_with(snapshot, hook)
            if found != wanted:
                different.append((seed, hook, wanted, found))
    return different, seen


def test_deciding_agrees_with_the_model(compared):
    different, _ = compared
    assert different[:1] == []


KINDS = ("any", "exact", "prefix", "stream", "glob", "stream-group", "number-class", "number-prefix")
NEITHER_ALWAYS_NOR_NEVER = (
    *(f"target {kind}" for kind in KINDS[1:]),
    *("begins later", "has ended", "only logged", "what is dialled instead is denied"),
    *("schedule", "networks", "origins", "media", "apps", "nodes", "custom"),
    *(f"custom {operator}" for operator in ("=", "in", "begins with", ">", "<", ">=", "<=")),
)
NOT_HERE = {
    Reason.KEPT_WHILE_AWAY,
    Reason.UNKNOWN_CALL,
    Reason.HIDDEN_DIGITS,
    Reason.CONNECT_AGAIN,
    Reason.CUT,
    Reason.LIMIT_REACHED,
}
"""Numbers are plain, sessions hide all there is, and nothing runs here."""

OFTEN = (
    *(reason for reason in Reason if reason not in NOT_HERE),
    *(f"{who}, {kind}" for who in ("everyone", "guests", "user", "group") for kind in (*KINDS, "unheard-of")),
    *(f"{what}: {outcome}" for what in NEITHER_ALWAYS_NOR_NEVER for outcome in (True, False)),
    *(f"entered by: {how}" for how in ("token", "password", "guest", "rest", "link", "jwt")),
    *(f"entered by: {how} of the hook" for how in ("token", "password", "link", "signed token")),
    *(f"number class by {how}" for how in ("whole", "beginning", "short")),
    *(f"rules that fail: {effects}" for effects in ("none", "allow", "deny")),
    *(f"record: {record}" for record in ("", "on", "off")),
)


@pytest.mark.parametrize("what", OFTEN)
def test_the_worlds_have_enough_of_everything(compared, what):
    _, seen = compared
    assert seen[what] >= 5


# Properties


@given(REFUSABLE_HOOKS, WORLDS)
def test_without_a_rule_nobody_is_allowed(hook, world):
    app = app_of(hook, world)
    protected = any(row.protected for row in world.number_classes) and hook.method == "call"
    decision = decided(hook, world._replace(rules=(), links=()))
    if not (decision.reason is Reason.PROTECTED_NUMBER and protected):
        assert decision.allowed is bool(app and app.rest_started)


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, NEW_RULES)
def test_a_deny_beats_every_allow(hook, world, deny):
    deny = RuleRow(99, "deny", deny.who, ACTIONS, deny.user_id, deny.group_id, "any")
    before = decided(hook, world)
    after = decided(hook, world._replace(rules=(*world.rules, deny)))
    if 99 in after.rule_ids:
        assert not after.allowed
        assert after.reason is Reason.DENIED_BY_RULE
    else:
        assert after == before


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, st.integers(0, 2**32))
def test_the_order_of_rules_users_and_tokens_is_irrelevant(hook, world, seed):
    shuffled = {name: Random(seed).sample(getattr(world, name), len(getattr(world, name))) for name in PARTS}
    assert decided(hook, world._replace(**shuffled)) == decided(hook, world)


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, NEW_RULES)
def test_one_allow_more_takes_nothing_away_and_one_deny_more_gives_nothing(hook, world, row):
    more = decided(hook, world._replace(rules=(*world.rules, row)))
    before = decided(hook, world)
    if row.effect == "allow":
        assert more.allowed or not before.allowed
    else:
        assert before.allowed or not more.allowed


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, st.sampled_from(WRONG_CREDENTIALS))
def test_who_offers_a_wrong_credential_is_never_allowed(hook, world, wrong):
    assume(find(hook.method).identity != "session")
    members = {**hook.members, "custom": wrong, "token": None}
    if "password" in wrong:
        members["name"] = "lobby"  # no address with a token in it
    decision = decided(hook._replace(members=members), world)
    assert not decision.allowed or decision.reason is Reason.STARTED_BY_REST_API


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, st.sampled_from(WRONG_CREDENTIALS))
def test_a_wrong_credential_is_never_better_than_none(hook, world, wrong):
    nothing = {**hook.members, "token": None, "custom": None, "name": "lobby"}
    with_wrong = decided(hook._replace(members={**nothing, "custom": wrong}), world)
    without = decided(hook._replace(members=nothing), world)
    assert without.allowed or not with_wrong.allowed


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS)
def test_an_expired_token_is_worth_as_much_as_one_that_never_was(hook, world):
    expired = tuple(replace(row, expires_at=hook.now) for row in world.tokens)
    with_expired, without = decided(hook, world._replace(tokens=expired)), decided(hook, world._replace(tokens=()))
    assert with_expired.allowed is without.allowed
    if with_expired != without:
        assert with_expired.reason in (Reason.EXPIRED_TOKEN, Reason.REVOKED, Reason.TOKEN_USED)
        assert without.reason is Reason.BAD_TOKEN


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS)
def test_nobody_who_is_switched_off_is_allowed(hook, world):
    off = tuple(replace(row, active=False) for row in world.users)
    decision = decided(hook, world._replace(users=off, issuers=ISSUERS[0]))
    if decision.reason is Reason.ALLOWED_BY_RULE:
        rows = {row.id: row for row in world.rules}
        assert {rows[id_].who for id_ in decision.rule_ids} == {"guests"}


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS)
def test_taking_a_token_an_app_or_a_group_away_allows_nothing_new(hook, world):
    before = decided(hook, world)
    assume(not before.allowed)
    assert not decided(hook, world._replace(tokens=world.tokens[1:])).allowed
    assert not decided(hook, world._replace(apps=())).allowed
    allows = tuple(row for row in world.rules if row.effect == "allow")
    if allows == world.rules:
        alone = tuple(replace(row, group_ids=()) for row in world.users)
        assert not decided(hook, world._replace(users=alone)).allowed


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS, st.sampled_from(PAST))
def test_revoking_everything_allows_nothing_new(hook, world, before):
    decision = decided(hook, world)
    latest = RevocationRow(1, max([before, *(row.before for row in world.revocations)]))
    revoked = decided(hook, world._replace(revocations=(latest,)))
    assert decision.allowed or not revoked.allowed


@settings(max_examples=600)
@given(REFUSABLE_HOOKS, WORLDS)
def test_taking_links_and_issuers_away_leaves_nobody_in_by_them(hook, world):
    decision = decided(hook, world._replace(links=(), issuers=()))
    assert decision.reason is not Reason.ALLOWED_BY_LINK
    assert decided(hook, world).allowed or not decision.allowed
