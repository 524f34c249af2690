"""The record of every hook: fresh in the outbox, then in its final place."""

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now
from django.utils import timezone

from apps.access.reasons import STAFF_ACTION
from apps.audit.exporting.models import Export, ExportPiece  # noqa: F401 - tables of this app
from apps.audit.ids import MARGIN, first_id
from apps.audit.statistics.models import (  # noqa: F401 - where Django looks for models
    DayAnswer,
    DayCount,
    HourCount,
    NameTime,
    Recount,
    RunningDay,
    RunningHour,
    UserCount,
)


class Effect(models.TextChoices):
    ALLOWED = "allow", "allowed"
    REFUSED = "deny", "refused"


class HookFields(models.Model):
    """What both places of a record have in common. Words of WCS are plain text: a new one is never a migration."""

    id = models.UUIDField(primary_key=True, editable=False)
    received_at = models.DateTimeField()
    method = models.TextField(help_text="As it came on the wire.")
    node_id = models.TextField("node id")
    app_key = models.TextField("app key")
    session_id = models.TextField("session id")
    media_session_id = models.TextField("media session")
    call_id = models.TextField("call")
    status = models.TextField()
    action = models.TextField()
    target = models.TextField()
    client_address = models.GenericIPAddressField("address", null=True)
    username = models.TextField("user name")
    effect = models.CharField("decision", max_length=5, choices=Effect.choices)
    reason = models.TextField()
    rule_ids = ArrayField(models.BigIntegerField(), default=list)
    logged_rule_ids = ArrayField(models.BigIntegerField(), default=list)
    told = models.TextField("WCS was told", default="", db_default="", help_text="What was changed, in words.")
    revision = models.BigIntegerField()
    while_away = models.BooleanField("answered while the database was away", default=False, db_default=False)
    body = models.BinaryField()

    class Meta:
        abstract = True


class HookRecord(HookFields):
    """One hook with its answer, freshly committed: the outbox, emptied by the workers. No secondary indexes."""

    user_id = models.BigIntegerField(null=True)
    token_id = models.BigIntegerField(null=True)
    waits_since = models.DateTimeField(
        db_default=Now(), help_text="Later than it was received, if it was in a spool or is tried again."
    )

    def __str__(self) -> str:
        return f"{self.method} at {self.received_at}"


class ChangeRecord(models.Model):
    """One row that somebody changed, of a table that decisions depend on: the outbox of `changes`, filled by triggers.
    Or what they did that changes no such row: then all is in `after` (`acts`).

    Columns with secrets are left out of `before` and `after`; `secrets` says of those that differ whether they were set
    anew or removed, and so of addresses that differ only in what is left out of them.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    changed_at = models.DateTimeField()
    table_name = models.TextField()
    row_id = models.BigIntegerField(null=True, help_text="Null: the whole table was emptied.")
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    secrets = ArrayField(models.TextField(), default=list)
    revision = models.BigIntegerField(help_text="That of access after the change.")
    actor = models.JSONField(help_text="Who did it, from where, why, and by which request.")

    def __str__(self) -> str:
        return f"{self.table_name} {self.row_id}"


class BadRecord(models.Model):
    """A record that could not be moved into the audit log, whole, with what went wrong. It waits to be tried again.

    It is kept as JSON, body and all, since it may be what stands in its columns that cannot be read.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    record = models.JSONField()
    problem = models.TextField(help_text="What went wrong, as the worker was told.")
    failed_at = models.DateTimeField("failed", db_default=Now())

    class Meta:
        verbose_name = "record not moved"
        verbose_name_plural = "records not moved"
        permissions = [("retry_badrecord", "Can try again to move record")]

    def __str__(self) -> str:
        return f"Record {self.pk}"


class Batch(models.Model):
    """What was put into the audit log at once, as a link of the chain that shows tampering (`chain`).

    Numbers have no gaps and are given under a lock that is held until the commit: whoever has read all batches up to
    one will find no other one before it later.
    """

    number = models.BigIntegerField(primary_key=True)
    moved_at = models.DateTimeField()
    note = models.TextField(default="", db_default="", help_text="What was let go, in JSON; mostly nothing.")
    entries = models.BinaryField(help_text="One for each event and each change of a count.")
    previous = models.BinaryField(help_text="The hash of the batch before.")
    hash = models.BinaryField(help_text="Of all this.")

    class Meta:
        verbose_name_plural = "batches"
        indexes = [
            models.Index(fields=["number"], name="batch_with_note", condition=~Q(note="")),
            models.Index(fields=["moved_at"], name="batch_by_moment"),
        ]

    def __str__(self) -> str:
        return f"Batch {self.number}"


class Seal(models.Model):
    """A signature under the chain up to a batch: whoever changes anything before it would need the key as well."""

    batch = models.BigIntegerField(db_index=True)
    made_at = models.DateTimeField()
    line = models.TextField(help_text="What was signed.")
    signature = models.BinaryField()

    def __str__(self) -> str:
        return f"Seal of batch {self.batch}"


