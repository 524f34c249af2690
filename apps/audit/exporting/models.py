"""Exports that are written in the background: who asked for what, how far they are, and what was written so far."""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone


class State(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"


class ExportQuerySet(models.QuerySet):
    def unfinished(self) -> "ExportQuerySet":
        """Those that there is something left to write of."""
        return self.filter(state__in=(State.WAITING, State.RUNNING))

    def past(self, now: datetime) -> "ExportQuerySet":
        """Those that were kept long enough, or were never finished."""
        kept = timedelta(days=settings.KEEP_EXPORTS)
        return self.alias(since=Coalesce("finished_at", "made_at")).filter(since__lte=now - kept)


class Export(models.Model):
    """One search as one file. All that says how far it is changes together with the pieces that were written."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    made_by_name = models.TextField("asked for by")
    made_at = models.DateTimeField("asked for", default=timezone.now)
    asked = models.TextField(help_text="The search, as in the address of the list.")
    words = models.TextField("what", help_text="The search in plain words.")
    format = models.TextField()
    columns = models.JSONField(help_text="What is written of each event.")
    state = models.TextField(choices=State.choices, default=State.WAITING)
    problem = models.TextField(default="", help_text="Why it failed, and what to do.")
    started_at = models.DateTimeField("started", null=True)
    worked_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField("finished", null=True)
    rows = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0, help_text="Of the file.")
    stored = models.BigIntegerField(default=0, help_text="Bytes that its pieces take, being compressed.")
    pieces = models.PositiveIntegerField(default=0)
    newest_at = models.DateTimeField(null=True, help_text="Where it begins, as far as that is known.")
    oldest_at = models.DateTimeField(null=True, help_text="Where it will end, as far as that is known.")
    place_at = models.DateTimeField(null=True, help_text="Where to go on: after the event of this time and id.")
    place_id = models.UUIDField(null=True)
    span = models.DurationField(default=timedelta(days=1), help_text="How much time to look through at once.")

    objects = ExportQuerySet.as_manager()

    class Meta:
        default_permissions = ()  # whoever may see the log may export it
        constraints = [models.CheckConstraint(condition=Q(state__in=State.values), name="export_state_is_known")]

    def __str__(self) -> str:
        return self.words

    @property
    def is_unfinished(self) -> bool:
        return self.state in (State.WAITING, State.RUNNING)

    @property
    def is_whole(self) -> bool:
        """Whether everything is there that was written: a backup may have been restored without the pieces."""
        return self.parts.count() == self.pieces

    @property
    def percent(self) -> int:
        """How far it is, by time: how many events lie in the rest of it, nobody knows before they are read."""
        if self.state == State.READY:
            return 100
        if self.newest_at is None or self.oldest_at is None or self.place_at is None:
            return 0
        whole, done = self.newest_at - self.oldest_at, self.newest_at - self.place_at
        return max(0, min(99, int(100 * (done / whole)))) if whole else 99

    @property
    def gone_at(self) -> datetime:
        """When it is deleted."""
        return (self.finished_at or self.made_at) + timedelta(days=settings.KEEP_EXPORTS)

    @property
    def file_name(self) -> str:
        return f"audit-{timezone.localtime(self.made_at):%Y-%m-%d-%H%M}.{self.format}"


class ExportPiece(models.Model):
    """Some lines of the file, compressed."""

    export = models.ForeignKey(Export, on_delete=models.CASCADE, related_name="parts", db_index=False)
    number = models.PositiveIntegerField()
    starts = models.BigIntegerField(help_text="Bytes of the file before it.")
    data = models.BinaryField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["export", "number"], name="export_piece_once")]

    def __str__(self) -> str:
        return f"Piece {self.number}"
