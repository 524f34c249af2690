"""The values of the demo and who gets them."""

import os
from pathlib import Path

import pytest

from runner import Problem, data


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WCSGATE_DATA", str(tmp_path))
    monkeypatch.setenv("WCSGATE_ENV", "demo")
    for name in ("BROKER_URL", "NEW", "WCSGATE_SPOOL"):
        monkeypatch.setenv(name, "")
    data.write_values(tmp_path, {"BROKER_URL": "redis://file=1", "NEW": "from file"})
    return tmp_path / "demo.env"


def test_environment_wins(values: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW", "from outside")
    data.load_environment()
    assert (os.environ["BROKER_URL"], os.environ["NEW"]) == ("redis://file=1", "from outside")


def test_commands_find_the_spool_of_the_demo(values: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.load_environment()
    assert os.environ["WCSGATE_SPOOL"] == str(values.parent / "spool")
    monkeypatch.setenv("WCSGATE_SPOOL", "/elsewhere")
    data.load_environment()
    assert os.environ["WCSGATE_SPOOL"] == "/elsewhere"


@pytest.mark.parametrize("name", ["production", "test"])
def test_only_the_demo_reads_them(values: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("WCSGATE_ENV", name)
    data.load_environment()
    assert os.environ["NEW"] == ""


def test_values_that_cannot_be_read(values: Path) -> None:
    values.unlink()
    values.mkdir()
    with pytest.raises(Problem, match="use the account that ran"):
        data.load_environment()


def test_only_our_own_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "runner.lock").write_text("of somebody else")
    (tmp_path / "letter").touch()
    with pytest.raises(Problem, match="not WCS Gate's"), data.taken(tmp_path):
        pass
    (tmp_path / "letter").unlink()
    with data.taken(tmp_path):
        (tmp_path / "logs").mkdir()
        data.empty(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["runner.lock"]
    (tmp_path / "logs").mkdir()
    with data.taken(tmp_path):  # recognised by its lock
        pass
