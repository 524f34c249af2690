"""Signed tokens, links, tokens for single use, and what is revoked: who is behind a hook, and what is wrong with it."""

import msgspec
import pytest
from msgspec.structs import replace

from apps.access.facts import Identity
from apps.access.other_ways_in import granted
from apps.access.reasons import Reason
from apps.access.rows import FROM_CLAIMS, AppRow, GroupRow, UserRow
from apps.protocol.methods import METHODS
from tests.access.signed import ISSUER, claims_of, issuer, sign, web_token
from tests.access.worlds import (
    ALICE,
    APP,
    BOB,
    DAY,
    HOUR,
    NOW,
    SECOND,
    call,
    identity_of,
    link,
    session,
    snapshot,
    token,
)

IN_BODY = [method.name for method in METHODS if method.identity == "credentials"]
EITHER = [method.name for method in METHODS if method.identity == "either"]
GUESTS = AppRow(1, APP.key, guests=True)


def offering(text, method="connect", **members):
    """A hook with this in the place of a token."""
    return call(method, custom={"token": text}, **members)


def opened_by(identity, **fields):
    """The session that a connect of this identity opens."""
    user = identity.user
    return session(
        user_id=(user.id or None) if user else None,
        username=user.username if user else "",
        entered_by=identity.entered_by,
        token_id=identity.token.id if identity.token else None,
        granted=granted(identity),
        **fields,
    )


def problem_in_session(method, opened, world, now=NOW, **members):
    return identity_of(call(method, **members), world, opened, now).problem


# Signed tokens


def with_issuer(**fields):
    """A world with an issuer of signed tokens, and two groups."""
    return snapshot(issuers=[issuer(**fields)], groups=[GroupRow(7, "teachers"), GroupRow(8, "students")])


@pytest.mark.parametrize("method", IN_BODY + EITHER)
def test_a_signed_token_says_who_it_is(method):
    identity = identity_of(offering(web_token(), method), with_issuer(), session(BOB))
    assert (identity.user, identity.entered_by, identity.problem) == (ALICE, "jwt", None)


def test_a_signed_token_in_the_address_of_a_player_says_so_too():
    hook = call("playRTSP", name=f"rtsp://node:5554/lobby?token={web_token()}")
    assert identity_of(hook, with_issuer()).user == ALICE


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.b.c", Reason.TOKEN_MALFORMED),
        (web_token(iss="https://other.example.org/"), Reason.UNKNOWN_ISSUER),
        (sign(claims_of(), key=b"somebody else's secret of 32 byte"), Reason.BAD_SIGNATURE),
        (web_token(aud="other"), Reason.WRONG_AUDIENCE),
        (web_token(exp=int(NOW.timestamp()) - 60), Reason.EXPIRED_TOKEN),
        (web_token(nbf=int(NOW.timestamp()) + 60), Reason.TOKEN_NOT_YET_VALID),
        (web_token("nobody"), Reason.UNKNOWN_SUBJECT),
        ("a.b", Reason.BAD_TOKEN),
    ],
)
@pytest.mark.parametrize("method", IN_BODY + EITHER)
def test_one_that_is_not_good_is_refused_also_where_guests_are_welcome(method, text, problem):
    world = with_issuer()
    world.apps.replace((), [GUESTS])
    identity = identity_of(offering(text, method), world, session())
    assert identity.problem is problem
    assert not identity.is_guest


def test_a_user_who_is_switched_off_is_named_so_that_the_next_check_refuses():
    off = replace(ALICE, active=False)
    world = snapshot(users=[off], issuers=[issuer(accepts_unknown=True)])
    assert identity_of(offering(web_token()), world).user == off


def test_groups_of_the_token_come_to_those_the_user_is_in():
    world = with_issuer(groups_claim="groups")
    for subject, groups, ids in (
        ("bob", ["students", "teachers"], (8, 7)),
        ("bob", ["unheard-of", "Students"], ()),
        ("alice", ["students", "teachers"], (7, 8)),
        ("alice", [], (7,)),
    ):
        assert identity_of(offering(web_token(subject, groups=groups)), world).user.group_ids == ids
    assert identity_of(offering(web_token("bob", groups=["students"])), with_issuer()).user == BOB


def test_a_user_without_a_row_is_known_from_the_token_alone_if_the_issuer_may_bring_such():
    world = with_issuer(accepts_unknown=True, groups_claim="groups")
    identity = identity_of(offering(web_token("zoe", groups=["students"])), world)
    assert identity.user == UserRow(FROM_CLAIMS, "zoe", group_ids=(8,))
    later = opened_by(identity)
    assert later.user_id is None
    assert identity_of(call("publishStream"), world, later).user == identity.user
    assert problem_in_session("publishStream", later, with_issuer()) is Reason.UNKNOWN_SUBJECT


