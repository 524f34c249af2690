"""Who: users (people, devices and staff) and their tokens."""

import secrets

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from apps.accounts.hashing import hash_token
from apps.accounts.validators import SENSIBLE, validate_action, validate_moment, validate_network


class User(AbstractUser):
    """A person or device that connects through WCS, or a member of staff."""

    class Meta:
        verbose_name = "user"


class TokenQuerySet(models.QuerySet):
    def issue(self, user: User, label: str, **limits) -> tuple["Token", str]:
        """Make a token for a user; gives the row and the token itself, which is not kept and cannot be shown again."""
        token = secrets.token_urlsafe(24)
        return self.create(user=user, label=label, token_hash=hash_token(token), **limits), token


class Token(models.Model):
    """One named way in for a user. Empty lists mean: not limited."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    label = models.CharField(max_length=100, help_text="What it is for, for example “laptop” or “door camera”.")
    token_hash = models.CharField("hash", max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(
        null=True,
        blank=True,
        validators=[validate_moment],
        help_text="From this moment on the token no longer works. Empty: it does not expire.",
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    networks = ArrayField(
        models.CharField(max_length=50, validators=[validate_network]),
        default=list,
        blank=True,
        help_text="Client networks it works from, separated by commas, for example 10.0.0.0/8. Empty: from anywhere.",
    )
    origins = ArrayField(
        models.CharField(max_length=255),
        default=list,
        blank=True,
        help_text="Web pages it works on, separated by commas, for example https://example.org. Empty: on any.",
    )
    streams = ArrayField(
        models.CharField(max_length=255),
        default=list,
        blank=True,
        help_text="Names of the only streams it may publish or play, separated by commas. Empty: no such limit.",
    )
    actions = ArrayField(
        models.CharField(max_length=20, validators=[validate_action]),
        default=list,
        blank=True,
        help_text="The only actions it may be used for, besides connecting, separated by commas. Empty: no such limit.",
    )

    objects = TokenQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "label"], name="token_label_per_user"),
            models.CheckConstraint(
                condition=models.Q(expires_at=None) | models.Q(expires_at__range=SENSIBLE), name="token_expiry_sensible"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label} of {self.user}"
