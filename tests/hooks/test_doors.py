"""Two doors, one answer: the fast door and the reference door behind Django give the same to the same request."""

import hashlib
import hmac
import json
import warnings
from io import BytesIO
from unittest.mock import patch
from urllib.parse import quote, unquote_to_bytes
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apps.audit.models import HookRecord
from apps.protocol.messages import MAX_BYTES
from apps.protocol.methods import METHODS
from tests import factories
from tests.hooks.processes import recorded
from tests.hooks.test_bad_bodies import ALICE, UNREADABLE, hook, long, nested

with warnings.catch_warnings(), patch("apps.hooks.answer.start"):  # for which the tests' database is not there yet
    warnings.simplefilter("ignore", UserWarning)  # that nobody collected static files: none is asked for here
    from wcsgate import wsgi

COMPARED = ("Content-Type", "Content-Length", "WWW-Authenticate", "Allow", "Location")


@pytest.fixture
def school_with_a_signing_node(school):
    factories.make_node(secret="node-secret")
    factories.make_app("openApp", hook_password=None, guests=True)
    factories.make_rule("play", guests=True)
    return school


def request(application, *, verb="POST", path="/hooks/publishStream", body=b"{}", **environ):
    """What a WSGI server would do: gives the status line, the headers that matter, and the body.

    `path` is as in the request line. Variables that are None are left out.
    """
    raw_path, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": verb,
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "QUERY_STRING": query,
        "CONTENT_TYPE": "application/json;charset=UTF-8",
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_AUTHORIZATION": factories.basic(),
        "HTTP_HOST": "127.0.0.1:8080",
        "wsgi.input": BytesIO(body),
        **environ,
    }
    environ = {name: value for name, value in environ.items() if value is not None}
    setup_testing_defaults(environ)
    started = []
    chunks = application(environ, lambda status, headers, exc_info=None: started.append((status, dict(headers))))
    try:
        answered = b"".join(chunks)
    finally:
        getattr(chunks, "close", lambda: None)()
    ((status, headers),) = started
    return status, {name: headers[name] for name in COMPARED if name in headers}, answered


def mostly(usual, *others):
    return st.sampled_from([usual] * 4 * len(others) + [*others])


def spelled(name):
    return st.sampled_from([name, name, name.lower(), name.upper(), name.swapcase()])


names = st.one_of(
    st.sampled_from(["publishStream", "playHLS", "connect", "StreamStatusEvent"]),
    st.sampled_from([spelling for method in METHODS for spelling in (method.name, *method.aliases)]),
    st.sampled_from(["OnHologramEvent", "hooks", "admin", "connect.json", "..", "connect connect"]),
    st.text(max_size=8).filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text)).map(quote),
    st.sampled_from(["%ff%fe", "a%0Ab", "a%00b", "%2Fconnect%2f", "%25", "%E4%BD%A0", "conn%65ct"]),
).flatmap(spelled)
paths = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["/hooks/", "/hooks/", "/hooks/", "/hooks/rest/v1/", "/hooks//", "/hooks/a%0Ab/"]),
    names,
    mostly("", "/", "//"),
    mostly("", "?format=xml", "?format=json", "?method=connect", "?_method=GET"),
)
members = st.lists(
    st.sampled_from(
        [
            ALICE,
            b'"custom":{"token":"tok-bob"}',
            b'"custom":{"token":"wrong"}',
            b'"custom":{"login":"alice","password":"x"}',
            b'"custom":5',
            b'"custom":null',
            b'"name":"lobby"',
            b'"name":"elsewhere"',
            b'"name":"rtsp://node/lobby?token=tok-bob"',
            b'"status":"DISCONNECTED"',
            b'"published":false',
            b'"published":1.0',
            b'"appKey":"openApp"',
            b'"appKey":"nobodysApp"',
            b'"nodeId":"other@192.0.2.1"',
            b'"sessionId":5',
            b'"restClientConfig":{}',
            '"visibleName":"Zoë 📞"'.encode(),
        ]
    ),
    max_size=4,
)
bodies = st.one_of(
    members.map(lambda some: hook(*some)),
    members.map(lambda some: hook(*some)),
    members.map(lambda some: hook(*some)),
    st.sampled_from([*UNREADABLE.values(), b"{}", long(MAX_BYTES), long(MAX_BYTES + 1), nested(32), nested(33)]),
    st.binary(max_size=30),
)

