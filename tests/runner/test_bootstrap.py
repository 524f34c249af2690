"""The bootstrap on a checkout whose locks name tiny packages made here: no network needed."""

import ast
import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runner import ROOT
from tests.runner.service import copy_runner, wait_for

BARE = getattr(sys, "_base_executable", sys.executable)
ENTER = """
import sys
from runner import Problem, bootstrap
try:
    bootstrap.ensure({!r})
except Problem as problem:
    sys.exit(str(problem))
import tiny
print(tiny.VERSION, sys.prefix)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = tmp_path_factory.mktemp("checkout")
    copy_runner(checkout)
    for version in ("1", "2"):
        wheel(checkout, "tiny", version)
    wheel(checkout, "tools", "1")
    lock(checkout, "requirements.txt", "tiny", "1")
    lock(checkout, "requirements-dev.txt", "tools", "1")
    (checkout / "requirements-embedded.txt").touch()
    return checkout


def wheel(folder: Path, name: str, version: str) -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for path, text in files.items()
    )
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in (files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            archive.writestr(path, text)


def lock(checkout: Path, file: str, name: str, version: str) -> None:
    digest = hashlib.sha256((checkout / f"{name}-{version}-py3-none-any.whl").read_bytes()).hexdigest()
    (checkout / file).write_text(f"{name}=={version} --hash=sha256:{digest}\n")


def enter(checkout: Path, command: str = "shell", python: str = BARE) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "WCSGATE_"))}
    return subprocess.Popen(
        [python, "-c", ENTER.format(command)],
        cwd=checkout,
        env=environment | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(checkout), "PIP_CONFIG_FILE": os.devnull},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, told = process.communicate(timeout=60)
    return process.returncode, said.strip(), told


def test_two_at_once_on_a_bare_checkout(checkout: Path) -> None:
    results = [finish(process) for process in [enter(checkout), enter(checkout)]]
    assert {(code, said) for code, said, _ in results} == {(0, f"1 {checkout / '.venv'}")}
    assert sorted(told.split()[0] for _, _, told in results) == ["Another", "Installing"]
    assert len(list(checkout.glob(".venv/lib/*/site-packages/tiny.py"))) == 1


def test_nothing_to_do(checkout: Path) -> None:
    for python in (BARE, str(checkout / ".venv" / "bin" / "python")):
        assert finish(enter(checkout, python=python)) == (0, f"1 {checkout / '.venv'}", "")


def test_more_is_installed_when_a_command_needs_it(checkout: Path) -> None:
    assert not list(checkout.glob(".venv/lib/*/site-packages/tools.py"))
    assert finish(enter(checkout, "lint"))[0] == 0
    assert list(checkout.glob(".venv/lib/*/site-packages/tools.py"))
    assert finish(enter(checkout, "shell"))[2] == ""


def test_changed_lock_is_installed(checkout: Path) -> None:
    lock(checkout, "requirements.txt", "tiny", "2")
    assert finish(enter(checkout))[:2] == (0, f"2 {checkout / '.venv'}")


def test_interrupted_install_is_repaired(checkout: Path) -> None:
    lock(checkout, "requirements.txt", "tiny", "1")
    process = enter(checkout)
    wait_for(lambda: (checkout / ".venv.lock").read_text() == "installing")
    process.kill()
    finish(process)
    (package,) = checkout.glob(".venv/lib/*/site-packages/tiny.py")
    package.write_text("half of it (")
    assert finish(enter(checkout))[:2] == (0, f"1 {checkout / '.venv'}")


def test_wrong_hash_is_refused(checkout: Path) -> None:
    lock(checkout, "requirements.txt", "tiny", "2")
    lock_file = checkout / "requirements.txt"
    lock_file.write_text(lock_file.read_text()[:-5] + "0000\n")
    code, said, told = finish(enter(checkout))
    assert (code, said) == (1, "")
    assert "The requirements could not be installed" in told
    assert "Traceback" not in told


def test_other_environment_is_left_alone(checkout: Path) -> None:
    inside = [
        sys.executable,
        "-c",
        "import sys; from runner import bootstrap; bootstrap.ensure('up'); print(sys.prefix)",
    ]
    environment = os.environ | {"WCSGATE_NO_BOOTSTRAP": "1"}
    done = subprocess.run(inside, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == sys.prefix


@pytest.mark.parametrize(
    ("pretend", "sentence"),
    [
        ("sys.version_info = (3, 9, 2)", "WCS Gate needs Python 3.11 or newer; this is Python 3.9."),
        ("sys.modules['ensurepip'] = None", "on Debian and Ubuntu: apt install python3"),
    ],
)
def test_python_that_will_not_do(tmp_path: Path, pretend: str, sentence: str) -> None:
    copy_runner(tmp_path)
    (tmp_path / "requirements.txt").touch()
    start = f"import runpy, sys; {pretend}; sys.path.insert(0, '.'); sys.argv = ['manage.py', 'check']; "
    done = subprocess.run(
        [BARE, "-c", start + "runpy.run_path('manage.py', run_name='__main__')"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_old_pythons_can_read_the_sentence() -> None:
    ast.parse((ROOT / "manage.py").read_text(), feature_version=(3, 4))
