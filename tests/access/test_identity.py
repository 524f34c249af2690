"""Who is behind a hook, and what is wrong with it."""

import pytest

from apps.access.facts import Identity
from apps.access.identity import identify
from apps.access.networks import in_networks, is_network, parse_address
from apps.access.reasons import Reason
from apps.access.rows import AppRow, UserRow
from apps.protocol.methods import METHODS
from tests.access.worlds import ALICE, APP, BOB, NOW, SECOND, call, identity_of, session, snapshot, token

OPEN_APP = AppRow(1, APP.key, guests=True)
WORLD = snapshot()
OPEN_WORLD = snapshot(apps=[OPEN_APP])
ALICES = token(ALICE)
IN_SESSION = [method.name for method in METHODS if method.identity != "credentials" and method.refusable]
IN_BODY = [method.name for method in METHODS if method.identity == "credentials"]
EITHER = [method.name for method in METHODS if method.identity == "either"]


def with_token(text="tok-alice", method="connect", **members):
    return call(method, custom={"token": text}, **members)


def known_with(**limits):
    """A world in which Alice's token is limited."""
    return snapshot(tokens=[token(ALICE, **limits)])


# Credentials in the body


@pytest.mark.parametrize("method", IN_BODY)
def test_a_token_says_who_it_is(method):
    assert identity_of(with_token(method=method), WORLD) == Identity(ALICE, ALICES, entered_by="token")


@pytest.mark.parametrize("login", ["login", "username"])
def test_a_login_and_its_password_say_who_it_is(login):
    hook = call("connect", custom={login: "bob", "password": "pw-bob"})
    assert identity_of(hook, WORLD) == Identity(BOB, entered_by="password")


@pytest.mark.parametrize("method", IN_BODY)
def test_without_a_credential_it_is_a_guest_where_guests_are_welcome(method):
    assert identity_of(call(method), OPEN_WORLD) == Identity(entered_by="guest")
    assert identity_of(call(method), OPEN_WORLD).is_guest
    assert identity_of(call(method), WORLD) == Identity(problem=Reason.NO_CREDENTIALS)


@pytest.mark.parametrize(
    ("custom", "problem"),
    [
        ({"token": "wrong"}, Reason.BAD_TOKEN),
        ({"token": ""}, Reason.BAD_TOKEN),
        ({"token": "TOK-ALICE"}, Reason.BAD_TOKEN),
        ({"token": ALICES.hash}, Reason.BAD_TOKEN),
        ({"token": 12345}, Reason.BAD_TOKEN),
        ({"token": False}, Reason.BAD_TOKEN),
        ({"token": ["tok-alice"]}, Reason.BAD_TOKEN),
        ({"password": "pw-alice"}, Reason.BAD_TOKEN),
        ({"login": "alice", "password": 1}, Reason.BAD_TOKEN),
        ({"login": "alice", "password": "wrong"}, Reason.BAD_PASSWORD),
        ({"login": "alice", "password": ""}, Reason.BAD_PASSWORD),
        ({"login": "nobody", "password": "pw-alice"}, Reason.BAD_PASSWORD),
    ],
)
@pytest.mark.parametrize("method", IN_BODY + EITHER)
@pytest.mark.parametrize("known", [WORLD, OPEN_WORLD], ids=["no guests", "guests welcome"])
def test_a_wrong_credential_is_a_problem_also_where_none_would_do(method, custom, problem, known):
    opened = session() if known is OPEN_WORLD else session(ALICE)
    identity = identity_of(call(method, custom=custom), known, opened if method in EITHER else None)
    assert identity.problem is problem
    assert not identity.is_guest


def test_a_good_password_beside_a_wrong_token_does_not_help():
    hook = call("connect", custom={"token": "wrong", "login": "alice", "password": "pw-alice"})
    assert identity_of(hook, WORLD).problem is Reason.BAD_TOKEN


