"""The first page of the admin: what runs, what was refused lately, and how to begin. Every query here is bounded."""

from collections import Counter
from datetime import datetime, timedelta

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from apps.access.models import Rule
from apps.access.reasons import REASON_TEXTS, STAFF_ACTION, Reason
from apps.accounts.models import Token, User
from apps.accounts.navigation import may, may_see
from apps.audit.missing.gaps import missing
from apps.audit.models import AuditEvent, BadRecord, Effect, HookRecord, received
from apps.audit.moving.outbox import waiting_since
from apps.audit.narrative import story
from apps.audit.net import net
from apps.audit.proving.seals import sealing
from apps.connections.admin import connect_commands
from apps.connections.models import App, Session

COUNTED = 1_000  # nothing is counted further than this
SHOWN = 8
WAITS = timedelta(minutes=1)  # workers move what comes within a second or two
NEVER_REFUSES = (
    Reason.NOT_REFUSABLE,
    Reason.STARTED_BY_REST_API,
    Reason.ALLOWED_BY_RULE,
    Reason.UNKNOWN_METHOD,
    Reason.KEPT_WHILE_AWAY,
)


def dashboard(request: HttpRequest, context: dict) -> dict:
    """What the index template shows, as far as the viewer may see it."""
    context["title"] = "Overview"
    now = timezone.now()
    since = now - timedelta(hours=24)
    if may_see(request.user, "connections.session"):
        context["running"] = _at_most(Session.objects.filter(ended_at=None)[: COUNTED + 1].count())
        context["running_url"] = reverse("admin:connections_session_changelist") + "?state=running"
    if may_see(request.user, "audit.badrecord"):
        context["not_moved"] = BadRecord.objects.exists()
        context["not_moved_url"] = reverse("admin:audit_badrecord_changelist")
    if may_see(request.user, "audit.auditevent"):
        context["outside"] = net()
        context["missing"] = missing()
        context["silent"] = who_is_silent(context["missing"].silent)
        context["waiting"] = what_waits(now)
        context["sealed"] = sealing(now)
        context["refused"] = list(refused_by_reason(since))
        context["latest"] = [(event, story(event, "")) for event in latest_refusals(since)]
        context["log_url"] = reverse("admin:audit_auditevent_changelist")
        context["nothing_came"] = not (_hooks().exists() or HookRecord.objects.exists())
    if context.get("nothing_came", True):
        steps = list(first_steps(request))
        if "nothing_came" in context or not all(step["done"] for step in steps):
            context["steps"] = steps
            context["commands"] = commands(request) if may_see(request.user, "connections.app") else ()
    return context


def _hooks():
    """What is in the log but for changes by staff, of which there are some before the first hook comes."""
    return AuditEvent.objects.exclude(reason=STAFF_ACTION)


def who_is_silent(processes: int) -> str:
    """That so many processes do not tell what they answered; "" if all do."""
    if not processes:
        return ""
    who, has, they = ("1 process", "has", "it") if processes == 1 else (f"{processes} processes", "have", "they")
    return f"{who} {has} not said for more than three minutes what {they} answered."


def what_waits(now: datetime) -> str:
    """What waits for longer than it does while workers run, to be moved into the audit log, and since when; or ""."""
    waiting = sorted((since, what) for what, since in waiting_since().items() if since < now - WAITS)
    if not waiting:
        return ""
    since = timezone.localtime(waiting[0][0])
    what = " and ".join(what for _, what in waiting).capitalize()
    return (
        f"{what} have waited since {since:%Y-%m-%d %H:%M:%S} to be moved into the audit log. They are not lost, and "
        "what was changed is in force. See whether the workers and beat run."
    )


def refused_by_reason(since):
    """Reason, its text, how often, and the list behind it; the most frequent first."""
    counts = Counter(_of_each_reason(since, COUNTED + 1, "reason").values_list("reason", flat=True))
    for reason, count in counts.most_common():
        url = f"{reverse('admin:audit_auditevent_changelist')}?last=24h&effect=deny&reason={reason}"
        yield REASON_TEXTS.get(reason, reason), _at_most(count), url


def latest_refusals(since) -> list[AuditEvent]:
    newest = _of_each_reason(since, SHOWN, "pk", "received_at").order_by("-received_at")[:SHOWN]
    found = AuditEvent.objects.defer("body", "digest").in_bulk([row["pk"] for row in newest])
    return sorted(found.values(), key=lambda event: event.received_at, reverse=True)


def _of_each_reason(since, limit: int, *columns: str):
    """So many refusals of each reason at most: one look into the index for each, however long the log is."""
    refused = AuditEvent.objects.filter(received(since), effect=Effect.REFUSED)
    first, *others = (
        refused.filter(reason=reason).order_by("-received_at").values(*columns)[:limit]
        for reason in Reason
        if reason not in NEVER_REFUSES
    )
    return first.union(*others, all=True)


def _at_most(count: int) -> str:
    return str(count) if count <= COUNTED else f"more than {COUNTED}"


def first_steps(request: HttpRequest):
    """What to do to begin, whether it is done, and where. Only what the viewer may do."""
    steps = (
        ("connections.app", "Add the WCS app whose hooks shall be answered", App.objects.exists()),
        (
            "accounts.user",
            "Add the people and devices that connect",
            User.objects.filter(is_staff=False).exists(),
        ),
        ("accounts.token", "Issue tokens for them", Token.objects.exists()),
        (
            "access.callpermission",
            "Allow them to connect",
            Rule.objects.filter(actions__contains=["connect"]).exists(),
        ),
        ("access.streampermission", "Allow them to publish and play", Rule.objects.for_streams().exists()),
    )
    for label, text, done in steps:
        if may(request.user, "add", label):
            yield {"text": text, "done": done, "url": reverse(f"admin:{label.replace('.', '_')}_add")}


def commands(request: HttpRequest) -> list[tuple[str, str]]:
    """How to point WCS here, for the app that was entered first."""
    app = App.objects.order_by("pk").first()
    return connect_commands(request, app or App(key="defaultApp"))
