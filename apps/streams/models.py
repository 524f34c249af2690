"""What: streams that staff know by name."""

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models


class StreamGroup(models.Model):
    """Streams that rules are about together, for example all doors."""

    name = models.CharField(max_length=100, unique=True)
    note = models.CharField(max_length=255, blank=True)

    class Meta:
        verbose_name = "stream group"

    def __str__(self) -> str:
        return self.name


class Stream(models.Model):
    """A named stream. Streams need no row to be published or played; a row lets rules and people refer to it."""

    name = models.CharField(max_length=255, unique=True, help_text="The name clients publish and play it under.")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="streams"
    )
    source = models.CharField(
        max_length=1000, blank=True, help_text="Where the picture really comes from, for example an RTSP address."
    )
    groups = models.ManyToManyField(StreamGroup, blank=True, related_name="streams")
    max_publishers = models.PositiveIntegerField(
        "publishers at most",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many may publish it at once. Empty: as many as rules allow.",
    )
    max_viewers = models.PositiveIntegerField(
        "viewers at most",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many may play it at once. Empty: as many as rules allow.",
    )
    note = models.CharField(max_length=255, blank=True)

    def __str__(self) -> str:
        return self.name