@pytest.mark.parametrize("password", ["", "anything"])
def test_the_password_of_a_user_who_has_none_is_never_right(password):
    known = snapshot(users=[UserRow(1, "alice", password="!")], tokens=[])
    hook = call("connect", custom={"login": "alice", "password": password})
    assert identity_of(hook, known).problem is Reason.BAD_PASSWORD


def test_a_password_is_checked_for_nobody_too_so_that_it_takes_as_long():
    asked = []

    def check_password(user, password):
        asked.append((user, password))
        return True  # even then nobody is nobody

    hook = call("connect", custom={"login": "nobody", "password": "x"})
    identity = identify(hook, APP, None, WORLD, now=NOW, check_password=check_password)
    assert asked == [(None, "x")]
    assert identity.problem is Reason.BAD_PASSWORD


@pytest.mark.parametrize("method", EITHER)
def test_a_credential_in_the_body_comes_before_the_session(method):
    assert identity_of(with_token(method=method), WORLD, session(BOB)).user == ALICE


@pytest.mark.parametrize("method", EITHER)
def test_a_credential_in_the_body_does_not_replace_the_session(method):
    assert identity_of(with_token(method=method), WORLD).problem is Reason.UNKNOWN_SESSION
    ended = session(ALICE, ended=True)
    assert identity_of(with_token(method=method), WORLD, ended).problem is Reason.SESSION_ENDED


@pytest.mark.parametrize("method", sorted(set(IN_SESSION) - set(EITHER)))
def test_other_hooks_are_their_sessions_users_whatever_their_body_says(method):
    assert identity_of(with_token("wrong", method=method), WORLD, session(ALICE)).user == ALICE


# Sessions


@pytest.mark.parametrize("method", IN_SESSION)
def test_a_session_is_its_users(method):
    by_token, by_password = session(ALICE), session(ALICE, "password")
    assert identity_of(call(method), WORLD, by_token) == Identity(ALICE, ALICES, entered_by="token")
    assert identity_of(call(method), WORLD, by_password) == Identity(ALICE, entered_by="password")


@pytest.mark.parametrize("method", IN_SESSION)
def test_a_guests_session_is_a_guests_as_long_as_guests_are_welcome(method):
    assert identity_of(call(method), OPEN_WORLD, session()).is_guest
    assert identity_of(call(method), WORLD, session()) == Identity(problem=Reason.NO_CREDENTIALS)


@pytest.mark.parametrize("method", IN_SESSION)
@pytest.mark.parametrize(
    ("opened", "problem"),
    [
        (None, Reason.UNKNOWN_SESSION),
        (session(ALICE, app_key="otherApp"), Reason.UNKNOWN_SESSION),
        (session(ALICE, ended=True), Reason.SESSION_ENDED),
        (session(app_key="otherApp"), Reason.UNKNOWN_SESSION),
        (session(ALICE, "rest"), Reason.NO_CREDENTIALS),
        (session(ALICE, "some other way"), Reason.NO_CREDENTIALS),
        (session(ALICE, token_id=None), Reason.BAD_TOKEN),
        (session(ALICE, token_id=999), Reason.BAD_TOKEN),
        (session(ALICE, "password", user_id=None), Reason.USER_INACTIVE),
        (session(ALICE, "password", user_id=999), Reason.USER_INACTIVE),
    ],
)
def test_a_session_that_is_not_good_is_a_problem(method, opened, problem):
    assert identity_of(call(method), OPEN_WORLD, opened).problem is problem


def test_a_removed_token_ends_what_it_began():
    revoked = snapshot(tokens=[token(BOB)])
    assert identity_of(with_token(), revoked).problem is Reason.BAD_TOKEN
    assert identity_of(call("publishStream"), revoked, session(ALICE)).problem is Reason.BAD_TOKEN


def test_a_token_that_was_given_to_somebody_else_does_not_carry_the_session_over():
    moved = snapshot(tokens=[token(BOB, "tok-alice", token_id=ALICES.id)])
    assert identity_of(call("publishStream"), moved, session(ALICE)).problem is Reason.BAD_TOKEN
    assert identity_of(with_token(), moved).user == BOB


