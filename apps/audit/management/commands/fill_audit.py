"""manage.py fill_audit EVENTS [--days 365] [--people] [--more]"""

import os
from datetime import UTC, date
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.audit.filling.fill import add_people, fill
from apps.audit.models import AuditEvent
from apps.database.commands import database_needed


class Command(BaseCommand):
    help = "Fill the audit log with a made-up past, to try out how it is to have much in it. Never in production."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("events", type=int, help="how many events, for example 10000000")
        parser.add_argument("--days", type=int, default=365, help="over how many days they are spread (%(default)s)")
        parser.add_argument("--until", type=date.fromisoformat, help="the day before which they end (today)")
        parser.add_argument("--seed", type=int, default=1, help="another one gives another past (%(default)s)")
        parser.add_argument("--people", action="store_true", help="also make the users and streams it speaks of")
        parser.add_argument("--more", action="store_true", help="add to what is in the log already; this is slower")
        parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 8), help="processes (%(default)s)")

    def handle(self, *, events: int, days: int, until: date | None, seed: int, workers: int, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("This is production (WCSGATE_ENV), and its record is to be true.")
        if min(events, days, workers) < 1:
            raise CommandError("Events, days and workers are at least 1 each.")
        with database_needed():
            if AuditEvent.objects.exists() and not options["more"]:
                raise CommandError("The audit log has events already. With --more, others are added to them.")
            if options["people"]:
                add_people()
            until = until or timezone.now().astimezone(UTC).date()
            fill(events, until=until, days=days, seed=seed, workers=workers, said=self.stdout.write)
        self.stdout.write(f"Made up: {events} events of {days} days before {until}. None of this ever happened.")