def test_who_gets_a_row_later_is_that_user_from_then_on():
    identity = identity_of(offering(web_token("zoe")), with_issuer(accepts_unknown=True))
    zoe = UserRow(9, "zoe", active=False)
    world = snapshot(users=[zoe], issuers=[issuer(accepts_unknown=True)])
    assert identity_of(call("publishStream"), world, opened_by(identity)).user == zoe


def test_streams_and_actions_of_a_token_narrow_it_in_its_session_too():
    world = with_issuer(streams_claim="streams", actions_claim="scope")
    text = web_token(streams=["lobby"], scope="play dtmf")
    opened = opened_by(identity_of(offering(text), world))
    for good in (call("playStream", name="lobby"), call("sendDtmf"), offering(text, "playStream", name="lobby")):
        assert identity_of(good, world, opened).problem is None
    for bad in (
        call("playStream", name="attic"),
        call("publishStream", name="lobby"),
        call("call", callee="+49"),
        offering(text, "playStream", name="attic"),
    ):
        assert identity_of(bad, world, opened).problem is Reason.TOKEN_NOT_FOR_THIS


def test_a_token_without_the_claims_that_limit_it_may_only_connect():
    world = with_issuer(streams_claim="streams", actions_claim="scope")
    opened = opened_by(identity_of(offering(web_token()), world))
    assert identity_of(offering(web_token()), world).problem is None
    for method in ("playStream", "publishStream", "call", "sendDtmf"):
        assert problem_in_session(method, opened, world, name="lobby") is Reason.TOKEN_NOT_FOR_THIS


ALL = [method.name for method in METHODS if method.identity != "credentials" and method.refusable]


@pytest.mark.parametrize("method", ALL)
def test_a_session_that_a_token_opened_is_judged_by_it_at_every_hook(method):
    world = with_issuer(leeway=30)
    opened = opened_by(identity_of(offering(web_token()), world))
    expiry = NOW + HOUR + 30 * SECOND
    assert identity_of(call(method), world, opened).user == ALICE
    assert problem_in_session(method, opened, world, now=expiry - SECOND) is None
    assert problem_in_session(method, opened, world, now=expiry) is Reason.EXPIRED_TOKEN
    assert problem_in_session(method, opened, with_issuer(active=False)) is Reason.UNKNOWN_ISSUER
    assert problem_in_session(method, opened, with_issuer(issuer="https://other")) is Reason.UNKNOWN_ISSUER
    assert problem_in_session(method, opened, snapshot()) is Reason.UNKNOWN_ISSUER
    without_alice = snapshot(users=[BOB], issuers=[issuer()])
    assert problem_in_session(method, opened, without_alice) is Reason.UNKNOWN_SUBJECT


@pytest.mark.parametrize("text", ["", "{}", "null", "nonsense", '{"issuer": 5}'])
def test_a_session_whose_grant_cannot_be_read_is_nobodys(text):
    opened = session(ALICE, "jwt", granted=text)
    assert problem_in_session("playStream", opened, with_issuer()) is Reason.TOKEN_MALFORMED


def test_a_session_keeps_what_the_token_said_and_not_the_token():
    text = web_token(groups=["a"])
    kept = opened_by(identity_of(offering(text), with_issuer(groups_claim="groups"))).granted
    assert msgspec.json.decode(kept) == {
        "issuer": ISSUER,
        "subject": "alice",
        "issued_at": "2026-03-01T11:59:00Z",
        "starts_at": "2026-03-01T11:59:00Z",
        "expires_at": "2026-03-01T13:00:00Z",
        "groups": ["a"],
    }
    assert text.split(".")[2] not in kept


# Links


WATCH = "link.press.signed"


def with_link(**fields):
    return snapshot(links=[link(**fields)])


@pytest.mark.parametrize("method", ["playStream", "playHLS", "playRTSP", "snapshot", "availableStream", "connect"])
@pytest.mark.parametrize("text", [WATCH, "link.press.signed-before"])
def test_a_link_lets_its_holder_in_to_watch_its_stream_as_nobodys_user(method, text):
    identity = identity_of(offering(text, method, name="lobby"), with_link(), session())
    assert identity == Identity(entered_by="link", link=link())
    assert not identity.is_guest


def test_a_link_may_be_in_the_address_of_a_player():
    world = with_link()
    assert identity_of(call("playRTSP", name=f"rtsp://n/lobby?token={WATCH}"), world).entered_by == "link"
    assert identity_of(call("playRTSP", name=f"rtsp://n/attic?token={WATCH}"), world).problem
    assert identity_of(call("playHLS", name="lobby", token=WATCH), world).entered_by == "link"


