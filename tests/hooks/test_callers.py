"""Who may call us: the login of the app, the signature of the node, networks; and who is sent away."""

import hashlib
import hmac
import json

import pytest
from django.test import override_settings

from apps.connections.models import App, Node
from tests import factories
from tests.hooks.processes import recorded, the_record

BODY = json.dumps(
    {"nodeId": factories.NODE_ID, "appKey": "defaultApp", "sessionId": factories.SESSION_ID, "weight": 1.0}
).encode()
WCS_ADDRESS = "203.0.113.7"


def call(wcs, *, body=BODY, method="OnHologramEvent", **environ):
    """Send a hook that only needs a caller who is known, without a login, from WCS_ADDRESS unless told otherwise."""
    return wcs.raw(method, body, environ={"HTTP_AUTHORIZATION": "", "REMOTE_ADDR": WCS_ADDRESS, **environ})


def signature(body=BODY, secret="node-secret"):
    return f"WCS {hmac.new(secret.encode(), body, hashlib.md5).hexdigest()}"


def is_let_in(answer):
    return (answer.status, len(recorded())) == (200, 1)


def is_asked_for_a_login(answer):
    """401, as WCS may send its login only when asked for it."""
    return (
        answer.status == 401
        and answer.headers == (("WWW-Authenticate", 'Basic realm="WCS Gate", charset="UTF-8"'),)
        and json.loads(answer.body)["error"] == "login-wanted"
        and not recorded()
    )


def is_refused(answer):
    return (
        answer.status == 403
        and answer.headers == ()
        and json.loads(answer.body)["error"] == "caller-refused"
        and not recorded()
    )


# The login of the app


def test_the_login_of_the_app_lets_in_from_anywhere(wcs):
    factories.make_app()
    assert is_let_in(call(wcs, HTTP_AUTHORIZATION=factories.basic()))


@pytest.mark.parametrize("scheme", ["basic ", "BASIC ", "Basic   "])
def test_the_scheme_may_be_spelled_in_any_way(wcs, scheme):
    factories.make_app()
    assert is_let_in(call(wcs, HTTP_AUTHORIZATION=factories.basic().replace("Basic ", scheme)))


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Basic",
        "Basic ",
        factories.basic(password="wrong"),
        factories.basic(user="other"),
        factories.basic(user="WCS"),
        factories.basic(password=""),
        factories.basic()[:-1],
        factories.basic() + "=",
        "Bearer hook-secret",
        factories.basic().removeprefix("Basic "),
        "Basic \u00e9\u00fc",
        "WCS 0123",
    ],
)
def test_a_missing_or_wrong_login_is_asked_for(wcs, given):
    factories.make_app()
    assert is_asked_for_a_login(call(wcs, HTTP_AUTHORIZATION=given))


def test_being_on_the_same_computer_does_not_make_up_for_the_login(wcs):
    factories.make_app()
    assert is_asked_for_a_login(call(wcs, REMOTE_ADDR="127.0.0.1"))


def test_the_login_of_another_app_does_not_do(wcs):
    factories.make_app()
    factories.make_app("otherApp", hook_user="other", hook_password="others-secret")
    assert is_asked_for_a_login(call(wcs, HTTP_AUTHORIZATION=factories.basic("other", "others-secret")))


def test_the_password_before_the_last_one_counts_until_the_next_change(wcs):
    app = factories.make_app(hook_password="first-password")
    answers = {}
    for newest in ("second-password", "third-password"):
        app.set_hook_password(newest)
        app.save()
        for password in ("first-password", "second-password", "third-password"):
            answers[newest, password] = call(wcs, HTTP_AUTHORIZATION=factories.basic(password=password)).status
    assert answers == {
        ("second-password", "first-password"): 200,
        ("second-password", "second-password"): 200,
        ("second-password", "third-password"): 401,
        ("third-password", "first-password"): 401,
        ("third-password", "second-password"): 200,
        ("third-password", "third-password"): 200,
    }


def test_a_password_in_use_may_have_any_letters(wcs):
    factories.make_app(hook_password="pässwörd: 密")
    assert is_let_in(call(wcs, HTTP_AUTHORIZATION=factories.basic(password="pässwörd: 密")))


