"""`manage.py up` for real: start, secrets, kills, stops, refusals. One service for the whole module."""

import errno
import http.client
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner import ROOT, Problem, places
from runner.places import claim_port, free_port
from tests.runner.service import Up, processes_of, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")

PROGRAMS = {
    "postgres": "postgres -D",
    "broker": "broker.conf",
    "web": "granian",
    "worker": "wcsgate worker",
    "beat": "wcsgate beat",
    "guard": "guard.py",
}


@pytest.fixture(scope="module")
def service(checkout: Path, environment: dict[str, str]) -> Iterator[Up]:
    service = Up(checkout, environment)
    service.wait_until_ready()
    yield service
    service.popen.kill()
    service.popen.wait()


def manage(checkout: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)


def children(service: Up) -> dict[str, int]:
    """The process of each name that the runner itself has started."""
    found = {}
    for stat_file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat_file.read_text().rpartition(") ")[2].split()[:2]
            command = (stat_file.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if parent == str(service.popen.pid) and state != "Z":
            found |= {name: int(stat_file.parent.name) for name, part in PROGRAMS.items() if part in command}
    return found


def status(environment: dict[str, str]) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", int(environment["WCSGATE_PORT"]), timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def test_first_start_greets_with_the_password(service: Up, environment: dict[str, str]) -> None:
    secrets = (Path(environment["WCSGATE_DATA"]) / "demo.env").read_text()
    password = re.search("WCSGATE_ADMIN_PASSWORD=(.+)", secrets)
    assert password
    assert f"user admin, password {password[1]}" in service.text
    assert "demo data is there" in service.text
    assert "no issues" in service.text  # says the system check
    assert f"Logs     {environment['WCSGATE_DATA']}/logs" in service.text
    assert service.text.splitlines()[-1].startswith("WCS Gate is ready")


def test_secrets_are_for_the_owner_alone(service: Up, environment: dict[str, str]) -> None:
    data = Path(environment["WCSGATE_DATA"])
    for path in (data / "demo.env", data / "broker" / "broker.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    values = dict(line.split("=", 1) for line in (data / "demo.env").read_text().splitlines()[1:])
    assert set(values) == {
        "DATABASE_URL",
        "BROKER_URL",
        "WCSGATE_SECRET_KEY",
        "WCSGATE_ENCRYPTION_KEYS",
        "WCSGATE_SEAL_KEYS",
        "WCSGATE_ADMIN_PASSWORD",
        "WCSGATE_HOOK_PASSWORD",
        "WCSGATE_PORT",
    }
    passwords = [re.findall(":([^:]+)@", values[name])[0] for name in ("DATABASE_URL", "BROKER_URL")]
    command_lines = " ".join(processes_of(data).values())
    assert not any(secret in command_lines for secret in passwords)


def test_other_commands_find_the_servers(service: Up, checkout: Path, environment: dict[str, str]) -> None:
    alone = environment | {"WCSGATE_STATIC_ROOT": "unused"}
    assert "[X] 0001_initial" in manage(checkout, alone, "showmigrations").stdout
    assert manage(checkout, alone | {"WCSGATE_ENV": "production"}, "showmigrations").returncode == 1


def test_second_run_is_refused(service: Up, checkout: Path, environment: dict[str, str]) -> None:
    before = children(service)
    second = manage(checkout, environment, "up", "--fresh")
    assert (second.returncode, second.stdout) == (1, "")
    assert re.fullmatch(r"WCS Gate already runs with .+\n", second.stderr)
    assert children(service) == before
    assert status(environment) == 200


def test_whatever_is_killed_comes_back(service: Up, environment: dict[str, str]) -> None:
    before = children(service)
    assert set(before) == set(PROGRAMS)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: set(children(service)) == set(PROGRAMS) and not before.items() & children(service).items())
    wait_for(lambda: status(environment) == 200)


def test_killed_web_leaves_no_workers_behind(service: Up, environment: dict[str, str]) -> None:
    def web_processes() -> set[int]:
        found = processes_of(Path(environment["WCSGATE_DATA"]))
        return {pid for pid, command in found.items() if "granian" in command}

    before = web_processes()
    os.kill(children(service)["web"], signal.SIGKILL)
    wait_for(lambda: not before & web_processes())
    wait_for(lambda: status(environment) == 200)


def test_ctrl_c_stops_everything(service: Up, checkout: Path, environment: dict[str, str]) -> None:
    """Within seconds, even while somebody sends half a request."""
    with socket.create_connection(("127.0.0.1", int(environment["WCSGATE_PORT"]))) as half_a_request:
        half_a_request.sendall(b"GET / HTTP/1.1\r\nHo")
        service.popen.send_signal(signal.SIGINT)
        assert service.popen.wait(8) == 0
    assert processes_of(checkout) == {}
    assert not re.search("^(Traceback| *File)", service.text, re.MULTILINE)
    log = (Path(environment["WCSGATE_DATA"]) / "logs" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")


def test_killed_runner_leaves_nothing(service: Up, checkout: Path, environment: dict[str, str]) -> None:
    again = Up(checkout, environment)
    again.wait_until_ready()
    assert "user admin, password: WCSGATE_ADMIN_PASSWORD in " in again.text  # shown at the first start only
    again.popen.kill()
    again.popen.wait()
    wait_for(lambda: processes_of(checkout) == {}, seconds=10)


def test_fresh_start_after_a_kill(service: Up, checkout: Path, environment: dict[str, str]) -> None:
    data = Path(environment["WCSGATE_DATA"])
    old = (data / "demo.env").read_text()
    (data / "note").touch()
    killed = Up(checkout, environment)
    wait_for(lambda: "broker" in children(killed))
    killed.popen.kill()
    killed.popen.wait()
    fresh = Up(checkout, environment, "--fresh")  # at once, while the guard of the killed one is still busy
    wait_for(lambda: "demo data is there" in fresh.text)
    assert not (data / "note").exists()
    assert (data / "demo.env").read_text() != old
    fresh.popen.terminate()  # before it is ready
    assert fresh.popen.wait(30) == 0
    assert processes_of(checkout) == {}


def test_failing_step_is_a_sentence(checkout: Path, environment: dict[str, str]) -> None:
    (checkout / "wcsgate" / "wsgi.py").rename(checkout / "wcsgate" / "gone.py")
    failed = manage(checkout, environment, "up")
    assert failed.returncode == 1
    assert failed.stderr.startswith("The web process does not serve")
    assert "ModuleNotFoundError" in failed.stdout
    assert processes_of(checkout) == {}


def test_port_in_use(checkout: Path, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        refused = manage(checkout, environment | {"WCSGATE_PORT": port}, "up")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"Port {port} is in use; stop what uses it, or set WCSGATE_PORT to another.\n"


def test_port_with_which_another_one_just_starts(checkout: Path, environment: dict[str, str]) -> None:
    port = claim_port()
    assert free_port(port) == port, "nobody listens there yet"
    refused = manage(checkout, environment | {"WCSGATE_PORT": str(port)}, "up")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"Port {port} is in use; stop what uses it, or set WCSGATE_PORT to another.\n"


def test_of_those_who_claim_a_port_at_once_one_gets_it_for_as_long_as_it_lives() -> None:
    port = free_port()
    code = f"from runner.places import claim_port; print(claim_port({port}), flush=True); input()"
    line = [sys.executable, "-c", code]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert int(other.stdout.readline()) == port
        assert claim_port(port) != port
        other.communicate("\n")
    assert claim_port(port) == port


def test_where_no_port_can_be_claimed_that_is_said_and_not_tried_for_ever(monkeypatch):
    tries = iter([0])

    class Sandboxed(socket.socket):
        def bind(self, address):
            if self.family == socket.AF_UNIX:
                next(tries)
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
            super().bind(address)

    monkeypatch.setattr(places.socket, "socket", Sandboxed)
    with pytest.raises(Problem, match="cannot be claimed on this machine: Operation not permitted"):
        claim_port()


def foreign_folder(folder: Path) -> dict[str, str]:
    (folder / "mine").mkdir()
    (folder / "mine" / "letter").write_text("keep me")
    return {"WCSGATE_DATA": str(folder / "mine")}


@pytest.mark.parametrize(
    ("arguments", "extra", "code", "sentence"),
    [
        (["--frsh"], {}, 2, "unrecognized arguments: --frsh"),
        ([], {"WCSGATE_PORT": "http"}, 1, "WCSGATE_PORT is no port number: http."),
        ([], {"WCSGATE_ENV": "production"}, 1, "set DATABASE_URL and BROKER_URL"),
        ([], {"WCSGATE_ENV": "test"}, 1, "`manage.py up` is for the demo"),
        ([], {"WCSGATE_DATA": "/dev/null/data"}, 1, "cannot be used: Not a directory."),
        (["--fresh"], foreign_folder, 1, "holds files that are not WCS Gate's"),
    ],
)
def test_refusals(
    checkout: Path,
    environment: dict[str, str],
    tmp_path: Path,
    arguments: list[str],
    extra: dict[str, str] | Callable[[Path], dict[str, str]],
    code: int,
    sentence: str,
) -> None:
    refused = manage(checkout, environment | (extra if isinstance(extra, dict) else extra(tmp_path)), "up", *arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert sentence in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert all(path.read_text() == "keep me" for path in tmp_path.glob("mine/*"))


def test_help(checkout: Path, environment: dict[str, str]) -> None:
    began = time.monotonic()
    assert "--fresh" in manage(checkout, environment, "up", "--help").stdout
    assert time.monotonic() - began < 10