@pytest.mark.parametrize(
    "text",
    [
        "link.press.",
        "link.press",
        "link.press.forged",
        "link.press.signed.",
        "link.press.signéd",
        "link.other.signed",
        "link..signed",
        "link.",
        "LINK.press.signed",
        "link.press.SIGNED",
    ],
)
def test_what_is_not_signed_by_us_is_no_link(text):
    world = with_link()
    world.apps.replace((), [GUESTS])
    assert identity_of(offering(text), world).problem in (Reason.BAD_TOKEN, Reason.TOKEN_MALFORMED)


def test_where_no_key_is_set_no_signature_is_good():
    for text in ("link.press.", WATCH):
        assert identity_of(offering(text), with_link(signatures=())).problem is Reason.BAD_TOKEN


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"ends_at": NOW}, Reason.EXPIRED_TOKEN),
        ({"ends_at": NOW + SECOND}, None),
        ({"active": False}, Reason.REVOKED),
        ({"stream": "attic"}, Reason.TOKEN_NOT_FOR_THIS),
        ({"stream": "Lobby"}, Reason.TOKEN_NOT_FOR_THIS),
        ({"stream": "*"}, Reason.TOKEN_NOT_FOR_THIS),
        ({"action": "publish"}, Reason.TOKEN_NOT_FOR_THIS),
    ],
)
def test_a_link_is_for_one_stream_and_one_action_until_a_moment(fields, problem):
    world = with_link(**fields)
    opened = opened_by(identity_of(offering(WATCH), with_link()))
    assert identity_of(offering(WATCH, "playHLS", name="lobby"), world).problem is problem
    assert problem_in_session("playStream", opened, world, name="lobby") is problem
    assert problem_in_session("StreamKeepAliveEvent", opened, world, name="lobby", published=False) is problem


def test_a_link_to_publish_lets_nobody_watch():
    world = with_link(action="publish")
    opened = opened_by(identity_of(offering(WATCH), world))
    assert problem_in_session("publishStream", opened, world, name="lobby") is None
    assert problem_in_session("StreamKeepAliveEvent", opened, world, name="lobby", published=True) is None
    assert problem_in_session("playStream", opened, world, name="lobby") is Reason.TOKEN_NOT_FOR_THIS


@pytest.mark.parametrize("method", [name for name in ALL if name not in EITHER])
def test_in_its_session_nothing_else_is_allowed(method):
    world = with_link()
    opened = opened_by(identity_of(offering(WATCH), world))
    assert problem_in_session(method, opened, world, name="lobby", callee="lobby") is Reason.TOKEN_NOT_FOR_THIS


def test_a_link_that_is_deleted_ends_the_sessions_it_opened():
    opened = opened_by(identity_of(offering(WATCH), with_link()))
    assert problem_in_session("playStream", opened, snapshot(), name="lobby") is Reason.BAD_TOKEN


def test_a_token_of_ours_may_look_like_a_link_or_a_signed_token():
    for text in (WATCH, "a.b.c"):
        world = snapshot(tokens=[token(ALICE, text)], links=[link()])
        assert identity_of(offering(text), world).user == ALICE


# Tokens for single use


HERE = (call("connect").node_id, call("connect").session_id)


@pytest.mark.parametrize(
    ("used_by", "problem"),
    [(None, None), (HERE, None), (("other node", HERE[1]), Reason.TOKEN_USED), ((HERE[0], "other"), Reason.TOKEN_USED)],
)
def test_a_token_for_single_use_is_good_for_the_session_that_used_it(used_by, problem):
    world = snapshot(tokens=[token(ALICE, single_use=True, used_by=used_by)])
    for hook in (offering("tok-alice"), offering("tok-alice", "playHLS"), call("publishStream")):
        assert identity_of(hook, world, session(ALICE)).problem is problem


def test_a_use_that_was_heard_of_while_recording_counts_too():
    world = snapshot(tokens=[token(ALICE, single_use=True)])
    world.note_use(token(ALICE), ("other node", "other"))
    assert identity_of(offering("tok-alice"), world).problem is Reason.TOKEN_USED
    world.note_use(token(ALICE), HERE)
    assert identity_of(offering("tok-alice"), world).token.used_by == HERE


def test_other_tokens_may_be_used_again_and_again():
    world = snapshot(tokens=[token(ALICE, used_by=("other node", "other"))])
    assert identity_of(offering("tok-alice"), world).problem is None


