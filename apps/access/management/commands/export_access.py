"""Writes all access down as a file that only its owner can read."""

import os
import stat
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.access.acts import note_here
from apps.access.files import EXPORTED, export_access, export_sheets
from apps.database.acting import acting_command
from apps.database.commands import database_needed

PRIVATE = 0o600


class Command(BaseCommand):
    help = (
        "Writes all users, groups, tokens, apps, nodes, streams and rules to a file for import_access: "
        "a spreadsheet if its name ends in .xlsx, else YAML."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the file, or - for standard output")

    def handle(self, *, file: str, **options: Any) -> None:
        with database_needed(), acting_command("export_access"):
            content = export_sheets() if file.endswith(".xlsx") else export_access().encode()
            note_here("export", EXPORTED)
        if file == "-":
            self.stdout.write(content.decode(), ending="")
            return
        try:
            _write_privately(file, content)
        except OSError as error:
            raise CommandError(f"Cannot write {file}: {error.strerror}.") from None


def _write_privately(file: str, content: bytes) -> None:
    """Only its owner can read the file, from its first byte on; a device such as /dev/null keeps its mode."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    with os.fdopen(descriptor, "wb") as output:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, PRIVATE)
        output.write(content)
