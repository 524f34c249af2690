"""Who: users (people, devices and staff), their tokens, and keys for programs."""

import secrets
from datetime import date, datetime, timedelta
from typing import Self

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from apps.accounts.hashing import KEY_PREFIX, hash_token
from apps.accounts.validators import SENSIBLE, validate_action, validate_moment, validate_network


class User(AbstractUser):
    """A person or device that connects through WCS, or a member of staff."""

    revoked_before = models.DateTimeField(
        "logged out everywhere",
        null=True,
        blank=True,
        editable=False,
        help_text="Tokens and API keys issued to this user, links made and sessions opened by them before this moment "
        "are worth nothing.",
    )

    class Meta:
        verbose_name = "user"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(revoked_before=None) | models.Q(revoked_before__range=SENSIBLE),
                name="user_revocation_sensible",
            ),
        ]

    def get_session_auth_hash(self) -> str:
        """Who is logged out everywhere is logged out of the admin, too."""
        known = super().get_session_auth_hash()
        return f"{known} {self.revoked_before.isoformat()}" if self.revoked_before else known


def revoked_of(owner: str) -> models.Q:
    """What was created before all of its owner's, or everything, was revoked."""
    everything = models.Subquery(Revocation.objects.values("before")[:1])
    return models.Q(created_at__lt=Coalesce(models.F(f"{owner}__revoked_before"), models.F("created_at"))) | models.Q(
        created_at__lt=Coalesce(everything, models.F("created_at"))
    )


class IssuedQuerySet(models.QuerySet):
    def with_revoked(self) -> Self:
        """With `revoked`: whether each was revoked with all of its user's, or with everything."""
        return self.annotate(revoked=revoked_of("user"))


class TokenQuerySet(IssuedQuerySet):
    def issue(self, user: User, label: str, **limits) -> tuple["Token", str]:
        """Make a token for a user; gives the row and the token itself, which is not kept and cannot be shown again."""
        token = secrets.token_urlsafe(24)
        return self.create(user=user, label=label, token_hash=hash_token(token), **limits), token

    def working(self, now: datetime) -> "TokenQuerySet":
        """Those that have not expired, are not used up, and were not revoked with all of their user's or everything."""
        return self.with_revoked().filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=now), revoked=False, used_at=None
        )


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
    single_use = models.BooleanField(
        default=False,
        help_text="It works for one session only: that of the first client who comes in with it.",
    )
    used_at = models.DateTimeField("used up", null=True, blank=True, editable=False)
    used_node_id = models.TextField(blank=True, default="", db_default="", editable=False)
    used_session_id = models.TextField("used by session", blank=True, default="", db_default="", editable=False)

    objects = TokenQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "label"], name="token_label_per_user"),
            models.CheckConstraint(
                condition=models.Q(expires_at=None) | models.Q(expires_at__range=SENSIBLE), name="token_expiry_sensible"
            ),
            models.CheckConstraint(condition=models.Q(created_at__range=SENSIBLE), name="token_issue_sensible"),
        ]

    def __str__(self) -> str:
        return f"{self.label} of {self.user}"


READ_FROM = 50
"""Addresses that are told apart in a day."""


class ApiKeyQuerySet(IssuedQuerySet):
    def issue(self, user: User, label: str, **limits) -> tuple["ApiKey", str]:
        """Make a key for a user; gives the row and the key itself, which is not kept and cannot be shown again."""
        key = KEY_PREFIX + secrets.token_urlsafe(24)
        return self.create(user=user, label=label, key_hash=hash_token(key), **limits), key

    def with_key(self, key: str) -> "ApiKey | None":
        """The key that is this one, whether it works or not, with its user."""
        return self.with_revoked().select_related("user").filter(key_hash=hash_token(key)).first()


class ApiKey(models.Model):
    """What lets a program ask the API as a user, and see what that user may see. An empty list of networks: from
    anywhere."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    label = models.CharField(max_length=100, help_text="Which program has it, for example “SIEM”.")
    key_hash = models.CharField("hash", max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(
        null=True,
        blank=True,
        validators=[validate_moment],
        help_text="From this moment on the key no longer works. Empty: it does not expire.",
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    read_on = models.DateField(null=True, editable=False, help_text="The last day whose first reading was noted.")
    read_from = ArrayField(
        models.TextField(), default=list, editable=False, help_text="From which addresses that was, on that day."
    )
    networks = ArrayField(
        models.CharField(max_length=50, validators=[validate_network]),
        default=list,
        blank=True,
        help_text="Networks that it works from, separated by commas, for example 10.0.0.0/8. Empty: from anywhere.",
    )

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        constraints = [
            models.UniqueConstraint(fields=["user", "label"], name="api_key_label_per_user"),
            models.CheckConstraint(
                condition=models.Q(expires_at=None) | models.Q(expires_at__range=SENSIBLE),
                name="api_key_expiry_sensible",
            ),
            models.CheckConstraint(condition=models.Q(created_at__range=SENSIBLE), name="api_key_issue_sensible"),
        ]

    def __str__(self) -> str:
        return f"{self.label} of {self.user}"

    def note_use(self, now: datetime) -> None:
        """Say when it was last used, right to ten seconds."""
        if self.last_used_at is None or self.last_used_at < now - timedelta(seconds=10):
            ApiKey.objects.filter(pk=self.pk).update(last_used_at=now)

    def has_read(self, day: date, address: str) -> bool:
        """Whether it is known to have read from this address on this day; after so many, from any."""
        return self.read_on == day and (address in self.read_from or len(self.read_from) >= READ_FROM)

    def begins_to_read(self, day: date, address: str) -> bool:
        """Whether it does so for the first time; of several requests at once, one is told so. In a transaction."""
        known = ApiKey.objects.select_for_update().filter(pk=self.pk).first()
        if known is None or known.has_read(day, address):
            return False
        read_from = [*(known.read_from if known.read_on == day else ()), address]
        ApiKey.objects.filter(pk=self.pk).update(read_on=day, read_from=read_from)
        return True


class Revocation(models.Model):
    """The one row that says from when on everything counts: what was issued or opened before is worth nothing."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    before = models.DateTimeField(
        "revoked, if issued before",
        null=True,
        blank=True,
        validators=[validate_moment],
        help_text="All tokens, API keys, signed tokens (JWT) and links issued before this moment, and all sessions "
        "that were opened before it, are refused with the next hook. Empty: nothing is revoked.",
    )

    class Meta:
        verbose_name = "revocation"
        verbose_name_plural = "revocation"
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="revocation_single"),
            models.CheckConstraint(
                condition=models.Q(before=None) | models.Q(before__range=SENSIBLE), name="revocation_sensible"
            ),
        ]

    def __str__(self) -> str:
        if self.before is None:
            return "Nothing is revoked"
        return f"Revoked: everything issued before {timezone.localtime(self.before):%Y-%m-%d %H:%M:%S}"
