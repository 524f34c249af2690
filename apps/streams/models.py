"""What: streams that staff know by name, and links to streams."""

import secrets

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from apps.accounts.models import revoked_of
from apps.accounts.validators import SENSIBLE, validate_moment
from apps.streams.links import token_of


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


def new_code() -> str:
    """The code of a new link, by which its token names it."""
    return secrets.token_urlsafe(12)


class LinkQuerySet(models.QuerySet):
    def with_revoked(self) -> "LinkQuerySet":
        """With `revoked`: whether each was revoked with all of its maker's, or with everything."""
        return self.annotate(revoked=revoked_of("made_by"))


class StreamLink(models.Model):
    """A way to one stream until a moment, for whoever holds its token. It is nobody's user and grants nothing else."""

    class Action(models.TextChoices):
        PLAY = "play", "watch"
        PUBLISH = "publish", "publish"

    label = models.CharField(max_length=100, help_text="Whom or what it is for, for example “press, opening night”.")
    code = models.CharField(max_length=32, unique=True, default=new_code, editable=False)
    stream = models.CharField(
        "stream", max_length=255, help_text="The stream's name, whole. Letter case counts, and * means nothing special."
    )
    action = models.CharField("may", max_length=7, choices=Action.choices, default=Action.PLAY)
    ends_at = models.DateTimeField(
        "until", validators=[validate_moment], help_text="From this moment on the link no longer works."
    )
    active = models.BooleanField(default=True, help_text="Off: it does not work, and can be switched on again.")
    created_at = models.DateTimeField("made", default=timezone.now, editable=False)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="links"
    )

    objects = LinkQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(action__in=["play", "publish"]), name="link_action_known"),
            models.CheckConstraint(
                condition=models.Q(ends_at__range=SENSIBLE, created_at__range=SENSIBLE), name="link_period_sensible"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label} ({self.get_action_display()} {self.stream})"

    @property
    def token(self) -> str:
        """The token that its holder needs. It is shown once."""
        return token_of(self.code, self.stream, self.action)
