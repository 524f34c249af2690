"""Rules, each one sentence of permission; and the counter that every change to access raises."""

import re
from functools import reduce
from operator import and_, or_

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.access.comparisons import MAX_LENGTH
from apps.access.sentences import sentence
from apps.access.validators import (
    validate_comparison,
    validate_number_prefix,
    validate_origin_or_domain,
    validate_time_zone,
    validate_window,
)
from apps.accounts.validators import SENSIBLE, validate_action, validate_moment, validate_network
from apps.protocol.action_words import ACTION_WORDS, joined
from apps.protocol.methods import ACTIONS_WITH_TARGET, STREAM_ACTIONS
from apps.protocol.numbers import hides_digits
from apps.streams.models import Stream, StreamGroup

TEXT_KINDS = ("exact", "prefix", "glob", "number-prefix")
"""Kinds of target that are a text."""

CIRCUMSTANCES = ("networks", "origins", "media_providers", "apps", "nodes", "custom")
LIMITS = ("at_once", "per_day", "per_month", "minutes_per_day", "minutes_per_month")
CAPS = ("max_width", "max_height", "max_bitrate")

SAID = (
    *("effect", "who", "user", "group", "actions", "target_kind", "target", "stream", "stream_group", "number_class"),
    *("starts_at", "ends_at", "schedule", *CIRCUMSTANCES),
    *("limit_per", *LIMITS, "overflow", "record", *CAPS, "callee"),
)
"""Fields that make a rule this rule and not another one."""

NAMED_BY_RULES = ("user", "group", "stream", "stream_group", "number_class", "schedule")
"""Rows of other tables that rules are about, and whose names their sentences say."""


def _texts(max_length: int, validator, help_text: str) -> ArrayField:
    """A list of texts that a rule may ask for; empty, it asks for nothing."""
    text = models.CharField(max_length=max_length, validators=[validator] if validator else [])
    return ArrayField(text, default=list, db_default=[], blank=True, help_text=help_text)


def _limit(name: str, help_text: str) -> models.PositiveIntegerField:
    return models.PositiveIntegerField(
        name, null=True, blank=True, validators=[MinValueValidator(1)], help_text=f"{help_text} Empty: no limit."
    )


class Schedule(models.Model):
    """Hours of the week that rules hold in: “Office hours” is said once and used by many rules."""

    name = models.CharField(max_length=100, unique=True)
    time_zone = models.CharField(
        max_length=64, validators=[validate_time_zone], help_text="Whose clocks count, for example Europe/Berlin."
    )
    windows = ArrayField(
        models.CharField(max_length=100, validators=[validate_window]),
        help_text="Hours of the week, separated by commas: Mon-Fri 08:00-18:00, Sat 10:00-14:00, Fri 22:00-06:00.",
    )
    holidays = ArrayField(
        models.DateField(), default=list, blank=True, help_text="Dates on which it never holds, as 2026-12-25."
    )
    note = models.CharField(max_length=255, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=~Q(windows=[]), name="schedule_has_windows")]

    def __str__(self) -> str:
        return self.name


