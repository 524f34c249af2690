"""What is counted ahead, so that a year is read at a glance: hooks by hour and day, and what ran by hour and day.

Hooks are counted by `tallies`, in the transaction that moves them. What ran is measured by `measuring`, from leases.
Hours are those of UTC. Days are dates in the time zone of staff, as it was set when they were counted.
"""

from django.db import models
from django.db.models import F


class Span(models.TextChoices):
    """Names are kept by day, and once more by month, as a year has too many days with names."""

    DAY = "day", "day"
    MONTH = "month", "month"


class About(models.TextChoices):
    USER = "user", "user"
    TARGET = "target", "stream or number"


class Answers(models.Model):
    """Audit events with the same answer, and how many hooks those are, repeats included."""

    effect = models.TextField("decision")
    reason = models.TextField()
    events = models.BigIntegerField()
    hooks = models.BigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.hooks} hooks, {self.reason}"


class HookCounts(Answers):
    """The same by action, app and node as well."""

    action = models.TextField()
    app_key = models.TextField("app key", help_text="Its beginning, where it is very long.")
    node_id = models.TextField("node id", help_text="Its beginning, where it is very long.")

    class Meta:
        abstract = True


class HourCount(HookCounts):
    """Of events that first came within an hour. Hours are kept for some weeks, days for years."""

    pk = models.CompositePrimaryKey("hour", "effect", "reason", "action", "app_key", "node_id")
    hour = models.DateTimeField()

    class Meta:
        default_permissions = ()


class DayCount(HookCounts):
    """Of events that first came on a day."""

    pk = models.CompositePrimaryKey("day", "effect", "reason", "action", "app_key", "node_id")
    day = models.DateField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index("app_key", "day", name="audit_daycount_of_app")]


class DayAnswer(Answers):
    """Of events that first came on a day: the same as DayCount, for whoever asks neither for action, app nor node."""

    pk = models.CompositePrimaryKey("day", "effect", "reason")
    day = models.DateField()

    class Meta:
        default_permissions = ()


class UserCount(models.Model):
    """How often hooks of one user were allowed and refused in a day or month; what cannot be refused is left out."""

    pk = models.CompositePrimaryKey("span", "starts_on", "username")
    span = models.TextField(choices=Span.choices)
    starts_on = models.DateField(help_text="The day, or the first one of the month.")
    username = models.TextField("user name", help_text="Its beginning, where it is very long. Empty: guests.")
    allowed = models.BigIntegerField()
    refused = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        indexes = [  # for `leading`
            models.Index(
                F("span"), F("starts_on"), (F("allowed") + F("refused")).desc(), name="audit_usercount_leading"
            )
        ]

    def __str__(self) -> str:
        return f"{self.username or 'guests'} in the {self.span} of {self.starts_on}"


class Running(models.Model):
    """What ran within a time: sessions (connect), publications, playbacks and calls, each by lease."""

    action = models.TextField()
    began = models.BigIntegerField(help_text="How many started within it.")
    seconds = models.FloatField(help_text="For how long they ran within it, all together.")
    peak = models.BigIntegerField(help_text="How many at most ran at once.")
    ended = models.BigIntegerField(help_text="How many ended within it.")
    ended_seconds = models.FloatField(help_text="For how long those had run from start to end.")
    longest = models.FloatField(help_text="The longest of those, in seconds.")
    measured_at = models.DateTimeField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.action}: {self.peak} at once"


class RunningHour(Running):
    pk = models.CompositePrimaryKey("hour", "action")
    hour = models.DateTimeField()

    class Meta:
        default_permissions = ()


class RunningDay(Running):
    pk = models.CompositePrimaryKey("day", "action")
    day = models.DateField()

    class Meta:
        default_permissions = ()


class NameTime(models.Model):
    """For how long one user, or one stream or number, was busy in a day or month."""

    pk = models.CompositePrimaryKey("span", "about", "starts_on", "action", "name")
    span = models.TextField(choices=Span.choices)
    about = models.TextField(choices=About.choices)
    starts_on = models.DateField(help_text="The day, or the first one of the month.")
    action = models.TextField()
    name = models.TextField(help_text="Its beginning, where it is very long. Empty: guests.")
    times = models.BigIntegerField(help_text="How many started.")
    seconds = models.FloatField()
    peak = models.BigIntegerField(help_text="How many at most ran at once.")

    class Meta:
        default_permissions = ()
        indexes = [  # for `leading`
            models.Index(
                F("span"), F("about"), F("starts_on"), F("action"), F("seconds").desc(), name="audit_nametime_leading"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name or 'guests'} in the {self.span} of {self.starts_on}"


class Recount(models.Model):
    """How far the log of before was counted, day by day backwards. One row; none before it has begun."""

    counted_back_to = models.DateField(null=True)
    done = models.BooleanField(default=False)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return "counted" if self.done else f"counted back to {self.counted_back_to}"
