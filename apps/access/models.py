"""Rules, each one sentence of permission; and the counter that every change to access raises."""

import re

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.access.sentences import sentence
from apps.accounts.validators import SENSIBLE, validate_action, validate_moment
from apps.protocol.action_words import ACTION_WORDS, joined
from apps.protocol.methods import METHODS, STREAM_ACTIONS
from apps.streams.models import Stream

WITH_TARGET = {method.action for method in METHODS if method.target}
"""Actions of which some hook names what they are about. All others fit rules on anything alone."""


class RuleQuerySet(models.QuerySet):
    def for_streams(self) -> "RuleQuerySet":
        """Rules about publishing or playing."""
        return self.filter(actions__overlap=list(STREAM_ACTIONS))

    def for_calls(self) -> "RuleQuerySet":
        """Rules about anything else: connecting, calls, messages, data."""
        return self.exclude(actions__contained_by=list(STREAM_ACTIONS))


class Rule(models.Model):
    """One sentence of permission: effect, who, may do which actions, on what, from when, until when."""

    class Effect(models.TextChoices):
        ALLOW = "allow", "Allow"
        DENY = "deny", "Deny"

    class Who(models.TextChoices):
        EVERYONE = "everyone", "everyone with an account"
        GUESTS = "guests", "guests (clients without a credential)"
        USER = "user", "one user"
        GROUP = "group", "everyone in a group"

    class TargetKind(models.TextChoices):
        ANY = "any", "anything"
        EXACT = "exact", "exactly this name or number"
        PREFIX = "prefix", "whatever begins with"
        GLOB = "glob", "whatever matches a pattern with *"
        STREAM = "stream", "a stream from the list"

    effect = models.CharField(max_length=5, choices=Effect.choices, help_text="A deny always beats an allow.")
    who = models.CharField(max_length=8, choices=Who.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="rules"
    )
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.CASCADE, related_name="rules")
    actions = ArrayField(models.CharField(max_length=20, validators=[validate_action]))
    target_kind = models.CharField("on what", max_length=6, choices=TargetKind.choices)
    target = models.CharField(
        "name, number or pattern",
        max_length=255,
        blank=True,
        help_text="In a pattern, * stands for any text and {user} for the user's own name: {user}-* or lesson-*.",
    )
    stream = models.ForeignKey(Stream, null=True, blank=True, on_delete=models.CASCADE, related_name="rules")
    starts_at = models.DateTimeField(
        "from", null=True, blank=True, validators=[validate_moment], help_text="Empty: at once."
    )
    ends_at = models.DateTimeField(
        "until", null=True, blank=True, validators=[validate_moment], help_text="Not included. Empty: without end."
    )
    enforced = models.BooleanField(
        default=True,
        help_text="Off: the rule decides nothing; the audit log only notes where it would have.",
    )
    note = models.CharField(max_length=255, blank=True, help_text="Why this rule exists, for whoever reads it next.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RuleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(effect__in=["allow", "deny"]), name="rule_effect_known"),
            models.CheckConstraint(
                condition=(
                    Q(who__in=["everyone", "guests"], user=None, group=None)
                    | Q(who="user", user__isnull=False, group=None)
                    | Q(who="group", user=None, group__isnull=False)
                ),
                name="rule_who_complete",
            ),
            models.CheckConstraint(
                condition=(
                    Q(target_kind="any", target="", stream=None)
                    | (Q(target_kind__in=["exact", "prefix", "glob"], stream=None) & ~Q(target=""))
                    | Q(target_kind="stream", target="", stream__isnull=False)
                ),
                name="rule_target_complete",
            ),
            models.CheckConstraint(condition=~Q(actions=[]), name="rule_has_actions"),
            models.CheckConstraint(
                condition=Q(starts_at=None) | Q(ends_at=None) | Q(ends_at__gt=F("starts_at")),
                name="rule_period_ordered",
            ),
            models.CheckConstraint(
                condition=(Q(starts_at=None) | Q(starts_at__range=SENSIBLE))
                & (Q(ends_at=None) | Q(ends_at__range=SENSIBLE)),
                name="rule_period_sensible",
            ),
        ]

    def __str__(self) -> str:
        return sentence(self, timezone.get_current_timezone())

    def clean(self) -> None:
        """Say in sentences what the constraints would refuse, each at its field."""
        self._keep_only_what_fits()
        problems = {}
        if self.who == self.Who.USER and not self.user:
            problems["user"] = "Choose the user this rule is about."
        if self.who == self.Who.GROUP and not self.group:
            problems["group"] = "Choose the group this rule is about."
        if self.target_kind == self.TargetKind.STREAM and not self.stream:
            problems["stream"] = "Choose the stream this rule is about."
        if self.target_kind in ("exact", "prefix", "glob") and not self.target:
            problems["target"] = "Say which name, number or pattern this rule is about."
        elif problem := self._never_fits():
            problems["stream" if self.target_kind == self.TargetKind.STREAM else "target"] = problem
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            problems["ends_at"] = "The end must be later than the beginning."
        if problems:
            raise ValidationError(problems)

    def actions_without_target(self) -> list[str]:
        """Those of its actions that it never matches, because it wants a target and their hooks have none."""
        if self.target_kind == self.TargetKind.ANY or (
            self.target_kind == self.TargetKind.GLOB and not self.target.strip("*")
        ):
            return []
        return [action for action in self.actions or () if action not in WITH_TARGET]

    def _never_fits(self) -> str:
        """Why its target can fit nothing; "" if it can."""
        without = self.actions_without_target()
        if without and len(without) == len(self.actions):
            deeds = joined([ACTION_WORDS.get(action, action) for action in without], "or")
            return f"To {deeds} is about no name or number, so this rule would never match. Let it be about anything."
        if self.target_kind != self.TargetKind.GLOB:
            return ""
        unknown = sorted(set(re.findall(r"\{[^{}]*\}", self.target)) - {"{user}"})
        if unknown:
            return f"{joined(unknown)} would never match: only {{user}} stands for something, the user's own name."
        if "{user}" in self.target and self.who == self.Who.GUESTS:
            return "Guests have no name for {user} to stand for, so this rule would never match."
        return ""

    def _keep_only_what_fits(self) -> None:
        """Drop what was filled in for another choice of who or target, as a form may send it along."""
        if self.who != self.Who.USER:
            self.user = None
        if self.who != self.Who.GROUP:
            self.group = None
        if self.target_kind != self.TargetKind.STREAM:
            self.stream = None
        if self.target_kind in ("any", "stream"):
            self.target = ""


class StreamPermission(Rule):
    """Rules about publishing and playing, as staff see them."""

    class Meta:
        proxy = True
        verbose_name = "stream permission"


class CallPermission(Rule):
    """Rules about connecting, calls, messages and data, as staff see them."""

    class Meta:
        proxy = True
        verbose_name = "call permission"


class AccessRevision(models.Model):
    """The one row that every change to a rule, user, group, token, stream, app or node raises, by database triggers."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    revision = models.BigIntegerField()

    class Meta:
        db_table = "access_revision"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="access_revision_single")]

    def __str__(self) -> str:
        return f"revision {self.revision}"


class AccessChange(models.Model):
    """Which row changed at which revision, so that a process refreshes what changed and not everything."""

    revision = models.BigIntegerField(db_index=True)
    table_name = models.CharField(max_length=63)
    row_id = models.BigIntegerField(null=True, help_text="Null: the whole table.")
    changed_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        db_table = "access_change"

    def __str__(self) -> str:
        return f"{self.table_name} {self.row_id} at revision {self.revision}"