class NumberClass(models.Model):
    """A set of numbers that rules are about, by how they begin. Of several that fit, the longest beginning counts."""

    name = models.CharField(max_length=50, unique=True)
    prefixes = ArrayField(
        models.CharField(max_length=32, validators=[validate_number_prefix]),
        default=list,
        blank=True,
        help_text="How the numbers begin, separated by commas: +49900, 0137. Spaces and hyphens do not matter; "
        "{country} stands for the own country.",
    )
    whole = models.BooleanField(
        "whole numbers",
        default=False,
        help_text="These are whole numbers and not beginnings: 112 is then not the beginning of 112555.",
    )
    short = models.PositiveSmallIntegerField(
        "short numbers",
        default=0,
        validators=[MaxValueValidator(15)],
        help_text="Also all numbers of at most so many digits that are in no other class, such as extensions. 0: none.",
    )
    protected = models.BooleanField(
        default=False,
        help_text="No rule can refuse calls to these numbers, and nothing of such a call is changed: "
        "for emergency numbers.",
    )
    note = models.CharField(max_length=255, blank=True)

    class Meta:
        verbose_name = "number class"
        verbose_name_plural = "number classes"
        constraints = [
            models.CheckConstraint(
                condition=~Q(prefixes=[], short=0),
                name="number_class_has_numbers",
                violation_error_message="Say how its numbers begin, or how short they are.",
            ),
            models.CheckConstraint(
                condition=Q(protected=False) | Q(whole=True, short=0),
                name="number_class_protected_whole",
                violation_error_message="Protected numbers must be whole numbers: "
                "else anything that begins like them could be called.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RuleQuerySet(models.QuerySet):
    def with_names(self) -> "RuleQuerySet":
        """With the rows whose names the sentences say."""
        return self.select_related(*NAMED_BY_RULES)

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
        STREAM_GROUP = "stream-group", "a group of streams"
        NUMBER_PREFIX = "number-prefix", "numbers that begin with"
        NUMBER_CLASS = "number-class", "a class of numbers"

    class LimitPer(models.TextChoices):
        NOBODY = "", "no limit"
        USER = "user", "for each user by themselves"
        GROUP = "group", "for the whole group together"
        TARGET = "target", "for each stream or number by itself"
        RULE = "rule", "for everyone together"

    class Overflow(models.TextChoices):
        REFUSE = "refuse", "refuse the newcomer"
        END_OLDEST = "end-oldest", "end the oldest"

    class Record(models.TextChoices):
        AS_ASKED = "", "as the client asks"
        ON = "on", "always"
        OFF = "off", "never"

    effect = models.CharField(max_length=5, choices=Effect.choices, help_text="A deny always beats an allow.")
    who = models.CharField(max_length=8, choices=Who.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="rules"
    )
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.CASCADE, related_name="rules")
    actions = ArrayField(models.CharField(max_length=20, validators=[validate_action]))
    target_kind = models.CharField("on what", max_length=13, choices=TargetKind.choices)
    target = models.CharField(
        "name, number or pattern",
        max_length=255,
        blank=True,
        help_text="In a pattern, * stands for any text and {user} for the user's own name: {user}-* or lesson-*.",
    )
    stream = models.ForeignKey(Stream, null=True, blank=True, on_delete=models.CASCADE, related_name="rules")
    stream_group = models.ForeignKey(StreamGroup, null=True, blank=True, on_delete=models.PROTECT, related_name="rules")
    number_class = models.ForeignKey(NumberClass, null=True, blank=True, on_delete=models.PROTECT, related_name="rules")
    starts_at = models.DateTimeField(
        "from", null=True, blank=True, validators=[validate_moment], help_text="Empty: at once."
    )
    ends_at = models.DateTimeField(
        "until", null=True, blank=True, validators=[validate_moment], help_text="Not included. Empty: without end."
    )
    schedule = models.ForeignKey(
        Schedule,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="rules",
        help_text="Hours of the week. Empty: at all hours.",
    )
    networks = _texts(50, validate_network, "Client networks, as 10.0.0.0/8 or 2001:db8::/32. Empty: from anywhere.")
    origins = _texts(
        255,
        validate_origin_or_domain,
        "Web pages, as https://school.example or *.school.example for all hosts below it. Empty: on any page.",
    )
    media_providers = _texts(50, None, "What carries the media, as WebRTC, MSE, HLS. Empty: whatever it is.")
    apps = _texts(255, None, "App keys. Empty: through any app.")
    nodes = _texts(255, None, "Node ids of WCS servers. Empty: on any node.")
    custom = _texts(
        MAX_LENGTH,
        validate_comparison,
        "What the client says of itself in “custom”: role = teacher, age >= 18, device.kind begins with cam-, "
        "role in teacher|tutor. All must hold. Clients can say what they like.",
    )
    limit_per = models.CharField(
        "counted",
        max_length=6,
        choices=LimitPer.choices,
        blank=True,
        default="",
        db_default="",
        help_text="For whom limits count.",
    )
    at_once = _limit("at once", "How many may run at the same time.")
    per_day = _limit("a day", "How many may begin in a day.")
    per_month = _limit("a month", "How many may begin in a month.")
    minutes_per_day = _limit("minutes a day", "How long they may last together in a day.")
    minutes_per_month = _limit("minutes a month", "How long they may last together in a month.")
    overflow = models.CharField(
        "one too many",
        max_length=10,
        choices=Overflow.choices,
        default=Overflow.REFUSE,
        db_default=Overflow.REFUSE,
        blank=True,
        help_text="What happens when so many run at once already.",
    )
    record = models.CharField(
        "recording",
        max_length=3,
        choices=Record.choices,
        blank=True,
        default="",
        db_default="",
        help_text="Of published streams.",
    )
    max_width = _limit("width at most", "In pixels.")
    max_height = _limit("height at most", "In pixels.")
    max_bitrate = _limit("bitrate at most", "In kbps.")
    callee = models.CharField(
        "call instead",
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="Who is really called, for example +49301234 where the page says “support”.",
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
                    Q(target_kind="any", target="", stream=None, stream_group=None, number_class=None)
                    | (Q(target_kind__in=TEXT_KINDS, stream=None, stream_group=None, number_class=None) & ~Q(target=""))
                    | Q(target_kind="stream", target="", stream__isnull=False, stream_group=None, number_class=None)
                    | Q(
                        target_kind="stream-group",
                        target="",
                        stream=None,
                        stream_group__isnull=False,
                        number_class=None,
                    )
                    | Q(
                        target_kind="number-class",
                        target="",
                        stream=None,
                        stream_group=None,
                        number_class__isnull=False,
                    )
                ),
                name="rule_target_complete",
            ),
            models.CheckConstraint(condition=~Q(actions=[]), name="rule_has_actions"),
            models.CheckConstraint(
                condition=Q(limit_per="", **{f"{name}__isnull": True for name in LIMITS})
                | (
                    ~Q(limit_per="")
                    & Q(effect="allow")
                    & reduce(or_, (Q(**{f"{name}__gte": 1}) for name in LIMITS))
                    & reduce(and_, (Q(**{f"{name}__gte": 1}) | Q(**{name: None}) for name in LIMITS))
                ),
                name="rule_limits_complete",
            ),
            models.CheckConstraint(
                condition=Q(effect="allow")
                | Q(record="", callee="", max_width=None, max_height=None, max_bitrate=None),
                name="rule_deny_changes_nothing",
            ),
            models.CheckConstraint(
                condition=reduce(and_, (Q(**{f"{name}__gte": 1}) | Q(**{name: None}) for name in CAPS)),
                name="rule_caps_positive",
            ),
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
        if self.target_kind == self.TargetKind.STREAM_GROUP and not self.stream_group:
            problems["stream_group"] = "Choose the group of streams this rule is about."
        if self.target_kind == self.TargetKind.NUMBER_CLASS and not self.number_class:
            problems["number_class"] = "Choose the class of numbers this rule is about."
        if self.target_kind in TEXT_KINDS and not self.target:
            problems["target"] = "Say which name, number or pattern this rule is about."
        elif problem := self._never_fits():
            problems["stream" if self.target_kind == self.TargetKind.STREAM else "target"] = problem
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            problems["ends_at"] = "The end must be later than the beginning."
        if self.callee and hides_digits(self.callee):
            problems["callee"] = "Write the plain number, such as +4930123456: more digits than these could be dialled."
        self._check_limits(problems)
        if problems:
            raise ValidationError(problems)

    def _check_limits(self, problems: dict[str, str]) -> None:
        limited = any(getattr(self, name) for name in LIMITS)
        if limited and not self.limit_per:
            problems["limit_per"] = "Say for whom the limit counts: each user, the group, each target, or all together."
        if self.limit_per and not limited:
            problems["at_once"] = "Say how many, or choose “no limit”."
        if self.limit_per == self.LimitPer.GROUP and self.who != self.Who.GROUP:
            problems["limit_per"] = "Only a rule about a group counts for the whole group together."
        if self.overflow == self.Overflow.END_OLDEST and self.limit_per and not self.at_once:
            problems["overflow"] = "Only where a number at once is set, the oldest can be ended to make room."

    def actions_without_target(self) -> list[str]:
        """Those of its actions that it never matches, because it wants a target and their hooks have none."""
        if self.target_kind == self.TargetKind.ANY or (
            self.target_kind == self.TargetKind.GLOB and not self.target.strip("*")
        ):
            return []
        return [action for action in self.actions or () if action not in ACTIONS_WITH_TARGET]

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
        if self.target_kind != self.TargetKind.STREAM_GROUP:
            self.stream_group = None
        if self.target_kind != self.TargetKind.NUMBER_CLASS:
            self.number_class = None
        if self.target_kind not in TEXT_KINDS:
            self.target = ""
        self.overflow = self.overflow or self.Overflow.REFUSE
        if self.effect == self.Effect.DENY:
            self.limit_per = self.record = self.callee = ""
            for name in (*LIMITS, *CAPS):
                setattr(self, name, None)


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


class TriedOut(models.Model):
    """A recorded hook that a rule would have decided otherwise, had it not only been logged. Kept by the workers."""

    rule_id = models.BigIntegerField()
    effect = models.CharField(max_length=5, help_text="Of the rule at the time.")
    event_id = models.UUIDField()
    received_at = models.DateTimeField()
    username = models.TextField()

    class Meta:
        indexes = [models.Index(fields=["rule_id", "effect", "-received_at"], name="tried_out_by_rule")]

    def __str__(self) -> str:
        return f"rule {self.rule_id} at {self.received_at}"


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
