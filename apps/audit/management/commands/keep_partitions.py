"""manage.py keep_partitions"""

import math
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from apps.audit.keeping.partitions import keep, partitions
from apps.audit.net import net
from apps.database.commands import database_needed


class Command(BaseCommand):
    help = "Make the audit log's partitions ahead, and put in place what fell into the default one, to the end."

    def handle(self, *args: Any, **options: Any) -> None:
        with database_needed():
            made = keep(timezone.now(), math.inf, said=lambda moved: self.stdout.write(f"Put in place: {moved}"))
            for partition in made:
                self.stdout.write(f"Made {partition}")
            self.stdout.write(f"There are {len(partitions())} partitions. {net() or 'The default partition is empty.'}")