def _link(to: str) -> models.ForeignKey:
    """A link that says nothing any more when its subject is gone: nobody rewrites the past to delete a user."""
    return models.ForeignKey(
        to, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )


def received(since: datetime | None = None, before: datetime | None = None, margin: timedelta = MARGIN) -> Q:
    """Events of a time. The ids say it, too, so that only the partitions of that time are looked into; with a wide
    margin they say little else, and Postgres is not tempted to go through all ids of the time.
    """
    condition = Q()
    if since is not None:
        condition &= Q(received_at__gte=since, id__gte=first_id(since, -margin))
    if before is not None:
        condition &= Q(received_at__lt=before, id__lt=first_id(before, margin))
    return condition


class AuditEvent(HookFields):
    """One hook in its final place; written once by the worker, never edited but for the count of its repeats.
    What staff changed is an event as well (`changes`).

    The table is partitioned by ranges of id, a UUID of version 7 that begins with the time in milliseconds: see
    `partitions`. All indexes but the primary key carry the time. Whoever looks for a time says so by `received`.
    """

    user = _link(settings.AUTH_USER_MODEL)
    stream = _link("streams.Stream")
    node_name = models.TextField("node", default="", db_default="", help_text="As staff called it at the time.")
    rules = ArrayField(models.TextField(), default=list, help_text="The deciding rules as sentences, at the time.")
    number = models.TextField(default="", db_default="", help_text="The number dialled, in the one form it has.")
    repeats = models.PositiveIntegerField(default=0, help_text="How many more times the same hook came.")
    last_received_at = models.DateTimeField()
    repeat_ids = ArrayField(
        models.UUIDField(), default=list, db_default=[], help_text="Of the latest repeats, to know them by."
    )
    duration = models.DurationField(null=True, help_text="How long it had lasted, where this is its end.")
    digest = models.BinaryField(help_text="Of what makes two hooks the same.")
    batch = models.BigIntegerField(
        null=True, help_text="The batch it came here with; null for what is older than they."
    )

    class Meta:
        verbose_name = "audit event"
        indexes = [
            models.Index(fields=["-received_at", "-id"], name="audit_newest"),
            models.Index(fields=["-received_at", "-id"], name="audit_hooks", condition=~Q(reason=STAFF_ACTION)),
            models.Index(OpClass("username", "text_pattern_ops"), F("received_at").desc(), name="audit_by_name"),
            models.Index(OpClass("target", "text_pattern_ops"), F("received_at").desc(), name="audit_by_what"),
            models.Index(
                OpClass("number", "text_pattern_ops"),
                F("received_at").desc(),
                name="audit_by_number",
                condition=~Q(number=""),
            ),
            models.Index(fields=["client_address", "-received_at"], name="audit_by_address"),
            models.Index(fields=["session_id", "-received_at"], name="audit_by_session"),
            models.Index(fields=["node_id", "-received_at"], name="audit_by_node"),
            models.Index(fields=["app_key", "-received_at"], name="audit_by_app"),
            models.Index(fields=["method", "-received_at"], name="audit_by_method"),
            models.Index(fields=["reason", "-received_at"], name="audit_by_reason"),
            models.Index(fields=["-received_at", "-id"], name="audit_refused", condition=Q(effect="deny")),
            models.Index(fields=["call_id", "-received_at"], name="audit_by_call", condition=~Q(call_id="")),
            models.Index(fields=["-received_at"], name="audit_while_away", condition=Q(while_away=True)),
            GinIndex(fields=["rule_ids"], name="audit_by_rule", condition=~Q(rule_ids=[])),
            GinIndex(fields=["logged_rule_ids"], name="audit_by_logged_rule", condition=~Q(logged_rule_ids=[])),
            models.Index(fields=["digest", "-received_at"], name="audit_by_digest"),
            models.Index(fields=["batch", "id"], name="audit_by_batch"),
        ]

    def __str__(self) -> str:
        if self.reason == STAFF_ACTION:
            return f"{self.username}: {self.action} {self.target}"
        return f"{self.method} by {self.username or 'guest'}"

    @property
    def node(self) -> str:
        """The node as staff called it, else its id."""
        return self.node_name or self.node_id


class Outage(models.Model):
    """A time in which one process found the database away; written afterwards, by whoever empties the spool.

    `replayed` is how far the spool file of that name is in the outbox. It is raised in the transaction that puts the
    records there, so that nothing of a file is ever put there twice.
    """

    name = models.TextField(primary_key=True, help_text="The spool file's, without its ending.")
    since = models.DateTimeField()
    until = models.DateTimeField()
    noted_at = models.DateTimeField()
    replayed = models.BigIntegerField(default=0, db_default=0)
    entries = models.BigIntegerField(default=0, db_default=0)

    def __str__(self) -> str:
        return f"Away from {self.since} to {self.until}"


class Numbers(models.Field):
    """A set of whole numbers, as ranges."""

    def db_type(self, connection: object) -> str:
        return "int8multirange"