def test_a_deleted_user_is_a_problem_however_they_entered():
    without_alice = snapshot(users=[BOB], tokens=[ALICES, token(BOB)])
    assert identity_of(with_token(), without_alice).problem is Reason.BAD_TOKEN
    assert identity_of(call("publishStream"), without_alice, session(ALICE)).problem is Reason.BAD_TOKEN
    by_password = session(ALICE, "password")
    assert identity_of(call("publishStream"), without_alice, by_password).problem is Reason.USER_INACTIVE


@pytest.mark.parametrize("method", [method.name for method in METHODS if not method.refusable] + ["futureMethod"])
def test_nobody_is_looked_for_where_nothing_can_be_refused(method):
    assert identity_of(call(method), WORLD, session(ALICE)) == Identity()


# What a token is limited to


HERE = "/10.0.0.7:64604/192.168.1.101:8443"


@pytest.mark.parametrize(("seconds", "problem"), [(-1, Reason.EXPIRED_TOKEN), (0, Reason.EXPIRED_TOKEN), (1, None)])
def test_a_token_works_until_it_expires_and_no_moment_longer(seconds, problem):
    known = known_with(expires_at=NOW + seconds * SECOND)
    assert identity_of(with_token(), known).problem is problem
    assert identity_of(call("publishStream"), known, session(ALICE)).problem is problem


@pytest.mark.parametrize(
    ("address", "networks", "fits"),
    [
        ("/10.0.0.7:1/n", ("10.0.0.0/8",), True),
        ("/11.0.0.7:1/n", ("10.0.0.0/8",), False),
        ("/11.0.0.7:1/n", ("10.0.0.0/8", "11.0.0.7"), True),
        ("/11.0.0.8:1/n", ("11.0.0.7",), False),
        ("/::ffff:10.0.0.7:1/n", ("10.0.0.0/8",), True),
        ("/[::ffff:a00:7]:1/n", ("10.0.0.0/8",), True),
        ("/0:0:0:0:0:ffff:b00:7:1/n", ("10.0.0.0/8",), False),
        ("/2001:db8:0:0:0:0:0:7:1/n", ("2001:db8::/32",), True),
        ("/[2001:db8::7]:1/n", ("2001:db8::/32",), True),
        ("/[2001:db9::7]:1/n", ("2001:db8::/32",), False),
        ("/fe80:0:0:0:0:0:0:7%eth0:1/n", ("fe80::/10",), True),
        ("/10.0.0.7:1/n", ("2001:db8::/32",), False),
        ("/2001:db8:0:0:0:0:0:7:1/n", ("0.0.0.0/0",), False),
        ("/10.0.0.7/n", ("0.0.0.0/0", "::/0"), False),  # no address to be read
        ("8f2e7d4a-5d36-4c6e-9a57-2f2d3d8a1c55", ("0.0.0.0/0", "::/0"), False),
    ],
)
def test_a_token_bound_to_networks_works_from_there_only(address, networks, fits):
    known = known_with(networks=networks)
    problem = None if fits else Reason.TOKEN_NOT_FOR_THIS
    assert identity_of(with_token(sessionId=address), known).problem is problem
    assert identity_of(call("publishStream", sessionId=address), known, session(ALICE)).problem is problem


def test_a_token_bound_to_pages_works_on_them_only():
    known = known_with(origins=("https://a.example", "https://b.example"))
    assert identity_of(with_token(origin="https://b.example"), known).problem is None
    for origin in ("https://c.example", "https://b.example.evil", "http://b.example", "", None):
        assert identity_of(with_token(origin=origin), known).problem is Reason.TOKEN_NOT_FOR_THIS


def test_in_a_session_the_page_is_that_which_connected():
    known = known_with(origins=("https://a.example",))
    claims = call("publishStream", origin="https://a.example")
    assert identity_of(claims, known, session(ALICE, origin="https://a.example")).problem is None
    elsewhere = session(ALICE, origin="https://c.example")
    assert identity_of(claims, known, elsewhere).problem is Reason.TOKEN_NOT_FOR_THIS
    with_own_token = with_token(method="publishStream", origin="https://a.example")
    assert identity_of(with_own_token, known, elsewhere).problem is Reason.TOKEN_NOT_FOR_THIS


