"""What: streams that staff know by name."""

from django.conf import settings
from django.db import models


class Stream(models.Model):
    """A named stream. Streams need no row to be published or played; a row lets rules and people refer to it."""

    name = models.CharField(max_length=255, unique=True, help_text="The name clients publish and play it under.")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="streams"
    )
    source = models.CharField(
        max_length=1000, blank=True, help_text="Where the picture really comes from, for example an RTSP address."
    )
    note = models.CharField(max_length=255, blank=True)

    def __str__(self) -> str:
        return self.name
