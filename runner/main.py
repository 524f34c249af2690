"""From the command line to the right piece: our own commands, or Django's inside the right environment."""

import os
import runpy
import sys
from collections.abc import Callable

from runner import ROOT, Problem, bootstrap, data, lint, testing, up


def main(argv: list[str]) -> int:
    command, arguments = (argv[1:2] or ["help"])[0], argv[2:]
    try:
        if command in OWN:
            return OWN[command](arguments)
        bootstrap.ensure(command)
        return django(argv)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    except OSError as error:
        if command not in ("up", "test"):
            raise
        print(f"manage.py {command} cannot go on: {error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def django(argv: list[str]) -> int:
    data.load_environment()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wcsgate.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(argv)
    except ImproperlyConfigured as error:
        raise Problem(str(error)) from error
    return 0


NAMED = ("evidence", "mover", "mutants", "pages", "snapshot", "verify")
"""Scripts in bench/ that are asked for by name."""


def bench(arguments: list[str]) -> int:
    """What a hook costs; or, by their names, the other scripts in bench/."""
    bootstrap.ensure("bench")
    name, *arguments = arguments if arguments and arguments[0] in NAMED else ["run", *arguments]
    sys.argv = [f"bench/{name}.py", *arguments]
    runpy.run_path(str(ROOT / "bench" / f"{name}.py"), run_name="__main__")
    return 0


def chaos(arguments: list[str]) -> int:
    """The fault run."""
    bootstrap.ensure("chaos")
    from chaos.run import main

    return main(arguments)


OWN: dict[str, Callable[[list[str]], int]] = {
    "up": up.up,
    "test": testing.test,
    "lint": lint.lint,
    "bench": bench,
    "chaos": chaos,
}
