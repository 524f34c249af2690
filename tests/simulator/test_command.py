"""`manage.py wcs_simulator`: its options, its report, and its exit code."""

import hashlib
import json
import socket

import pytest
from django.core.management import CommandError, call_command

from apps.simulator.management.commands.wcs_simulator import is_loopback
from tests.simulator.backend import REFUSED, Reply


@pytest.fixture
def scenario(tmp_path):
    def write(text):
        path = tmp_path / "scenario.yaml"
        path.write_text(text)
        return str(path)

    return write


ONE = "clients: [{name: bob, steps: [{connect: , expect: allowed}]}]"


def test_it_reports_in_plain_words(backend, scenario, capsys):
    call_command("wcs_simulator", scenario(ONE), url=backend.url)
    report = capsys.readouterr().out
    assert "bob: connected; left." in report
    assert "1 clients, 3 hooks in" in report
    assert f"hooks sent to {backend.url}" in report


def test_differences_are_listed_and_the_exit_code_is_1(backend, scenario, capsys):
    backend.answers["connect"] = REFUSED
    with pytest.raises(SystemExit) as stop:
        call_command("wcs_simulator", scenario(ONE), url=backend.url)
    assert stop.value.code == 1
    report = capsys.readouterr().out
    assert "Not as expected (1):\n  bob asked to connect: refused (403 no-rule), declined (expected: allowed)" in report


def test_it_reports_as_json(backend, scenario, capsys):
    call_command("wcs_simulator", scenario(ONE), url=backend.url, json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["hooks"] == {"allowed": 3, "refused": 0, "failed": 0, "unasked": 0, "sent": 3, "repeats": 0}
    assert report["clients"][0]["experiences"][0]["words"] == "connected"
    assert report["asExpected"] is True


def test_what_is_disabled_is_counted(backend, scenario, capsys):
    backend.config = {"ConnectionStatusEvent": {"restPolicy": "DISABLE"}}
    call_command("wcs_simulator", scenario(ONE), url=backend.url)
    assert "2 hooks were not sent, as restClientConfig says DISABLE." in capsys.readouterr().out


def test_a_wrong_password_is_explained(backend, scenario, capsys):
    backend.answers["connect"] = Reply(401)
    with pytest.raises(SystemExit):
        call_command("wcs_simulator", scenario(ONE), url=backend.url)
    assert "1 hooks were answered 401: the node's user, password or secret is wrong." in capsys.readouterr().out


def test_the_ledger_has_a_line_for_every_answered_hook(backend, scenario, tmp_path):
    path = tmp_path / "ledger.jsonl"
    call_command("wcs_simulator", scenario(ONE), url=backend.url, ledger=path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["method"] for line in lines] == [request.method for request in backend.received]
    assert [line["sha256"] for line in lines] == [
        hashlib.sha256(request.raw).hexdigest() for request in backend.received
    ]
    assert {line["status"] for line in lines} == {200}
    assert [line["sequence"] for line in lines] == [1, 2, 3]


def test_a_hook_without_an_answer_is_not_in_the_ledger(backend, scenario, tmp_path):
    backend.answers["ConnectionStatusEvent"] = Reply(after=1.5)
    path = tmp_path / "ledger.jsonl"
    call_command("wcs_simulator", scenario(ONE), url=backend.url, ledger=path, timeout=0.5)
    assert len(path.read_text().splitlines()) == 1


def test_clients_and_rounds_play_the_load(backend, capsys):
    backend.answers["playStream"] = lambda body: REFUSED if body["name"] == "staff-room" else Reply()
    backend.config = {"playStream": {"restOnError": "FAIL"}}
    call_command("wcs_simulator", url=backend.url, clients=2, rounds=3)
    report = capsys.readouterr().out
    assert len(backend.got("connect")) == 6
    assert "2 clients," in report
    assert "load1" not in report


def test_the_password_comes_from_the_environment_or_a_file(backend, scenario, tmp_path, monkeypatch):
    monkeypatch.setenv("WCSGATE_HOOK_PASSWORD", "from-environment")
    call_command("wcs_simulator", scenario(ONE), url=backend.url)
    file = tmp_path / "password"
    file.write_text("from-file\n")
    call_command("wcs_simulator", scenario(ONE), url=backend.url, password_file=file)
    sent = [request.headers["Authorization"] for request in backend.received if request.method == "connect"]
    assert sent == ["Basic d2NzOmZyb20tZW52aXJvbm1lbnQ=", "Basic d2NzOmZyb20tZmlsZQ=="]


def test_a_secret_file_signs(backend, scenario, tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"secret\n")
    call_command("wcs_simulator", scenario(ONE), url=backend.url, secret_file=file)
    assert backend.received[0].headers["Authorization"].startswith("WCS ")


def test_the_rest_api_can_be_served(backend, scenario, capsys):
    call_command("wcs_simulator", scenario(ONE), url=backend.url, rest_api=0)
    assert "The WCS REST API answers at http://127.0.0.1:" in capsys.readouterr().err


def test_when_nothing_answers_it_says_what_to_do(scenario):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/hooks"
        with pytest.raises(CommandError) as error:
            call_command("wcs_simulator", scenario(ONE), url=url)
    assert str(error.value) == f"Nothing answers at {url}: start `python3 manage.py up` first."


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://192.0.2.1/hooks", "192.0.2.1 is not this machine. If you mean it, add --allow-remote."),
        ("http://gate.example/hooks", "gate.example is not this machine."),
        ("http://127.0.0.1.example/hooks", "127.0.0.1.example is not this machine."),
        ("ftp://127.0.0.1/hooks", "is no URL of a hook backend"),
        ("127.0.0.1:8000", "is no URL of a hook backend"),
        ("http://127.0.0.1:port/", "is no URL"),
    ],
)
def test_an_address_that_will_not_do(scenario, url, sentence):
    with pytest.raises(CommandError, match=sentence):
        call_command("wcs_simulator", scenario(ONE), url=url)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine(host):
    assert is_loopback(host)


def test_a_scenario_that_cannot_be_read_is_a_sentence(backend, scenario):
    with pytest.raises(CommandError, match=r"there is no action “jump”"):
        call_command("wcs_simulator", scenario("clients: [{name: a, steps: [jump]}]"), url=backend.url)


def test_a_file_that_cannot_be_read_is_a_sentence(backend, scenario, tmp_path):
    with pytest.raises(CommandError, match=r"secret: No such file or directory\."):
        call_command("wcs_simulator", scenario(ONE), url=backend.url, secret_file=tmp_path / "secret")