@pytest.mark.parametrize("missing", ["nodeId", "sessionId"])
def test_a_token_for_single_use_needs_a_session_to_be_used_by(missing):
    world = snapshot(tokens=[token(ALICE, single_use=True)])
    for nothing in (None, ""):
        hook = offering("tok-alice", "playHLS", **{missing: nothing})
        assert identity_of(hook, world).problem is Reason.TOKEN_NOT_FOR_THIS


# Revoking


MOMENTS = [(NOW - DAY + SECOND, Reason.REVOKED), (NOW - DAY, None), (NOW - DAY - SECOND, None)]


def revoking(of_whom, before, **parts):
    """A world in which everything, or all of Alice, is revoked from before a moment."""
    if of_whom == "everything":
        return snapshot(revoked_before=before, **parts)
    return snapshot(users=[replace(ALICE, revoked_before=before), BOB], **parts)


both = pytest.mark.parametrize("of_whom", ["everything", "alice"])


@both
@pytest.mark.parametrize(("before", "problem"), MOMENTS)
def test_a_token_that_was_issued_before_is_revoked(of_whom, before, problem):
    world = revoking(of_whom, before)
    assert identity_of(offering("tok-alice"), world).problem is problem
    assert identity_of(call("publishStream"), world, session(ALICE)).problem is problem


@both
def test_a_signed_token_that_was_issued_before_is_revoked_and_so_is_one_that_does_not_say(of_whom):
    issued_at = NOW - 60 * SECOND
    for before, problem in ((issued_at + SECOND, Reason.REVOKED), (issued_at, None)):
        world = revoking(of_whom, before, issuers=[issuer()])
        identity = identity_of(offering(web_token()), snapshot(issuers=[issuer()]))
        assert identity_of(offering(web_token()), world).problem is problem
        assert problem_in_session("publishStream", opened_by(identity, opened_at=NOW), world) is problem
        assert identity_of(offering(web_token(iat=None)), world).problem is Reason.REVOKED


@both
@pytest.mark.parametrize(("before", "problem"), MOMENTS)
def test_a_link_that_was_made_before_is_revoked(of_whom, before, problem):
    world = revoking(of_whom, before, links=[link(made_by_id=ALICE.id)])
    assert identity_of(offering(WATCH), world).problem is problem
    assert problem_in_session("playStream", session(entered_by="link", granted="press"), world, name="lobby") is problem


def test_links_of_others_and_of_nobody_are_not_revoked_with_a_user():
    for maker in (BOB.id, None):
        world = revoking("alice", NOW, links=[link(made_by_id=maker)])
        assert identity_of(offering(WATCH), world).problem is None


@both
@pytest.mark.parametrize("entered_by", ["token", "password", "jwt", "link", "guest", "rest"])
def test_a_session_that_was_opened_before_is_revoked_however_it_was(of_whom, entered_by):
    world = revoking(of_whom, NOW - HOUR + SECOND, tokens=[token(ALICE, issued_at=NOW)])
    opened = session(ALICE, entered_by)
    assert identity_of(call("publishStream"), world, opened).problem is Reason.REVOKED
    unknown = session(ALICE, entered_by, opened_at=None)
    assert identity_of(call("publishStream"), world, unknown).problem is Reason.REVOKED


def test_a_guests_session_is_revoked_with_everything():
    world = snapshot(apps=[GUESTS], revoked_before=NOW - HOUR + SECOND)
    assert identity_of(call("playStream"), world, session()).problem is Reason.REVOKED
    assert identity_of(call("playStream"), world, session(opened_at=NOW)).is_guest


@both
def test_who_logs_in_after_it_comes_in(of_whom):
    world = revoking(of_whom, NOW, tokens=[token(ALICE, issued_at=NOW)])
    assert identity_of(offering("tok-alice"), world).problem is None
    by_password = call("connect", custom={"login": "alice", "password": "pw-alice"})
    assert identity_of(by_password, world).problem is None
    assert identity_of(call("publishStream"), world, session(ALICE, "password", opened_at=NOW)).problem is None


def test_others_stay_when_one_is_logged_out_everywhere():
    world = revoking("alice", NOW)
    assert identity_of(offering("tok-bob"), world).problem is None
    assert identity_of(call("publishStream"), world, session(BOB)).problem is None


def test_a_session_that_came_in_by_a_credential_of_its_own_hook_is_revoked_by_that():
    world = revoking("alice", NOW)
    assert identity_of(offering("tok-alice", "playStream"), world, session(BOB)).problem is Reason.REVOKED
    assert identity_of(offering("tok-bob", "playStream"), world, session(BOB)).problem is None