verbs = mostly("POST", "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "HOOK")
content_types = mostly(
    "application/json;charset=UTF-8",
    "application/json",
    "",
    None,
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json;charset=latin-1",
    "APPLICATION/JSON",
    'application/json; charset="utf-8"',
)
logins = mostly(
    factories.basic(),
    "",
    None,
    "Basic ",
    factories.basic(password="wrong"),
    "Bearer x",
    "WCS 0123",
    "signed",
    "\xff\xfe",
)


def signed(login, body):
    if login != "signed":
        return login
    return f"WCS {hmac.new(b'node-secret', body, hashlib.md5).hexdigest()}"


@given(
    verb=verbs,
    path=paths,
    body=bodies,
    content_type=content_types,
    login=logins,
    address=mostly("127.0.0.1", "203.0.113.7", "::1"),
    length=mostly(None, "0", "-1", "words", "5", "999999"),
    accept=st.sampled_from([None, "application/json", "text/html", "application/xml;q=0.9", "*/*;q=0", "nonsense"]),
    forwarded=mostly(None, "127.0.0.1"),
)
@example("POST", "/hooks/", b"{}", "application/json", factories.basic(), "127.0.0.1", None, None, None)
@example("OPTIONS", "/hooks/connect", b"", None, None, "127.0.0.1", None, None, None)
@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest.mark.usefixtures("school_with_a_signing_node")
def test_the_same_request_gets_the_same_answer(
    verb, path, body, content_type, login, address, length, accept, forwarded
):
    variables = {
        "verb": verb,
        "path": path,
        "body": body,
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)) if length is None else length,
        "HTTP_AUTHORIZATION": signed(login, body),
        "REMOTE_ADDR": address,
        "HTTP_ACCEPT": accept,
        "HTTP_X_FORWARDED_FOR": forwarded,
    }
    before = HookRecord.objects.count()
    reference = request(wsgi.django, **variables)
    between = HookRecord.objects.count()
    fast = request(wsgi.application, **variables)
    assert fast == reference
    assert HookRecord.objects.count() - between == between - before <= 1
    status, headers, answered = fast
    assert headers["Content-Type"] == "application/json"
    assert int(headers["Content-Length"]) == len(answered)
    assert isinstance(json.loads(answered), dict)
    assert status[:3] in ("200", "400", "401", "403", "405", "413", "415")
    if between > before:
        ours, theirs = HookRecord.objects.order_by("-id")[:2]
        assert (ours.method, ours.reason, bytes(ours.body)) == (theirs.method, theirs.reason, bytes(theirs.body))


# That the property test tells something


@pytest.fixture(params=["fast", "reference"])
def door(request, school):
    return {"fast": wsgi.application, "reference": wsgi.django}[request.param]


def test_each_door_lets_in_and_mirrors(door):
    body = hook(b'"name":"lobby"', b'"custom":{"token":"tok-bob"}', b'"weight":1.0')
    for path in ("/hooks/playHLS", "/hooks/a/b/PLAYHLS/", "/hooks/playhls?format=xml", "/hooks/rest//playHls//"):
        answer = request(door, path=path, body=body)
        assert answer == (
            "200 OK",
            {"Content-Type": "application/json", "Content-Length": str(len(body))},
            body,
        )


def test_each_door_says_what_is_wrong(door):
    body = hook(b'"name":"lobby"')
    assert request(door, verb="GET")[:2] == (
        "405 Method Not Allowed",
        {"Content-Type": "application/json", "Content-Length": "60", "Allow": "POST"},
    )
    status, headers, _ = request(door, body=body, HTTP_AUTHORIZATION=None)
    assert (status, headers["WWW-Authenticate"]) == ("401 Unauthorized", 'Basic realm="WCS Gate", charset="UTF-8"')
    assert request(door, body=body)[0] == "403 Forbidden"
    assert request(door, body=b"x" * (MAX_BYTES + 1))[0] == "413 Request Entity Too Large"
    assert request(door, body=b"{")[0] == "400 Bad Request"
    assert request(door, body=body, CONTENT_TYPE="text/plain")[0] == "415 Unsupported Media Type"