def test_a_token_bound_to_streams_plays_and_publishes_those_only():
    known = known_with(streams=("lobby", "attic"))
    for method in ("publishStream", "playStream", "snapshot", "StreamKeepAliveEvent"):
        assert identity_of(call(method, name="attic"), known, session(ALICE)).problem is None
        for name in ("cellar", "lobby-2", "", None):
            other = identity_of(call(method, name=name), known, session(ALICE))
            assert other.problem is Reason.TOKEN_NOT_FOR_THIS
    assert identity_of(call("call", callee="+49"), known, session(ALICE)).problem is None
    assert identity_of(with_token(), known).problem is None


def test_a_token_bound_to_streams_knows_them_by_their_address_too():
    known = known_with(streams=("lobby",))
    hook = call("playRTSP", name="rtsp://node:5554/lobby?token=tok-alice")
    assert identity_of(hook, known).problem is None
    other = call("playRTSP", name="rtsp://node:5554/attic?token=tok-alice")
    assert identity_of(other, known).problem is Reason.TOKEN_NOT_FOR_THIS


def test_a_token_bound_to_actions_is_for_those_and_for_connecting():
    known = known_with(actions=("play",))
    assert identity_of(with_token(), known).problem is None
    assert identity_of(call("playStream"), known, session(ALICE)).problem is None
    assert identity_of(call("StreamKeepAliveEvent", published=False), known, session(ALICE)).problem is None
    for method in ("publishStream", "call", "OnDataEvent", "StreamKeepAliveEvent", "OnCallEvent"):
        assert identity_of(call(method), known, session(ALICE)).problem is Reason.TOKEN_NOT_FOR_THIS


def test_all_limits_must_hold_at_once():
    limits = {"networks": ("10.0.0.0/8",), "streams": ("lobby",), "actions": ("play",)}
    good = call("playStream", name="lobby", sessionId=HERE)
    assert identity_of(good, known_with(**limits), session(ALICE)).problem is None
    for changed in ({"networks": ("11.0.0.0/8",)}, {"streams": ("attic",)}, {"actions": ("publish",)}):
        known = known_with(**(limits | changed))
        assert identity_of(good, known, session(ALICE)).problem is Reason.TOKEN_NOT_FOR_THIS


def test_the_problem_names_whom_it_was_about():
    identity = identity_of(with_token(), known_with(expires_at=NOW))
    assert (identity.user, identity.problem, identity.entered_by) == (ALICE, Reason.EXPIRED_TOKEN, "")


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("0:0:0:0:0:ffff:a00:7", "10.0.0.7"),
        ("2001:db8:0:0:0:0:0:7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("localhost", "None"),
        ("10.0.0.256", "None"),
        ("010.0.0.1", "None"),
        ("", "None"),
    ],
)
def test_an_address_is_read_as_one_value_however_it_is_written(text, address):
    assert str(parse_address(text)) == address


def test_what_is_no_address_lies_in_no_network():
    assert not in_networks("", ("0.0.0.0/0", "::/0"))
    assert not in_networks("10.0.0.7", ())


@pytest.mark.parametrize(
    ("identity", "is_guest"),
    [
        (Identity(entered_by="guest"), True),
        (Identity(), False),
        (Identity(entered_by="rest"), False),
        (Identity(user=ALICE, entered_by="guest"), False),
        (Identity(problem=Reason.NO_CREDENTIALS, entered_by="guest"), False),
    ],
)
def test_a_guest_is_who_came_without_a_credential_and_was_let_in(identity, is_guest):
    assert identity.is_guest is is_guest


@pytest.mark.parametrize(
    ("text", "is_one"), [("10.0.0.0/8", True), ("10.0.0.7", True), ("2001:db8::/32", True), ("ten", False), ("", False)]
)
def test_a_network_is_told_from_what_is_none(text, is_one):
    assert is_network(text) is is_one