class Counted(models.Model):
    """What one process has answered to one node, and what of it is in the record; or, without a counter, the sums of
    all processes of a node that ended with nothing missing.

    The process writes what it gave and answered (`publishing`), the mover what it stored, and `gaps` compares.
    """

    counter = models.BigIntegerField(null=True, unique=True)
    process = models.TextField(default="", db_default="")
    node_name = models.TextField("node", default="", db_default="")
    began_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True)
    compared_at = models.DateTimeField(null=True)
    ended = models.BooleanField(default=False, db_default=False)

    given = models.BigIntegerField(default=0, db_default=0, help_text="Numbers from 1 to this one were given.")
    outstanding = Numbers(db_default=Value("{}"), help_text="Those of them with which nothing was answered yet.")
    settled = Numbers(db_default=Value("{}"), help_text="Those that were stored, or are not expected to be.")

    received = models.BigIntegerField(default=0, db_default=0)
    answered = models.BigIntegerField(default=0, db_default=0, help_text="200 or 403, with a record.")
    unrecorded = models.BigIntegerField(default=0, db_default=0, help_text="200, without a record.")
    failed = models.BigIntegerField("not decided", default=0, db_default=0, help_text="503 or 500.")
    stored = models.BigIntegerField(default=0, db_default=0)
    pending = models.BigIntegerField(default=0, db_default=0)
    bad = models.BigIntegerField("cannot be stored", default=0, db_default=0)

    missing = models.BigIntegerField(default=0, db_default=0)
    missing_after = models.DateTimeField(null=True, help_text="When nothing was missing yet.")
    missing_since = models.DateTimeField(null=True, help_text="When it was found missing.")
    acknowledged = models.BigIntegerField(default=0, db_default=0, help_text="Missing ones that staff know of.")

    class Meta:
        verbose_name = "count of hooks"
        permissions = [("acknowledge_counted", "Can acknowledge missing hooks")]
        constraints = [
            models.UniqueConstraint(fields=["node_name"], condition=Q(counter=None), name="counted_sums_per_node")
        ]

    def __str__(self) -> str:
        return f"{self.node_name or 'other nodes'} in {self.process or 'processes that ended'}"


class HoldQuerySet(models.QuerySet):
    def in_force(self, now: datetime | None = None) -> "HoldQuerySet":
        """Those that keep something at this moment."""
        return self.filter(Q(until=None) | Q(until__gt=now or timezone.now()), released_at=None)


class Hold(models.Model):
    """A legal hold: what it covers is not deleted, however old it becomes. What is left empty selects everything."""

    name = models.CharField(max_length=200, help_text="What it is for: a case or file number, for example.")
    note = models.TextField(blank=True, help_text="Who asked for it, and where that is written down.")
    username = models.CharField(
        "user name", max_length=600, blank=True, help_text="Whole, as in the audit log. Empty: whoever it was."
    )
    target = models.CharField(
        "stream or number", max_length=600, blank=True, help_text="Whole, as in the audit log. Empty: whatever it was."
    )
    session_id = models.CharField("session id", max_length=600, blank=True, help_text="Whole. Empty: any session.")
    starts_at = models.DateTimeField("from", null=True, blank=True, help_text="Empty: from the first event on.")
    ends_at = models.DateTimeField(
        "to", null=True, blank=True, help_text="Not included. Empty: also what is yet to come."
    )
    until = models.DateTimeField(
        "hold until", null=True, blank=True, help_text="When the hold ends by itself. Empty: when it is released."
    )
    made_by = models.TextField("made by", editable=False)
    made_at = models.DateTimeField("made", default=timezone.now, editable=False)
    released_by = models.TextField("released by", default="", db_default="", editable=False)
    released_at = models.DateTimeField("released", null=True, editable=False)

    objects = HoldQuerySet.as_manager()

    class Meta:
        verbose_name = "legal hold"
        permissions = [("release_hold", "Can release legal hold")]
        constraints = [
            models.CheckConstraint(
                condition=Q(starts_at=None) | Q(ends_at=None) | Q(starts_at__lt=F("ends_at")),
                name="hold_ends_after_it_starts",
                violation_error_message="“To” must be later than “from”.",
            )
        ]

    def __str__(self) -> str:
        return self.name


class SavedViewQuerySet(models.QuerySet):
    def visible_to(self, user) -> "SavedViewQuerySet":
        """Own ones, and those that others share."""
        return self.filter(Q(owner=user) | Q(shared=True))


class SavedView(models.Model):
    """A search of the audit log under a name. When its owner is deleted it stays, for those it was shared with."""

    name = models.CharField(max_length=100, help_text="What it shows, for example: Refused calls of last night.")
    search = models.TextField(
        max_length=2_000, help_text="As in the address of the list: q is the search box, the others are filters."
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    shared = models.BooleanField(
        "for all", default=False, help_text="Whoever may see the audit log is offered this view, too."
    )

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        verbose_name = "saved view"

    def __str__(self) -> str:
        return self.name
