"""What must hold of the project as a whole: migrations, system checks, locks, and nothing of one machine in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted(ROOT.glob("requirements*.txt"))
HOSTS = ("py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "crates" + ".io", "docker" + ".io")
REGISTRY = re.compile("|".join(map(re.escape, HOSTS)))
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:work|root|home/\w+|Users/\w+|mnt|workspace)/[\w.]")
PRODUCTION = {
    "WCSGATE_ENV": "production",
    "WCSGATE_SECRET_KEY": "0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "WCSGATE_ENCRYPTION_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "WCSGATE_ALLOWED_HOSTS": "gate.example.org",
}


def manage(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of manage.py with these settings and none of ours, except where the servers are."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WCSGATE_", "DJANGO_"))}
    own = {"WCSGATE_NO_BOOTSTRAP": "1", "WCSGATE_DATA": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=kept | own | environment,
        capture_output=True,
        text=True,
    )


def tracked_files() -> list[Path]:
    """What git has, or would have with the next `git add .`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("This is not a git checkout.")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_system_checks_are_clean_in_the_demo(tmp_path):
    done = manage(tmp_path, "check", "--fail-level", "WARNING", WCSGATE_ENV="demo")
    assert done.returncode == 0, done.stderr


def test_system_checks_are_clean_in_production(tmp_path):
    spool = str(tmp_path / "spool")
    done = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING", WCSGATE_SPOOL=spool, **PRODUCTION)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["WCSGATE_SECRET_KEY", "WCSGATE_ENCRYPTION_KEYS"])
def test_checks_for_production_miss_its_secrets(tmp_path, missing):
    done = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING", **{**PRODUCTION, missing: ""})
    assert done.returncode != 0
    assert missing.removeprefix("WCSGATE_") in done.stderr


def test_no_registry_and_no_path_of_one_machine_is_in_the_files():
    found = []
    for path in tracked_files():
        for number, line in enumerate(path.read_bytes().decode(errors="replace").splitlines(), start=1):
            if REGISTRY.search(line) or MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found


def test_the_search_for_paths_and_registries_finds_some():
    planted = ["see /" + "work/main", "cd /" + "root/x", "in /home/" + "alice/wcs", "https://py" + "pi.org/simple"]
    assert all(REGISTRY.search(line) or MACHINE_PATH.search(line) for line in planted)
    assert not any(MACHINE_PATH.search(line) for line in ("https://wcs/work/x", "/opt/wcsgate/x", "a/root/b"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_have_a_version_and_a_hash_for_everything_and_no_address(lock):
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-", text, re.MULTILINE) or not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE)
    entries = text.replace("\\\n", " ").splitlines()
    entries = [entry for entry in entries if entry.strip() and not entry.lstrip().startswith("#")]
    assert entries
    assert [
        entry for entry in entries if not re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+.*--hash=sha256:[0-9a-f]{64}", entry)
    ] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_hold_what_is_asked_for(lock):
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
    wanted = lock.with_suffix(".in").read_text(encoding="utf-8")
    for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?(?:==(\S+))?$", wanted, re.MULTILINE):
        assert name in locked
        assert version in ("", locked[name])
