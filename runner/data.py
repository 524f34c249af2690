"""The data folder, with all that `up` keeps: one runner at a time, the secrets of the demo, emptying it."""

import base64
import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from runner import ROOT, Problem
from runner.places import remove_folder
from runner.processes import GUARD

DEFAULT = ROOT / ".data"
MARK = "This folder belongs to WCS Gate; `manage.py up --fresh` empties it."


def data_folder() -> Path:
    return Path(os.environ.get("WCSGATE_DATA") or DEFAULT).absolute()


def environment_name() -> str:
    return os.environ.get("WCSGATE_ENV") or "demo"


def load_environment() -> None:
    """In the demo, let every command find the servers, secrets and spool of `up`. What is set already wins."""
    if environment_name() == "demo" and (values := read_values(data_folder())):
        for name, value in {"WCSGATE_SPOOL": str(data_folder() / "spool"), **values}.items():
            if not os.environ.get(name):
                os.environ[name] = value


def read_values(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / "demo.env").read_text().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Problem(
            f"{folder} cannot be read ({error.strerror}): use the account that ran `manage.py up`, "
            "or name another folder in WCSGATE_DATA."
        ) from error
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def write_values(folder: Path, values: dict[str, str]) -> None:
    """All or nothing, and readable to us alone."""
    new = folder / "demo.env.new"
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("# Made by `manage.py up`. Secrets of this demo; the environment wins over this file.\n")
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    new.replace(folder / "demo.env")


def new_secrets() -> dict[str, str]:
    return {
        "WCSGATE_SECRET_KEY": secrets.token_urlsafe(48),
        "WCSGATE_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "WCSGATE_SEAL_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "WCSGATE_ADMIN_PASSWORD": secrets.token_urlsafe(12),
        "WCSGATE_HOOK_PASSWORD": secrets.token_urlsafe(18),
    }


@contextlib.contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Have the folder to ourselves: made if missing, refused if it is not ours or another runner has it."""
    try:
        make(folder)
        lock = os.open(folder / "runner.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Problem(f"The data folder {folder} cannot be used: {error.strerror}.") from error
    try:
        take(lock, folder)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n{MARK}\n".encode(), 0)
        GUARD.keeps_open.append(lock)
        yield
    finally:
        os.close(lock)


def make(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)  # as root, Postgres lives in it as another account
    elif folder != DEFAULT and not recognised(folder):
        raise Problem(f"{folder} holds files that are not WCS Gate's; name an empty folder in WCSGATE_DATA.")


def recognised(folder: Path) -> bool:
    """Whether it is ours: empty but for the lock, or the lock says so."""
    lock = folder / "runner.lock"
    return not any(path != lock for path in folder.iterdir()) or (lock.exists() and MARK in lock.read_text())


def take(lock: int, folder: Path) -> None:
    """Another living runner keeps it; one that was killed has it for the seconds its guard needs."""
    give_up = time.monotonic() + 10
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if lives(os.pread(lock, 20, 0)) or time.monotonic() > give_up:
                raise Problem(
                    f"WCS Gate already runs with {folder}; stop it, or name another folder in WCSGATE_DATA."
                ) from None
        time.sleep(0.1)


def lives(lock_text: bytes) -> bool:
    try:
        os.kill(int(lock_text.split()[0]), 0)
    except (ProcessLookupError, ValueError, IndexError):
        return False
    except PermissionError:
        return True
    return True


def empty(folder: Path) -> None:
    """Delete everything but the lock that we hold."""
    for path in folder.iterdir():
        if path.name == "postgres":
            remove_folder(path)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "runner.lock":
            path.unlink()
