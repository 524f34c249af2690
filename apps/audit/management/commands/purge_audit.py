"""manage.py purge_audit [--dry-run]"""

import math
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from apps.audit.keeping.retention import CLASSES, Step, past, purge, steps
from apps.audit.models import Hold
from apps.database.commands import database_needed


class Command(BaseCommand):
    help = "Delete what is past its time and not held, as the workers do bit by bit."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would go, and delete nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        with database_needed():
            self._say_what_is_kept(now)
            if options["dry_run"]:
                self._say_what_would_go(now)
            else:
                gone = purge(now, math.inf, said=self._say_progress)
                self.stdout.write(f"Done. Rows deleted, beside dropped partitions: {gone}.")

    def _say_what_is_kept(self, now) -> None:
        for words, setting in (*((of.words, of.setting) for of in CLASSES), ("staff actions", "KEEP_STAFF_ACTIONS")):
            before = past(setting, now)
            kept = f"from {before:%Y-%m-%d} on" if before else "for ever"
            self.stdout.write(f"Kept: {words} {kept} (WCSGATE_{setting})")
        for hold in Hold.objects.in_force(now).order_by("pk"):
            self.stdout.write(f"Held: what {hold} covers")

    def _say_what_would_go(self, now) -> None:
        nothing = True
        for step in steps(now):
            if count := step.count():
                nothing = False
                self.stdout.write(f"Would go: {step}: {count}")
        if nothing:
            self.stdout.write("Nothing would go.")

    def _say_progress(self, step: Step, gone: int) -> None:
        self.stdout.write(f"{step}: {gone or 'done'}")