def test_a_password_that_cannot_be_read_any_more_matches_nothing_yet_is_asked_for(wcs):
    app = factories.make_app()
    App.objects.filter(id=app.id).update(hook_passwords=["sealed under a key that was lost"])
    for given in ("", factories.basic(), factories.basic(password=""), "Basic "):
        assert is_asked_for_a_login(call(wcs, HTTP_AUTHORIZATION=given, REMOTE_ADDR="127.0.0.1"))


# The signature of the node


@pytest.fixture
def signing_node(wcs):
    factories.make_app(hook_password=None)
    return factories.make_node(secret="node-secret")


@pytest.mark.usefixtures("signing_node")
def test_the_signature_of_the_node_lets_in_from_anywhere(wcs):
    assert is_let_in(call(wcs, HTTP_AUTHORIZATION=signature()))


@pytest.mark.usefixtures("signing_node")
@pytest.mark.parametrize("write", [str.upper, str.lower, lambda given: given.replace("WCS ", "wcs  ")])
def test_it_may_be_written_in_any_letter_case(wcs, write):
    assert is_let_in(call(wcs, HTTP_AUTHORIZATION=write(signature())))


@pytest.mark.usefixtures("signing_node")
@pytest.mark.parametrize(
    "given",
    [
        "",
        "WCS",
        "WCS ",
        signature(secret="wrong"),
        signature(secret=""),
        signature(BODY + b" "),
        signature(b""),
        signature()[:-1],
        signature() + "0",
        signature().removeprefix("WCS "),
        signature().replace("WCS", "Basic"),
    ],
)
def test_a_missing_or_wrong_signature_is_refused(wcs, given):
    assert is_refused(call(wcs, HTTP_AUTHORIZATION=given))


@pytest.mark.usefixtures("signing_node")
def test_it_is_over_the_bytes_as_they_came(wcs):
    """Not over what they mean: one more space, or `1.00` for `1.0`, is another body."""
    for altered in (BODY + b"\n", BODY.replace(b"1.0", b"1.00"), BODY.replace(b'"N', b' "N').replace(b": ", b":")):
        assert is_refused(call(wcs, body=altered, HTTP_AUTHORIZATION=signature()))
    assert is_let_in(call(wcs, body=BODY + b"\n", HTTP_AUTHORIZATION=signature(BODY + b"\n")))


@pytest.mark.usefixtures("signing_node")
def test_being_on_the_same_computer_does_not_make_up_for_the_signature(wcs):
    assert is_refused(call(wcs, REMOTE_ADDR="127.0.0.1"))


def test_the_secret_before_the_last_one_counts_until_the_next_change(wcs, signing_node):
    answers = []
    for newest in ("second-secret", "third-secret"):
        signing_node.set_secret(newest)
        signing_node.save()
        answers += [
            call(wcs, HTTP_AUTHORIZATION=signature(secret=secret)).status
            for secret in ("node-secret", "second-secret", "third-secret")
        ]
    assert answers == [200, 200, 403, 403, 200, 200]


def test_a_secret_that_cannot_be_read_any_more_matches_nothing(wcs, signing_node):
    Node.objects.update(secrets=["sealed under a key that was lost"])
    for given in ("", signature(), signature(secret="")):
        assert is_refused(call(wcs, HTTP_AUTHORIZATION=given, REMOTE_ADDR="127.0.0.1"))


@pytest.mark.usefixtures("signing_node")
def test_another_node_does_not_share_the_secret(wcs):
    body = BODY.replace(factories.NODE_ID.encode(), b"stranger@192.0.2.1")
    assert is_refused(call(wcs, body=body, HTTP_AUTHORIZATION=signature(body)))


# Both


def test_where_both_are_set_either_does(wcs):
    factories.make_app()
    factories.make_node(secret="node-secret")
    for good in (factories.basic(), signature()):
        assert call(wcs, HTTP_AUTHORIZATION=good).status == 200
    recorded_before = len(recorded())
    for bad in ("", factories.basic(password="wrong"), signature(secret="wrong")):
        answer = call(wcs, HTTP_AUTHORIZATION=bad)
        assert (answer.status, answer.headers[0][0]) == (401, "WWW-Authenticate")
    assert len(recorded()) == recorded_before == 2


# Networks


