"""manage.py count_audit [--again]"""

import math
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.audit.statistics.recounting import begin_again, count_before
from apps.database.commands import database_needed


class Command(BaseCommand):
    help = (
        "Count the audit log for statistics, as far as that is not done yet: to the end, as the workers do bit by bit."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--again", action="store_true", help="count all that is still in the log anew")

    def handle(self, *args: Any, **options: Any) -> None:
        with database_needed():
            if options["again"]:
                begin_again()
            done = count_before(math.inf, said=lambda day: self.stdout.write(f"Counted {day}"))
        self.stdout.write(
            "All of the log is counted." if done else "Not yet: events are being put in place. Try again."
        )
