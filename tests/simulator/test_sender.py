"""How a hook travels: what is sent, what is sent again, and what is not."""

import base64
import hashlib
import hmac
import socket

import pytest

from apps.simulator.sender import Credentials, Sender
from tests.simulator.backend import CLOSE, MIRROR, REFUSED, Backend, Reply

BODY = '{"nodeId":"n","custom":{"name":"Zoë"}}'.encode()


@pytest.fixture
def send(backend):
    """Sends one hook with a sender of these options."""
    senders = []

    def send(credentials=None, *, lose_answers=0, **options):
        senders.append(Sender(backend.url, credentials, **options))
        return senders[-1].send("playStream", BODY, lose_answers=lose_answers)

    yield send
    for sender in senders:
        sender.close()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_hook_looks_like_one_of_wcs(backend, send):
    answer = send()
    request = backend.received[0]
    assert (request.method, request.raw) == ("playStream", BODY)
    assert request.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["User-Agent"].startswith("Java/1.8.0_")
    assert set(request.headers) == {
        "Host",
        "Accept",
        "Content-Type",
        "User-Agent",
        "Connection",
        "Content-Length",
    }
    assert (answer.status, answer.body, answer.attempts) == (200, BODY, 1)


def test_a_thread_keeps_its_connection(backend):
    sender = Sender(backend.url)
    for _ in range(3):
        sender.send("playStream", BODY)
    sender.close()
    assert len({request.port for request in backend.received}) == 1


def test_the_path_of_the_url_may_be_longer(backend):
    sender = Sender(backend.url + "/wcs/school/")
    assert sender.send("playStream", BODY).status == 200
    sender.close()


@pytest.mark.parametrize("status", [200, 403, 404, 500, 503])
def test_an_answer_is_never_asked_for_again(backend, send, status):
    backend.answers["playStream"] = Reply(status)
    assert (send().status, len(backend.received)) == (status, 1)


def test_a_closed_connection_makes_three_repeats_with_the_same_bytes(backend, send):
    backend.answers["playStream"] = CLOSE
    answer = send(Credentials(secret=b"secret"))
    assert (answer.status, answer.failure, answer.attempts) == (
        None,
        "connection closed without an answer",
        4,
    )
    assert [request.raw for request in backend.received] == [BODY] * 4
    assert len({request.headers["Authorization"] for request in backend.received}) == 1


def test_a_repeat_that_is_answered_ends_the_repeating(backend, send):
    backend.answers["playStream"] = [CLOSE, CLOSE, REFUSED]
    answer = send()
    assert (answer.status, answer.attempts, len(backend.received)) == (403, 3, 3)


def test_a_server_that_closes_an_idle_connection_costs_one_repeat(backend):
    sender = Sender(backend.url)
    sender.send("playStream", BODY)
    backend.answers["playStream"] = [CLOSE, MIRROR]
    assert sender.send("playStream", BODY).attempts == 2
    sender.close()


def test_a_refused_connection_is_tried_four_times_in_all():
    sender = Sender(f"http://127.0.0.1:{unused_port()}/hooks")
    answer = sender.send("playStream", BODY)
    assert (answer.status, answer.failure, answer.attempts) == (None, "connection refused", 4)
    sender.close()


def test_repeats_can_be_turned_off(backend, send):
    backend.answers["playStream"] = CLOSE
    assert (send(retries=0).attempts, len(backend.received)) == (1, 1)


def test_a_time_out_is_not_repeated(backend, send):
    backend.answers["playStream"] = Reply(after=1.5)
    answer = send(time_limit=0.1)
    assert (answer.status, answer.failure, answer.attempts) == (None, "no answer within 0.1 s", 1)
    assert 0.1 <= answer.seconds < 1.2
    assert len(backend.received) == 1


def test_after_a_time_out_the_next_hook_gets_its_own_answer(backend):
    backend.answers["playStream"] = [Reply(body=b'{"late": true}', after=1), MIRROR]
    sender = Sender(backend.url, time_limit=0.5)
    sender.send("playStream", BODY)
    assert sender.send("playStream", BODY).body == BODY
    sender.close()


def test_no_time_limit_waits(backend, send):
    backend.answers["playStream"] = Reply(after=0.2)
    assert send(time_limit=0).status == 200


def test_an_answer_that_breaks_off_is_not_repeated(backend, send):
    backend.answers["playStream"] = Reply(body=b"{}", headers={"Content-Length": "100", "Connection": "close"})
    answer = send(time_limit=0.3)
    assert (answer.status, answer.attempts) == (None, 1)


def test_a_lost_answer_makes_the_hook_come_twice(backend, send):
    backend.answers["playStream"] = [REFUSED, MIRROR]
    answer = send(lose_answers=1)
    assert (answer.status, answer.attempts) == (200, 2)
    assert [request.raw for request in backend.received] == [BODY] * 2


def test_user_and_password_go_along_unasked(backend, send):
    send(Credentials("wcs", "päss"))
    sent = backend.received[0].headers["Authorization"]
    assert sent == "Basic " + base64.b64encode("wcs:päss".encode()).decode()


def test_a_signature_is_the_hmac_md5_of_the_raw_body(backend, send):
    send(Credentials("wcs", "password", secret=b"secret"))
    expected = hmac.new(b"secret", BODY, hashlib.md5).hexdigest()
    assert backend.received[0].headers["Authorization"] == f"WCS {expected}"


def test_a_login_can_wait_for_the_challenge():
    challenge = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with Backend(playStream=[challenge, MIRROR]) as backend:
        sender = Sender(backend.url, Credentials("wcs", "p", after_challenge=True))
        answers = [sender.send("playStream", BODY).status for _ in range(2)]
        sender.close()
    assert answers == [200, 200]
    assert ["Authorization" in request.headers for request in backend.received] == [False, True, True]


def test_secrets_are_not_shown():
    assert "secret" not in repr(Credentials("wcs", "secret", b"secret"))