@pytest.mark.parametrize(
    ("networks", "address", "let_in"),
    [
        (["203.0.113.0/24"], "203.0.113.7", True),
        (["203.0.113.7"], "203.0.113.7", True),
        (["203.0.113.0/24"], "203.0.114.7", False),
        (["203.0.113.0/24"], "::ffff:203.0.113.7", True),
        (["203.0.113.0/24"], "::ffff:203.0.114.7", False),
        (["2001:db8::/32"], "2001:db8:1::7", True),
        (["2001:db8::/32"], "2001:db9::7", False),
        (["2001:db8::/32"], "203.0.113.7", False),
        (["198.51.100.0/24", "203.0.113.0/24"], "203.0.113.7", True),
        (["203.0.113.0/24"], "127.0.0.1", False),
        (["203.0.113.0/24"], "", False),
        (["203.0.113.0/24"], "unix:", False),
        (["203.0.113.0/24"], "203.0.113.7:4711", False),
        (["0.0.0.0/0"], "203.0.113.7", True),
        (["0.0.0.0/0"], "2001:db8::1", False),
    ],
)
@pytest.mark.parametrize("set_on", ["app", "node"])
def test_only_its_networks_let_in(wcs, networks, address, let_in, set_on):
    factories.make_app(hook_password=None, networks=networks if set_on == "app" else [])
    factories.make_node(networks=networks if set_on == "node" else [])
    answer = call(wcs, REMOTE_ADDR=address)
    assert is_let_in(answer) if let_in else is_refused(answer)


def test_whatever_is_set_must_hold(wcs):
    """Networks of app and node, and the login: each is asked for besides the others."""
    factories.make_app(networks=["203.0.113.0/24"])
    factories.make_node(networks=["203.0.113.0/25"])
    good = factories.basic()
    assert call(wcs, HTTP_AUTHORIZATION=good).status == 200
    assert call(wcs).status == 401
    assert call(wcs, HTTP_AUTHORIZATION=good, REMOTE_ADDR="203.0.113.200").status == 403
    assert call(wcs, HTTP_AUTHORIZATION=good, REMOTE_ADDR="192.0.2.1").status == 403
    assert len(recorded()) == 1


# Where nothing is set


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_where_nothing_is_set_this_computer_may_call(wcs, address):
    factories.make_app(hook_password=None)
    assert is_let_in(call(wcs, REMOTE_ADDR=address))


@pytest.mark.parametrize("address", ["10.0.0.1", "203.0.113.7", "2001:db8::1", "", "localhost", "0.0.0.0"])
def test_where_nothing_is_set_nobody_else_may(wcs, address):
    factories.make_app(hook_password=None)
    assert is_refused(call(wcs, REMOTE_ADDR=address))


# Proxies

FORWARDED = ["HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED"]


@pytest.mark.parametrize("header", FORWARDED)
@pytest.mark.parametrize("peer", ["203.0.113.7", "127.0.0.1"])
def test_what_an_untrusted_peer_says_it_forwards_never_passes_as_this_computer(wcs, header, peer):
    """Also where the peer is this computer: it may be a proxy here that nobody told us about."""
    factories.make_app(hook_password=None)
    said = "for=127.0.0.1" if header == "HTTP_FORWARDED" else "127.0.0.1"
    assert is_refused(call(wcs, REMOTE_ADDR=peer, **{header: said}))


@pytest.mark.parametrize("peer", ["203.0.113.7", "10.0.0.1"])
def test_what_an_untrusted_peer_says_it_forwards_is_in_no_network(wcs, peer):
    factories.make_app(hook_password=None, networks=["10.0.0.0/8"])
    assert is_refused(call(wcs, REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR="10.0.0.7"))


@override_settings(TRUSTED_PROXIES=["192.0.2.0/28", "2001:db8:ffff::/48"])
@pytest.mark.parametrize(
    ("peer", "forwarded", "let_in"),
    [
        ("192.0.2.1", "203.0.113.7", True),
        ("192.0.2.1", "203.0.113.7, 192.0.2.2", True),
        ("192.0.2.1", " 203.0.113.7 ,192.0.2.2 , 2001:db8:ffff::1", True),
        ("2001:db8:ffff::9", "203.0.113.7", True),
        ("192.0.2.1", "198.51.100.1", False),
        ("192.0.2.1", "203.0.113.7, 198.51.100.1", False),  # the client itself wrote the first one
        ("192.0.2.1", "203.0.113.7, 198.51.100.1, 192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2, 192.0.2.3", False),  # nobody but proxies
        ("192.0.2.1", "", False),  # the server leaves empty what it cannot read
        ("192.0.2.1", "127.0.0.1", False),  # nobody comes from this computer by a proxy
        ("192.0.2.1", "203.0.113.7, unknown", False),
        ("198.51.100.1", "203.0.113.7", False),
    ],
)
def test_of_a_chain_of_trusted_proxies_the_first_other_address_counts(wcs, peer, forwarded, let_in):
    factories.make_app(hook_password=None, networks=["203.0.113.0/24", "192.0.2.1"])
    answer = call(wcs, REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded)
    assert is_let_in(answer) if let_in else is_refused(answer)


