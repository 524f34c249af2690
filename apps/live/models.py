"""What is running: leases, and orders to end them."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone


class LeaseQuerySet(models.QuerySet):
    def running(self, now=None) -> "LeaseQuerySet":
        """Those that have not ended, as far as is known."""
        still = Q(runs_out_at=None) | Q(runs_out_at__gt=now or timezone.now())
        return self.filter(still, ended_at=None)


class Lease(models.Model):
    """One thing that was allowed and then runs: a session, a publication, a playback or a call.

    What is over at once, such as a message, has a lease only where a limit counts it, and that has ended already.
    Which keys a limit finds it by is a column of the database's own, `counted`.
    """

    record_id = models.UUIDField(unique=True, help_text="Of the hook that began it.")
    node_id = models.TextField("node id")
    app_key = models.TextField("app key")
    session_id = models.TextField("session id")
    key = models.TextField(help_text="Its media session id, call id or session id.")
    action = models.TextField()
    target = models.TextField(help_text="As it was asked for, without secrets.")
    dialled = models.TextField(
        blank=True, default="", db_default="", help_text="Of a call: the number that a rule had called instead."
    )
    thing = models.TextField(help_text="The one name that limits know the target by.")
    who = models.TextField(help_text="The one name that limits know the person by.")
    username = models.TextField("user name")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, db_constraint=False, related_name="+"
    )
    client_address = models.GenericIPAddressField("address", null=True)
    rule_ids = ArrayField(models.BigIntegerField(), default=list, help_text="The rules that let it in.")
    opened_at = models.DateTimeField("allowed")
    started_at = models.DateTimeField("started", null=True)
    ended_at = models.DateTimeField("ended", null=True)
    runs_out_at = models.DateTimeField(
        null=True, help_text="When it is taken to end unless it is asked for again: WCS reports no end of it."
    )
    end_reason = models.TextField(blank=True, default="", db_default="")

    objects = LeaseQuerySet.as_manager()

    class Meta:
        verbose_name = "running"
        verbose_name_plural = "running"
        permissions = [("end_lease", "Can end what is running")]
        indexes = [
            models.Index(fields=["session_id", "key"], name="lease_by_key"),
            models.Index(fields=["-opened_at", "-id"], name="lease_newest"),
            models.Index(fields=["-opened_at", "-id"], name="lease_running", condition=Q(ended_at=None)),
            models.Index(
                fields=["runs_out_at"],
                name="lease_running_out",
                condition=Q(ended_at=None, runs_out_at__isnull=False),
            ),
            models.Index(fields=["ended_at"], name="lease_ended", condition=Q(ended_at__isnull=False)),
            models.Index(fields=["username", "-opened_at"], name="lease_by_user"),
            models.Index(fields=["target", "-opened_at"], name="lease_by_target"),
            models.Index(fields=["target", "-opened_at"], name="lease_published", condition=Q(action="publish")),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target} by {self.username or 'guest'}"


class Cut(models.Model):
    """An order to end what runs. Hooks about it are refused from then on; WCS is also told, where its node says how.

    For a whole session `key` is empty, and `opening` tells the session from a later one with the same ids.
    """

    lease = models.OneToOneField(Lease, on_delete=models.CASCADE, related_name="cut")
    node_id = models.TextField("node id")
    session_id = models.TextField("session id")
    key = models.TextField(blank=True)
    opening = models.BigIntegerField(null=True)
    ordered_at = models.DateTimeField("ordered", default=timezone.now)
    ordered_by = models.TextField(help_text="A member of staff, or the limit that made room.")
    told_at = models.DateTimeField("WCS was told", null=True)
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    try_at = models.DateTimeField(default=timezone.now, help_text="When WCS is told, or told again.")
    problem = models.TextField(blank=True, default="", db_default="", help_text="Why WCS could not be told yet.")

    class Meta:
        indexes = [models.Index(fields=["try_at"], name="cut_to_tell", condition=Q(told_at=None))]

    def __str__(self) -> str:
        return f"End {self.lease}"
