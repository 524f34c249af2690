"""Takes access in from a file, or says what that would change."""

import re
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from apps.access.file_problems import AccessFileError
from apps.access.files import import_access
from apps.database.acting import acting_command
from apps.database.commands import database_needed


class Command(BaseCommand):
    help = "Adds and updates what a file names: users, tokens, apps, streams, rules and so on. YAML, JSON or .xlsx."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the file, or - for standard input")
        parser.add_argument("--dry-run", action="store_true", help="print the difference and change nothing")
        parser.add_argument("--replace", action="store_true", help="remove the rules that the file does not have")

    def handle(self, *, file: str, dry_run: bool, replace: bool, **options: Any) -> None:
        try:
            with database_needed(), acting_command("import_access"):
                imported = import_access(_content(file), replace=replace, dry_run=dry_run)
        except UnicodeDecodeError:
            raise CommandError(f"Cannot read {file}: it is not text in UTF-8.") from None
        except AccessFileError as error:
            problems = "\n".join(f"  {_one_line(problem)}" for problem in error.problems)
            raise CommandError(f"Nothing was changed. What is wrong with the file:\n{problems}") from None
        except IntegrityError:
            raise CommandError(
                "Nothing was changed: somebody else changed the same things meanwhile. Try again."
            ) from None
        for line in imported.lines:
            self.stdout.write(_one_line(line))
        self.stdout.write(imported.summary + " Dry run: nothing was changed." * dry_run)


def _content(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"Cannot read {file}: {error.strerror}.") from None


def _one_line(text: str) -> str:
    """Text from a file, safe to print: no line breaks, no orders to the terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)