@override_settings(TRUSTED_PROXIES=["192.0.2.1"])
@pytest.mark.parametrize("header", ["HTTP_X_REAL_IP", "HTTP_FORWARDED"])
def test_other_headers_of_trusted_proxies_name_no_address(wcs, header):
    factories.make_app(hook_password=None, networks=["0.0.0.0/0"])
    assert is_refused(call(wcs, REMOTE_ADDR="192.0.2.1", **{header: "203.0.113.7"}))


# Apps nobody knows

STRANGE = BODY.replace(b"defaultApp", b"nobodysApp")


def test_a_hook_for_an_unknown_app_with_the_login_of_another_app_is_recorded(wcs):
    factories.make_app()
    answer = call(wcs, body=STRANGE, method="publishStream", HTTP_AUTHORIZATION=factories.basic())
    assert (answer.status, json.loads(answer.body)["error"]) == (403, "unknown-app")
    assert (the_record().app_key, the_record().reason) == ("nobodysApp", "unknown-app")


def test_a_hook_for_an_unknown_app_from_this_computer_is_recorded(wcs):
    answer = call(wcs, body=STRANGE, method="publishStream", REMOTE_ADDR="127.0.0.1")
    assert (answer.status, json.loads(answer.body)["error"]) == (403, "unknown-app")
    assert the_record().reason == "unknown-app"


def test_a_hook_for_an_unknown_app_that_its_node_signed_is_recorded(wcs):
    factories.make_node(secret="node-secret")
    answer = call(wcs, body=STRANGE, method="publishStream", HTTP_AUTHORIZATION=signature(STRANGE))
    assert (answer.status, json.loads(answer.body)["error"]) == (403, "unknown-app")
    assert the_record().reason == "unknown-app"


@pytest.mark.parametrize("given", ["", "Basic ", factories.basic(password="wrong")])
def test_a_stranger_with_an_unknown_app_is_asked_for_a_login(wcs, given):
    factories.make_app()
    factories.make_node(secret="node-secret")
    assert is_asked_for_a_login(call(wcs, body=STRANGE, method="publishStream", HTTP_AUTHORIZATION=given))


@pytest.mark.parametrize("given", [signature(STRANGE, "other"), signature(BODY), signature(STRANGE, "")])
def test_a_wrong_signature_for_an_unknown_app_is_refused(wcs, given):
    factories.make_node(secret="node-secret")
    assert is_refused(call(wcs, body=STRANGE, method="publishStream", HTTP_AUTHORIZATION=given))


def test_an_unknown_app_is_not_let_in_by_a_login_that_cannot_be_read(wcs):
    app = factories.make_app()
    App.objects.filter(id=app.id).update(hook_passwords=["sealed under a key that was lost"])
    assert is_asked_for_a_login(call(wcs, body=STRANGE, HTTP_AUTHORIZATION="Basic "))
    assert is_asked_for_a_login(call(wcs, body=STRANGE, HTTP_AUTHORIZATION=""))


def test_a_node_that_may_not_call_from_there_may_not_for_an_unknown_app_either(wcs):
    factories.make_app()
    factories.make_node(networks=["198.51.100.0/24"])
    assert is_refused(call(wcs, body=STRANGE, HTTP_AUTHORIZATION=factories.basic()))


# At once


def test_what_was_set_a_moment_ago_counts_in_every_process(wcs, another_process):
    app = factories.make_app()
    wcs.environ = {**wcs.environ, "REMOTE_ADDR": WCS_ADDRESS}
    assert another_process.hook("StreamStatusEvent").status == 200
    for number in range(20):
        app.set_hook_password(f"password-{number}")
        app.save()
        wcs.environ["HTTP_AUTHORIZATION"] = factories.basic(password=f"password-{number}")
        assert wcs.hook("StreamStatusEvent").status == 200
        assert another_process.hook("StreamStatusEvent").status == 200
