"""`manage.py lint`: style and types by the locked tools, whose settings are in pyproject.toml."""

import subprocess
import sys

from runner import ROOT, Problem, bootstrap

CHECKS = {
    "style": ["ruff", "check"],
    "format": ["ruff", "format", "--check"],
    "types": ["mypy"],
}
FIXES = [["ruff", "check", "--fix"], ["ruff", "format"]]


def lint(arguments: list[str]) -> int:
    """Run all checks, or those named (`style`, `format`, `types`); `fix` mends what can be mended."""
    if unknown := set(arguments) - {*CHECKS, "fix"}:
        raise Problem(f"manage.py lint knows {', '.join(CHECKS)} and fix, not {', '.join(sorted(unknown))}.")
    bootstrap.ensure("lint")
    chosen = FIXES if "fix" in arguments else [CHECKS[name] for name in arguments or CHECKS]
    codes = [subprocess.run([sys.executable, "-m", *tool], cwd=ROOT).returncode for tool in chosen]
    return max(codes, key=abs)