def test_a_method_is_named_by_the_last_segment_below_hooks(door):
    for path, name in {
        "/hooks/publishStream": "publishStream",
        "/hooks/connect/OnHologramEvent": "OnHologramEvent",
        "/hooks/hooks": "hooks",
        "/hooks/a%2Fb": "b",
    }.items():
        request(door, path=path, body=hook())
        assert recorded()[-1].method == name, path


@pytest.mark.parametrize("path", ["/hooks/", "/hooks/%E4%BD%A0%E5%A5%BD", "/hooks/%ff", "/hooks//", "/hooks/a%0Ab"])
def test_an_address_without_a_method_is_an_error(door, path):
    status, headers, body = request(door, path=path, body=hook())
    assert (status, headers["Content-Type"]) == ("400 Bad Request", "application/json")
    assert json.loads(body)["error"] == "not-a-method"


class Stuck:
    """The body of a caller who does not send it."""

    def read(self, size=-1):
        raise AssertionError("It was read.")

    readline = read


@pytest.mark.parametrize(
    ("odd", "status"),
    [
        ({"verb": "PUT"}, "405"),
        ({"CONTENT_TYPE": "text/html"}, "415"),
        ({"CONTENT_LENGTH": str(MAX_BYTES + 1)}, "413"),
        ({"path": "/hooks/"}, "400"),
    ],
)
def test_what_need_not_be_read_to_be_refused_is_not_read(door, odd, status):
    assert request(door, **{"wsgi.input": Stuck(), **odd})[0].startswith(status)


def test_what_is_not_below_hooks_reaches_django(school):
    assert request(wsgi.application, verb="GET", path="/healthz")[2] == b'{"status": "ok"}'
    for path in ("/hooks", "/hookss/connect", "/HOOKS/connect", "/x/hooks/connect", "//hooks/connect", "/connect"):
        status, headers, _ = request(wsgi.application, path=path, body=hook())
        assert status[:3] in ("301", "404"), path
        assert headers["Content-Type"].startswith("text/html")
    assert not recorded()


def test_the_fast_door_keeps_to_wsgi(school):
    """The standard library's validator raises where it does not. It wants lists and strings, nothing else."""
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/hooks/playHLS",
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "2",
        "wsgi.input": BytesIO(b"{}"),
    }
    setup_testing_defaults(environ)
    chunks = validator(wsgi.application)(environ, lambda status, headers, exc_info=None: lambda data: None)
    assert json.loads(b"".join(chunks))["error"] == "login-wanted"
    chunks.close()


def test_a_body_without_a_length_is_read_to_its_end_but_no_further_than_allowed(school):
    """Servers give chunked bodies so. Django does not read them."""
    body = hook(b'"name":"lobby"', b'"custom":{"token":"tok-bob"}')
    assert request(wsgi.application, path="/hooks/playHLS", body=body, CONTENT_LENGTH=None)[0] == "200 OK"
    unread = BytesIO(b"x" * (MAX_BYTES + 5))
    answer = request(wsgi.application, path="/hooks/playHLS", CONTENT_LENGTH=None, **{"wsgi.input": unread})
    assert answer[0].startswith("413")
    assert len(unread.read()) == 4


@pytest.mark.usefixtures("school_with_a_signing_node")
def test_the_reference_door_does_not_ask_middleware_either():
    """A host that nobody allowed is refused by Django's own middleware, and nothing to WCS."""
    asked = {"body": hook(), "HTTP_HOST": "nobody.example"}
    for door in (wsgi.django, wsgi.application):
        assert json.loads(request(door, **asked)[2])["error"] == "unknown-session"
    assert request(wsgi.django, path="/admin/", **asked)[0].startswith("400")


def test_pages_have_so_much_room_and_hooks_stand_before_it(monkeypatch):
    entered = []
    monkeypatch.setattr("apps.hooks.room.Room.enter", lambda room: entered.append(room))
    assert request(wsgi.application, path="/admin/login/", verb="GET")[0] == "503 Service Unavailable"
    assert len(entered) == 1
    assert request(wsgi.application, path="/hooks/nothing", verb="GET")[0] == "405 Method Not Allowed"
    assert len(entered) == 1
