"""Fetching public keys: what is asked, what is believed, and that nothing there can hold us up or lead us elsewhere."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from apps.access.models import AccessRevision
from apps.connections import fetching
from apps.connections.fetching import CannotFetch, fetch_key_set, renew_keys
from apps.connections.models import TokenIssuer
from apps.connections.tasks import renew_all_keys
from tests import factories
from tests.access.signed import EC_KEY, KEY_SET, key_set, public

OTHER_SET = key_set(public(EC_KEY, "new"))


@contextmanager
def serving(body=KEY_SET, status=200, headers=(), before=lambda handler: None):
    """A server on this computer; gives its address and the paths it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            before(self)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys?v=1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def problem(address):
    with pytest.raises(CannotFetch) as caught:
        fetch_key_set(address)
    return str(caught.value)


def test_keys_are_fetched_from_this_computer():
    with serving() as (address, asked):
        assert fetch_key_set(address) == KEY_SET
        assert fetch_key_set(address.replace("127.0.0.1", "localhost")) == KEY_SET
    assert asked == ["/keys?v=1", "/keys?v=1"]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "keys",
        "http://login.example.org/keys",
        "http://127.0.0.1.example.org/keys",
        "http://localhost.example.org/keys",
        "http://10.0.0.5/keys",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.5]/",
        "http://0x7f000001.example/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/keys",
        "gopher://127.0.0.1/",
        "https://",
        "https://user:password@login.example.org/keys",
        "https://login.example.org/keys#x",
        "https://login.example.org/ keys",
        "https://login.example.org/\r\nHost: other",
        "https://lögin.example.org/keys",
        "https://login.example.org:port/keys",
        "https://[::1/keys",
    ],
)
def test_an_address_that_is_none_or_goes_where_it_must_not_is_not_asked(address):
    assert problem(address).startswith(("Keys are fetched by https only", "This is no address", "The address may"))


def test_redirects_are_not_followed():
    with (
        serving() as (elsewhere, asked),
        serving(status=302, headers=[("Location", elsewhere)]) as (address, _),
    ):
        assert problem(address) == "It answers with 302, where 200 was expected. Redirects are not followed."
    assert asked == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("<html>secret</html>", "What came from there cannot be used: This is not JSON"),
        ("[]", "What came from there cannot be used: A set of keys is an object"),
        (" " * 70_000, "Its answer is longer than 65536 bytes."),
    ],
)
def test_what_comes_is_bounded_checked_and_not_repeated(body, says):
    with serving(body) as (address, _):
        assert problem(address).startswith(says)
        assert "secret" not in problem(address)


@pytest.mark.parametrize("status", [204, 404, 500])
def test_another_answer_than_200_is_none(status):
    with serving("", status=status) as (address, _):
        assert f"answers with {status}" in problem(address)


def test_where_nobody_listens():
    with serving() as (address, _):
        pass
    assert problem(address) == "It cannot be reached or understood (ConnectionRefusedError)."


def test_who_lets_us_wait_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(fetching, "TIME_LIMIT", 0.3)

    def drip(handler):
        for _ in range(50):
            handler.wfile.write(b"HTTP/1.0 100 Continue\r\n\r\n")
            handler.wfile.flush()
            time.sleep(0.05)

    for before in (lambda handler: time.sleep(2.5), drip):
        with serving(before=before) as (address, _):
            began = time.monotonic()
            told = problem(address)
            assert "seconds" in told or "TimeoutError" in told
            assert time.monotonic() - began < 2


# Renewing


def revision():
    return AccessRevision.objects.get().revision


def make(address, jwks=KEY_SET, **fields):
    return factories.make_issuer(secret=None, algorithms=["RS256", "ES256"], jwks=jwks, jwks_url=address, **fields)


@pytest.mark.django_db
def test_the_workers_renew_the_keys_and_raise_the_revision_only_for_other_ones():
    with serving() as (address, _):
        issuer = make(address, fetch_problem="some time ago")
        raised = revision()
        assert renew_all_keys() == 1
        issuer.refresh_from_db()
        assert (issuer.jwks, issuer.fetch_problem, revision()) == (KEY_SET, "", raised)
        assert issuer.fetched_at
    with serving(OTHER_SET) as (address, _):
        TokenIssuer.objects.update(jwks_url=address)
        raised = revision()
        assert renew_all_keys() == 1
        issuer.refresh_from_db()
        assert (issuer.jwks, revision()) == (OTHER_SET, raised + 1)


@pytest.mark.django_db
@pytest.mark.parametrize("body", ["nonsense", '{"keys": []}', None])
def test_an_address_that_is_dead_locks_nobody_out(body):
    with serving(body or "") as (address, _):
        issuer = make(address)
        raised = revision()
        if body is not None:
            assert renew_all_keys() == 0
    if body is None:
        assert renew_all_keys() == 0
    issuer.refresh_from_db()
    assert (issuer.jwks, revision()) == (KEY_SET, raised)
    assert issuer.fetch_problem
    assert issuer.fetched_at is None


@pytest.mark.django_db
def test_keys_from_an_address_that_is_no_longer_the_issuers_are_not_taken():
    with serving(OTHER_SET) as (address, _):
        before = make(address)
        TokenIssuer.objects.update(jwks_url="https://login.example.org/keys")
        renew_keys(before)
    before.refresh_from_db()
    assert (before.jwks, before.fetched_at) == (KEY_SET, None)


@pytest.mark.django_db
def test_who_is_switched_off_or_has_no_address_is_not_asked():
    with serving() as (address, asked):
        make(address, active=False)
        make("", issuer="https://other.example.org/")
        assert renew_all_keys() == 0
    assert asked == []
